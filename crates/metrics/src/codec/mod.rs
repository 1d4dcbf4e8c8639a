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

/// Writes columns of numbers of the same length, one behind the other.
pub(crate) fn put_columns(out: &mut Vec<u8>, columns: &[&[f64]]) {
    columns.iter().for_each(|column| floats::put(out, column));
}

/// Reads columns of numbers.
pub(crate) fn read_columns<const N: usize>(bytes: &[u8], count: usize) -> Result<[Vec<f64>; N], Damaged> {
    whole(bytes, |reader| {
        let mut columns = std::array::from_fn(|_| Vec::new());
        for column in &mut columns {
            *column = floats::read(reader, count)?;
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
