//! Service level objectives.
//!
//! In: files (OpenSLO v1, Sloth, Pyrra) and counts of good and all events by minute. Out: what is left of the error budget,
//! how fast it burns, and which alerts that makes; and the rules by which a Prometheus would say so, as Sloth writes them.
//!
//! Reading order: [`Objective`] and [`Indicator`] (what is promised), [`read_all`] (files), [`BurnTable`] (how fast is too
//! fast), [`Tracker`] (counting), [`prometheus`] (export).
//!
//! Deliberately absent: a clock, storage, and where the counts come from.
//!
//! # What it costs
//!
//! An objective of 30 days of which every minute has events and every hundredth a failure takes less than 100 KiB; one that has none in
//! most minutes a fraction of that. An evaluation reads sums that are kept, so its cost does not depend on the period;
//! when the minute changes, every window loses one minute and gains one.

mod alert;
mod burn;
mod counts;
mod file;
mod history;
mod indicator;
mod ledger;
mod minutes;
mod objective;
pub mod prometheus;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod standing;
mod target;
mod tracker;

pub use alert::SavedPhase;
pub use burn::{BurnTable, Factor, Pair};
pub use counts::{COUNT_MAX, Counts, Sums};
pub use file::{read, read_all, read_checked};
pub use history::SavedBlock;
pub use indicator::{Events, Exact, Good, Indicator, Promql, SpanRole, Template};
pub use minutes::{Minutes, MinutesError};
pub use objective::{
    AlertRule, Bound, Budgeting, Burning, Format, Metric, Objective, PERIOD_MAX, PERIOD_MIN, Resolved,
    SLICE_MAX, SliceTarget,
};
pub use standing::{BurnRate, Forecast, Standing};
pub use target::{Target, TargetError};
pub use tracker::{Evaluation, RestoreError, Saved, Tracker, minute_of};
pub use yaml::{FILE_BYTES_MAX, FileError, Problem};
