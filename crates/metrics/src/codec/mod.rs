//! Columns: times, numbers and histograms of one series, as they lie on disk.
//!
//! In: samples of one kind, sorted. Out: a column of times and one of values, each read back with the count that stands
//! beside it. Times are apart from values because whatever was scraped together has the same times: a file keeps such a
//! column once.
//!
//! Measured beside Gorilla (Pelkonen et al., 2015) by `benches/parts`; see there.

mod floats;
mod histograms;
mod integers;

use std::sync::Arc;

use promql::Histogram;

use crate::bytes::{Damaged, Reader};

/// Samples of a chunk: more would have to be read for a short time, fewer would cost more headers.
pub(crate) const CHUNK_SAMPLES: usize = 8192;

/// Buckets of a histogram: what is more is no measurement any more, and is refused before it comes here.
pub(crate) const BUCKETS_MAX: usize = 1 << 16;

/// Writes times, milliseconds since 1970.
pub(crate) fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    integers::put(out, times);
}

/// Reads times.
pub(crate) fn read_times(bytes: &[u8], count: usize) -> Result<Vec<i64>, Damaged> {
    whole(bytes, |reader| integers::read(reader, count))
}

/// Writes numbers.
pub(crate) fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    floats::put(out, values);
}

/// Reads numbers, and adds them to others; where they cannot be read, something may have been added.
pub(crate) fn read_floats(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Damaged> {
    whole(bytes, |reader| floats::read_to(reader, count, out))
}

/// Stands for a column that is the same as the one before it; no column begins so.
const SAME: u8 = 0xff;

/// Writes columns of numbers of the same length, one behind the other.
pub(crate) fn put_columns(out: &mut Vec<u8>, columns: &[&[f64]]) {
    let mut before: Option<&[f64]> = None;
    for column in columns {
        let bits = |column: &[f64]| column.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
        match before {
            Some(before) if !column.is_empty() && bits(before) == bits(column) => out.push(SAME),
            _ => floats::put(out, column),
        }
        before = Some(column);
    }
}

/// Reads columns of numbers.
pub(crate) fn read_columns<const N: usize>(bytes: &[u8], count: usize) -> Result<[Vec<f64>; N], Damaged> {
    whole(bytes, |reader| {
        let mut columns = std::array::from_fn(|_| Vec::new());
        for at in 0..N {
            let mut next = reader.clone();
            columns[at] = if at > 0 && count > 0 && next.byte()? == SAME {
                *reader = next;
                columns[at - 1].clone()
            } else {
                floats::read(reader, count)?
            };
        }
        Ok(columns)
    })
}

/// Writes histograms.
pub(crate) fn put_histograms(out: &mut Vec<u8>, values: &[Arc<Histogram>]) {
    histograms::put(out, values);
}

/// Reads histograms.
pub(crate) fn read_histograms(bytes: &[u8], count: usize) -> Result<Vec<Arc<Histogram>>, Damaged> {
    whole(bytes, |reader| histograms::read(reader, count))
}

/// Reads something that takes all bytes.
fn whole<T>(bytes: &[u8], read: impl FnOnce(&mut Reader<'_>) -> Result<T, Damaged>) -> Result<T, Damaged> {
    let mut reader = Reader::new(bytes);
    let read = read(&mut reader)?;
    if reader.is_empty() { Ok(read) } else { Err(Damaged) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_read_back_whether_they_are_alike_or_not(
            values in vec(any::<f64>(), 0..40),
            alike in any::<[bool; 3]>(),
        ) {
            let other: Vec<f64> = values.iter().map(|value| value + 1.0).collect();
            let of = |alike: bool| if alike { &values[..] } else { &other[..] };
            let columns = [of(true), of(alike[0]), of(alike[1]), of(alike[2])];
            let mut bytes = Vec::new();
            put_columns(&mut bytes, &columns);
            let read = read_columns::<4>(&bytes, values.len()).expect("what was written");
            let bits = |column: &[f64]| column.iter().map(|value| value.to_bits()).collect::<Vec<u64>>();
            for (read, written) in read.iter().zip(columns) {
                prop_assert_eq!(bits(read), bits(written));
            }
        }
    }

    #[test]
    fn least_and_greatest_that_are_the_same_are_kept_once() {
        let column: Vec<f64> = (0..1000).map(|at| f64::from(at * at % 977)).collect();
        let len = |columns: &[&[f64]]| {
            let mut bytes = Vec::new();
            put_columns(&mut bytes, columns);
            bytes.len()
        };
        assert_eq!(len(&[&column, &column]), len(&[&column]) + 1);
    }
}
