//! A column of floating-point numbers, bit for bit.
//!
//! What services measure is mostly whole numbers, or numbers that somebody rounded to a few digits: those are integers
//! times a power of ten, and integers pack well. The least power for which (nearly) all numbers come back exactly is
//! looked for (Afroozeh et al., "ALP: Adaptive Lossless Floating-Point Compression", 2023); the few that do not come back
//! (stale markers among them) stand apart. Where no power serves, the bits of the numbers are taken for integers: the
//! difference of two neighbours of like size is small there, too.

use super::integers;
use crate::bytes::{Damaged, Reader, put_signed, put_varint, zigzag};

const CONSTANT: u8 = 0;
const DECIMAL: u8 = 1;
const BITS: u8 = 2;
/// All the same whole number.
const WHOLE: u8 = 3;

/// Powers of ten that are tried: exact as floating-point numbers, and more digits than instruments have.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Integers up to this survive the multiplication and the rounding below.
const INTEGER_MAX: f64 = (1u64 << 51) as f64;

/// Added and taken away again it rounds to an integer: no digits are left behind the point at this size.
const ROUNDER: f64 = 3.0 * (1u64 << 51) as f64;

/// Smaller ones are shorter as integers of any length than as numbers.
const WHOLE_MAX: u64 = 1 << 49;

/// One of so many may stand apart.
const APART: usize = 16;

/// Numbers looked at before the column is gone through.
const LOOKED_AT: usize = 32;

/// Writes a column; its length is not among the bytes.
pub(crate) fn put(out: &mut Vec<u8>, values: &[f64]) {
    let Some(first) = values.first() else { return };
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        match integer_of(*first, 1.0) {
            Some(integer) if zigzag(integer) < WHOLE_MAX => {
                out.push(WHOLE);
                put_signed(out, integer);
            }
            _ => {
                out.push(CONSTANT);
                out.extend_from_slice(&first.to_bits().to_le_bytes());
            }
        }
        return;
    }
    if let Some((exponent, decimal)) = decimals(values) {
        out.push(DECIMAL);
        out.push(exponent);
        put_varint(out, decimal.apart.len() as u64);
        let mut next = 0;
        for at in decimal.apart {
            put_varint(out, (at - next) as u64);
            out.extend_from_slice(&values[at].to_bits().to_le_bytes());
            next = at + 1;
        }
        return integers::put(out, &decimal.integers);
    }
    out.push(BITS);
    let bits: Vec<i64> = values.iter().map(|value| value.to_bits() as i64).collect();
    integers::put(out, &bits);
}

/// Reads a column of `count` numbers, and adds them to others.
pub(crate) fn read_to(reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), Damaged> {
    if count == 0 {
        return Ok(());
    }
    out.reserve(count);
    match reader.byte()? {
        CONSTANT => out.resize(out.len() + count, reader.f64()?),
        WHOLE => out.resize(out.len() + count, reader.signed()? as f64),
        DECIMAL => {
            let power = *POWERS.get(usize::from(reader.byte()?)).ok_or(Damaged)?;
            let mut apart = Vec::new();
            let mut next = 0usize;
            for _ in 0..reader.count(count)? {
                let at = next.checked_add(reader.count(count)?).ok_or(Damaged)?;
                apart.push((at, reader.f64()?));
                next = at + 1;
            }
            let begin = out.len();
            if power == 1.0 {
                integers::each(reader, count, |block| {
                    out.extend(block.iter().map(|integer| *integer as f64))
                })?;
            } else {
                let number = |integer: &i64| *integer as f64 / power;
                integers::each(reader, count, |block| out.extend(block.iter().map(number)))?;
            }
            for (at, value) in apart {
                *out[begin..].get_mut(at).ok_or(Damaged)? = value;
            }
        }
        BITS => {
            let number = |bits: &i64| f64::from_bits(*bits as u64);
            integers::each(reader, count, |block| out.extend(block.iter().map(number)))?;
        }
        _ => return Err(Damaged),
    }
    Ok(())
}

/// Reads a column of `count` numbers.
pub(crate) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, Damaged> {
    let mut values = Vec::new();
    read_to(reader, count, &mut values)?;
    Ok(values)
}

struct Decimal {
    integers: Vec<i64>,
    /// Places of numbers that are not `integer / power`.
    apart: Vec<usize>,
}

/// The numbers as integers times a power of ten, and which power; none where too many do not fit.
fn decimals(values: &[f64]) -> Option<(u8, Decimal)> {
    let stride = values.len().div_ceil(LOOKED_AT).max(1);
    let serves = |power: f64| {
        let looked_at = values.iter().step_by(stride).filter(|value| value.is_finite());
        let (mut all, mut apart) = (0usize, 0usize);
        for value in looked_at {
            all += 1;
            apart += usize::from(integer_of(*value, power).is_none());
        }
        apart * APART <= all
    };
    let mut from = 0;
    loop {
        let exponent = from + POWERS[from..].iter().position(|power| serves(*power))?;
        if let Some(decimal) = decimal_with(values, POWERS[exponent]) {
            return Some((exponent as u8, decimal));
        }
        from = exponent + 1;
    }
}

fn decimal_with(values: &[f64], power: f64) -> Option<Decimal> {
    let mut integers = Vec::with_capacity(values.len());
    let mut apart = Vec::new();
    let mut before = 0;
    for (at, value) in values.iter().enumerate() {
        match integer_of(*value, power) {
            Some(integer) => before = integer,
            None => {
                apart.push(at);
                if apart.len() * APART > values.len().max(APART) {
                    return None;
                }
            }
        }
        integers.push(before);
    }
    Some(Decimal { integers, apart })
}

/// The integer that divided by `power` gives exactly this number.
fn integer_of(value: f64, power: f64) -> Option<i64> {
    let scaled = value * power;
    // Also where it is not a number.
    if scaled.abs() > INTEGER_MAX || scaled.is_nan() {
        return None;
    }
    let integer = (scaled + ROUNDER - ROUNDER) as i64;
    ((integer as f64 / power).to_bits() == value.to_bits()).then_some(integer)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const STALE: u64 = 0x7ff0_0000_0000_0002;

    fn written(values: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, values);
        let mut reader = Reader::new(&bytes);
        let read = read(&mut reader, values.len()).expect("what was written");
        assert!(reader.is_empty());
        let bits = |values: &[f64]| -> Vec<u64> { values.iter().map(|value| value.to_bits()).collect() };
        assert_eq!(bits(&read), bits(values));
        bytes
    }

    proptest! {
        #[test]
        fn any_numbers_read_back_bit_for_bit(values in vec(any::<u64>(), 0..300)) {
            written(&values.into_iter().map(f64::from_bits).collect::<Vec<f64>>());
        }

        #[test]
        fn rounded_numbers_read_back_bit_for_bit(
            values in vec(prop_oneof![
                20 => (-1_000_000_000i64..1_000_000_000).prop_map(Some),
                1 => Just(None),
            ], 1..300),
            exponent in 0i32..8,
        ) {
            let number = |value: Option<i64>| value.map_or(f64::from_bits(STALE), |v| v as f64 / 10f64.powi(exponent));
            written(&values.into_iter().map(number).collect::<Vec<f64>>());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), count in 0usize..300) {
            let _ = read(&mut Reader::new(&bytes), count);
        }
    }

    #[test]
    fn what_never_changes_takes_nine_bytes_or_fewer() {
        assert_eq!([0.0, 60.0, -60.0, 8192.0].map(|whole| written(&[whole; 5000]).len()), [2, 2, 2, 4]);
        assert_eq!([0.1, -0.0, 1e300, 2f64.powi(50)].map(|odd| written(&[odd; 5000]).len()), [9; 4]);
        assert_eq!(written(&[f64::from_bits(STALE); 3]).len(), 9);
    }

    #[test]
    fn odd_numbers_keep_their_bits() {
        written(&[0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE, 1e300, 5e-324]);
    }

    #[test]
    fn two_digits_behind_the_point_cost_no_more_than_integers() {
        let rise =
            |power: f64| -> Vec<f64> { (0..1280).map(|at| (100 * at + at % 3) as f64 / power).collect() };
        assert_eq!(written(&rise(100.0)).len(), written(&rise(1.0)).len());
    }
}
