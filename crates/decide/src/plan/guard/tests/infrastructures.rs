//! A whole Infrastructure: one at a time, and taken down only where a person said yes to that very plan.

use domain::infrastructure::ServiceSpec;
use domain::{Infrastructure, InstanceName, UpWhen};

use super::*;
use crate::plan::request::Refusal;

fn declared(environment: Environment) -> Infrastructure {
    let spec = serde_json::json!({ "command": ["run"], "replicas": 2 });
    let spec: ServiceSpec = serde_json::from_value(spec).unwrap();
    let services = ["front", "cart"].map(|name| (service(name), spec.clone()));
    Infrastructure {
        name: service("shop"),
        environment,
        cpu_limits: Default::default(),
        services: services.into(),
    }
}

fn down(environment: Environment) -> Action {
    Action::TakeDown { infrastructure: Box::new(declared(environment)) }
}

fn up(environment: Environment) -> Action {
    Action::BringUp { infrastructure: Box::new(declared(environment)), up_when: UpWhen::Ready }
}

/// The shop as what is up.
fn shop_is_up() -> World {
    let mut world = world();
    world.snapshot.infrastructure = Some(service("shop"));
    world
}

fn nothing_is_up() -> World {
    let mut world = world();
    world.snapshot.services.clear();
    world.snapshot.links.clear();
    world
}

#[test]
fn taking_down_waits_for_a_yes_to_that_plan_whoever_asked_unless_policy_says_otherwise() {
    let mut world = shop_is_up();
    let plan = world.operation(down(Environment::Dev));
    let seen = world.snapshot.services.values().map(|state| state.replicas).sum();
    let objection = Objection::WholeDeletion { infrastructure: service("shop"), seen };
    assert_eq!(world.reasons(&plan), [objection]);
    assert!(world.ask(&plan).awaits_approval());
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    world.approved = None;
    world.policy.infrastructures.approve_take_down = false;
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}

#[test]
fn the_emergency_stop_holds_bringing_up_and_not_taking_everything_down() {
    let mut world = nothing_is_up();
    world.switches.emergency_stop = true;
    assert_eq!(world.reasons(&world.operation(up(Environment::Dev))), [Objection::EmergencyStop]);
    let mut world = shop_is_up();
    world.switches.emergency_stop = true;
    let plan = world.operation(down(Environment::Dev));
    assert!(world.ask(&plan).awaits_approval(), "it needs its approval all the same");
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}

#[test]
fn ones_own_word_takes_down_what_needs_no_approval_or_no_second_person() {
    let mut policy = Policy::default();
    let objection =
        |policy: &Policy, environment| policy.take_down_objection(&declared(environment), "ada").is_some();
    assert!(!objection(&policy, Environment::Production));
    policy.approval.two_people = true;
    assert!(objection(&policy, Environment::Dev) && objection(&policy, Environment::Production));
    policy.infrastructures.approve_take_down = false;
    assert!(!objection(&policy, Environment::Dev) && objection(&policy, Environment::Production));
    policy.infrastructures.approve_production = false;
    assert!(!objection(&policy, Environment::Production));
}

#[test]
fn a_plan_that_was_written_before_starts_had_one_waits_until_all_is_ready() {
    let mut written = serde_json::to_value(up(Environment::Dev)).unwrap();
    let field = written["bring_up"].as_object_mut().unwrap().remove("up_when");
    assert_eq!(field, Some(serde_json::json!("ready")));
    assert_eq!(serde_json::from_value::<Action>(written).unwrap(), up(Environment::Dev));
}

#[test]
fn production_waits_either_way() {
    let mut world = nothing_is_up();
    assert!(matches!(world.ask(&world.operation(up(Environment::Dev))), Ruling::Clear(_)));
    let plan = world.operation(up(Environment::Production));
    assert_eq!(world.reasons(&plan), [Objection::ProductionInfrastructure(service("shop"))]);
    world.policy.infrastructures.approve_production = false;
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    let mut world = shop_is_up();
    world.policy.infrastructures.approve_take_down = false;
    let plan = world.operation(down(Environment::Production));
    assert_eq!(world.reasons(&plan), [Objection::ProductionInfrastructure(service("shop"))]);
}

#[test]
fn a_second_infrastructure_is_refused_by_the_name_of_the_first() {
    let plan = nothing_is_up().operation(up(Environment::Dev));
    let world = shop_is_up();
    assert_eq!(world.reasons(&plan), [Objection::SomethingIsUp(service("shop"))]);
    assert!(matches!(world.ask(&plan), Ruling::Refuse { .. }));
    let capabilities = capable();
    let request = Request {
        snapshot: &world.snapshot,
        capabilities: &capabilities,
        policy: &world.policy,
        id: plan_id(1),
        now: world.now,
    };
    let refused = plan_operation(vec![up(Environment::Dev)], "asked".to_owned(), Actor::Healing, &request);
    assert_eq!(refused, Err(vec![Refusal::IsUp(service("shop"))]));
}

#[test]
fn the_whole_is_not_taken_down_while_a_part_is_worked_on_and_no_part_while_the_whole_is() {
    let mut world = shop_is_up();
    let plan = world.operation(down(Environment::Dev));
    world.approve(&plan);
    let repair = kill("cart-0", 1);
    world.running = vec![RunningPlan::of(&repair, world.now).unwrap()];
    let resource = resource("instance/cart-0");
    assert_eq!(
        world.reasons(&plan),
        [Objection::Busy { resource: resource.clone(), plan: repair.id, activity: Activity::Remediation }]
    );
    world.running = vec![RunningPlan::of(&plan, world.now).unwrap()];
    assert!(world.reasons(&repair).contains(&Objection::Busy {
        resource,
        plan: plan.id,
        activity: Activity::Operation
    }));
}

#[test]
fn a_label_on_a_service_does_not_keep_the_whole_up_for_ever() {
    let mut world = shop_is_up();
    world
        .snapshot
        .services
        .get_mut("cart".parse::<domain::ServiceName>().as_ref().unwrap())
        .unwrap()
        .hands_off = true;
    let plan = world.operation(down(Environment::Dev));
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}

#[test]
fn a_loop_never_takes_anything_down_and_what_cannot_be_up_is_refused() {
    let plan = remediation(plan_id(1), Strategy::RestartPod, vec![down(Environment::Dev)]);
    let flawed = Objection::Flawed(crate::plan::check::Note::NotOnRequest(0));
    assert!(shop_is_up().reasons(&plan).contains(&flawed));
    let mut broken = declared(Environment::Dev);
    broken.services.get_mut(&service("cart")).unwrap().command.clear();
    let world = nothing_is_up();
    let mut plan = world.operation(up(Environment::Dev));
    plan.steps[0].action = Action::BringUp { infrastructure: Box::new(broken), up_when: UpWhen::Ready };
    let reasons = world.reasons(&plan);
    assert!(reasons.iter().any(|reason| reason.to_string().contains("services.cart.command")), "{reasons:?}");
}

#[test]
fn a_service_that_declares_itself_protected_is_no_target() {
    let mut world = shop_is_up();
    let plan = world.fault("instance/cart-0");
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    let cart: InstanceName = instance("cart-0");
    world.snapshot.services.get_mut(&cart.service).unwrap().protected = true;
    assert_eq!(world.reasons(&plan), [Objection::Protected(service("cart"))]);
}
