//! From an issue and its ranked causes to a plan, or to the reason why there is none.
//!
//! In: the issue, its causes, and a context of plain values. Out: a plan, what is being waited for, or why
//! no strategy suits. Not planning is a result with typed reasons. Deliberately absent: permission (the
//! guard's), and anything about faults: the history holds remediations only.
//!
//! A strategy is chosen among those that suit and were not yet exhausted for this issue: by the order the
//! specification gives, within it by learned rate, then by their order in the table.

use std::fmt;
use std::time::Duration;

use domain::snapshot::{ExitCause, InstanceState, Phase};
use domain::{
    Actor, Cause, CauseClass, InstanceName, Intent, Issue, IssueKind, OutcomeKind, Plan, PlanId, Reason,
    ResourceId, ServiceName, Strategy,
};

use super::context::PlanContext;
use super::history::PlanRecord;
use super::need::{Need, bad_backends, exists, overlap};
use super::priors::{Candidate, candidates};
use super::strategies::{Case, Draft, Unsuited, propose};

/// At most this many restarts for one issue (H3).
const RESTARTS_MAX: u32 = 3;
/// Scaling by load is tried with a number by measure, then with the most.
const SCALINGS_MAX: u32 = 2;
/// A standing restart that takes longer than this is no longer waited for: twice the longest back-off of
/// the default restart policy, and the start of a slow service.
const STANDING_RESTART_PATIENCE: Duration = Duration::from_secs(60);
/// From this many OOM kills within the recurrence window the standing restart counts as tried.
const OOM_REPEATED: usize = 2;

/// What came of planning.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made once a turn and taken apart at once")]
pub enum Planned {
    /// A plan, for the guard to rule on.
    Plan(Plan),
    /// Nothing to do yet.
    Waiting(Vec<WaitReason>),
    /// Nothing we can do, with the reason of every strategy that was considered.
    NoStrategy(Vec<Rejected>),
}

/// A strategy that was considered and does not suit.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Which.
    pub strategy: Strategy,
    /// Why.
    pub reason: Unsuited,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.strategy, self.reason)
    }
}

/// What planning waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitReason {
    /// The issue is closed; there is nothing to repair.
    Closed,
    /// No cause is known yet.
    NotDiagnosed,
    /// Where the repair would have to go was not seen in the snapshot; absence is unknown.
    NotSeen(ResourceId),
    /// Nothing is repaired in this service.
    HandsOff(ServiceName),
    /// A change of version or replicas is under way.
    RollingOut(ServiceName),
    /// The keeper's standing restart is under way, or was just done.
    StandingRestart {
        /// Of which instance.
        instance: InstanceName,
        /// Where it is in its life.
        phase: Phase,
    },
    /// It is being stopped on purpose.
    Stopping(InstanceName),
    /// The liveness probe fails, but not often enough for a verdict.
    LivenessPending {
        /// Of which instance.
        instance: InstanceName,
        /// Failures in a row.
        failures: u32,
        /// Needed.
        limit: u32,
    },
    /// The process that hung answers again, or is another one; the issue is about to close.
    Answers(InstanceName),
    /// A repair of the same issue or the same resource runs, is verified or in its hold window.
    RepairUnderWay(PlanId),
    /// A measure that serves until the cause is gone is in force.
    MeasureInForce(PlanId),
}

/// Plans the repair of an issue. The first cause that leads to a plan, or to something to wait for, is
/// taken; a lower-ranked one only where nothing suits those above it.
pub fn plan_repair(issue: &Issue, causes: &[Cause], ctx: &PlanContext<'_>) -> Planned {
    if issue.closed_at.is_some() {
        return Planned::Waiting(vec![WaitReason::Closed]);
    }
    if causes.is_empty() {
        return Planned::Waiting(vec![WaitReason::NotDiagnosed]);
    }
    let mut rejected = Vec::new();
    for cause in causes {
        let mut need = Need::of(issue, cause, ctx.snapshot, ctx.thresholds);
        if need.reason == Reason::Unexplained && load_came_back(&need, ctx) {
            need.reason = Reason::Load;
        }
        let case = Case { issue, cause, need: &need, ctx };
        let waiting = waits(&case);
        if !waiting.is_empty() {
            return Planned::Waiting(waiting);
        }
        match choose(&case) {
            Ok((strategy, draft)) => {
                return match under_way(&case, &draft) {
                    Some(plan) => Planned::Waiting(vec![WaitReason::RepairUnderWay(plan)]),
                    None => Planned::Plan(finish(&case, strategy, draft)),
                };
            }
            Err(of_cause) => rejected.extend(of_cause),
        }
    }
    Planned::NoStrategy(rejected)
}

/// Whether more instances healed this service's need of processor time and have gone since: what they carried
/// is back at those that are left, at a request rate that is the usual one by now.
fn load_came_back(need: &Need, ctx: &PlanContext<'_>) -> bool {
    let Some(service) = need.at.service().filter(|_| need.kind == IssueKind::HighCpu) else { return false };
    let lately = ctx.policy.lifting.scale_back.saturating_add(ctx.policy.limits.recurrence_window);
    ctx.history.within(lately, ctx.now).any(|record| {
        record.strategy == Strategy::ScaleHorizontally
            && record.outcome == Some(OutcomeKind::Healed)
            && record.is_on(service)
            && !record.in_force(ctx.now)
    })
}

fn waits(case: &Case<'_>) -> Vec<WaitReason> {
    let mut waiting = Vec::new();
    let ctx = case.ctx;
    if !exists(&case.need.at, ctx.snapshot) {
        return vec![WaitReason::NotSeen(case.need.at.clone())];
    }
    for service in super::check::services_of(&case.need.at) {
        let Some(state) = ctx.snapshot.services.get(service) else { continue };
        if state.hands_off {
            waiting.push(WaitReason::HandsOff(service.clone()));
        }
        if state.rolling_out {
            waiting.push(WaitReason::RollingOut(service.clone()));
        }
    }
    let same = |record: &&PlanRecord| {
        record.issue == case.issue.id || record.targets.iter().any(|target| overlap(target, &case.need.at))
    };
    let records = ctx.history.records();
    waiting.extend(
        records
            .iter()
            .filter(|record| record.under_way())
            .filter(same)
            .map(|record| WaitReason::RepairUnderWay(record.plan)),
    );
    let mitigates = |record: &&PlanRecord| {
        matches!(record.strategy, Strategy::CircuitBreakDependency | Strategy::ScaleReplicas)
    };
    waiting.extend(
        records
            .iter()
            .filter(|record| record.in_force(ctx.now))
            .filter(mitigates)
            .filter(same)
            .map(|record| WaitReason::MeasureInForce(record.plan)),
    );
    waiting.extend(ejection_in_force(case));
    if case.need.kind == IssueKind::PodCrash
        && let Some(name) = case.need.at.instance()
        && let Some(state) = ctx.snapshot.instance(name)
    {
        waiting.extend(wait_for_process(case, name, state));
    }
    waiting
}

/// An instance that a plan took out of the link stays unwell, and its issue open, until it is seen well
/// again; that is no reason for another measure as long as the others are well.
fn ejection_in_force(case: &Case<'_>) -> Option<WaitReason> {
    let ResourceId::Link(name) = &case.need.at else { return None };
    if !matches!(case.need.reason, Reason::OneBackend | Reason::Unspecified) {
        return None;
    }
    let ejection = case.ctx.history.records().iter().find(|record| {
        record.strategy == Strategy::RerouteTraffic
            && record.in_force(case.ctx.now)
            && record.targets.contains(&case.need.at)
    })?;
    let others_are_well = bad_backends(name, case.ctx.snapshot, case.ctx.thresholds)
        .into_iter()
        .all(|bad| ejection.targets.contains(&ResourceId::Instance(bad)));
    others_are_well.then_some(WaitReason::MeasureInForce(ejection.plan))
}

/// Healing begins where the standing policy ends: a crash loop, a repeated OOM, a hang.
fn wait_for_process(case: &Case<'_>, name: &InstanceName, state: &InstanceState) -> Option<WaitReason> {
    let instance = name.clone();
    if state.phase == Phase::Stopping {
        return Some(WaitReason::Stopping(instance));
    }
    let in_hand = match state.phase {
        Phase::Ready => true,
        Phase::Starting | Phase::BackingOff => {
            case.ctx.now.since(state.phase_since) < STANDING_RESTART_PATIENCE
        }
        Phase::NotReady | Phase::Stopping | Phase::Unknown => false,
    };
    match case.need.reason {
        Reason::Unresponsive => match state.liveness {
            Some(probe) if probe.failing() => None,
            Some(probe) if probe.failures_in_a_row > 0 => Some(WaitReason::LivenessPending {
                instance,
                failures: probe.failures_in_a_row,
                limit: probe.failures_limit,
            }),
            Some(_) => Some(WaitReason::Answers(instance)),
            // A new process was not asked yet.
            None if in_hand => Some(WaitReason::StandingRestart { instance, phase: state.phase }),
            None => None,
        },
        Reason::OutOfMemory if ooms(case, state) >= OOM_REPEATED => None,
        _ if state.crash_loop => None,
        _ if in_hand => Some(WaitReason::StandingRestart { instance, phase: state.phase }),
        _ => None,
    }
}

/// How often the slot ran out of memory within the recurrence window.
fn ooms(case: &Case<'_>, state: &InstanceState) -> usize {
    let window = case.ctx.policy.limits.recurrence_window;
    let recent = state.exits.iter().filter(|exit| case.ctx.now.since(exit.at) < window);
    recent.filter(|exit| exit.cause == ExitCause::OutOfMemory).count()
}

fn choose(case: &Case<'_>) -> Result<(Strategy, Draft), Vec<Rejected>> {
    let mut rejected = Vec::new();
    for Candidate { strategy, .. } in in_order(case) {
        let suited = propose(strategy, case).and_then(|draft| not_exhausted(case, strategy, draft));
        match suited {
            Ok(draft) => return Ok((strategy, draft)),
            Err(reason) => rejected.push(Rejected { strategy, reason }),
        }
    }
    Err(rejected)
}

/// The candidates by rank, then by learned rate; the sort is stable, so that equals stay as in the table.
fn in_order(case: &Case<'_>) -> Vec<Candidate> {
    let Issue { kind, reason, .. } = case.issue;
    let rate = |candidate: &Candidate| {
        case.ctx.rates.estimate(*kind, *reason, candidate.strategy, candidate.prior).rate.0
    };
    let mut order = candidates(case.need.kind, case.need.reason).to_vec();
    // Where no deployment is the cause there is nothing to roll back, and nothing to say of it.
    let deployed = case.cause.class == CauseClass::BadDeployment;
    order.retain(|candidate| deployed || candidate.strategy != Strategy::RollbackDeployment);
    order.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| rate(b).total_cmp(&rate(a))));
    order
}

/// A repair that has no verdict yet and changes what this one would change, such as the limit of a service
/// that two of its instances need: what came of the first is seen first.
fn under_way(case: &Case<'_>, draft: &Draft) -> Option<PlanId> {
    let changes = |record: &&PlanRecord| {
        draft.steps.iter().any(|step| record.targets.contains(&step.action.resource()))
    };
    let mut open = case.ctx.history.records().iter().filter(|record| record.under_way());
    open.find(changes).map(|record| record.plan)
}

/// A strategy is exhausted when it failed for this issue (a restart: three times, scaling by load: twice), or, after an OOM, when it
/// was tried at all: the next one comes.
fn not_exhausted(case: &Case<'_>, strategy: Strategy, draft: Draft) -> Result<Draft, Unsuited> {
    let repeated_oom = case.need.kind == IssueKind::PodCrash && case.need.reason == Reason::OutOfMemory;
    let targets: Vec<ResourceId> = draft.steps.iter().map(|step| step.action.resource()).collect();
    let window = case.ctx.policy.limits.recurrence_window;
    let tries = case.ctx.history.within(window, case.ctx.now).filter(|record| {
        record.strategy == strategy
            && record.kind == case.issue.kind
            && (record.issue == case.issue.id || targets.iter().any(|target| record.targets.contains(target)))
            && (repeated_oom || record.failed())
    });
    let mut times = tries.count() as u32;
    if repeated_oom
        && strategy == Strategy::RestartPod
        && let Some(state) = case.need.at.instance().and_then(|name| case.ctx.snapshot.instance(name))
        && ooms(case, state) >= OOM_REPEATED
    {
        // The keeper's standing restart was the first try.
        times += 1;
    }
    let most = match strategy {
        Strategy::RestartPod if !repeated_oom => RESTARTS_MAX,
        Strategy::ScaleHorizontally if case.need.reason == Reason::Load => SCALINGS_MAX,
        _ => 1,
    };
    if times >= most { Err(Unsuited::Tried { times }) } else { Ok(draft) }
}

fn finish(case: &Case<'_>, strategy: Strategy, draft: Draft) -> Plan {
    let Draft { steps, verify, summary, expected_effect, blast_radius, lift_after } = draft;
    Plan {
        id: case.ctx.id,
        intent: Intent::Remediation {
            issue: case.issue.id,
            kind: case.issue.kind,
            reason: case.issue.reason,
            severity: case.issue.severity,
            strategy,
            cause: case.cause.clone(),
        },
        requested_by: Actor::Healing,
        summary,
        expected_effect,
        steps,
        verify: Some(verify),
        blast_radius,
        lift_after,
        created_at: case.ctx.now,
    }
}

impl WaitReason {
    /// Whether it ends within moments and nothing tells when: only looking does.
    pub fn is_brief(&self) -> bool {
        match self {
            Self::NotDiagnosed
            | Self::NotSeen(_)
            | Self::StandingRestart { .. }
            | Self::Stopping(_)
            | Self::LivenessPending { .. }
            | Self::Answers(_) => true,
            // A repair that runs keeps the loop looking by itself; the others are people's.
            Self::Closed
            | Self::HandsOff(_)
            | Self::RollingOut(_)
            | Self::RepairUnderWay(_)
            | Self::MeasureInForce(_) => false,
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the issue is closed"),
            Self::NotDiagnosed => f.write_str("no cause is known yet"),
            Self::NotSeen(resource) => write!(f, "{resource} was not seen"),
            Self::HandsOff(service) => write!(f, "{service} is labelled hands-off"),
            Self::RollingOut(service) => write!(f, "{service} is being rolled out"),
            Self::StandingRestart { instance, .. } => {
                write!(f, "the standing restart of {instance} is under way")
            }
            Self::Stopping(instance) => write!(f, "{instance} is being stopped on purpose"),
            Self::LivenessPending { instance, failures, limit } => {
                write!(f, "{instance} did not answer {failures} probes, {limit} give a verdict")
            }
            Self::Answers(instance) => write!(f, "{instance} answers again"),
            Self::RepairUnderWay(plan) => write!(f, "plan {plan} repairs it"),
            Self::MeasureInForce(plan) => write!(f, "the measure of plan {plan} is in force"),
        }
    }
}

#[cfg(test)]
mod tests;
