//! What came in, what was left out and what was refused, counted from the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Signal;
use crate::otlp::Walked;

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of a store. Each refusal, drop and cut is here: nothing is left out in silence.
#[derive(Debug, Default)]
pub struct Counters {
    /// Spans taken in.
    pub spans: Counter,
    /// Log records taken in.
    pub log_records: Counter,
    /// Spans left out for want of usable ids.
    pub rejected: Counter,
    /// Requests that were not protobuf.
    pub malformed: Counter,
    /// Requests refused because too much was waiting for the disk.
    pub overloaded: Counter,
    /// Requests refused because too much was waiting for compaction.
    pub backlogged: Counter,
    /// Requests refused because the disk did not take them.
    pub disk_refused: Counter,
    /// Attributes left out by our limits.
    pub attributes_dropped: Counter,
    /// Values, names and messages cut by our limits; a tracestate, or a body that is no text, is left out whole.
    pub values_cut: Counter,
    /// Events left out by our limits.
    pub events_dropped: Counter,
    /// Links left out by our limits, or without usable ids.
    pub links_dropped: Counter,
    /// Group commits: one `fdatasync` each.
    pub commits: Counter,
    /// Bytes written to segments.
    pub bytes_written: Counter,
    /// Spans compaction was done with, kept or not.
    pub compacted_spans: Counter,
    /// Spans that tail sampling left out.
    pub sampled_out_spans: Counter,
    /// Units that compaction wrote.
    pub units_written: Counter,
    /// Bytes of these units.
    pub unit_bytes_written: Counter,
    /// Compactions that failed; segments stay, and it is tried again.
    pub compaction_failures: Counter,
    /// Segments that cannot be compacted: damaged, or met by a defect. They stay as they are, and are asked as before.
    pub damaged_segments: Counter,
    /// Units that cannot be read or merged: damaged, or met by a defect. They stay as they are.
    pub damaged_units: Counter,
    /// Small units that became part of a larger one.
    pub merged_units: Counter,
    /// Bytes of the larger ones.
    pub merged_bytes_written: Counter,
    /// Merges that failed; the small units stay, and it is tried again.
    pub merge_failures: Counter,
    /// Units and segments that retention removed: too old, too much, or the oldest on a full disk.
    pub retention_removed: Counter,
    /// Traces that were written to the archive, again where there was more of them.
    pub archived_traces: Counter,
    /// Archived traces that nobody asked for and that went for newer ones.
    pub archive_evicted: Counter,
    /// Traces that were not archived: no room, or the disk did not take them.
    pub archive_refused: Counter,
}

impl Counters {
    pub(crate) fn took(&self, signal: Signal, walked: &Walked) {
        match signal {
            Signal::Spans => self.spans.add(walked.accepted),
            Signal::Logs => self.log_records.add(walked.accepted),
        }
        let left = &walked.left;
        for (counter, n) in [
            (&self.rejected, walked.rejected),
            (&self.attributes_dropped, left.attributes),
            (&self.values_cut, left.values_cut),
            (&self.events_dropped, left.events),
            (&self.links_dropped, left.links),
        ] {
            if n > 0 {
                counter.add(n);
            }
        }
    }
}
