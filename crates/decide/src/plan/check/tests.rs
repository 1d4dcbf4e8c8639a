//! What the checker finds wrong with a plan, and what it lets pass.

use domain::{Actor, Cores, Strategy};

use super::super::fixture::*;
use super::*;

fn notes(change: impl FnOnce(&mut Plan)) -> Vec<Note> {
    let mut plan = restart(plan_id(1), "cart-0");
    change(&mut plan);
    check(&plan)
}

#[test]
fn a_well_made_plan_gets_no_note() {
    assert_eq!(notes(|_| {}), []);
}

#[test]
fn each_rule_finds_its_defect() {
    assert_eq!(notes(|plan| plan.steps.clear())[0], Note::NoSteps);
    assert_eq!(notes(|plan| plan.blast_radius.clear())[0], Note::EmptyBlastRadius);
    let elsewhere = vec![resource("instance/cart-1")];
    let uncovered = Note::Uncovered { step: 0, resource: resource("instance/cart-0") };
    assert_eq!(notes(|plan| plan.blast_radius = elsewhere), [uncovered]);
    let twice = notes(|plan| plan.steps.push(plan.steps[0].clone()));
    assert_eq!(twice, [Note::Duplicate { first: 0, second: 1 }]);
    assert_eq!(notes(|plan| plan.verify = None), [Note::NoSignal]);
    let field = "steps[0].timeout".to_owned();
    let unbounded = Note::TimeUnbounded { field, value: Duration::ZERO };
    assert_eq!(notes(|plan| plan.steps[0].timeout = Duration::ZERO), [unbounded]);
}

#[test]
fn a_signal_about_another_service_is_noted_but_may_be_a_symptom() {
    let notes = notes(|plan| plan.verify.as_mut().unwrap().resource = resource("link/load->front"));
    assert_eq!(notes, [Note::SignalElsewhere(resource("link/load->front"))]);
    assert_eq!(notes[0].grade(), Grade::Minor);
}

#[test]
fn a_fault_needs_its_undo_its_range_and_an_experiment() {
    let fault = Fault {
        target: resource("instance/cart-0"),
        kind: FaultKind::Pause,
        duration: Duration::from_secs(9),
    };
    let mut plan = restart(plan_id(1), "cart-0");
    plan.steps[0].action = Action::Inject(fault);
    assert_eq!(check(&plan), [Note::UndoMissing(0), Note::FaultInRepair(0)]);
    plan.intent = Intent::Experiment { experiment: domain::IdSource::seeded(1).next(now()) };
    plan.requested_by = Actor::Chaos;
    plan.steps[0].undo = Undo::Exact;
    assert_eq!(check(&plan), []);
    if let Action::Inject(fault) = &mut plan.steps[0].action {
        fault.duration = Duration::from_secs(9999);
    }
    assert!(matches!(check(&plan)[..], [Note::FaultOutOfRange { field: "duration", .. }]));
}

#[test]
fn logs_and_data_are_never_removed_and_values_make_sense() {
    let of = |action: Action| {
        let plan = remediation(plan_id(1), Strategy::CleanupTempFiles, vec![action]);
        fatal(&plan)
    };
    let remove =
        |class| Action::RemoveFiles { instance: instance("cart-0"), class, older_than: Duration::ZERO };
    assert_eq!(of(remove(FileClass::Data)), [Note::RemovesKept(0)]);
    assert_eq!(of(remove(FileClass::Logs)), [Note::RemovesKept(0)]);
    assert_eq!(of(remove(FileClass::Temporary)), []);
    let nothing = Action::SetReplicas { service: service("cart"), replicas: 0 };
    assert_eq!(of(nothing), [Note::ValueOutOfRange(0)]);
    let odd = Action::SetCpuLimit { service: service("cart"), limit: Cores(f64::NAN) };
    assert_eq!(of(odd), [Note::ValueOutOfRange(0)]);
    assert_eq!(of(Action::OpenBreaker { link: link("front->cart") }), [Note::NeverLifted(0)]);
}
