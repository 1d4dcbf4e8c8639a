//! What is written is read again, changes by compare-and-set, and is told.

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::*;
use store::*;
use support::*;

fn store_with(issue: &Issue) -> Store {
    let store = Store::in_memory().unwrap();
    store.save_issue(issue).unwrap();
    store
}

#[test]
fn issues_are_listed_newest_first_by_page_and_by_filter() {
    let store = Store::in_memory().unwrap();
    let issues: Vec<Issue> = (0..5).map(issue).collect();
    issues.iter().for_each(|issue| store.save_issue(issue).unwrap());
    let newest_first: Vec<IssueId> = issues.iter().rev().map(|issue| issue.id).collect();
    let ids = |filter: &IssueFilter| -> Vec<IssueId> {
        store.issues(filter).unwrap().iter().map(|issue| issue.id).collect()
    };
    let page = IssueFilter { limit: 2, ..IssueFilter::default() };
    assert_eq!(ids(&page), newest_first[..2]);
    assert_eq!(ids(&IssueFilter { before: Some(newest_first[1]), ..page }), newest_first[2..4]);
    let all = IssueFilter::default();
    assert_eq!(ids(&IssueFilter { since: Some(at(3)), ..all.clone() }), newest_first[..2]);
    assert!(ids(&IssueFilter { kind: Some(IssueKind::DiskFull), ..all.clone() }).is_empty());
    assert_eq!(ids(&IssueFilter { severity: Some(Severity::High), ..all.clone() }).len(), 5);
    let elsewhere = Some("instance/cart-1".parse().unwrap());
    assert!(ids(&IssueFilter { resource: elsewhere, ..all }).is_empty());
    assert_eq!(store.issue(issues[3].id).unwrap().as_ref(), Some(&issues[3]));
}

#[test]
fn a_closed_issue_is_open_no_more_and_a_verified_repair_marks_it() {
    let mut issue = issue(1);
    let store = store_with(&issue);
    assert_eq!(store.open_issues().unwrap(), [issue.clone()]);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let outcome = Outcome {
        plan: plan.id,
        kind: OutcomeKind::Healed,
        started_at: Some(at(3)),
        verified_at: Some(at(5)),
        decided_at: at(15),
        rolled_back: false,
        explanation: None,
    };
    store.save_outcome(&outcome, at(15)).unwrap();
    assert_eq!(store.plan(plan.id).unwrap().unwrap().outcome.as_ref(), Some(&outcome));
    issue.closed_at = Some(at(15));
    store.save_issue(&issue).unwrap();
    assert!(store.open_issues().unwrap().is_empty());
    let remediated = || store.statistics(at(0)).unwrap().issues_remediated;
    assert_eq!(remediated(), 1, "closing it does not forget the repair");
    // A recurrence in the hold window takes the credit back.
    store.save_outcome(&Outcome { kind: OutcomeKind::NotHealed, ..outcome }, at(16)).unwrap();
    assert_eq!(remediated(), 0);
}

#[test]
fn plans_are_found_by_status_resource_purpose_and_issue() {
    let issue = issue(1);
    let store = store_with(&issue);
    let (repair, fault) = (repair(2, &issue, "cart-0"), experiment(3, "cart-1"));
    store
        .add_plan(&repair, PlanStatus::AwaitingApproval, &["confidence 70 % is below 85 %".to_owned()])
        .unwrap();
    store.add_plan(&fault, PlanStatus::Pending, &[]).unwrap();
    let ids = |filter: PlanFilter| -> Vec<PlanId> {
        store.plans(&filter).unwrap().iter().map(|record| record.plan.id).collect()
    };
    assert_eq!(ids(PlanFilter::default()), [fault.id, repair.id]);
    assert_eq!(ids(PlanFilter { only: Some(PlanPurpose::Remediation), ..Default::default() }), [repair.id]);
    assert_eq!(ids(PlanFilter { status: Some(PlanStatus::Pending), ..Default::default() }), [fault.id]);
    let resource = Some("instance/cart-1".parse().unwrap());
    assert_eq!(ids(PlanFilter { resource, ..Default::default() }), [fault.id]);
    assert_eq!(ids(PlanFilter { since: Some(at(3)), ..Default::default() }), [fault.id]);
    let unknown: IssueId = "00000000-0000-0000-0000-000000000000".parse().unwrap();
    assert_eq!(store.plans_of_issues(&[issue.id, unknown]).unwrap(), store.plans_of_issue(issue.id).unwrap());
    assert_eq!(store.issues_by_id(&[unknown, issue.id]).unwrap().len(), 1);
    assert_eq!(store.plans_of_issue(issue.id).unwrap().len(), 1);
    assert_eq!(store.unfinished_plans().unwrap().len(), 2);
    let record = store.plan(repair.id).unwrap().unwrap();
    assert_eq!(*record.plan, repair);
    assert_eq!(record.reasons, ["confidence 70 % is below 85 %"]);
}

#[test]
fn a_verifying_plan_is_listed_as_in_progress() {
    let issue = issue(1);
    let store = store_with(&issue);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Verifying, &[]).unwrap();
    let in_progress = PlanFilter { status: Some(PlanStatus::InProgress), ..Default::default() };
    assert_eq!(store.plans(&in_progress).unwrap().len(), 1);
}

#[test]
fn a_status_moves_only_from_what_was_expected() {
    let issue = issue(1);
    let store = store_with(&issue);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let (pending, failed) = (PlanStatus::Pending, PlanStatus::Failed);
    assert!(!store.set_plan_status(plan.id, PlanStatus::InProgress, failed, at(3), None).unwrap());
    assert!(store.set_plan_status(plan.id, pending, failed, at(4), Some("no luck")).unwrap());
    assert!(!store.set_plan_status(plan.id, pending, failed, at(5), Some("again")).unwrap());
    let record = store.plan(plan.id).unwrap().unwrap();
    assert_eq!((record.status, record.error.as_deref()), (failed, Some("no luck")));
    assert_eq!(record.completed_at, Some(at(4)));
}

#[test]
fn a_person_decides_once() {
    let issue = issue(1);
    let store = store_with(&issue);
    let (yes, no) = (repair(2, &issue, "cart-0"), repair(3, &issue, "cart-0"));
    for plan in [&yes, &no] {
        store.add_plan(plan, PlanStatus::AwaitingApproval, &[]).unwrap();
    }
    assert!(store.approve(yes.id, "ana", at(4)).unwrap());
    assert!(!store.reject(yes.id, "bo", at(5)).unwrap());
    assert!(store.reject(no.id, "bo", at(5)).unwrap());
    let (yes, no) = (store.plan(yes.id).unwrap().unwrap(), store.plan(no.id).unwrap().unwrap());
    assert_eq!((yes.status, no.status), (PlanStatus::Pending, PlanStatus::Refused));
    let decision = Decision { who: "ana".to_owned(), at: at(4), verdict: Verdict::Approved, why: None };
    assert_eq!(yes.decision, Some(decision));
    assert!(store.explain_decision(no.plan.id, "the cache is needed").unwrap());
    let explained = store.plan(no.plan.id).unwrap().unwrap().decision.unwrap();
    assert_eq!((explained.who.as_str(), explained.why.as_deref()), ("bo", Some("the cache is needed")));
    assert_eq!(no.error.as_deref(), Some("rejected by bo"));
}

#[test]
fn what_nobody_decided_has_no_reason() {
    let issue = issue(1);
    let store = store_with(&issue);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::AwaitingApproval, &[]).unwrap();
    assert!(!store.explain_decision(plan.id, "because").unwrap());
    assert_eq!(store.plan(plan.id).unwrap().unwrap().decision, None);
}

#[test]
fn a_remediation_needs_its_issue() {
    let store = Store::in_memory().unwrap();
    let plan = repair(2, &issue(1), "cart-0");
    assert!(store.add_plan(&plan, PlanStatus::Pending, &[]).is_err());
    assert!(store.plan(plan.id).unwrap().is_none());
}

#[test]
fn a_journal_entry_goes_forward_only() {
    let store = Store::in_memory().unwrap();
    let plan = experiment(1, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let token = first_step(&plan);
    store.append_intent(token, &plan.steps[0], &Captured::Nothing, at(2)).unwrap();
    assert!(store.append_intent(token, &plan.steps[0], &Captured::Nothing, at(2)).is_err(), "intent twice");
    assert_eq!(store.entries_without_ending().unwrap().len(), 1);
    assert!(store.steps_in_force().unwrap().is_empty());
    store.append_ending(token, &Ending::Done, at(3)).unwrap();
    assert!(store.entries_without_ending().unwrap().is_empty());
    assert_eq!(store.steps_in_force().unwrap()[0].token, token);
    let undone = Ending::Undone { found: Found::Restored, why: "its time is over".to_owned() };
    store.append_ending(token, &undone, at(4)).unwrap();
    store.append_ending(token, &undone, at(5)).unwrap();
    assert!(matches!(
        store.append_ending(token, &Ending::Done, at(6)),
        Err(StoreError::EndingRefused { state: EntryState::Undone, ending: EntryState::Done, .. })
    ));
    let entry = &store.journal(plan.id).unwrap()[0];
    let endings: Vec<Time> = entry.endings.iter().map(|ended| ended.at).collect();
    assert_eq!((entry.intent_at, endings), (at(2), vec![at(3), at(4)]));
}

#[test]
fn several_endings_are_written_all_or_none() {
    let store = Store::in_memory().unwrap();
    let plan = experiment(1, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let token = first_step(&plan);
    store.append_intent(token, &plan.steps[0], &Captured::Nothing, at(2)).unwrap();
    let missing = StepToken { index: 1, ..token };
    assert!(store.append_endings(&[(token, Ending::Done), (missing, Ending::Done)], at(3)).is_err());
    assert_eq!(store.journal(plan.id).unwrap()[0].state(), EntryState::Open);
}

#[test]
fn timers_are_due_by_the_boot_clock_and_stay_until_removed() {
    let store = Store::in_memory().unwrap();
    let plan = experiment(1, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let timer = Timer { kind: TimerKind::FaultExpiry, plan: plan.id, due: at(10) };
    store.add_timer(&timer).unwrap();
    let skewed = Time { wall_us: i64::MAX, ..at(9) };
    assert!(store.due_timers(skewed).unwrap().is_empty(), "a wall clock set forward makes nothing due");
    assert_eq!(store.due_timers(at(10)).unwrap(), [timer]);
    assert_eq!(store.due_timers(at(11)).unwrap(), [timer]);
    assert!(store.remove_timer(TimerKind::FaultExpiry, plan.id).unwrap());
    assert!(!store.remove_timer(TimerKind::FaultExpiry, plan.id).unwrap());
    assert!(store.timers().unwrap().is_empty());
}

#[test]
fn switches_are_kept_and_the_emergency_stop_stays_latched() {
    let store = Store::in_memory().unwrap();
    let cart = ServiceName::new("cart").unwrap();
    assert!(store.switches().unwrap().automation);
    store.set_automation(false).unwrap();
    store.latch_emergency_stop(at(1)).unwrap();
    store.latch_emergency_stop(at(2)).unwrap();
    store.pause_service(&cart, Some(at(60))).unwrap();
    let switches = store.switches().unwrap();
    assert_eq!((switches.automation, switches.emergency_stop), (false, Some(at(1))));
    assert!(switches.is_paused(&cart, at(59)) && !switches.is_paused(&cart, at(60)));
    store.clear_emergency_stop().unwrap();
    store.pause_service(&cart, None).unwrap();
    let switches = store.switches().unwrap();
    assert!(switches.emergency_stop.is_none() && switches.pauses.is_empty());
}

#[test]
fn documents_health_and_experiments_are_read_as_written() {
    let store = Store::in_memory().unwrap();
    assert_eq!(store.document("rates").unwrap(), None);
    store.put_document("rates", "{}").unwrap();
    store.put_document("rates", r#"{"a":1}"#).unwrap();
    assert_eq!(store.document("rates").unwrap().as_deref(), Some(r#"{"a":1}"#));

    let health = |seconds| HealthRecord {
        overall: Some(97),
        compute: Some(100),
        network: Some(92),
        storage: Some(100),
        database: None,
        security: None,
        coverage: 0.65,
        issues_detected: 1,
        auto_remediated: 3,
        at: at(seconds),
    };
    (0..3).for_each(|seconds| store.add_health(&health(seconds)).unwrap());
    assert_eq!(store.health_since(at(1)).unwrap(), [health(1), health(2)]);

    let mut record = ExperimentRecord {
        id: IdSource::seeded(1).next(at(1)),
        status: ExperimentStatus::Running,
        document: "{}".to_owned(),
        created_at: at(1),
    };
    store.save_experiment(&record).unwrap();
    record.status = ExperimentStatus::Completed;
    store.save_experiment(&record).unwrap();
    assert_eq!(store.experiment(record.id).unwrap().as_ref(), Some(&record));
    assert_eq!(store.experiments(10, None).unwrap(), [record.clone()]);
    assert!(store.experiments(10, Some(record.id)).unwrap().is_empty());
}

#[test]
fn every_durable_change_is_told_in_order_until_the_subscription_ends() {
    let store = Store::in_memory().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let subscription = {
        let (seen, reader) = (Arc::clone(&seen), store.clone());
        store.subscribe(move |changed| {
            // Told after the write is durable, with no lock held: reading here sees it.
            assert!(reader.issues(&IssueFilter::default()).unwrap().len() == changed.sequence as usize);
            seen.lock().unwrap().push((changed.topic, changed.id.clone()));
        })
    };
    let (one, two) = (issue(1), issue(2));
    store.save_issue(&one).unwrap();
    drop(subscription);
    store.save_issue(&two).unwrap();
    assert_eq!(*seen.lock().unwrap(), [(Topic::Issues, one.id.to_string())]);
    assert_eq!(store.changes(), 2);
}

#[test]
fn statistics_count_what_ended_and_how_long_it_took() {
    let issue = issue(1);
    let store = store_with(&issue);
    for (seed, status) in [(2, PlanStatus::Success), (3, PlanStatus::Failed), (4, PlanStatus::Refused)] {
        let plan = repair(seed, &issue, "cart-0");
        store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
        if status != PlanStatus::Refused {
            assert_eq!(store.start_plan(plan.id, &SlotLimits::NONE, at(10)).unwrap(), Started::Yes);
            store.set_plan_status(plan.id, PlanStatus::InProgress, status, at(14), None).unwrap();
        } else {
            store.set_plan_status(plan.id, PlanStatus::Pending, status, at(14), None).unwrap();
        }
    }
    let statistics = store.statistics(at(0)).unwrap();
    assert_eq!((statistics.issues_detected, statistics.remediations), (1, 3));
    assert_eq!((statistics.successful, statistics.failed, statistics.refused), (1, 1, 1));
    assert_eq!(statistics.average_remediation, Some(Duration::from_secs(4)));
    assert_eq!(store.statistics(at(1000)).unwrap(), Statistics::default());

    let cause = r#"{"causes": [{"confidence": 90.0}, {"confidence": 10.0}]}"#;
    store.put_document(&diagnosis_key(issue.id), cause).unwrap();
    let repairs = store.repairs_between(at(0), None).unwrap();
    let detected = at(14).since(issue.detected_at);
    assert_eq!((repairs.remediation, repairs.healing), (vec![Duration::from_secs(4)], vec![detected]));
    assert_eq!((repairs.without_a_person, repairs.confidences.mean()), (1, Some(90.0)));
    let (kind, severity) = (issue.kind.name().to_owned(), issue.severity.name().to_owned());
    assert_eq!(repairs.issues_by_resource, [(issue.resource.to_string(), kind.clone(), 1)]);
    assert_eq!(repairs.open_issues, [(kind, severity, 1)]);
}

#[test]
fn retention_removes_what_is_over_and_old_and_nothing_that_is_owed() {
    let mut old = issue(1);
    let store = store_with(&old);
    let finished = repair(2, &old, "cart-0");
    let fault = experiment(3, "cart-1");
    store.add_plan(&finished, PlanStatus::Failed, &[]).unwrap();
    store.add_plan(&fault, PlanStatus::Success, &[]).unwrap();
    let token = first_step(&fault);
    store.append_intent(token, &fault.steps[0], &Captured::Nothing, at(4)).unwrap();
    store.append_ending(token, &Ending::Done, at(4)).unwrap();
    store.put_document(&diagnosis_key(old.id), "{}").unwrap();
    store.put_document("lessons/rates", "{}").unwrap();
    let keep = Retention { records: Duration::from_secs(60), health: Duration::from_secs(60) };

    store.prune(at(1000), keep).unwrap();
    assert!(store.issue(old.id).unwrap().is_some(), "it is open");
    assert!(store.document(&diagnosis_key(old.id)).unwrap().is_some(), "its issue is kept");
    assert!(store.plan(finished.id).unwrap().is_none());
    assert!(store.plan(fault.id).unwrap().is_some(), "its fault is in force");

    old.closed_at = Some(at(5));
    store.save_issue(&old).unwrap();
    let undone = Ending::Undone { found: Found::Restored, why: "its time is over".to_owned() };
    store.append_ending(token, &undone, at(5)).unwrap();
    let pruned = store.prune(at(1000), keep).unwrap().removed;
    assert_eq!((pruned.issues, pruned.plans, pruned.diagnoses), (1, 1, 1));
    assert!(store.journal(fault.id).unwrap().is_empty());
    assert_eq!(store.document(&diagnosis_key(old.id)).unwrap(), None);
    assert!(store.document("lessons/rates").unwrap().is_some(), "what was learned stays");
}

#[test]
fn retention_counts_from_the_end_of_what_is_over_and_leaves_the_rest() {
    let mut closed = issue(1);
    closed.closed_at = Some(at(100));
    let store = store_with(&closed);
    let waiting = repair(2, &closed, "cart-0");
    let measure = repair(3, &closed, "cart-1");
    store.add_plan(&waiting, PlanStatus::AwaitingApproval, &[]).unwrap();
    store.add_plan(&measure, PlanStatus::Success, &[]).unwrap();
    store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: measure.id, due: at(5000) }).unwrap();
    let experiment = |n, status| ExperimentRecord {
        id: IdSource::seeded(n).next(at(10)),
        status,
        document: "{}".to_owned(),
        created_at: at(10),
    };
    let (running, over) =
        (experiment(4, ExperimentStatus::Running), experiment(5, ExperimentStatus::Aborted));
    store.save_experiment(&running).unwrap();
    store.save_experiment(&over).unwrap();
    let keep = Retention { records: Duration::from_secs(60), health: Duration::from_secs(30) };

    let pruned = store.prune(at(69), keep).unwrap().removed;
    assert_eq!(pruned, Pruned::default(), "nothing is older than a minute");
    let pruned = store.prune(at(1000), keep).unwrap().removed;
    assert_eq!(pruned, Pruned { experiments: 1, ..Pruned::default() });
    assert!(store.plan(waiting.id).unwrap().is_some(), "a person is asked");
    assert!(store.plan(measure.id).unwrap().is_some(), "it is to be lifted");
    assert!(store.issue(closed.id).unwrap().is_some(), "its plans are kept");
    assert!(store.experiment(running.id).unwrap().is_some() && store.experiment(over.id).unwrap().is_none());
}

#[test]
fn a_plan_that_waits_for_a_person_never_stands_without_the_timer_that_ends_it() {
    let issue = issue(1);
    let store = store_with(&issue);
    let seen: Arc<Mutex<Vec<(PlanStatus, usize)>>> = Arc::default();
    let (told, of) = (Arc::clone(&seen), store.clone());
    // What a control plane that dies of its own write leaves.
    let _told = store.subscribe(move |change| {
        if change.topic == Topic::Plans {
            let status = of.plan(change.id.parse().unwrap()).unwrap().unwrap().status;
            told.lock().unwrap().push((status, of.timers().unwrap().len()));
        }
    });
    for (seed, ends) in [(2, PlanStatus::Pending), (3, PlanStatus::Refused), (4, PlanStatus::Refused)] {
        let plan = repair(seed, &issue, "cart-0");
        store.add_plan_to_approve(&plan, &[], at(60)).unwrap();
        match seed {
            2 => assert!(store.approve(plan.id, "ann", at(5)).unwrap()),
            3 => assert!(store.reject(plan.id, "ann", at(5)).unwrap()),
            _ => {
                let from = PlanStatus::AwaitingApproval;
                assert!(store.set_plan_status(plan.id, from, ends, at(61), Some("too late")).unwrap());
            }
        }
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        assert_eq!(seen, [(PlanStatus::AwaitingApproval, 1), (ends, 0)]);
    }
}

#[test]
fn what_was_started_lately_is_told_by_the_boot_clock() {
    let issue = issue(1);
    let store = store_with(&issue);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    store.start_plan(plan.id, &SlotLimits::NONE, at(10)).unwrap();
    const DAY: Duration = Duration::from_secs(86_400);
    let started = |now: Time| store.started_plans(PlanPurpose::Remediation, DAY, now).unwrap().len();
    // Somebody sets the wall clock a year ahead, or back.
    const YEAR_US: i64 = 365 * 86_400 * 1_000_000;
    for step in [YEAR_US, 0, -YEAR_US] {
        let now = at(20);
        assert_eq!(started(Time { wall_us: now.wall_us + step, ..now }), 1);
    }
    assert_eq!(started(at(11).plus(DAY)), 0);
}

fn deployment(second: u64, version: &str, seen_by: SeenBy) -> Deployment {
    Deployment {
        id: IdSource::seeded(second).next(at(second)),
        service: ServiceName::new("cart").unwrap(),
        version: Some(version.to_owned()),
        previous_version: None,
        at: at(second),
        finished_at: None,
        seen_by,
        plan: None,
        rolls_back: None,
        former: None,
        before: Some(CallCounts { requests: 90, errors: 1, slow: 2 }),
    }
}

#[test]
fn a_deployment_that_spans_show_after_the_plan_that_made_it_is_recorded_once() {
    let store = Store::in_memory().unwrap();
    let planned =
        Deployment { plan: Some(IdSource::seeded(9).next(at(1))), ..deployment(1, "2", SeenBy::Plan) };
    assert_eq!(store.record_deployment(&planned).unwrap(), planned);
    assert_eq!(store.record_deployment(&deployment(3, "2", SeenBy::Spans)).unwrap(), planned);
    assert_eq!(store.record_deployment(&deployment(4, "2", SeenBy::Posted)).unwrap(), planned);
    let finished = Deployment { finished_at: Some(at(5)), ..planned };
    store.record_deployment(&finished).unwrap();
    let next = store.record_deployment(&deployment(6, "3", SeenBy::Spans)).unwrap();
    assert_eq!(store.deployments(at(0)).unwrap(), [finished.clone(), next.clone()]);
    assert_eq!(store.deployments(at(2)).unwrap(), std::slice::from_ref(&next));
    assert_eq!(store.last_deployment(&next.service).unwrap().as_ref(), Some(&next));
    assert_eq!(store.deployment_of_plan(finished.plan.unwrap()).unwrap().as_ref(), Some(&finished));
    assert_eq!(store.deployment(finished.id).unwrap(), Some(finished));
}

#[test]
fn retention_keeps_the_last_deployment_of_a_service() {
    let store = Store::in_memory().unwrap();
    store.record_deployment(&deployment(1, "1", SeenBy::Posted)).unwrap();
    let last = store.record_deployment(&deployment(2, "2", SeenBy::Posted)).unwrap();
    let keep = Retention { records: Duration::from_secs(60), health: Duration::from_secs(60) };
    assert_eq!(store.prune(at(1000), keep).unwrap().removed.deployments, 1);
    assert_eq!(store.deployments(at(0)).unwrap(), [last]);
}

#[test]
fn figures_tell_repairs_by_type_and_strategy() {
    let issue = issue(1);
    let store = store_with(&issue);
    let plan = repair(2, &issue, "cart-0");
    store.add_plan(&plan, PlanStatus::AwaitingApproval, &[]).unwrap();
    store.reject(plan.id, "bo", at(5)).unwrap();
    let figures = store.figures(Time { boot_us: 0, wall_us: 0 }).unwrap();
    let kind = &figures.by_kind[issue.kind.name()];
    assert_eq!((kind.detected, kind.repaired.len(), figures.faults), (1, 0, 0));
    let outcomes: Vec<_> = figures.by_strategy.values().flatten().collect();
    assert_eq!(outcomes, [(&"refused".to_owned(), &1)]);
}
