//! What the loops would see of a shop: its services, instances and links, all well.

use std::collections::BTreeMap;

use domain::infrastructure::{Environment, Limits, ThresholdOverrides, VolumeSpec};
use domain::snapshot::{BackendState, BreakerState, InstanceState, LinkState, Phase, ServiceState, Usage};
use domain::{Bytes, Cores, Incarnation, LinkName, ServiceName, Snapshot, Time, Window};
use std::time::Duration;

use super::{name, seconds};

/// A service: its name, its replicas, whom it calls.
pub(super) type Declared = (String, u32, Vec<String>);

const SHOP: [(&str, u32, &[&str]); 7] = [
    ("front", 2, &["catalogue", "cart", "orders"]),
    ("catalogue", 2, &["database"]),
    ("cart", 2, &["database"]),
    ("orders", 2, &["database", "payments"]),
    ("payments", 2, &[]),
    ("database", 1, &[]),
    ("load", 1, &["front"]),
];

/// The built-in shop.
pub(crate) fn snapshot(taken: Time) -> Snapshot {
    let owned = |&(name, replicas, calls): &(&str, u32, &[&str])| {
        (name.to_owned(), replicas, calls.iter().map(|callee| (*callee).to_owned()).collect())
    };
    of(&SHOP.iter().map(owned).collect::<Vec<Declared>>(), taken)
}

/// Any services.
pub(super) fn of(declared: &[Declared], taken: Time) -> Snapshot {
    let mut services = BTreeMap::new();
    let mut links = BTreeMap::new();
    for (service, replicas, dependencies) in declared {
        let service = name(service);
        for (n, callee) in dependencies.iter().enumerate() {
            let link = LinkName { from: service.clone(), to: name(callee) };
            let replicas = declared.iter().find(|(name, ..)| name == callee).unwrap().1;
            links.insert(link, link_state(callee, replicas, 40 + 13 * n as u64));
        }
        services.insert(service.clone(), service_state(&service, *replicas, dependencies, taken));
    }
    Snapshot {
        taken,
        generation: 1,
        infrastructure: None,
        environment: Environment::Dev,
        services,
        links,
        fleet_age: seconds(7200),
        traces: domain::Traces::default(),
        alerts: domain::Alerts::default(),
        objectives: domain::Objectives::default(),
        deployments: Vec::new(),
    }
}

fn service_state(service: &ServiceName, replicas: u32, dependencies: &[String], taken: Time) -> ServiceState {
    let instances = (0..replicas).map(|n| (service.instance(n), instance(service, n, taken)));
    ServiceState {
        replicas,
        limits: Limits { cpu: Some(Cores(0.5)), memory: Some(Bytes::mib(128)) },
        volume: Some(VolumeSpec {
            size: Bytes::mib(64),
            temporary: "tmp".to_owned(),
            logs: "logs".to_owned(),
            cache: "cache".to_owned(),
        }),
        thresholds: ThresholdOverrides::default(),
        dependencies: dependencies.iter().map(|callee| name(callee)).collect(),
        hands_off: false,
        protected: false,
        can_drain: true,
        can_clear_caches: true,
        rolling_out: false,
        release: domain::Release::default(),
        instances: instances.collect(),
    }
}

fn instance(service: &ServiceName, n: u32, taken: Time) -> InstanceState {
    let spread = u64::from(n) + service.as_str().len() as u64;
    InstanceState {
        incarnation: Some(Incarnation {
            boot_id: "b".to_owned(),
            pid: 4000 + spread as u32 * 7,
            start_ticks: 1,
        }),
        phase: Phase::Ready,
        phase_since: taken.minus(seconds(5400)),
        started_at: Some(taken.minus(seconds(5401))),
        readiness: None,
        liveness: None,
        usage: Usage {
            cpu: Some(Cores(0.03 + spread as f64 * 0.011)),
            memory: Some(Bytes::mib(18 + spread * 2)),
            descriptors: Some(23),
            disk_size: Some(Bytes::mib(64)),
            disk_used: Some(Bytes::mib(6 + spread)),
            ..Usage::default()
        },
        exits: Vec::new(),
        unsettled_exits: 0,
        crash_loop: false,
        never_ready: false,
        outdated: false,
        port: Some(41_000 + spread as u16),
    }
}

fn link_state(callee: &str, replicas: u32, requests: u64) -> LinkState {
    let backend = BackendState {
        recent: Window::default(),
        ejected: false,
        ejected_by_plan: false,
        path_check: Some(Duration::from_millis(1)),
        path_check_failures: 0,
        connection_floors_ms: Vec::new(),
    };
    LinkState {
        recent: window(requests, 0, 3.1, 9.4),
        before: window(requests * 10, 0, 3.0, 9.0),
        backends: (0..replicas).map(|n| (name(callee).instance(n), backend.clone())).collect(),
        old_connections: Window::default(),
        new_connections: Window::default(),
        breaker: BreakerState::Closed,
    }
}

pub(super) fn window(requests: u64, errors: u64, p50_ms: f64, p95_ms: f64) -> Window {
    Window { seconds: 3, requests, errors, p50_ms: Some(p50_ms), p95_ms: Some(p95_ms), ..Window::default() }
}
