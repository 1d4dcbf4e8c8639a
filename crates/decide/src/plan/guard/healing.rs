//! The rules for repairs: rates, trust, storm safety (H8, H10).

use std::collections::BTreeSet;

use domain::snapshot::Phase;
use domain::{Action, InstanceState, Intent, Percent, Plan, Snapshot, Time};

use super::{Activity, GuardContext, Objection};
use crate::plan::check::targets;
use crate::plan::history::History;
use crate::plan::policy::{Policy, Rung};

pub(super) fn rules(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    rates(plan, ctx, found);
    cooldown(plan, ctx, found);
    storm(plan, ctx, found);
    trust(plan, ctx, found);
    repeats(plan, ctx, found);
    overtaken(plan, ctx, found);
}

/// A rollback is from what ran when it was planned. It may wait for a person, and the issue may come back meanwhile with
/// another deployment as its cause: that one is not to be rolled back by a plan that never saw it.
fn overtaken(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    for step in &plan.steps {
        let Action::Deploy { service, .. } = &step.action else { continue };
        let later = ctx.snapshot.deployments.iter().map(|lately| &lately.deployment).rfind(|deployment| {
            deployment.service == *service
                && deployment.at.reached(plan.created_at)
                && deployment.plan != Some(plan.id)
        });
        found.extend(later.map(|deployment| Objection::DeployedSince {
            service: service.clone(),
            version: deployment.version.clone(),
        }));
    }
}

/// Share of failed remediations and their number, where automation has to be switched off for it: the
/// healing loop latches the switch and notifies.
pub fn failure_rate_exceeded(history: &History, policy: &Policy, now: Time) -> Option<(Percent, u32)> {
    let (rate, runs) = history.failure_rate(policy.limits.failure_window, now)?;
    (runs >= policy.limits.failure_runs_min && rate > policy.limits.failure_rate_max).then_some((rate, runs))
}

fn rates(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let limits = &ctx.policy.limits;
    let window = limits.rate_window;
    for resource in targets(plan) {
        let recent = ctx.history.within(window, ctx.now);
        let seen = recent.filter(|record| record.targets.contains(&resource)).count() as u32;
        if seen >= limits.per_resource {
            found.push(Objection::PerResource { resource, limit: limits.per_resource, seen, window });
        }
    }
    let seen = ctx.history.within(window, ctx.now).count() as u32;
    if seen >= limits.in_all {
        found.push(Objection::InAll { limit: limits.in_all, seen, window });
    }
    let running = ctx.running.iter().filter(|running| running.activity == Activity::Remediation);
    let seen = running.count() as u32;
    if seen >= limits.at_a_time {
        found.push(Objection::AtATime { limit: limits.at_a_time, seen });
    }
}

/// The pause between two starts doubles with every try that did not heal; what still runs counts as one.
fn cooldown(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let limits = &ctx.policy.limits;
    let Some(strategy) = plan.strategy() else { return };
    for resource in targets(plan) {
        let tries: Vec<_> = ctx
            .history
            .within(limits.rate_window, ctx.now)
            .filter(|record| record.strategy == strategy && record.targets.contains(&resource))
            .collect();
        let Some(seen) = tries.iter().map(|record| record.age(ctx.now)).min() else { continue };
        let unhealed = tries.iter().filter(|record| record.failed() || record.under_way()).count() as u32;
        // The first try that did not heal is followed by the plain pause, the second by twice that.
        let limit = limits.cooldown.saturating_mul(2_u32.pow(unhealed.saturating_sub(1).min(6)));
        if seen < limit {
            found.push(Objection::Cooldown { resource, strategy, limit, seen });
        }
    }
}

/// Where much of the fleet is unwell, the trouble is not one that clever repairs of single parts end:
/// plain restarts go on, one at a time and paced, everything else waits for a person.
fn storm(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let limits = &ctx.policy.limits;
    let Some((unwell, of)) = storm_in(ctx.snapshot, ctx.policy) else { return };
    if !plan.steps.iter().all(|step| matches!(step.action, Action::RestartInstance { .. })) {
        found.push(Objection::Storm { limit: limits.storm_share, unwell, of });
        return;
    }
    if plan.steps.len() > 1 {
        found.push(Objection::Storm { limit: limits.storm_share, unwell, of });
    }
    let limit = limits.storm_restart_interval;
    let last = ctx.history.records().iter().map(|record| record.age(ctx.now)).min();
    if let Some(seen) = last.filter(|seen| *seen < limit) {
        found.push(Objection::StormPace { limit, seen });
    }
}

/// How many instances are unwell, and of how many, where that is a storm: the healing loop calls a person.
pub fn storm_in(snapshot: &Snapshot, policy: &Policy) -> Option<(u32, u32)> {
    let (unwell, of) = unwell(snapshot);
    let share = Percent::of(f64::from(unwell), f64::from(of)).unwrap_or(Percent(0.0));
    (of >= policy.limits.storm_instances_min && share > policy.limits.storm_share).then_some((unwell, of))
}

/// How many instances are unwell, and of how many. What is not known to be well is not well; what is
/// stopped on purpose does not count, nor does a service nothing may be repaired in, nor what has never been
/// ready: a fleet that only just starts is on its way, not down.
fn unwell(snapshot: &Snapshot) -> (u32, u32) {
    let well = |state: &InstanceState| {
        state.phase == Phase::Ready
            && !state.crash_loop
            && !state.liveness.is_some_and(|probe| probe.failing())
    };
    let counted = snapshot
        .services
        .values()
        .filter(|service| !service.hands_off)
        .flat_map(|service| service.instances.values())
        .filter(|state| state.phase != Phase::Stopping && !state.never_ready);
    counted.fold((0, 0), |(unwell, of), state| (unwell + u32::from(!well(state)), of + 1))
}

fn trust(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let Intent::Remediation { cause, strategy, severity, .. } = &plan.intent else { return };
    let limits = &ctx.policy.limits;
    if !ctx.switches.automation {
        found.push(Objection::AutomationOff);
    }
    if let Some((seen, runs)) = failure_rate_exceeded(ctx.history, ctx.policy, ctx.now) {
        found.push(Objection::FailureRate { limit: limits.failure_rate_max, seen, runs });
    }
    // A confidence that is no number is no confidence.
    if cause.confidence.0.is_nan() || cause.confidence < limits.confidence_min {
        found.push(Objection::Confidence { limit: limits.confidence_min, seen: cause.confidence });
    }
    if *severity < limits.severity_min {
        found.push(Objection::Severity { limit: limits.severity_min, seen: *severity });
    }
    let targets = targets(plan);
    for service in targets.iter().filter_map(|target| target.service()).collect::<BTreeSet<_>>() {
        let rung = ctx.policy.ladder.rung(service, *strategy);
        if rung < Rung::Auto {
            found.push(Objection::Ladder { service: service.clone(), strategy: *strategy, rung });
        }
        let failed = ctx
            .history
            .within(limits.repeat_window, ctx.now)
            .filter(|record| record.failed() && record.strategy == *strategy && record.is_on(service));
        let seen = failed.count() as u32;
        if seen >= limits.demote_after {
            let (service, strategy, limit) = (service.clone(), *strategy, limits.demote_after);
            found.push(Objection::Demoted { service, strategy, limit, seen });
        }
    }
}

fn repeats(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let Intent::Remediation { kind, .. } = &plan.intent else { return };
    let (limit, window) = (ctx.policy.limits.repeats_max, ctx.policy.limits.repeat_window);
    for resource in targets(plan) {
        let recent = ctx.history.within(window, ctx.now);
        let same = recent.filter(|record| record.kind == *kind && record.targets.contains(&resource));
        let seen = same.count() as u32;
        if seen >= limit {
            found.push(Objection::Repeats { resource, kind: *kind, limit, seen, window });
        }
    }
}
