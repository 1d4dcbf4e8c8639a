//! Exponential histograms, as native histograms.
//!
//! Both have buckets whose boundaries are powers of 2^(2^-scale). A native histogram has scales from -4 to 8: finer ones
//! are made coarser, which loses no observation, and coarser ones cannot be taken. OpenTelemetry counts buckets from their
//! lower boundary, Prometheus from their upper one.

use std::sync::Arc;

use promql::{Buckets, CounterReset, Histogram, Span, Value};
use protowire::{Fault, Reader, fixed64, keep, len, varint};

use super::super::Cause;
use super::super::histogram::{self, Counts, EXPONENTIAL_SCHEMAS};
use super::super::labels::Unfit;
use super::resource::{attributes, too_many};
use super::walk::{Flags, Metric, Taken, Walk, at_ms};

/// How wide the zero bucket is where the sender does not say: Prometheus' default, narrower than anything measured.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Empty buckets between two others that are written as such; more of them begin a new span, which takes as much room.
const GAP: i64 = 2;

/// An `ExponentialHistogramDataPoint`.
#[derive(Default)]
struct Point<'a> {
    attributes: Vec<&'a [u8]>,
    time: u64,
    count: u64,
    sum: f64,
    scale: i64,
    zero_count: u64,
    positive: Dense,
    negative: Dense,
    exemplars: Vec<&'a [u8]>,
    zero_threshold: f64,
    flags: Flags,
}

/// Neighbouring buckets from an index on.
#[derive(Default)]
struct Dense {
    offset: i64,
    counts: Vec<u64>,
}

impl Walk<'_> {
    /// A data point of an exponential histogram.
    pub(super) fn exponential_histogram(
        &mut self,
        metric: &Metric<'_>,
        message: &[u8],
        time: &mut u64,
    ) -> Taken {
        let limits = self.decoder.limits;
        let point = Point::read(message, limits.labels, limits.buckets, limits.exemplars)?;
        if point.attributes.len() > limits.labels {
            return Ok(Err(too_many(limits.labels)));
        }
        let attributes = attributes(&point.attributes, limits.value_bytes)?;
        let take = || {
            let at_ms = at_ms(point.time)?;
            let histogram = point.native(limits.buckets)?;
            let base = self.base(metric, attributes)?;
            let labels = self.series(&base, &metric.name, None)?;
            self.push(labels.clone(), at_ms, Value::Histogram(Arc::new(histogram)));
            Ok((labels, at_ms))
        };
        match take() {
            Err(unfit) => Ok(Err(unfit)),
            Ok((labels, at_ms)) => {
                *time = point.time;
                self.exemplars(&[(f64::INFINITY, labels)], &point.exemplars, at_ms)?;
                Ok(Ok(()))
            }
        }
    }
}

impl<'a> Point<'a> {
    fn read(message: &'a [u8], labels: usize, buckets: usize, exemplars: usize) -> Result<Self, Fault> {
        const ATTRIBUTE: u32 = len(1);
        const TIME: u32 = fixed64(3);
        const COUNT: u32 = fixed64(4);
        const SUM: u32 = fixed64(5);
        const SCALE: u32 = varint(6);
        const ZERO_COUNT: u32 = fixed64(7);
        const POSITIVE: u32 = len(8);
        const NEGATIVE: u32 = len(9);
        const FLAGS: u32 = varint(10);
        const EXEMPLAR: u32 = len(11);
        const ZERO_THRESHOLD: u32 = fixed64(14);
        let mut point = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                ATTRIBUTE => keep(&mut point.attributes, labels, reader.bytes()?),
                TIME => point.time = reader.fixed64()?,
                COUNT => point.count = reader.fixed64()?,
                SUM => point.sum = reader.double()?,
                SCALE => point.scale = reader.zigzag()?,
                ZERO_COUNT => point.zero_count = reader.fixed64()?,
                POSITIVE => point.positive = Dense::read(reader.bytes()?, buckets)?,
                NEGATIVE => point.negative = Dense::read(reader.bytes()?, buckets)?,
                FLAGS => point.flags = Flags::read(&mut reader)?,
                EXEMPLAR => keep(&mut point.exemplars, exemplars, reader.bytes()?),
                ZERO_THRESHOLD => point.zero_threshold = reader.double()?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(point)
    }

    fn native(&self, most: usize) -> Result<Histogram, Unfit> {
        if self.flags == Flags::NoRecordedValue {
            return Ok(histogram::stale());
        }
        let (coarsest, finest) = (*EXPONENTIAL_SCHEMAS.start(), *EXPONENTIAL_SCHEMAS.end());
        if self.scale < coarsest {
            let say = format!("its scale is {}, and native histograms have at least {coarsest}", self.scale);
            return Err(Unfit { cause: Cause::TooCoarse, say });
        }
        let bad = |say| Unfit { cause: Cause::BadHistogram, say };
        if self.positive.counts.len().max(self.negative.counts.len()) > most {
            return Err(bad(format!("it has more than {most} buckets on one side")));
        }
        // Beyond 63 all buckets of one side are one.
        let coarser = (self.scale - finest).clamp(0, 63) as u32;
        let zero_threshold = if self.zero_threshold == 0.0 { ZERO_THRESHOLD } else { self.zero_threshold };
        let histogram = Histogram {
            // It is between -4 and 8 here.
            schema: self.scale.min(finest) as i8,
            zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive: self.positive.native(coarser),
            negative: self.negative.native(coarser),
            custom_values: Arc::from([]),
            reset: CounterReset::Unknown,
        };
        histogram::check(&histogram, Counts::Whole).map_err(bad)?;
        Ok(histogram)
    }
}

impl Dense {
    fn read(message: &[u8], buckets: usize) -> Result<Self, Fault> {
        let mut dense = Self::default();
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                _ if tag == varint(1) => {
                    let offset = reader.zigzag()?;
                    let fits = i32::try_from(offset).is_ok();
                    dense.offset = if fits {
                        offset
                    } else {
                        return Err(reader.fault("an offset has more than 32 bits"));
                    };
                }
                _ if tag == len(2) => reader.packed(&mut dense.counts, buckets, Reader::varint)?,
                _ if tag == varint(2) => keep(&mut dense.counts, buckets, reader.varint()?),
                _ => reader.skip(tag)?,
            }
        }
        Ok(dense)
    }

    /// The buckets that hold something, with 2^`coarser` made one.
    fn native(&self, coarser: u32) -> Buckets {
        let mut buckets = Buckets::default();
        // The index behind the last bucket written.
        let mut end = 0;
        let mut at = 0;
        while at < self.counts.len() {
            let index = (self.offset + at as i64) >> coarser;
            let together = self.counts[at..].iter().enumerate();
            let same =
                together.take_while(|(step, _)| (self.offset + (at + step) as i64) >> coarser == index);
            let (mut count, mut steps) = (0u64, 0);
            for (_, &one) in same {
                count = count.saturating_add(one);
                steps += 1;
            }
            at += steps;
            if count > 0 {
                end = put(&mut buckets, index + 1, end, count as f64);
            }
        }
        buckets
    }
}

/// Puts a bucket behind those there are; answers the index behind it.
fn put(buckets: &mut Buckets, index: i64, end: i64, count: f64) -> i64 {
    let gap = index - end;
    match buckets.spans.last_mut() {
        Some(span) if gap <= GAP => {
            buckets.counts.extend(std::iter::repeat_n(0.0, gap as usize));
            // A gap is not negative: indices rise.
            span.length += gap as u32 + 1;
        }
        // Indices have 32 bits and one: the offset was read as 32, and a message has not so many buckets.
        _ => {
            buckets.spans.push(Span { offset: gap.clamp(i32::MIN.into(), i32::MAX.into()) as i32, length: 1 })
        }
    }
    buckets.counts.push(count);
    index + 1
}
