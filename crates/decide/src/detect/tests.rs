//! What a user would see: which fault is noticed where, by which reason, and that noise is not.

mod alerts;
mod budgets;
mod foretold;
mod paths;
mod traced;

use std::time::Duration;

use domain::snapshot::{ExitCause, ExitRecord, Phase};
use domain::{
    Bytes, Cores, FileClass, IssueKind, Percent, Reason, ResourceId, ServiceName, Severity, Window,
};
use proptest::prelude::*;

use super::severity::{Urgency, severity};
use super::*;
use crate::fixture::{Fleet, Part};

const RECENTLY: Duration = Duration::from_millis(300);

fn id(text: &str) -> ResourceId {
    text.parse().unwrap()
}

fn look(fleet: &Fleet, kind: IssueKind, resource: &str) -> Verdict {
    verdict(kind, &id(resource), &fleet.snapshot, &Thresholds::default())
}

/// `resource kind/reason`, sorted, of everything found.
fn found(fleet: &Fleet) -> Vec<String> {
    let mut lines: Vec<String> = detect(&fleet.snapshot, &Thresholds::default())
        .iter()
        .map(|finding| format!("{} {}/{}", finding.resource, finding.kind, finding.reason))
        .collect();
    lines.sort();
    lines
}

fn finding(fleet: &Fleet, kind: IssueKind, resource: &str) -> Finding {
    match look(fleet, kind, resource) {
        Verdict::Unhealthy(finding) => finding,
        other => panic!("{resource} {kind}: {other:?}"),
    }
}

#[test]
fn a_healthy_fleet_has_no_findings_and_is_known_to_be_well() {
    let fleet = Fleet::healthy();
    assert_eq!(found(&fleet), Vec::<String>::new());
    for (kind, resource) in [
        (IssueKind::PodCrash, "instance/cart-0"),
        (IssueKind::HighCpu, "instance/cart-0"),
        (IssueKind::HighMemory, "instance/cart-0"),
        (IssueKind::DiskFull, "volume/cart-0"),
        (IssueKind::NetworkLatency, "link/front->cart"),
        (IssueKind::ErrorRate, "link/front->cart"),
    ] {
        assert_eq!(look(&fleet, kind, resource), Verdict::Healthy, "{kind} {resource}");
    }
}

/// One row of the fault matrix: its name, the disturbance, what has to be found.
type Row = (&'static str, fn(&mut Fleet) -> &mut Fleet, &'static str);

#[test]
fn every_row_of_the_fault_matrix_is_found_where_it_is_with_its_reason() {
    let rows: [Row; 16] = [
        ("kill", |f| f.exited("cart-0", ExitCause::Signal(9), RECENTLY), "instance/cart-0 pod_crash/exit"),
        (
            "oom",
            |f| f.exited("cart-0", ExitCause::OutOfMemory, RECENTLY),
            "instance/cart-0 pod_crash/out_of_memory",
        ),
        ("loop", |f| f.crash_looping("cart-0", 4), "instance/cart-0 pod_crash/crash_loop"),
        ("pause", |f| f.paused("cart-0", Duration::from_secs(2)), "instance/cart-0 pod_crash/unresponsive"),
        ("cpu", |f| f.cpu("cart-0", 97.0, 30.0), "instance/cart-0 high_cpu/unexplained"),
        ("memory", |f| f.memory("cart-0", 95.0), "instance/cart-0 high_memory/unspecified"),
        (
            "temporary",
            |f| f.disk("cart-0", 97.0, FileClass::Temporary),
            "volume/cart-0 disk_full/temporary_files",
        ),
        ("logs", |f| f.disk("cart-0", 97.0, FileClass::Logs), "volume/cart-0 disk_full/logs"),
        ("cache", |f| f.disk("cart-0", 97.0, FileClass::Cache), "volume/cart-0 disk_full/cache"),
        ("data", |f| f.disk("cart-0", 97.0, FileClass::Data), "volume/cart-0 disk_full/data"),
        (
            "slow one",
            |f| f.slow_path("front->cart", Part::Backend("cart-1"), 400.0),
            "link/front->cart network_latency/one_backend",
        ),
        (
            "slow old",
            |f| f.slow_path("front->cart", Part::OldConnections, 400.0),
            "link/front->cart network_latency/stale_connections",
        ),
        (
            "slow all",
            |f| f.slow_path("front->cart", Part::All, 400.0),
            "link/front->cart network_latency/all_backends",
        ),
        (
            "cut one",
            |f| f.broken_path("front->cart", Part::Backend("cart-1")),
            "link/front->cart error_rate/one_backend",
        ),
        ("cut all", |f| f.broken_path("front->cart", Part::All), "link/front->cart error_rate/all_backends"),
        (
            "throttled",
            |f| f.throttled_path("front->cart", Part::Backend("cart-1")),
            "link/front->cart error_rate/one_backend",
        ),
    ];
    for (name, disturb, expected) in rows {
        let mut fleet = Fleet::healthy();
        disturb(&mut fleet);
        let lines = found(&fleet);
        assert!(lines.iter().any(|line| line == expected), "{name}: {expected} is not among {lines:#?}");
    }
}

#[test]
fn a_finding_says_in_one_sentence_what_was_measured_and_by_which_limit() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 400.0);
    assert_eq!(
        finding(&fleet, IssueKind::NetworkLatency, "link/front->cart").description,
        "95 % of requests on front->cart take up to 412 ms, 12 ms before (limit 200 ms); only cart-1 is slow"
    );
    fleet.disk("orders-0", 97.0, FileClass::Logs);
    assert_eq!(
        finding(&fleet, IssueKind::DiskFull, "volume/orders-0").description,
        "the volume of orders-0 is 97.0 % full, 15.5 MiB of 16 MiB (limit 95 %); log files hold 12.3 MiB"
    );
    fleet.throttled_path("front->catalogue", Part::All);
    assert_eq!(
        finding(&fleet, IssueKind::ErrorRate, "link/front->catalogue").description,
        "60.0 % of requests on front->catalogue fail, 72 of 120, most turned away because of their rate (429) \
         (limit 1.0 %); every instance behind it fails"
    );
    fleet.paused("payments-0", Duration::from_secs(2));
    assert_eq!(
        finding(&fleet, IssueKind::PodCrash, "instance/payments-0").description,
        "payments-0 runs but failed 4 liveness probes in a row (limit 3); it last answered 2.0 s ago"
    );
}

#[test]
fn cpu_use_that_the_request_rate_explains_is_load() {
    let mut fleet = Fleet::healthy();
    fleet.cpu("cart-0", 97.0, 5.0);
    fleet.link_mut("front->cart").recent.requests *= 2;
    assert_eq!(finding(&fleet, IssueKind::HighCpu, "instance/cart-0").reason, Reason::Load);
}

#[test]
fn a_service_may_have_its_own_thresholds() {
    let mut fleet = Fleet::healthy();
    fleet.memory("cart-0", 80.0);
    assert_eq!(look(&fleet, IssueKind::HighMemory, "instance/cart-0"), Verdict::Healthy);
    let cart = ServiceName::new("cart").unwrap();
    fleet.snapshot.services.get_mut(&cart).unwrap().thresholds.memory = Some(Percent(75.0));
    assert_eq!(finding(&fleet, IssueKind::HighMemory, "instance/cart-0").metrics["threshold"], 75.0);
}

#[test]
fn what_is_absent_is_unknown_and_never_healthy() {
    let mut fleet = Fleet::healthy();
    fleet.instance_mut("cart-0").usage = Default::default();
    assert_eq!(look(&fleet, IssueKind::HighCpu, "instance/cart-0"), Verdict::Unknown);
    assert_eq!(look(&fleet, IssueKind::HighMemory, "instance/cart-0"), Verdict::Unknown);
    assert_eq!(look(&fleet, IssueKind::DiskFull, "volume/cart-0"), Verdict::Unknown);
    for kind in IssueKind::ALL {
        for resource in ["instance/nobody-0", "volume/nobody-0", "link/front->nobody", "node/local"] {
            assert_eq!(look(&fleet, kind, resource), Verdict::Unknown, "{kind} {resource}");
        }
    }
    fleet.link_mut("front->cart").recent = Window { seconds: 3, ..Window::default() };
    assert_eq!(look(&fleet, IssueKind::NetworkLatency, "link/front->cart"), Verdict::Unknown);
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Unknown);
    fleet.instance_mut("cart-1").phase = Phase::Unknown;
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-1"), Verdict::Unknown);
}

#[test]
fn an_instance_that_is_only_starting_or_being_stopped_is_not_crashed() {
    let mut fleet = Fleet::healthy();
    let now = fleet.snapshot.taken;
    let state = fleet.instance_mut("cart-0");
    state.phase = Phase::Starting;
    state.started_at = Some(now.minus(Duration::from_secs(2)));
    let mut probe = state.liveness.unwrap();
    probe.failures_in_a_row = 5;
    state.liveness = Some(probe);
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-0"), Verdict::Unknown);
    fleet.instance_mut("cart-0").started_at = Some(now.minus(Duration::from_secs(40)));
    assert_eq!(finding(&fleet, IssueKind::PodCrash, "instance/cart-0").reason, Reason::Unresponsive);
    fleet.instance_mut("cart-0").phase = Phase::Stopping;
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-0"), Verdict::Unknown);
}

#[test]
fn a_crash_is_over_when_the_successor_has_been_ready_for_a_second() {
    let mut fleet = Fleet::healthy();
    fleet.exited("cart-0", ExitCause::Signal(9), Duration::from_secs(2));
    fleet.recovered("cart-0", Duration::from_millis(900));
    assert_eq!(finding(&fleet, IssueKind::PodCrash, "instance/cart-0").reason, Reason::Exit);
    fleet.recovered("cart-0", Duration::from_millis(1000));
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-0"), Verdict::Healthy);
}

#[test]
fn an_end_that_was_asked_for_is_no_crash() {
    let mut fleet = Fleet::healthy();
    fleet.exited("cart-0", ExitCause::Status(0), RECENTLY);
    fleet.instance_mut("cart-0").exits.last_mut().unwrap().requested = true;
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-0"), Verdict::Unknown);
    fleet.recovered("cart-0", Duration::ZERO);
    assert_eq!(look(&fleet, IssueKind::PodCrash, "instance/cart-0"), Verdict::Healthy);
}

#[test]
fn a_young_fleet_and_a_callee_that_is_being_replaced_are_not_judged_by_rates() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::All, 400.0).broken_path("orders->payments", Part::All);
    let mut young = fleet.clone();
    young.snapshot.fleet_age = Duration::from_secs(4);
    assert_eq!(found(&young), Vec::<String>::new());

    let now = fleet.snapshot.taken;
    for disturb in [
        (|state, _| state.phase = Phase::Stopping) as fn(&mut domain::InstanceState, domain::Time),
        |state, now| {
            let at = now.minus(Duration::from_secs(3));
            let cause = ExitCause::Status(0);
            state.exits.push(ExitRecord { at, cause, requested: true, successor_at: None });
        },
    ] {
        let mut replaced = fleet.clone();
        disturb(replaced.instance_mut("cart-0"), now);
        assert_eq!(look(&replaced, IssueKind::NetworkLatency, "link/front->cart"), Verdict::Unknown);
    }
    assert!(found(&fleet).len() >= 2, "the same fleet is judged when nothing is being replaced");
}

#[test]
fn what_the_replacement_of_the_only_database_disturbs_above_it_is_no_other_fault() {
    let mut fleet = Fleet::healthy();
    fleet.broken_path("cart->database", Part::All);
    let mut replaced = fleet.clone();
    replaced.exited("database-0", ExitCause::Status(0), Duration::from_secs(6));
    replaced.instance_mut("database-0").exits[0].requested = true;
    assert_eq!(found(&replaced), Vec::<String>::new(), "its successor is starting");
    replaced.recovered("database-0", Duration::from_secs(3));
    assert_eq!(found(&replaced), Vec::<String>::new(), "the window still holds the gap");
    replaced.recovered("database-0", Duration::from_secs(4));
    assert_eq!(found(&replaced), found(&fleet));
    // One of two is replaced: the other one serves, and what is above is judged as ever.
    let at = fleet.snapshot.taken.minus(Duration::from_secs(1));
    let exit = ExitRecord { at, cause: ExitCause::Status(0), requested: true, successor_at: None };
    fleet.instance_mut("cart-0").exits.push(exit);
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Unknown);
    finding(&fleet, IssueKind::ErrorRate, "link/load->front");
}

#[test]
fn a_just_started_instance_is_not_judged_by_its_cpu() {
    let mut fleet = Fleet::healthy();
    fleet.instance_mut("cart-0").usage.cpu = Some(Cores(0.6));
    let now = fleet.snapshot.taken;
    fleet.instance_mut("cart-0").started_at = Some(now.minus(Duration::from_secs(3)));
    assert_eq!(look(&fleet, IssueKind::HighCpu, "instance/cart-0"), Verdict::Unknown);
}

#[test]
fn a_cascade_is_as_deep_as_the_line_of_affected_callers() {
    let fleet = Fleet::healthy();
    let depth = |origin: &str, affected: &[&str]| {
        let affected: Vec<ServiceName> =
            affected.iter().map(|name| ServiceName::new(*name).unwrap()).collect();
        fleet.snapshot.cascade_depth(&ServiceName::new(origin).unwrap(), &affected.iter().collect())
    };
    assert_eq!(depth("database", &[]), 0);
    assert_eq!(depth("database", &["database"]), 1);
    assert_eq!(depth("database", &["database", "cart", "catalogue"]), 2, "two callers are one layer");
    assert_eq!(depth("database", &["database", "cart", "front"]), 3);
    assert_eq!(depth("database", &["database", "front"]), 1, "nobody between them is affected");
    assert_eq!(depth("cart", &["front"]), 1);
}

#[test]
fn a_resource_is_reached_by_all_services_whose_requests_arrive() {
    let fleet = Fleet::healthy();
    for (resource, expected) in [
        ("instance/load-0", 0),
        ("instance/front-0", 1),
        ("volume/database-0", 5),
        ("link/load->front", 1),
        ("link/orders->payments", 3),
    ] {
        assert_eq!(fleet.snapshot.reached_by(&id(resource)), expected, "{resource}");
    }
}

#[test]
fn the_only_database_hanging_is_critical_and_one_of_two_carts_ending_is_not() {
    let mut fleet = Fleet::healthy();
    fleet.paused("database-0", Duration::from_secs(2));
    fleet.exited("cart-0", ExitCause::Signal(9), RECENTLY);
    assert_eq!(finding(&fleet, IssueKind::PodCrash, "instance/database-0").severity, Severity::Critical);
    assert_eq!(finding(&fleet, IssueKind::PodCrash, "instance/cart-0").severity, Severity::Medium);
}

prop_compose! {
    /// What a busy machine does to a healthy fleet: every signal moves within what is no fault.
    fn noisy()(
        p50 in 1.0..150.0f64,
        tail in 1.0..600.0f64,
        requests in 0u64..300,
        errors in 0u64..5,
        check_ms in 0u64..400,
        cpu in 0.0..0.42f64,
        memory in 1u64..57,
        disk in 0.0..0.95f64,
    ) -> Fleet {
        let mut fleet = Fleet::healthy();
        for link in fleet.snapshot.links.values_mut() {
            let noise = Window {
                seconds: 3,
                requests,
                errors: errors.min(requests),
                p50_ms: (requests > 0).then_some(p50),
                p95_ms: (requests > 0).then_some(p50 + tail),
                ..Window::default()
            };
            link.recent = noise;
            link.old_connections = noise;
            for backend in link.backends.values_mut() {
                backend.recent = Window { requests: requests / 2, errors: errors.min(requests) / 2, ..noise };
                backend.path_check = Some(Duration::from_millis(check_ms));
            }
        }
        for state in fleet.snapshot.services.values_mut().flat_map(|service| service.instances.values_mut()) {
            state.usage.cpu = Some(Cores(cpu));
            state.usage.memory = Some(Bytes::mib(memory));
            if let (Some(size), Some(_)) = (state.usage.disk_size, state.usage.disk_used) {
                state.usage.disk_used = Some(Bytes((size.0 as f64 * disk) as u64));
            }
        }
        fleet
    }
}

prop_compose! {
    /// A fleet in any state, sensible or not.
    fn wild()(
        fleet in noisy(),
        scale in 0.1..20.0f64,
        errors in 0u64..200,
        failures in 0u32..8,
        phase in 0usize..6,
        ended in any::<bool>(),
        target in 0usize..12,
    ) -> Fleet {
        const PHASES: [Phase; 6] = [
            Phase::Starting, Phase::Ready, Phase::NotReady, Phase::Stopping, Phase::BackingOff, Phase::Unknown,
        ];
        let mut fleet = fleet;
        let names: Vec<_> =
            fleet.snapshot.services.values().flat_map(|service| service.instances.keys().cloned()).collect();
        let name = names[target % names.len()].to_string();
        if ended {
            fleet.exited(&name, ExitCause::Status(1), RECENTLY);
        }
        let state = fleet.instance_mut(&name);
        state.phase = PHASES[phase];
        state.usage.cpu = state.usage.cpu.map(|cpu| Cores(cpu.0 * scale));
        if let Some(probe) = &mut state.liveness {
            probe.failures_in_a_row = failures;
        }
        for link in fleet.snapshot.links.values_mut().skip(target % 3) {
            link.recent.p50_ms = link.recent.p50_ms.map(|ms| ms * scale);
            link.recent.errors = errors.min(link.recent.requests);
            for backend in link.backends.values_mut().skip(target % 2) {
                backend.path_check_failures = failures;
                backend.recent.p50_ms = link.recent.p50_ms;
            }
        }
        fleet
    }
}

proptest! {
    #[test]
    fn noise_is_never_an_alarm(fleet in noisy()) {
        prop_assert_eq!(found(&fleet), Vec::<String>::new());
    }

    #[test]
    fn detect_finds_exactly_what_verification_calls_unhealthy(fleet in wild()) {
        let thresholds = Thresholds::default();
        let findings = detect(&fleet.snapshot, &thresholds);
        let mut unhealthy = 0;
        for resource in fleet.snapshot.resources() {
            for kind in IssueKind::ALL {
                if let Verdict::Unhealthy(finding) = verdict(kind, &resource, &fleet.snapshot, &thresholds) {
                    unhealthy += 1;
                    prop_assert!(findings.contains(&finding));
                    prop_assert!(finding.metrics.contains_key("threshold"));
                    prop_assert!(finding.excess >= 0.0);
                }
            }
        }
        prop_assert_eq!(findings.len(), unhealthy);
        prop_assert!(findings.windows(2).all(|pair| pair[0].severity >= pair[1].severity));
    }

    #[test]
    fn severity_never_falls_when_excess_dependents_urgency_or_burn_rise(
        excess in -1.0..5.0f64, more in 0.0..5.0f64, services in 0usize..20, others in 0usize..20,
        burn in 0.0..100.0f64, faster in 0.0..100.0f64,
    ) {
        let low = severity(excess, services, Urgency::Soon, burn);
        prop_assert!(severity(excess + more, services, Urgency::Soon, burn) >= low);
        prop_assert!(severity(excess, services + others, Urgency::Soon, burn) >= low);
        prop_assert!(severity(excess, services, Urgency::Now, burn) >= low);
        prop_assert!(severity(excess, services, Urgency::Soon, burn + faster) >= low);
    }
}
