//! Which tags can be in a row group: a split-block Bloom filter, asked with one read of 32 bytes.
//!
//! Source: "Parquet Bloom Filter" (apache/parquet-format, `BloomFilter.md`): XXH64 with seed 0; the upper half of the hash
//! chooses a block of 256 bits, the lower one a bit in each of its eight words. The bytes hashed are ours: one byte for
//! the type (`t` text, `i` integer, `d` double, `b` boolean), the key, a zero byte, and the value (UTF-8; 8 bytes,
//! little-endian, of the integer or of the double's bits, where −0 counts as 0; one byte 0 or 1).

use twox_hash::XxHash64;

use crate::column::Scalar;

const SALT: [u32; 8] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Bytes of a block.
pub(super) const BLOCK: usize = 32;

/// Bits for each tag: about one of a hundred askings says "perhaps" where it should say no.
const BITS_PER_KEY: usize = 10;

/// The hash of a tag; `None` for values that no tag asks for.
pub(super) fn tag_hash(key: &[u8], value: Scalar<'_>, scratch: &mut Vec<u8>) -> Option<u64> {
    scratch.clear();
    let mut put = |kind: u8, bytes: &[u8]| {
        scratch.push(kind);
        scratch.extend_from_slice(key);
        scratch.push(0);
        scratch.extend_from_slice(bytes);
    };
    match value {
        Scalar::Text(text) => put(b't', text),
        Scalar::Int(int) => put(b'i', &int.to_le_bytes()),
        Scalar::Double(double) => put(b'd', &(double + 0.0).to_bits().to_le_bytes()),
        Scalar::Bool(bool) => put(b'b', &[u8::from(bool)]),
        Scalar::Bytes(_) | Scalar::Any(_) => return None,
    }
    Some(XxHash64::oneshot(0, scratch))
}

/// Where the block of a hash begins, in a filter of `blocks` blocks.
pub(super) fn block_of(hash: u64, blocks: u64) -> u64 {
    ((hash >> 32) * blocks) >> 32
}

fn mask(hash: u64) -> [u32; 8] {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// A filter of hashes, as bytes.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let blocks = (hashes.len() * BITS_PER_KEY).div_ceil(8 * BLOCK).max(1);
    let mut words = vec![[0u32; 8]; blocks];
    for &hash in hashes {
        let block = &mut words[block_of(hash, blocks as u64) as usize];
        block.iter_mut().zip(mask(hash)).for_each(|(word, bit)| *word |= bit);
    }
    words.into_iter().flatten().flat_map(u32::to_le_bytes).collect()
}

/// Whether a hash can be in the filter that `block` is the right block of.
pub(super) fn may_hold(block: &[u8; BLOCK], hash: u64) -> bool {
    let words = block.as_chunks::<4>().0;
    words.iter().zip(mask(hash)).all(|(&word, bit)| u32::from_le_bytes(word) & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: i64) -> u64 {
        tag_hash(b"n", Scalar::Int(n), &mut Vec::new()).expect("an integer has a hash")
    }

    fn asks(filter: &[u8], hash: u64) -> bool {
        let at = block_of(hash, (filter.len() / BLOCK) as u64) as usize * BLOCK;
        may_hold(filter[at..].first_chunk().expect("a whole block"), hash)
    }

    #[test]
    fn what_was_put_in_is_found_and_little_else() {
        let filter = build(&(0..10_000).map(hash).collect::<Vec<_>>());
        assert!((0..10_000).all(|n| asks(&filter, hash(n))));
        let wrong = (10_000..20_000).filter(|&n| asks(&filter, hash(n))).count();
        assert!(wrong < 400, "{wrong} of 10,000 others are claimed");
    }

    #[test]
    fn hashes_stay_what_they_were() {
        // Files of earlier versions are asked with them.
        assert_eq!(hash(1), XxHash64::oneshot(0, b"in\0\x01\0\0\0\0\0\0\0"));
        assert_eq!(
            tag_hash(b"k", Scalar::Double(-0.0), &mut Vec::new()),
            tag_hash(b"k", Scalar::Double(0.0), &mut Vec::new())
        );
    }
}
