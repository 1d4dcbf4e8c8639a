//! Numbers to bytes and back: variable lengths, and blocks of bits.
//!
//! In: integers. Out: bytes that read back to them. Reading never trusts: whatever does not make sense is [`Damaged`].

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not what was written")]
pub(crate) struct Damaged;

/// Writes an integer, seven bits a byte.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a signed integer; small ones of either sign are short.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Writes bytes with their length in front.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// 0, -1, 1, -2, … as 0, 1, 2, 3, …
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The other way round.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads from the front of bytes.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Damaged> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damaged> {
        self.fixed().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damaged> {
        self.fixed().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Damaged> {
        self.fixed().map(i64::from_le_bytes)
    }

    pub(crate) fn f64(&mut self) -> Result<f64, Damaged> {
        self.u64().map(f64::from_bits)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        self.varint().map(unzigzag)
    }

    /// A count or length; one that is longer than `most` is damage, so that nothing is allocated for nonsense.
    pub(crate) fn count(&mut self, most: usize) -> Result<usize, Damaged> {
        let count = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
        if count > most { Err(Damaged) } else { Ok(count) }
    }

    /// Bytes with their length in front.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.count(self.rest.len())?;
        self.take(len)
    }

    /// Text with its length in front.
    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }
}

/// Widths above this are written as 64: reading needs a value within 8 bytes wherever it begins.
const WIDTH_MAX: u32 = 56;

/// Bits that hold every value up to `max`, as [`put_bits`] writes them.
pub(crate) fn width_of(max: u64) -> u32 {
    let width = u64::BITS - max.leading_zeros();
    if width > WIDTH_MAX { u64::BITS } else { width }
}

/// Bytes that [`put_bits`] writes.
pub(crate) fn bits_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Writes the low `width` bits of each value, one behind the other.
pub(crate) fn put_bits(out: &mut Vec<u8>, values: impl IntoIterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    let mask = if width == u64::BITS { u64::MAX } else { (1 << width) - 1 };
    let (mut waiting, mut bits) = (0u128, 0);
    for value in values {
        waiting |= u128::from(value & mask) << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&(waiting as u64).to_le_bytes());
            waiting >>= u64::BITS;
            bits -= u64::BITS;
        }
    }
    let len = bits.div_ceil(8) as usize;
    out.extend_from_slice(&(waiting as u64).to_le_bytes()[..len]);
}

/// Values that are read at once: as many bytes as one has bits.
const GROUP: usize = 8;

/// Bytes in which a group of any width lies, with as many behind as its last value is read with.
const GROUP_BYTES: usize = 64;

/// Reads values of `width` bits, as many as there is room for.
pub(crate) fn read_bits(bytes: &[u8], width: u32, values: &mut [i64]) -> Result<(), Damaged> {
    if bytes.len() < bits_len(values.len(), width) {
        return Err(Damaged);
    }
    // Each width has its own code, in which places and shifts are constants.
    macro_rules! of_width {
        ($($width:literal)*) => {
            match width {
                0 => values.fill(0),
                64 => {
                    let (words, _) = bytes.as_chunks::<8>();
                    values.iter_mut().zip(words).for_each(|(value, word)| *value = i64::from_le_bytes(*word));
                }
                $($width => read_groups::<$width>(bytes, values),)*
                _ => return Err(Damaged),
            }
        };
    }
    of_width!(
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
        29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56
    );
    Ok(())
}

/// The same for a width up to [`WIDTH_MAX`].
fn read_groups<const WIDTH: usize>(bytes: &[u8], values: &mut [i64]) {
    let mut rest = bytes;
    let (groups, last) = values.as_chunks_mut::<GROUP>();
    for group in groups {
        match rest.first_chunk::<GROUP_BYTES>() {
            Some(bytes) => read_group::<WIDTH>(bytes, group),
            None => read_group::<WIDTH>(&padded(rest), group),
        }
        rest = rest.get(WIDTH..).unwrap_or_default();
    }
    if !last.is_empty() {
        let mut group = [0; GROUP];
        read_group::<WIDTH>(&padded(rest), &mut group);
        last.copy_from_slice(&group[..last.len()]);
    }
}

#[inline]
fn read_group<const WIDTH: usize>(bytes: &[u8; GROUP_BYTES], values: &mut [i64; GROUP]) {
    let mask = (1u64 << WIDTH) - 1;
    for (at, value) in values.iter_mut().enumerate() {
        let bit = at * WIDTH;
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[bit / 8..bit / 8 + 8]);
        *value = ((u64::from_le_bytes(word) >> (bit % 8)) & mask) as i64;
    }
}

/// Bytes with zeros behind.
fn padded(bytes: &[u8]) -> [u8; GROUP_BYTES] {
    let mut padded = [0; GROUP_BYTES];
    let len = bytes.len().min(GROUP_BYTES);
    padded[..len].copy_from_slice(&bytes[..len]);
    padded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_read_back(values: Vec<(u64, i64)>) {
            let mut bytes = Vec::new();
            for (unsigned, signed) in &values {
                put_varint(&mut bytes, *unsigned);
                put_signed(&mut bytes, *signed);
            }
            let mut reader = Reader::new(&bytes);
            for (unsigned, signed) in values {
                prop_assert_eq!(reader.varint(), Ok(unsigned));
                prop_assert_eq!(reader.signed(), Ok(signed));
            }
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn bits_read_back(values in proptest::collection::vec(any::<u64>(), 0..200), shift in 0u32..64) {
            let values: Vec<u64> = values.into_iter().map(|value| value >> shift).collect();
            let width = width_of(values.iter().copied().max().unwrap_or(0));
            let count = values.len();
            let mut bytes = Vec::new();
            put_bits(&mut bytes, values.iter().copied(), width);
            prop_assert_eq!(bytes.len(), bits_len(values.len(), width));
            let mut read = vec![-1; values.len()];
            prop_assert_eq!(read_bits(&bytes, width, &mut read), Ok(()));
            prop_assert_eq!(read, values.into_iter().map(|value| value as i64).collect::<Vec<i64>>());
            if !bytes.is_empty() {
                prop_assert_eq!(read_bits(&bytes[1..], width, &mut vec![0; count]), Err(Damaged));
            }
        }
    }

    #[test]
    fn an_integer_longer_than_64_bits_is_damage() {
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(Damaged));
        assert_eq!(Reader::new(&[0x80]).varint(), Err(Damaged));
    }
}
