//! What rules did since the start, for `/metrics`.

use std::fmt::Write as _;
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

impl Counters {
    /// In Prometheus' text format.
    pub(crate) fn write_to(&self, out: &mut String) {
        for (name, help, counter) in [
            ("rule_evaluations_total", "evaluations of rules", &self.evaluations),
            ("rule_evaluation_failures_total", "evaluations of rules that had no value", &self.failures),
            ("rule_group_iterations_total", "evaluations of groups", &self.iterations),
            ("rule_group_iterations_missed_total", "evaluations of groups left out", &self.missed),
            ("rule_samples_total", "samples of rules that were stored", &self.samples),
            ("rule_samples_refused_total", "samples of rules that were not stored", &self.samples_refused),
            ("rule_reloads_total", "times the files were read again", &self.reloads),
            ("rule_reload_failures_total", "of these, times they were wrong", &self.reload_failures),
        ] {
            head(out, name, "counter", help);
            let _ = writeln!(out, "{name} {}", counter.get());
        }
    }
}

/// Help and type of a metric.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
