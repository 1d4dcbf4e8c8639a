//! What is not over is found behind any number of newer ones that are.

mod support;

use domain::*;
use store::*;
use support::*;

#[test]
fn open_issues_are_listed_alone_however_many_closed_ones_are_newer() {
    let store = Store::in_memory().unwrap();
    let open: Vec<Issue> = (0..3).map(issue).collect();
    let closed = |n| Issue { closed_at: Some(at(n + 1)), ..issue(n) };
    let closed: Vec<Issue> = (3..LIST_LIMIT_MAX as u64 + 13).map(closed).collect();
    store.save_issues(&open.iter().chain(&closed).collect::<Vec<_>>()).unwrap();
    let listed = |filter: IssueFilter| store.issues(&filter).unwrap();
    let newest_first: Vec<Issue> = open.iter().rev().cloned().collect();
    let of = |state| IssueFilter { state: Some(state), limit: LIST_LIMIT_MAX, ..IssueFilter::default() };
    assert_eq!(listed(of(IssueState::Open)), newest_first);
    let page = IssueFilter { limit: 2, ..of(IssueState::Open) };
    assert_eq!(listed(page.clone()), newest_first[..2]);
    assert_eq!(listed(IssueFilter { before: Some(newest_first[1].id), ..page }), newest_first[2..]);
    assert_eq!(listed(IssueFilter { since: Some(at(2)), ..of(IssueState::Open) }), newest_first[..1]);
    let over = listed(of(IssueState::Closed));
    assert!(
        over.len() == LIST_LIMIT_MAX && over.iter().all(|issue| IssueState::of(issue) == IssueState::Closed)
    );
    let within = store.issues_within(at(0), at(5_000)).unwrap();
    assert_eq!(within.len(), LIST_LIMIT_MAX + 3);
    assert_eq!(within[LIST_LIMIT_MAX..], newest_first);
}

#[test]
fn what_closed_last_is_found_however_long_it_was_open() {
    let store = Store::in_memory().unwrap();
    let long = Issue { closed_at: Some(at(9_000)), ..issue(0) };
    let short = |n| Issue { closed_at: Some(at(n + 1)), ..issue(n) };
    let short: Vec<Issue> = (1..LIST_LIMIT_MAX as u64 + 10).map(short).collect();
    store.save_issues(&short.iter().chain([&long, &issue(5_000)]).collect::<Vec<_>>()).unwrap();
    let last = store.issues_closed_last().unwrap();
    assert_eq!((last.len(), last.last()), (LIST_LIMIT_MAX, Some(&long)));
}

#[test]
fn a_repair_that_ended_without_a_verdict_is_found_until_it_has_one() {
    let issue = issue(1);
    let store = Store::in_memory().unwrap();
    store.save_issue(&issue).unwrap();
    let (ended, running, refused) =
        (repair(2, &issue, "cart-0"), repair(3, &issue, "cart-1"), repair(4, &issue, "cart-2"));
    for plan in [&ended, &running] {
        store.add_plan(plan, PlanStatus::Pending, &[]).unwrap();
        store.start_plan(plan.id, &SlotLimits::NONE, at(5)).unwrap();
    }
    store.add_plan(&refused, PlanStatus::Refused, &[]).unwrap();
    store.set_plan_status(ended.id, PlanStatus::InProgress, PlanStatus::Failed, at(6), None).unwrap();
    let owed = || -> Vec<PlanId> {
        store.plans_without_outcome().unwrap().iter().map(|record| record.plan.id).collect()
    };
    assert_eq!(owed(), [ended.id]);
    let outcome = Outcome {
        plan: ended.id,
        kind: OutcomeKind::NotHealed,
        started_at: Some(at(5)),
        verified_at: None,
        decided_at: at(7),
        rolled_back: false,
        explanation: None,
    };
    store.save_outcome(&outcome, at(7)).unwrap();
    assert!(owed().is_empty());
}

#[test]
fn an_experiment_that_runs_is_found_behind_any_number_that_do_not() {
    let store = Store::in_memory().unwrap();
    let record = |seed, status| ExperimentRecord {
        id: IdSource::seeded(seed).next(at(seed)),
        status,
        document: "{}".to_owned(),
        created_at: at(seed),
    };
    let running = record(0, ExperimentStatus::Running);
    store.save_experiment(&running).unwrap();
    for seed in 1..LIST_LIMIT_DEFAULT as u64 + 5 {
        store.save_experiment(&record(seed, ExperimentStatus::Refused)).unwrap();
    }
    assert_eq!(store.running_experiments().unwrap(), std::slice::from_ref(&running));
    assert_eq!(store.experiments_by_id(&[running.id]).unwrap(), std::slice::from_ref(&running));
    store.save_experiment(&ExperimentRecord { status: ExperimentStatus::Completed, ..running }).unwrap();
    assert!(store.running_experiments().unwrap().is_empty());
}
