//! What a plan does from its first step to its last undo.

mod support;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use act::{ActError, Due, Executor, Ran};
use decide::plan::ClearedStep;
use domain::*;
use provider::{Change, ProviderError, Undone};
use sim::Trouble;
use store::{EntryState, SlotLimits, Started, Store, TimerKind};
use support::*;

fn memory_limit() -> Attribute {
    Attribute::MemoryLimit(cart())
}

fn mib(mib: u64) -> AttributeValue {
    AttributeValue::Size(Some(Bytes::mib(mib)))
}

#[test]
fn a_remediation_runs_its_steps_and_waits_for_its_signal() {
    let fleet = Fleet::new();
    fleet.provider.set_start_time(Duration::from_millis(300));
    let plan = fleet.plan(vec![memory(192), restart(0)]);
    assert_eq!(fleet.run(&plan), Ran::Done { status: PlanStatus::Verifying });
    assert_eq!(fleet.status(&plan), PlanStatus::Verifying);
    assert_eq!(fleet.states(&plan), [EntryState::Done, EntryState::Done]);
    assert_eq!(fleet.value(&memory_limit()), mib(192));
    assert!(matches!(
        fleet.executor.run_within(&cleared(&plan), &SlotLimits::NONE),
        Err(ActError::NotRunnable { entries: 2, .. })
    ));
}

#[test]
fn a_step_without_effect_in_time_takes_the_earlier_ones_back_last_first() {
    let fleet = Fleet::new();
    let before = fleet.provider.attributes();
    let plan = fleet.plan(vec![memory(192), eject(0), restart(0)]);
    fleet.provider.trouble(token(&plan, 2), Trouble::NoEffect);
    let Ran::TakenBack { step, why, status, report } = fleet.run(&plan) else { panic!("it ran") };
    assert_eq!(step, token(&plan, 2));
    assert!(why.contains("not there within 2.0 s"), "{why}");
    assert_eq!(status, PlanStatus::RolledBack);
    let order: Vec<u32> = report.ended.iter().map(|step| step.token.index).collect();
    assert_eq!(order, [2, 1, 0]);
    assert_eq!(fleet.provider.attributes(), before);
    assert_eq!(fleet.states(&plan), [EntryState::Undone, EntryState::Undone, EntryState::Failed]);
    let record = fleet.store.plan(plan.id).unwrap().unwrap();
    assert!(record.rolled_back && record.error.is_some() && record.completed_at.is_some());
}

#[test]
fn a_step_that_another_plan_replaced_is_not_said_to_be_taken_back() {
    let fleet = Fleet::new();
    let (both, one) = (fleet.plan(vec![memory(192), eject(0)]), fleet.plan(vec![memory(224)]));
    let later = fleet.plan(vec![memory(256)]);
    for plan in [&both, &one, &later] {
        fleet.run(plan);
    }
    let report = fleet.executor.undo_plan(both.id, "asked for").unwrap();
    assert_eq!((report.taken_back(), report.superseded().collect::<Vec<_>>()), (1, vec![token(&both, 0)]));
    assert_eq!(fleet.states(&both), [EntryState::Superseded, EntryState::Undone]);
    let record = fleet.store.plan(both.id).unwrap().unwrap();
    assert_eq!((record.status, record.rolled_back), (PlanStatus::RolledBack, true));
    let why = record.error.unwrap();
    assert!(why.starts_with("asked for; not taken back: step 1 of 2, "), "{why}");

    assert_eq!(fleet.executor.undo_plan(one.id, "asked for").unwrap().taken_back(), 0);
    assert_eq!(fleet.states(&one), [EntryState::Superseded]);
    let record = fleet.store.plan(one.id).unwrap().unwrap();
    assert_eq!((record.status, record.rolled_back), (PlanStatus::Failed, false));
    assert_eq!(fleet.value(&memory_limit()), mib(256), "theirs stays");
}

#[test]
fn a_step_that_fails_after_it_had_its_effect_is_taken_back_too() {
    for trouble in [Trouble::ApplyFailsAfter, Trouble::EffectUnknown] {
        let fleet = Fleet::new();
        let plan = fleet.plan(vec![memory(192)]);
        fleet.provider.trouble(token(&plan, 0), trouble);
        assert!(matches!(fleet.run(&plan), Ran::TakenBack { status: PlanStatus::RolledBack, .. }));
        assert_eq!(fleet.value(&memory_limit()), mib(128), "{trouble:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_written() {
    let fleet = Fleet::new();
    let mut missing = restart(9);
    missing.timeout = Duration::from_millis(1);
    let plan = fleet.plan(vec![missing]);
    let Ran::Refused { why } = fleet.run(&plan) else { panic!("it ran") };
    assert!(why.contains("there is no instance/cart-9"), "{why}");
    assert_eq!(fleet.status(&plan), PlanStatus::Refused);
    assert!(fleet.store.journal(plan.id).unwrap().is_empty());
}

#[test]
fn a_plan_without_a_slot_stays_pending_and_touches_nothing() {
    let fleet = Fleet::new();
    let first = fleet.plan(vec![restart(0)]);
    let second = fleet.plan(vec![restart(1)]);
    let one = SlotLimits { concurrent: 1, ..SlotLimits::SPECIFIED };
    fleet.executor.run_within(&cleared(&first), &one).unwrap();
    let ran = fleet.executor.run_within(&cleared(&second), &one).unwrap();
    assert!(matches!(&ran, Ran::Taken { why } if why.contains("1 of 1 remediation plans")), "{ran:?}");
    assert_eq!(fleet.status(&second), PlanStatus::Pending);
    assert_eq!(fleet.provider.changes(token(&second, 0)), 0);
}

#[test]
fn a_fault_that_never_began_is_refused_at_the_next_start_and_a_repair_waits_on() {
    let fleet = Fleet::new();
    let (fault, repair) = (fleet.plan(vec![pause(0)]), fleet.plan(vec![restart(1)]));
    assert!(act::is_anything_left(&fleet.store).unwrap());
    fleet.executor.recover().unwrap();
    assert_eq!(fleet.status(&fault), PlanStatus::Refused);
    assert_eq!(fleet.status(&repair), PlanStatus::Pending);
    assert!(!act::is_anything_left(&fleet.store).unwrap(), "a repair that waits is left by nobody");
}

#[test]
fn what_may_be_done_again_is_not_awaited_for_long() {
    let fleet = Fleet::new();
    let rotate = Action::RotateLogs { instance: cart().instance(0) };
    let long = Step { timeout: Duration::from_secs(60), ..step(rotate, Undo::NothingToRestore) };
    let plan = fleet.plan(vec![long.clone()]);
    fleet.store.start_plan(plan.id, &SlotLimits::SPECIFIED, fleet.now()).unwrap();
    fleet.store.append_intent(token(&plan, 0), &long, &Captured::Nothing, fleet.now()).unwrap();
    let died = fleet.now();
    fleet.recovered();
    assert_eq!(fleet.status(&plan), PlanStatus::Failed);
    assert!(fleet.now().since(died) < Duration::from_secs(5), "{:?}", fleet.now().since(died));
}

#[test]
fn a_start_waits_for_no_step_and_the_loop_settles_it_when_its_time_is_over() {
    let fleet = Fleet::new();
    let slow = Step { timeout: Duration::from_secs(60), ..restart(0) };
    let plan = fleet.plan(vec![memory(192), slow.clone()]);
    let (first, second) = (token(&plan, 0), token(&plan, 1));
    let fault = fleet.plan(vec![pause(1)]);
    fleet.run(&fault);
    let before = fleet.provider.attributes();
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, fleet.now()).unwrap();
    let cleared = cleared(&plan);
    let memory = cleared.steps().next().unwrap();
    let captured = fleet.provider.capture(memory).unwrap();
    fleet.store.append_intent(first, memory.step(), &captured, fleet.now()).unwrap();
    fleet.provider.apply(memory, &captured).unwrap();
    fleet.store.append_ending(first, &store::Ending::Done, fleet.now()).unwrap();
    // The controller dies between the intent of the restart and the restart.
    let captured = fleet.provider.capture(cleared.steps().nth(1).unwrap()).unwrap();
    fleet.store.append_intent(second, &slow, &captured, fleet.now()).unwrap();

    let died = fleet.now();
    let next = fleet.successor();
    let recovered = next.recover().unwrap();
    assert_eq!(fleet.now(), died, "recovery waited");
    assert_eq!(recovered.faults_taken_out, 1);
    assert!(fleet.provider.faults().is_empty(), "a fault is taken out at once");
    assert_eq!(fleet.status(&plan), PlanStatus::InProgress);
    assert!(next.is_settling());
    fleet.clock.wait(Duration::from_secs(59));
    assert_eq!(next.run_due().unwrap().settled, []);
    assert_eq!(fleet.states(&plan), [EntryState::Done, EntryState::Open]);
    fleet.clock.wait(Duration::from_secs(1));
    let settled = next.run_due().unwrap().settled;
    assert_eq!(settled[0].status, PlanStatus::RolledBack, "{settled:?}");
    assert_eq!(fleet.provider.attributes(), before, "the limit is back");
    assert_eq!(fleet.provider.changes(second), 0, "the restart was not done");
    assert!(!next.is_settling());
}

#[test]
fn a_plan_that_is_still_awaited_is_taken_back_by_hand() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![restart(0)]);
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, fleet.now()).unwrap();
    let captured = fleet.provider.capture(cleared(&plan).steps().next().unwrap()).unwrap();
    fleet.store.append_intent(token(&plan, 0), &plan.steps[0], &captured, fleet.now()).unwrap();
    let next = fleet.successor();
    next.recover().unwrap();
    next.undo_plan(plan.id, "by hand").unwrap();
    assert_eq!(fleet.states(&plan), [EntryState::Failed]);
    fleet.clock.wait(Duration::from_secs(10));
    assert_eq!(next.run_due().unwrap().settled[0].status, PlanStatus::Failed);
    assert_eq!(fleet.provider.changes(token(&plan, 0)), 0);
}

#[test]
fn a_plan_that_was_started_before_runs_without_another_slot() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![restart(0)]);
    assert!(matches!(fleet.executor.run(&cleared(&plan)), Err(ActError::NotRunnable { .. })));
    let started = fleet.store.start_plan(plan.id, &SlotLimits::SPECIFIED, fleet.now()).unwrap();
    assert_eq!(started, Started::Yes);
    assert_eq!(fleet.executor.run(&cleared(&plan)).unwrap(), Ran::Done { status: PlanStatus::Verifying });
}

#[test]
fn a_timed_measure_is_lifted_when_its_time_has_come_and_stays_a_success() {
    let fleet = Fleet::new();
    let mut plan = fleet.plan(vec![replicas(3)]);
    plan.id = IdSource::seeded(99).next(fleet.now());
    plan.lift_after = Some(Duration::from_secs(1800));
    plan.verify = None;
    fleet.add(&plan);
    fleet.run(&plan);
    assert_eq!(fleet.value(&Attribute::Replicas(cart())), AttributeValue::Count(3));
    fleet.clock.wait(Duration::from_secs(1799));
    assert_eq!(fleet.executor.run_due().unwrap(), Due::default());
    fleet.clock.wait(Duration::from_secs(1));
    assert_eq!(fleet.executor.run_due().unwrap().taken_back.len(), 1);
    assert_eq!(fleet.value(&Attribute::Replicas(cart())), AttributeValue::Count(2));
    assert_eq!(fleet.status(&plan), PlanStatus::Success);
    assert!(!fleet.store.plan(plan.id).unwrap().unwrap().rolled_back);
    assert!(fleet.store.timers().unwrap().is_empty());
}

#[test]
fn a_fault_is_in_force_until_its_time_is_over() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![pause(0), partition()]);
    assert_eq!(fleet.run(&plan), Ran::Done { status: PlanStatus::Success });
    assert_eq!(fleet.store.steps_in_force().unwrap().len(), 2);
    fleet.clock.wait(Duration::from_secs(30));
    fleet.executor.run_due().unwrap();
    assert!(fleet.store.steps_in_force().unwrap().is_empty());
    assert_eq!(fleet.status(&plan), PlanStatus::Success);
}

#[test]
fn a_kill_is_over_as_soon_as_it_was_done() {
    let fleet = Fleet::new();
    fleet.provider.set_start_time(Duration::from_secs(60));
    let plan = fleet.plan(vec![kill(0)]);
    assert_eq!(fleet.run(&plan), Ran::Done { status: PlanStatus::Success });
    assert!(fleet.store.steps_in_force().unwrap().is_empty());
    assert!(fleet.store.timers().unwrap().is_empty());
}

#[test]
fn undo_twice_is_harmless_and_leaves_what_others_set_meanwhile() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![memory(192), breaker()]);
    fleet.run(&plan);
    fleet.provider.set_from_outside(&memory_limit(), mib(512));
    assert_eq!(fleet.executor.undo_plan(plan.id, "by hand").unwrap().ended.len(), 2);
    assert!(fleet.executor.undo_plan(plan.id, "by hand").unwrap().ended.is_empty());
    assert_eq!(fleet.value(&memory_limit()), mib(512), "theirs stays");
    assert_eq!(fleet.value(&Attribute::BreakerHeldOpen(link())), AttributeValue::Flag(false));
    assert_eq!(fleet.status(&plan), PlanStatus::RolledBack);
}

#[test]
fn taking_back_an_earlier_plan_does_not_wipe_out_a_later_one() {
    let fleet = Fleet::new();
    let (first, second) = (fleet.plan(vec![memory(192)]), fleet.plan(vec![memory(256)]));
    fleet.run(&first);
    fleet.run(&second);
    fleet.executor.undo_plan(first.id, "by hand").unwrap();
    assert_eq!(fleet.value(&memory_limit()), mib(256));
    fleet.executor.undo_plan(second.id, "by hand").unwrap();
    assert_eq!(fleet.value(&memory_limit()), mib(128), "the first plan's value does not come back");
}

#[test]
fn an_undo_that_fails_is_owed_and_tried_again() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![pause(0)]);
    fleet.run(&plan);
    fleet.provider.trouble(token(&plan, 0), Trouble::UndoFails);
    let report = fleet.executor.undo_plan(plan.id, "by hand").unwrap();
    assert_eq!(report.remaining.len(), 1);
    assert!(fleet.has_timer(&plan, TimerKind::Rollback));
    fleet.provider.calm();
    fleet.clock.wait(Duration::from_secs(5));
    fleet.executor.run_due().unwrap();
    assert!(fleet.provider.faults().is_empty());
    assert!(fleet.store.timers().unwrap().is_empty());
}

#[test]
fn an_irreversible_step_is_kept_and_its_plan_fails() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![remove_files(), memory(192)]);
    fleet.provider.trouble(token(&plan, 1), Trouble::ApplyFailsBefore);
    let Ran::TakenBack { status, report, .. } = fleet.run(&plan) else { panic!("it ran") };
    assert_eq!(status, PlanStatus::Failed);
    assert_eq!(report.kept, [token(&plan, 0)]);
}

#[test]
fn a_hundred_faults_are_stopped_and_nothing_more_is_injected() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = Fleet::over(Store::open(dir.path()).unwrap());
    for _ in 0..50 {
        fleet.run(&fleet.plan(vec![pause(0), partition()]));
    }
    assert_eq!(fleet.provider.faults().len(), 100);
    let stopped = fleet.executor.emergency_stop().unwrap();
    assert_eq!((stopped.faults, stopped.entries), (100, 100));
    assert!(fleet.provider.faults().is_empty() && fleet.store.steps_in_force().unwrap().is_empty());

    let late = fleet.plan(vec![pause(0)]);
    assert!(matches!(fleet.run(&late), Ran::Refused { why } if why.contains("emergency stop")));
    let repair = fleet.plan(vec![restart(0)]);
    assert!(matches!(fleet.run(&repair), Ran::Done { .. }), "repairs go on");
    fleet.store.clear_emergency_stop().unwrap();
    assert!(matches!(fleet.run(&fleet.plan(vec![pause(0)])), Ran::Done { .. }));
}

#[test]
fn an_emergency_stop_while_faults_are_being_injected_leaves_none() {
    for round in 0..20 {
        let fleet = Arc::new(Fleet::new());
        let injecting: Vec<_> = (0..4)
            .map(|_| {
                let fleet = Arc::clone(&fleet);
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        fleet.run(&fleet.plan(vec![pause(0), partition()]));
                    }
                })
            })
            .collect();
        while fleet.provider.faults().len() < 4 + round {
            std::thread::yield_now();
        }
        fleet.executor.emergency_stop().unwrap();
        injecting.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(fleet.provider.faults().is_empty());
        assert!(fleet.store.steps_in_force().unwrap().is_empty());
        assert!(fleet.store.entries_without_ending().unwrap().is_empty());
    }
}

/// Somebody presses the emergency stop after the intent was written and before the fault is there.
struct StoppedMeanwhile {
    provider: sim::MemoryProvider,
    executor: OnceLock<Weak<Executor>>,
}

impl Change for StoppedMeanwhile {
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError> {
        self.provider.check(token, step)
    }
    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.provider.capture(step)
    }
    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        self.executor.get().unwrap().upgrade().unwrap().emergency_stop().unwrap();
        self.provider.apply(step, captured)
    }
    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        self.provider.prove(token, step, captured)
    }
    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        self.provider.undo(token, step, captured)
    }
    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        self.provider.remove_all_faults()
    }
}

#[test]
fn a_fault_that_comes_just_after_the_emergency_stop_is_taken_out_by_its_own_run() {
    for (step, stays) in [(pause(0), false), (memory(192), true)] {
        let fleet = Fleet::new();
        let change =
            Arc::new(StoppedMeanwhile { provider: fleet.provider.clone(), executor: OnceLock::new() });
        let executor = Arc::new(Executor::new(fleet.store.clone(), change.clone(), fleet.clock.clone()));
        change.executor.set(Arc::downgrade(&executor)).unwrap();
        let plan = fleet.plan(vec![step]);
        let ran = executor.run_within(&cleared(&plan), &SlotLimits::NONE).unwrap();
        assert_eq!(matches!(ran, Ran::Done { .. }), stays, "a repair is not stopped: {ran:?}");
        assert!(fleet.provider.faults().is_empty());
        assert!(fleet.store.steps_in_force().unwrap().is_empty());
        assert!(fleet.store.entries_without_ending().unwrap().is_empty());
    }
}

#[test]
fn undoing_a_plan_that_runs_stops_it_first() {
    let fleet = Arc::new(Fleet::new());
    fleet.provider.set_start_time(Duration::from_secs(3600));
    let mut slow = restart(0);
    slow.timeout = Duration::from_secs(100_000_000);
    let plan = fleet.plan(vec![memory(192), slow]);
    let running = {
        let (fleet, plan) = (Arc::clone(&fleet), plan.clone());
        std::thread::spawn(move || fleet.run(&plan))
    };
    while fleet.states(&plan).len() < 2 {
        std::thread::yield_now();
    }
    fleet.provider.set_start_time(Duration::ZERO);
    fleet.executor.undo_plan(plan.id, "changed my mind").unwrap();
    assert_eq!(fleet.value(&memory_limit()), mib(128));
    let ran = running.join().unwrap();
    assert!(matches!(&ran, Ran::TakenBack { .. } | Ran::Done { .. }), "{ran:?}");
    assert_eq!(fleet.status(&plan), PlanStatus::RolledBack);
}

#[test]
fn where_the_intent_cannot_be_written_nothing_is_done() {
    let fleet = Fleet::new();
    let before = fleet.provider.attributes();
    let plans: Vec<Plan> = (0..200).map(|_| fleet.plan(vec![eject(0), eject(1), breaker()])).collect();
    fleet.store.limit_size(Some(1)).unwrap();
    let mut written = 0;
    let failed =
        plans.iter().find(|plan| match fleet.executor.run_within(&cleared(plan), &SlotLimits::NONE) {
            Ok(_) => {
                written += 1;
                false
            }
            Err(ActError::Journal(store::StoreError::Full)) => true,
            Err(error) => panic!("{error:?}"),
        });
    let failed = failed.expect("200 journals do not fit into no room");
    let entries = fleet.store.journal(failed.id).unwrap().len() as u32;
    for index in entries..3 {
        assert_eq!(fleet.provider.changes(token(failed, index)), 0, "step {index} has no intent");
    }
    fleet.store.limit_size(None).unwrap();
    fleet.executor.run_due().unwrap();
    assert_ne!(fleet.status(failed), PlanStatus::InProgress);
    for plan in &plans[..=written] {
        fleet.executor.undo_plan(plan.id, "clean up").unwrap();
    }
    assert_eq!(fleet.provider.attributes(), before);
    assert!(fleet.store.entries_without_ending().unwrap().is_empty());
}

#[test]
fn whether_a_plan_can_begin_is_asked_without_touching_anything() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![memory(192), restart(0)]);
    assert_eq!(fleet.executor.refusal(&cleared(&plan)), None);
    fleet.provider.trouble(token(&plan, 0), Trouble::CheckRefuses);
    let why = fleet.executor.refusal(&cleared(&plan));
    assert!(why.as_ref().is_some_and(|why| why.contains("went wrong")), "{why:?}");
    assert!((0..2).all(|index| fleet.provider.changes(token(&plan, index)) == 0));
    assert!(fleet.store.journal(plan.id).unwrap().is_empty());
    assert_eq!(fleet.status(&plan), PlanStatus::Pending);
}

#[test]
fn a_plan_nobody_added_is_not_run() {
    let fleet = Fleet::new();
    let mut plan = fleet.plan(vec![restart(0)]);
    plan.id = IdSource::seeded(1234).next(fleet.now());
    let executor: &Executor = &fleet.executor;
    assert!(matches!(
        executor.run_within(&cleared(&plan), &SlotLimits::NONE),
        Err(ActError::UnknownPlan(id)) if id == plan.id
    ));
}

#[test]
fn a_plan_that_two_threads_run_at_once_runs_once_and_keeps_its_effect() {
    for _ in 0..50 {
        let fleet = Arc::new(Fleet::new());
        let plan = fleet.plan(vec![memory(192), eject(0)]);
        fleet.store.start_plan(plan.id, &SlotLimits::NONE, fleet.now()).unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (fleet, plan) = (Arc::clone(&fleet), plan.clone());
                std::thread::spawn(move || fleet.executor.run(&cleared(&plan)).is_ok())
            })
            .collect();
        let ran = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(ran.filter(|ran| *ran).count(), 1);
        assert_eq!(fleet.value(&memory_limit()), mib(192));
        assert_eq!(fleet.status(&plan), PlanStatus::Verifying);
    }
}
