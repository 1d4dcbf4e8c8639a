//! Puts a [`Sample`] together from what the keeper knows. Overlays are left out: what is being injected
//! is not part of what is seen.

use std::time::Duration;

use domain::infrastructure::Limits;
use domain::snapshot::{InstanceState, Phase};
use domain::{
    Capabilities, CpuLimits, Enforcement, InstanceName, ServiceName, ServiceSpec, ServiceState, Time,
};

use super::Keeper;
use super::supervise::Slot;
use crate::sample::Sample;

/// A rollout that takes longer is no longer an excuse.
const ROLLOUT_MAX: Duration = Duration::from_secs(60);

/// What can be done here.
pub(super) fn capabilities(keeper: &Keeper) -> Capabilities {
    let (mut cpu_limit, mut host_stress) = (keeper.groups.cpu_limit(), keeper.groups.host_stress());
    if keeper.cpu_limits() == CpuLimits::Reference {
        let why = "this Infrastructure declares `cpu_limits: reference`".to_owned();
        (cpu_limit, host_stress) = (Enforcement::Unavailable(why.clone()), Enforcement::Unavailable(why));
    }
    Capabilities {
        provider: "processes".to_owned(),
        cpu_limit,
        memory_limit: keeper.groups.memory_limit(),
        volumes: keeper.volumes.enforcement(),
        host_stress,
        links: Enforcement::Supervision,
    }
}

/// Everything measured, now. What has settled since the last tick counts as settled: who was told that everything
/// is up does not have to wait for the next one.
pub(super) fn sample(keeper: &mut Keeper) -> Sample {
    settle(keeper);
    let now = keeper.clock.now();
    let up = keeper.table.infrastructure.as_ref();
    let services = up.into_iter().flat_map(|up| &up.services);
    Sample {
        taken: now,
        fleet_age: keeper.table.up_at.map(|at| now.since(at)).unwrap_or_default(),
        infrastructure: up.map(|up| up.name.clone()),
        environment: up.map(|up| up.environment).unwrap_or_default(),
        services: services.map(|(name, spec)| (name.clone(), service(keeper, name, spec, now))).collect(),
        links: keeper.proxies.iter().map(|(name, proxy)| (name.clone(), proxy.sample())).collect(),
        unbound: keeper.unbound.values().cloned().collect(),
    }
}

fn service(keeper: &Keeper, name: &ServiceName, spec: &ServiceSpec, now: Time) -> ServiceState {
    let slots = keeper.slots.iter().filter(|(instance, _)| instance.service == *name);
    ServiceState {
        replicas: keeper.replicas(name),
        limits: Limits { cpu: keeper.table.cpu_limit(name), memory: keeper.table.memory_limit(name) },
        volume: spec.volume.clone(),
        thresholds: spec.thresholds,
        dependencies: spec.dependencies.clone(),
        hands_off: spec.hands_off,
        protected: spec.protected,
        can_drain: spec.drain.is_some(),
        can_clear_caches: spec.clear_caches.is_some(),
        // A deployment ends by itself, or its order is taken back when its time is over.
        rolling_out: keeper.deploying.contains(name)
            || keeper.rollouts.get(name).is_some_and(|since| now.since(*since) < ROLLOUT_MAX),
        release: keeper.table.release(name).cloned().unwrap_or_else(|| spec.release()),
        instances: slots.map(|(name, slot)| (name.clone(), instance(keeper, name, slot, spec))).collect(),
    }
}

fn instance(keeper: &Keeper, name: &InstanceName, slot: &Slot, spec: &ServiceSpec) -> InstanceState {
    let record = keeper.table.instances.get(name).cloned().unwrap_or_default();
    InstanceState {
        phase: slot.phase,
        phase_since: slot.phase_since,
        started_at: record.started_at.filter(|_| record.incarnation.is_some()),
        incarnation: record.incarnation,
        readiness: slot.readiness,
        liveness: slot.liveness,
        usage: slot.meter.usage,
        exits: record.exits,
        unsettled_exits: record.unsettled_exits,
        crash_loop: record.unsettled_exits >= spec.restart.crash_loop_after,
        never_ready: !record.was_ready,
        outdated: keeper.is_outdated(name),
        port: record.port,
    }
}

/// Ends rollouts that are done, and forgets the unsettled ends of what has settled.
pub(super) fn settle(keeper: &mut Keeper) {
    let now = keeper.clock.now();
    let mut settled = Vec::new();
    for (name, slot) in &keeper.slots {
        let Some(spec) = keeper.spec(&name.service) else { continue };
        if slot.ready_since.is_some_and(|since| now.since(since) >= spec.restart.settled) {
            settled.push(name.clone());
        }
    }
    let mut changed = false;
    for name in settled {
        let Some(record) = keeper.table.instances.get_mut(&name) else { continue };
        changed |= record.restarts > 0 || record.unsettled_exits > 0;
        (record.restarts, record.unsettled_exits) = (0, 0);
    }
    let over = |name: &&ServiceName| is_whole(keeper, name) || is_looping(keeper, name);
    let done: Vec<ServiceName> = keeper.rollouts.keys().filter(over).cloned().collect();
    keeper.rollouts.retain(|name, _| !done.contains(name));
    if changed {
        keeper.save();
    }
}

fn is_whole(keeper: &Keeper, service: &ServiceName) -> bool {
    let slots: Vec<_> = keeper.slots.iter().filter(|(name, _)| name.service == *service).collect();
    slots.len() == keeper.replicas(service) as usize
        && slots.iter().all(|(name, slot)| slot.phase == Phase::Ready && !keeper.is_outdated(name))
}

/// A rollout that ends in a crash loop is over: it is an issue now.
fn is_looping(keeper: &Keeper, service: &ServiceName) -> bool {
    let limit = keeper.spec(service).map_or(u32::MAX, |spec| spec.restart.crash_loop_after);
    let mut records = keeper.table.instances.iter().filter(|(name, _)| name.service == *service);
    records.any(|(_, record)| record.unsettled_exits >= limit)
}
