//! What may differ between one Prometheus and another, and how much a query may take.

/// How expressions are understood. The default is Prometheus' without feature flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long a sample stands for its series, milliseconds. Prometheus' default: 5 min.
    pub lookback_ms: i64,
    /// The step of a subquery that names none, milliseconds: in Prometheus the interval at which rules are evaluated, whose
    /// default is 1 min.
    pub subquery_step_ms: i64,
    /// Whether functions and aggregations that Prometheus calls experimental are known
    /// (`promql-experimental-functions`, `promql-binop-fill-modifiers`).
    pub experimental: Experimental,
    /// What a name without quotes may be made of (`promql-unquoted-utf8`).
    pub unquoted_names: UnquotedNames,
    /// When the metric's name is taken from a series that is no longer that metric (`promql-delayed-name-removal`).
    pub metric_names: MetricNames,
    /// Whether the times at which counters began are asked for (`use-start-timestamps`).
    pub start_times: StartTimes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lookback_ms: 5 * 60_000,
            subquery_step_ms: 60_000,
            experimental: Experimental::Refused,
            unquoted_names: UnquotedNames::Ascii,
            metric_names: MetricNames::RemovedAtOnce,
            start_times: StartTimes::Ignored,
        }
    }
}

/// Whether what Prometheus calls experimental is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experimental {
    /// It is refused by name.
    Refused,
    /// It is known.
    Known,
}

/// What a name without quotes may be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnquotedNames {
    /// Letters, digits and underscores of ASCII.
    Ascii,
    /// Letters of any script, and dots behind the first.
    Utf8,
}

/// When the metric's name is taken from a series that is no longer that metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricNames {
    /// With the operation that makes it another.
    RemovedAtOnce,
    /// At the end, so that it can still be grouped by.
    RemovedLast,
}

/// Whether the times at which counters began are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTimes {
    /// Resets are found by counters that fall.
    Ignored,
    /// Resets are also found by beginnings between two samples.
    Used,
}

/// How much a query may take.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Samples read from the source; each bucket of a histogram counts as one.
    pub samples: u64,
    /// Values that any part of the expression has, at all times together.
    pub points: u64,
    /// Asked now and then: whether the query is to be given up.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Limits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits")
            .field("samples", &self.samples)
            .field("points", &self.points)
            .finish_non_exhaustive()
    }
}
