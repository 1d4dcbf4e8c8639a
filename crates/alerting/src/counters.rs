//! What rules did since the start, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// What rules did.
#[derive(Debug, Default)]
pub struct Counters {
    /// Evaluations of single rules.
    pub evaluations: Counter,
    /// Of these, those that had no value.
    pub failures: Counter,
    /// Evaluations of groups.
    pub iterations: Counter,
    /// Evaluations of groups left out, because those before took too long or the machine slept.
    pub missed: Counter,
    /// Samples the store took.
    pub samples: Counter,
    /// Samples the store did not take.
    pub samples_refused: Counter,
    /// Times files were loaded.
    pub reloads: Counter,
    /// Of these, those that left the rules as they were, since something was wrong.
    pub reload_failures: Counter,
}
