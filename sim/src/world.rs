//! The world: attributes in layers, processes in slots, faults with an end, and time that passes in steps.
//!
//! Between two looks the world catches up in steps of [`STEP`]: faults whose time is over end, back-offs
//! end, probes are asked, requests are made. What is done to it happens at its own time.

mod instances;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::fault::FaultKind;
use domain::snapshot::ExitCause;
use domain::{
    Action, Attribute, AttributeValue, Clock, Event, EventKind, Fault, FileClass, Infrastructure,
    InstanceName, LinkName, ResourceId, ServiceName, StepToken, Time,
};

use crate::process::Slot;
use crate::traffic::{Link, callees_first};

/// The step in which time passes. Every interval in the world is a multiple of it.
const STEP: Duration = Duration::from_millis(250);

/// Traffic further back than this is not counted: nobody could see it any more.
const TRAFFIC_KEPT: Duration = Duration::from_secs(37);

/// What is left of log files when they were rotated and compressed.
const LOGS_COMPRESSED: f64 = 0.1;

/// A process that was just started does not use more memory than its limit before this time.
const MEMORY_FILLS: Duration = Duration::from_secs(1);

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
        self.layers.last().map_or_else(|| self.base.clone(), |(_, value)| value.clone())
    }
}

#[derive(Debug)]
pub(crate) struct ActiveFault {
    pub(crate) fault: Fault,
    pub(crate) since: Time,
    pub(crate) until: Time,
    /// What it takes away: cores, bytes of memory, bytes of a volume; by the limits as they were when it
    /// began, so that a higher limit gives room.
    pub(crate) takes: f64,
}

pub(crate) struct World {
    /// What is up; without services where nothing is.
    pub(crate) infrastructure: Infrastructure,
    pub(crate) something_is_up: bool,
    /// The step that brought it up, where one did.
    pub(crate) up_by: Option<StepToken>,
    pub(crate) begun: Time,
    pub(crate) attributes: BTreeMap<Attribute, Layered>,
    pub(crate) slots: BTreeMap<InstanceName, Slot>,
    pub(crate) faults: BTreeMap<StepToken, ActiveFault>,
    /// Tokens of steps that had their effect, and how often the world really changed for them.
    pub(crate) changes: BTreeMap<StepToken, u32>,
    /// Tokens that were taken back.
    pub(crate) undone: BTreeSet<StepToken>,
    pub(crate) troubles: BTreeSet<(StepToken, Trouble)>,
    /// What processes do beside what they were started with, by variables.
    pub(crate) behind: BTreeMap<ServiceName, BTreeMap<String, String>>,
    /// The resources no step can be done on, and how often one was asked about.
    pub(crate) refused: BTreeMap<ResourceId, u32>,
    pub(crate) start_time: Duration,
    pub(crate) events: Vec<Event>,
    /// The links, callees before their callers.
    pub(crate) order: Arc<[LinkName]>,
    pub(crate) links: BTreeMap<LinkName, Link>,
    /// The next step of time, and how many there were.
    next_step: Time,
    steps: u64,
    rng: fastrand::Rng,
}

impl MemoryProvider {
    /// A fleet that is up and ready, as declared. The seed decides process ids, nothing else is random.
    pub fn new(infrastructure: Infrastructure, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let now = clock.now();
        let mut world = World {
            begun: now,
            something_is_up: true,
            up_by: None,
            attributes: BTreeMap::new(),
            slots: BTreeMap::new(),
            faults: BTreeMap::new(),
            changes: BTreeMap::new(),
            undone: BTreeSet::new(),
            troubles: BTreeSet::new(),
            refused: BTreeMap::new(),
            behind: BTreeMap::new(),
            start_time: Duration::ZERO,
            events: Vec::new(),
            order: callees_first(&infrastructure).into(),
            links: BTreeMap::new(),
            next_step: now.plus(STEP),
            steps: 0,
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

    /// Lets nothing be done on a resource, until [`calm`](Self::calm).
    pub fn refuse_all_on(&self, resource: ResourceId) {
        self.lock().refused.insert(resource, 0);
    }

    /// How often something was to be done on a resource that lets nothing be done.
    pub fn refusals_on(&self, resource: &ResourceId) -> u32 {
        self.lock().refused.get(resource).copied().unwrap_or(0)
    }

    /// Ends every trouble.
    pub fn calm(&self) {
        let mut world = self.lock();
        world.troubles.clear();
        world.refused.clear();
    }

    /// The faults in force, by the step that injected them.
    pub fn faults(&self) -> BTreeMap<StepToken, Fault> {
        self.lock().faults.iter().map(|(token, active)| (*token, active.fault.clone())).collect()
    }

    /// The slots there are.
    pub fn instances(&self) -> Vec<InstanceName> {
        self.lock().slots.keys().cloned().collect()
    }

    /// Every attribute with its value in force.
    pub fn attributes(&self) -> BTreeMap<Attribute, AttributeValue> {
        self.lock().attributes.iter().map(|(name, layered)| (name.clone(), layered.value())).collect()
    }

    /// The steps whose values lie on an attribute, oldest first; attributes nobody set are absent.
    pub fn owners(&self) -> BTreeMap<Attribute, Vec<StepToken>> {
        let world = self.lock();
        let set = world.attributes.iter().filter(|(_, layered)| !layered.layers.is_empty());
        set.map(|(name, layered)| (name.clone(), layered.layers.iter().map(|(owner, _)| *owner).collect()))
            .collect()
    }

    /// Somebody else sets an attribute, past every step.
    pub fn set_from_outside(&self, attribute: &Attribute, value: AttributeValue) {
        if let Some(layered) = self.lock().attributes.get_mut(attribute) {
            layered.base = value;
            layered.layers.clear();
            layered.generation += 1;
        }
    }

    /// What the processes of a service do changes, and nothing that is known of them: somebody replaced a program in
    /// place.
    pub fn change_behind(&self, service: &ServiceName, variables: &[(&str, &str)]) {
        let mut world = self.lock();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        world.behind.insert(service.clone(), variables.collect());
    }

    /// Something goes wrong that nobody injected. It ends by itself like a fault; `token` names it. `false`:
    /// there is nothing it could happen to.
    pub fn happen(&self, token: StepToken, fault: &Fault) -> bool {
        let now = self.now();
        let mut world = self.lock();
        let possible = world.has(&fault.target)
            && fault.target.instance().is_none_or(|instance| {
                matches!(fault.target, ResourceId::Volume(_)) || world.incarnation(instance).is_some()
            });
        if possible {
            world.inject(token, fault, now);
        }
        possible
    }

    /// How often the world changed because of a step. More than 1: it was done again.
    pub fn changes(&self, token: StepToken) -> u32 {
        self.lock().changes.get(&token).copied().unwrap_or(0)
    }

    /// The world as it is now: what had to happen meanwhile has happened.
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        let mut world = self.inner.world.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        world.catch_up(now);
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
        let services: Vec<_> =
            self.infrastructure.services.iter().map(|(name, spec)| (name.clone(), spec.clone())).collect();
        for (name, spec) in &services {
            self.set_base(Attribute::Replicas(name.clone()), AttributeValue::Count(spec.replicas));
            let release = AttributeValue::Release(Box::new(spec.release()));
            self.set_base(Attribute::Release(name.clone()), release);
            self.set_base(Attribute::CpuLimit(name.clone()), AttributeValue::Cpu(spec.limits.cpu));
            self.set_base(Attribute::MemoryLimit(name.clone()), AttributeValue::Size(spec.limits.memory));
        }
        for link in self.order.clone().iter() {
            self.set_base(Attribute::BreakerHeldOpen(link.clone()), AttributeValue::Flag(false));
            self.links.insert(link.clone(), Link::default());
        }
        self.scale(now);
    }

    fn set_base(&mut self, attribute: Attribute, base: AttributeValue) {
        self.attributes.insert(attribute, Layered { base, layers: Vec::new(), generation: 1 });
    }

    /// Lets everything happen that had to happen until `now`.
    fn catch_up(&mut self, now: Time) {
        while now.reached(self.next_step) {
            let at = self.next_step;
            self.next_step = at.plus(STEP);
            self.steps += 1;
            self.settle(at);
            self.roll(at);
            self.watch_memory(at);
            self.probe(at);
            if now.since(at) <= TRAFFIC_KEPT {
                self.serve(at.minus(STEP), STEP, self.steps);
            }
        }
        self.settle(now);
    }

    /// Ends what is over, starts what waited for its back-off.
    fn settle(&mut self, now: Time) {
        self.faults.retain(|_, active| !now.reached(active.until));
        let due = |slot: &Slot| slot.process.is_none() && slot.restart_at.is_some_and(|at| now.reached(at));
        if !self.slots.values().any(due) {
            return;
        }
        let waiting: Vec<_> = self.slots.iter().filter(|(_, slot)| due(slot)).collect();
        let waiting: Vec<(InstanceName, Time)> =
            waiting.into_iter().map(|(name, slot)| (name.clone(), slot.restart_at.unwrap_or(now))).collect();
        for (instance, at) in waiting {
            self.start(&instance, at);
        }
    }

    fn probe(&mut self, now: Time) {
        let mut slots = std::mem::take(&mut self.slots);
        // Slots of a service follow each other.
        let mut slots_left = slots.iter_mut().peekable();
        while let Some((first, _)) = slots_left.peek() {
            let service = first.service.clone();
            let spec = self.infrastructure.services.get(&service);
            let cpu_limit = self.cpu_limit(&service);
            while let Some((instance, slot)) = slots_left.next_if(|(next, _)| next.service == service) {
                if let Some(spec) = spec {
                    slot.pass(self.is_silent(instance), spec, now);
                }
                if let Some(process) = &mut slot.process {
                    let cpu = spec.and_then(|spec| self.cpu_used_by(instance, spec, cpu_limit));
                    let memory = spec.and_then(|spec| self.memory_used_by(instance, spec));
                    process.measured = Some((cpu, memory));
                }
            }
        }
        self.slots = slots;
    }

    /// Kills what uses more memory than its limit.
    fn watch_memory(&mut self, now: Time) {
        if self.faults.values().all(|active| !matches!(active.fault.kind, FaultKind::MemoryStress { .. })) {
            return;
        }
        let over = |(instance, slot): &(&InstanceName, &Slot)| {
            let lived = slot.process.as_ref().map(|process| now.since(process.started_at));
            let used = self.memory_used(instance);
            lived.is_some_and(|lived| lived >= MEMORY_FILLS)
                && matches!((used, self.memory_limit(&instance.service)), (Some(used), Some(limit)) if used > limit)
        };
        let over: Vec<InstanceName> = self.slots.iter().filter(over).map(|(name, _)| name.clone()).collect();
        for instance in over {
            self.event(ResourceId::Instance(instance.clone()), EventKind::OutOfMemory, now);
            self.end(&instance, ExitCause::OutOfMemory, now);
        }
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
            ResourceId::Infrastructure(name) => self.infrastructure.name == *name,
        }
    }

    /// Whether nothing can be done on a resource; counts the question.
    pub(crate) fn refuse(&mut self, resource: &ResourceId) -> bool {
        let Some(asked) = self.refused.get_mut(resource) else { return false };
        *asked += 1;
        true
    }

    pub(crate) fn is_troubled(&self, token: StepToken, trouble: Trouble) -> bool {
        self.troubles.contains(&(token, trouble))
    }

    pub(crate) fn event(&mut self, resource: ResourceId, kind: EventKind, at: Time) {
        let sequence = self.events.len() as u64 + 1;
        self.events.push(Event { sequence, at, resource, kind });
    }

    pub(crate) fn value(&self, attribute: &Attribute) -> Option<AttributeValue> {
        self.attributes.get(attribute).map(Layered::value)
    }

    /// Changes the world as the action says.
    pub(crate) fn perform(&mut self, token: StepToken, action: &Action, now: Time) {
        match action {
            Action::RestartInstance { instance, .. } => self.restart(instance, now),
            Action::Inject(fault) => self.inject(token, fault, now),
            Action::RemoveFiles { instance, class, .. } => self.shrink(instance, *class, 0.0),
            Action::ClearCaches { instance } => self.shrink(instance, FileClass::Cache, 0.0),
            Action::RotateLogs { instance } => self.shrink(instance, FileClass::Logs, LOGS_COMPRESSED),
            Action::ResetConnections { link } => {
                for backend in
                    self.links.get_mut(link).into_iter().flat_map(|link| link.backends.values_mut())
                {
                    backend.connected_at = now;
                }
            }
            Action::BringUp { infrastructure, .. } => self.bring_up(token, infrastructure, now),
            Action::TakeDown { .. } => self.take_down(),
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

    pub(crate) fn bring_up(&mut self, token: StepToken, infrastructure: &Infrastructure, now: Time) {
        if self.something_is_up {
            return;
        }
        self.infrastructure = infrastructure.clone();
        self.order = callees_first(infrastructure).into();
        (self.something_is_up, self.up_by, self.begun) = (true, Some(token), now);
        self.declare(now);
    }

    pub(crate) fn take_down(&mut self) {
        self.infrastructure.services.clear();
        (self.something_is_up, self.up_by) = (false, None);
        self.order = [].into();
        self.attributes.clear();
        self.slots.clear();
        self.links.clear();
        self.faults.clear();
    }

    fn inject(&mut self, token: StepToken, fault: &Fault, now: Time) {
        let instance = fault.target.instance().cloned();
        let takes = match (&fault.kind, &instance) {
            (FaultKind::PodKill, Some(instance)) => return self.end(instance, ExitCause::Signal(9), now),
            (FaultKind::PodDeletion, Some(instance)) => {
                return self.end(instance, ExitCause::Signal(15), now);
            }
            (FaultKind::CpuStress { load, .. }, Some(instance)) => {
                self.cpu_limit(&instance.service).map_or(0.0, |limit| limit.0 * load.ratio())
            }
            (FaultKind::MemoryStress { fill, .. }, Some(instance)) => {
                self.memory_limit(&instance.service).map_or(0.0, |limit| limit.0 as f64 * fill.ratio())
            }
            (FaultKind::DiskFill { fill, .. }, Some(instance)) => {
                let size = self.disk_size(instance).map_or(0.0, |size| size.0 as f64);
                let used = self.disk_used(instance).map_or(0.0, |used| used.0 as f64);
                (size * fill.ratio() - used).max(0.0)
            }
            _ => 0.0,
        };
        let until = now.plus(fault.duration);
        self.faults.insert(token, ActiveFault { fault: fault.clone(), since: now, until, takes });
    }
}
