//! What was seen: resources, signals and declared state at one reference time.
//!
//! A snapshot may be stale and is never complete. What is absent is *unknown*, not *healthy*; every
//! measured value is therefore an `Option`.
//!
//! Deliberately absent: faults, experiments, overlays. What is being injected is not part of what was
//! seen (the information barrier of ARCHITECTURE.md); otherwise every score would be cheating.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alert::Alerts;
use crate::deployment::{CallCounts, Deployment, Release};
use crate::growth::Growth;
use crate::infrastructure::{Environment, Limits, ThresholdOverrides, VolumeSpec};
use crate::resource::{Incarnation, InstanceName, LinkName, ResourceId, ServiceName};
use crate::slo::Objectives;
use crate::time::Time;
use crate::traces::{TracedCalls, Traces};
use crate::units::{Bytes, Cores};
use crate::window::Window;

/// The world as it was seen at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The reference time.
    pub taken: Time,
    /// Grows with every snapshot of one controller; a stage refuses an older one.
    pub generation: u64,
    /// What is up; `None` where nothing is, or the provider does not say.
    #[serde(default)]
    pub infrastructure: Option<ServiceName>,
    /// How careful one has to be.
    pub environment: Environment,
    /// The declared services, with what was seen of each.
    pub services: BTreeMap<ServiceName, ServiceState>,
    /// The paths between them.
    pub links: BTreeMap<LinkName, LinkState>,
    /// How long after boot the machine is; a fleet that only just started is not judged by rates.
    pub fleet_age: Duration,
    /// What spans say of the services and links; empty where none come.
    #[serde(default, skip_serializing_if = "Traces::is_empty")]
    pub traces: Traces,
    /// What alerting rules say; nothing is known of it where none are evaluated.
    #[serde(default)]
    pub alerts: Alerts,
    /// How the objectives stand; empty where none are evaluated.
    #[serde(default, skip_serializing_if = "no_objectives")]
    pub objectives: Objectives,
    /// What was deployed lately, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<Lately>,
}

fn no_objectives(objectives: &Objectives) -> bool {
    objectives.is_empty()
}

/// A deployment of late, with what its callers counted before and since.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lately {
    /// The deployment.
    pub deployment: Deployment,
    /// What the callers of the service counted since it began, of the last minute at most.
    pub since: CallCounts,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceState {
    /// How many instances should be there now (declared, or changed by a plan).
    pub replicas: u32,
    /// The limits in force.
    pub limits: Limits,
    /// The volume declared, if any.
    pub volume: Option<VolumeSpec>,
    /// Thresholds that differ from the defaults.
    pub thresholds: ThresholdOverrides,
    /// The services it calls.
    pub dependencies: Vec<ServiceName>,
    /// Nothing is repaired or disturbed here.
    pub hands_off: bool,
    /// Never a target of a fault.
    #[serde(default)]
    pub protected: bool,
    /// Whether it says how to drain.
    pub can_drain: bool,
    /// Whether it says how to clear its caches.
    pub can_clear_caches: bool,
    /// A change of version or replicas is under way; healing waits for it.
    pub rolling_out: bool,
    /// What a process that is started now runs. Empty where the provider does not know.
    #[serde(default)]
    pub release: Release,
    /// The slots that exist, by name.
    pub instances: BTreeMap<InstanceName, InstanceState>,
}

/// Where the process in a slot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Runs, was not ready yet.
    Starting,
    /// Runs and is ready.
    Ready,
    /// Runs, was ready, is not now.
    NotReady,
    /// Is being drained or stopped on purpose.
    Stopping,
    /// Does not run; the keeper starts it again when its back-off is over.
    BackingOff,
    /// The provider cannot tell.
    Unknown,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Killed for using more memory than its limit.
    OutOfMemory,
    /// It was adopted, and the kernel told its end to somebody else.
    Unknown,
}

/// One end of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// When it was seen.
    pub at: Time,
    /// How.
    pub cause: ExitCause,
    /// Whether somebody asked for it (a stop, a restart by plan).
    pub requested: bool,
    /// When the successor was executed, if it was.
    pub successor_at: Option<Time>,
}

/// What a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeState {
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// The number of failures that changes the verdict.
    pub failures_limit: u32,
    /// When it last passed, in this incarnation.
    pub last_passed: Option<Time>,
    /// How long the last passing one took.
    pub last_took: Option<Duration>,
}

impl ProbeState {
    /// Whether the verdict is "not well".
    pub fn failing(&self) -> bool {
        self.failures_in_a_row >= self.failures_limit
    }
}

/// What the processes of an instance use together.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor, averaged over about the last 3 s. `None` before the second sample.
    pub cpu: Option<Cores>,
    /// Resident memory.
    pub memory: Option<Bytes>,
    /// Open file descriptors.
    pub descriptors: Option<u32>,
    /// Size of the volume.
    pub disk_size: Option<Bytes>,
    /// Used in the volume.
    pub disk_used: Option<Bytes>,
    /// Used in the subdirectory of temporary files, by files older than 7 days.
    pub disk_temporary_old: Option<Bytes>,
    /// Used in the subdirectory of logs.
    pub disk_logs: Option<Bytes>,
    /// Used in the subdirectory of cached files.
    pub disk_cache: Option<Bytes>,
    /// How memory grows; `None` where it does not grow steadily, or was not watched for long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_growth: Option<Growth>,
    /// How what is used in the volume grows, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_growth: Option<Growth>,
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceState {
    /// The process in it; `None` while there is none.
    pub incarnation: Option<Incarnation>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when it is in that phase.
    pub phase_since: Time,
    /// When the process was started.
    pub started_at: Option<Time>,
    /// The readiness probe; `None` where there is none, or it has not run yet.
    pub readiness: Option<ProbeState>,
    /// The liveness probe, likewise.
    pub liveness: Option<ProbeState>,
    /// What it uses.
    pub usage: Usage,
    /// The last ends in this slot, oldest first, at most 20.
    pub exits: Vec<ExitRecord>,
    /// Ends in a row before the instance settled.
    pub unsettled_exits: u32,
    /// Whether that is a crash loop.
    pub crash_loop: bool,
    /// Whether no process in this slot has been ready yet since it was first started, in this boot of the
    /// machine. A provider that does not know says no.
    #[serde(default)]
    pub never_ready: bool,
    /// Whether it still runs what the service ran before a deployment that is under way.
    #[serde(default)]
    pub outdated: bool,
    /// The loopback port it listens on.
    pub port: Option<u16>,
}

/// Whether a circuit breaker lets requests pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// Requests are answered at once with 503.
    Open,
    /// A few requests pass, to see whether the callee is well.
    HalfOpen,
}

/// One path between two services.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkState {
    /// The last 3 complete seconds.
    pub recent: Window,
    /// The 30 s before `recent`: what is usual.
    pub before: Window,
    /// The same last 3 s, per instance behind the link.
    pub backends: BTreeMap<InstanceName, BackendState>,
    /// The same last 3 s over connections opened before / within the last 5 s, where the link knows it.
    pub old_connections: Window,
    /// See `old_connections`.
    pub new_connections: Window,
    /// The circuit breaker.
    pub breaker: BreakerState,
}

/// One instance seen through a link.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackendState {
    /// The last 3 complete seconds.
    pub recent: Window,
    /// Taken out of the balancing: by the proxy's own health ejection, or by a plan.
    pub ejected: bool,
    /// By a plan. The proxy's own ejection hides a broken path from the requests and ends by itself; a plan's
    /// is a repair and stays.
    #[serde(default)]
    pub ejected_by_plan: bool,
    /// Connection and first answer of the latest health check through this path; `None` where it failed
    /// or has not run.
    pub path_check: Option<Duration>,
    /// Failed health checks through this path in a row.
    pub path_check_failures: u32,
    /// Of each connection used within the last 3 s, the fastest of its last three exchanges, in milliseconds:
    /// a slow request makes an exchange slow, only a slow connection makes all of them slow.
    #[serde(default)]
    pub connection_floors_ms: Vec<f64>,
}

impl Snapshot {
    /// The state of one instance.
    pub fn instance(&self, name: &InstanceName) -> Option<&InstanceState> {
        self.services.get(&name.service)?.instances.get(name)
    }

    /// The services that call `service` directly.
    pub fn dependents<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a ServiceName> + 'a {
        self.services.iter().filter(|(_, state)| state.dependencies.contains(service)).map(|(name, _)| name)
    }

    /// Every instance, volume and link, and every service that only spans tell of.
    pub fn resources(&self) -> impl Iterator<Item = ResourceId> + '_ {
        let slots = self.services.values().flat_map(|service| {
            let has_volume = service.volume.is_some();
            service.instances.keys().flat_map(move |name| {
                let volume = has_volume.then(|| ResourceId::Volume(name.clone()));
                std::iter::once(ResourceId::Instance(name.clone())).chain(volume)
            })
        });
        let links = self.links.keys().chain(self.links_of_traces_alone());
        slots
            .chain(links.cloned().map(ResourceId::Link))
            .chain(self.services_of_traces_alone().cloned().map(ResourceId::Service))
    }

    /// Links to our services that only spans tell of: no proxy stands on them.
    pub fn links_of_traces_alone(&self) -> impl Iterator<Item = &LinkName> + '_ {
        let traced = self.traces.links.keys();
        traced.filter(|name| !self.links.contains_key(name) && self.services.contains_key(&name.to))
    }

    /// Our services that only their own spans tell of: neither a proxy nor the span of a caller does.
    fn services_of_traces_alone(&self) -> impl Iterator<Item = &ServiceName> + '_ {
        let traced = self.traces.services.keys().filter(|name| self.services.contains_key(name));
        traced.filter(|name| !self.links.keys().chain(self.traces.links.keys()).any(|link| link.to == **name))
    }

    /// What spans alone say of a link or service: where a proxy measures the calls, it is the one to be asked.
    pub fn traced_alone(&self, resource: &ResourceId) -> Option<&TracedCalls> {
        match resource {
            ResourceId::Link(name) => self
                .links_of_traces_alone()
                .find(|known| *known == name)
                .and_then(|name| self.traces.links.get(name)),
            ResourceId::Service(name) => self
                .services_of_traces_alone()
                .find(|known| *known == name)
                .and_then(|name| self.traces.services.get(name)),
            ResourceId::Instance(_)
            | ResourceId::Volume(_)
            | ResourceId::Node(_)
            | ResourceId::Infrastructure(_) => None,
        }
    }

    /// How many services' requests reach a resource, directly or through others. A link is reached by its
    /// caller and everything that calls it; a node by nobody we know of.
    pub fn reached_by(&self, resource: &ResourceId) -> usize {
        let mut reached: BTreeSet<&ServiceName> = BTreeSet::new();
        let mut open: Vec<&ServiceName> = match resource {
            ResourceId::Link(link) => {
                reached.insert(&link.from);
                vec![&link.from]
            }
            _ => resource.service().into_iter().collect(),
        };
        while let Some(service) = open.pop() {
            open.extend(self.dependents(service).filter(|caller| reached.insert(caller)));
        }
        reached.len()
    }

    /// How many services in a row are among `affected`, from `origin` along those that call it, itself the first: how deep
    /// what began there cascades. 0 where it is not among them itself and none of its callers is; a caller counts although
    /// what it calls is well, as one deep.
    pub fn cascade_depth(&self, origin: &ServiceName, affected: &BTreeSet<&ServiceName>) -> usize {
        let (mut depth, mut seen) = (usize::from(affected.contains(origin)), BTreeSet::from([origin]));
        let mut layer = vec![origin];
        loop {
            let callers = layer.iter().flat_map(|service| self.dependents(service));
            layer = callers.filter(|caller| affected.contains(caller) && seen.insert(caller)).collect();
            if layer.is_empty() {
                return depth;
            }
            depth += 1;
        }
    }

    /// The links into `service`.
    pub fn links_to<'a>(
        &'a self,
        service: &'a ServiceName,
    ) -> impl Iterator<Item = (&'a LinkName, &'a LinkState)> + 'a {
        self.links.iter().filter(move |(name, _)| name.to == *service)
    }
}
