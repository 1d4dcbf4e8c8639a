//! How often a strategy heals: the prior, then verified outcomes only.
//!
//! In: what came of plans. Out: an estimated success rate per (issue type, reason, strategy), by which the
//! planner orders strategies. Rates choose among strategies; they do not gate (H8).
//!
//! The estimate is the mean of a Beta posterior: the prior rate counts as [`PRIOR_RUNS`] runs, every decided
//! outcome as one, and every new outcome of a key takes [`DISCOUNT`] off the weight of those before it, so
//! that at most about 20 runs are remembered and a strategy that stopped working falls quickly.

use domain::{Intent, IssueKind, OutcomeKind, Percent, Plan, Reason, Strategy};
use serde::{Deserialize, Serialize};

/// The prior counts as this many runs: enough that one unlucky run does not turn the order around where
/// priors differ by more than 9 points, few enough that ten real runs outweigh it.
pub const PRIOR_RUNS: f64 = 10.0;

/// What one new outcome takes off the weight of each earlier one: 1 ÷ 0.05 = 20 runs are remembered.
pub const DISCOUNT: f64 = 0.05;

/// Verified outcomes per (issue type, reason, strategy).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rates(Vec<Tally>);

/// The discounted outcomes of one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Type of the issue.
    pub kind: IssueKind,
    /// Its reason.
    pub reason: Reason,
    /// The strategy.
    pub strategy: Strategy,
    /// Runs that healed or mitigated, discounted.
    pub healed: f64,
    /// Runs that did not, discounted.
    pub failed: f64,
    /// All decided runs, not discounted.
    pub runs: u64,
}

/// An estimated success rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The rate.
    pub rate: Percent,
    /// How many decided runs it rests on beside the prior.
    pub runs: u64,
}

impl Rates {
    /// Takes an outcome in. Refusals and what recovered by itself say nothing about a strategy.
    pub fn record(&mut self, plan: &Plan, outcome: OutcomeKind) {
        let Intent::Remediation { kind, reason, strategy, .. } = &plan.intent else { return };
        let healed = match outcome {
            OutcomeKind::Healed | OutcomeKind::Mitigated => 1.0,
            OutcomeKind::NotHealed => 0.0,
            OutcomeKind::SelfRecovered | OutcomeKind::Refused => return,
        };
        let index = match self.position(*kind, *reason, *strategy) {
            Some(index) => index,
            None => {
                let (kind, reason, strategy) = (*kind, *reason, *strategy);
                self.0.push(Tally { kind, reason, strategy, healed: 0.0, failed: 0.0, runs: 0 });
                self.0.len() - 1
            }
        };
        let tally = &mut self.0[index];
        tally.healed = tally.healed * (1.0 - DISCOUNT) + healed;
        tally.failed = tally.failed * (1.0 - DISCOUNT) + (1.0 - healed);
        tally.runs += 1;
    }

    /// The success rate to expect, starting from `prior`.
    pub fn estimate(&self, kind: IssueKind, reason: Reason, strategy: Strategy, prior: Percent) -> Estimate {
        let Some(index) = self.position(kind, reason, strategy) else {
            return Estimate { rate: prior, runs: 0 };
        };
        let tally = &self.0[index];
        let healed = prior.ratio() * PRIOR_RUNS + tally.healed;
        let all = PRIOR_RUNS + tally.healed + tally.failed;
        Estimate { rate: Percent(healed / all * 100.0), runs: tally.runs }
    }

    /// What was recorded, for showing.
    pub fn tallies(&self) -> &[Tally] {
        &self.0
    }

    fn position(&self, kind: IssueKind, reason: Reason, strategy: Strategy) -> Option<usize> {
        self.0.iter().position(|t| t.kind == kind && t.reason == reason && t.strategy == strategy)
    }
}
