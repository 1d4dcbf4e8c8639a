//! Series, and where they come from.

use std::sync::Arc;

use crate::{Histogram, Labels};

/// A value at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// The value.
    pub value: Value,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number. Of Prometheus' NaNs the one with the bits `0x7ff0000000000002` says that the series ended ("stale").
    Float(f64),
    /// A native histogram. One whose sum is the stale NaN says that the series ended.
    Histogram(Arc<Histogram>),
}

/// Samples of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What it is.
    pub labels: Labels,
    /// Sorted by time, every time once.
    pub samples: Vec<Sample>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`: the whole value, RE2 syntax.
    Matches,
    /// `!~`
    MatchesNot,
}

/// A condition on a label. A label that a series does not have is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// Of the label.
    pub name: Arc<str>,
    /// How it is compared.
    pub op: MatchOp,
    /// With what.
    pub value: Arc<str>,
}

/// What is asked of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    /// All have to hold.
    pub matchers: Vec<Matcher>,
    /// The first time, milliseconds since 1970, inclusive.
    pub from_ms: i64,
    /// The last time, milliseconds since 1970, inclusive.
    pub to_ms: i64,
    /// How far samples may lie apart, milliseconds: a source with coarser tiers may answer from one that is as fine as
    /// this. At most the step of the query, and a twentieth of the range or a fifth of the lookback that is looked at at
    /// each time. 0 where all samples are wanted.
    pub step_ms: i64,
}

/// Where series come from.
pub trait Source: Sync {
    /// The series that match, each with its samples in the time asked for, sorted by labels. Series without samples in it
    /// are left out. Stale markers are among the samples.
    ///
    /// # Errors
    /// Where it cannot be read, or a limit on how much may be read is passed.
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError>;

    /// The same, with the times at which counters began: asked for where [`crate::StartTimes::Used`] says so and the
    /// expression looks at them. A source that does not keep them need not answer otherwise than it does here.
    ///
    /// # Errors
    /// As [`Self::select`].
    fn select_started(&self, select: &Select) -> Result<Vec<StartedSeries>, SourceError> {
        let series = self.select(select)?;
        Ok(series.into_iter().map(|series| StartedSeries { series, starts_ms: Vec::new() }).collect())
    }
}

/// A series, with the time at which the counter of each sample began.
#[derive(Debug, Clone, PartialEq)]
pub struct StartedSeries {
    /// The series.
    pub series: Series,
    /// For each sample, milliseconds since 1970; 0 where it is not known. Empty where none is.
    pub starts_ms: Vec<i64>,
}

/// The bits of the NaN that says that a series ended.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value says that its series ended. Other NaNs are values.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

impl Value {
    /// Whether it says that its series ended.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Float(value) => is_stale(*value),
            Self::Histogram(histogram) => histogram.is_stale(),
        }
    }
}

/// A source did not answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// More than may be read at once.
    #[error("the query needs more than {limit} samples; ask for fewer series or a shorter time")]
    TooMuch {
        /// So many may be read.
        limit: u64,
    },
    /// It cannot be read.
    #[error("cannot read series: {0}")]
    Unreadable(String),
}
