//! The built-in shop in the middle of a bad morning: a hang being repaired, a slow path, a full disk that
//! waits for approval, two faults of our own, and some history.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::infrastructure::{Environment, Limits, ThresholdOverrides, VolumeSpec};
use domain::snapshot::{
    BackendState, BreakerState, InstanceState, LinkState, Phase, ServiceState, Usage, Window,
};
use domain::{
    Action, Actor, Bytes, Captured, Cause, CauseClass, Cores, EvidenceItem, ExperimentId, Fault, FaultKind,
    FileClass, Incarnation, InstanceName, Intent, Issue, IssueId, IssueKind, LinkName, Outcome, OutcomeKind,
    PathScope, Percent, Plan, PlanId, PlanStatus, Reason, ResourceId, ServiceName, Severity, Signal,
    Snapshot, Step, StepToken, Strategy, Time, Undo,
};
use gateway::RunningFault;
use store::{Ending, ExperimentRecord, ExperimentStatus, HealthRecord, SlotLimits};

use super::{Fleet, restart_plan};

const SERVICES: [(&str, u32, &[&str]); 7] = [
    ("front", 2, &["catalogue", "cart", "orders"]),
    ("catalogue", 2, &["database"]),
    ("cart", 2, &["database"]),
    ("orders", 2, &["database", "payments"]),
    ("payments", 2, &[]),
    ("database", 1, &[]),
    ("load", 1, &["front"]),
];

fn name(text: &str) -> ServiceName {
    ServiceName::new(text).unwrap()
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// All is well: the shop serves, health is full, nothing happened.
pub(crate) fn calm(fleet: &Fleet) {
    let now = fleet.clock.now();
    *fleet.snapshot.lock().unwrap() = Some(Arc::new(snapshot(now)));
    *fleet.health.lock().unwrap() = Some(health(now, [100, 100, 100, 100, 100]));
}

fn health(at: Time, [overall, compute, network, storage, database]: [u8; 5]) -> HealthRecord {
    HealthRecord {
        overall: Some(overall),
        compute: Some(compute),
        network: Some(network),
        storage: Some(storage),
        database: Some(database),
        security: None,
        coverage: 0.85,
        issues_detected: 3,
        auto_remediated: 2,
        at,
    }
}

/// Everything at once; see the module.
pub(crate) fn busy(fleet: &Fleet) {
    let now = fleet.clock.now();
    let mut seen = snapshot(now);
    disturb(&mut seen);
    *fleet.snapshot.lock().unwrap() = Some(Arc::new(seen));
    let scores = health(now, [84, 78, 88, 85, 94]);
    *fleet.health.lock().unwrap() = Some(scores);
    for step in 0..288_u64 {
        let at = now.minus(seconds((288 - step) * 300));
        let dip = [0, 0, 0, 18, 9, 0, 0, 0, 4, 0, 31, 12][(step as usize / 7) % 12];
        fleet.store.add_health(&health(at, [100 - dip, 100, 100, 100, 100])).unwrap();
    }
    fleet.store.add_health(&scores).unwrap();
    past(fleet, now);
    hang(fleet, now);
    slow_path(fleet, now);
    full_disk(fleet, now);
}

pub(crate) fn snapshot(taken: Time) -> Snapshot {
    let mut services = BTreeMap::new();
    let mut links = BTreeMap::new();
    for (service, replicas, dependencies) in SERVICES {
        let service = name(service);
        for (n, callee) in dependencies.iter().enumerate() {
            let link = LinkName { from: service.clone(), to: name(callee) };
            links.insert(link, link_state(callee, 40 + 13 * n as u64));
        }
        services.insert(service.clone(), service_state(&service, replicas, dependencies, taken));
    }
    Snapshot {
        taken,
        generation: 1,
        environment: Environment::Dev,
        services,
        links,
        fleet_age: seconds(7200),
    }
}

fn service_state(service: &ServiceName, replicas: u32, dependencies: &[&str], taken: Time) -> ServiceState {
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
        can_drain: true,
        can_clear_caches: true,
        rolling_out: false,
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
        port: Some(41_000 + spread as u16),
    }
}

fn link_state(callee: &str, requests: u64) -> LinkState {
    let replicas = SERVICES.iter().find(|(name, ..)| *name == callee).unwrap().1;
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

fn window(requests: u64, errors: u64, p50_ms: f64, p95_ms: f64) -> Window {
    Window { seconds: 3, requests, errors, p50_ms: Some(p50_ms), p95_ms: Some(p95_ms), ..Window::default() }
}

fn disturb(snapshot: &mut Snapshot) {
    let cart = snapshot.services.get_mut(&name("cart")).unwrap();
    cart.instances.get_mut(&name("cart").instance(1)).unwrap().phase = Phase::NotReady;
    let catalogue = snapshot.services.get_mut(&name("catalogue")).unwrap();
    catalogue.instances.get_mut(&name("catalogue").instance(0)).unwrap().usage.disk_used =
        Some(Bytes::mib(62));
    let slow: LinkName = "front->catalogue".parse().unwrap();
    let link = snapshot.links.get_mut(&slow).unwrap();
    link.recent = window(38, 0, 6.0, 412.0);
    let failing: LinkName = "orders->payments".parse().unwrap();
    let link = snapshot.links.get_mut(&failing).unwrap();
    link.recent = window(44, 3, 4.0, 31.0);
    link.recent.rejected = 12;
    link.breaker = BreakerState::HalfOpen;
    link.backends.get_mut(&name("payments").instance(0)).unwrap().ejected = true;
}

fn issue(fleet: &Fleet, at: Time, kind: IssueKind, reason: Reason, resource: &str, text: &str) -> Issue {
    Issue {
        id: fleet.id::<IssueId>(at),
        kind,
        reason,
        resource: resource.parse().unwrap(),
        severity: Severity::High,
        description: text.to_owned(),
        detected_at: at,
        last_seen: fleet.clock.now(),
        closed_at: None,
        metrics: BTreeMap::new(),
        recurrences: 0,
    }
}

/// A hang that is being repaired: the plan runs, its first step is in the journal.
fn hang(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(14));
    let mut hang = issue(
        fleet,
        at,
        IssueKind::PodCrash,
        Reason::Unresponsive,
        "instance/cart-1",
        "cart-1 runs but does not answer: 3 probes failed in a row, limit 3",
    );
    hang.severity = Severity::Critical;
    hang.metrics = BTreeMap::from([("failed_probes".to_owned(), 3.0), ("threshold".to_owned(), 3.0)]);
    fleet.store.save_issue(&hang).unwrap();
    let begin = at.plus(Duration::from_millis(400));
    let plan = restart_plan(fleet.id(begin), &hang, begin);
    fleet
        .store
        .add_plan(&plan, PlanStatus::Pending, &["diagnosis confidence 96.0 % is above 85 %".to_owned()])
        .unwrap();
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
    let token = plan.tokens().next().unwrap();
    let captured = Captured::Process { instance: name("cart").instance(1), incarnation: None };
    fleet
        .store
        .append_intent(token, &plan.steps[0], &captured, begin.plus(Duration::from_millis(20)))
        .unwrap();
    fault(fleet, now.minus(seconds(16)), 60, "instance/cart-1", FaultKind::Pause, "pause cart-1 for 60 s");
}

/// A slow path, found and being watched after the repair.
fn slow_path(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(95));
    let mut slow = issue(
        fleet,
        at,
        IssueKind::NetworkLatency,
        Reason::OneBackend,
        "link/front->catalogue",
        "front waits 412 ms for catalogue (p95), limit 200 ms; only the path to catalogue-1 is slow",
    );
    slow.severity = Severity::Medium;
    slow.metrics = BTreeMap::from([("p95_ms".to_owned(), 412.0), ("threshold".to_owned(), 200.0)]);
    fleet.store.save_issue(&slow).unwrap();
    let begin = at.plus(Duration::from_millis(900));
    let plan = reroute(fleet.id(begin), &slow, begin);
    fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
    let token = plan.tokens().next().unwrap();
    fleet.store.append_intent(token, &plan.steps[0], &Captured::Nothing, begin).unwrap();
    fleet.store.append_ending(token, &Ending::Done, begin.plus(Duration::from_millis(130))).unwrap();
    let verifying = begin.plus(Duration::from_millis(140));
    fleet
        .store
        .set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Verifying, verifying, None)
        .unwrap();
    let kind = FaultKind::NetworkLatency {
        delay: Duration::from_millis(400),
        jitter: Duration::from_millis(40),
        scope: PathScope::Backend(name("catalogue").instance(1)),
    };
    fault(
        fleet,
        now.minus(seconds(100)),
        180,
        "link/front->catalogue",
        kind,
        "slow the path from front to catalogue-1 by 400 ms",
    );
}

fn reroute(id: PlanId, issue: &Issue, at: Time) -> Plan {
    let link: LinkName = "front->catalogue".parse().unwrap();
    let instance = name("catalogue").instance(1);
    Plan {
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy: Strategy::RerouteTraffic,
            cause: Cause {
                resource: ResourceId::Link(link.clone()),
                class: CauseClass::PathSlow,
                confidence: Percent(91.0),
                pattern: "one path slow, instance well".to_owned(),
                evidence: vec![
                    EvidenceItem {
                        resource: ResourceId::Link(link.clone()),
                        text: "the check through this path takes 398 ms, others 1 ms".to_owned(),
                    },
                    EvidenceItem {
                        resource: ResourceId::Instance(instance.clone()),
                        text: "answers its own probe in 2 ms".to_owned(),
                    },
                ],
            },
        },
        summary: "take catalogue-1 out of the balancing of front, whose path to it is slow".to_owned(),
        expected_effect:
            "p95 of front → catalogue falls below 200 ms within 5 s; catalogue-0 takes all requests"
                .to_owned(),
        steps: vec![Step {
            action: Action::EjectBackend { link, instance },
            undo: Undo::Exact,
            timeout: seconds(5),
        }],
        lift_after: Some(seconds(600)),
        ..restart_plan_base(id, issue, at)
    }
}

fn restart_plan_base(id: PlanId, issue: &Issue, at: Time) -> Plan {
    Plan {
        id,
        intent: Intent::Operation { why: String::new() },
        requested_by: Actor::Healing,
        summary: String::new(),
        expected_effect: String::new(),
        steps: Vec::new(),
        verify: Some(Signal {
            kind: issue.kind,
            resource: issue.resource.clone(),
            deadline: seconds(15),
            hold: seconds(10),
        }),
        blast_radius: vec![issue.resource.clone()],
        lift_after: None,
        created_at: at,
    }
}

/// A full disk whose repair removes files: waits for a person.
fn full_disk(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(260));
    let mut full = issue(
        fleet,
        at,
        IssueKind::DiskFull,
        Reason::Cache,
        "volume/catalogue-0",
        "the volume of catalogue-0 is 97 % full, limit 95 %; 48 MiB of it are cached files",
    );
    full.metrics = BTreeMap::from([("used_percent".to_owned(), 97.0), ("threshold".to_owned(), 95.0)]);
    fleet.store.save_issue(&full).unwrap();
    let instance = name("catalogue").instance(0);
    let plan = Plan {
        intent: Intent::Remediation {
            issue: full.id,
            kind: full.kind,
            reason: full.reason,
            severity: full.severity,
            strategy: Strategy::ClearCaches,
            cause: Cause {
                resource: full.resource.clone(),
                class: CauseClass::DiskExhausted,
                confidence: Percent(82.0),
                pattern: "cache is most of it".to_owned(),
                evidence: vec![EvidenceItem {
                    resource: full.resource.clone(),
                    text: "48 of 62 MiB are below cache/".to_owned(),
                }],
            },
        },
        summary: "remove cached files of catalogue-0 older than 1 h, because its volume is 97 % full"
            .to_owned(),
        expected_effect: "the volume of catalogue-0 falls to about 22 %".to_owned(),
        steps: vec![
            Step {
                action: Action::ClearCaches { instance: instance.clone() },
                undo: Undo::NothingToRestore,
                timeout: seconds(10),
            },
            Step {
                action: Action::RemoveFiles { instance, class: FileClass::Cache, older_than: seconds(3600) },
                undo: Undo::Irreversible,
                timeout: seconds(10),
            },
        ],
        ..restart_plan_base(fleet.id(at.plus(seconds(1))), &full, at.plus(seconds(1)))
    };
    let reasons = [
        "diagnosis confidence 82.0 % is below 85 %".to_owned(),
        "step 2 of 2 removes files, which cannot be taken back".to_owned(),
    ];
    fleet.store.add_plan(&plan, PlanStatus::AwaitingApproval, &reasons).unwrap();
}

/// Repairs that are over, each with its fault.
fn past(fleet: &Fleet, now: Time) {
    let runs = [
        (2_700, "instance/orders-0", OutcomeKind::Healed),
        (820, "instance/payments-1", OutcomeKind::Healed),
        (610, "instance/cart-0", OutcomeKind::NotHealed),
        (555, "instance/cart-0", OutcomeKind::Healed),
        (470, "instance/front-1", OutcomeKind::SelfRecovered),
    ];
    for (age, resource, kind) in runs {
        let at = now.minus(seconds(age));
        let instance = resource.split_once('/').unwrap().1;
        let text = format!("{instance} runs but does not answer: 3 probes failed in a row, limit 3");
        let mut over = issue(fleet, at, IssueKind::PodCrash, Reason::Unresponsive, resource, &text);
        over.closed_at = Some(at.plus(seconds(21)));
        over.metrics = BTreeMap::from([("failed_probes".to_owned(), 3.0), ("threshold".to_owned(), 3.0)]);
        fleet.store.save_issue(&over).unwrap();
        let begin = at.plus(Duration::from_millis(300));
        let plan = restart_plan(fleet.id(begin), &over, begin);
        fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
        fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
        let token = plan.tokens().next().unwrap();
        let instance: InstanceName = instance.parse().unwrap();
        let captured = Captured::Process { instance, incarnation: None };
        fleet.store.append_intent(token, &plan.steps[0], &captured, begin).unwrap();
        fleet.store.append_ending(token, &Ending::Done, begin.plus(seconds(1))).unwrap();
        let healed = kind != OutcomeKind::NotHealed;
        let end = at.plus(seconds(21));
        let status = if healed { PlanStatus::Success } else { PlanStatus::Failed };
        fleet
            .store
            .set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Verifying, begin, None)
            .unwrap();
        let error = (!healed).then_some("it hung again within the hold window");
        fleet.store.set_plan_status(plan.id, PlanStatus::Verifying, status, end, error).unwrap();
        let outcome = Outcome {
            plan: plan.id,
            kind,
            started_at: Some(begin),
            verified_at: healed.then(|| begin.plus(Duration::from_millis(2300))),
            decided_at: end,
            rolled_back: false,
            explanation: error.map(str::to_owned),
        };
        fleet.store.save_outcome(&outcome, end).unwrap();
        finished_fault(fleet, at.minus(seconds(2)), resource);
    }
}

fn finished_fault(fleet: &Fleet, at: Time, resource: &str) {
    let (plan, experiment) = experiment_plan(fleet, at, 30, resource, FaultKind::Pause, "pause for 30 s");
    fleet.store.start_plan(plan, &SlotLimits::NONE, at).unwrap();
    let end = at.plus(seconds(24));
    fleet.store.set_plan_status(plan, PlanStatus::InProgress, PlanStatus::Success, end, None).unwrap();
    let document = serde_json::json!({
        "name": format!("pause {resource}"), "type": "pause", "target": {"resource": resource},
        "duration_seconds": 30, "severity": "medium", "safety_level": "dev", "auto_rollback": true,
        "started_at": at.rfc3339(), "completed_at": end.rfc3339(), "recovery_time_seconds": 2.3,
        "passed": true, "verdict": "the shop served all along; the hang was found after 1.6 s and repaired 2.3 s later",
    });
    save_experiment(fleet, experiment, ExperimentStatus::Completed, &document, at);
}

fn fault(fleet: &Fleet, at: Time, length: u64, resource: &str, kind: FaultKind, summary: &str) {
    let (plan, experiment) = experiment_plan(fleet, at, length, resource, kind.clone(), summary);
    fleet.store.start_plan(plan, &SlotLimits::NONE, at).unwrap();
    let document = serde_json::json!({
        "name": summary, "type": kind.name(), "target": {"resource": resource},
        "duration_seconds": length, "severity": "medium", "safety_level": "dev", "started_at": at.rfc3339(),
    });
    save_experiment(fleet, experiment, ExperimentStatus::Running, &document, at);
    fleet.faults.lock().unwrap().push(RunningFault {
        token: StepToken { plan, index: 0 },
        fault: Fault { target: resource.parse().unwrap(), kind, duration: seconds(length) },
        since: at,
        until: at.plus(seconds(length)),
        experiment: Some(experiment),
    });
}

fn experiment_plan(
    fleet: &Fleet,
    at: Time,
    length: u64,
    resource: &str,
    kind: FaultKind,
    summary: &str,
) -> (PlanId, ExperimentId) {
    let (id, experiment): (PlanId, ExperimentId) = (fleet.id(at), fleet.id(at));
    let target: ResourceId = resource.parse().unwrap();
    let plan = Plan {
        id,
        intent: Intent::Experiment { experiment },
        requested_by: Actor::Chaos,
        summary: summary.to_owned(),
        expected_effect: "the shop goes on serving".to_owned(),
        steps: vec![Step {
            action: Action::Inject(Fault { target: target.clone(), kind, duration: seconds(length) }),
            undo: Undo::Exact,
            timeout: seconds(5),
        }],
        verify: None,
        blast_radius: vec![target],
        lift_after: None,
        created_at: at,
    };
    fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    (id, experiment)
}

fn save_experiment(
    fleet: &Fleet,
    id: ExperimentId,
    status: ExperimentStatus,
    document: &serde_json::Value,
    at: Time,
) {
    let record = ExperimentRecord { id, status, document: document.to_string(), created_at: at };
    fleet.store.save_experiment(&record).unwrap();
}
