//! The rules that hold whoever asks: emergency stop, hands-off, slots, what must stay standing.

use std::collections::BTreeSet;

use domain::snapshot::Phase;
use domain::{Action, Environment, Plan, ResourceId, ServiceName};

use super::{Activity, GuardContext, Objection, instances, share_of};
use crate::plan::check::services_of;
use crate::plan::check::targets;
use crate::plan::need::exists;

pub(super) fn rules(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    // Nothing starts while it is latched; who takes everything down wants more of the same.
    if ctx.switches.emergency_stop && !takes_down(plan) {
        found.push(Objection::EmergencyStop);
    }
    if ctx.switches.dry_run {
        found.push(Objection::DryRun);
    }
    let seen = ctx.now.since(ctx.snapshot.taken);
    let limit = ctx.policy.limits.snapshot_age_max;
    if seen > limit {
        found.push(Objection::StaleSnapshot { limit, seen });
    }
    for service in services(plan) {
        // Else what is labelled could never be taken down, and the label lies in its declaration.
        if !takes_down(plan) && ctx.snapshot.services.get(service).is_some_and(|state| state.hands_off) {
            found.push(Objection::HandsOff(service.clone()));
        }
    }
    for resource in
        targets(plan).into_iter().chain(plan.blast_radius.iter().cloned()).collect::<BTreeSet<_>>()
    {
        if !exists(&resource, ctx.snapshot) && !brings_up(plan, &resource) {
            found.push(Objection::UnknownResource(resource));
        }
    }
    busy(plan, ctx, found);
    instance_slots(plan, ctx, found);
    what_must_stand(plan, ctx, found);
    deletions(plan, ctx, found);
    infrastructures(plan, ctx, found);
    for (index, step) in plan.steps.iter().enumerate() {
        if step.undo == domain::Undo::Irreversible && !named(&step.action, ctx) {
            found.push(Objection::Irreversible(index));
        }
    }
}

/// The rules for what starts by itself; people may work where it holds back.
pub(super) fn rules_of_loops(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    for service in services(plan) {
        if let Some(until) = ctx.switches.paused.get(service)
            && until.is_none_or(|until| !ctx.now.reached(until))
        {
            found.push(Objection::Paused { service: service.clone(), until: *until });
        }
        if ctx.snapshot.services.get(service).is_some_and(|state| state.rolling_out) {
            found.push(Objection::RollingOut(service.clone()));
        }
    }
}

/// Every service the plan touches; of a link both ends.
fn services(plan: &Plan) -> BTreeSet<&ServiceName> {
    let of_steps = plan.steps.iter().flat_map(|step| match &step.action {
        Action::SetReplicas { service, .. }
        | Action::SetCpuLimit { service, .. }
        | Action::SetMemoryLimit { service, .. }
        | Action::Deploy { service, .. } => vec![service],
        Action::RestartInstance { instance, .. }
        | Action::ResizeVolume { instance, .. }
        | Action::RemoveFiles { instance, .. }
        | Action::RotateLogs { instance }
        | Action::ClearCaches { instance } => vec![&instance.service],
        Action::EjectBackend { link, .. }
        | Action::OpenBreaker { link }
        | Action::ResetConnections { link } => vec![&link.from, &link.to],
        Action::BringUp { .. } | Action::TakeDown { .. } => Vec::new(),
        Action::Inject(fault) => services_of(&fault.target),
    });
    of_steps.chain(plan.blast_radius.iter().flat_map(services_of)).collect()
}

/// Two repairs never work on one resource, nor two faults; but a repair works on what a fault disturbs:
/// that is what repairs are for.
fn busy(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let fault = matches!(plan.intent, domain::Intent::Experiment { .. });
    let targets = targets(plan);
    for running in ctx.running.iter().filter(|running| fault || running.activity != Activity::Fault) {
        if running.id == plan.id {
            let resource = targets.first().or(plan.blast_radius.first());
            found.extend(resource.map(|resource| running.occupies(resource)));
        } else if let Some(resource) = worked_on(plan, &targets, running) {
            found.push(running.occupies(resource));
        }
    }
}

/// What of a plan another one works on. The whole is not changed while anything works on a part of it.
fn worked_on<'a>(
    plan: &Plan,
    targets: &'a [ResourceId],
    running: &'a super::RunningPlan,
) -> Option<&'a ResourceId> {
    let whole = plan.steps.iter().any(|step| step.action.infrastructure().is_some());
    let same = targets.iter().find(|target| running.blast_radius.contains(target));
    same.or(running.blast_radius.first().filter(|_| whole))
}

/// At most a share of a service's instances disturbed or repaired at a time. A repair of a disturbed
/// instance uses that instance's slot, because instances are counted once.
fn instance_slots(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let wanted = instances(&plan.blast_radius);
    let taken = instances(ctx.running.iter().flat_map(|running| &running.blast_radius));
    for service in wanted.iter().map(|instance| &instance.service).collect::<BTreeSet<_>>() {
        let replicas = ctx.snapshot.services.get(service).map_or(0, |state| state.replicas);
        let limit = share_of(replicas, ctx.policy.limits.service_share_max);
        let seen = wanted.union(&taken).filter(|instance| instance.service == *service).count() as u32;
        if seen > limit && !scales_down(plan, service) && !takes_down(plan) {
            found.push(Objection::InstanceSlots { service: service.clone(), limit, seen });
        }
    }
}

fn takes_down(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.action, Action::TakeDown { .. }))
}

/// Whether a resource is what the plan makes.
fn brings_up(plan: &Plan, resource: &ResourceId) -> bool {
    let makes = |action: &Action| matches!(action, Action::BringUp { .. }) && action.resource() == *resource;
    plan.steps.iter().any(|step| makes(&step.action))
}

/// A whole Infrastructure: one at a time, and a person decides where much is at stake.
fn infrastructures(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let rules = &ctx.policy.infrastructures;
    for action in plan.steps.iter().map(|step| &step.action) {
        let Some(infrastructure) = action.infrastructure() else { continue };
        match action {
            Action::TakeDown { .. } if rules.approve_take_down => {
                let seen = ctx.snapshot.services.values().map(|state| state.replicas).sum();
                found.push(Objection::WholeDeletion { infrastructure: infrastructure.name.clone(), seen });
            }
            Action::BringUp { .. } => {
                found.extend(ctx.snapshot.infrastructure.clone().map(Objection::SomethingIsUp));
            }
            _ => {}
        }
        if infrastructure.environment == Environment::Production && rules.approve_production {
            found.push(Objection::ProductionInfrastructure(infrastructure.name.clone()));
        }
    }
}

/// A scale-down takes its instances away for good; [`deletions`] judges it instead.
fn scales_down(plan: &Plan, service: &ServiceName) -> bool {
    plan.steps
        .iter()
        .any(|step| matches!(&step.action, Action::SetReplicas { service: of, .. } if of == service))
}

fn what_must_stand(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let out: BTreeSet<_> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::EjectBackend { link, instance } => Some((link, instance)),
            _ => None,
        })
        .collect();
    for link in out.iter().map(|(link, _)| *link).collect::<BTreeSet<_>>() {
        let Some(state) = ctx.snapshot.links.get(link) else { continue };
        let left =
            state.backends.iter().any(|(name, backend)| !backend.ejected && !out.contains(&(link, name)));
        if !left {
            found.push(Objection::NoBackendLeft(link.clone()));
        }
    }
    for step in &plan.steps {
        let Action::RestartInstance { instance, .. } = &step.action else { continue };
        let Some(service) = ctx.snapshot.services.get(&instance.service) else { continue };
        let mut ready = service
            .instances
            .iter()
            .filter(|(_, state)| {
                state.phase == Phase::Ready && !state.liveness.is_some_and(|probe| probe.failing())
            })
            .map(|(name, _)| name);
        if service.replicas > 1 && ready.next() == Some(instance) && ready.next().is_none() {
            found.push(Objection::LastReady(instance.clone()));
        }
    }
}

fn deletions(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let all: u32 = ctx.snapshot.services.values().map(|state| state.replicas).sum();
    let limits = &ctx.policy.limits;
    let limit = limits.deletions_max.min(
        // Rounded up: 20 % of a fleet of eight is reached with the second deletion.
        ((f64::from(all) * limits.deletion_share_max.ratio()).ceil() as u32).max(1),
    );
    let seen = plan
        .steps
        .iter()
        .map(|step| match &step.action {
            Action::SetReplicas { service, replicas } => {
                ctx.snapshot.services.get(service).map_or(0, |state| state.replicas.saturating_sub(*replicas))
            }
            _ => 0,
        })
        .sum();
    if seen >= limit {
        found.push(Objection::BulkDeletion { limit, seen });
    }
}

fn named(action: &Action, ctx: &GuardContext<'_>) -> bool {
    match action {
        Action::RemoveFiles { class, older_than, .. } => ctx.policy.deletions.name(*class, *older_than),
        _ => false,
    }
}
