//! What came in and what was left out, counted from the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::admission::RefusedSamples;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        if n > 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of a store. Each refusal is here: nothing is left out in silence.
#[derive(Debug, Default)]
pub struct Counters {
    /// Samples taken in.
    pub accepted: Counter,
    /// Samples left out: there already, with the same value.
    pub repeated: Counter,
    /// Samples left out: there already, with another value.
    pub duplicate: Counter,
    /// Samples left out: too old.
    pub too_old: Counter,
    /// Samples left out: too far ahead of the clock.
    pub ahead: Counter,
    /// Samples left out: of series beyond a limit.
    pub over_limit: Counter,
    /// Samples left out: their labels or buckets are not taken.
    pub malformed: Counter,
    /// Exemplars left out: of no series that is known, or without a trace.
    pub exemplars_refused: Counter,
    /// Metadata left out: of more metrics than may be known.
    pub metadata_refused: Counter,
    /// Batches refused because too much waited.
    pub overloaded: Counter,
    /// Batches refused because blocks were not written fast enough.
    pub backlogged: Counter,
    /// Batches refused because the disk did not take them.
    pub disk_refused: Counter,
    /// Group commits.
    pub commits: Counter,
    /// Bytes written to the log.
    pub log_bytes: Counter,
    /// Times that samples in memory became blocks.
    pub flushes: Counter,
    /// Times that they should have, and the disk did not take it.
    pub flush_failures: Counter,
    /// Times that several blocks became one.
    pub merges: Counter,
    /// Blocks that went because of their age or because there was too much.
    pub retired: Counter,
}

impl Counters {
    /// Counts what became of samples.
    pub(crate) fn took(&self, accepted: u64, refused: &RefusedSamples) {
        self.accepted.add(accepted);
        self.repeated.add(refused.repeated);
        self.duplicate.add(refused.duplicate);
        self.too_old.add(refused.too_old);
        self.ahead.add(refused.ahead);
        self.over_limit.add(refused.over_limit);
        self.malformed.add(refused.malformed);
    }
}
