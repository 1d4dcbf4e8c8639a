//! What a decoder makes of one request, and the store takes whole.

use promql::{Labels, Sample};

/// Samples of one request.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Series in the order sent, each with its samples in the order sent.
    pub series: Vec<(Labels, Vec<Sample>)>,
    /// Traces to look at.
    pub exemplars: Vec<(Labels, Exemplar)>,
    /// What is known of metrics, by name.
    pub metadata: Vec<(String, Metadata)>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }
}

/// A measurement with the trace it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// `trace_id` and whatever else came with it.
    pub labels: Labels,
    /// What was measured.
    pub value: f64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// Not said.
    #[default]
    Unknown,
    /// Only rises, and begins anew at 0.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts in buckets, classic or native.
    Histogram,
    /// A histogram whose buckets are gauges.
    GaugeHistogram,
    /// Quantiles computed by the sender.
    Summary,
    /// 1, with what is told in its labels.
    Info,
    /// One of several states is 1.
    StateSet,
}

/// What is known of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// In words; may be empty.
    pub help: String,
    /// As the sender named it; may be empty.
    pub unit: String,
}
