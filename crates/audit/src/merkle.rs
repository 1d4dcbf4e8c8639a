//! The Merkle tree of RFC 6962 (and 9162) over SHA-256.
//!
//! In: records as bytes. Out: roots at any size, held incrementally in [`Frontier`], and proofs: that a record is in a
//! tree, that one tree is the beginning of another. Deliberately absent: the leaves; who proves something hands them in.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A SHA-256 digest. As text and in JSON: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands for the record before the first one: zeros.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of a leaf (RFC 6962, 2.1): SHA-256 over the byte 0 and the leaf.
    pub fn of_leaf(leaf: &[u8]) -> Self {
        Self(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
    }

    /// The hash of an inner node (RFC 6962, 2.1): SHA-256 over the byte 1 and both children.
    pub(crate) fn of_node(left: &Self, right: &Self) -> Self {
        let mut bytes = [1; 65];
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("no hash: 64 digits of 0-9a-f are"))
    }
}

/// A tree that only grows, as the roots of its perfect subtrees from left to right: at most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree of so many leaves with these subtrees; `None` where they are not as many as it has.
    pub(crate) fn of(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The roots of its perfect subtrees, from left to right.
    pub(crate) fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root over some of its leaves, where it is that of a perfect subtree.
    fn peak(&self, leaves: &Range<u64>) -> Option<Hash> {
        let mut start = 0;
        for peak in &self.peaks {
            let len = 1 << (u64::BITS - 1 - (self.size - start).leading_zeros());
            if *leaves == (start..start + len) {
                return Some(*peak);
            }
            start += len;
        }
        None
    }

    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = Hash::of_node(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root. Of the empty tree: SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else { return Hash(Sha256::digest([]).into()) };
        peaks.fold(*last, |right, left| Hash::of_node(left, &right))
    }
}

/// The root over these leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

/// How many leaves the left subtree of a tree has: the largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// A tree whose first leaves are known by their subtrees alone.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    before: Frontier,
    leaves: Vec<Hash>,
}

impl Tail {
    /// The tree that begins with `before`, and goes on with these leaves.
    pub(crate) fn new(before: Frontier, leaves: Vec<Hash>) -> Self {
        Self { before, leaves }
    }

    /// How many leaves it has, known or not.
    pub fn size(&self) -> u64 {
        self.before.size() + self.leaves.len() as u64
    }

    /// The root over some of its leaves; `None` where it is not known.
    pub fn root(&self, leaves: Range<u64>) -> Option<Hash> {
        let first = self.before.size();
        if leaves.start >= first {
            let at = |leaf: u64| usize::try_from(leaf - first).ok();
            return self.leaves.get(at(leaves.start)?..at(leaves.end)?).map(root);
        }
        if let Some(peak) = self.before.peak(&leaves) {
            return Some(peak);
        }
        let size = leaves.end - leaves.start;
        if size < 2 {
            return None;
        }
        let middle = leaves.start + split(size);
        Some(Hash::of_node(&self.root(leaves.start..middle)?, &self.root(middle..leaves.end)?))
    }

    /// The path from leaf `index` to the root (RFC 6962, 2.1.1); `None` where there is no such leaf, or it is not known.
    pub fn inclusion(&self, index: u64) -> Option<Vec<Hash>> {
        if index >= self.size() || index < self.before.size() {
            return None;
        }
        let (mut leaves, mut path) = (0..self.size(), Vec::new());
        while leaves.end - leaves.start > 1 {
            let middle = leaves.start + split(leaves.end - leaves.start);
            if index < middle {
                path.push(self.root(middle..leaves.end)?);
                leaves.end = middle;
            } else {
                path.push(self.root(leaves.start..middle)?);
                leaves.start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// What shows that the tree over the first `old` leaves is the beginning of the tree over all (RFC 6962, 2.1.2); `None`
    /// where there are fewer, or too many are not known. Empty for the empty tree and for the same tree: nothing has to be
    /// shown.
    pub fn consistency(&self, old: u64) -> Option<Vec<Hash>> {
        if old > self.size() {
            return None;
        }
        if old == 0 || old == self.size() {
            return Some(Vec::new());
        }
        let (mut leaves, mut path, mut whole) = (0..self.size(), Vec::new(), true);
        while old < leaves.end {
            let middle = leaves.start + split(leaves.end - leaves.start);
            if old <= middle {
                path.push(self.root(middle..leaves.end)?);
                leaves.end = middle;
            } else {
                path.push(self.root(leaves.start..middle)?);
                leaves.start = middle;
                whole = false;
            }
        }
        if !whole {
            path.push(self.root(leaves)?);
        }
        path.reverse();
        Some(path)
    }
}

/// Whether `path` leads from `leaf` at `index` to the root of a tree of `size` leaves (RFC 9162, 2.1.3.2).
pub fn included(leaf: Hash, index: u64, size: u64, path: &[Hash], root: Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut node) = (index, size - 1, leaf);
    for step in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            node = Hash::of_node(step, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = Hash::of_node(&node, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && node == root
}

/// Whether `path` shows that a tree of `old` leaves is the beginning of one of `new` (RFC 9162, 2.1.4.2). Every tree
/// begins with the empty one.
pub fn consistent(old: (u64, Hash), new: (u64, Hash), path: &[Hash]) -> bool {
    let ((old, old_root), (new, new_root)) = (old, new);
    if old > new {
        return false;
    }
    if old == new || old == 0 {
        let same = if old == new { old_root == new_root } else { old_root == root(&[]) };
        return path.is_empty() && same;
    }
    let whole = old.is_power_of_two().then_some(old_root);
    let mut steps = whole.iter().chain(path);
    let Some(first) = steps.next() else { return false };
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut of_old, mut of_new) = (*first, *first);
    for step in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            of_old = Hash::of_node(step, &of_old);
            of_new = Hash::of_node(step, &of_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_new = Hash::of_node(&of_new, step);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && of_old == old_root && of_new == new_root
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
