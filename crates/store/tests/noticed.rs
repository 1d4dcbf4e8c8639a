//! How soon faults of our own are noticed: which issue tells of which fault.

mod support;

use std::time::Duration;

use domain::*;
use store::*;
use support::*;

/// An experiment on an instance whose fault was in force between two times.
fn fault_between(store: &Store, instance: &str, began: u64, ended: Option<u64>) {
    let plan = experiment(began, instance);
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    let token = first_step(&plan);
    let limits = SlotLimits::default();
    let started = store.start_plan_with_intent(token, &plan.steps[0], &Captured::Nothing, &limits, at(began));
    assert_eq!(started.unwrap(), Started::Yes);
    store.append_ending(token, &Ending::Done, at(began)).unwrap();
    if let Some(ended) = ended {
        let undone = Ending::Undone { found: Found::Restored, why: "its time is over".to_owned() };
        store.append_ending(token, &undone, at(ended)).unwrap();
        let (now, then) = (PlanStatus::InProgress, PlanStatus::Success);
        assert!(store.set_plan_status(plan.id, now, then, at(ended), None).unwrap());
    }
}

#[test]
fn an_issue_tells_of_the_fault_that_was_in_force_and_of_no_other() {
    let store = Store::in_memory().unwrap();
    // Nobody notices the first; the second is noticed after 2 s, and once more later.
    fault_between(&store, "cart-0", 10, Some(11));
    fault_between(&store, "cart-0", 460, Some(463));
    store.save_issue(&issue(462)).unwrap();
    store.save_issue(&issue(463)).unwrap();
    let noticed = || -> Vec<Duration> {
        let figures = store.figures(at(0)).unwrap();
        figures.by_kind.into_values().flat_map(|kind| kind.noticed).collect()
    };
    assert_eq!(noticed(), [Duration::from_secs(2)]);
    assert_eq!(store.figures(at(0)).unwrap().faults, 2);

    // One that is in force still is noticed at its service, and one that is just over late.
    fault_between(&store, "front-0", 1000, Some(1001));
    fault_between(&store, "cart-1", 1010, None);
    let on = |seed: u64, resource: &str| Issue { resource: resource.parse().unwrap(), ..issue(seed) };
    store.save_issue(&on(1030, "instance/front-0")).unwrap();
    store.save_issue(&on(1900, "service/cart")).unwrap();
    assert_eq!(noticed(), [2, 30, 890].map(Duration::from_secs));
}
