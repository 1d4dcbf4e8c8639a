//! What a repair has to deal with: the issue seen from its cause.
//!
//! In: an issue, its cause and what was seen. Out: the type, reason and place by which a strategy is
//! chosen. A slow link whose cause is a hung instance needs what a hung instance needs, at the instance.
//!
//! What is bad, and for which reason, is asked of detection: a repair cannot disagree with the issue.

use std::collections::BTreeSet;

use domain::snapshot::{BackendState, ExitCause, InstanceState};
use domain::{
    Cause, CauseClass, InstanceName, Issue, IssueKind, LinkName, LinkState, Reason, ResourceId, ServiceName,
    Snapshot,
};

use crate::detect::{Thresholds, backends_in_trouble, disk_full, high_cpu, scope};

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
    pub fn of(issue: &Issue, cause: &Cause, snapshot: &Snapshot, thresholds: &Thresholds) -> Self {
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
            CauseClass::BadDeployment if issue.kind == IssueKind::NetworkLatency => {
                (IssueKind::NetworkLatency, cause.resource.clone())
            }
            CauseClass::BadDeployment => (IssueKind::ErrorRate, cause.resource.clone()),
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
            _ => reason_of_path(kind, &at, &cause.resource, snapshot, thresholds),
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
        ResourceId::Infrastructure(name) => snapshot.infrastructure.as_ref() == Some(name),
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
    at.service()
        .map_or(Reason::Unspecified, |service| high_cpu::reason(high_cpu::rate_rise(service, snapshot)))
}

fn reason_of_disk(at: &ResourceId, snapshot: &Snapshot) -> Reason {
    let usage = at.instance().and_then(|name| snapshot.instance(name)).map(|state| state.usage);
    let sized = usage.and_then(|usage| Some((usage, usage.disk_size?)));
    sized.map_or(Reason::Unspecified, |(usage, size)| disk_full::fills(&usage, size).0)
}

/// As detection sees the link, so that a symptom leads to the repair the link's own issue would; where it
/// cannot tell, by the instances that look bad in any way.
fn reason_of_path(
    kind: IssueKind,
    at: &ResourceId,
    cause: &ResourceId,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> Reason {
    if cause.instance().is_some() {
        return Reason::OneBackend;
    }
    let ResourceId::Link(name) = at else { return Reason::AllBackends };
    let told = scope(kind, name, snapshot, thresholds);
    if told != Reason::Unspecified {
        return told;
    }
    let bad = bad_backends(name, snapshot, thresholds).len();
    let all = snapshot.links.get(name).map_or(0, |link| link.backends.len());
    if bad > 0 && bad < all { Reason::OneBackend } else { Reason::AllBackends }
}

/// The instances that are slow or failing as seen through a link: by its requests, or by the checks of their
/// paths where the balancing gives a slow instance hardly any.
pub(super) fn bad_backends(
    link: &LinkName,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> BTreeSet<InstanceName> {
    let limit_ms = thresholds.at(&ResourceId::Link(link.clone()), snapshot).latency_ms;
    let check_bad = |backend: &BackendState| {
        backend.path_check_failures > 0
            || backend.path_check.is_some_and(|took| took.as_secs_f64() * 1e3 > limit_ms)
    };
    let backends = snapshot.links.get(link).into_iter().flat_map(|state| &state.backends);
    let by_checks = backends.filter(|(_, backend)| check_bad(backend)).map(|(name, _)| name.clone());
    [IssueKind::NetworkLatency, IssueKind::ErrorRate]
        .into_iter()
        .flat_map(|kind| backends_in_trouble(kind, link, snapshot, thresholds))
        .chain(by_checks)
        .collect()
}

/// Whether a link is slow or failing.
pub(super) fn link_is_bad(
    name: &LinkName,
    link: &LinkState,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> bool {
    let bounds = thresholds.at(&ResourceId::Link(name.clone()), snapshot);
    link.recent.p95_ms.is_some_and(|p95| p95 > bounds.latency_ms)
        || link.recent.error_ratio().is_some_and(|ratio| ratio > bounds.error_rate.ratio())
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

#[cfg(test)]
mod tests;
