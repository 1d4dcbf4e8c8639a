//! Native histograms in protobuf, as both versions of remote-write send them, and what makes one consistent.
//!
//! In: a `Histogram` message. Out: a [`Histogram`] of absolute counts and its time, or what contradicts itself in it.
//!
//! Sources: `io.prometheus.write.v2.Histogram`, <https://prometheus.io/docs/specs/native_histograms/>.

use std::sync::Arc;

use promql::{Buckets, CounterReset, Histogram, Span};
use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::{Limits, STALE_BITS};

/// The schema whose boundaries the histogram brings itself.
pub(crate) const CUSTOM_SCHEMA: i8 = -53;

/// The schemas whose boundaries are powers.
pub(crate) const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i64> = -4..=8;

/// A histogram with its time, in milliseconds since 1970.
#[derive(Debug)]
pub(crate) struct Timed {
    pub(crate) at_ms: i64,
    pub(crate) histogram: Histogram,
}

/// What is wrong with a histogram, in words.
pub(crate) type Contradiction = String;

/// One side of a histogram as it came.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

#[derive(Default)]
struct Raw {
    at_ms: i64,
    count: f64,
    count_int: Option<u64>,
    sum: f64,
    schema: i64,
    zero_threshold: f64,
    zero_count: f64,
    zero_count_int: Option<u64>,
    negative: Side,
    positive: Side,
    reset: u64,
    custom_values: Vec<f64>,
}

/// Reads a message. The outer error is one of protobuf, the inner one of the histogram.
pub(crate) fn read(message: &[u8], limits: &Limits) -> Result<Result<Timed, Contradiction>, Fault> {
    const COUNT_INT: u32 = varint(1);
    const COUNT_FLOAT: u32 = fixed64(2);
    const SUM: u32 = fixed64(3);
    const SCHEMA: u32 = varint(4);
    const ZERO_THRESHOLD: u32 = fixed64(5);
    const ZERO_COUNT_INT: u32 = varint(6);
    const ZERO_COUNT_FLOAT: u32 = fixed64(7);
    const NEGATIVE_SPAN: u32 = len(8);
    const NEGATIVE_DELTAS: u32 = len(9);
    const NEGATIVE_DELTA: u32 = varint(9);
    const NEGATIVE_COUNTS: u32 = len(10);
    const NEGATIVE_COUNT: u32 = fixed64(10);
    const POSITIVE_SPAN: u32 = len(11);
    const POSITIVE_DELTAS: u32 = len(12);
    const POSITIVE_DELTA: u32 = varint(12);
    const POSITIVE_COUNTS: u32 = len(13);
    const POSITIVE_COUNT: u32 = fixed64(13);
    const RESET: u32 = varint(14);
    const TIME: u32 = varint(15);
    const CUSTOM_VALUES: u32 = len(16);
    const CUSTOM_VALUE: u32 = fixed64(16);
    let most = limits.buckets;
    let mut raw = Raw::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            COUNT_INT => raw.count_int = Some(reader.varint()?),
            COUNT_FLOAT => (raw.count, raw.count_int) = (reader.double()?, None),
            SUM => raw.sum = reader.double()?,
            SCHEMA => raw.schema = reader.zigzag()?,
            ZERO_THRESHOLD => raw.zero_threshold = reader.double()?,
            ZERO_COUNT_INT => raw.zero_count_int = Some(reader.varint()?),
            ZERO_COUNT_FLOAT => (raw.zero_count, raw.zero_count_int) = (reader.double()?, None),
            NEGATIVE_SPAN => keep(&mut raw.negative.spans, most, span(reader.bytes()?)?),
            NEGATIVE_DELTAS => reader.packed(&mut raw.negative.deltas, most, Reader::zigzag)?,
            NEGATIVE_DELTA => keep(&mut raw.negative.deltas, most, reader.zigzag()?),
            NEGATIVE_COUNTS => reader.packed(&mut raw.negative.counts, most, Reader::double)?,
            NEGATIVE_COUNT => keep(&mut raw.negative.counts, most, reader.double()?),
            POSITIVE_SPAN => keep(&mut raw.positive.spans, most, span(reader.bytes()?)?),
            POSITIVE_DELTAS => reader.packed(&mut raw.positive.deltas, most, Reader::zigzag)?,
            POSITIVE_DELTA => keep(&mut raw.positive.deltas, most, reader.zigzag()?),
            POSITIVE_COUNTS => reader.packed(&mut raw.positive.counts, most, Reader::double)?,
            POSITIVE_COUNT => keep(&mut raw.positive.counts, most, reader.double()?),
            RESET => raw.reset = reader.varint()?,
            TIME => raw.at_ms = reader.varint()? as i64,
            CUSTOM_VALUES => reader.packed(&mut raw.custom_values, most, Reader::double)?,
            CUSTOM_VALUE => keep(&mut raw.custom_values, most, reader.double()?),
            _ => reader.skip(tag)?,
        }
    }
    Ok(raw.finish(limits))
}

fn span(message: &[u8]) -> Result<Span, Fault> {
    let (mut offset, mut length) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == varint(1) => offset = reader.zigzag()?,
            _ if tag == varint(2) => length = reader.varint()?,
            _ => reader.skip(tag)?,
        }
    }
    let offset =
        i32::try_from(offset).map_err(|_| reader.fault("the offset of a span has more than 32 bits"))?;
    let length =
        u32::try_from(length).map_err(|_| reader.fault("the length of a span has more than 32 bits"))?;
    Ok(Span { offset, length })
}

impl Raw {
    fn finish(self, limits: &Limits) -> Result<Timed, Contradiction> {
        if self.sum.to_bits() == STALE_BITS {
            return Ok(Timed { at_ms: self.at_ms, histogram: stale() });
        }
        let whole = self.count_int.is_some();
        let schema = match i8::try_from(self.schema) {
            Ok(CUSTOM_SCHEMA) => CUSTOM_SCHEMA,
            Ok(schema) if EXPONENTIAL_SCHEMAS.contains(&self.schema) => schema,
            _ => return Err(format!("schema {} is not known; -4 to 8 and -53 are", self.schema)),
        };
        for side in [&self.negative, &self.positive] {
            let most = side.spans.len().max(side.deltas.len()).max(side.counts.len());
            if most > limits.buckets {
                return Err(format!("there are more than {} buckets or spans", limits.buckets));
            }
            if !side.deltas.is_empty() && !side.counts.is_empty() {
                return Err("buckets are given both as deltas and as counts".to_owned());
            }
            if whole != side.counts.is_empty() && !(side.deltas.is_empty() && side.counts.is_empty()) {
                return Err("whole counts go with deltas of buckets, and floats with counts".to_owned());
            }
        }
        if self.custom_values.len() > limits.buckets {
            return Err(format!("there are more than {} boundaries", limits.buckets));
        }
        let histogram = Histogram {
            schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count_int.map_or(self.zero_count, |count| count as f64),
            count: self.count_int.map_or(self.count, |count| count as f64),
            sum: self.sum,
            positive: self.positive.buckets()?,
            negative: self.negative.buckets()?,
            custom_values: Arc::from(self.custom_values),
            reset: match self.reset {
                1 => CounterReset::Reset,
                3 => CounterReset::Gauge,
                // 2 is said of the sample before in the sender's store. Here another one may be before it.
                _ => CounterReset::Unknown,
            },
        };
        check(&histogram, if whole { Counts::Whole } else { Counts::Floats })?;
        Ok(Timed { at_ms: self.at_ms, histogram })
    }
}

impl Side {
    fn buckets(self) -> Result<Buckets, Contradiction> {
        let counts = match self.deltas.is_empty() {
            true => self.counts,
            false => {
                let absolute = self.deltas.into_iter().scan(0i64, |count, delta| {
                    *count = count.checked_add(delta).filter(|&count| count >= 0).unwrap_or(i64::MIN);
                    Some(*count as f64)
                });
                absolute.collect()
            }
        };
        Ok(Buckets { spans: self.spans, counts })
    }
}

/// A histogram that says that its series ended. Whatever else was in it means nothing.
pub(crate) fn stale() -> Histogram {
    Histogram {
        schema: 0,
        zero_threshold: 0.0,
        zero_count: 0.0,
        count: 0.0,
        sum: f64::from_bits(STALE_BITS),
        positive: Buckets::default(),
        negative: Buckets::default(),
        custom_values: Arc::from([]),
        reset: CounterReset::Unknown,
    }
}

/// How the counts of a histogram were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    /// Exactly: the buckets have to add up.
    Whole,
    /// As floats, which need not add up to the last digit.
    Floats,
}

/// Whether a histogram agrees with itself, by the rules Prometheus has for what it takes in.
pub(crate) fn check(histogram: &Histogram, counts: Counts) -> Result<(), Contradiction> {
    let Histogram {
        schema, zero_threshold, zero_count, count, sum, positive, negative, custom_values, ..
    } = histogram;
    if *schema == CUSTOM_SCHEMA {
        check_boundaries(custom_values)?;
        if *zero_count != 0.0 || *zero_threshold != 0.0 {
            return Err("a histogram with boundaries of its own has no zero bucket".to_owned());
        }
        if !negative.spans.is_empty() || !negative.counts.is_empty() {
            return Err("a histogram with boundaries of its own has no negative buckets".to_owned());
        }
        let used: i64 =
            positive.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        if used > custom_values.len() as i64 + 1 || positive.spans.first().is_some_and(|span| span.offset < 0)
        {
            return Err(format!("the buckets reach beyond the {} boundaries", custom_values.len()));
        }
    } else if !custom_values.is_empty() {
        return Err(format!("boundaries are given with schema {schema}, which has its own"));
    }
    if zero_threshold.is_nan() || *zero_threshold < 0.0 {
        return Err(format!("the zero bucket reaches to {zero_threshold}"));
    }
    for (name, side) in [("positive", positive), ("negative", negative)] {
        check_side(name, side)?;
    }
    for (name, value) in [("count", *count), ("zero count", *zero_count)] {
        if value.is_nan() || value < 0.0 {
            return Err(format!("the {name} is {value}"));
        }
    }
    if counts == Counts::Whole {
        let buckets: f64 = zero_count + positive.counts.iter().chain(&negative.counts).sum::<f64>();
        // NaN is observed, but in no bucket.
        let agrees = if sum.is_nan() { *count >= buckets } else { *count == buckets };
        if !agrees {
            return Err(format!("the count is {count}, and the buckets hold {buckets}"));
        }
    }
    Ok(())
}

fn check_boundaries(boundaries: &[f64]) -> Result<(), Contradiction> {
    if let Some(pair) =
        boundaries.windows(2).find(|pair| pair[0].partial_cmp(&pair[1]) != Some(std::cmp::Ordering::Less))
    {
        return Err(format!("the boundaries do not rise from {} to {}", pair[0], pair[1]));
    }
    match boundaries.iter().find(|boundary| !boundary.is_finite() && **boundary != f64::NEG_INFINITY) {
        Some(boundary) => Err(format!("{boundary} is a boundary; the one of +Inf is not written")),
        None => Ok(()),
    }
}

fn check_side(name: &str, side: &Buckets) -> Result<(), Contradiction> {
    if let Some(span) = side.spans.iter().skip(1).find(|span| span.offset < 0) {
        return Err(format!(
            "a span of {name} buckets begins {} before the end of the one before it",
            -i64::from(span.offset)
        ));
    }
    let long: u64 = side.spans.iter().map(|span| u64::from(span.length)).sum();
    if long != side.counts.len() as u64 {
        return Err(format!("the spans of {name} buckets hold {long}, and {} are given", side.counts.len()));
    }
    // The index of the last bucket has to be one.
    let end: i64 = side.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
    if i32::try_from(end).is_err() {
        return Err(format!("the {name} buckets end at index {end}"));
    }
    match side.counts.iter().find(|count| count.is_nan() || **count < 0.0) {
        Some(count) => Err(format!("a {name} bucket holds {count}")),
        None => Ok(()),
    }
}
