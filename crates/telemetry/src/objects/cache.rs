//! Pieces of objects that were read lately, so that the columns of a page, which lie side by side, cost one request and
//! the next question about the same rows none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::intake::lock;

/// Objects are read in pieces of this size, aligned to it: a request takes about as long for a byte as for this.
pub(super) const PIECE_BYTES: u64 = 512 << 10;

/// Most pieces that are held: 32 MiB.
const PIECES_MAX: usize = 64;

/// A piece: of which object, as it was put there, and which one of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Arc<str>,
    etag: Arc<str>,
    number: u64,
}

#[derive(Debug, Default)]
struct Held {
    pieces: HashMap<Key, (u64, Arc<[u8]>)>,
    /// Grows with each use.
    uses: u64,
}

/// The pieces used last.
#[derive(Debug, Default)]
pub(super) struct Cache {
    held: Mutex<Held>,
}

impl Cache {
    /// Bytes of an object of `size` bytes, from pieces that are held, and from `fetch`, which is asked for ranges: one
    /// for pieces side by side. `None` where the range is not within the object.
    pub(super) fn read<E>(
        &self,
        (name, etag, size): (&str, &str, u64),
        offset: u64,
        len: usize,
        mut fetch: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let end = offset.checked_add(len as u64).filter(|&end| end <= size);
        let Some(end) = end else { return Ok(None) };
        if len == 0 {
            return Ok(Some(Vec::new()));
        }
        let (name, etag): (Arc<str>, Arc<str>) = (name.into(), etag.into());
        let key = |number| Key { name: Arc::clone(&name), etag: Arc::clone(&etag), number };
        let numbers = offset / PIECE_BYTES..(end - 1) / PIECE_BYTES + 1;
        let mut pieces: Vec<Option<Arc<[u8]>>> = self.held(numbers.clone().map(key));
        let mut at = 0;
        while at < pieces.len() {
            let missing = pieces[at..].iter().take_while(|piece| piece.is_none()).count();
            if missing > 0 {
                let from = (numbers.start + at as u64) * PIECE_BYTES;
                let until = (from + missing as u64 * PIECE_BYTES).min(size);
                let bytes = fetch(from, until)?;
                for (piece, bytes) in
                    pieces[at..at + missing].iter_mut().zip(bytes.chunks(PIECE_BYTES as usize))
                {
                    *piece = Some(bytes.into());
                }
                let fetched = pieces[at..at + missing].iter().flatten();
                self.hold((numbers.start + at as u64..).map(key).zip(fetched));
            }
            at += missing.max(1);
        }
        let mut out = Vec::with_capacity(len);
        for (number, piece) in numbers.zip(&pieces) {
            let first = number * PIECE_BYTES;
            let from = offset.saturating_sub(first).min(PIECE_BYTES) as usize;
            let until = (end - first).min(PIECE_BYTES) as usize;
            out.extend_from_slice(
                piece.as_deref().and_then(|piece| piece.get(from..until)).unwrap_or_default(),
            );
        }
        Ok((out.len() == len).then_some(out))
    }

    fn held(&self, keys: impl Iterator<Item = Key>) -> Vec<Option<Arc<[u8]>>> {
        let mut held = lock(&self.held);
        held.uses += 1;
        let uses = held.uses;
        let find = |key: Key| {
            let (used, piece) = held.pieces.get_mut(&key)?;
            *used = uses;
            Some(Arc::clone(piece))
        };
        keys.map(find).collect()
    }

    fn hold<'a>(&self, pieces: impl Iterator<Item = (Key, &'a Arc<[u8]>)>) {
        let mut held = lock(&self.held);
        held.uses += 1;
        let uses = held.uses;
        for (key, piece) in pieces {
            if held.pieces.len() >= PIECES_MAX && !held.pieces.contains_key(&key) {
                let oldest =
                    held.pieces.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
                oldest.and_then(|oldest| held.pieces.remove(&oldest));
            }
            held.pieces.insert(key, (uses, Arc::clone(piece)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn object(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at / 7 + at / 4096) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// Whatever was read before, a range has the bytes of the object, or is refused because it has not.
        #[test]
        fn ranges_have_the_bytes_of_the_object(
            size in 0usize..3_000_000,
            ranges in prop::collection::vec((0u64..3_200_000, 0usize..1_500_000), 1..8),
        ) {
            let bytes = object(size);
            let cache = Cache::default();
            for (offset, len) in ranges {
                let fetch = |from: u64, until: u64| {
                    assert!(from < until && until <= size as u64 && from.is_multiple_of(PIECE_BYTES));
                    Ok::<_, Infallible>(bytes[from as usize..until as usize].to_vec())
                };
                let Ok(read) = cache.read(("a", "e", size as u64), offset, len, fetch);
                let expected = bytes.get(offset as usize..offset as usize + len);
                prop_assert_eq!(read.as_deref(), expected.filter(|_| offset as usize + len <= size));
            }
        }
    }

    #[test]
    fn pieces_side_by_side_are_one_request_and_the_next_reading_none() {
        let (cache, size) = (Cache::default(), 5 * PIECE_BYTES);
        let mut asked = Vec::new();
        let mut read = |offset, len, etag| {
            let fetch = |from: u64, until: u64| {
                asked.push((from / PIECE_BYTES, until / PIECE_BYTES));
                Ok::<_, Infallible>(vec![0; (until - from) as usize])
            };
            let Ok(found) = cache.read(("a", etag, size), offset, len, fetch);
            assert_eq!(found.map(|bytes| bytes.len()), Some(len));
        };
        read(PIECE_BYTES + 5, PIECE_BYTES as usize, "e");
        read(2 * PIECE_BYTES, 10, "e");
        read(0, 5 * PIECE_BYTES as usize, "e");
        read(0, 5 * PIECE_BYTES as usize, "e");
        read(0, 1, "another");
        assert_eq!(asked, [(1, 3), (0, 1), (3, 5), (0, 1)]);
    }

    #[test]
    fn what_is_held_is_bounded_and_the_pieces_used_last_stay() {
        let cache = Cache::default();
        let fetch = |from: u64, until: u64| Ok::<_, Infallible>(vec![0; (until - from) as usize]);
        for number in 0..3 * PIECES_MAX as u64 {
            for number in [0, number] {
                let Ok(_) = cache.read(("a", "e", u64::MAX), number * PIECE_BYTES, 1, fetch);
            }
        }
        assert_eq!(lock(&cache.held).pieces.len(), PIECES_MAX);
        let unasked = |_, _| Err::<Vec<u8>, _>("asked");
        assert_eq!(cache.read(("a", "e", u64::MAX), 0, 1, unasked), Ok(Some(vec![0])));
    }

    #[test]
    fn what_could_not_be_had_is_asked_for_again() {
        let cache = Cache::default();
        let away = |_, _| Err::<Vec<u8>, _>("away");
        assert_eq!(cache.read(("a", "e", 10), 0, 5, away), Err("away"));
        assert_eq!(cache.read(("a", "e", 10), 0, 5, |_, _| Ok::<_, &str>(vec![1; 10])), Ok(Some(vec![1; 5])));
    }
}
