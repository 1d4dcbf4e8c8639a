//! Ids of traces and spans: random, never zero, shown as lower-case hexadecimal.
//!
//! In: a generator per thread, seeded by the operating system. Out: [`TraceId`], [`SpanId`]. Deliberately
//! absent: time in the id, because samplers read its low 56 bits as randomness (W3C trace context level 2).

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

/// The id of a trace: 128 bits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// The id of a span: 64 bits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is {digits} lower-case hexadecimal digits and not all zero")]
pub struct IdError {
    digits: usize,
}

/// Two streams, so that a trace id carries 128 bits of which no half follows from the other.
struct Generator {
    high: fastrand::Rng,
    low: fastrand::Rng,
}

thread_local! {
    static GENERATOR: RefCell<Generator> = RefCell::new(Generator::seeded());
}

impl Generator {
    /// `RandomState` takes its keys from the operating system and differs on every thread.
    fn seeded() -> Self {
        let seed = |stream: u8| fastrand::Rng::with_seed(RandomState::new().hash_one(stream));
        Self { high: seed(0), low: seed(1) }
    }
}

/// A fresh trace id; on a thread that is being torn down, where no generator is left, still a random one.
#[inline]
pub(crate) fn trace_id() -> TraceId {
    let random = |generator: &mut Generator| {
        (u128::from(generator.high.u64(..)) << 64) | u128::from(generator.low.u64(1..))
    };
    let made = GENERATOR.try_with(|generator| random(&mut generator.borrow_mut()));
    TraceId(made.unwrap_or_else(|_| random(&mut Generator::seeded())))
}

/// A fresh span id.
#[inline]
pub(crate) fn span_id() -> SpanId {
    let made = GENERATOR.try_with(|generator| generator.borrow_mut().high.u64(..));
    SpanId(made.unwrap_or_else(|_| Generator::seeded().high.u64(..)).max(1))
}

/// Makes the numbers from which the ids of a part's spans follow, without asking a thread-local: a buffer has
/// one.
#[derive(Debug)]
pub(crate) struct Serials(fastrand::Rng);

impl Serials {
    pub(crate) fn new() -> Self {
        Self(fastrand::Rng::with_seed(span_id().get()))
    }

    /// A random number that is not zero.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(1..)
    }
}

/// The id of a part's span: the output of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014) seeded with the part's serial, after `number` steps. Different numbers give different ids.
#[inline]
pub(crate) fn nth_span(serial: u64, number: u32) -> SpanId {
    let mut id = serial.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    SpanId((id ^ (id >> 31)).max(1))
}

impl TraceId {
    /// An id from its number; none from zero.
    pub fn new(id: u128) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// Its number.
    pub fn get(self) -> u128 {
        self.0
    }

    /// Its bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Its low 56 bits, which level 2 of the W3C recommendation promises to be random.
    pub fn randomness(self) -> u64 {
        (self.0 as u64) & ((1 << 56) - 1)
    }
}

impl SpanId {
    /// An id from its number; none from zero.
    pub fn new(id: u64) -> Option<Self> {
        (id != 0).then_some(Self(id))
    }

    /// Its number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Its bytes, most significant first.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

/// The number that `digits` write in lower-case hexadecimal; none where another character stands. At most 32
/// digits are a number.
pub(crate) fn hex(digits: &[u8]) -> Option<u128> {
    if digits.len() > 32 {
        return None;
    }
    let mut number = 0_u128;
    for half in digits.chunks(16) {
        let mut part = 0_u64;
        for digit in half {
            let value = NIBBLES[usize::from(*digit)];
            if value > 15 {
                return None;
            }
            part = (part << 4) | u64::from(value);
        }
        number = (number << (4 * half.len())) | u128::from(part);
    }
    Some(number)
}

/// The value of a lower-case hexadecimal digit, 255 for every other byte.
const NIBBLES: [u8; 256] = {
    let mut table = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        table[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` in lower-case hexadecimal; `into` is twice as long.
pub(crate) fn write_hex(bytes: &[u8], into: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(into.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

impl FromStr for TraceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = (text.len() == 32).then(|| hex(text.as_bytes())).flatten();
        number.and_then(Self::new).ok_or(IdError { digits: 32 })
    }
}

impl FromStr for SpanId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = (text.len() == 16).then(|| hex(text.as_bytes())).flatten();
        number.and_then(|id| Self::new(id as u64)).ok_or(IdError { digits: 16 })
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_read_back_and_zero_and_upper_case_are_refused() {
        let (trace, span) = (trace_id(), span_id());
        assert_eq!(trace.to_string().parse(), Ok(trace));
        assert_eq!(span.to_string().parse(), Ok(span));
        assert!("0".repeat(32).parse::<TraceId>().is_err());
        assert!("ABCDEF0123456789".parse::<SpanId>().is_err());
        assert!("0123".parse::<SpanId>().is_err());
    }

    #[test]
    fn threads_do_not_make_the_same_ids() {
        let made = |_| std::thread::spawn(|| (0..1000).map(|_| trace_id()).collect::<Vec<_>>());
        let threads: Vec<_> = (0..4).map(made).collect();
        let all: HashSet<TraceId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.len(), 4000);
    }

    #[test]
    fn spans_of_a_part_have_different_ids_whatever_its_serial() {
        for serial in [1, 2, 0x9e37_79b9_7f4a_7c15, u64::MAX, span_id().get()] {
            let all: HashSet<SpanId> = (0..10_000).map(|number| nth_span(serial, number)).collect();
            assert_eq!(all.len(), 10_000);
        }
    }
}
