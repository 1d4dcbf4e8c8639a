//! PromQL as Prometheus evaluates it.
//!
//! In: an expression, a time or a range of times, and a [`Source`] of series. Out: the value. The parser is the
//! `promql-parser` crate; what is here is the meaning of what it parsed. [`Labels`], [`Sample`] and [`Histogram`] are the
//! model that the store of series shares.
//!
//! Deliberately absent: storage, HTTP, a clock: the time of an evaluation is an argument.

mod histogram;
mod labels;
mod series;

pub use histogram::{Buckets, CounterReset, Histogram, Span};
pub use labels::{Labels, METRIC_NAME};
pub use series::{MatchOp, Matcher, Sample, Select, Series, Source, SourceError, Value};
