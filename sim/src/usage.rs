//! What instances and their volumes use of what they have, and what faults take from them.
//!
//! In: attributes and the faults in force. Out: cores, bytes, silence, as they would be measured.

use domain::fault::FaultKind;
use domain::{
    Attribute, AttributeValue, Bytes, Cores, FileClass, InstanceName, ResourceId, ServiceName, ServiceSpec,
};

use crate::world::World;

/// What an idle process uses of its limits, and its own data of its volume.
const IDLE: f64 = 0.05;

/// From this share of its CPU limit on a process has to wait for its turn.
const CPU_SHORT: f64 = 0.9;

impl World {
    /// Whether the process in a slot answers nothing.
    pub(crate) fn is_silent(&self, instance: &InstanceName) -> bool {
        self.faults.values().any(|active| {
            active.fault.kind == FaultKind::Pause && active.fault.target.instance() == Some(instance)
        })
    }

    /// What faults of a kind take away from an instance or its volume.
    fn taken(&self, instance: &InstanceName, kind: fn(&FaultKind) -> bool) -> f64 {
        let here = self.faults.values().filter(|active| active.fault.target.instance() == Some(instance));
        here.filter(|active| kind(&active.fault.kind)).map(|active| active.takes).sum()
    }

    pub(crate) fn cpu_limit(&self, service: &ServiceName) -> Option<Cores> {
        match self.value(&Attribute::CpuLimit(service.clone())) {
            Some(AttributeValue::Cpu(limit)) => limit,
            _ => None,
        }
    }

    pub(crate) fn memory_limit(&self, service: &ServiceName) -> Option<Bytes> {
        match self.value(&Attribute::MemoryLimit(service.clone())) {
            Some(AttributeValue::Size(limit)) => limit,
            _ => None,
        }
    }

    pub(crate) fn disk_size(&self, instance: &InstanceName) -> Option<Bytes> {
        match self.value(&Attribute::VolumeSize(instance.clone())) {
            Some(AttributeValue::Size(size)) => size,
            _ => None,
        }
    }

    fn cpu_used(&self, instance: &InstanceName) -> Option<Cores> {
        let spec = self.infrastructure.services.get(&instance.service)?;
        self.cpu_used_by(instance, spec, self.cpu_limit(&instance.service))
    }

    /// What the processes of an instance of this service use of the processor, below the limit in force.
    pub(crate) fn cpu_used_by(
        &self,
        instance: &InstanceName,
        spec: &ServiceSpec,
        limit: Option<Cores>,
    ) -> Option<Cores> {
        let stress = self.taken(instance, |kind| matches!(kind, FaultKind::CpuStress { .. }));
        Some(Cores((spec.limits.cpu?.0 * IDLE + stress).min(limit?.0)))
    }

    pub(crate) fn is_short_of_cpu(&self, instance: &InstanceName) -> bool {
        if self.faults.values().all(|active| !matches!(active.fault.kind, FaultKind::CpuStress { .. })) {
            return false;
        }
        let limit = self.cpu_limit(&instance.service);
        matches!((self.cpu_used(instance), limit), (Some(used), Some(limit)) if used.0 >= limit.0 * CPU_SHORT)
    }

    pub(crate) fn memory_used(&self, instance: &InstanceName) -> Option<Bytes> {
        self.memory_used_by(instance, self.infrastructure.services.get(&instance.service)?)
    }

    /// What the processes of an instance of this service use of memory.
    pub(crate) fn memory_used_by(&self, instance: &InstanceName, spec: &ServiceSpec) -> Option<Bytes> {
        let declared = spec.limits.memory?;
        let stress = self.taken(instance, |kind| matches!(kind, FaultKind::MemoryStress { .. }));
        Some(Bytes((declared.0 as f64 * IDLE).max(stress) as u64))
    }

    /// What files of a class hold beside the service's own data.
    pub(crate) fn files(&self, instance: &InstanceName, class: FileClass) -> Bytes {
        let volume = ResourceId::Volume(instance.clone());
        let here = self.faults.values().filter(|active| active.fault.target == volume);
        let held = here.filter(
            |active| matches!(active.fault.kind, FaultKind::DiskFill { class: of, .. } if of == class),
        );
        Bytes(held.map(|active| active.takes).sum::<f64>() as u64)
    }

    /// Whether nothing more can be written. Only a fault fills a volume.
    pub(crate) fn is_full(&self, instance: &InstanceName) -> bool {
        if self.faults.values().all(|active| !matches!(active.fault.kind, FaultKind::DiskFill { .. })) {
            return false;
        }
        let (used, size) = (self.disk_used(instance), self.disk_size(instance));
        matches!((used, size), (Some(used), Some(size)) if used >= size)
    }

    pub(crate) fn disk_used(&self, instance: &InstanceName) -> Option<Bytes> {
        let declared = self.infrastructure.services.get(&instance.service)?.volume.as_ref()?.size;
        let filled = self.taken(instance, |kind| matches!(kind, FaultKind::DiskFill { .. }));
        let used = declared.0 as f64 * IDLE + filled;
        let size = self.disk_size(instance)?;
        Some(Bytes((used as u64).min(size.0)))
    }

    /// Files of a class shrink to a share of what they are.
    pub(crate) fn shrink(&mut self, instance: &InstanceName, class: FileClass, to: f64) {
        let volume = ResourceId::Volume(instance.clone());
        for active in self.faults.values_mut().filter(|active| active.fault.target == volume) {
            if matches!(active.fault.kind, FaultKind::DiskFill { class: of, .. } if of == class) {
                active.takes *= to;
            }
        }
    }
}
