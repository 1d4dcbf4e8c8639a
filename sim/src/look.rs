//! [`Look`] at the world.

use std::time::Duration;

use domain::infrastructure::Limits;
use domain::snapshot::{BreakerState, Usage};
use domain::{
    Attribute, AttributeValue, Capabilities, Enforcement, Event, FileClass, Infrastructure, InstanceName,
    InstanceState, LinkName, ServiceName, ServiceSpec, ServiceState, Time,
};
use provider::sample::LinkSample;
use provider::{Look, ProviderError, Sample};

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

    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        let world = self.lock();
        Ok(world.something_is_up.then(|| world.infrastructure.clone()))
    }

    fn sample(&self) -> Result<Sample, ProviderError> {
        let now = self.now();
        let world = self.lock();
        let services = &world.infrastructure.services;
        Ok(Sample {
            taken: now,
            fleet_age: now.since(world.begun),
            infrastructure: world.something_is_up.then(|| world.infrastructure.name.clone()),
            environment: world.infrastructure.environment,
            services: services
                .iter()
                .map(|(name, spec)| (name.clone(), world.service(name, spec, now)))
                .collect(),
            links: world.order.iter().map(|link| (link.clone(), world.link(link, now))).collect(),
            unbound: Vec::new(),
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
        let limits = Limits { cpu: self.cpu_limit(name), memory: self.memory_limit(name) };
        let replicas = match self.value(&Attribute::Replicas(name.clone())) {
            Some(AttributeValue::Count(replicas)) => replicas,
            _ => spec.replicas,
        };
        let instances = self.slots.range(name.instance(0)..=name.instance(u32::MAX));
        ServiceState {
            replicas,
            limits,
            volume: spec.volume.clone(),
            thresholds: spec.thresholds,
            dependencies: spec.dependencies.clone(),
            hands_off: spec.hands_off,
            protected: spec.protected,
            can_drain: spec.drain.is_some(),
            can_clear_caches: spec.clear_caches.is_some(),
            rolling_out: self.was_deployed(name) && !self.runs_everywhere(name),
            release: self.release(name).map(|release| *release).unwrap_or_default(),
            instances: instances
                .map(|(instance, _)| (instance.clone(), self.instance(instance, spec, now)))
                .collect(),
        }
    }

    fn instance(&self, name: &InstanceName, spec: &ServiceSpec, now: Time) -> InstanceState {
        let slot = &self.slots[name];
        let process = slot.process.as_ref();
        let (phase, phase_since) = slot.phase(now);
        let class = |class: FileClass| spec.volume.as_ref().map(|_| self.files(name, class));
        InstanceState {
            incarnation: self.incarnation(name),
            phase,
            phase_since,
            started_at: process.map(|process| process.started_at),
            readiness: process.and_then(|process| process.readiness(spec)),
            liveness: process.and_then(|process| process.liveness(spec)),
            usage: Usage {
                cpu: process.and_then(|process| process.measured?.0),
                memory: process.and_then(|process| process.measured?.1),
                descriptors: None,
                disk_size: self.disk_size(name),
                disk_used: self.disk_used(name),
                disk_temporary_old: class(FileClass::Temporary),
                disk_logs: class(FileClass::Logs),
                disk_cache: class(FileClass::Cache),
                ..Usage::default()
            },
            exits: slot.exits.clone(),
            unsettled_exits: slot.unsettled,
            crash_loop: slot.crash_loop,
            never_ready: !slot.was_ready,
            outdated: self.is_outdated(name),
            port: spec.listens.map(|_| 1),
        }
    }

    fn link(&self, name: &LinkName, now: Time) -> LinkSample {
        let held = self.value(&Attribute::BreakerHeldOpen(name.clone()));
        let breaker = match held {
            Some(AttributeValue::Flag(true)) => BreakerState::Open,
            _ => BreakerState::Closed,
        };
        let mut sample = self.links.get(name).map(|link| link.sample(breaker, now)).unwrap_or_default();
        for (instance, backend) in &mut sample.backends {
            let ejected = Attribute::Ejected(name.clone(), instance.clone());
            backend.ejected_by_plan = self.value(&ejected) == Some(AttributeValue::Flag(true));
            backend.ejected |= backend.ejected_by_plan;
        }
        sample
    }
}
