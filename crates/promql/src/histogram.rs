//! Native histograms, as Prometheus defines them (prometheus.io/docs/specs/native_histograms).

use std::sync::Arc;

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
