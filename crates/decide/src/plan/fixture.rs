//! A small shop as tests see it: front ×2 → cart ×2 → database ×1, under load. Everything is well until a
//! test says otherwise.

use std::time::Duration;

use domain::infrastructure::{Limits, VolumeSpec};
use domain::snapshot::{BackendState, BreakerState, Phase, ProbeState, Usage};
use domain::{
    Action, Actor, Bytes, Capabilities, Cause, CauseClass, Cores, Enforcement, Environment, IdSource,
    Incarnation, InstanceName, InstanceState, Intent, Issue, IssueKind, LinkName, LinkState, Percent, Plan,
    PlanId, Reason, ResourceId, ServiceName, ServiceState, Severity, Signal, Snapshot, StopManner, Strategy,
    Time, Window,
};

use super::check::touched;
use super::policy::{Ladder, Policy};
use super::steps::step;

pub(super) fn at(seconds: f64) -> Time {
    let us = (seconds * 1e6) as u64;
    Time { boot_us: us, wall_us: 1_700_000_000_000_000 + us as i64 }
}

/// The time of most tests: late enough that every window lies behind it.
pub(super) fn now() -> Time {
    at(200_000.0)
}

pub(super) fn plan_id(seed: u64) -> PlanId {
    IdSource::seeded(seed).next(now())
}

pub(super) fn resource(text: &str) -> ResourceId {
    text.parse().unwrap()
}

pub(super) fn instance(text: &str) -> InstanceName {
    text.parse().unwrap()
}

pub(super) fn link(text: &str) -> LinkName {
    text.parse().unwrap()
}

pub(super) fn service(text: &str) -> ServiceName {
    text.parse().unwrap()
}

pub(super) fn capable() -> Capabilities {
    Capabilities {
        provider: "processes".to_owned(),
        cpu_limit: Enforcement::Kernel("cgroup v2".to_owned()),
        memory_limit: Enforcement::Supervision,
        volumes: Enforcement::Kernel("tmpfs".to_owned()),
        host_stress: Enforcement::Unavailable("needs root".to_owned()),
        links: Enforcement::Supervision,
    }
}

/// Everything automatic, limits as specified.
pub(super) fn auto() -> Policy {
    Policy { ladder: Ladder::auto(), ..Policy::default() }
}

fn window(p95_ms: f64) -> Window {
    Window { seconds: 3, requests: 300, p50_ms: Some(2.0), p95_ms: Some(p95_ms), ..Window::default() }
}

fn slot(port: Option<u16>) -> InstanceState {
    InstanceState {
        incarnation: Some(Incarnation { boot_id: "b".to_owned(), pid: 1, start_ticks: 1 }),
        phase: Phase::Ready,
        phase_since: at(1.0),
        started_at: Some(at(0.5)),
        readiness: None,
        liveness: Some(ProbeState {
            failures_in_a_row: 0,
            failures_limit: 3,
            last_passed: Some(now()),
            last_took: None,
        }),
        usage: Usage {
            cpu: Some(Cores(0.1)),
            memory: Some(Bytes::mib(20)),
            descriptors: Some(20),
            disk_size: Some(Bytes::mib(100)),
            disk_used: Some(Bytes::mib(10)),
            disk_temporary_old: Some(Bytes(0)),
            disk_logs: Some(Bytes::mib(1)),
            disk_cache: Some(Bytes::mib(1)),
            ..Usage::default()
        },
        exits: Vec::new(),
        unsettled_exits: 0,
        crash_loop: false,
        never_ready: false,
        outdated: false,
        port,
    }
}

pub(super) fn add_service(snapshot: &mut Snapshot, name: &str, replicas: u32, dependencies: &[&str]) {
    let own = service(name);
    let port = (name != "load").then_some(4000);
    let instances = (0..replicas).map(|ordinal| (own.instance(ordinal), slot(port))).collect();
    let volume = serde_json::from_str::<VolumeSpec>(r#"{"size": "100MiB"}"#).unwrap();
    let state = ServiceState {
        replicas,
        limits: Limits { cpu: Some(Cores(0.5)), memory: Some(Bytes::mib(64)) },
        volume: Some(volume),
        thresholds: Default::default(),
        dependencies: dependencies.iter().map(|name| service(name)).collect(),
        hands_off: false,
        protected: false,
        can_drain: true,
        can_clear_caches: false,
        rolling_out: false,
        release: domain::Release::default(),
        instances,
    };
    snapshot.services.insert(own.clone(), state);
    for to in dependencies.iter().map(|name| service(name)) {
        let behind = snapshot.services[&to].instances.keys();
        let backend = BackendState {
            recent: window(10.0),
            ejected: false,
            ejected_by_plan: false,
            path_check: Some(Duration::from_millis(2)),
            path_check_failures: 0,
            connection_floors_ms: Vec::new(),
        };
        let state = LinkState {
            recent: window(10.0),
            before: Window { seconds: 30, requests: 3000, ..window(10.0) },
            backends: behind.map(|name| (name.clone(), backend.clone())).collect(),
            old_connections: window(10.0),
            new_connections: window(10.0),
            breaker: BreakerState::Closed,
        };
        snapshot.links.insert(LinkName { from: own.clone(), to }, state);
    }
}

pub(super) fn shop() -> Snapshot {
    let mut snapshot = Snapshot {
        taken: now(),
        generation: 1,
        infrastructure: None,
        environment: Environment::Dev,
        services: Default::default(),
        links: Default::default(),
        fleet_age: Duration::from_secs(600),
        traces: domain::Traces::default(),
        alerts: domain::Alerts::default(),
        objectives: domain::Objectives::default(),
        deployments: Vec::new(),
    };
    add_service(&mut snapshot, "database", 1, &[]);
    add_service(&mut snapshot, "cart", 2, &["database"]);
    add_service(&mut snapshot, "front", 2, &["cart"]);
    add_service(&mut snapshot, "load", 1, &["front"]);
    snapshot
}

pub(super) fn slot_mut<'a>(snapshot: &'a mut Snapshot, name: &str) -> &'a mut InstanceState {
    let name = instance(name);
    snapshot.services.get_mut(&name.service).unwrap().instances.get_mut(&name).unwrap()
}

pub(super) fn hangs(snapshot: &mut Snapshot, name: &str) {
    let state = slot_mut(snapshot, name);
    state.phase = Phase::NotReady;
    state.liveness.as_mut().unwrap().failures_in_a_row = 5;
}

/// Makes the path to one instance behind a link slow.
pub(super) fn slow_backend(snapshot: &mut Snapshot, on: &str, to: &str) {
    let state = snapshot.links.get_mut(&link(on)).unwrap();
    state.recent.p95_ms = Some(450.0);
    let backend = state.backends.get_mut(&instance(to)).unwrap();
    (backend.recent.p50_ms, backend.recent.p95_ms) = (Some(420.0), Some(450.0));
    backend.path_check = Some(Duration::from_millis(400));
}

pub(super) fn issue(kind: IssueKind, reason: Reason, on: &str) -> Issue {
    Issue {
        id: IdSource::seeded(99).next(now()),
        kind,
        reason,
        resource: resource(on),
        severity: Severity::High,
        description: String::new(),
        detected_at: now(),
        last_seen: now(),
        closed_at: None,
        metrics: Default::default(),
        recurrences: 0,
    }
}

pub(super) fn cause(class: CauseClass, on: &str) -> Cause {
    Cause {
        resource: resource(on),
        class,
        confidence: Percent(95.0),
        pattern: "test".to_owned(),
        evidence: Vec::new(),
    }
}

/// A remediation by these actions, well made.
pub(super) fn remediation(id: PlanId, strategy: Strategy, actions: Vec<Action>) -> Plan {
    let issue = issue(IssueKind::PodCrash, Reason::Unresponsive, &actions[0].resource().to_string());
    let mut blast_radius: Vec<_> = actions.iter().flat_map(touched).collect();
    blast_radius.dedup();
    Plan {
        id,
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy,
            cause: cause(CauseClass::ProcessHangs, &issue.resource.to_string()),
        },
        requested_by: Actor::Healing,
        summary: "repair".to_owned(),
        expected_effect: "well".to_owned(),
        verify: Some(Signal {
            kind: issue.kind,
            resource: issue.resource,
            deadline: Duration::from_secs(60),
            hold: Duration::from_secs(60),
        }),
        steps: actions.into_iter().map(step).collect(),
        blast_radius,
        lift_after: None,
        created_at: now(),
    }
}

pub(super) fn restart(id: PlanId, name: &str) -> Plan {
    let action = Action::RestartInstance { instance: instance(name), manner: StopManner::Kill };
    remediation(id, Strategy::RestartPod, vec![action])
}
