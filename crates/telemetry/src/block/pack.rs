//! Numbers in few bytes: distances from the smallest, in byte planes.

/// Bytes in front of the planes: width, count, smallest.
const HEAD: usize = 1 + 4 + 8;

/// Appends `values` to `out`, packed. `values` is walked twice.
pub(crate) fn pack<I>(values: I, out: &mut Vec<u8>)
where
    I: ExactSizeIterator<Item = u64> + Clone,
{
    let count = values.len();
    let (base, range) = base_and_range(values.clone());
    let width = (8 - range.leading_zeros() as usize / 8) * usize::from(range > 0);
    out.push(width as u8);
    out.extend_from_slice(&(count as u32).to_le_bytes());
    out.extend_from_slice(&base.to_le_bytes());
    let start = out.len();
    out.resize(start + width * count, 0);
    let planes = &mut out[start..];
    match width {
        0 => {}
        1 => planes.iter_mut().zip(values).for_each(|(byte, value)| *byte = value.wrapping_sub(base) as u8),
        _ => {
            for (row, value) in values.enumerate() {
                let bytes = value.wrapping_sub(base).to_le_bytes();
                for plane in 0..width {
                    planes[plane * count + row] = bytes[plane];
                }
            }
        }
    }
}

/// The number to measure distances from, and the largest distance. Numbers may be signed: those around zero are close
/// to each other as signed ones, far as unsigned ones.
fn base_and_range(values: impl Iterator<Item = u64>) -> (u64, u64) {
    let (mut min, mut max) = (u64::MAX, 0u64);
    let (mut signed_min, mut signed_max) = (i64::MAX, i64::MIN);
    let mut any = false;
    for value in values {
        any = true;
        min = min.min(value);
        max = max.max(value);
        signed_min = signed_min.min(value as i64);
        signed_max = signed_max.max(value as i64);
    }
    if !any {
        return (0, 0);
    }
    let signed_range = signed_max.wrapping_sub(signed_min) as u64;
    if signed_range < max - min { (signed_min as u64, signed_range) } else { (min, max - min) }
}

/// The numbers [`pack`] wrote; `None` where the bytes are none of its.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<u64>> {
    let (head, planes) = bytes.split_at_checked(HEAD)?;
    let width = usize::from(head[0]);
    let count = u32::from_le_bytes(head[1..5].try_into().ok()?) as usize;
    let base = u64::from_le_bytes(head[5..13].try_into().ok()?);
    if width > 8 || planes.len() != width.checked_mul(count)? || count > MAX_COUNT {
        return None;
    }
    let mut values = vec![0u64; count];
    for (plane, bytes) in planes.chunks_exact(count.max(1)).enumerate() {
        for (value, &byte) in values.iter_mut().zip(bytes) {
            *value |= u64::from(byte) << (8 * plane);
        }
    }
    for value in &mut values {
        *value = value.wrapping_add(base);
    }
    Some(values)
}

/// Numbers of width 0 cost no bytes; their count is bounded all the same.
const MAX_COUNT: usize = 1 << 26;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(values: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        pack(values.iter().copied(), &mut out);
        out
    }

    #[test]
    fn equal_numbers_cost_nothing_and_close_ones_a_byte() {
        assert_eq!(packed(&[7; 1000]).len(), HEAD);
        assert_eq!(packed(&(1_000_000..1_000_256).collect::<Vec<u64>>()).len(), HEAD + 256);
        let around_zero: Vec<u64> = (-100i64..100).map(|v| v as u64).collect();
        assert_eq!(packed(&around_zero).len(), HEAD + 200);
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(values in prop::collection::vec(any::<u64>(), 0..50), shift in 0u32..64) {
            let values: Vec<u64> = values.iter().map(|v| v >> shift).collect();
            prop_assert_eq!(unpack(&packed(&values)), Some(values));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            unpack(&bytes);
        }
    }
}
