//! What a run is worth, and what many are worth together.

use std::collections::BTreeMap;

use domain::{CauseClass, IdSource, IssueKind, Percent, Reason, Severity};
use proptest::{prop_assert_eq, proptest};

use super::super::matrix::Matrix;
use super::super::witness::RequestCount;
use super::*;

fn row(name: &str) -> Row {
    Matrix::shipped().unwrap().rows.into_iter().find(|row| row.name == name).unwrap()
}

/// So many milliseconds after the injection.
fn at(ms: u64) -> Time {
    Time { boot_us: 5_000_000 + ms * 1000, wall_us: 1_700_000_000_000_000 + ms as i64 * 1000 }
}

fn issue(kind: IssueKind, resource: &str, detected: u64) -> Issue {
    Issue {
        id: IdSource::seeded(detected).next(at(detected)),
        kind,
        reason: Reason::Unspecified,
        resource: resource.parse().unwrap(),
        severity: Severity::High,
        description: String::new(),
        detected_at: at(detected),
        last_seen: at(detected),
        closed_at: None,
        metrics: BTreeMap::new(),
        recurrences: 0,
    }
}

fn diagnosis(issue: &Issue, ms: u64, causes: &[(&str, CauseClass)]) -> Diagnosis {
    let causes = causes.iter().map(|(resource, class)| Cause {
        resource: resource.parse().unwrap(),
        class: *class,
        confidence: Percent(100.0 * 11.0 / 12.0),
        pattern: "pattern".to_owned(),
        evidence: Vec::new(),
    });
    Diagnosis { issue: issue.id, at: at(ms), took_us: 1500, causes: causes.collect() }
}

fn repair(
    issue: &Issue,
    strategy: Strategy,
    started: u64,
    kind: OutcomeKind,
    verified: Option<u64>,
) -> Repair {
    let outcome = Outcome {
        plan: IdSource::seeded(started).next(at(started)),
        kind,
        started_at: Some(at(started)),
        verified_at: verified.map(at),
        decided_at: at(started + 9000),
        rolled_back: false,
        explanation: (kind != OutcomeKind::Healed).then(|| "it came back".to_owned()),
    };
    let status = if kind == OutcomeKind::Healed { PlanStatus::Success } else { PlanStatus::Failed };
    Repair { issue: issue.id, strategy, status, started_at: Some(at(started)), outcome: Some(outcome) }
}

/// A plan the guard refused, so that nothing was done.
fn refused(issue: &Issue, strategy: Strategy) -> Repair {
    let mut repair = repair(issue, strategy, 1, OutcomeKind::Refused, None);
    repair.status = PlanStatus::Refused;
    repair.started_at = None;
    repair
}

/// What spans alone say.
fn requests(total: u64, failed: u64) -> RequestWitnesses {
    RequestWitnesses { spans: Some(RequestCount { total, failed }), no_spans: None, log: None }
}

/// A run in which nothing was noticed and nothing done, up to its limit.
fn nothing() -> RunFacts {
    RunFacts {
        injected_at: at(0),
        active_at: Some(at(40)),
        issues: Vec::new(),
        diagnoses: Vec::new(),
        repairs: Vec::new(),
        successor_at: None,
        ready_again_at: None,
        quiet_at: None,
        requests: requests(1000, 0),
        last_failure_at: None,
        left_behind: Vec::new(),
    }
}

/// A hang of cart-1 that was noticed, diagnosed and repaired.
fn hang() -> (Row, RunFacts) {
    let reason = Reason::Unresponsive;
    let hung = Issue { reason, ..issue(IssueKind::PodCrash, "instance/cart-1", 1900) };
    let causes = [("instance/cart-1", CauseClass::ProcessHangs)];
    let facts = RunFacts {
        diagnoses: vec![diagnosis(&hung, 1910, &causes)],
        repairs: vec![repair(&hung, Strategy::RestartPod, 1950, OutcomeKind::Healed, Some(2800))],
        issues: vec![hung],
        ready_again_at: Some(at(2600)),
        quiet_at: Some(at(3000)),
        requests: requests(1000, 12),
        last_failure_at: Some(at(2550)),
        ..nothing()
    };
    (row("pause-cart"), facts)
}

/// A crash of cart-0 that the keeper answered.
fn crash() -> (Row, RunFacts) {
    let facts = RunFacts {
        issues: vec![Issue { reason: Reason::Exit, ..issue(IssueKind::PodCrash, "instance/cart-0", 12) }],
        successor_at: Some(at(6)),
        ready_again_at: Some(at(430)),
        quiet_at: Some(at(1000)),
        ..nothing()
    };
    (row("kill-cart"), facts)
}

#[test]
fn a_repaired_hang_has_every_time_counted_from_the_injection() {
    let (row, facts) = hang();
    let run = score(3, &row, &facts);
    let times = [run.effect_ms, run.detected_ms, run.diagnosed_ms, run.first_action_ms, run.serving_ms];
    assert_eq!(times, [Some(40.0), Some(1900.0), Some(1910.0), Some(1950.0), Some(2600.0)]);
    assert_eq!((run.verified_ms, run.diagnosis_took_ms), (Some(2800.0), Some(1.5)));
    assert_eq!((run.outcome, run.strategy.as_deref()), (OutcomeKind::Healed, Some("restart_pod")));
    assert_eq!((run.cause_rank, run.confidence, run.explanation.as_deref()), (Some(1), Some(91.6667), None));
    assert_eq!(run.error_budget_spent, Some(12.0), "12 of the 1 request in 1,000 that may fail");
    assert!(run.as_expected && !run.rolled_back, "{:?}", run.notes);
}

#[test]
fn a_run_in_which_nothing_was_noticed_has_no_times_and_is_not_healed() {
    let run = score(0, &row("pause-cart"), &nothing());
    let times = [run.detected_ms, run.diagnosed_ms, run.first_action_ms, run.serving_ms, run.verified_ms];
    assert_eq!(times, [None; 5]);
    assert_eq!((run.outcome, run.strategy, run.cause_rank), (OutcomeKind::NotHealed, None, None));
}

#[test]
fn an_issue_of_another_type_or_service_is_no_detection() {
    let (row, mut facts) = hang();
    facts.issues = vec![
        issue(IssueKind::ErrorRate, "link/front->cart", 900),
        issue(IssueKind::PodCrash, "instance/orders-0", 950),
    ];
    assert_eq!(score(0, &row, &facts).detected_ms, None);
    facts.issues.push(issue(IssueKind::PodCrash, "instance/cart-1", 2100));
    facts.issues.push(issue(IssueKind::PodCrash, "instance/cart-1", 2000));
    assert_eq!(score(0, &row, &facts).detected_ms, Some(2000.0), "the earliest counts");
}

#[test]
fn the_keepers_standing_restart_heals_a_crash_without_a_plan() {
    let (row, facts) = crash();
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.strategy.as_deref()), (OutcomeKind::Healed, Some(STANDING_RESTART)));
    assert_eq!((run.serving_ms, run.verified_ms, run.first_action_ms), (Some(430.0), Some(430.0), Some(6.0)));
    assert!(run.as_expected, "{:?}", run.notes);
    assert!(!run.asks_for_a_cause());
}

#[test]
fn another_reason_or_strategy_is_noted_and_heals_all_the_same() {
    let (row, mut facts) = hang();
    facts.issues[0].reason = Reason::CrashLoop;
    facts.repairs[0].strategy = Strategy::ScaleReplicas;
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.as_expected), (OutcomeKind::Healed, false));
    assert!(run.ended_as_expected());
    let notes = [
        "the reason seen was crash_loop, expected unresponsive",
        "scale_replicas was used, expected restart_pod",
    ];
    assert_eq!((run.reason, run.notes.as_slice()), (Some(Reason::CrashLoop), &notes.map(str::to_owned)[..]));
}

#[test]
fn a_plan_that_never_began_takes_no_credit_from_the_standing_restart() {
    let (row, mut facts) = crash();
    facts.repairs = vec![refused(&facts.issues[0], Strategy::RestartPod)];
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.strategy.as_deref()), (OutcomeKind::Healed, Some(STANDING_RESTART)));
}

#[test]
fn a_plan_for_a_symptom_takes_no_credit_from_the_standing_restart() {
    let (row, mut facts) = crash();
    let symptom = issue(IssueKind::ErrorRate, "link/front->cart", 300);
    let breaker = |kind| repair(&symptom, Strategy::CircuitBreakDependency, 350, kind, Some(900));
    for kind in [OutcomeKind::Mitigated, OutcomeKind::SelfRecovered, OutcomeKind::NotHealed] {
        facts.repairs = vec![breaker(kind)];
        let run = score(0, &row, &facts);
        assert_eq!((run.outcome, run.verified_ms), (OutcomeKind::Healed, Some(430.0)), "{kind}");
        assert_eq!(run.first_action_ms, Some(6.0), "{kind}");
    }
    facts.repairs = vec![repair(&facts.issues[0], Strategy::RestartPod, 20, OutcomeKind::NotHealed, None)];
    assert_eq!(score(0, &row, &facts).outcome, OutcomeKind::NotHealed, "the keeper did not do it alone");
}

#[test]
fn a_crash_that_was_restarted_unseen_is_not_healed_by_us() {
    let (row, mut facts) = crash();
    facts.issues = vec![issue(IssueKind::ErrorRate, "link/front->cart", 300)];
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.detected_ms), (OutcomeKind::SelfRecovered, None));
    assert_eq!(run.explanation.as_deref(), Some("the keeper restarted it, but no issue was opened"));
}

#[test]
fn an_instance_that_did_not_come_back_is_not_serving_after_the_last_failed_request() {
    let (row, mut facts) = crash();
    facts.ready_again_at = None;
    facts.last_failure_at = Some(at(300));
    let run = score(0, &row, &facts);
    assert_eq!((run.serving_ms, run.verified_ms), (None, None));
    assert_ne!(run.outcome, OutcomeKind::Healed);
}

#[test]
fn where_no_instance_was_lost_users_are_served_after_the_last_failed_request_once_it_is_over() {
    let row = row("throttle-one-backend-catalogue");
    let going_on = RunFacts { requests: requests(1000, 50), last_failure_at: Some(at(90_000)), ..nothing() };
    assert_eq!(score(0, &row, &going_on).serving_ms, None, "requests fail until the end of the run");
    let over = RunFacts { last_failure_at: Some(at(4000)), quiet_at: Some(at(6000)), ..going_on };
    assert_eq!(score(0, &row, &over).serving_ms, Some(4000.0));
}

#[test]
fn credit_goes_to_the_repair_of_the_fault_before_one_of_a_symptom() {
    let (row, mut facts) = hang();
    let symptom = issue(IssueKind::ErrorRate, "link/front->cart", 1000);
    let breaker =
        repair(&symptom, Strategy::CircuitBreakDependency, 1200, OutcomeKind::Mitigated, Some(1500));
    facts.repairs.insert(0, breaker.clone());
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.verified_ms), (OutcomeKind::Healed, Some(2800.0)));
    assert_eq!(run.first_action_ms, Some(1200.0), "the first action is the first of any repair");
    facts.repairs = vec![breaker];
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.verified_ms), (OutcomeKind::Mitigated, Some(1500.0)));
    assert_eq!(run.explanation.as_deref(), Some("it came back"));
}

#[test]
fn a_signal_that_came_back_before_the_repair_could_have_done_it_is_self_recovered() {
    let (row, mut facts) = hang();
    facts.repairs =
        vec![repair(&facts.issues[0], Strategy::RestartPod, 1950, OutcomeKind::SelfRecovered, None)];
    assert_eq!(score(0, &row, &facts).outcome, OutcomeKind::SelfRecovered);
    facts.repairs.clear();
    assert_eq!(score(0, &row, &facts).outcome, OutcomeKind::SelfRecovered);
    facts.quiet_at = None;
    assert_eq!(score(0, &row, &facts).outcome, OutcomeKind::NotHealed);
}

#[test]
fn a_repair_that_was_refused_is_refused_and_one_that_failed_is_not_healed() {
    let (row, mut facts) = hang();
    facts.quiet_at = None;
    facts.repairs = vec![refused(&facts.issues[0], Strategy::RestartPod)];
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.strategy.as_deref()), (OutcomeKind::Refused, Some("restart_pod")));
    assert_eq!(run.first_action_ms, None);
    let mut failed = repair(&facts.issues[0], Strategy::RestartPod, 1950, OutcomeKind::NotHealed, None);
    failed.status = PlanStatus::RolledBack;
    facts.repairs = vec![failed];
    let run = score(0, &row, &facts);
    assert_eq!((run.outcome, run.rolled_back), (OutcomeKind::NotHealed, true));
}

#[test]
fn the_rank_is_that_of_the_diagnosis_the_first_repair_rests_on() {
    let (row, mut facts) = hang();
    let early = issue(IssueKind::ErrorRate, "link/front->cart", 1000);
    let path = ("link/front->cart", CauseClass::PathBroken);
    facts.diagnoses.insert(0, diagnosis(&early, 1005, &[path]));
    facts.repairs.push(refused(&early, Strategy::RerouteTraffic));
    assert_eq!(score(0, &row, &facts).cause_rank, Some(1), "a refused plan is not the first repair");
    facts.repairs.clear();
    assert_eq!(score(0, &row, &facts).cause_rank, None, "without a repair the earliest diagnosis counts");
    let hangs = ("instance/cart-1", CauseClass::ProcessHangs);
    let wrong_class = ("instance/cart-1", CauseClass::ServiceSlow);
    facts.diagnoses = vec![diagnosis(&early, 1005, &[path, wrong_class, hangs])];
    assert_eq!(score(0, &row, &facts).cause_rank, Some(3), "resource and class both count");
}

#[test]
fn without_requests_no_budget_is_spent_or_kept() {
    let (row, facts) = hang();
    let run = score(0, &row, &RunFacts { requests: requests(0, 0), ..facts });
    assert_eq!(run.error_budget_spent, None);
}

#[test]
fn no_runs_have_no_ratios_and_no_times() {
    let summary = summarise(&[], 0, Duration::ZERO);
    assert_eq!(summary.detected_ratio.or(summary.healed_ratio).or(summary.as_expected_ratio), None);
    assert_eq!(summary.cause_first_ratio.or(summary.confidence_mean), None);
    assert_eq!(summary.crash_serving_ms, Quantiles { p50: None, p95: None });
    assert_eq!((summary.runs, summary.left_behind, summary.requests), (0, 0, 0));
}

#[test]
fn a_summary_counts_each_ratio_over_its_own_runs() {
    let run = |(row, facts): (Row, RunFacts)| score(0, &row, &facts);
    let mitigated = {
        let row = row("throttle-all-catalogue");
        let reason = row.expect.reason;
        let slow = Issue { reason, ..issue(IssueKind::ErrorRate, "link/front->catalogue", 3000) };
        let kind = OutcomeKind::Mitigated;
        let facts = RunFacts {
            repairs: vec![repair(&slow, Strategy::CircuitBreakDependency, 3100, kind, Some(5000))],
            issues: vec![slow],
            left_behind: vec!["a rule".to_owned()],
            ..nothing()
        };
        score(0, &row, &facts)
    };
    let missed = score(0, &row("pause-cart"), &nothing());
    let summary = summarise(&[run(hang()), run(crash()), mitigated, missed], 2, Duration::from_secs(600));
    assert_eq!(summary.detected_ratio, Some(0.75));
    assert_eq!(summary.healed_ratio, Some(0.666667), "2 of the 3 that were expected to heal");
    assert_eq!(summary.as_expected_ratio, Some(0.75));
    let why =
        "the hang of 3: the mitigated and the missed run needed a diagnosis and had none, the crash did not";
    assert_eq!(summary.cause_first_ratio, Some(0.333333), "{why}");
    assert_eq!((summary.false_alarms, summary.quiet_seconds, summary.left_behind), (2, 600.0, 1));
    assert_eq!(summary.crash_detected_ms, Quantiles { p50: Some(12.0), p95: Some(12.0) });
    assert_eq!(summary.hang_verified_ms.p95, Some(2800.0));
    assert_eq!(summary.verified_ms, Quantiles { p50: Some(2800.0), p95: Some(5000.0) });
    assert_eq!((summary.requests_failed, summary.requests), (12, 4000));
}

#[test]
fn a_score_in_json_has_null_where_a_time_was_not_reached() {
    let run = score(0, &row("pause-cart"), &nothing());
    let json = serde_json::to_value(&run).unwrap();
    assert_eq!(
        (json.get("verified_ms"), json["effect_ms"].as_f64()),
        (Some(&serde_json::Value::Null), Some(40.0))
    );
    assert_eq!(serde_json::from_value::<RunScore>(json).unwrap(), run);
}

proptest! {
    #[test]
    fn quantiles_are_by_nearest_rank(values in proptest::collection::vec(0u32..100_000, 1..400)) {
        let quantiles = Quantiles::of(values.iter().map(|value| f64::from(*value)));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        // The rank ⌈n·q⌉ in whole numbers, counted from 1.
        let at = |percent: usize| f64::from(sorted[(sorted.len() * percent).div_ceil(100) - 1]);
        prop_assert_eq!(quantiles, Quantiles { p50: Some(at(50)), p95: Some(at(95)) });
    }
}
