//! Instances come, go and are replaced: processes that end, starts, rollouts, scaling.

use domain::fault::{Attachment, FaultKind};
use domain::snapshot::ExitCause;
use domain::{
    Attribute, AttributeValue, EventKind, Incarnation, InstanceName, Release, ResourceId, ServiceName, Time,
};

use super::{ActiveFault, World};
use crate::traffic::Backend;

impl World {
    /// The process in a slot ends, and nobody asked for it.
    pub(super) fn end(&mut self, instance: &InstanceName, cause: ExitCause, now: Time) {
        let Some(spec) = self.infrastructure.services.get(&instance.service) else { return };
        let Some(slot) = self.slots.get_mut(instance).filter(|slot| slot.process.is_some()) else { return };
        let was_ready = slot.is_ready();
        slot.end(cause, &spec.restart, now);
        let crash_loop = slot.crash_loop;
        self.faults.retain(|_, active| !dies_with(active, instance));
        if was_ready {
            for (_, link) in self.links.iter_mut().filter(|(name, _)| name.to == instance.service) {
                link.lose_one(instance, now);
            }
        }
        let resource = ResourceId::Instance(instance.clone());
        self.event(resource.clone(), EventKind::Exited, now);
        if crash_loop {
            self.event(resource, EventKind::CrashLoop, now);
        }
        self.settle(now);
    }

    /// The process in a slot is replaced because somebody asked for it.
    pub(crate) fn restart(&mut self, instance: &InstanceName, now: Time) {
        if let Some(slot) = self.slots.get_mut(instance) {
            slot.stop(now);
        }
        self.start(instance, now);
    }

    /// A new process in a slot. What was attached to the old one dies with it.
    pub(super) fn start(&mut self, instance: &InstanceName, now: Time) {
        let pid = self.rng.u32(2..4_000_000);
        let start_time = self.start_time;
        let release = self.release(&instance.service);
        let slot = self.slots.entry(instance.clone()).or_default();
        slot.start(pid, now, start_time);
        slot.release = release;
        self.faults.retain(|_, active| !dies_with(active, instance));
        for (_, link) in self.links.iter_mut().filter(|(name, _)| name.to == instance.service) {
            link.backends.insert(instance.clone(), Backend::new(now));
        }
        self.event(ResourceId::Instance(instance.clone()), EventKind::Started, now);
    }

    /// What a service is to run.
    pub(crate) fn release(&self, service: &ServiceName) -> Option<Box<Release>> {
        match self.value(&Attribute::Release(service.clone())) {
            Some(AttributeValue::Release(release)) => Some(release),
            _ => None,
        }
    }

    /// Whether a process was started with something else than what its service is to run.
    pub(crate) fn is_outdated(&self, instance: &InstanceName) -> bool {
        let slot = self.slots.get(instance).filter(|slot| slot.process.is_some());
        slot.is_some_and(|slot| slot.release != self.release(&instance.service))
    }

    /// Whether a service was ever given something else to run than declared.
    pub(crate) fn was_deployed(&self, service: &ServiceName) -> bool {
        let layered = self.attributes.get(&Attribute::Release(service.clone()));
        layered.is_some_and(|layered| layered.generation > 1)
    }

    /// Whether every instance is ready and runs what it is to run.
    pub(crate) fn runs_everywhere(&self, service: &ServiceName) -> bool {
        let mut slots = self.slots.range(service.instance(0)..=service.instance(u32::MAX));
        slots.all(|(name, slot)| slot.is_ready() && !self.is_outdated(name))
    }

    /// Of each service that is given something else to run, replaces one instance, once all others are ready.
    pub(super) fn roll(&mut self, now: Time) {
        let services = self.infrastructure.services.keys().filter(|service| self.was_deployed(service));
        for service in services.cloned().collect::<Vec<_>>() {
            let slots = || self.slots.range(service.instance(0)..=service.instance(u32::MAX));
            let outdated = slots().map(|(name, _)| name).find(|name| self.is_outdated(name)).cloned();
            let all_ready = slots().all(|(_, slot)| slot.is_ready());
            if let Some(instance) = outdated.filter(|_| all_ready) {
                self.restart(&instance, now);
            }
        }
    }

    /// The slots follow the number of replicas.
    pub(crate) fn scale(&mut self, now: Time) {
        let services: Vec<(ServiceName, u32)> = self
            .attributes
            .iter()
            .filter_map(|(name, layered)| {
                let Attribute::Replicas(service) = name else { return None };
                let AttributeValue::Count(replicas) = layered.value() else { return None };
                Some((service.clone(), replicas))
            })
            .collect();
        for (service, replicas) in services {
            let surplus = self.slots.range(service.instance(replicas)..=service.instance(u32::MAX));
            for instance in surplus.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                self.remove(&instance);
            }
            for instance in (0..replicas).map(|ordinal| service.instance(ordinal)) {
                if !self.slots.contains_key(&instance) {
                    self.add(&instance, now);
                }
            }
        }
    }

    fn add(&mut self, instance: &InstanceName, now: Time) {
        let volume =
            self.infrastructure.services.get(&instance.service).and_then(|spec| spec.volume.as_ref());
        if let Some(size) = volume.map(|volume| volume.size) {
            self.set_base(Attribute::VolumeSize(instance.clone()), AttributeValue::Size(Some(size)));
        }
        for link in self.order.clone().iter().filter(|link| link.to == instance.service) {
            let ejected = Attribute::Ejected(link.clone(), instance.clone());
            self.set_base(ejected, AttributeValue::Flag(false));
        }
        self.start(instance, now);
    }

    fn remove(&mut self, instance: &InstanceName) {
        self.slots.remove(instance);
        self.faults.retain(|_, active| active.fault.target.instance() != Some(instance));
        self.attributes.retain(|name, _| match name {
            Attribute::VolumeSize(of) | Attribute::Ejected(_, of) => of != instance,
            _ => true,
        });
        for link in self.links.values_mut() {
            link.backends.remove(instance);
        }
    }

    pub(crate) fn incarnation(&self, instance: &InstanceName) -> Option<Incarnation> {
        let process = self.slots.get(instance)?.process.as_ref()?;
        Some(Incarnation {
            boot_id: "simulated".to_owned(),
            pid: process.pid,
            start_ticks: process.started_at.boot_us / 10_000,
        })
    }

    /// Whether a process runs in the slot and is past its start.
    pub(crate) fn is_up(&self, instance: &InstanceName, now: Time) -> bool {
        let process = self.slots.get(instance).and_then(|slot| slot.process.as_ref());
        process.is_some_and(|process| now.reached(process.ready_at))
    }
}

/// Whether a fault lives inside the process of an instance.
fn dies_with(active: &ActiveFault, instance: &InstanceName) -> bool {
    let inside = matches!(
        active.fault.kind,
        FaultKind::Pause
            | FaultKind::CpuStress { attachment: Attachment::Attached, .. }
            | FaultKind::MemoryStress { attachment: Attachment::Attached, .. }
    );
    inside && active.fault.target.instance() == Some(instance)
}
