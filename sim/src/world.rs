//! The world: attributes in layers, processes in slots, faults with an end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::fault::{Attachment, FaultKind};
use domain::{
    Action, Attribute, AttributeValue, Clock, Event, EventKind, Fault, Incarnation, Infrastructure,
    InstanceName, ResourceId, StepToken, Time,
};

/// What goes wrong with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// It cannot be done now.
    CheckRefuses,
    /// Doing it fails before it had its effect.
    ApplyFailsBefore,
    /// Doing it fails after it had its effect.
    ApplyFailsAfter,
    /// Doing it has no effect, without an error.
    NoEffect,
    /// Whether it has its effect cannot be told.
    EffectUnknown,
    /// Taking it back fails.
    UndoFails,
}

/// A fleet in memory. Clones are one fleet.
#[derive(Clone)]
pub struct MemoryProvider {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
}

impl fmt::Debug for MemoryProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryProvider").finish_non_exhaustive()
    }
}

/// One attribute: what was declared or set from outside, and on top what steps set, oldest first. The value
/// in force is the last. Taking a layer out below another one rebases that one: its own undo then leads
/// past the layer that is gone.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layered {
    pub(crate) base: AttributeValue,
    pub(crate) layers: Vec<(StepToken, AttributeValue)>,
    pub(crate) generation: u64,
}

impl Layered {
    pub(crate) fn value(&self) -> AttributeValue {
        self.layers.last().map_or(self.base, |(_, value)| *value)
    }
}

#[derive(Debug)]
pub(crate) struct ActiveFault {
    pub(crate) fault: Fault,
    pub(crate) until: Time,
}

/// The process in a slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) pid: u32,
    /// When it is, or will be, ready.
    pub(crate) ready_at: Time,
    pub(crate) started_at: Time,
}

pub(crate) struct World {
    pub(crate) infrastructure: Infrastructure,
    pub(crate) begun: Time,
    pub(crate) attributes: BTreeMap<Attribute, Layered>,
    pub(crate) slots: BTreeMap<InstanceName, Slot>,
    pub(crate) faults: BTreeMap<StepToken, ActiveFault>,
    /// Tokens of steps that had their effect, and how often the world really changed for them.
    pub(crate) changes: BTreeMap<StepToken, u32>,
    /// Tokens that were taken back.
    pub(crate) undone: BTreeSet<StepToken>,
    pub(crate) troubles: BTreeSet<(StepToken, Trouble)>,
    pub(crate) start_time: Duration,
    pub(crate) events: Vec<Event>,
    rng: fastrand::Rng,
}

impl MemoryProvider {
    /// A fleet that is up and ready, as declared. The seed decides process ids, nothing else is random.
    pub fn new(infrastructure: Infrastructure, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let now = clock.now();
        let mut world = World {
            begun: now,
            attributes: BTreeMap::new(),
            slots: BTreeMap::new(),
            faults: BTreeMap::new(),
            changes: BTreeMap::new(),
            undone: BTreeSet::new(),
            troubles: BTreeSet::new(),
            start_time: Duration::ZERO,
            events: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            infrastructure,
        };
        world.declare(now);
        Self { inner: Arc::new(Inner { clock, world: Mutex::new(world) }) }
    }

    /// How long a process takes from its start to ready.
    pub fn set_start_time(&self, start_time: Duration) {
        self.lock().start_time = start_time;
    }

    /// Lets something go wrong with a step, until [`calm`](Self::calm).
    pub fn trouble(&self, token: StepToken, trouble: Trouble) {
        self.lock().troubles.insert((token, trouble));
    }

    /// Ends every trouble.
    pub fn calm(&self) {
        self.lock().troubles.clear();
    }

    /// The faults in force, by the step that injected them.
    pub fn faults(&self) -> BTreeMap<StepToken, Fault> {
        self.lock().faults.iter().map(|(token, active)| (*token, active.fault.clone())).collect()
    }

    /// Every attribute with its value in force.
    pub fn attributes(&self) -> BTreeMap<Attribute, AttributeValue> {
        self.lock().attributes.iter().map(|(name, layered)| (name.clone(), layered.value())).collect()
    }

    /// Somebody else sets an attribute, past every step.
    pub fn set_from_outside(&self, attribute: &Attribute, value: AttributeValue) {
        if let Some(layered) = self.lock().attributes.get_mut(attribute) {
            layered.base = value;
            layered.layers.clear();
            layered.generation += 1;
        }
    }

    /// How often the world changed because of a step. More than 1: it was done again.
    pub fn changes(&self, token: StepToken) -> u32 {
        self.lock().changes.get(&token).copied().unwrap_or(0)
    }

    /// The world as it is now: faults whose time is over are gone.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.inner.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        world.faults.retain(|_, active| !now.reached(active.until));
        world
    }

    pub(crate) fn now(&self) -> Time {
        self.inner.clock.now()
    }

    pub(crate) fn wait(&self, duration: Duration) {
        self.inner.clock.wait(duration);
    }
}

impl World {
    fn declare(&mut self, now: Time) {
        let mut attributes = Vec::new();
        let mut instances = Vec::new();
        for (name, spec) in &self.infrastructure.services {
            attributes.push((Attribute::Replicas(name.clone()), AttributeValue::Count(spec.replicas)));
            attributes.push((Attribute::CpuLimit(name.clone()), AttributeValue::Cpu(spec.limits.cpu)));
            attributes.push((Attribute::MemoryLimit(name.clone()), AttributeValue::Size(spec.limits.memory)));
            for instance in (0..spec.replicas).map(|ordinal| name.instance(ordinal)) {
                if let Some(volume) = &spec.volume {
                    attributes.push((
                        Attribute::VolumeSize(instance.clone()),
                        AttributeValue::Size(Some(volume.size)),
                    ));
                }
                instances.push(instance);
            }
        }
        for link in self.infrastructure.links() {
            attributes.push((Attribute::BreakerHeldOpen(link.clone()), AttributeValue::Flag(false)));
            for instance in instances.iter().filter(|instance| instance.service == link.to) {
                let ejected = Attribute::Ejected(link.clone(), instance.clone());
                attributes.push((ejected, AttributeValue::Flag(false)));
            }
        }
        self.attributes = attributes
            .into_iter()
            .map(|(name, base)| (name, Layered { base, layers: Vec::new(), generation: 1 }))
            .collect();
        for instance in instances {
            self.start(&instance, now);
        }
    }

    /// A new process in a slot. What was attached to the old one dies with it.
    pub(crate) fn start(&mut self, instance: &InstanceName, now: Time) {
        let pid = self.rng.u32(2..4_000_000);
        let slot = Slot { pid, started_at: now, ready_at: now.plus(self.start_time) };
        self.slots.insert(instance.clone(), slot);
        self.faults.retain(|_, active| {
            let inside = matches!(
                active.fault.kind,
                FaultKind::Pause
                    | FaultKind::CpuStress { attachment: Attachment::Attached, .. }
                    | FaultKind::MemoryStress { attachment: Attachment::Attached, .. }
            );
            !(inside && active.fault.target == ResourceId::Instance(instance.clone()))
        });
        self.event(ResourceId::Instance(instance.clone()), EventKind::Started, now);
    }

    /// The slots follow the number of replicas.
    pub(crate) fn scale(&mut self, now: Time) {
        let wanted: Vec<InstanceName> = self
            .attributes
            .iter()
            .filter_map(|(name, layered)| match (name, layered.value()) {
                (Attribute::Replicas(service), AttributeValue::Count(replicas)) => {
                    Some((0..replicas).map(|ordinal| service.instance(ordinal)).collect::<Vec<_>>())
                }
                _ => None,
            })
            .flatten()
            .collect();
        self.slots.retain(|instance, _| wanted.contains(instance));
        for instance in wanted {
            if !self.slots.contains_key(&instance) {
                self.start(&instance, now);
            }
        }
    }

    pub(crate) fn incarnation(&self, instance: &InstanceName) -> Option<Incarnation> {
        self.slots.get(instance).map(|slot| Incarnation {
            boot_id: "simulated".to_owned(),
            pid: slot.pid,
            start_ticks: slot.started_at.boot_us / 10_000,
        })
    }

    pub(crate) fn has(&self, resource: &ResourceId) -> bool {
        match resource {
            ResourceId::Service(service) => self.infrastructure.services.contains_key(service),
            ResourceId::Instance(instance) => self.slots.contains_key(instance),
            ResourceId::Volume(instance) => {
                self.attributes.contains_key(&Attribute::VolumeSize(instance.clone()))
            }
            ResourceId::Link(link) => self.attributes.contains_key(&Attribute::BreakerHeldOpen(link.clone())),
            ResourceId::Node(_) => false,
        }
    }

    pub(crate) fn is_troubled(&self, token: StepToken, trouble: Trouble) -> bool {
        self.troubles.contains(&(token, trouble))
    }

    pub(crate) fn event(&mut self, resource: ResourceId, kind: EventKind, at: Time) {
        let sequence = self.events.len() as u64 + 1;
        self.events.push(Event { sequence, at, resource, kind });
    }

    /// Changes the world as the action says.
    pub(crate) fn perform(&mut self, token: StepToken, action: &Action, now: Time) {
        match action {
            Action::RestartInstance { instance, .. } => self.start(instance, now),
            Action::Inject(fault) => match (&fault.kind, &fault.target) {
                (FaultKind::PodKill | FaultKind::PodDeletion, ResourceId::Instance(instance)) => {
                    self.event(fault.target.clone(), EventKind::Exited, now);
                    self.start(instance, now);
                }
                _ => {
                    let until = now.plus(fault.duration);
                    self.faults.insert(token, ActiveFault { fault: fault.clone(), until });
                }
            },
            action => {
                if let Some((attribute, value)) = action.sets()
                    && let Some(layered) = self.attributes.get_mut(&attribute)
                {
                    layered.layers.push((token, value));
                    layered.generation += 1;
                    self.scale(now);
                }
            }
        }
        *self.changes.entry(token).or_default() += 1;
    }
}
