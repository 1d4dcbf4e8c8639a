//! Parquet's encodings of values in a page, those that are used here, both ways.
//!
//! Source: `Encodings.md` of apache/parquet-format. Written by hand because rows arrive as codes of dictionaries already:
//! a writer that takes values would hash each of them again. What is read was checked by its checksum; what makes no
//! sense all the same is `None`, never a panic.

use crate::column::Strings;
pub(super) use protowire::put_varint;

/// Values of a page are unpacked only up to this many.
const VALUES_MAX: usize = 1 << 20;

/// Values in a block of `DELTA_BINARY_PACKED`, and in each of its miniblocks.
const BLOCK: usize = 128;
const MINIBLOCK: usize = 32;

pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Bits that hold values up to `max`; at least one.
pub(super) fn width(max: u32) -> u8 {
    (32 - max.leading_zeros()).max(1) as u8
}

/// Packs values of `width` bits, lowest bit first.
fn pack_bits(values: impl Iterator<Item = u64>, width: u8, out: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u128, 0);
    for value in values {
        bits |= u128::from(value) << held;
        held += u32::from(width);
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        out.push(bits as u8);
    }
}

/// Reads `count` values of `width` bits.
fn unpack_bits(bytes: &[u8], width: u8, count: usize, mut each: impl FnMut(u64)) -> Option<()> {
    if bytes.len() * 8 < count * usize::from(width) {
        return None;
    }
    let mask = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    let (mut bits, mut held, mut rest) = (0u128, 0, bytes);
    for _ in 0..count {
        while held < u32::from(width) {
            if let Some((word, next)) = rest.split_first_chunk::<4>() {
                bits |= u128::from(u32::from_le_bytes(*word)) << held;
                rest = next;
                held += 32;
            } else {
                let (&byte, next) = rest.split_first()?;
                bits |= u128::from(byte) << held;
                rest = next;
                held += 8;
            }
        }
        each(bits as u64 & mask);
        bits >>= width;
        held -= u32::from(width);
    }
    Some(())
}

/// The RLE and bit-packing hybrid: one run where all values are the same, else all of them packed.
pub(super) fn pack_codes(values: &[u32], width: u8, out: &mut Vec<u8>) {
    match values.first() {
        Some(first) if values.iter().all(|value| value == first) => {
            put_varint(out, (values.len() as u64) << 1);
            out.extend_from_slice(&first.to_le_bytes()[..usize::from(width).div_ceil(8)]);
        }
        Some(_) => {
            let groups = values.len().div_ceil(8);
            put_varint(out, (groups as u64) << 1 | 1);
            let padding = groups * 8 - values.len();
            let values = values.iter().map(|&value| u64::from(value));
            pack_bits(values.chain(std::iter::repeat_n(0, padding)), width, out);
        }
        None => {}
    }
}

/// Reads `count` values of the hybrid.
pub(super) fn unpack_codes(mut bytes: &[u8], width: u8, count: usize) -> Option<Vec<u32>> {
    if count > VALUES_MAX || width == 0 || width > 32 {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let head = take_varint(&mut bytes)?;
        let missing = count - values.len();
        if head & 1 == 0 {
            let (raw, rest) = bytes.split_at_checked(usize::from(width).div_ceil(8))?;
            bytes = rest;
            let value = raw.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
            let run = usize::try_from(head >> 1).ok()?.min(missing);
            if run == 0 {
                return None;
            }
            values.resize(values.len() + run, value);
        } else {
            let packed = usize::try_from(head >> 1).ok()?.checked_mul(usize::from(width))?;
            let (raw, rest) = bytes.split_at_checked(packed)?;
            bytes = rest;
            let run = (raw.len() * 8 / usize::from(width)).min(missing);
            if run == 0 {
                return None;
            }
            unpack_bits(raw, width, run, |value| values.push(value as u32))?;
        }
    }
    Some(values)
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// `DELTA_BINARY_PACKED`, of 64-bit numbers.
pub(super) fn pack_deltas(values: &[u64], out: &mut Vec<u8>) {
    put_varint(out, BLOCK as u64);
    put_varint(out, (BLOCK / MINIBLOCK) as u64);
    put_varint(out, values.len() as u64);
    put_varint(out, zigzag(values.first().copied().unwrap_or(0) as i64));
    let mut deltas = [0i64; BLOCK];
    let mut last = values.first().copied().unwrap_or(0);
    for block in values.get(1..).unwrap_or(&[]).chunks(BLOCK) {
        for (delta, &value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(last) as i64;
            last = value;
        }
        let deltas = &deltas[..block.len()];
        let min = deltas.iter().copied().min().unwrap_or(0);
        put_varint(out, zigzag(min));
        let above = |delta: &i64| delta.wrapping_sub(min) as u64;
        let mut widths = [0u8; BLOCK / MINIBLOCK];
        for (width, part) in widths.iter_mut().zip(deltas.chunks(MINIBLOCK)) {
            *width = 64 - part.iter().map(above).fold(0, |all, n| all | n).leading_zeros() as u8;
        }
        out.extend_from_slice(&widths);
        for (&width, part) in widths.iter().zip(deltas.chunks(MINIBLOCK)) {
            let padding = std::iter::repeat_n(0, MINIBLOCK - part.len());
            pack_bits(part.iter().map(above).chain(padding), width, out);
        }
    }
}

/// Reads what [`pack_deltas`] wrote.
pub(super) fn unpack_deltas(mut bytes: &[u8]) -> Option<Vec<u64>> {
    let bytes = &mut bytes;
    if take_varint(bytes)? != BLOCK as u64 || take_varint(bytes)? != (BLOCK / MINIBLOCK) as u64 {
        return None;
    }
    let unzigzag = |value: u64| (value >> 1) as i64 ^ -((value & 1) as i64);
    let count = usize::try_from(take_varint(bytes)?).ok()?;
    let mut last = unzigzag(take_varint(bytes)?) as u64;
    if count > VALUES_MAX {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    if count > 0 {
        values.push(last);
    }
    while values.len() < count {
        let min = unzigzag(take_varint(bytes)?) as u64;
        let (widths, rest) = bytes.split_first_chunk::<{ BLOCK / MINIBLOCK }>()?;
        *bytes = rest;
        for &width in widths {
            let wanted = (count - values.len()).min(MINIBLOCK);
            if wanted == 0 {
                break;
            }
            let (raw, rest) = bytes.split_at_checked(MINIBLOCK * usize::from(width) / 8)?;
            *bytes = rest;
            unpack_bits(raw, width, wanted, |above| {
                last = last.wrapping_add(min).wrapping_add(above);
                values.push(last);
            })?;
        }
    }
    Some(values)
}

/// Presence as definition levels of a data page (version 1): a length, then the hybrid with one bit a row.
pub(super) fn pack_presence(presence: &[bool], out: &mut Vec<u8>) {
    let levels: Vec<u32> = presence.iter().map(|&there| u32::from(there)).collect();
    let at = out.len();
    out.extend([0; 4]);
    pack_codes(&levels, 1, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

/// Reads definition levels; answers what follows them too.
pub(super) fn unpack_presence(bytes: &[u8], rows: usize) -> Option<(Vec<bool>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (levels, values) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    Some((unpack_codes(levels, 1, rows)?.into_iter().map(|level| level == 1).collect(), values))
}

/// A byte array in `PLAIN`.
pub(super) fn put_plain(out: &mut Vec<u8>, value: &[u8]) {
    out.extend((value.len() as u32).to_le_bytes());
    out.extend_from_slice(value);
}

/// `count` byte arrays in `PLAIN`: their bytes, and where each ends.
pub(super) fn take_plain(mut bytes: &[u8], count: usize) -> Option<(Vec<u8>, Vec<u32>)> {
    let mut heap = Vec::with_capacity(bytes.len());
    let mut ends = Vec::with_capacity(count.min(VALUES_MAX));
    for _ in 0..count {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        heap.extend_from_slice(value);
        ends.push(heap.len() as u32);
        bytes = rest;
    }
    Some((heap, ends))
}

/// The entries of a dictionary in `PLAIN`.
pub(super) fn put_entries(out: &mut Vec<u8>, entries: &Strings) {
    (0..entries.entries() as u32).for_each(|code| put_plain(out, entries.entry(code)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn codes_read_back(values in prop::collection::vec(0u32..5000, 0..400), same in any::<bool>()) {
            let values = if same { vec![7; values.len()] } else { values };
            let width = width(values.iter().copied().max().unwrap_or(0));
            let mut out = Vec::new();
            pack_codes(&values, width, &mut out);
            prop_assert_eq!(unpack_codes(&out, width, values.len()), Some(values));
        }

        #[test]
        fn deltas_read_back(values in prop::collection::vec(any::<u64>(), 0..400), small in any::<bool>()) {
            let values: Vec<u64> = values.into_iter().map(|v| if small { v % 1000 } else { v }).collect();
            let mut out = Vec::new();
            pack_deltas(&values, &mut out);
            prop_assert_eq!(unpack_deltas(&out), Some(values));
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), width in 0u8..40) {
            let _ = unpack_codes(&bytes, width, 1000);
            let _ = unpack_deltas(&bytes);
            let _ = unpack_presence(&bytes, 1000);
            let _ = take_plain(&bytes, 1000);
        }
    }
}
