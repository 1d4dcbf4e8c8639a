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

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Actor, Cause, CauseClass, IdSource, Time};
    use proptest::prelude::{any, prop, prop_assert, proptest};

    fn plan(strategy: Strategy) -> Plan {
        let now = Time { boot_us: 1, wall_us: 1 };
        let resource: domain::ResourceId = "instance/cart-0".parse().unwrap();
        let cause = Cause {
            resource: resource.clone(),
            class: CauseClass::MemoryExhausted,
            confidence: Percent(90.0),
            pattern: String::new(),
            evidence: Vec::new(),
        };
        let mut ids = IdSource::seeded(1);
        Plan {
            id: ids.next(now),
            intent: Intent::Remediation {
                issue: ids.next(now),
                kind: IssueKind::HighMemory,
                reason: Reason::Unspecified,
                severity: domain::Severity::High,
                strategy,
                cause,
            },
            requested_by: Actor::Healing,
            summary: String::new(),
            expected_effect: String::new(),
            steps: Vec::new(),
            verify: None,
            blast_radius: vec![resource],
            lift_after: None,
            created_at: now,
        }
    }

    fn after(outcomes: &[OutcomeKind]) -> Estimate {
        let mut rates = Rates::default();
        for outcome in outcomes {
            rates.record(&plan(Strategy::GracefulRestart), *outcome);
        }
        rates.estimate(IssueKind::HighMemory, Reason::Unspecified, Strategy::GracefulRestart, Percent(88.0))
    }

    #[test]
    fn the_prior_stands_until_something_was_verified() {
        use OutcomeKind::{Refused, SelfRecovered};
        assert_eq!(after(&[]), Estimate { rate: Percent(88.0), runs: 0 });
        assert_eq!(after(&[Refused, SelfRecovered]), Estimate { rate: Percent(88.0), runs: 0 });
    }

    #[test]
    fn a_strategy_that_stopped_working_falls_below_half_within_twenty_failures() {
        let mut outcomes = vec![OutcomeKind::Healed; 1000];
        assert!(after(&outcomes).rate.0 > 95.0);
        outcomes.extend([OutcomeKind::NotHealed; 20]);
        assert!(after(&outcomes).rate.0 < 60.0, "{:?}", after(&outcomes));
    }

    #[test]
    fn rates_are_written_and_read_back() {
        let mut rates = Rates::default();
        rates.record(&plan(Strategy::GracefulRestart), OutcomeKind::Healed);
        rates.record(&plan(Strategy::IncreaseMemoryLimit), OutcomeKind::NotHealed);
        let text = serde_json::to_string(&rates).unwrap();
        assert_eq!(serde_json::from_str::<Rates>(&text).unwrap(), rates);
        assert_eq!(rates.tallies().len(), 2);
    }

    proptest! {
        #[test]
        fn a_success_never_lowers_a_rate_and_a_failure_never_raises_it(
            outcomes in prop::collection::vec(any::<bool>(), 0..80),
        ) {
            let outcomes: Vec<_> = outcomes
                .into_iter()
                .map(|healed| if healed { OutcomeKind::Healed } else { OutcomeKind::NotHealed })
                .collect();
            let now = after(&outcomes).rate.0;
            let with = |last| after(&[&outcomes[..], &[last]].concat()).rate.0;
            prop_assert!((0.0..=100.0).contains(&now));
            prop_assert!(with(OutcomeKind::Healed) >= now - 1e-9);
            prop_assert!(with(OutcomeKind::NotHealed) <= now + 1e-9);
        }
    }
}
