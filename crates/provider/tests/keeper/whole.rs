//! A whole Infrastructure brought up and taken down by a step: once, by its name, and never what is somebody else's.

use domain::{Action, Captured, Effect, Infrastructure, Step, StepToken, UpWhen};
use provider::{Change, Look, ProcessProvider, Undone};
use serde_json::json;

use crate::fleet::{Fleet, Test, declared, token, until};

pub(crate) const TESTS: &[Test] = &[
    ("a_step_brings_up_once_proves_it_and_takes_back_its_own_alone", brought_up_by_a_step),
    ("what_a_step_only_starts_is_not_waited_for_and_is_taken_back_all_the_same", started_by_a_step),
    ("a_step_takes_down_exactly_what_it_names_and_its_undo_brings_that_back", taken_down_by_a_step),
    ("what_cannot_be_brought_up_is_refused_before_anything_is_started", refused),
    ("who_brought_up_what_is_up_is_known_to_the_next_keeper", next_keeper),
];

const WEB: &str = r#"
  web:
    command: ["{homeostat}", service, serve]
    replicas: 2
    listens: http
    readiness: { http: /, interval: 50ms, timeout: 500ms, failures: 1 }
    stop_timeout: 200ms
"#;

fn nothing_up() -> Fleet {
    let dir = tempfile::tempdir().unwrap();
    let provider = ProcessProvider::open(dir.path()).unwrap();
    Fleet { dir, provider }
}

fn web() -> Box<Infrastructure> {
    Box::new(declared(WEB))
}

fn up() -> Step {
    decide::plan::step(Action::BringUp { infrastructure: web(), up_when: UpWhen::Ready })
}

fn down() -> Step {
    decide::plan::step(Action::TakeDown { infrastructure: web() })
}

/// As the executor does with a cleared step.
fn order(fleet: &Fleet, token: StepToken, step: &Step) -> Result<Captured, serde_json::Value> {
    let captured = Captured::Infrastructure { up: fleet.provider.infrastructure().unwrap().map(Box::new) };
    let infrastructure = step.action.infrastructure();
    let wanted = json!({"token": token, "by": token, "infrastructure": infrastructure});
    match step.action {
        Action::BringUp { .. } => fleet.ask(json!({"up": wanted}))?,
        _ => fleet.ask(json!({"take_down": wanted}))?,
    };
    Ok(captured)
}

fn is_present(fleet: &Fleet, token: StepToken, step: &Step, captured: &Captured) -> Option<()> {
    (fleet.provider.prove(token, step, captured).unwrap() == Effect::Present).then_some(())
}

fn instances(fleet: &Fleet) -> usize {
    fleet.provider.sample().unwrap().services.values().map(|service| service.instances.len()).sum()
}

fn brought_up_by_a_step() {
    let fleet = nothing_up();
    assert_eq!(fleet.provider.infrastructure().unwrap(), None);
    let sample = fleet.provider.sample().unwrap();
    assert!(sample.infrastructure.is_none() && sample.services.is_empty(), "a fleet of nothing is a fleet");
    let (first, second, step) = (token(), token(), up());
    let captured = order(&fleet, first, &step).unwrap();
    until("both are ready", || is_present(&fleet, first, &step, &captured));
    order(&fleet, first, &step).unwrap();
    let refused = order(&fleet, second, &step).unwrap_err().to_string();
    assert!(refused.contains("test is up already"), "{refused}");
    let undo = |token| fleet.provider.undo(token, &step, &captured).unwrap();
    assert_eq!(undo(second), Undone::NothingThere, "it brought nothing up");
    assert_eq!(instances(&fleet), 2);
    assert_eq!((undo(first), undo(first)), (Undone::Restored, Undone::NothingThere));
    assert_eq!(fleet.provider.infrastructure().unwrap(), None);
    order(&fleet, first, &step).unwrap();
    assert_eq!(instances(&fleet), 0, "a step that was taken back is not done again");
}

fn started_by_a_step() {
    let fleet = nothing_up();
    let infrastructure =
        Box::new(declared(&WEB.replace("\"{homeostat}\", service, serve", "/bin/sleep, \"1000\"")));
    let step =
        |up_when| decide::plan::step(Action::BringUp { infrastructure: infrastructure.clone(), up_when });
    let (token, started) = (token(), step(UpWhen::Started));
    let captured = order(&fleet, token, &started).unwrap();
    assert!(is_present(&fleet, token, &started, &captured).is_some(), "it is not waited for");
    assert!(is_present(&fleet, token, &step(UpWhen::Ready), &captured).is_none());
    assert_eq!(fleet.provider.undo(token, &started, &captured).unwrap(), Undone::Restored);
    assert!(is_present(&fleet, token, &started, &captured).is_none());
}

fn refused() {
    let fleet = nothing_up();
    let with = |variable: &str| declared(&format!("{WEB}    environment: {{ KEY: \"{variable}\" }}\n"));
    let check = |infrastructure: Infrastructure| {
        let step = decide::plan::step(Action::BringUp {
            infrastructure: Box::new(infrastructure),
            up_when: UpWhen::Ready,
        });
        fleet.provider.check(token(), &step).map_err(|error| error.to_string())
    };
    let nowhere = check(with("${env:NO_SUCH_VARIABLE_HERE}")).unwrap_err();
    assert!(nowhere.contains("services.web.environment.KEY: ") && nowhere.contains("NO_SUCH"), "{nowhere}");
    let missing = check(declared("  web: { command: [/nowhere/web] }")).unwrap_err();
    assert!(missing.contains("there is no program /nowhere/web"), "{missing}");
    check(with("plain")).unwrap();
    let order = fleet.provider.up(&with("${env:NO_SUCH_VARIABLE_HERE}")).unwrap_err().to_string();
    assert!(order.contains("services.web.environment.KEY: "), "{order}");
    assert_eq!(fleet.provider.infrastructure().unwrap(), None, "nothing was begun");
}

fn taken_down_by_a_step() {
    let fleet = Fleet::up(WEB);
    let other = declared(&WEB.replace("replicas: 2", "replicas: 1"));
    let other = json!({"take_down": {"token": token(), "infrastructure": other}});
    let refused = fleet.ask(other).unwrap_err().to_string();
    assert!(refused.contains("as planned"), "{refused}");
    let (token, step) = (token(), down());
    let captured = order(&fleet, token, &step).unwrap();
    assert_eq!(instances(&fleet), 0);
    assert!(is_present(&fleet, token, &step, &captured).is_some());
    order(&fleet, token, &step).unwrap();
    let undo = || fleet.provider.undo(token, &step, &captured).unwrap();
    assert_eq!(undo(), Undone::Restored);
    fleet.ready("web-1");
    undo();
    assert_eq!(instances(&fleet), 2, "taking back twice is harmless");
    fleet.provider.down().unwrap();
    fleet.provider.up(&declared(&WEB.replace("replicas: 2", "replicas: 1"))).unwrap();
    assert_eq!(undo(), Undone::Superseded);
    assert_eq!(instances(&fleet), 1, "what somebody else brought up stays");
}

fn next_keeper() {
    let fleet = nothing_up();
    let (token, step) = (token(), up());
    let captured = order(&fleet, token, &step).unwrap();
    until("both are ready", || is_present(&fleet, token, &step, &captured));
    fleet.kill_keeper();
    until("the next keeper knows", || is_present(&fleet, token, &step, &captured));
    assert_eq!(fleet.provider.undo(token, &step, &captured).unwrap(), Undone::Restored);
    assert_eq!(fleet.provider.infrastructure().unwrap(), None);
}
