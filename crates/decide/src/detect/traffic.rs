//! What the engines share: when an instance or a link can be judged, and which part of a link is in
//! trouble. No verdicts here.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::snapshot::{BackendState, InstanceState, Phase, ProbeState};
use domain::{
    InstanceName, IssueKind, LinkName, LinkState, Reason, ResourceId, ServiceName, Snapshot, Window,
};

use super::Thresholds;

/// Fewer requests than this in the window tell nothing.
pub(crate) const REQUESTS_MIN: u64 = 5;

/// A fleet younger than this is still connecting; its rates are not judged.
const FLEET_SETTLE: Duration = Duration::from_secs(5);

/// After an instance was replaced on purpose the window of 3 complete seconds still holds its end.
const REPLACED_WITHIN: Duration = Duration::from_secs(4);

/// A successor that is not ready this long after the end of its predecessor is no longer an excuse.
const REPLACED_LIMIT: Duration = Duration::from_secs(60);

/// Failed health checks through a path that count as more than bad luck.
pub(crate) const PATH_FAILURES_MIN: u32 = 2;

/// A probe that last passed longer ago than this says nothing of now.
const PROBE_FRESH: Duration = Duration::from_secs(3);

/// A check that takes less than this is not slow on any machine that has something else to do.
const CHECK_NOISE_MS: f64 = 20.0;

/// The instance a resource names, where a process runs in it and is not being stopped.
pub(crate) fn running<'a>(
    resource: &'a ResourceId,
    snapshot: &'a Snapshot,
) -> Option<(&'a InstanceName, &'a InstanceState)> {
    let ResourceId::Instance(name) = resource else { return None };
    let state = snapshot.instance(name)?;
    let runs = matches!(state.phase, Phase::Starting | Phase::Ready | Phase::NotReady);
    runs.then_some((name, state))
}

/// The link a resource names, where its rates can be judged now: the fleet settled, no instance behind the
/// link is being replaced on purpose or was a moment ago, and nothing further down is out as a whole for that
/// reason. What our own repairs disturb is not taken for another fault.
pub(crate) fn judged<'a>(
    resource: &'a ResourceId,
    snapshot: &'a Snapshot,
) -> Option<(&'a LinkName, &'a LinkState)> {
    let ResourceId::Link(name) = resource else { return None };
    let link = snapshot.links.get(name)?;
    undisturbed(&name.to, snapshot, REPLACED_WITHIN).then_some((name, link))
}

/// Whether the rates of calls to `service` can be judged now, where a window still holds what happened `within` ago.
pub(super) fn undisturbed(service: &ServiceName, snapshot: &Snapshot, within: Duration) -> bool {
    let Some(callee) = snapshot.services.get(service) else { return false };
    let replacing = |state: &InstanceState| replaced(state, snapshot, within);
    let quiet = !callee.rolling_out && !callee.instances.values().any(replacing);
    snapshot.fleet_age >= FLEET_SETTLE && quiet && !out_below(service, snapshot, within)
}

/// Whether an instance is being stopped or restarted on purpose, or was `within` ago.
fn replaced(state: &InstanceState, snapshot: &Snapshot, within: Duration) -> bool {
    let Some(exit) = state.exits.last().filter(|exit| exit.requested) else {
        return state.phase == Phase::Stopping;
    };
    let age = snapshot.taken.since(exit.at);
    let serving_for = snapshot.taken.since(state.phase_since).min(age);
    match state.phase {
        Phase::Stopping => true,
        Phase::Starting | Phase::BackingOff => age < REPLACED_LIMIT,
        _ => serving_for < within,
    }
}

/// Whether any service that `service` calls, directly or through others, has no instance left because all of
/// them are being replaced on purpose.
fn out_below(service: &ServiceName, snapshot: &Snapshot, within: Duration) -> bool {
    let mut reached: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut open: Vec<&ServiceName> = vec![service];
    while let Some(caller) = open.pop() {
        let Some(state) = snapshot.services.get(caller) else { continue };
        for callee in &state.dependencies {
            let Some(below) = snapshot.services.get(callee) else { continue };
            let mut instances = below.instances.values().peekable();
            if instances.peek().is_some() && instances.all(|state| replaced(state, snapshot, within)) {
                return true;
            }
            if reached.insert(callee) {
                open.push(callee);
            }
        }
    }
    false
}

/// Whether most of a window's requests took longer than `limit_ms`; `None` below `requests_min`.
pub(crate) fn mostly_slow(window: &Window, limit_ms: f64, requests_min: u64) -> Option<bool> {
    (window.requests >= requests_min).then(|| window.p50_ms.is_some_and(|p50| p50 > limit_ms))
}

/// Whether the latest health check through a path was slow. A check is a small request on a new connection,
/// so half of the bound for requests is slow for it. Where most requests to the instance are slow, a quarter
/// of what they take is: one check under jitter may be lucky, a path that is well answers in a few ms.
pub(crate) fn check_slow(backend: &BackendState, limit_ms: f64) -> Option<bool> {
    let slow_requests = mostly_slow(&backend.recent, limit_ms, 3) == Some(true);
    let share = backend.recent.p50_ms.filter(|_| slow_requests).map(|p50| (p50 / 4.0).max(CHECK_NOISE_MS));
    let bound = share.unwrap_or(f64::INFINITY).min(limit_ms / 2.0);
    backend.path_check.map(|took| took.as_secs_f64() * 1e3 > bound)
}

/// Whether an instance answers its own probes, which do not pass through a link. `None` where it has none,
/// or none that ran lately.
pub(crate) fn answers_itself(state: &InstanceState, snapshot: &Snapshot) -> Option<bool> {
    let probes: Vec<ProbeState> = [state.liveness, state.readiness].into_iter().flatten().collect();
    if probes.iter().any(|probe| probe.failures_in_a_row > 0) {
        return Some(false);
    }
    let fresh =
        |probe: &ProbeState| probe.last_passed.is_some_and(|at| snapshot.taken.since(at) <= PROBE_FRESH);
    probes.iter().any(fresh).then_some(true)
}

/// Whether the path to an instance loses its health checks, at least `failures` in a row, although the
/// instance is ready and fails none of its own probes. Where it does not run, or does not answer, the path
/// is not to blame.
///
/// A check also fails where the path is throttled, or slower than a check may take. Requests tell: of those
/// some are answered with 429, or late, and the path is not broken.
pub(crate) fn path_broken(
    name: &InstanceName,
    backend: &BackendState,
    snapshot: &Snapshot,
    limit_ms: f64,
    failures: u32,
) -> bool {
    if backend.recent.throttled > 0 || answered_late(backend, limit_ms) {
        return false;
    }
    let stands =
        |state: &InstanceState| state.phase == Phase::Ready && answers_itself(state, snapshot) != Some(false);
    backend.path_check_failures >= failures && snapshot.instance(name).is_some_and(stands)
}

/// Whether requests are answered through a path, and most of them take longer than the limit.
pub(crate) fn answered_late(backend: &BackendState, limit_ms: f64) -> bool {
    let recent = &backend.recent;
    recent.requests > recent.unanswered && mostly_slow(recent, limit_ms, 1) == Some(true)
}

/// Whether an instance is slow as seen through a link. The slower it is the fewer requests it gets, since the
/// balancing prefers those with less under way; so few of them suffice where the checks of the path agree.
pub(crate) fn backend_slow(backend: &BackendState, limit_ms: f64) -> bool {
    let checks_fail = backend.path_check_failures >= PATH_FAILURES_MIN && answered_late(backend, limit_ms);
    let requests_min = match check_slow(backend, limit_ms) {
        _ if checks_fail => 1,
        Some(true) => 2,
        _ => REQUESTS_MIN,
    };
    mostly_slow(&backend.recent, limit_ms, requests_min) == Some(true)
}

/// The instances behind a link that no plan has taken out of the balancing.
pub(crate) fn in_use(link: &LinkState) -> impl Iterator<Item = (&InstanceName, &BackendState)> {
    link.backends.iter().filter(|(_, backend)| !backend.ejected_by_plan)
}

/// How one instance looks through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Bad,
    Well,
    Unknown,
}

/// Which instances behind a link are slow (for `network_latency`) or failing (for any other kind) as seen
/// through it. Empty where none is or none can be told.
pub fn backends_in_trouble(
    kind: IssueKind,
    link: &LinkName,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> Vec<InstanceName> {
    let bounds = thresholds.at(&ResourceId::Link(link.clone()), snapshot);
    let Some(state) = snapshot.links.get(link) else { return Vec::new() };
    looks(kind, state, &bounds)
        .into_iter()
        .filter(|(_, look)| *look == Look::Bad)
        .map(|(name, _)| name.clone())
        .collect()
}

/// What the part of a link that is in trouble was told from. Ordered: requests are many and are what it is
/// about, a health check is one small request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// Nothing.
    None,
    /// Health checks, or a handful of requests.
    Checks,
    /// Requests.
    Requests,
}

/// Which part of a link is slow (for `network_latency`) or failing (for any other kind): the reason of an
/// issue there, and what a repair of it has to fit where the issue is felt elsewhere.
pub fn scope(kind: IssueKind, name: &LinkName, snapshot: &Snapshot, thresholds: &Thresholds) -> Reason {
    scope_with_evidence(kind, name, snapshot, thresholds).0
}

/// The same, with what it was told from: for one instance, that another is well; for all, that each is not.
pub(super) fn scope_with_evidence(
    kind: IssueKind,
    name: &LinkName,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> (Reason, Evidence) {
    let Some(link) = snapshot.links.get(name) else { return (Reason::Unspecified, Evidence::None) };
    let bounds = &thresholds.at(&ResourceId::Link(name.clone()), snapshot);
    let looks = looks(kind, link, bounds);
    let bad = looks.iter().any(|(_, look)| *look == Look::Bad);
    let well = looks.iter().any(|(_, look)| *look == Look::Well);
    // A share, or a median, of fewer is luck.
    let counted = |name: &InstanceName| {
        link.backends.get(name).is_some_and(|backend| backend.recent.requests >= REQUESTS_MIN)
    };
    let requests = |enough: bool| if enough { Evidence::Requests } else { Evidence::Checks };
    if stale(kind, name, link, snapshot, bounds) {
        (Reason::StaleConnections, requests(link.old_connections.requests >= REQUESTS_MIN))
    } else if bad && well {
        let other_well = looks.iter().any(|(name, look)| *look == Look::Well && counted(name));
        (Reason::OneBackend, requests(other_well))
    } else if bad {
        // Those a plan took out get no requests, and are not what it is about.
        let mut used =
            looks.iter().filter(|(name, _)| in_use(link).any(|(used, _)| used == *name)).peekable();
        let any = used.peek().is_some();
        (Reason::AllBackends, requests(any && used.all(|(name, look)| *look == Look::Bad && counted(name))))
    } else {
        (Reason::Unspecified, Evidence::None)
    }
}

fn looks<'a>(kind: IssueKind, link: &'a LinkState, bounds: &Thresholds) -> Vec<(&'a InstanceName, Look)> {
    let worst = link.backends.values().filter_map(|backend| backend.recent.error_ratio()).fold(0.0, f64::max);
    link.backends
        .iter()
        .map(|(name, backend)| {
            let look = match kind {
                IssueKind::NetworkLatency => look_slow(backend, bounds.latency_ms),
                _ => look_failing(backend, bounds.error_rate.ratio(), worst),
            };
            (name, look)
        })
        .collect()
}

fn look_slow(backend: &BackendState, limit_ms: f64) -> Look {
    if backend_slow(backend, limit_ms) {
        return Look::Bad;
    }
    let by_requests = mostly_slow(&backend.recent, limit_ms, 1);
    match check_slow(backend, limit_ms).or(by_requests) {
        // A check may be unlucky where most requests are well.
        Some(true) if mostly_slow(&backend.recent, limit_ms, 3) == Some(false) => Look::Well,
        Some(true) => Look::Bad,
        Some(false) if mostly_slow(&backend.recent, limit_ms, 3) == Some(true) => Look::Bad,
        Some(false) => Look::Well,
        None => Look::Unknown,
    }
}

/// `worst`: the error ratio of the worst instance. One that fails at less than a fifth of it suffers from
/// something else, such as a request that was tried elsewhere first.
fn look_failing(backend: &BackendState, limit: f64, worst: f64) -> Look {
    if backend.path_check_failures >= PATH_FAILURES_MIN {
        return Look::Bad;
    }
    match backend.recent.error_ratio() {
        Some(ratio) if ratio > limit && ratio >= 0.2 * worst => Look::Bad,
        Some(_) => Look::Well,
        None if backend.path_check.is_some() => Look::Well,
        None => Look::Unknown,
    }
}

/// Whether only connections that were open for a while are in trouble. Seen directly where there are new
/// connections; otherwise by elimination: new connections made by the health checks are well at every
/// instance, and neither the callee nor what it calls explains the trouble.
fn stale(
    kind: IssueKind,
    name: &LinkName,
    link: &LinkState,
    snapshot: &Snapshot,
    bounds: &Thresholds,
) -> bool {
    let limit_ms = bounds.latency_ms;
    let slow = kind == IssueKind::NetworkLatency;
    let bad = |window: &Window, requests_min: u64| {
        if slow {
            mostly_slow(window, limit_ms, requests_min)
        } else {
            let ratio = window.error_ratio().unwrap_or(0.0);
            (window.requests >= requests_min).then_some(ratio > bounds.error_rate.ratio())
        }
    };
    // The checks make a connection of their own each time: a path that is slow for them is slow for all.
    let fresh_well = |backend: &BackendState| {
        backend.path_check_failures == 0 && check_slow(backend, limit_ms) == Some(false)
    };
    let checks_well = !link.backends.is_empty() && link.backends.values().all(fresh_well);
    if slow && checks_well && connections_apart(link, limit_ms) {
        return true;
    }
    if bad(&link.old_connections, 3) != Some(true) || !checks_well {
        return false;
    }
    match bad(&link.new_connections, 3) {
        Some(true) => false,
        // What the callee calls would slow down requests on new connections as well.
        Some(false) if link.new_connections.requests >= REQUESTS_MIN => {
            !explained_by_instance(name, link, snapshot, bounds)
        }
        Some(false) => !callee_explains(name, link, snapshot, bounds),
        None => slow && !callee_explains(name, link, snapshot, bounds),
    }
}

/// Whether a link usually carries too few requests to be judged by them, and the checks of every path that is
/// in use pass and are fast: they are the signal there is, and an issue must be able to end by it.
pub(crate) fn quiet_and_well(link: &LinkState, limit_ms: f64) -> bool {
    let usual = link.before.rate() * f64::from(link.recent.seconds.max(1));
    let well = |backend: &BackendState| {
        backend.path_check_failures == 0 && check_slow(backend, limit_ms) == Some(false)
    };
    let mut paths = in_use(link).map(|(_, backend)| backend).peekable();
    usual < REQUESTS_MIN as f64 && paths.peek().is_some() && paths.all(well)
}

/// Whether every exchange is slow on some connections and not on others: then it is the connections, not what
/// is asked over them.
pub(crate) fn connections_apart(link: &LinkState, limit_ms: f64) -> bool {
    let floors = || link.backends.values().flat_map(|backend| backend.connection_floors_ms.iter());
    floors().any(|floor| *floor > limit_ms) && floors().any(|floor| *floor < limit_ms / 2.0)
}

/// Whether a link's latency comes from behind it: a call of the callee takes at least half as long, or
/// [`explained_by_instance`].
pub(crate) fn callee_explains(
    name: &LinkName,
    link: &LinkState,
    snapshot: &Snapshot,
    bounds: &Thresholds,
) -> bool {
    // Where only old connections are slow, the median of all requests may be that of the fast ones.
    let old = Some(&link.old_connections).filter(|old| old.requests >= 3).and_then(|old| old.p50_ms);
    let medians = link.backends.values().map(|backend| backend.recent.p50_ms);
    let slow_ms = medians.chain([link.recent.p50_ms, old]).flatten().fold(0.0, f64::max);
    let mut calls = snapshot.links.iter().filter(|(call, _)| call.from == name.to);
    calls.any(|(_, call)| call.recent.p95_ms.is_some_and(|p95| p95 >= slow_ms / 2.0))
        || explained_by_instance(name, link, snapshot, bounds)
}

/// Whether an instance that is slow through the link is short of CPU or does not answer its own probes.
fn explained_by_instance(
    name: &LinkName,
    link: &LinkState,
    snapshot: &Snapshot,
    bounds: &Thresholds,
) -> bool {
    let Some(callee) = snapshot.services.get(&name.to) else { return false };
    callee.instances.iter().any(|(instance, state)| {
        let well = link
            .backends
            .get(instance)
            .is_some_and(|backend| mostly_slow(&backend.recent, bounds.latency_ms / 2.0, 3) == Some(false));
        let busy = match (state.usage.cpu, callee.limits.cpu) {
            (Some(used), Some(limit)) => used.0 > limit.0 * bounds.cpu.ratio(),
            _ => false,
        };
        !well && (busy || answers_itself(state, snapshot) == Some(false))
    })
}
