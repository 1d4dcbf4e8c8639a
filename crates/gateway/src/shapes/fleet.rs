//! The fleet on the wire: services with their instances and links, running faults, pauses.

use domain::capability::{Capabilities, Enforcement};
use domain::snapshot::{BreakerState, Phase};
use domain::units::show_duration;
use domain::{InstanceName, ServiceName, ServiceState, Snapshot, Time, Window};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::control::RunningFault;
use crate::endpoint::choices;
use crate::phrases;

#[derive(Serialize, JsonSchema)]
pub(crate) struct ServiceShape {
    service: String,
    version: Option<String>,
    replicas: u32,
    ready: usize,
    hands_off: bool,
    paused_until: Option<String>,
    rolling_out: bool,
    dependencies: Vec<String>,
    cpu_limit_cores: Option<f64>,
    memory_limit_bytes: Option<u64>,
    instances: Vec<InstanceShape>,
    links: Vec<LinkShape>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
struct InstanceShape {
    instance: String,
    #[schemars(with = "String")]
    phase: Phase,
    since: String,
    pid: Option<u32>,
    port: Option<u16>,
    crash_loop: bool,
    /// Whether it still runs what the service ran before a rollout that is under way.
    outdated: bool,
    exits: usize,
    cpu_cores: Option<f64>,
    memory_bytes: Option<u64>,
    descriptors: Option<u32>,
    disk_used_bytes: Option<u64>,
    disk_size_bytes: Option<u64>,
}

#[derive(Serialize, JsonSchema)]
struct LinkShape {
    link: String,
    requests_per_second: f64,
    error_ratio: Option<f64>,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    rejected: u64,
    #[schemars(with = "String")]
    breaker: BreakerState,
    #[schemars(with = "Vec<String>")]
    ejected: Vec<InstanceName>,
    window_seconds: u32,
}

impl ServiceShape {
    pub(crate) fn new(
        snapshot: &Snapshot,
        name: &ServiceName,
        state: &ServiceState,
        paused_until: Option<Time>,
    ) -> Self {
        Self {
            service: name.to_string(),
            version: state.release.version.clone(),
            replicas: state.replicas,
            ready: state.instances.values().filter(|instance| instance.phase == Phase::Ready).count(),
            hands_off: state.hands_off,
            paused_until: paused_until.map(Time::rfc3339),
            rolling_out: state.rolling_out,
            dependencies: state.dependencies.iter().map(ToString::to_string).collect(),
            cpu_limit_cores: state.limits.cpu.map(|cores| cores.0),
            memory_limit_bytes: state.limits.memory.map(|bytes| bytes.0),
            instances: state.instances.iter().map(InstanceShape::from).collect(),
            links: snapshot.links_to(name).map(LinkShape::from).collect(),
            timestamp: snapshot.taken.rfc3339(),
        }
    }
}

impl From<(&InstanceName, &domain::InstanceState)> for InstanceShape {
    fn from((name, state): (&InstanceName, &domain::InstanceState)) -> Self {
        Self {
            instance: name.to_string(),
            phase: state.phase,
            since: state.phase_since.rfc3339(),
            pid: state.incarnation.as_ref().map(|incarnation| incarnation.pid),
            port: state.port,
            crash_loop: state.crash_loop,
            outdated: state.outdated,
            exits: state.exits.len(),
            cpu_cores: state.usage.cpu.map(|cores| cores.0),
            memory_bytes: state.usage.memory.map(|bytes| bytes.0),
            descriptors: state.usage.descriptors,
            disk_used_bytes: state.usage.disk_used.map(|bytes| bytes.0),
            disk_size_bytes: state.usage.disk_size.map(|bytes| bytes.0),
        }
    }
}

impl From<(&domain::LinkName, &domain::LinkState)> for LinkShape {
    fn from((name, state): (&domain::LinkName, &domain::LinkState)) -> Self {
        let Window { seconds, rejected, p50_ms, p95_ms, .. } = state.recent;
        let ejected = state.backends.iter().filter(|(_, backend)| backend.ejected);
        Self {
            link: name.to_string(),
            requests_per_second: state.recent.rate(),
            error_ratio: state.recent.error_ratio(),
            p50_ms,
            p95_ms,
            rejected,
            breaker: state.breaker,
            ejected: ejected.map(|(name, _)| name.clone()).collect(),
            window_seconds: seconds,
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct FaultShape {
    token: String,
    r#type: &'static str,
    target: String,
    description: String,
    since: String,
    until: String,
    experiment_id: Option<String>,
}

impl From<&RunningFault> for FaultShape {
    fn from(running: &RunningFault) -> Self {
        Self {
            token: running.token.to_string(),
            r#type: running.fault.kind.name(),
            target: running.fault.target.to_string(),
            description: phrases::fault(&running.fault),
            since: running.since.rfc3339(),
            until: running.until.rfc3339(),
            experiment_id: running.experiment.map(|id| id.to_string()),
        }
    }
}

/// What the provider can do on this machine.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CapabilitiesShape {
    /// The provider's name, such as `processes`.
    provider: String,
    /// CPU quota.
    cpu_limit: EnforcementShape,
    /// Memory limit.
    memory_limit: EnforcementShape,
    /// Volumes with a size, growing online.
    volumes: EnforcementShape,
    /// Stress beside an instance, which stays until the fault ends.
    host_stress: EnforcementShape,
    /// Latency, partition and throttling on links, circuit breaking, rerouting.
    links: EnforcementShape,
}

/// How something is brought about.
#[derive(Serialize, JsonSchema)]
struct EnforcementShape {
    #[schemars(schema_with = "enforcements")]
    by: &'static str,
    /// By what of the kernel, or why it cannot be done; not there for `supervision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

fn enforcements(_: &mut SchemaGenerator) -> Schema {
    choices(["kernel", "supervision", "unavailable"])
}

impl From<&Enforcement> for EnforcementShape {
    fn from(enforcement: &Enforcement) -> Self {
        let (by, detail) = match enforcement {
            Enforcement::Kernel(which) => ("kernel", Some(which.clone())),
            Enforcement::Supervision => ("supervision", None),
            Enforcement::Unavailable(why) => ("unavailable", Some(why.clone())),
        };
        Self { by, detail }
    }
}

impl From<&Capabilities> for CapabilitiesShape {
    fn from(can: &Capabilities) -> Self {
        Self {
            provider: can.provider.clone(),
            cpu_limit: (&can.cpu_limit).into(),
            memory_limit: (&can.memory_limit).into(),
            volumes: (&can.volumes).into(),
            host_stress: (&can.host_stress).into(),
            links: (&can.links).into(),
        }
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct PauseShape {
    service: String,
    until: String,
    left: String,
}

impl PauseShape {
    pub(crate) fn new(service: &ServiceName, until: Time, now: Time) -> Self {
        Self { service: service.to_string(), until: until.rfc3339(), left: show_duration(until.since(now)) }
    }

    /// What of it does not change by itself.
    pub(crate) fn told(&self) -> String {
        format!("{} {}", self.service, self.until)
    }
}
