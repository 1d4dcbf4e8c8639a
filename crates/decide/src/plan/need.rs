//! What a repair has to deal with: the issue seen from its cause.
//!
//! In: an issue, its cause and what was seen. Out: the type, reason and place by which a strategy is
//! chosen. A slow link whose cause is a hung instance needs what a hung instance needs, at the instance.

use domain::snapshot::{BackendState, ExitCause, InstanceState, Usage};
use domain::{
    Cause, CauseClass, InstanceName, Issue, IssueKind, LinkName, LinkState, Reason, ResourceId, ServiceName,
    Snapshot,
};

use crate::detect::{Thresholds, traffic};

/// By default a link is slow above this p95 (H1), in milliseconds.
const LATENCY_MS: f64 = 200.0;
/// By default a link or backend fails above this share (O4: error rate < 1 %).
const ERROR_RATIO: f64 = 0.01;
/// A request rate this many times the usual one explains more work.
const LOAD_FACTOR: f64 = 1.2;

/// The type, reason and place a strategy is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The type of issue the cause would be by itself.
    pub kind: IssueKind,
    /// Its reason.
    pub reason: Reason,
    /// Where the repair goes.
    pub at: ResourceId,
}

impl Need {
    /// What `cause` of `issue` needs.
    pub fn of(issue: &Issue, cause: &Cause, snapshot: &Snapshot) -> Self {
        let (kind, at) = match cause.class {
            CauseClass::ProcessEnded | CauseClass::ProcessHangs => {
                (IssueKind::PodCrash, cause.resource.clone())
            }
            CauseClass::CpuExhausted => (IssueKind::HighCpu, cause.resource.clone()),
            CauseClass::MemoryExhausted if issue.kind == IssueKind::PodCrash => {
                (IssueKind::PodCrash, cause.resource.clone())
            }
            CauseClass::MemoryExhausted => (IssueKind::HighMemory, cause.resource.clone()),
            CauseClass::DiskExhausted => (IssueKind::DiskFull, volume(&cause.resource)),
            CauseClass::PathSlow | CauseClass::ServiceSlow => {
                (IssueKind::NetworkLatency, path(issue, &cause.resource))
            }
            CauseClass::PathBroken | CauseClass::Throttled | CauseClass::ServiceFailing => {
                (IssueKind::ErrorRate, path(issue, &cause.resource))
            }
        };
        // The cause's own place may be named more closely than the issue's; the reason is the issue's own
        // where both speak of one thing.
        let same_thing = issue.kind == kind && overlap(&issue.resource, &at);
        let path_kinds = [IssueKind::NetworkLatency, IssueKind::ErrorRate];
        let same_path =
            path_kinds.contains(&issue.kind) && path_kinds.contains(&kind) && issue.resource == at;
        let out_of_memory = cause.class == CauseClass::MemoryExhausted && kind == IssueKind::PodCrash;
        if (same_thing || same_path) && !out_of_memory && issue.reason != Reason::Unspecified {
            return Self { kind: issue.kind, reason: issue.reason, at };
        }
        let reason = match cause.class {
            CauseClass::ProcessHangs => Reason::Unresponsive,
            CauseClass::ProcessEnded => reason_of_end(&at, snapshot),
            CauseClass::CpuExhausted => reason_of_cpu(&at, snapshot),
            // Also where it shows as a crash loop.
            CauseClass::MemoryExhausted if out_of_memory => Reason::OutOfMemory,
            CauseClass::MemoryExhausted => Reason::Unspecified,
            CauseClass::DiskExhausted => reason_of_disk(&at, snapshot),
            _ => reason_of_path(kind, &at, &cause.resource, snapshot),
        };
        Self { kind, reason, at }
    }
}

/// Whether a resource was seen. What was not is unknown, and so not touched.
pub(super) fn exists(resource: &ResourceId, snapshot: &Snapshot) -> bool {
    match resource {
        ResourceId::Service(service) => snapshot.services.contains_key(service),
        ResourceId::Instance(instance) => snapshot.instance(instance).is_some(),
        ResourceId::Volume(instance) => {
            snapshot.instance(instance).is_some()
                && snapshot.services.get(&instance.service).is_some_and(|state| state.volume.is_some())
        }
        ResourceId::Link(link) => snapshot.links.contains_key(link),
        ResourceId::Node(_) => false,
    }
}

/// Whether two names speak of one place: the same, or an instance and its volume.
pub(super) fn overlap(a: &ResourceId, b: &ResourceId) -> bool {
    a == b || (a.instance().is_some() && a.instance() == b.instance())
}

fn volume(resource: &ResourceId) -> ResourceId {
    match resource.instance() {
        Some(instance) => ResourceId::Volume(instance.clone()),
        None => resource.clone(),
    }
}

/// Where a cause on a path is repaired: at the named link; for a callee at the issue's link where that
/// leads there, else at the callee.
fn path(issue: &Issue, cause: &ResourceId) -> ResourceId {
    match (&issue.resource, cause) {
        (_, ResourceId::Link(_)) => cause.clone(),
        (ResourceId::Link(link), _) if Some(&link.to) == cause.service() => issue.resource.clone(),
        _ => cause.clone(),
    }
}

fn reason_of_end(at: &ResourceId, snapshot: &Snapshot) -> Reason {
    let Some(state) = at.instance().and_then(|name| snapshot.instance(name)) else { return Reason::Exit };
    match state.exits.last() {
        Some(exit) if exit.cause == ExitCause::OutOfMemory => Reason::OutOfMemory,
        _ if state.crash_loop => Reason::CrashLoop,
        _ => Reason::Exit,
    }
}

fn reason_of_cpu(at: &ResourceId, snapshot: &Snapshot) -> Reason {
    let Some(service) = at.service() else { return Reason::Unspecified };
    let (recent, before) = snapshot.links_to(service).fold((0.0, 0.0), |(recent, before), (_, link)| {
        (recent + link.recent.rate(), before + link.before.rate())
    });
    if before > 0.0 && recent > before * LOAD_FACTOR { Reason::Load } else { Reason::Unexplained }
}

/// The kind of files that takes most of the space; data is what no other kind explains.
fn reason_of_disk(at: &ResourceId, snapshot: &Snapshot) -> Reason {
    let usage = at.instance().and_then(|name| snapshot.instance(name)).map(|state| state.usage);
    let Some(Usage { disk_used: Some(used), disk_temporary_old, disk_logs, disk_cache, .. }) = usage else {
        return Reason::Unspecified;
    };
    let known = [
        (disk_temporary_old, Reason::TemporaryFiles),
        (disk_logs, Reason::Logs),
        (disk_cache, Reason::Cache),
    ]
    .map(|(size, reason)| (size.map_or(0, |size| size.0), reason));
    let data = used.0.saturating_sub(known.iter().map(|(size, _)| size).sum());
    known
        .into_iter()
        .chain([(data, Reason::Data)])
        .max_by_key(|(size, _)| *size)
        .map_or(Reason::Data, |(_, r)| r)
}

/// As detection sees the link, so that a symptom leads to the repair the link's own issue would; where it
/// cannot tell, by the instances that look bad.
fn reason_of_path(kind: IssueKind, at: &ResourceId, cause: &ResourceId, snapshot: &Snapshot) -> Reason {
    if cause.instance().is_some() {
        return Reason::OneBackend;
    }
    let ResourceId::Link(name) = at else { return Reason::AllBackends };
    let Some(link) = snapshot.links.get(name) else { return Reason::Unspecified };
    let seen = traffic::scope(kind, name, snapshot, &Thresholds::default().at(at, snapshot));
    if seen != Reason::Unspecified {
        return seen;
    }
    let bad = link.backends.values().filter(|backend| backend_is_bad(name, backend, snapshot)).count();
    if bad > 0 && bad < link.backends.len() { Reason::OneBackend } else { Reason::AllBackends }
}

/// The p95 above which a link to `service` is slow, in milliseconds.
fn latency_limit_ms(service: &ServiceName, snapshot: &Snapshot) -> f64 {
    snapshot.services.get(service).and_then(|state| state.thresholds.latency_ms).unwrap_or(LATENCY_MS)
}

fn error_limit(service: &ServiceName, snapshot: &Snapshot) -> f64 {
    let declared = snapshot.services.get(service).and_then(|state| state.thresholds.error_rate);
    declared.map_or(ERROR_RATIO, domain::Percent::ratio)
}

/// Whether an instance is slow or failing as seen through a link.
pub(super) fn backend_is_bad(link: &LinkName, backend: &BackendState, snapshot: &Snapshot) -> bool {
    let latency = latency_limit_ms(&link.to, snapshot);
    backend.path_check_failures > 0
        || backend.path_check.is_some_and(|took| took.as_secs_f64() * 1e3 > latency)
        || backend.recent.p95_ms.is_some_and(|p95| p95 > latency)
        || backend.recent.error_ratio().is_some_and(|ratio| ratio > error_limit(&link.to, snapshot))
}

/// Whether a link is slow or failing.
pub(super) fn link_is_bad(name: &LinkName, link: &LinkState, snapshot: &Snapshot) -> bool {
    link.recent.p95_ms.is_some_and(|p95| p95 > latency_limit_ms(&name.to, snapshot))
        || link.recent.error_ratio().is_some_and(|ratio| ratio > error_limit(&name.to, snapshot))
}

/// The instance of `service` that most needs a repair of this type: for crashes one that does not answer
/// or is not ready, else the one that uses most.
pub(super) fn neediest(kind: IssueKind, service: &ServiceName, snapshot: &Snapshot) -> Option<InstanceName> {
    let instances = &snapshot.services.get(service)?.instances;
    let uses = |state: &InstanceState| match kind {
        IssueKind::HighCpu => state.usage.cpu.map_or(0.0, |cores| cores.0),
        IssueKind::HighMemory => state.usage.memory.map_or(0.0, |bytes| bytes.0 as f64),
        IssueKind::DiskFull => match (state.usage.disk_used, state.usage.disk_size) {
            (Some(used), Some(size)) if size.0 > 0 => used.0 as f64 / size.0 as f64,
            _ => 0.0,
        },
        _ if state.liveness.is_some_and(|probe| probe.failing()) => 2.0,
        _ => f64::from(u8::from(state.phase != domain::snapshot::Phase::Ready)),
    };
    instances.iter().max_by(|a, b| uses(a.1).total_cmp(&uses(b.1))).map(|(name, _)| name.clone())
}
