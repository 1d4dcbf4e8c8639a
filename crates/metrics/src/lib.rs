//! Series of numbers: taken in durably, found at once, kept in tiers.
//!
//! ```text
//! Batch ─ series by labels ─► group commit ─► head ─────────► Series, as a promql::Source
//!         limits (intake)     log (wal,       in memory           ▲  (gather, query)
//!                             commit)         (head)              │
//!                                               └─ parts: raw, minute, hour (compact, part, merge)
//! ```
//!
//! In: samples, decoded from what senders speak, as a [`Batch`]. Out: series, to whoever asks as a [`promql::Source`].
//! What is acknowledged was on disk before, and is found at once.
//!
//! Plain threads, no runtime, no network; the clock is handed in. Expressions are `promql`'s business, receivers the
//! gateway's.

mod admission;
pub mod backup;
mod batch;
#[cfg(feature = "bench")]
pub mod bench;
mod bytes;
mod catalogue;
mod codec;
mod commit;
mod compact;
mod config;
mod counters;
mod exemplars;
#[cfg(test)]
mod fixture;
mod gather;
mod head;
mod intake;
mod matching;
mod merge;
mod part;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod query;
pub mod scrape;
mod shared;
mod sink;
mod status;
mod store;
mod tier;
mod wal;
pub mod wire;

pub use admission::{Admission, Pending, Refusal, RefusedSamples, SourceName};
pub use batch::{Batch, Exemplar, Kind, Metadata};
pub use catalogue::DamagedFile;
pub use config::{Config, Limits, OpenError, Retention};
pub use counters::{Counter, Counters};
pub use sink::{Appending, MetricSink, wait};
pub use status::{SourceStatus, Status, TierStatus};
pub use store::Metrics;
pub use tier::{Aggregate, Tier};
pub use wal::Recovered;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock guards what a panic may have left half-done only where its own code takes that back: going on is
/// right.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
