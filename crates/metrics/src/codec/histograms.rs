//! A column of native histograms: runs that have the same buckets, each bucket a column of numbers.
//!
//! ```text
//! run:  how many │ schema, zero threshold, spans, boundaries │ resets │ count │ zero count │ sum │ bucket │ bucket │ …
//! ```

use std::sync::Arc;

use promql::{Buckets, CounterReset, Histogram, Span};

use super::{BUCKETS_MAX, floats};
use crate::bytes::{Damaged, Reader, put_signed, put_varint};

/// Numbers of a histogram that are no buckets: count, zero count, sum.
const SCALARS: usize = 3;

/// Writes histograms; how many is not among the bytes.
pub(super) fn put(out: &mut Vec<u8>, values: &[Arc<Histogram>]) {
    for run in values.chunk_by(|a, b| same_buckets(a, b)) {
        put_run(out, run);
    }
}

/// Reads `count` histograms.
pub(super) fn read(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Arc<Histogram>>, Damaged> {
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        read_run(reader, count - values.len(), &mut values)?;
    }
    Ok(values)
}

fn same_buckets(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive.spans == b.positive.spans
        && a.negative.spans == b.negative.spans
        && a.positive.counts.len() == b.positive.counts.len()
        && a.negative.counts.len() == b.negative.counts.len()
        && a.custom_values.iter().map(|v| v.to_bits()).eq(b.custom_values.iter().map(|v| v.to_bits()))
}

fn put_run(out: &mut Vec<u8>, run: &[Arc<Histogram>]) {
    let Some(first) = run.first() else { return };
    put_varint(out, run.len() as u64);
    out.push(first.schema as u8);
    out.extend_from_slice(&first.zero_threshold.to_bits().to_le_bytes());
    for buckets in [&first.positive, &first.negative] {
        put_varint(out, buckets.spans.len() as u64);
        for span in &buckets.spans {
            put_signed(out, span.offset.into());
            put_varint(out, span.length.into());
        }
        put_varint(out, buckets.counts.len() as u64);
    }
    put_varint(out, first.custom_values.len() as u64);
    first.custom_values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
    out.extend(run.iter().map(|histogram| reset_code(histogram.reset)));
    let mut column = |value: &dyn Fn(&Histogram) -> f64| {
        let values: Vec<f64> = run.iter().map(|histogram| value(histogram)).collect();
        floats::put(out, &values);
    };
    column(&|histogram| histogram.count);
    column(&|histogram| histogram.zero_count);
    column(&|histogram| histogram.sum);
    (0..first.positive.counts.len()).for_each(|at| column(&|histogram| histogram.positive.counts[at]));
    (0..first.negative.counts.len()).for_each(|at| column(&|histogram| histogram.negative.counts[at]));
}

fn read_run(reader: &mut Reader<'_>, most: usize, values: &mut Vec<Arc<Histogram>>) -> Result<(), Damaged> {
    let len = reader.count(most)?;
    if len == 0 {
        return Err(Damaged);
    }
    let schema = reader.byte()? as i8;
    let zero_threshold = reader.f64()?;
    let (positive, positive_len) = read_spans(reader)?;
    let (negative, negative_len) = read_spans(reader)?;
    let mut custom_values = Vec::new();
    for _ in 0..reader.count(BUCKETS_MAX)? {
        custom_values.push(reader.f64()?);
    }
    let custom_values: Arc<[f64]> = custom_values.into();
    let resets = reader.take(len)?;
    let mut columns = Vec::new();
    for _ in 0..SCALARS + positive_len + negative_len {
        columns.push(floats::read(reader, len)?);
    }
    let [counts, zero_counts, sums, buckets @ ..] = &columns[..] else { return Err(Damaged) };
    let (positive_columns, negative_columns) = buckets.split_at_checked(positive_len).ok_or(Damaged)?;
    for at in 0..len {
        let counts_of = |columns: &[Vec<f64>]| columns.iter().map(|column| column[at]).collect();
        values.push(Arc::new(Histogram {
            schema,
            zero_threshold,
            zero_count: zero_counts[at],
            count: counts[at],
            sum: sums[at],
            positive: Buckets { spans: positive.clone(), counts: counts_of(positive_columns) },
            negative: Buckets { spans: negative.clone(), counts: counts_of(negative_columns) },
            custom_values: Arc::clone(&custom_values),
            reset: reset_of(resets[at])?,
        }));
    }
    Ok(())
}

/// Spans, and how many buckets there are.
fn read_spans(reader: &mut Reader<'_>) -> Result<(Vec<Span>, usize), Damaged> {
    let mut spans = Vec::new();
    for _ in 0..reader.count(BUCKETS_MAX)? {
        let offset = i32::try_from(reader.signed()?).map_err(|_| Damaged)?;
        let length = u32::try_from(reader.varint()?).map_err(|_| Damaged)?;
        spans.push(Span { offset, length });
    }
    Ok((spans, reader.count(BUCKETS_MAX)?))
}

fn reset_code(reset: CounterReset) -> u8 {
    match reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    }
}

fn reset_of(code: u8) -> Result<CounterReset, Damaged> {
    Ok(match code {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        3 => CounterReset::Gauge,
        _ => return Err(Damaged),
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::histogram;

    proptest! {
        #[test]
        fn histograms_read_back(values in vec(histogram(), 1..40)) {
            let mut bytes = Vec::new();
            put(&mut bytes, &values);
            let mut reader = Reader::new(&bytes);
            let read = read(&mut reader, values.len()).expect("what was written");
            prop_assert!(reader.is_empty());
            // As text: a sum that is not a number equals itself there.
            prop_assert_eq!(format!("{read:?}"), format!("{values:?}"));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), count in 0usize..100) {
            let _ = read(&mut Reader::new(&bytes), count);
        }
    }
}
