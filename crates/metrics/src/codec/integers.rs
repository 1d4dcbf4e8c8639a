//! A column of integers, in blocks of 128: differences of the order that makes them smallest, minus a base, as few bits
//! as most of them need; the few that need more stand behind.
//!
//! ```text
//! column:  order u8 │ first values │ rest: all zero, or common factor where there is one, blocks
//! block:   width and whether there are exceptions u8 │ base │ bits │ exceptions: count, each place u8 and difference
//! ```
//!
//! What is counted in sectors and pages has a common factor: the rest is divided by it. The base and the width of a block are those for which bits and exceptions are smallest together ("patched frame of
//! reference": Zukowski et al., "Super-Scalar RAM-CPU Cache Compression", 2006). Arithmetic wraps, so any integers
//! read back.

use crate::bytes::{
    Damaged, Reader, bits_len, put_bits, put_signed, put_varint, read_bits, width_of, zigzag,
};

/// Values of a block: a few bytes of header are little for so many, and a place fits a byte.
const BLOCK: usize = 128;

/// Blocks that are looked at to choose the order of differences.
const LOOKED_AT: usize = 4;

/// Order of differences.
const ORDERS: usize = 3;

/// Set in the first byte of a column whose differences are all zero.
const ZERO: u8 = 0x80;

/// Set in the first byte of a column whose differences are multiples of something.
const MULTIPLES: u8 = 0x40;

/// Set in the first byte of a block with exceptions.
const PATCHED: u8 = 0x80;

/// Writes a column; its length is not among the bytes.
pub(super) fn put(out: &mut Vec<u8>, values: &[i64]) {
    let order = order_of(values);
    let mut rest = values.to_vec();
    let first = order.min(rest.len());
    for round in 0..first {
        // From behind, so that each difference is to the value before it as it was.
        for at in (round + 1..rest.len()).rev() {
            rest[at] = rest[at].wrapping_sub(rest[at - 1]);
        }
    }
    let factor = common_factor(&rest[first..]);
    out.push(match factor {
        0 => order as u8 | ZERO,
        1 => order as u8,
        _ => order as u8 | MULTIPLES,
    });
    rest[..first].iter().for_each(|value| put_signed(out, *value));
    if factor > 1 {
        put_signed(out, factor);
        rest[first..].iter_mut().for_each(|value| *value /= factor);
    }
    if factor > 0 {
        rest[first..].chunks(BLOCK).for_each(|block| put_block(out, block));
    }
}

/// The greatest integer of which all are multiples; 0 where all are zero.
fn common_factor(values: &[i64]) -> i64 {
    let mut factor = 0u64;
    for value in values {
        let (mut a, mut b) = (value.unsigned_abs(), factor);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        factor = a;
        if factor == 1 {
            break;
        }
    }
    // 2^63 alone is none, since nothing could be multiplied by it.
    i64::try_from(factor).unwrap_or(1)
}

/// Reads a column of `count` integers and shows them in their order, a block at a time: one that is read, summed up and
/// made something else of while it is at hand costs less than the three one after the other for the whole column.
pub(super) fn each(
    reader: &mut Reader<'_>,
    count: usize,
    mut show: impl FnMut(&[i64]),
) -> Result<(), Damaged> {
    let head = reader.byte()?;
    let order = usize::from(head & !(ZERO | MULTIPLES));
    if order >= ORDERS {
        return Err(Damaged);
    }
    // The value and the difference before the next.
    let (mut value, mut difference) = (0i64, 0i64);
    let first = order.min(count);
    for at in 0..first {
        let next = reader.signed()?;
        value = value.wrapping_add(next);
        if at > 0 {
            difference = next;
        }
        show(&[value]);
    }
    let factor = if head & MULTIPLES != 0 && head & ZERO == 0 { reader.signed()? } else { 1 };
    let mut buffer = [0i64; BLOCK];
    for from in (first..count).step_by(BLOCK) {
        let block = &mut buffer[..BLOCK.min(count - from)];
        if head & ZERO == 0 {
            read_block(reader, block)?;
        } else {
            block.fill(0);
        }
        if factor != 1 {
            block.iter_mut().for_each(|value| *value = value.wrapping_mul(factor));
        }
        match order {
            0 => {}
            1 => value = sum(block, value),
            _ => {
                difference = sum(block, difference);
                value = sum(block, value);
            }
        }
        show(block);
    }
    Ok(())
}

/// Reads a column of `count` integers.
pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Damaged> {
    let mut values = Vec::with_capacity(count);
    each(reader, count, |block| values.extend_from_slice(block))?;
    Ok(values)
}

/// Makes of each value the sum of all up to it and of what was before; answers the last.
fn sum(values: &mut [i64], mut before: i64) -> i64 {
    for value in values {
        before = before.wrapping_add(*value);
        *value = before;
    }
    before
}

/// The order of differences that needs the fewest bits, as a few blocks show.
fn order_of(values: &[i64]) -> usize {
    let blocks = values.len().div_ceil(BLOCK);
    let stride = blocks.div_ceil(LOOKED_AT).max(1);
    let mut bits = [0u64; ORDERS];
    for block in values.chunks(BLOCK).step_by(stride) {
        let mut from = [0i64; ORDERS];
        let (mut before, mut difference_before) = (0i64, 0i64);
        for (at, value) in block.iter().enumerate() {
            let difference = value.wrapping_sub(before);
            let second = difference.wrapping_sub(difference_before);
            for (order, looked_at) in [*value, difference, second].into_iter().enumerate() {
                if at == order {
                    from[order] = looked_at;
                } else if at > order {
                    let distance = zigzag(looked_at.wrapping_sub(from[order]));
                    bits[order] += u64::from(u64::BITS - distance.leading_zeros());
                }
            }
            (before, difference_before) = (*value, difference);
        }
    }
    // Of equals the lowest order: it is read fastest. What does not change in it is zero in the next.
    let order = (0..ORDERS).min_by_key(|order| bits[*order]).unwrap_or(0);
    if bits[order] == 0 { (order + 1).min(ORDERS - 1) } else { order }
}

/// How a block is written.
struct Fit {
    base: i64,
    width: u32,
}

fn put_block(out: &mut Vec<u8>, block: &[i64]) {
    let fit = fit_of(block);
    let offset = |value: &i64| value.wrapping_sub(fit.base) as u64;
    let outside = |value: &i64| fit.width < u64::BITS && offset(value) >> fit.width != 0;
    let exceptions = block.iter().filter(|value| outside(value)).count();
    out.push(fit.width as u8 | if exceptions > 0 { PATCHED } else { 0 });
    put_signed(out, fit.base);
    put_bits(out, block.iter().map(|value| if outside(value) { 0 } else { offset(value) }), fit.width);
    if exceptions > 0 {
        put_varint(out, exceptions as u64);
        for (at, value) in block.iter().enumerate().filter(|(_, value)| outside(value)) {
            out.push(at as u8);
            put_signed(out, value.wrapping_sub(fit.base));
        }
    }
}

fn read_block(reader: &mut Reader<'_>, block: &mut [i64]) -> Result<(), Damaged> {
    let head = reader.byte()?;
    let width = u32::from(head & !PATCHED);
    if width > u64::BITS {
        return Err(Damaged);
    }
    let base = reader.signed()?;
    let bytes = reader.take(bits_len(block.len(), width))?;
    read_bits(bytes, width, block)?;
    block.iter_mut().for_each(|value| *value = value.wrapping_add(base));
    if head & PATCHED != 0 {
        for _ in 0..reader.count(block.len())? {
            let at = usize::from(reader.byte()?);
            *block.get_mut(at).ok_or(Damaged)? = base.wrapping_add(reader.signed()?);
        }
    }
    Ok(())
}

/// The base and width with the fewest bytes.
fn fit_of(block: &[i64]) -> Fit {
    let mut sorted = [0i64; BLOCK];
    let sorted = &mut sorted[..block.len()];
    sorted.copy_from_slice(block);
    let (min, max) = sorted.iter().fold((i64::MAX, i64::MIN), |(min, max), v| (min.min(*v), max.max(*v)));
    let full = width_of(max.wrapping_sub(min) as u64);
    if full <= 1 {
        return Fit { base: min, width: full };
    }
    sorted.sort_unstable();
    // A place, and the difference in sevens of bits.
    let exception_len = 2 + full as usize / 7;
    let mut best = (bits_len(block.len(), full), Fit { base: min, width: full });
    for width in (0..full.min(WIDTH_LOOKED_AT)).rev() {
        let (base, covered) = densest(sorted, width);
        let exceptions = sorted.len() - covered;
        let len = bits_len(sorted.len(), width) + 1 + exceptions * exception_len;
        if len < best.0 {
            best = (len, Fit { base, width });
        }
        if exceptions * exception_len > best.0 {
            break;
        }
    }
    best.1
}

/// Widths above this are taken as they are: what needs more bits is noise, and looking for less costs time.
const WIDTH_LOOKED_AT: u32 = 48;

/// The base from which `width` bits reach the most values, and how many.
fn densest(sorted: &[i64], width: u32) -> (i64, usize) {
    let reach = (1u64 << width) - 1;
    let (mut best, mut end) = ((sorted[0], 0), 0);
    for (at, base) in sorted.iter().enumerate() {
        while end < sorted.len() && sorted[end].wrapping_sub(*base) as u64 <= reach {
            end += 1;
        }
        if end - at > best.1 {
            best = (*base, end - at);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[i64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, values);
        let mut reader = Reader::new(&bytes);
        assert_eq!(read(&mut reader, values.len()).as_deref(), Ok(values));
        assert!(reader.is_empty());
        bytes
    }

    proptest! {
        #[test]
        fn any_integers_read_back(values in vec(any::<i64>(), 0..400)) {
            written(&values);
        }

        #[test]
        fn integers_that_rise_and_begin_anew_read_back(
            steps in vec(prop_oneof![9 => 0i64..300, 1 => any::<i64>()], 0..600),
        ) {
            let mut value = 0i64;
            let values: Vec<i64> = steps.iter().map(|step| { value = value.wrapping_add(*step); value }).collect();
            written(&values);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), count in 0usize..300) {
            let _ = read(&mut Reader::new(&bytes), count);
        }
    }

    #[test]
    fn an_even_rise_takes_a_few_bytes_however_long() {
        let values: Vec<i64> = (0..10_000).map(|at| 1_700_000_000_000 + 1000 * at).collect();
        assert!(written(&values).len() < 16);
    }

    #[test]
    fn pages_are_counted_as_pages() {
        let pages = |size: i64| -> Vec<i64> { (0..1024).map(|at| (1000 + at * at % 37) * size).collect() };
        assert!(written(&pages(4096)).len() <= written(&pages(1)).len() + 8);
    }

    #[test]
    fn one_leap_does_not_widen_its_neighbours() {
        let mut value = 0;
        let values: Vec<i64> = (0..128)
            .map(|at| {
                value += if at == 60 { 1 << 40 } else { 99 + at % 3 };
                value
            })
            .collect();
        assert!(written(&values).len() < 128 / 4 + 24);
    }
}
