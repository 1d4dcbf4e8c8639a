//! The runs by the fault that was injected.

use domain::OutcomeKind;

use super::super::score::{Quantiles, RunScore};

/// The runs of one fault.
pub(super) struct FaultRuns<'a> {
    /// The fault's name.
    pub(super) fault: &'a str,
    /// Its runs, by number.
    pub(super) runs: Vec<&'a RunScore>,
}

/// Groups runs by fault, in the order in which each fault first occurred.
pub(super) fn by_fault(runs: &[RunScore]) -> Vec<FaultRuns<'_>> {
    let mut groups: Vec<FaultRuns<'_>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group.fault == run.fault) {
            Some(group) => group.runs.push(run),
            None => groups.push(FaultRuns { fault: &run.fault, runs: vec![run] }),
        }
    }
    groups
}

impl FaultRuns<'_> {
    /// Quantiles of one time over the runs that reached it.
    pub(super) fn quantiles(&self, at: fn(&RunScore) -> Option<f64>) -> Quantiles {
        Quantiles::of(self.runs.iter().filter_map(|run| at(run)))
    }

    /// How many runs were expected to end so, and how many of these did.
    pub(super) fn ended(&self, kind: OutcomeKind) -> (usize, usize) {
        let expected = self.runs.iter().filter(|run| run.expected == kind);
        (expected.clone().filter(|run| run.outcome == kind).count(), expected.count())
    }

    /// In how many runs the true cause was ranked first, of those that asked for one.
    pub(super) fn cause_first(&self) -> (usize, usize) {
        let asked = self.runs.iter().filter(|run| run.asks_for_a_cause());
        (asked.clone().filter(|run| run.cause_rank == Some(1)).count(), asked.count())
    }
}
