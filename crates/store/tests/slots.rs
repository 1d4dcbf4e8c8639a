//! Slots: no limit is exceeded, whoever asks and however many at once.

mod support;

use domain::*;
use store::*;
use support::*;

fn add(store: &Store, seed: u64, instance: &str) -> Plan {
    let issue = issue(1);
    store.save_issue(&issue).unwrap();
    let plan = repair(seed, &issue, instance);
    store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    plan
}

fn start(store: &Store, plan: &Plan, limits: SlotLimits, now: Time) -> Started {
    store.start_plan(plan.id, &limits, now).unwrap()
}

fn finish(store: &Store, plan: &Plan, now: Time) {
    assert!(store.set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Success, now, None).unwrap());
}

fn is_taken(started: &Started, reason: &str) -> bool {
    matches!(started, Started::Taken(why) if why.contains(reason))
}

#[test]
fn an_hour_holds_ten_plans_of_one_resource_and_a_hundred_in_all() {
    let store = Store::in_memory().unwrap();
    for seed in 0..10 {
        let plan = add(&store, 100 + seed, "cart-0");
        assert_eq!(start(&store, &plan, SlotLimits::SPECIFIED, at(seed)), Started::Yes);
        finish(&store, &plan, at(seed));
    }
    let eleventh = add(&store, 200, "cart-0");
    let refused = start(&store, &eleventh, SlotLimits::SPECIFIED, at(3599));
    assert!(
        is_taken(&refused, "10 of 10 remediation plans an hour were started on instance/cart-0"),
        "{refused:?}"
    );
    for seed in 0..90 {
        let plan = add(&store, 300 + seed, &format!("cart-{}", 1 + seed / 9));
        assert_eq!(start(&store, &plan, SlotLimits::SPECIFIED, at(3599)), Started::Yes);
        finish(&store, &plan, at(3599));
    }
    let other = add(&store, 500, "front-0");
    assert!(is_taken(&start(&store, &other, SlotLimits::SPECIFIED, at(3599)), "100 of 100"));
    assert_eq!(start(&store, &eleventh, SlotLimits::SPECIFIED, at(3600)), Started::Yes, "an hour later");
}

#[test]
fn one_resource_is_repaired_by_one_plan_at_a_time() {
    let store = Store::in_memory().unwrap();
    let (first, second) = (add(&store, 2, "cart-0"), add(&store, 3, "cart-0"));
    assert_eq!(start(&store, &first, SlotLimits::SPECIFIED, at(4)), Started::Yes);
    assert!(is_taken(&start(&store, &second, SlotLimits::SPECIFIED, at(4)), "is running on instance/cart-0"));
    assert!(is_taken(&start(&store, &first, SlotLimits::SPECIFIED, at(4)), "in_progress, not pending"));
    finish(&store, &first, at(5));
    assert_eq!(start(&store, &second, SlotLimits::SPECIFIED, at(5)), Started::Yes);
}

#[test]
fn a_fault_keeps_its_place_until_it_is_taken_out() {
    let store = Store::in_memory().unwrap();
    let one = SlotLimits { concurrent: 1, ..SlotLimits::NONE };
    let (fault, next) = (experiment(2, "cart-0"), experiment(3, "cart-1"));
    for plan in [&fault, &next] {
        store.add_plan(plan, PlanStatus::Pending, &[]).unwrap();
    }
    let token = first_step(&fault);
    let started = store.start_plan_with_intent(token, &fault.steps[0], &Captured::Nothing, &one, at(4));
    assert_eq!(started.unwrap(), Started::Yes);
    assert_eq!(store.entries_without_ending().unwrap().len(), 1);
    store.append_ending(token, &Ending::Done, at(4)).unwrap();
    finish(&store, &fault, at(4));
    assert!(is_taken(&start(&store, &next, one, at(5)), "1 of 1 experiment plans at a time"));
    let repair = add(&store, 4, "cart-0");
    assert_eq!(start(&store, &repair, one, at(5)), Started::Yes, "repairs are counted apart");
    let undone = Ending::Undone { found: Found::Restored, why: "its time is over".to_owned() };
    store.append_ending(token, &undone, at(6)).unwrap();
    assert_eq!(start(&store, &next, one, at(6)), Started::Yes);
}

#[test]
fn a_repair_of_a_disturbed_instance_shares_its_place_and_another_instance_does_not() {
    let store = Store::in_memory().unwrap();
    let one = SlotLimits { instances_per_service: 1, ..SlotLimits::NONE };
    let fault = experiment(2, "cart-0");
    store.add_plan(&fault, PlanStatus::Pending, &[]).unwrap();
    assert_eq!(start(&store, &fault, one, at(3)), Started::Yes);
    let (same, other) = (add(&store, 4, "cart-0"), add(&store, 5, "cart-1"));
    let elsewhere = add(&store, 6, "front-1");
    assert!(is_taken(&start(&store, &other, one, at(7)), "2 instances of cart"));
    assert_eq!(start(&store, &same, one, at(7)), Started::Yes);
    assert_eq!(start(&store, &elsewhere, one, at(7)), Started::Yes);
}

#[test]
fn where_there_is_no_slot_no_intent_is_written() {
    let store = Store::in_memory().unwrap();
    let plan = add(&store, 2, "cart-0");
    let none = SlotLimits { concurrent: 0, ..SlotLimits::NONE };
    let token = first_step(&plan);
    let started = store.start_plan_with_intent(token, &plan.steps[0], &Captured::Nothing, &none, at(3));
    assert!(is_taken(&started.unwrap(), "0 of 0"));
    assert!(store.journal(plan.id).unwrap().is_empty());
    assert_eq!(store.plan(plan.id).unwrap().unwrap().status, PlanStatus::Pending);
}

#[test]
fn threads_that_ask_at_once_never_get_more_than_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let plans: Vec<Plan> = (0..64).map(|seed| add(&store, 10 + seed, &format!("cart-{seed}"))).collect();
    let threads: Vec<_> = plans
        .chunks(8)
        .map(|plans| {
            let (store, plans) = (store.clone(), plans.to_vec());
            std::thread::spawn(move || {
                let started =
                    |plan: &&Plan| start(&store, plan, SlotLimits::SPECIFIED, at(100)) == Started::Yes;
                plans.iter().filter(started).count()
            })
        })
        .collect();
    let started: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(started, 5);
    let running = PlanFilter { status: Some(PlanStatus::InProgress), ..Default::default() };
    assert_eq!(store.plans(&running).unwrap().len(), 5);
}
