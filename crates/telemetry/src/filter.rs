//! Small sets that may claim too much, never too little: which trace ids a block can hold.

/// Bits for each key: a wrong "perhaps" in about one of a hundred askings.
const BITS_PER_KEY: usize = 10;

/// Bits set for each key in its word.
const PROBES: u32 = 4;

/// A Bloom filter whose bits for one key lie in one 64-bit word, so that asking costs one access to memory.
///
/// Source: Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters", 2007, with a block of one word.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    /// A filter of hashes.
    pub(crate) fn new(hashes: impl ExactSizeIterator<Item = u64>) -> Self {
        let words = (hashes.len() * BITS_PER_KEY).div_ceil(64).max(1);
        let mut filter = Self { words: vec![0; words].into() };
        for hash in hashes {
            filter.words[filter.word(hash)] |= bits(hash);
        }
        filter
    }

    /// The filter as it is stored.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// A filter that was stored; one without words is none.
    pub(crate) fn from_words(words: Box<[u64]>) -> Option<Self> {
        (!words.is_empty()).then_some(Self { words })
    }

    /// Whether a key with this hash can be in the set.
    #[inline]
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        let bits = bits(hash);
        self.words[self.word(hash)] & bits == bits
    }

    #[inline]
    fn word(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.words.len() as u128) >> 64) as usize
    }
}

/// The bits of a key: from the lower half of the hash, the word is chosen by the upper.
#[inline]
fn bits(hash: u64) -> u64 {
    (0..PROBES).fold(0, |bits, probe| bits | 1 << ((hash >> (6 * probe)) & 63))
}

/// A hash of a trace id. Ids are random, but not all who make them make them well.
#[inline]
pub(crate) fn trace_hash(id: &[u8; 16]) -> u64 {
    let (a, b) = id.split_at(8);
    let half = |bytes: &[u8]| bytes.iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
    let mixed = u128::from(half(a) ^ 0x9e37_79b9_7f4a_7c15) * u128::from(half(b) ^ 0xd6e8_feb8_6659_fd93);
    (mixed as u64) ^ (mixed >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> [u8; 16] {
        (n.wrapping_mul(0x2545_f491_4f6c_dd1d_1234_5678_9abc_def1)).to_be_bytes()
    }

    #[test]
    fn holds_all_it_was_given_and_little_else() {
        let filter = Filter::new((1..1001).map(|n| trace_hash(&id(n))).collect::<Vec<_>>().into_iter());
        assert!((1..1001).all(|n| filter.may_hold(trace_hash(&id(n)))));
        let wrong = (10_000..20_000).filter(|&n| filter.may_hold(trace_hash(&id(n)))).count();
        assert!(wrong < 500, "{wrong} of 10,000 others are claimed");
    }
}
