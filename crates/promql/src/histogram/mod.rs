//! Native histograms, as Prometheus defines them (prometheus.io/docs/specs/native_histograms).

mod bounds;
mod quantile;
mod reset;
mod show;
mod tally;
#[cfg(test)]
mod tests;
mod trim;

use std::sync::Arc;

pub(crate) use bounds::Bucket;
pub(crate) use quantile::{Observed, fraction, quantile};
pub use show::ShownBucket;
pub(crate) use tally::{Added, MixedSchemas, Precision, Tally};

/// The schema whose bucket boundaries are [`Histogram::custom_values`].
pub const CUSTOM_SCHEMA: i8 = -53;

/// A native histogram of float counts. Counts of integer histograms are kept as floats, exact up to 2^53.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// -4 to 8: bucket boundaries are powers of 2^(2^-schema). -53: they are [`Self::custom_values`].
    pub schema: i8,
    /// Observations of an absolute value up to this are in the zero bucket; at least 0.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observed values.
    pub sum: f64,
    /// Buckets of positive values; of schema -53 all of them.
    pub positive: Buckets,
    /// Buckets of negative values.
    pub negative: Buckets,
    /// Upper boundaries of the buckets of schema -53, rising, without +Inf; empty for all others.
    pub custom_values: Arc<[f64]>,
    /// What is known of a reset of the counter between the sample before and this one.
    pub reset: CounterReset,
}

/// Buckets that are in use.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// Runs of neighbouring buckets.
    pub spans: Vec<Span>,
    /// Observations in each bucket, absolute; as many as the spans are long together.
    pub counts: Vec<f64>,
}

/// A run of neighbouring buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Buckets left out before it: of the first span, the index of its first bucket; of the others at least 0.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// Whether a counter histogram began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CounterReset {
    /// It is to be looked for.
    #[default]
    Unknown,
    /// It did.
    Reset,
    /// It did not.
    NotReset,
    /// A gauge histogram: there is nothing to reset.
    Gauge,
}

impl Histogram {
    /// Whether its bucket boundaries are [`Self::custom_values`].
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Whether it says that the series ended.
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// Every count, and the sum, times this. What is negative is no counter.
    pub(crate) fn times(&self, factor: f64) -> Self {
        let mut scaled = self.clone();
        for value in scaled.numbers_mut() {
            *value *= factor;
        }
        if factor < 0.0 {
            scaled.reset = CounterReset::Gauge;
        }
        scaled.compacted()
    }

    /// Every count, and the sum, divided by this. By 0, no buckets are left.
    pub(crate) fn divided_by(&self, divisor: f64) -> Self {
        let mut scaled = self.clone();
        for value in scaled.numbers_mut() {
            *value /= divisor;
        }
        if divisor == 0.0 {
            scaled.positive = Buckets::default();
            scaled.negative = Buckets::default();
        } else if divisor < 0.0 {
            scaled.reset = CounterReset::Gauge;
        }
        scaled.compacted()
    }

    fn numbers_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        [&mut self.zero_count, &mut self.count, &mut self.sum]
            .into_iter()
            .chain(&mut self.positive.counts)
            .chain(&mut self.negative.counts)
    }

    /// Without the buckets that are empty.
    pub(crate) fn compacted(mut self) -> Self {
        self.positive = self.positive.compacted();
        self.negative = self.negative.compacted();
        self
    }

    /// Whether both are the same in every bit but for what is known of resets and for empty buckets.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let bits = |h: &Self| [h.count.to_bits(), h.sum.to_bits(), h.zero_count.to_bits()];
        let same = |a: &Buckets, b: &Buckets| {
            a.in_use().map(|(at, n)| (at, n.to_bits())).eq(b.in_use().map(|(at, n)| (at, n.to_bits())))
        };
        self.schema == other.schema
            && bits(self) == bits(other)
            && (!self.uses_custom_buckets() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && same(&self.positive, &other.positive)
            && same(&self.negative, &other.negative)
    }
}

impl Buckets {
    /// Index and observations of each bucket, rising. As many as there are both spans and counts for: what came from
    /// outside may have more of the one than of the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, f64)> {
        let mut next = 0i64;
        let indices = self.spans.iter().flat_map(move |span| {
            let first = next + i64::from(span.offset);
            next = first + i64::from(span.length);
            first..next
        });
        indices.zip(self.counts.iter().copied())
    }

    /// Those with observations.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = (i64, f64)> {
        self.iter().filter(|(_, count)| *count != 0.0)
    }

    /// Of buckets with rising indices.
    pub(crate) fn collect(cells: impl IntoIterator<Item = (i64, f64)>) -> Self {
        let mut buckets = Self::default();
        let mut next = 0i64;
        for (index, count) in cells {
            match buckets.spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => {
                    let offset = index - if buckets.spans.is_empty() { 0 } else { next };
                    // Beyond 32 bits there are no boundaries that a number can express.
                    let offset = offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
                    buckets.spans.push(Span { offset, length: 1 });
                }
            }
            buckets.counts.push(count);
            next = index + 1;
        }
        buckets
    }

    fn compacted(&self) -> Self {
        Self::collect(self.in_use())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}
