//! The rules for experiments (C3): who is never a target, how much is disturbed at a time, and only while
//! the fleet is well.

use std::collections::BTreeSet;

use domain::snapshot::Phase;
use domain::{Environment, Percent, Plan, ResourceId, ServiceName};

use super::{Activity, GuardContext, Objection, instances, share_of};

pub(super) fn rules(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let limits = &ctx.policy.chaos;
    // A link's callee is disturbed by a fault on it; its caller only feels it. So only the callee counts.
    let disturbed: BTreeSet<_> = plan.blast_radius.iter().filter_map(ResourceId::service).collect();
    let declared = |service: &ServiceName| ctx.snapshot.services.get(service).is_some_and(|it| it.protected);
    let protected = disturbed
        .into_iter()
        .filter(|service| limits.protected_services.contains(*service) || declared(service));
    found.extend(protected.map(|service| Objection::Protected(service.clone())));
    let nodes = plan.blast_radius.iter().filter(|resource| matches!(resource, ResourceId::Node(_)));
    found.extend(nodes.map(|node| Objection::ControlPath(node.clone())));
    if ctx.snapshot.environment == Environment::Production {
        found.push(Objection::ProductionFault);
    }
    at_a_time(plan, ctx, found);
    fleet_is_well(ctx, found);
}

fn at_a_time(plan: &Plan, ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let limits = &ctx.policy.chaos;
    let active: Vec<_> = ctx.running.iter().filter(|running| running.activity == Activity::Fault).collect();
    let seen = (active.len() + plan.steps.len()) as u32;
    if seen > limits.faults_at_a_time {
        found.push(Objection::FaultsAtATime { limit: limits.faults_at_a_time, seen });
    }
    let all = ctx.snapshot.services.values().map(|service| service.instances.len() as u32).sum();
    let limit = share_of(all, limits.blast_radius_max);
    let radius = plan.blast_radius.iter().chain(active.iter().flat_map(|running| &running.blast_radius));
    let seen = instances(radius).len() as u32;
    if seen > limit {
        found.push(Objection::BlastRadius { limit, seen });
    }
}

fn fleet_is_well(ctx: &GuardContext<'_>, found: &mut Vec<Objection>) {
    let services = &ctx.snapshot.services;
    let healthy = services.values().filter(|service| {
        let ready = service.instances.values().filter(|state| state.phase == Phase::Ready).count();
        ready * 2 >= service.replicas as usize && ready > 0
    });
    let limit = ctx.policy.chaos.min_healthy_services;
    let seen = Percent::of(healthy.count() as f64, services.len() as f64).unwrap_or(Percent(0.0));
    if seen < limit {
        found.push(Objection::UnhealthyFleet { limit, seen });
    }
}
