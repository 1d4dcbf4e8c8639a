//! The guard: may this plan run now?
//!
//! In: a plan, what was seen, what was repaired lately, what runs, the policy and the switches. Out:
//! [`Ruling::Clear`], [`Ruling::Wait`] or [`Ruling::Refuse`], with every reason. It is a pure function: the
//! same arguments give the same answer, which is what lets an audit ask the question again a year later.
//!
//! The guard never changes a plan. A plan that is too wide is refused, not narrowed; narrowing is the
//! planner's business, and an operator should see one plan, not two.
//!
//! # Which rules hold for whom
//!
//! | rules | remediation | experiment | operation | lift |
//! |---|---|---|---|---|
//! | plan checker, resources exist | yes | yes | yes | checker |
//! | emergency stop, hands-off | yes | yes | yes, but for taking everything down | no |
//! | dry run, stale snapshot | yes | yes | yes | no |
//! | pause, rollout | yes | yes | no: that is when people work by hand | no |
//! | slots per service, busy resources, last backend | yes | yes (but the last backend) | yes | no |
//! | rates, at a time, cooldown, storm | yes | no | no | no |
//! | automation switch, ladder, confidence, severity, failure rate, repeats | yes | no | no | no |
//! | one Infrastructure at a time, a whole one and production need a yes | no | no | yes | no |
//! | protected services, chaos limits, fleet well enough | no | yes | no | no |
//!
//! A lift takes a measure back, and taking back needs no clearance.
//!
//! # What a person can lift
//!
//! An [`Approval`] of this very plan, or a plan an operator asked for, passes the gates that ask for a
//! person: automation switch, ladder (but for `observe`), confidence, severity, failure rate, repeats,
//! named deletions, last ready instance. Bulk deletions, taking a whole Infrastructure down, changes of a whole one in
//! production and faults there need an approval even when an operator asked. Rates, slots, cooldowns, pauses, storms and the emergency stop bend for nobody.
//!
//! # Invariants
//!
//! - Every objection names the rule, the limit and the value seen.
//! - Rules only tighten: no rule can clear what another refused, and more running plans, pauses or started
//!   remediations never clear what was not clear before. (A *healed* remediation may lower the failure
//!   rate; this is why the healing loop latches the automation switch when
//!   [`failure_rate_exceeded`] says so.)
//! - Nothing runs that did not pass here: the executor accepts only the type [`Ruling::Clear`] holds.

mod chaos;
mod everyone;
mod healing;
mod objection;

use std::collections::{BTreeMap, BTreeSet};

use domain::{Actor, InstanceName, Intent, Plan, PlanId, ResourceId, ServiceName, Snapshot, Time};
use serde::{Deserialize, Serialize};

use super::check;
use super::cleared::Cleared;
use super::history::History;
use super::policy::Policy;

pub use healing::{failure_rate_exceeded, storm_in};
pub use objection::{LiftedBy, Objection, Weight};

/// What people switched, persisted and latched until cleared (S7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switches {
    /// AUTO_REMEDIATION_ENABLED, the master switch above the ladder.
    pub automation: bool,
    /// Nothing starts until it is cleared.
    pub emergency_stop: bool,
    /// DRY_RUN_MODE: plans are shown, nothing is changed.
    pub dry_run: bool,
    /// Paused services, with the time the pause ends by itself, if it does.
    pub paused: BTreeMap<ServiceName, Option<Time>>,
}

impl Default for Switches {
    fn default() -> Self {
        Self { automation: true, emergency_stop: false, dry_run: false, paused: BTreeMap::new() }
    }
}

/// A person's yes to one plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// To which plan; to no other.
    pub plan: PlanId,
    /// When. It is good for [`Limits::approval_valid`](super::policy::Limits::approval_valid).
    pub at: Time,
}

/// A plan that holds its slots: from its clearance until its signal first passed or it ended; a fault until
/// it was taken out. The hold window holds no slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunningPlan {
    /// Which.
    pub id: PlanId,
    /// What it may touch.
    pub blast_radius: Vec<ResourceId>,
    /// When it was cleared.
    pub started_at: Time,
    /// What it does.
    pub activity: Activity,
}

/// What a running plan does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Repairs.
    Remediation,
    /// Disturbs.
    Fault,
    /// Does what a person asked for.
    Operation,
}

impl RunningPlan {
    /// That it works on a resource.
    fn occupies(&self, resource: &ResourceId) -> Objection {
        Objection::Busy { resource: resource.clone(), plan: self.id, activity: self.activity }
    }

    /// A plan that was just cleared; `None` for a lift, which holds no slot.
    pub fn of(plan: &Plan, now: Time) -> Option<Self> {
        let activity = match plan.intent {
            Intent::Remediation { .. } => Activity::Remediation,
            Intent::Experiment { .. } => Activity::Fault,
            Intent::Operation { .. } => Activity::Operation,
            Intent::Lift { .. } => return None,
        };
        Some(Self { id: plan.id, blast_radius: plan.blast_radius.clone(), started_at: now, activity })
    }
}

/// Everything the guard looks at beside the plan.
#[derive(Debug, Clone, Copy)]
pub struct GuardContext<'a> {
    /// The time of the question.
    pub now: Time,
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// The remediations of late.
    pub history: &'a History,
    /// What is allowed.
    pub policy: &'a Policy,
    /// What people switched.
    pub switches: &'a Switches,
    /// A person's yes, if there is one.
    pub approved: Option<&'a Approval>,
    /// What runs now.
    pub running: &'a [RunningPlan],
}

/// The guard's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// It may run, now.
    Clear(Cleared<Plan>),
    /// Not now: a slot, a rate, a window or a person is waited for.
    Wait {
        /// The plan, unchanged.
        plan: Plan,
        /// Everything that stands in its way.
        reasons: Vec<Objection>,
    },
    /// Not as it is.
    Refuse {
        /// The plan, unchanged.
        plan: Plan,
        /// Everything that stands in its way.
        reasons: Vec<Objection>,
    },
}

impl Ruling {
    /// What stands in the way; empty where the plan may run.
    pub fn reasons(&self) -> &[Objection] {
        match self {
            Self::Clear(_) => &[],
            Self::Wait { reasons, .. } | Self::Refuse { reasons, .. } => reasons,
        }
    }

    /// Whether only a person stands between the plan and its run: it is to be shown as awaiting approval.
    pub fn awaits_approval(&self) -> bool {
        matches!(self, Self::Wait { .. })
            && self.reasons().iter().all(|reason| reason.lifted_by() != LiftedBy::Nobody)
    }
}

/// May this plan run now?
pub fn guard(plan: Plan, ctx: &GuardContext<'_>) -> Ruling {
    let mut reasons = objections(&plan, ctx);
    reasons.retain(|reason| !lifted(reason, &plan, ctx));
    match reasons.iter().map(Objection::weight).max() {
        None => Ruling::Clear(Cleared::by_guard(plan)),
        Some(Weight::Wait) => Ruling::Wait { plan, reasons },
        Some(Weight::Refuse) => Ruling::Refuse { plan, reasons },
    }
}

/// Every objection of every rule that holds for this plan, before a person's word is heard.
fn objections(plan: &Plan, ctx: &GuardContext<'_>) -> Vec<Objection> {
    let mut found: Vec<_> = check::fatal(plan).into_iter().map(Objection::Flawed).collect();
    match &plan.intent {
        Intent::Lift { .. } => {}
        Intent::Operation { .. } => everyone::rules(plan, ctx, &mut found),
        Intent::Remediation { .. } => {
            everyone::rules(plan, ctx, &mut found);
            everyone::rules_of_loops(plan, ctx, &mut found);
            healing::rules(plan, ctx, &mut found);
        }
        Intent::Experiment { .. } => {
            everyone::rules(plan, ctx, &mut found);
            everyone::rules_of_loops(plan, ctx, &mut found);
            chaos::rules(plan, ctx, &mut found);
        }
    }
    found
}

fn lifted(reason: &Objection, plan: &Plan, ctx: &GuardContext<'_>) -> bool {
    let approved = ctx.approved.is_some_and(|approval| {
        approval.plan == plan.id && ctx.now.since(approval.at) < ctx.policy.limits.approval_valid
    });
    match reason.lifted_by() {
        LiftedBy::Nobody => false,
        LiftedBy::Approval => approved,
        LiftedBy::AnyPerson => approved || matches!(plan.requested_by, Actor::Operator(_)),
    }
}

/// The instances among some resources; a volume counts as its instance.
fn instances<'a>(resources: impl IntoIterator<Item = &'a ResourceId>) -> BTreeSet<&'a InstanceName> {
    resources.into_iter().filter_map(ResourceId::instance).collect()
}

/// `share` of `whole`, rounded down, at least one.
fn share_of(whole: u32, share: domain::Percent) -> u32 {
    ((f64::from(whole) * share.ratio() + 1e-9).floor() as u32).max(1)
}

#[cfg(test)]
mod tests;
