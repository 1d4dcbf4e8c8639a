//! The samples of a series that came last, packed as they come: numbers in order of time, a few bytes each.
//!
//! ```text
//! sample:  code u8 │ time, where it did not go on evenly │ value, where it changed
//! ```
//!
//! Whole numbers are differences, other numbers the bytes that differ from those before: a byte a sample for what stands
//! still, two or three for counters. Whole bytes, not bits: what is appended here is packed again, and better, when it
//! goes to disk. Only what was appended is ever read, so reading needs no checks but the language's own.

use crate::bytes::{Reader, put_signed, unzigzag, zigzag};

/// Set where the time did not go on by the step before.
const UNEVEN: u8 = 0x80;

/// Codes: 0 as before; 1 to 8 that many bytes of a difference; from here on bytes that differ, and where they stand.
const DIFFER: u8 = 9;

/// Bytes by which the buffer grows at least.
const GROWTH_MIN: usize = 32;

/// Most bytes of a sample: code, time, value.
const SAMPLE_BYTES_MAX: usize = 1 + 10 + 8;

/// Numbers in order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Open {
    bytes: Vec<u8>,
    count: u32,
    last_ms: i64,
    step_ms: i64,
    last_bits: u64,
}

impl Open {
    /// Takes a number that is later than all before.
    pub(crate) fn append(&mut self, at_ms: i64, value: f64) {
        self.make_room();
        let code_at = self.bytes.len();
        self.bytes.push(0);
        let step = at_ms.wrapping_sub(self.last_ms);
        let mut code = 0;
        if step != self.step_ms {
            code |= UNEVEN;
            put_signed(&mut self.bytes, step.wrapping_sub(self.step_ms));
            self.step_ms = step;
        }
        let bits = value.to_bits();
        if bits != self.last_bits {
            code |= match (whole(self.last_bits), whole(bits)) {
                (Some(before), Some(now)) => put_difference(&mut self.bytes, now - before),
                _ => put_differing(&mut self.bytes, bits ^ self.last_bits),
            };
        }
        self.bytes[code_at] = code;
        self.last_ms = at_ms;
        self.last_bits = bits;
        self.count += 1;
    }

    /// Buffers grow by a quarter, not by their double: there is one for each of a million series.
    fn make_room(&mut self) {
        if self.bytes.capacity() - self.bytes.len() < SAMPLE_BYTES_MAX {
            self.bytes.reserve_exact(SAMPLE_BYTES_MAX.max(GROWTH_MIN).max(self.bytes.len() / 4));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// Bytes they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Time and bits of the last one.
    pub(crate) fn last(&self) -> Option<(i64, u64)> {
        (self.count > 0).then_some((self.last_ms, self.last_bits))
    }

    /// Shows each, oldest first, until it is told to stop.
    pub(crate) fn each(&self, mut each: impl FnMut(i64, f64) -> bool) {
        let mut reader = Reader::new(&self.bytes);
        let (mut at_ms, mut step_ms, mut bits) = (0i64, 0i64, 0u64);
        for _ in 0..self.count {
            // Nothing but `append` writes these bytes.
            let Ok(code) = reader.byte() else { return };
            if code & UNEVEN != 0 {
                let Ok(change) = reader.signed() else { return };
                step_ms = step_ms.wrapping_add(change);
            }
            at_ms = at_ms.wrapping_add(step_ms);
            match code & !UNEVEN {
                0 => {}
                len @ 1..DIFFER => {
                    let Ok(difference) = read_word(&mut reader, len) else { return };
                    bits =
                        ((f64::from_bits(bits) as i64).wrapping_add(unzigzag(difference)) as f64).to_bits();
                }
                code => {
                    let (len, below) = ((code - DIFFER) / 8 + 1, (code - DIFFER) % 8);
                    let Ok(differing) = read_word(&mut reader, len) else { return };
                    bits ^= differing << (8 * u32::from(below));
                }
            }
            if !each(at_ms, f64::from_bits(bits)) {
                return;
            }
        }
    }
}

/// The number as an integer, where it is one whose differences are exact.
fn whole(bits: u64) -> Option<i64> {
    const WHOLE_MAX: i64 = 1 << 52;
    let integer = f64::from_bits(bits) as i64;
    ((integer as f64).to_bits() == bits && (-WHOLE_MAX..=WHOLE_MAX).contains(&integer)).then_some(integer)
}

fn put_difference(out: &mut Vec<u8>, difference: i64) -> u8 {
    let word = zigzag(difference);
    let len = 8 - word.leading_zeros() / 8;
    out.extend_from_slice(&word.to_le_bytes()[..len as usize]);
    len as u8
}

fn put_differing(out: &mut Vec<u8>, differing: u64) -> u8 {
    let below = differing.trailing_zeros() / 8;
    let len = 8 - differing.leading_zeros() / 8 - below;
    let word = differing >> (8 * below);
    out.extend_from_slice(&word.to_le_bytes()[..len as usize]);
    DIFFER + (len as u8 - 1) * 8 + below as u8
}

fn read_word(reader: &mut Reader<'_>, len: u8) -> Result<u64, crate::bytes::Damaged> {
    let mut word = [0; 8];
    let len = usize::from(len.min(8));
    word[..len].copy_from_slice(reader.take(len)?);
    Ok(u64::from_le_bytes(word))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn read(open: &Open) -> Vec<(i64, u64)> {
        let mut read = Vec::new();
        open.each(|at_ms, value| {
            read.push((at_ms, value.to_bits()));
            true
        });
        read
    }

    proptest! {
        #[test]
        fn what_was_appended_is_shown(
            samples in vec((1i64..5000, prop_oneof![
                (-5i64..2000).prop_map(|whole| (whole as f64).to_bits()),
                (0u32..1000).prop_map(|cents| (f64::from(cents) / 100.0).to_bits()),
                any::<u64>(),
            ]), 0..300),
            from in any::<i32>(),
        ) {
            let mut open = Open::default();
            let mut at_ms = i64::from(from);
            let mut all = Vec::new();
            for (step, bits) in samples {
                at_ms += step;
                open.append(at_ms, f64::from_bits(bits));
                all.push((at_ms, bits));
            }
            prop_assert_eq!(open.last(), all.last().copied());
            prop_assert_eq!(read(&open), all);
        }
    }

    #[test]
    fn what_stands_still_takes_a_byte_a_sample() {
        let mut open = Open::default();
        (0..1000).for_each(|at| open.append(1_700_000_000_000 + 1000 * at, 42.0));
        assert!(open.bytes() < 1020);
    }
}
