//! What was repaired lately, as plain values.
//!
//! In: remediations as they start and end. Out: counts and tries for the planner and the guard.
//! Deliberately absent: faults. A history cannot hold an experiment ([`PlanRecord::of`] gives none), so the
//! planner that reads it cannot know what is being injected.

use std::time::Duration;

use domain::units::duration_ms;
use domain::{
    Intent, IssueId, IssueKind, OutcomeKind, Percent, Plan, PlanId, ResourceId, ServiceName, Strategy, Time,
};
use serde::{Deserialize, Serialize};

use super::check::targets;

/// One remediation that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Which plan.
    pub plan: PlanId,
    /// For which issue.
    pub issue: IssueId,
    /// Its type.
    pub kind: IssueKind,
    /// Where the issue is.
    pub signal: ResourceId,
    /// What its steps change or take out of use.
    pub targets: Vec<ResourceId>,
    /// How.
    pub strategy: Strategy,
    /// When its first step began.
    pub started_at: Time,
    /// What came of it; `None` while it runs, is verified, or is in its hold window.
    pub outcome: Option<OutcomeKind>,
    /// How long after its start its measure is in force, where it is lifted by itself.
    #[serde(default, with = "optional_duration")]
    pub lift_after: Option<Duration>,
}

mod optional_duration {
    use super::{Deserialize, Duration, Serialize, duration_ms};
    use serde::{Deserializer, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "duration_ms")] Duration);

    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        value.map(Wrapped).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(from)?.map(|wrapped| wrapped.0))
    }
}

impl PlanRecord {
    /// The record of a plan whose first step began at `started_at`; `None` where it is no remediation.
    pub fn of(plan: &Plan, started_at: Time) -> Option<Self> {
        let Intent::Remediation { issue, kind, strategy, cause, .. } = &plan.intent else { return None };
        Some(Self {
            plan: plan.id,
            issue: *issue,
            kind: *kind,
            signal: plan.verify.as_ref().map_or_else(|| cause.resource.clone(), |s| s.resource.clone()),
            targets: targets(plan),
            strategy: *strategy,
            started_at,
            outcome: None,
            lift_after: plan.lift_after,
        })
    }

    /// Whether its outcome is still open.
    pub fn under_way(&self) -> bool {
        self.outcome.is_none()
    }

    /// Whether it was tried and did not heal.
    pub fn failed(&self) -> bool {
        self.outcome == Some(OutcomeKind::NotHealed)
    }

    /// How long ago it started.
    ///
    /// Counted on the boot clock. Where that clock began anew since (the record lies in its future), the
    /// wall clock has to do.
    pub fn age(&self, now: Time) -> Duration {
        if self.started_at.boot_us <= now.boot_us {
            return now.since(self.started_at);
        }
        Duration::from_micros(u64::try_from(now.wall_us.saturating_sub(self.started_at.wall_us)).unwrap_or(0))
    }

    /// Whether it changes something of `service`: of a link its callee.
    pub(crate) fn is_on(&self, service: &ServiceName) -> bool {
        self.targets.iter().any(|target| target.service() == Some(service))
    }

    /// Whether it succeeded with a measure that is still in force.
    pub fn in_force(&self, now: Time) -> bool {
        matches!(self.outcome, Some(OutcomeKind::Healed | OutcomeKind::Mitigated))
            && self.lift_after.is_some_and(|after| self.age(now) < after)
    }
}

/// The remediations that were started within the longest window of the policy (30 days cover every one).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(Vec<PlanRecord>);

impl History {
    /// Adds what was started.
    pub fn start(&mut self, record: PlanRecord) {
        self.0.push(record);
    }

    /// Sets what came of a plan; nothing where it is not in the history.
    pub fn end(&mut self, plan: PlanId, outcome: OutcomeKind) {
        for record in self.0.iter_mut().filter(|record| record.plan == plan) {
            record.outcome = Some(outcome);
        }
    }

    /// All records, in the order in which they were started.
    pub fn records(&self) -> &[PlanRecord] {
        &self.0
    }

    /// What was started within the last `window`.
    pub fn within(&self, window: Duration, now: Time) -> impl Iterator<Item = &PlanRecord> {
        self.0.iter().filter(move |record| record.age(now) < window)
    }

    /// Share of failed among the decided remediations of the last `window`, with their number. What was
    /// refused or recovered by itself says nothing about repairs and is not counted.
    pub(crate) fn failure_rate(&self, window: Duration, now: Time) -> Option<(Percent, u32)> {
        let counted = |record: &&PlanRecord| {
            use OutcomeKind::{Healed, Mitigated, NotHealed};
            matches!(record.outcome, Some(Healed | Mitigated | NotHealed))
        };
        let (mut decided, mut failed) = (0_u32, 0_u32);
        for record in self.within(window, now).filter(counted) {
            decided += 1;
            failed += u32::from(record.failed());
        }
        Some((Percent::of(f64::from(failed), f64::from(decided))?, decided))
    }
}

impl FromIterator<PlanRecord> for History {
    fn from_iter<I: IntoIterator<Item = PlanRecord>>(records: I) -> Self {
        Self(records.into_iter().collect())
    }
}
