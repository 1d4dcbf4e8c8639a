//! Derived while ingesting: what all spans together say, exact and before anything is sampled away.
//!
//! ```text
//! committed batch ─┬─ RED: calls, errors, durations per (service, operation, kind) ─► second frames, minute frames
//!                  └─ service map: callers meet callees by trace and parent ────────► the same, per edge
//! ```
//!
//! In: every batch of spans, on the committer's thread, once its senders were answered; at start, the hot segments
//! once more and the [`Minutes`] of what was compacted. Out: answers for any window: seconds for the newest ten
//! minutes, minutes for a day. A span is counted in the second it *started* in, as searches find it.
//!
//! Bounds, each with a counter beside it ([`DerivedCounters`]) or a name that shows it ([`OTHER`]): services, series,
//! edges, waiting boundary spans, bytes of frames. A span sent twice counts twice. Where a source sampled (tracestate
//! `ot=th:…`) spans count with their weight, and the answer says that it is an estimate.
//!
//! Deliberately absent: percentages of nothing (no calls means no ratio), rates guessed for time that is not kept.

mod bytes;
mod edges;
mod evidence;
mod exemplar;
mod frames;
mod graph;
mod histogram;
mod join;
mod minutes;
mod names;
mod peers;
mod prometheus;
mod read;
mod scale;
mod state;
#[cfg(test)]
mod tests;
mod versions;
pub(crate) mod weight;

pub use edges::Link;
pub use exemplar::Exemplar;
pub use histogram::{Bucket, Histogram};
pub(crate) use minutes::{Counting, VERSION as FORMAT};
pub use minutes::{Minutes, MinutesError};
pub use names::OTHER;
pub use read::{
    Dependency, HeatCell, HeatMap, POINTS_MAX, RedPoint, Series, SeriesFilter, Window, WindowError,
};
pub use scale::RELATIVE_ERROR;
pub use state::DerivedCounters;

use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Telemetry;
use crate::batch::Batch;
use crate::catalogue::Catalogue;
use crate::intake::lock;
use crate::model::{Signal, SpanKind};
pub(crate) use state::State;

/// All that is derived, and the names of all operations.
#[derive(Debug)]
pub(crate) struct Derived {
    state: Mutex<State>,
    pub(crate) catalogue: Catalogue,
}

impl Derived {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::new()), catalogue: Catalogue::default() }
    }

    /// Counts a committed batch.
    pub(crate) fn observe(&self, batch: &Batch) {
        if batch.signal == Signal::Spans {
            let learn = |service: &str, name: &str, kind| self.catalogue.learn(service, name, kind);
            lock(&self.state).observe(batch, now_unix_nano(), learn);
        }
    }

    /// Learns the names in a batch that is not counted.
    pub(crate) fn learn(&self, batch: &Batch) {
        for row in 0..batch.rows() {
            let name = batch.name.text(batch.name.code(row));
            let kind = SpanKind::from_number(batch.kind[row].into());
            self.catalogue.learn(batch.origins.service(batch.origin[row]), name, kind);
        }
    }

    /// Takes in the minutes of spans that are not replayed.
    pub(crate) fn restore(&self, minutes: &Minutes) {
        lock(&self.state).restore(minutes, now_unix_nano());
    }

    /// Asks about state brought up to now.
    fn ask<T>(&self, question: impl FnOnce(&State, u32) -> T) -> T {
        let mut state = lock(&self.state);
        let now = (now_unix_nano() / 1_000_000_000) as u32;
        state.tick(now);
        question(&state, now)
    }
}

/// Nanoseconds since 1970; a clock before that reads as 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "spans are stamped by wall clocks, and sorted into a day of this one"
)]
pub(crate) fn now_unix_nano() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// What was derived from the spans that came in. Times are those at which spans *started*, nanoseconds since 1970;
/// what was acknowledged a group commit ago is in.
impl Telemetry {
    /// The series that had calls in a range (end exclusive), by service, name and kind, each with the sum of its
    /// calls.
    ///
    /// # Errors
    ///
    /// [`WindowError::Empty`] where the range has no length.
    pub fn series(&self, filter: &SeriesFilter, range: Range<u64>) -> Result<Vec<Series>, WindowError> {
        let window = Window::whole(range.start, range.end)?;
        Ok(read::series(self.derived().ask(|state, now| state.take_series(filter, window, now))))
    }

    /// Calls, errors and durations of all series that match, step by step; steps without calls too. Windows that
    /// begin before the newest ten minutes, and those aligned to minutes, are answered from whole minutes, to which
    /// they are widened.
    pub fn red(&self, filter: &SeriesFilter, window: Window) -> Vec<RedPoint> {
        read::red(&self.derived().ask(|state, now| state.take_series(filter, window, now)))
    }

    /// Calls by time and duration, as a heat map shows them.
    pub fn heat_map(&self, filter: &SeriesFilter, window: Window) -> HeatMap {
        read::heat_map(&self.red(filter, window), Duration::from_secs(1))
    }

    /// Spans that stand for the calls of a range: one for each bucket of durations, longest first; an error before
    /// others, then the newest. Those that started more than a quarter of an hour ago are kept by the hour.
    pub fn exemplars(&self, filter: &SeriesFilter, range: Range<u64>) -> Vec<Exemplar> {
        self.derived().ask(|state, _| state.exemplars(filter, &range))
    }

    /// The service map of a range (end exclusive): who called whom, by caller and callee.
    ///
    /// # Errors
    ///
    /// [`WindowError::Empty`] where the range has no length.
    pub fn dependencies(&self, range: Range<u64>) -> Result<Vec<Dependency>, WindowError> {
        let window = Window::whole(range.start, range.end)?;
        Ok(read::dependencies(self.derived().ask(|state, now| state.take_edges(window, now, |_| true))))
    }

    /// Span metrics and service graph for a scrape, in Prometheus' text format; see the module `prometheus` for names
    /// and bounds.
    pub fn span_metrics(&self) -> String {
        self.derived().ask(|state, _| prometheus::text(state))
    }
}
