//! Snapshots for tests: a healthy demo fleet, and the traces each kind of fault leaves in what is seen.
//!
//! ```text
//! load -> front -> catalogue -> database
//!               -> cart      -> database
//!               -> orders    -> database
//!                            -> payments
//! ```
//!
//! In: which instance, link or volume is in trouble. Out: a [`Snapshot`]. The methods write what a provider
//! would measure, never what is being injected; a fault's symptoms on the links of the callers are written
//! too.
//!
//! Names are given as text (`"cart-0"`, `"front->cart"`); a malformed or unknown one panics, as tests want.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::infrastructure::{Limits, ThresholdOverrides, VolumeSpec};
use domain::snapshot::{BackendState, BreakerState, ExitCause, ExitRecord, Phase, ProbeState, Usage};
use domain::{
    BadEvents, Burn, Bytes, Cores, Environment, FileClass, Incarnation, InstanceName, InstanceState,
    LinkName, LinkState, ObjectiveState, ResourceId, ServiceName, ServiceState, SloAlert, SloSeverity,
    SloStatus, Snapshot, Time, Window,
};

/// The services: name, instances, callees, requests a second into it on each link.
const SERVICES: [(&str, u32, &[&str], u64); 7] = [
    ("load", 1, &["front"], 0),
    ("front", 2, &["catalogue", "cart", "orders"], 50),
    ("catalogue", 2, &["database"], 40),
    ("cart", 2, &["database"], 30),
    ("orders", 2, &["database", "payments"], 10),
    ("payments", 2, &[], 10),
    ("database", 1, &[], 40),
];

/// Which part of a link is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Every instance behind it.
    All,
    /// The path to one instance.
    Backend(&'a str),
    /// Connections that were open before.
    OldConnections,
}

/// A fleet that can be disturbed.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    /// What is seen of it now.
    pub snapshot: Snapshot,
}

impl Default for Fleet {
    fn default() -> Self {
        Self::healthy()
    }
}

impl Fleet {
    /// Ten minutes old, ready, under usual load.
    pub fn healthy() -> Self {
        let taken = Time { boot_us: 3_600_000_000, wall_us: 1_800_000_000_000_000 };
        let started = taken.minus(Duration::from_secs(600));
        let mut snapshot = Snapshot {
            taken,
            generation: 1,
            infrastructure: None,
            environment: Environment::Dev,
            services: BTreeMap::new(),
            links: BTreeMap::new(),
            fleet_age: Duration::from_secs(600),
            traces: domain::Traces::default(),
            alerts: domain::Alerts::default(),
            objectives: domain::Objectives::default(),
            deployments: Vec::new(),
        };
        for (index, (name, replicas, callees, _)) in SERVICES.into_iter().enumerate() {
            let name = service(name);
            let listens = name.as_str() != "load";
            let instances = (0..replicas).map(|ordinal| {
                (name.instance(ordinal), instance_state(taken, started, index as u32 * 10 + ordinal, listens))
            });
            let state = ServiceState {
                replicas,
                limits: Limits { cpu: Some(Cores(0.5)), memory: Some(Bytes::mib(64)) },
                volume: listens.then(|| VolumeSpec {
                    size: Bytes::mib(16),
                    temporary: "tmp".into(),
                    logs: "logs".into(),
                    cache: "cache".into(),
                }),
                thresholds: ThresholdOverrides::default(),
                dependencies: callees.iter().map(|callee| service(callee)).collect(),
                hands_off: false,
                protected: false,
                can_drain: listens,
                can_clear_caches: listens,
                rolling_out: false,
                release: domain::Release::default(),
                instances: instances.collect(),
            };
            snapshot.services.insert(name, state);
        }
        for (from, _, callees, _) in SERVICES {
            for to in callees {
                let (_, replicas, _, rate) =
                    SERVICES.iter().find(|row| row.0 == *to).expect("a callee is a row");
                let link = link_state(&service(to), *replicas, *rate);
                snapshot.links.insert(LinkName { from: service(from), to: service(to) }, link);
            }
        }
        Self { snapshot }
    }

    /// Time goes on: everything that lives is `by` older, its probes pass again, its requests go on.
    pub fn after(&mut self, by: Duration) -> &mut Self {
        self.snapshot.taken = self.snapshot.taken.plus(by);
        self.snapshot.generation += 1;
        self.snapshot.fleet_age += by;
        let taken = self.snapshot.taken;
        for state in self.snapshot.services.values_mut().flat_map(|service| service.instances.values_mut()) {
            for probe in [&mut state.readiness, &mut state.liveness].into_iter().flatten() {
                if probe.failures_in_a_row == 0 {
                    probe.last_passed = Some(taken.minus(Duration::from_millis(200)));
                }
            }
        }
        self
    }

    /// One instance, to be changed by hand.
    pub fn instance_mut(&mut self, name: &str) -> &mut InstanceState {
        let name: InstanceName = name.parse().expect("a valid instance name");
        let service = self.snapshot.services.get_mut(&name.service).expect("a known service");
        service.instances.get_mut(&name).expect("a known instance")
    }

    /// One link, to be changed by hand.
    pub fn link_mut(&mut self, name: &str) -> &mut LinkState {
        let name: LinkName = name.parse().expect("a valid link name");
        self.snapshot.links.get_mut(&name).expect("a known link")
    }

    /// A page fires for an objective of 99.9 % at a resource, whose budget burns this many times too fast, and lately so.
    pub fn burning(&mut self, resource: &str, rate: f64, lately: f64) -> &mut Self {
        let resource: ResourceId = resource.parse().unwrap();
        let service = resource.service().unwrap().to_string();
        let burn = |window_minutes| Burn { window_minutes, rate, threshold: 14.4 };
        let alert = SloAlert {
            objective: format!("{service}-answers"),
            service: service.clone(),
            name: "Burns".to_owned(),
            severity: SloSeverity::Page,
            started_at: self.snapshot.taken,
            ended_at: None,
            burns: vec![burn(5), burn(60)],
            budget_remaining: 0.5,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            targets: Vec::new(),
        };
        let state = ObjectiveState {
            service,
            resource: Some(resource),
            specific: true,
            bad: BadEvents::Failed,
            status: Some(SloStatus::Critical),
            budget: 0.001,
            budget_remaining: 0.5,
            lately: Some(lately),
            alert: Some(alert),
        };
        self.snapshot.objectives = BTreeMap::from([("answers".to_owned(), state)]).into();
        self
    }

    /// The process ended `ago` and its successor is starting.
    pub fn exited(&mut self, name: &str, cause: ExitCause, ago: Duration) -> &mut Self {
        let at = self.snapshot.taken.minus(ago);
        let state = self.instance_mut(name);
        let successor_at = at.plus(Duration::from_millis(4));
        state.exits.push(ExitRecord { at, cause, requested: false, successor_at: Some(successor_at) });
        state.phase = Phase::Starting;
        state.phase_since = successor_at;
        state.started_at = Some(successor_at);
        state.readiness = None;
        state.liveness = None;
        state.usage = Usage { cpu: None, ..state.usage };
        self
    }

    /// The successor has been ready for `ready_for`.
    pub fn recovered(&mut self, name: &str, ready_for: Duration) -> &mut Self {
        let taken = self.snapshot.taken;
        let state = self.instance_mut(name);
        state.phase = Phase::Ready;
        state.phase_since = taken.minus(ready_for);
        state.readiness = Some(passing(taken));
        state.liveness = Some(passing(taken));
        self
    }

    /// It ended `times` in a row before it settled and waits for its next start.
    pub fn crash_looping(&mut self, name: &str, times: u32) -> &mut Self {
        for nth in (0..times).rev() {
            self.exited(name, ExitCause::Status(1), Duration::from_secs(1 + u64::from(nth)));
        }
        let state = self.instance_mut(name);
        state.phase = Phase::BackingOff;
        state.incarnation = None;
        state.unsettled_exits = times;
        state.crash_loop = true;
        self
    }

    /// The process is stopped for `since`: its probes and the checks of every path to it fail, requests to
    /// it are given up, and so on up to the users.
    pub fn paused(&mut self, name: &str, since: Duration) -> &mut Self {
        let failures = u32::try_from(since.as_millis() / 500).unwrap_or(u32::MAX);
        let taken = self.snapshot.taken;
        let last = taken.minus(since);
        let state = self.instance_mut(name);
        for probe in [&mut state.readiness, &mut state.liveness].into_iter().flatten() {
            probe.failures_in_a_row = failures;
            probe.last_passed = Some(last);
        }
        if failures >= 3 {
            state.phase = Phase::NotReady;
            state.phase_since = taken;
        }
        self.each_path_to(name, |backend| {
            slow(&mut backend.recent, 2000.0);
            fail(&mut backend.recent, 1.0, Failure::Unanswered);
            backend.path_check = None;
            backend.path_check_failures = failures;
        });
        self
    }

    /// The processes of an instance use this share of its CPU limit; it answers later for it.
    pub fn cpu(&mut self, name: &str, share: f64, latency_ms: f64) -> &mut Self {
        let state = self.instance_mut(name);
        state.usage.cpu = Some(Cores(0.5 * share / 100.0));
        for probe in [&mut state.readiness, &mut state.liveness].into_iter().flatten() {
            probe.last_took = Some(Duration::from_secs_f64(latency_ms / 1e3));
        }
        self.each_path_to(name, |backend| {
            slow(&mut backend.recent, latency_ms);
            backend.path_check = Some(Duration::from_secs_f64(latency_ms / 1e3));
        });
        self
    }

    /// The processes of an instance use this share of its memory limit.
    pub fn memory(&mut self, name: &str, share: f64) -> &mut Self {
        let limit = Bytes::mib(64).0 as f64;
        self.instance_mut(name).usage.memory = Some(Bytes((limit * share / 100.0) as u64));
        self
    }

    /// The volume is this full, most of it by one class of files. Writes fail once it is full.
    pub fn disk(&mut self, name: &str, share: f64, class: FileClass) -> &mut Self {
        let usage = &mut self.instance_mut(name).usage;
        let size = usage.disk_size.expect("the instance has a volume").0 as f64;
        let filled = Bytes((size * (share / 100.0 - 0.2)).max(0.0) as u64);
        usage.disk_used = Some(Bytes((size * share / 100.0) as u64));
        match class {
            FileClass::Temporary => usage.disk_temporary_old = Some(filled),
            FileClass::Logs => usage.disk_logs = Some(filled),
            FileClass::Cache => usage.disk_cache = Some(filled),
            FileClass::Data => {}
        }
        if share >= 99.0 {
            self.each_path_to(name, |backend| fail(&mut backend.recent, 0.4, Failure::Answered));
        }
        self
    }

    /// Answers through part of a link come `ms` later, felt by every caller above it.
    pub fn slow_path(&mut self, name: &str, part: Part<'_>, ms: f64) -> &mut Self {
        let link = self.link_mut(name);
        for (instance, backend) in &mut link.backends {
            if part == Part::All || part == Part::Backend(&instance.to_string()) {
                backend.path_check = backend.path_check.map(|took| took + Duration::from_secs_f64(ms / 1e3));
                slow(&mut backend.recent, ms);
            }
            if part == Part::OldConnections {
                slow(&mut backend.recent, ms);
            }
        }
        if part == Part::OldConnections {
            slow(&mut link.old_connections, ms);
        }
        self.settle(name);
        self
    }

    /// Nothing passes part of a link, felt by every caller above it.
    pub fn broken_path(&mut self, name: &str, part: Part<'_>) -> &mut Self {
        let link = self.link_mut(name);
        for (instance, backend) in &mut link.backends {
            if part == Part::All || part == Part::Backend(&instance.to_string()) {
                backend.path_check = None;
                backend.path_check_failures = 4;
                fail(&mut backend.recent, 1.0, Failure::Unanswered);
            }
        }
        self.settle(name);
        self
    }

    /// Most requests through part of a link are answered with 429, felt by every caller above it.
    pub fn throttled_path(&mut self, name: &str, part: Part<'_>) -> &mut Self {
        let link = self.link_mut(name);
        for (instance, backend) in &mut link.backends {
            if part == Part::All || part == Part::Backend(&instance.to_string()) {
                fail(&mut backend.recent, 0.6, Failure::Throttled);
            }
        }
        self.settle(name);
        self
    }

    /// Changes every path to an instance and carries what its callers feel upwards.
    fn each_path_to(&mut self, name: &str, change: impl Fn(&mut BackendState)) {
        let instance: InstanceName = name.parse().expect("a valid instance name");
        let links: Vec<LinkName> =
            self.snapshot.links_to(&instance.service).map(|(link, _)| link.clone()).collect();
        for link in links {
            let state = self.snapshot.links.get_mut(&link).expect("the name was just listed");
            if let Some(backend) = state.backends.get_mut(&instance) {
                change(backend);
            }
            self.settle(&link.to_string());
        }
    }

    /// Sums a link up from its instances, and lets its callers' links feel it: each request above makes this
    /// call once, so the latency adds up and the failure is passed on.
    fn settle(&mut self, name: &str) {
        let link = self.link_mut(name);
        let windows: Vec<Window> = link.backends.values().map(|backend| backend.recent).collect();
        link.recent = sum(&windows);
        let medians = link.old_connections.p50_ms.zip(link.new_connections.p50_ms);
        let stale = medians.is_some_and(|(old, new)| old > new * 5.0);
        if !stale {
            let new = Window { requests: 0, p50_ms: None, p95_ms: None, ..link.recent };
            (link.old_connections, link.new_connections) =
                (link.recent, Window { errors: 0, throttled: 0, unanswered: 0, ..new });
        } else {
            link.old_connections = Window { requests: link.recent.requests, ..link.old_connections };
        }
        let felt = link.recent;
        let name: LinkName = name.parse().expect("a valid link name");
        let above: Vec<LinkName> = self.snapshot.links_to(&name.from).map(|(link, _)| link.clone()).collect();
        for caller in above {
            let state = self.snapshot.links.get_mut(&caller).expect("the name was just listed");
            for backend in state.backends.values_mut() {
                let window = &mut backend.recent;
                if let (Some(p50), Some(p95)) = (felt.p50_ms, felt.p95_ms) {
                    window.p50_ms = window.p50_ms.map(|own| own.max(p50 + 2.0));
                    window.p95_ms = window.p95_ms.map(|own| own.max(p95 + 4.0));
                }
                fail(window, felt.error_ratio().unwrap_or(0.0), Failure::Answered);
            }
            self.settle(&caller.to_string());
        }
    }
}

/// How requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Answered,
    Unanswered,
    Throttled,
}

fn service(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a valid service name")
}

fn passing(now: Time) -> ProbeState {
    ProbeState {
        failures_in_a_row: 0,
        failures_limit: 3,
        last_passed: Some(now.minus(Duration::from_millis(200))),
        last_took: Some(Duration::from_millis(2)),
    }
}

fn instance_state(taken: Time, started: Time, index: u32, listens: bool) -> InstanceState {
    InstanceState {
        incarnation: Some(Incarnation { boot_id: "fixture".into(), pid: 1000 + index, start_ticks: 300_000 }),
        phase: Phase::Ready,
        phase_since: started.plus(Duration::from_millis(80)),
        started_at: Some(started),
        readiness: listens.then(|| passing(taken)),
        liveness: listens.then(|| passing(taken)),
        usage: Usage {
            cpu: Some(Cores(0.05)),
            memory: Some(Bytes::mib(16)),
            descriptors: Some(24),
            disk_size: listens.then(|| Bytes::mib(16)),
            disk_used: listens.then(|| Bytes::mib(3)),
            disk_temporary_old: listens.then_some(Bytes(0)),
            disk_logs: listens.then(|| Bytes::mib(1)),
            disk_cache: listens.then(|| Bytes::mib(1)),
            ..Usage::default()
        },
        exits: Vec::new(),
        unsettled_exits: 0,
        crash_loop: false,
        never_ready: false,
        outdated: false,
        port: listens.then(|| 20_000 + index as u16),
    }
}

fn window(seconds: u32, requests: u64) -> Window {
    Window { seconds, requests, p50_ms: Some(4.0), p95_ms: Some(12.0), ..Window::default() }
}

fn link_state(to: &ServiceName, replicas: u32, rate: u64) -> LinkState {
    let share = rate * 3 / u64::from(replicas);
    let backend = BackendState {
        recent: window(3, share),
        ejected: false,
        ejected_by_plan: false,
        path_check: Some(Duration::from_millis(3)),
        path_check_failures: 0,
        connection_floors_ms: Vec::new(),
    };
    LinkState {
        recent: window(3, share * u64::from(replicas)),
        before: window(30, rate * 30),
        backends: (0..replicas).map(|ordinal| (to.instance(ordinal), backend.clone())).collect(),
        old_connections: window(3, rate * 3 - rate / 5),
        new_connections: window(3, rate / 5),
        breaker: BreakerState::Closed,
    }
}

fn slow(window: &mut Window, ms: f64) {
    window.p50_ms = window.p50_ms.map(|p50| p50 + ms);
    window.p95_ms = window.p95_ms.map(|p95| p95 + ms);
}

fn fail(window: &mut Window, share: f64, how: Failure) {
    let errors = (window.requests as f64 * share).round() as u64;
    if errors <= window.errors {
        return;
    }
    window.errors = errors;
    match how {
        Failure::Answered => {}
        Failure::Unanswered => window.unanswered = errors,
        Failure::Throttled => window.throttled = errors,
    }
}

/// One window over several instances: counts add up; the median is that of the instance at the middle of
/// the requests, the p95 that of the slowest one with at least a twentieth of them.
fn sum(windows: &[Window]) -> Window {
    let mut sorted: Vec<Window> = windows.iter().filter(|window| window.requests > 0).copied().collect();
    sorted.sort_by(|a, b| a.p50_ms.unwrap_or(0.0).total_cmp(&b.p50_ms.unwrap_or(0.0)));
    let requests: u64 = sorted.iter().map(|window| window.requests).sum();
    let mut seen = 0;
    let middle = sorted.iter().find(|window| {
        seen += window.requests;
        seen * 2 >= requests
    });
    let p95 =
        sorted.iter().filter(|window| window.requests * 20 >= requests).filter_map(|window| window.p95_ms);
    Window {
        seconds: 3,
        requests,
        errors: sorted.iter().map(|window| window.errors).sum(),
        throttled: sorted.iter().map(|window| window.throttled).sum(),
        unanswered: sorted.iter().map(|window| window.unanswered).sum(),
        rejected: 0,
        p50_ms: middle.and_then(|window| window.p50_ms),
        p95_ms: p95.fold(None, |most: Option<f64>, p95| Some(most.map_or(p95, |most| most.max(p95)))),
    }
}
