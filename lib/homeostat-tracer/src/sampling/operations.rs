//! What is known of each operation, which is the name a local root began with.
//!
//! In: local roots as they end. Out: per operation the sampling threshold, and how long a root must take to
//! be called slow. Rows are found once per root through a cache of the thread and are atomic counters after
//! that. At most [`OPERATIONS_MAX`] names have a row; the rest share the first, so that hostile names cost
//! accuracy and not memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Rows there can be, the shared one included: 2 KiB each.
pub(crate) const OPERATIONS_MAX: usize = 512;

/// The row of all names beyond [`OPERATIONS_MAX`].
const OTHER: u16 = 0;

/// Eight buckets for each doubling: a threshold is at most an eighth too high.
const BUCKETS: usize = 496;

#[derive(Debug)]
pub(crate) struct Operations {
    rows: Vec<OnceLock<Row>>,
    names: Mutex<HashMap<Box<str>, u16>>,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Row {
    /// Consistent sampling keeps randomness at or above it.
    pub(crate) threshold: AtomicU64,
    /// A root that takes longer, in ticks, is kept.
    slow_ticks: AtomicU64,
    /// Spans recorded since the last look.
    spans: AtomicU64,
    /// Of these, kept because they failed or were slow.
    always: AtomicU64,
    durations: Vec<AtomicU32>,
}

/// Counts of one row since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Spans recorded.
    pub(crate) spans: u64,
    /// Of these, kept whatever the rate.
    pub(crate) always: u64,
}

impl Operations {
    pub(crate) fn new() -> Self {
        let rows: Vec<_> = (0..OPERATIONS_MAX).map(|_| OnceLock::new()).collect();
        Self { rows, names: Mutex::new(HashMap::new()) }
    }

    /// The number of the row of `name`, made where there is room.
    pub(crate) fn number_of(&self, name: &str) -> u16 {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = names.get(name) {
            return *number;
        }
        let next = names.len() + 1;
        if next >= OPERATIONS_MAX {
            return OTHER;
        }
        names.insert(name.into(), next as u16);
        next as u16
    }

    /// The row of a number that [`Self::number_of`] gave.
    #[inline]
    pub(crate) fn row(&self, number: u16) -> &Row {
        self.rows[usize::from(number)].get_or_init(Row::new)
    }

    /// Every row there is, by number.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (usize, &Row)> {
        self.rows.iter().enumerate().filter_map(|(number, row)| Some((number, row.get()?)))
    }
}

impl Row {
    fn new() -> Self {
        Self {
            threshold: AtomicU64::new(0),
            slow_ticks: AtomicU64::new(u64::MAX),
            spans: AtomicU64::new(0),
            always: AtomicU64::new(0),
            durations: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// A local root has ended; whether it was slow.
    #[inline]
    pub(crate) fn ended(&self, ticks: u64) -> bool {
        self.durations[bucket_of(ticks)].fetch_add(1, Ordering::Relaxed);
        ticks > self.slow_ticks.load(Ordering::Relaxed)
    }

    /// Spans of a part that was kept or dropped by probability.
    #[inline]
    pub(crate) fn recorded(&self, spans: u64) {
        self.spans.fetch_add(spans, Ordering::Relaxed);
    }

    /// Spans of a part that was kept because it failed or was slow.
    pub(crate) fn kept_always(&self, spans: u64) {
        self.spans.fetch_add(spans, Ordering::Relaxed);
        self.always.fetch_add(spans, Ordering::Relaxed);
    }

    /// Takes the counts since the last look.
    pub(crate) fn take_load(&self) -> Load {
        Load { spans: self.spans.swap(0, Ordering::Relaxed), always: self.always.swap(0, Ordering::Relaxed) }
    }

    /// Takes the durations since the last look into `history` and says anew what is slow.
    pub(crate) fn learn_slow(&self, history: &mut History) {
        for (count, known) in self.durations.iter().zip(&mut history.counts) {
            *known = *known * HISTORY_KEPT + f64::from(count.swap(0, Ordering::Relaxed));
        }
        self.slow_ticks.store(history.slow_ticks(), Ordering::Relaxed);
    }
}

/// What a second leaves of the history before it: half of it is gone after about 34 s.
const HISTORY_KEPT: f64 = 0.98;

/// Roots needed before any is called slow; with fewer the 99th percentile is the slowest one seen.
const ROOTS_MIN: f64 = 100.0;

/// The share of roots that are not slow.
const QUANTILE: f64 = 0.99;

/// Durations of one operation, older ones counting less.
#[derive(Debug, Clone)]
pub(crate) struct History {
    counts: Vec<f64>,
}

impl Default for History {
    fn default() -> Self {
        Self { counts: vec![0.0; BUCKETS] }
    }
}

impl History {
    /// The estimate of the 99th percentile: the upper end of the bucket it lies in; everything is fast while
    /// too little is known.
    fn slow_ticks(&self) -> u64 {
        let total: f64 = self.counts.iter().sum();
        if total < ROOTS_MIN {
            return u64::MAX;
        }
        let mut seen = 0.0;
        let reached = |count: &f64| {
            seen += count;
            seen >= QUANTILE * total
        };
        self.counts.iter().position(reached).map_or(u64::MAX, upper_of)
    }
}

fn bucket_of(ticks: u64) -> usize {
    if ticks < 8 {
        return ticks as usize;
    }
    let doublings = 63 - ticks.leading_zeros();
    (doublings as usize - 2) * 8 + ((ticks >> (doublings - 3)) & 7) as usize
}

/// The largest number of ticks in a bucket.
fn upper_of(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (doublings, part) = (bucket / 8 + 2, bucket % 8);
    (((9 + part as u128) << (doublings - 3)) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_the_bucket_that_ends_at_most_an_eighth_above_it() {
        for ticks in (0..4096).chain([u64::MAX, 1 << 40, (1 << 40) - 1]) {
            let upper = upper_of(bucket_of(ticks));
            assert!(upper >= ticks && upper - ticks <= ticks / 8, "{ticks} {upper}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn what_is_slow_follows_the_operation() {
        let (row, mut history) = (Row::new(), History::default());
        assert!(!row.ended(1_000_000), "nothing is known yet");
        for root in 0..1000 {
            row.ended(1_000 + root % 100);
        }
        row.learn_slow(&mut history);
        assert!(row.ended(5_000) && !row.ended(1_050));
        for _ in 0..500 {
            (0..10).for_each(|_| {
                row.ended(20_000);
            });
            row.learn_slow(&mut history);
        }
        assert!(!row.ended(20_000), "what was slow is usual now");
    }

    #[test]
    fn names_beyond_the_limit_share_a_row() {
        let operations = Operations::new();
        let first = operations.number_of("first");
        (0..2000).for_each(|name| {
            operations.number_of(&name.to_string());
        });
        assert_eq!(operations.number_of("first"), first);
        assert_eq!(operations.number_of("one more"), OTHER);
        assert_ne!(first, OTHER);
    }
}
