//! Plans that wait for their turn: why they do is kept, a person can end them, and nothing stale gets a slot.

mod support;

use domain::*;
use store::*;
use support::*;

fn operation(seed: u64) -> Plan {
    let cause = issue(1);
    let intent = Intent::Operation { why: "it was asked for".to_owned() };
    Plan { intent, requested_by: Actor::Operator("ann".to_owned()), ..repair(seed, &cause, "cart-0") }
}

fn waiting(store: &Store, seed: u64) -> Plan {
    let plan = operation(seed);
    store.add_plan(&plan, PlanStatus::Pending, &["another one is under way".to_owned()]).unwrap();
    plan
}

#[test]
fn why_a_plan_waits_is_kept_as_long_as_it_does() {
    let store = Store::in_memory().unwrap();
    let plan = waiting(&store, 2);
    let reasons = vec!["a third one is".to_owned()];
    assert!(store.keep_waiting(plan.id, &reasons).unwrap());
    assert!(!store.keep_waiting(plan.id, &reasons).unwrap(), "it says so already");
    assert!(store.await_approval(plan.id, &["it ends many".to_owned()], at(60), at(3)).unwrap());
    assert!(!store.keep_waiting(plan.id, &reasons).unwrap(), "it waits for a person");
    let record = store.plan(plan.id).unwrap().unwrap();
    assert_eq!((record.status, record.reasons[0].as_str()), (PlanStatus::AwaitingApproval, "it ends many"));
    let timers: Vec<_> = store.timers().unwrap().iter().map(|timer| (timer.kind, timer.due)).collect();
    assert_eq!(timers, [(TimerKind::ApprovalExpiry, at(60))]);
    assert!(!store.await_approval(plan.id, &reasons, at(60), at(3)).unwrap(), "once");
}

#[test]
fn an_operation_that_waits_can_be_rejected_and_one_that_began_or_a_repair_cannot() {
    let store = Store::in_memory().unwrap();
    let (waits, begun) = (waiting(&store, 2), waiting(&store, 3));
    assert!(store.reject(waits.id, "bo", at(4)).unwrap());
    let record = store.plan(waits.id).unwrap().unwrap();
    assert_eq!((record.status, record.error.as_deref()), (PlanStatus::Refused, Some("rejected by bo")));
    assert_eq!(store.start_plan(begun.id, &SlotLimits::OPERATION, at(5)).unwrap(), Started::Yes);
    assert!(!store.reject(begun.id, "bo", at(6)).unwrap());
    store.save_issue(&issue(1)).unwrap();
    let repair = repair(4, &issue(1), "cart-1");
    store.add_plan(&repair, PlanStatus::Pending, &[]).unwrap();
    assert!(!store.reject(repair.id, "bo", at(6)).unwrap(), "the loop begins it at once");
}

#[test]
fn operations_have_no_rate_and_one_changes_a_resource_at_a_time() {
    let store = Store::in_memory().unwrap();
    let start = |plan: &Plan, now| store.start_plan(plan.id, &SlotLimits::OPERATION, now).unwrap();
    for seed in 0..12 {
        let plan = waiting(&store, 10 + seed);
        assert_eq!(start(&plan, at(seed)), Started::Yes);
        let other = waiting(&store, 100 + seed);
        assert!(matches!(start(&other, at(seed)), Started::Taken(why) if why.contains("is running on")));
        store.set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Success, at(seed), None).unwrap();
    }
}

#[test]
fn what_was_changed_since_it_was_looked_at_gives_no_slot() {
    let store = Store::in_memory().unwrap();
    let (first, second) = (waiting(&store, 2), waiting(&store, 3));
    let seen = |time| SlotLimits { seen: Some(time), ..SlotLimits::OPERATION };
    assert_eq!(store.start_plan(first.id, &seen(at(5)), at(6)).unwrap(), Started::Yes);
    store.set_plan_status(first.id, PlanStatus::InProgress, PlanStatus::Success, at(8), None).unwrap();
    for looked in [at(5), at(7)] {
        assert_eq!(store.changed_since(second.id, looked).unwrap(), Some(first.id));
        let taken = store.start_plan(second.id, &seen(looked), at(9)).unwrap();
        assert!(matches!(taken, Started::Taken(why) if why.contains(&first.id.to_string())));
    }
    assert_eq!(store.start_plan(second.id, &seen(at(8)), at(9)).unwrap(), Started::Yes, "it was seen");
}
