//! Series, and where they come from.
//!
//! In: matchers and a span of time ([`Select`], milliseconds since 1970, both ends included). Out: series with their samples
//! in the order of time. Whoever keeps series is a [`Source`]; nothing here keeps any.

use std::ops::ControlFlow;
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

/// Samples of one series in columns: what is evaluated fastest, and what stores keep anyway.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Numbers, stale markers among them.
    pub floats: Column<f64>,
    /// Native histograms.
    pub histograms: Column<Arc<Histogram>>,
}

/// Samples of one kind, sorted by time, every time once.
#[derive(Debug, Clone, PartialEq)]
pub struct Column<T> {
    /// Milliseconds since 1970-01-01 UTC.
    pub times: Vec<i64>,
    /// As many.
    pub values: Vec<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { times: Vec::new(), values: Vec::new() }
    }
}

impl<T> Column<T> {
    /// Adds a sample that is later than all before.
    pub fn push(&mut self, at_ms: i64, value: T) {
        self.times.push(at_ms);
        self.values.push(value);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Takes all of them out; what they took is kept for others.
    pub fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

impl Samples {
    /// Adds a sample that is later than all of its kind before.
    pub fn push(&mut self, sample: Sample) {
        match sample.value {
            Value::Float(value) => self.floats.push(sample.at_ms, value),
            Value::Histogram(histogram) => self.histograms.push(sample.at_ms, histogram),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Takes all of them out; what they took is kept for others.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    /// One by one, by time.
    pub fn to_vec(&self) -> Vec<Sample> {
        let mut all = Vec::with_capacity(self.len());
        let floats = self.floats.times.iter().zip(&self.floats.values);
        all.extend(floats.map(|(at_ms, value)| Sample { at_ms: *at_ms, value: Value::Float(*value) }));
        let histograms = self.histograms.times.iter().zip(&self.histograms.values);
        all.extend(histograms.map(|(at_ms, histogram)| Sample {
            at_ms: *at_ms,
            value: Value::Histogram(Arc::clone(histogram)),
        }));
        if !self.floats.is_empty() && !self.histograms.is_empty() {
            all.sort_by_key(|sample| sample.at_ms);
        }
        all
    }
}

/// What is done with each series that is read: see [`Source::each`].
pub type Take<'a> = dyn Fn(&Labels, &mut Samples) -> ControlFlow<()> + Sync + 'a;

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

    /// The same series, handed over one by one while they are read: in any order, and by several threads at once where the
    /// source likes. No more than a few are in memory at a time. `take` may do with the samples what it likes, and says
    /// when it has enough.
    ///
    /// # Errors
    /// As [`Self::select`]; some series may have been handed over before.
    fn each(&self, select: &Select, take: &Take<'_>) -> Result<(), SourceError> {
        hand_over(self.select(select)?, take);
        Ok(())
    }

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

/// Hands over series that are all there, one by one.
pub(crate) fn hand_over(all: Vec<Series>, take: &Take<'_>) {
    let mut samples = Samples::default();
    for Series { labels, samples: one_by_one } in all {
        samples.clear();
        one_by_one.into_iter().for_each(|sample| samples.push(sample));
        if take(&labels, &mut samples).is_break() {
            break;
        }
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
