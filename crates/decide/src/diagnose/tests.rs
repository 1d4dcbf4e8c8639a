//! Every row of the fault matrix, seen from where it is and from everywhere it is felt: the true cause comes
//! first.

use std::time::Duration;

use domain::snapshot::{ExitCause, ProbeState};
use domain::{FileClass, IdSource, Window};
use proptest::prelude::*;

mod deployment;
mod traced;

use super::*;
use crate::detect::{IssueChange, detect, track};
use crate::fixture::{Fleet, Part};
use crate::learn::confidence::Named;

const RECENTLY: Duration = Duration::from_millis(300);
const HUNG: Duration = Duration::from_secs(2);

/// The issues a first look at a fleet opens.
fn issues(fleet: &Fleet) -> Vec<Issue> {
    let thresholds = Thresholds::default();
    let mut ids = IdSource::seeded(1);
    let now = fleet.snapshot.taken;
    let findings = detect(&fleet.snapshot, &thresholds);
    track(&[], &findings, &fleet.snapshot, &thresholds, &[], &mut || ids.next(now))
        .into_iter()
        .map(|change| match change {
            IssueChange::Opened(issue) => issue,
            other => panic!("nothing was open before: {other:?}"),
        })
        .collect()
}

fn first(issue: &Issue, fleet: &Fleet, open: &[Issue]) -> Option<Cause> {
    diagnose(issue, &fleet.snapshot, open, &Thresholds::default(), &ConfidenceTable::default())
        .into_iter()
        .next()
}

/// What is wrong, what it does, and the cause: `class resource pattern`.
type Row = (&'static str, fn(&mut Fleet) -> &mut Fleet, &'static str);

const ROWS: [Row; 27] = [
    (
        "kill",
        |f| f.exited("cart-0", ExitCause::Signal(9), RECENTLY),
        "process_ended instance/cart-0 exit_seen",
    ),
    ("loop", |f| f.crash_looping("cart-0", 4), "process_ended instance/cart-0 crash_loop"),
    (
        "oom",
        |f| f.exited("cart-0", ExitCause::OutOfMemory, RECENTLY),
        "memory_exhausted instance/cart-0 out_of_memory_kill",
    ),
    ("pause", |f| f.paused("cart-0", HUNG), "process_hangs instance/cart-0 liveness_failing"),
    ("pause front", |f| f.paused("front-1", HUNG), "process_hangs instance/front-1 liveness_failing"),
    (
        "pause database",
        |f| f.paused("database-0", HUNG),
        "process_hangs instance/database-0 liveness_failing",
    ),
    (
        "pause database, just now",
        |f| f.paused("database-0", Duration::from_millis(1200)),
        "process_hangs instance/database-0 probe_failing_below_limit",
    ),
    (
        "cpu",
        |f| f.cpu("cart-0", 97.0, 30.0),
        "cpu_exhausted instance/cart-0 cpu_over_threshold+request_rate_usual",
    ),
    (
        "cpu, felt",
        |f| f.cpu("cart-0", 99.0, 400.0),
        "cpu_exhausted instance/cart-0 cpu_over_threshold+request_rate_usual",
    ),
    (
        "cpu database",
        |f| f.cpu("database-0", 99.0, 400.0),
        "cpu_exhausted instance/database-0 cpu_over_threshold+request_rate_usual",
    ),
    (
        "memory",
        |f| f.memory("database-0", 96.0),
        "memory_exhausted instance/database-0 memory_over_threshold",
    ),
    (
        "disk",
        |f| f.disk("cart-0", 97.0, FileClass::Temporary),
        "disk_exhausted volume/cart-0 disk_over_threshold",
    ),
    (
        "disk database",
        |f| f.disk("database-0", 100.0, FileClass::Logs),
        "disk_exhausted volume/database-0 disk_over_threshold",
    ),
    (
        "slow one",
        |f| f.slow_path("front->cart", Part::Backend("cart-1"), 400.0),
        "path_slow link/front->cart link_slow+one_backend_check_slow+callee_probe_fast",
    ),
    (
        "slow one, edge",
        |f| f.slow_path("load->front", Part::Backend("front-1"), 400.0),
        "path_slow link/load->front link_slow+one_backend_check_slow+callee_probe_fast",
    ),
    (
        "slow old",
        |f| f.slow_path("front->cart", Part::OldConnections, 400.0),
        "path_slow link/front->cart link_slow+old_connections_slow+new_connections_fast",
    ),
    (
        "slow all",
        |f| f.slow_path("front->orders", Part::All, 400.0),
        "path_slow link/front->orders link_slow+all_backend_checks_slow+callee_probe_fast",
    ),
    (
        "slow database",
        |f| f.slow_path("orders->database", Part::All, 400.0),
        "path_slow link/orders->database link_slow+all_backend_checks_slow+callee_probe_fast",
    ),
    (
        "slow old database",
        |f| f.slow_path("cart->database", Part::OldConnections, 400.0),
        "path_slow link/cart->database link_slow+old_connections_slow+new_connections_fast",
    ),
    (
        "cut one",
        |f| f.broken_path("front->cart", Part::Backend("cart-1")),
        "path_broken link/front->cart one_backend_check_failing+callee_probe_passing",
    ),
    (
        "cut all",
        |f| f.broken_path("orders->payments", Part::All),
        "path_broken link/orders->payments all_backend_checks_failing+callee_probe_passing",
    ),
    (
        "cut database",
        |f| f.broken_path("cart->database", Part::All),
        "path_broken link/cart->database all_backend_checks_failing+callee_probe_passing",
    ),
    (
        "throttled one",
        |f| f.throttled_path("front->cart", Part::Backend("cart-0")),
        "throttled link/front->cart one_backend_throttled",
    ),
    (
        "throttled all",
        |f| f.throttled_path("orders->payments", Part::All),
        "throttled link/orders->payments all_backends_throttled",
    ),
    (
        "throttled database",
        |f| f.throttled_path("catalogue->database", Part::All),
        "throttled link/catalogue->database all_backends_throttled",
    ),
    (
        "slow payments",
        |f| f.slow_path("orders->payments", Part::Backend("payments-1"), 800.0),
        "path_slow link/orders->payments link_slow+one_backend_check_slow+callee_probe_fast",
    ),
    (
        "kill database",
        |f| f.broken_path("cart->database", Part::All).exited("database-0", ExitCause::Signal(9), RECENTLY),
        "process_ended instance/database-0 exit_seen",
    ),
];

#[test]
fn the_true_cause_comes_first_from_wherever_it_is_felt() {
    let mut felt = 0;
    for (name, disturb, expected) in ROWS {
        let mut fleet = Fleet::healthy();
        disturb(&mut fleet);
        let open = issues(&fleet);
        assert!(!open.is_empty(), "{name}: nothing was found");
        for issue in &open {
            let cause = first(issue, &fleet, &open).unwrap_or_else(|| panic!("{name}: no cause"));
            let line = format!("{} {} {}", cause.class, cause.resource, cause.pattern);
            assert_eq!(line, expected, "{name}, from {} on {}", issue.kind, issue.resource);
            assert!(!cause.evidence.is_empty());
        }
        felt += open.len() - 1;
    }
    assert!(felt > 20, "the rows are felt elsewhere too, {felt} times");
}

#[test]
fn a_hanging_database_is_found_from_the_users_link_alone() {
    let mut fleet = Fleet::healthy();
    fleet.paused("database-0", HUNG);
    let issue = issues(&fleet).into_iter().find(|i| i.resource.to_string() == "link/load->front").unwrap();
    let causes = diagnose(&issue, &fleet.snapshot, &[], &Thresholds::default(), &ConfidenceTable::default());
    assert_eq!(causes[0].resource.to_string(), "instance/database-0");
    assert_eq!(
        causes[0].evidence[0].text,
        "runs, but failed 4 liveness probes in a row; last passed 2.0 s ago"
    );
}

#[test]
fn a_slow_path_to_one_instance_names_that_instance_first() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 400.0);
    let open = issues(&fleet);
    let cause = first(&open[0], &fleet, &open).unwrap();
    assert_eq!(cause.evidence[0].resource.to_string(), "instance/cart-1");
    assert_eq!(
        cause.evidence[0].text,
        "the check of its path takes 403 ms while it answers its own probe in 2 ms"
    );
    assert_eq!(cause.evidence[1].text, "0 of 90 requests failed in the last 3 s, 95 % within 412 ms");
}

#[test]
fn stale_connections_are_found_by_elimination_where_no_new_ones_are_made() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::OldConnections, 400.0);
    fleet.link_mut("front->cart").new_connections = Window { seconds: 3, ..Window::default() };
    let open = issues(&fleet);
    let cause = first(&open[0], &fleet, &open).unwrap();
    assert_eq!(
        (cause.class, cause.pattern.as_str()),
        (CauseClass::PathSlow, "link_slow+old_connections_slow+checks_fast")
    );
}

#[test]
fn trouble_beside_the_way_down_is_ranked_below_the_cause() {
    let mut fleet = Fleet::healthy();
    // Payments ended too, but nothing on the slow way goes there.
    fleet.slow_path("front->cart", Part::All, 400.0).exited("payments-0", ExitCause::Status(1), RECENTLY);
    let open = issues(&fleet);
    let users = open.iter().find(|issue| issue.resource.to_string() == "link/load->front").unwrap();
    let causes = diagnose(users, &fleet.snapshot, &open, &Thresholds::default(), &ConfidenceTable::default());
    let names: Vec<String> = causes.iter().map(|cause| cause.resource.to_string()).collect();
    assert_eq!(names, ["link/front->cart", "instance/payments-0"]);
}

#[test]
fn a_callee_whose_path_and_calls_are_well_is_slow_by_itself() {
    let mut fleet = Fleet::healthy();
    let link = fleet.link_mut("orders->payments");
    for backend in link.backends.values_mut() {
        backend.recent.p50_ms = Some(700.0);
        backend.recent.p95_ms = Some(900.0);
    }
    link.recent = Window { p50_ms: Some(700.0), p95_ms: Some(900.0), ..link.recent };
    link.new_connections = link.recent;
    link.old_connections = link.recent;
    let open = issues(&fleet);
    let cause = first(&open[0], &fleet, &open).unwrap();
    assert_eq!(
        (cause.class, cause.resource.to_string().as_str()),
        (CauseClass::ServiceSlow, "service/payments")
    );
}

#[test]
fn the_confidence_is_what_was_recorded_of_the_pattern_and_does_not_rank() {
    let mut fleet = Fleet::healthy();
    fleet.paused("database-0", HUNG);
    let open = issues(&fleet);
    let mut table = ConfidenceTable::default();
    let unknown = diagnose(&open[0], &fleet.snapshot, &open, &Thresholds::default(), &table);
    assert_eq!(unknown[0].confidence.0, 50.0);
    for _ in 0..38 {
        table.record("liveness_failing", Named::Right);
    }
    let known = diagnose(&open[0], &fleet.snapshot, &open, &Thresholds::default(), &table);
    assert_eq!(known[0].confidence.0, 39.0 / 40.0 * 100.0);
    for _ in 0..500 {
        table.record("liveness_failing", Named::Wrong);
    }
    let doubted = diagnose(&open[0], &fleet.snapshot, &open, &Thresholds::default(), &table);
    assert!(doubted[0].confidence.0 < 10.0);
    assert_eq!(doubted[0].resource, known[0].resource, "the rank comes from the evidence");
}

#[test]
fn an_issue_on_a_healthy_fleet_has_no_cause_to_name() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::All, 400.0);
    let open = issues(&fleet);
    let healed = Fleet::healthy();
    assert_eq!(first(&open[0], &healed, &open), None);
}

#[test]
fn a_probe_that_never_passes_does_not_make_a_starting_process_a_hanging_one() {
    let mut fleet = Fleet::healthy();
    fleet.exited("cart-0", ExitCause::Signal(9), RECENTLY);
    fleet.instance_mut("cart-0").liveness =
        Some(ProbeState { failures_in_a_row: 9, failures_limit: 3, last_passed: None, last_took: None });
    let open = issues(&fleet);
    assert_eq!(first(&open[0], &fleet, &open).unwrap().class, CauseClass::ProcessEnded);
}

proptest! {
    #[test]
    fn at_most_five_causes_each_named_once_with_evidence(rows in prop::collection::vec(0usize..ROWS.len(), 1..4)) {
        let mut fleet = Fleet::healthy();
        for row in rows {
            (ROWS[row].1)(&mut fleet);
        }
        let open = issues(&fleet);
        for issue in &open {
            let causes = diagnose(issue, &fleet.snapshot, &open, &Thresholds::default(), &ConfidenceTable::default());
            prop_assert!(!causes.is_empty() && causes.len() <= 5);
            for (index, cause) in causes.iter().enumerate() {
                prop_assert!(!cause.evidence.is_empty());
                prop_assert!(causes[..index].iter().all(|o| (&o.resource, o.class) != (&cause.resource, cause.class)));
            }
        }
    }
}

#[test]
fn a_lucky_check_under_jitter_does_not_hide_a_slow_path() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 260.0);
    let cart_1 = "cart-1".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.path_check = Some(Duration::from_millis(85));
    let open = issues(&fleet);
    assert_eq!(first(&open[0], &fleet, &open).unwrap().class, CauseClass::PathSlow);
}

#[test]
fn a_hang_that_no_link_passes_up_is_not_why_the_users_wait() {
    let mut fleet = Fleet::healthy();
    fleet.cpu("database-0", 99.0, 400.0);
    let probe = fleet.instance_mut("payments-1").liveness.as_mut().unwrap();
    probe.failures_in_a_row = 5;
    let open = issues(&fleet);
    let users = open.iter().find(|issue| issue.resource.to_string() == "link/load->front").unwrap();
    assert_eq!(first(users, &fleet, &open).unwrap().resource.to_string(), "instance/database-0");
}

#[test]
fn a_busy_instance_that_answers_well_is_not_why_the_other_one_is_slow() {
    let mut fleet = Fleet::healthy();
    fleet.cpu("cart-0", 99.0, 0.0);
    let cart_1 = "cart-1".parse().unwrap();
    let link = fleet.link_mut("front->cart");
    let backend = link.backends.get_mut(&cart_1).unwrap();
    (backend.recent.p50_ms, backend.recent.p95_ms) = (Some(700.0), Some(900.0));
    link.recent.p95_ms = Some(900.0);
    let open = issues(&fleet);
    let felt = open.iter().find(|issue| issue.resource.to_string() == "link/front->cart").unwrap();
    let cause = first(felt, &fleet, &open).unwrap();
    assert_eq!(
        (cause.class, cause.resource.to_string().as_str()),
        (CauseClass::ServiceSlow, "instance/cart-1")
    );
}

#[test]
fn a_caller_that_passes_a_429_on_does_not_throttle() {
    let mut fleet = Fleet::healthy();
    fleet.throttled_path("orders->payments", Part::All);
    let link = fleet.link_mut("front->orders");
    link.recent.throttled = link.recent.errors;
    let open = issues(&fleet);
    for issue in &open {
        assert_eq!(first(issue, &fleet, &open).unwrap().resource.to_string(), "link/orders->payments");
    }
}

#[test]
fn another_open_issue_on_the_cause_is_named_with_when_it_was_seen() {
    let mut fleet = Fleet::healthy();
    fleet.paused("database-0", HUNG);
    let mut open = issues(&fleet);
    let users = open.iter().position(|issue| issue.resource.to_string() == "link/load->front").unwrap();
    open[users].detected_at = open[users].detected_at.plus(Duration::from_millis(1500));
    let cause = first(&open[users], &fleet, &open).unwrap();
    assert_eq!(cause.evidence[1].text, "pod_crash is open here, first seen 1.5 s before this issue");
}

#[test]
fn a_probe_that_runs_rarely_does_not_clear_a_path() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 400.0);
    let long_ago = fleet.snapshot.taken.minus(Duration::from_secs(8));
    let state = fleet.instance_mut("cart-1");
    for probe in [&mut state.readiness, &mut state.liveness].into_iter().flatten() {
        probe.last_passed = Some(long_ago);
    }
    let open = issues(&fleet);
    let cause = first(&open[0], &fleet, &open).unwrap();
    assert_eq!(cause.pattern, "link_slow+check_slow+callee_probe_unknown");
}

#[test]
fn a_path_slower_than_its_checks_may_take_is_slow_and_a_throttled_one_is_throttled() {
    let cart_1 = "cart-1".parse().unwrap();
    let mut late = Fleet::healthy();
    let backend = late.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.recent = Window { requests: 1, p50_ms: Some(2000.0), p95_ms: Some(2000.0), ..backend.recent };
    let mut throttled = Fleet::healthy();
    throttled.throttled_path("front->cart", Part::Backend("cart-1"));
    for (mut fleet, expected) in [(late, CauseClass::PathSlow), (throttled, CauseClass::Throttled)] {
        let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
        backend.path_check = None;
        backend.path_check_failures = 6;
        let open = issues(&fleet);
        let causes =
            diagnose(&open[0], &fleet.snapshot, &open, &Thresholds::default(), &ConfidenceTable::default());
        assert_eq!(causes[0].class, expected, "{causes:#?}");
        assert!(causes.iter().all(|cause| cause.class != CauseClass::PathBroken));
    }
}

#[test]
fn a_burning_budget_is_caused_by_what_the_service_needs_and_by_nothing_once_it_is_over() {
    let thresholds = Thresholds::default();
    for (burns, disturbed, expected) in [
        ("service/cart", "cart-0", "process_hangs instance/cart-0"),
        ("service/front", "database-0", "process_hangs instance/database-0"),
    ] {
        let mut fleet = Fleet::healthy();
        fleet.paused(disturbed, HUNG).burning(burns, 40.0, 40.0);
        let open = issues(&fleet);
        let burn = open.iter().find(|issue| issue.kind == IssueKind::SloBurn).unwrap();
        let cause = first(burn, &fleet, &open).unwrap();
        assert_eq!(format!("{} {}", cause.class, cause.resource), expected);
        fleet.burning(burns, 40.0, 0.5);
        let causes = diagnose(burn, &fleet.snapshot, &open, &thresholds, &ConfidenceTable::default());
        assert_eq!(causes, [], "its requests are well: what is seen now did not burn it");
    }
}
