//! PromQL as Prometheus evaluates it.
//!
//! In: an expression, a time or a range of times, and a [`Source`] of series. Out: an [`Answer`]: the value, with the
//! warnings and infos that belong to it. [`Labels`], [`Sample`] and [`Histogram`] are the model that the store of series
//! shares.
//!
//! ```text
//! text ──parse──► Expression ──eval──► Answer
//!                                ▲
//!                 Source.each ───┘ once for each selector, for all times of the query
//! ```
//!
//! What it has to mean is what Prometheus 3 makes of it; `tests/promqltest` holds its scripts. Deliberately absent:
//! storage, HTTP, a clock: the time of an evaluation is an argument, and so is the question whether it has taken long
//! enough.

mod annotations;
mod calendar;
mod error;
mod eval;
mod go;
mod histogram;
mod kahan;
mod labels;
mod matcher;
mod options;
mod parse;
mod pattern;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
pub mod rules;
mod series;

pub use error::{ErrorKind, Position, QueryError};
pub use eval::{Answer, Answered, Engine, Point};
pub use histogram::{Buckets, CUSTOM_SCHEMA, CounterReset, Histogram, ShownBucket, Span};
pub use labels::{Labels, METRIC_NAME};
pub use matcher::{CompiledMatcher, PatternError};
pub use options::{Experimental, Limits, MetricNames, Options, StartTimes, UnquotedNames};
pub use parse::{Expression, callable_names, parse_duration_ms, parse_selector};
pub use series::{
    Column, MatchOp, Matcher, STALE_BITS, Sample, Samples, Select, Series, Source, SourceError,
    StartedSeries, Take, Value, is_stale,
};
