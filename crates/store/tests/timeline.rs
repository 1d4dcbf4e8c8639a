//! What the time line reads: posted events, and what lasted into a range of time.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use domain::*;
use store::*;
use support::*;

fn event(id: &str, from_s: u64, to_s: Option<u64>) -> Happening {
    Happening {
        id: id.to_owned(),
        kind: HappeningKind::Incident,
        from_us: at(from_s).wall_us,
        to_us: to_s.map(|s| at(s).wall_us),
        service: Some("cart".to_owned()),
        caller: None,
        label: "incident".to_owned(),
        title: "the shop is down".to_owned(),
        severity: Some(Severity::High),
        bearing: Bearing::Bad,
        signs: BTreeSet::from([Sign::Errors]),
        of: None,
        links: vec![HappeningLink { rel: "source".to_owned(), href: "https://incidents/1".to_owned() }],
    }
}

fn ids(store: &Store, from_s: u64, to_s: u64) -> Vec<String> {
    store.posted_events(None, at(from_s), at(to_s)).unwrap().into_iter().map(|event| event.id).collect()
}

#[test]
fn a_posted_event_is_read_as_it_was_posted_where_it_lasted() {
    let store = Store::in_memory().unwrap();
    let (over, open) = (event("a", 10, Some(20)), event("b", 15, None));
    assert_eq!(store.post_event(&over, None).unwrap(), (over.clone(), Posted::Added));
    store.post_event(&open, None).unwrap();
    assert_eq!(store.posted_events(None, at(0), at(100)).unwrap(), [open, over]);
    assert_eq!(ids(&store, 21, 30), ["b"], "what is over is not told later");
    assert_eq!(ids(&store, 20, 30), ["b", "a"]);
    assert_eq!(ids(&store, 0, 12), ["a"]);
    assert!(store.posted_events(Some(HappeningKind::Alert), at(0), at(100)).unwrap().is_empty());
}

#[test]
fn the_end_of_what_was_told_to_begin_takes_its_place() {
    let store = Store::in_memory().unwrap();
    let (begun, _) = store.post_event(&event("a", 10, None), Some("INC-7")).unwrap();
    let (ended, posted) = store.post_event(&event("b", 10, Some(40)), Some("INC-7")).unwrap();
    assert_eq!((ended.id.as_str(), posted), (begun.id.as_str(), Posted::Replaced));
    assert_eq!(store.posted_events(None, at(0), at(100)).unwrap(), [ended]);
    let alert = Happening { kind: HappeningKind::Alert, ..event("c", 10, None) };
    assert_eq!(
        store.post_event(&alert, Some("INC-7")).unwrap().1,
        Posted::Added,
        "another kind, another thing"
    );
}

#[test]
fn whoever_posts_without_end_pushes_out_the_oldest() {
    let store = Store::in_memory().unwrap();
    for n in 0..EVENTS_MAX as u64 + 2 {
        store.post_event(&event(&format!("{n:06}"), n, Some(n)), None).unwrap();
    }
    assert!(ids(&store, 0, 1).is_empty());
    assert_eq!(ids(&store, 2, 3), ["000003", "000002"]);
}

#[test]
fn retention_removes_events_that_are_over() {
    let store = Store::in_memory().unwrap();
    store.post_event(&event("over", 10, Some(20)), None).unwrap();
    store.post_event(&event("open", 10, None), None).unwrap();
    let keep = Retention { records: Duration::from_secs(60), health: Duration::from_secs(60) };
    assert_eq!(store.prune(at(81), keep).unwrap().removed, Pruned { events: 1, ..Pruned::default() });
    assert_eq!(ids(&store, 0, 100), ["open"]);
}

#[test]
fn issues_and_plans_are_found_where_they_lasted() {
    let store = Store::in_memory().unwrap();
    let mut early = issue(10);
    early.closed_at = Some(at(20));
    let late = issue(30);
    store.save_issues(&[&early, &late]).unwrap();
    let issues = |from, to| -> Vec<IssueId> {
        store.issues_within(at(from), at(to)).unwrap().iter().map(|issue| issue.id).collect()
    };
    assert_eq!(issues(0, 100), [late.id, early.id]);
    assert_eq!(issues(20, 29), [early.id]);
    assert_eq!(issues(21, 29), []);
    assert_eq!(issues(500, 600), [late.id], "it is open");

    let (first, second) = (repair(12, &early, "cart-0"), repair(32, &late, "cart-1"));
    for plan in [&first, &second] {
        store.add_plan(plan, PlanStatus::Pending, &[]).unwrap();
    }
    store.start_plan(first.id, &SlotLimits::NONE, at(13)).unwrap();
    store.set_plan_status(first.id, PlanStatus::InProgress, PlanStatus::Success, at(18), None).unwrap();
    let plans = |from, to| -> Vec<PlanId> {
        let found = store.plans_within(PlanPurpose::Remediation, at(from), at(to)).unwrap();
        found.iter().map(|record| record.plan.id).collect()
    };
    assert_eq!(plans(0, 100), [second.id, first.id]);
    assert_eq!(plans(18, 31), [first.id]);
    assert_eq!(plans(19, 31), []);
    assert_eq!(plans(500, 600), [second.id], "it still waits");
    assert!(store.plans_within(PlanPurpose::Experiment, at(0), at(100)).unwrap().is_empty());
}
