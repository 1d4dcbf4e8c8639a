//! [`Look`] at the world.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::fault::{FaultKind, PathScope};
use domain::snapshot::{BreakerState, Phase, ProbeState, Usage};
use domain::{
    Attribute, AttributeValue, Bytes, Capabilities, Enforcement, Event, Infrastructure, InstanceName,
    InstanceState, LinkName, ResourceId, ServiceName, ServiceSpec, ServiceState, Time,
};
use provider::sample::{BackendSample, LinkSample};
use provider::{Look, ProviderError, Sample};

use crate::change::silences;
use crate::world::{MemoryProvider, World};

impl Look for MemoryProvider {
    fn capabilities(&self) -> Capabilities {
        let held = || Enforcement::Kernel("memory of the simulation".to_owned());
        Capabilities {
            provider: "simulated".to_owned(),
            cpu_limit: held(),
            memory_limit: held(),
            volumes: held(),
            host_stress: held(),
            links: held(),
        }
    }

    fn infrastructure(&self) -> Result<Infrastructure, ProviderError> {
        Ok(self.lock().infrastructure.clone())
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        let now = self.now();
        let world = self.lock();
        let services = &world.infrastructure.services;
        Ok(Sample {
            taken: now,
            fleet_age: now.since(world.begun),
            environment: world.infrastructure.environment,
            services: services
                .iter()
                .map(|(name, spec)| (name.clone(), world.service(name, spec, now)))
                .collect(),
            links: world.infrastructure.links().map(|link| (link.clone(), world.link(&link))).collect(),
        })
    }

    fn events(&self, after: u64, timeout: Duration) -> Result<Vec<Event>, ProviderError> {
        let newer = |world: &World| -> Vec<Event> {
            world.events.iter().filter(|event| event.sequence > after).cloned().collect()
        };
        let found = newer(&self.lock());
        if !found.is_empty() {
            return Ok(found);
        }
        self.wait(timeout);
        Ok(newer(&self.lock()))
    }

    fn logs(&self, service: &ServiceName, _lines: usize) -> Result<Vec<String>, ProviderError> {
        if !self.lock().infrastructure.services.contains_key(service) {
            return Err(ProviderError::UnknownResource { resource: format!("service/{service}") });
        }
        Ok(Vec::new())
    }
}

impl World {
    fn service(&self, name: &ServiceName, spec: &ServiceSpec, now: Time) -> ServiceState {
        let mut limits = spec.limits;
        if let Some(AttributeValue::Cpu(cpu)) = self.value(&Attribute::CpuLimit(name.clone())) {
            limits.cpu = cpu;
        }
        if let Some(AttributeValue::Size(memory)) = self.value(&Attribute::MemoryLimit(name.clone())) {
            limits.memory = memory;
        }
        let replicas = match self.value(&Attribute::Replicas(name.clone())) {
            Some(AttributeValue::Count(replicas)) => replicas,
            _ => spec.replicas,
        };
        let instances = self.slots.keys().filter(|instance| instance.service == *name);
        ServiceState {
            replicas,
            limits,
            volume: spec.volume.clone(),
            thresholds: spec.thresholds,
            dependencies: spec.dependencies.clone(),
            hands_off: spec.hands_off,
            can_drain: spec.drain.is_some(),
            can_clear_caches: spec.clear_caches.is_some(),
            rolling_out: false,
            instances: instances
                .map(|instance| (instance.clone(), self.instance(instance, &limits, now)))
                .collect(),
        }
    }

    fn instance(
        &self,
        instance: &InstanceName,
        limits: &domain::infrastructure::Limits,
        now: Time,
    ) -> InstanceState {
        let resource = ResourceId::Instance(instance.clone());
        let faults: Vec<&FaultKind> = self.faults_on(&resource).collect();
        let silent = faults.iter().any(|kind| silences(kind));
        let slot = &self.slots[instance];
        let ready = now.reached(slot.ready_at);
        let probe = ProbeState {
            failures_in_a_row: if silent { 3 } else { 0 },
            failures_limit: 3,
            last_passed: (ready && !silent).then_some(now),
            last_took: (ready && !silent).then_some(Duration::from_millis(1)),
        };
        // An idle process uses a twentieth of its limits, stress the share it was asked for.
        let share = |of: fn(&FaultKind) -> Option<f64>| {
            faults.iter().filter_map(|kind| of(kind)).fold(0.05, f64::max)
        };
        let cpu = share(|kind| match kind {
            FaultKind::CpuStress { load, .. } => Some(load.ratio()),
            _ => None,
        });
        let memory = share(|kind| match kind {
            FaultKind::MemoryStress { fill, .. } => Some(fill.ratio()),
            _ => None,
        });
        let disk_size = match self.value(&Attribute::VolumeSize(instance.clone())) {
            Some(AttributeValue::Size(size)) => size,
            _ => None,
        };
        let fill = self
            .faults_on(&ResourceId::Volume(instance.clone()))
            .filter_map(|kind| match kind {
                FaultKind::DiskFill { fill, .. } => Some(fill.ratio()),
                _ => None,
            })
            .fold(0.05, f64::max);
        let part = |size: Bytes, share: f64| Bytes((size.0 as f64 * share) as u64);
        InstanceState {
            incarnation: self.incarnation(instance),
            phase: match (ready, silent) {
                (false, _) => Phase::Starting,
                (true, false) => Phase::Ready,
                (true, true) => Phase::NotReady,
            },
            phase_since: slot.ready_at,
            started_at: Some(slot.started_at),
            readiness: Some(probe),
            liveness: Some(probe),
            usage: Usage {
                cpu: limits.cpu.map(|limit| domain::Cores(limit.0 * cpu)),
                memory: limits.memory.map(|limit| part(limit, memory)),
                disk_size,
                disk_used: disk_size.map(|size| part(size, fill)),
                ..Usage::default()
            },
            exits: Vec::new(),
            unsettled_exits: 0,
            crash_loop: false,
            port: None,
        }
    }

    fn link(&self, link: &LinkName) -> LinkSample {
        let mut backends = BTreeMap::new();
        for instance in self.slots.keys().filter(|instance| instance.service == link.to) {
            let ejected = Attribute::Ejected(link.clone(), instance.clone());
            let by_plan = self.value(&ejected) == Some(AttributeValue::Flag(true));
            let mut sample = BackendSample {
                ejected: by_plan,
                ejected_by_plan: by_plan,
                path_check: Some(Duration::from_millis(1)),
                path_check_failures: 0,
            };
            for kind in self.faults_on(&ResourceId::Link(link.clone())) {
                match kind {
                    FaultKind::NetworkLatency { delay, scope, .. } if touches(scope, instance) => {
                        sample.path_check = sample.path_check.map(|took| took + *delay);
                    }
                    FaultKind::NetworkPartition { scope } if touches(scope, instance) => {
                        sample.path_check = None;
                        sample.path_check_failures = 3;
                    }
                    _ => {}
                }
            }
            backends.insert(instance.clone(), sample);
        }
        let held = self.value(&Attribute::BreakerHeldOpen(link.clone()));
        let breaker = match held {
            Some(AttributeValue::Flag(true)) => BreakerState::Open,
            _ => BreakerState::Closed,
        };
        LinkSample { seconds: Default::default(), backends, breaker: Some(breaker) }
    }

    fn value(&self, attribute: &Attribute) -> Option<AttributeValue> {
        self.attributes.get(attribute).map(crate::world::Layered::value)
    }

    fn faults_on<'a>(&'a self, resource: &'a ResourceId) -> impl Iterator<Item = &'a FaultKind> {
        self.faults.values().filter(move |f| f.fault.target == *resource).map(|f| &f.fault.kind)
    }
}

/// Whether a new connection to an instance meets the fault.
fn touches(scope: &PathScope, instance: &InstanceName) -> bool {
    match scope {
        PathScope::All => true,
        PathScope::Backend(one) => one == instance,
        PathScope::EstablishedConnections => false,
    }
}
