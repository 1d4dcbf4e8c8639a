//! The control plane dies at every boundary between two effects: before and after every call of the provider,
//! and after every durable write. The next one recovers; then we look for anything left.
//!
//! What happens between two boundaries changes nothing outside the process, so these are all the instants
//! there are.

mod support;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use act::Executor;
use decide::plan::ClearedStep;
use domain::{
    Action, Attribute, AttributeValue, Captured, Clock, Effect, IdSource, Intent, Plan, PlanStatus, Step,
    StepToken, UpWhen,
};
use proptest::prelude::*;
use provider::{Change, ProviderError, Undone};
use sim::{MemoryProvider, Trouble};
use store::{EntryState, SlotLimits};
use support::*;

/// Counts boundaries and dies at one of them.
struct Death {
    left: AtomicU64,
}

struct Died;

impl Death {
    fn at(boundary: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(boundary) })
    }

    fn boundary(&self) {
        // Once dead nothing more happens: the unwinding thread makes no further call.
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            panic::resume_unwind(Box::new(Died));
        }
    }
}

/// A provider whose caller may die before and after every call.
struct Mortal {
    provider: MemoryProvider,
    death: Arc<Death>,
}

impl Mortal {
    fn call<T>(&self, call: impl FnOnce(&MemoryProvider) -> T) -> T {
        self.death.boundary();
        let answer = call(&self.provider);
        self.death.boundary();
        answer
    }
}

impl Change for Mortal {
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError> {
        self.call(|provider| provider.check(token, step))
    }
    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.call(|provider| provider.capture(step))
    }
    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        self.call(|provider| provider.apply(step, captured))
    }
    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        self.call(|provider| provider.prove(token, step, captured))
    }
    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        self.call(|provider| provider.undo(token, step, captured))
    }
    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        self.call(MemoryProvider::remove_all_faults)
    }
}

/// Lets `work` run on a controller that dies at `boundary`. `true`: it died.
fn dies(fleet: &Fleet, boundary: u64, work: impl FnOnce(&Executor)) -> bool {
    let death = Death::at(boundary);
    let mortal = Mortal { provider: fleet.provider.clone(), death: Arc::clone(&death) };
    let executor = Executor::new(fleet.store.clone(), Arc::new(mortal), fleet.clock.clone());
    let _subscription = fleet.store.subscribe(move |_| death.boundary());
    match panic::catch_unwind(AssertUnwindSafe(|| work(&executor))) {
        Ok(()) => false,
        Err(payload) if payload.is::<Died>() => true,
        Err(other) => panic::resume_unwind(other),
    }
}

/// Runs `check` with the controller dying at boundary 0, 1, 2, … until it lives to the end. Returns how many
/// deaths there were.
fn at_every_boundary(mut check: impl FnMut(u64) -> bool) -> u64 {
    (0..10_000).find(|boundary| !check(*boundary)).expect("a run has an end")
}

/// What must hold after recovery, wherever the controller died.
fn nothing_is_left(fleet: &Fleet, plan: &Plan, before: &Attributes, context: &str) {
    assert!(fleet.provider.faults().is_empty(), "{context}: a fault was left behind");
    assert!(fleet.store.entries_without_ending().unwrap().is_empty(), "{context}: an entry is open");
    assert!(fleet.store.steps_in_force().unwrap().is_empty(), "{context}: a fault is in force");
    assert!(!act::is_anything_left(&fleet.store).unwrap(), "{context}: something is said to be left");
    for token in plan.tokens() {
        assert!(fleet.provider.changes(token) <= 1, "{context}: step {} was repeated", token.index);
    }
    let status = fleet.status(plan);
    let repair = matches!(plan.intent, Intent::Remediation { .. });
    match status {
        PlanStatus::Verifying | PlanStatus::Success if repair => {
            assert!(fleet.states(plan).iter().all(|state| *state == EntryState::Done), "{context}");
            let lost = plan.tokens().find(|token| fleet.provider.changes(*token) == 0);
            assert_eq!(lost, None, "{context}: the repair is called done and a step was lost");
        }
        PlanStatus::InProgress => panic!("{context}: the plan is stuck"),
        _ => assert_eq!(&fleet.provider.attributes(), before, "{context}: not restored, {status}"),
    }
}

type Attributes = std::collections::BTreeMap<Attribute, AttributeValue>;

fn run(executor: &Executor, plan: &Plan) {
    executor.run_within(&cleared(plan), &SlotLimits::NONE).unwrap();
}

/// What a start does, and the loop after it.
fn recover(fleet: &Fleet, executor: &Executor) {
    let mut recovered = executor.recover().unwrap();
    fleet.settle(executor, &mut recovered);
}

/// Undoing and recovering again changes nothing any more.
fn again_is_harmless(fleet: &Fleet, plan: &Plan, before: &Attributes, context: &str) {
    let next = fleet.successor();
    for _ in 0..2 {
        next.undo_plan(plan.id, "again").unwrap();
        assert_eq!(&fleet.provider.attributes(), before, "{context}: undo is not the identity");
    }
    let (status, states) = (fleet.status(plan), fleet.states(plan));
    let recovered = next.recover().unwrap();
    assert_eq!((recovered.faults_taken_out, recovered.plans.len()), (0, 0), "{context}: {recovered:?}");
    assert_eq!((fleet.status(plan), fleet.states(plan)), (status, states), "{context}");
}

fn plans() -> Vec<(&'static str, Vec<Step>)> {
    vec![
        ("one exact step", vec![memory(192)]),
        ("a restart", vec![restart(0)]),
        ("three exact steps", vec![memory(192), eject(0), breaker()]),
        ("a restart between", vec![eject(0), restart(0), memory(256)]),
        ("an irreversible step", vec![remove_files()]),
        ("one fault", vec![pause(0)]),
        ("three faults", vec![pause(0), partition(), pause(1)]),
        ("a kill", vec![kill(1)]),
        ("a kill and a fault", vec![kill(1), partition()]),
        ("a whole Infrastructure down", vec![take_down()]),
        ("a whole Infrastructure down and up", vec![take_down(), bring_up()]),
    ]
}

#[test]
fn a_plan_is_settled_wherever_the_controller_dies() {
    for (name, steps) in plans() {
        let deaths = at_every_boundary(|boundary| {
            let fleet = Fleet::new();
            fleet.provider.set_start_time(Duration::from_millis(20));
            let before = fleet.provider.attributes();
            let plan = fleet.plan(steps.clone());
            let died = dies(&fleet, boundary, |executor| run(executor, &plan));
            let all_done = plan.tokens().all(|token| fleet.provider.changes(token) == 1);
            fleet.recovered();
            let context = format!("{name}, death at boundary {boundary}");
            if all_done && plan.verify.is_some() {
                assert_eq!(fleet.status(&plan), PlanStatus::Verifying, "{context}: the repair was lost");
            }
            nothing_is_left(&fleet, &plan, &before, &context);
            again_is_harmless(&fleet, &plan, &before, &context);
            died
        });
        // check, capture, apply, prove: two each a step; slot and intent, ending, completion: one at least.
        assert!(deaths >= 8 * steps.len() as u64 + 2, "{name}: only {deaths} boundaries");
    }
}

#[test]
fn a_plan_that_fails_is_settled_wherever_the_controller_dies() {
    use Trouble::*;
    for trouble in [CheckRefuses, ApplyFailsBefore, ApplyFailsAfter, NoEffect, EffectUnknown] {
        at_every_boundary(|boundary| {
            let fleet = Fleet::new();
            let before = fleet.provider.attributes();
            let plan = fleet.plan(vec![memory(192), eject(0), breaker()]);
            fleet.provider.trouble(token(&plan, 2), trouble);
            let died = dies(&fleet, boundary, |executor| run(executor, &plan));
            fleet.recovered();
            let context = format!("{trouble:?}, death at boundary {boundary}");
            nothing_is_left(&fleet, &plan, &before, &context);
            again_is_harmless(&fleet, &plan, &before, &context);
            died
        });
    }
}

#[test]
fn recovery_itself_may_die_anywhere() {
    for (name, steps) in [("repair", vec![memory(192), eject(0)]), ("faults", vec![pause(0), partition()])] {
        at_every_boundary(|boundary| {
            let mut died = false;
            at_every_boundary(|second| {
                let fleet = Fleet::new();
                let before = fleet.provider.attributes();
                let plan = fleet.plan(steps.clone());
                died = dies(&fleet, boundary, |executor| run(executor, &plan));
                let died_again = dies(&fleet, second, |executor| recover(&fleet, executor));
                fleet.recovered();
                let context = format!("{name}, deaths at boundaries {boundary} and {second}");
                nothing_is_left(&fleet, &plan, &before, &context);
                again_is_harmless(&fleet, &plan, &before, &context);
                died_again
            });
            died
        });
    }
}

#[test]
fn an_infrastructure_is_up_or_not_at_all_wherever_the_controller_dies() {
    let deaths = at_every_boundary(|boundary| {
        let fleet = Fleet::new();
        fleet.run(&fleet.plan(vec![take_down()]));
        assert!(fleet.provider.instances().is_empty());
        let before = fleet.provider.attributes();
        fleet.provider.set_start_time(Duration::from_millis(20));
        let plan = fleet.plan(vec![bring_up()]);
        let died = dies(&fleet, boundary, |executor| run(executor, &plan));
        fleet.recovered();
        let context = format!("death at boundary {boundary}");
        nothing_is_left(&fleet, &plan, &before, &context);
        let up = fleet.status(&plan) == PlanStatus::Verifying;
        assert_eq!(fleet.provider.instances().is_empty(), !up, "{context}");
        again_is_harmless(&fleet, &plan, &before, &context);
        died
    });
    assert!(deaths >= 10, "only {deaths} boundaries");
}

#[test]
fn what_somebody_else_brought_up_since_stays_when_a_take_down_is_taken_back() {
    let fleet = Fleet::new();
    let down = fleet.plan(vec![take_down()]);
    fleet.run(&down);
    let mut other = sim::small_fleet();
    other.services.retain(|name, _| name.as_str() == "cart");
    let up = Action::BringUp { infrastructure: Box::new(other), up_when: UpWhen::Ready };
    let up = fleet.plan(vec![decide::plan::step(up)]);
    fleet.run(&up);
    let after = fleet.provider.attributes();
    fleet.executor.undo_plan(down.id, "by hand").unwrap();
    assert_eq!(fleet.provider.attributes(), after);
    fleet.executor.undo_plan(up.id, "by hand").unwrap();
    assert!(fleet.provider.instances().is_empty());
}

#[test]
fn a_roll_back_that_was_begun_is_completed_wherever_the_controller_dies() {
    at_every_boundary(|boundary| {
        let fleet = Fleet::new();
        let before = fleet.provider.attributes();
        let plan = fleet.plan(vec![memory(192), eject(0), breaker()]);
        fleet.run(&plan);
        let died = dies(&fleet, boundary, |executor| drop(executor.undo_plan(plan.id, "by hand").unwrap()));
        fleet.recovered();
        let context = format!("death at boundary {boundary}");
        assert_eq!(fleet.status(&plan), PlanStatus::RolledBack, "{context}");
        nothing_is_left(&fleet, &plan, &before, &context);
        again_is_harmless(&fleet, &plan, &before, &context);
        died
    });
}

#[test]
fn a_lift_and_the_end_of_a_fault_are_done_wherever_the_controller_dies() {
    for steps in [vec![replicas(4)], vec![pause(0), partition()]] {
        at_every_boundary(|boundary| {
            let fleet = Fleet::new();
            let before = fleet.provider.attributes();
            let mut plan = fleet.plan(steps.clone());
            plan.id = IdSource::seeded(77).next(fleet.now());
            plan.lift_after = Some(Duration::from_secs(29));
            plan.verify = None;
            fleet.add(&plan);
            fleet.run(&plan);
            fleet.clock.wait(Duration::from_secs(29));
            let died = dies(&fleet, boundary, |executor| drop(executor.run_due().unwrap()));
            let next = fleet.successor();
            next.recover().unwrap();
            next.run_due().unwrap();
            assert_eq!(fleet.provider.attributes(), before, "death at boundary {boundary}");
            assert!(fleet.provider.faults().is_empty(), "death at boundary {boundary}");
            assert_eq!(fleet.status(&plan), PlanStatus::Success, "death at boundary {boundary}");
            fleet.clock.wait(Duration::from_secs(60));
            next.run_due().unwrap();
            assert!(fleet.store.timers().unwrap().is_empty(), "death at boundary {boundary}");
            died
        });
    }
}

#[test]
fn faults_in_force_do_not_outlive_the_controller_nor_its_emergency_stop() {
    at_every_boundary(|boundary| {
        let fleet = Fleet::new();
        let before = fleet.provider.attributes();
        let faults: Vec<Plan> = (0..3).map(|_| fleet.plan(vec![pause(0), partition()])).collect();
        faults.iter().for_each(|plan| run(&fleet.executor, plan));
        let died = dies(&fleet, boundary, |executor| {
            executor.emergency_stop().unwrap();
        });
        let recovered = fleet.recovered();
        if boundary == 0 {
            assert_eq!(recovered.faults_taken_out, 6);
        }
        for plan in &faults {
            nothing_is_left(&fleet, plan, &before, &format!("death at boundary {boundary}"));
            assert_eq!(fleet.status(plan), PlanStatus::Success);
        }
        died
    });
}

#[test]
fn a_restart_that_is_still_under_way_is_waited_for_and_not_done_again() {
    let fleet = Fleet::new();
    fleet.provider.set_start_time(Duration::from_secs(1));
    let plan = fleet.plan(vec![restart(0)]);
    // Dies right after the restart was ordered: slot and intent tell three changes.
    let after_apply = (0..).find(|boundary| {
        let fleet = Fleet::new();
        let plan = fleet.plan(vec![restart(0)]);
        assert!(dies(&fleet, *boundary, |executor| run(executor, &plan)));
        fleet.provider.changes(token(&plan, 0)) == 1
    });
    assert!(dies(&fleet, after_apply.unwrap(), |executor| run(executor, &plan)));
    let recovered = fleet.recovered();
    assert_eq!(recovered.plans[0].status, PlanStatus::Verifying, "{recovered:?}");
    assert_eq!(fleet.provider.changes(token(&plan, 0)), 1);
}

#[test]
fn doing_every_step_again_with_its_token_changes_nothing() {
    let fleet = Fleet::new();
    let plan = fleet.plan(vec![memory(192), eject(0), restart(1), breaker(), remove_files()]);
    fleet.run(&plan);
    let after = fleet.provider.attributes();
    let journal = fleet.store.journal(plan.id).unwrap();
    for (step, entry) in cleared(&plan).steps().zip(&journal) {
        fleet.provider.apply(step, &entry.captured).unwrap();
        assert_eq!(fleet.provider.changes(step.token()), 1);
    }
    assert_eq!(fleet.provider.attributes(), after);
}

fn any_repair_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (64_u64..512).prop_map(memory),
        (1_u32..6).prop_map(replicas),
        (0_u32..2).prop_map(eject),
        Just(breaker()),
        (0_u32..2).prop_map(restart),
    ]
}

fn any_fault_step() -> impl Strategy<Value = Step> {
    prop_oneof![(0_u32..2).prop_map(pause), Just(partition()), (0_u32..2).prop_map(kill)]
}

fn any_trouble() -> impl Strategy<Value = Option<(u32, Trouble)>> {
    use Trouble::*;
    let kinds =
        prop::sample::select(vec![CheckRefuses, ApplyFailsBefore, ApplyFailsAfter, NoEffect, EffectUnknown]);
    prop::option::of((0_u32..4, kinds))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Any plan, any trouble, any two instants of death.
    #[test]
    fn any_plan_is_settled_after_any_two_deaths(
        steps in prop_oneof![
            prop::collection::vec(any_repair_step(), 1..5),
            prop::collection::vec(any_fault_step(), 1..5),
        ],
        trouble in any_trouble(),
        first in 0_u64..80,
        second in 0_u64..40,
    ) {
        let fleet = Fleet::new();
        let before = fleet.provider.attributes();
        let plan = fleet.plan(steps);
        if let Some((index, trouble)) = trouble {
            fleet.provider.trouble(token(&plan, index), trouble);
        }
        dies(&fleet, first, |executor| run(executor, &plan));
        dies(&fleet, second, |executor| recover(&fleet, executor));
        fleet.recovered();
        nothing_is_left(&fleet, &plan, &before, "property");
        again_is_harmless(&fleet, &plan, &before, "property");
    }

    /// Two plans on the same attributes, taken back in any order, leave what was there before both.
    #[test]
    fn plans_that_overlap_are_taken_back_in_any_order(
        one in prop::collection::vec(any_repair_step(), 1..5),
        other in prop::collection::vec(any_repair_step(), 1..5),
        first_first in any::<bool>(),
    ) {
        let fleet = Fleet::new();
        let before = fleet.provider.attributes();
        let (one, other) = (fleet.plan(one), fleet.plan(other));
        fleet.run(&one);
        fleet.run(&other);
        let order = if first_first { [&one, &other] } else { [&other, &one] };
        for plan in order {
            fleet.executor.undo_plan(plan.id, "by hand").unwrap();
        }
        prop_assert_eq!(fleet.provider.attributes(), before);
    }
}
