//! What people ask of a whole Infrastructure goes through plan, guard and act like everything else.

mod support;

use std::time::Duration;

use decide::plan::Policy;
use domain::{Action, Attribute, AttributeValue, PlanStatus, ServiceName};
use heal::{NoticeKind, OperateError, Proposal, RunMode};
use support::{Lab, automatic, shop};

fn cart() -> ServiceName {
    "cart".parse().unwrap()
}

fn status(lab: &Lab, proposal: &Proposal) -> PlanStatus {
    lab.store.plan(proposal.plan.id).unwrap().expect("it is written down").status
}

fn turns(lab: &Lab, seconds: u64) {
    let until = lab.now().plus(Duration::from_secs(seconds));
    while !lab.now().reached(until) {
        lab.turn();
    }
}

fn replicas(lab: &Lab) -> AttributeValue {
    lab.provider.attributes()[&Attribute::Replicas(cart())].clone()
}

/// The shop, taken down by a policy that lets it.
fn lab_with_nothing_up() -> Lab {
    let mut policy = automatic();
    policy.infrastructures.approve_take_down = false;
    let lab = Lab::shop(policy);
    lab.turn();
    let name = shop().name;
    let down = lab.healer.delete_infrastructure(&name, RunMode::Run, "ann").unwrap();
    assert_eq!(status(&lab, &down), PlanStatus::Success, "{:?}", down.reasons);
    lab
}

#[test]
fn taking_down_waits_for_an_approval_and_is_taken_back_by_a_roll_back() {
    let lab = Lab::shop(Policy::default());
    lab.turn();
    let name = shop().name;
    let shown = lab.healer.delete_infrastructure(&name, RunMode::DryRun, "ann").unwrap();
    assert_eq!(shown.status, PlanStatus::AwaitingApproval);
    assert!(lab.store.plan(shown.plan.id).unwrap().is_none(), "a dry run keeps nothing");

    let asked = lab.healer.delete_infrastructure(&name, RunMode::Run, "ann").unwrap();
    assert_eq!(asked.status, PlanStatus::AwaitingApproval);
    assert!(asked.reasons[0].contains("needs an approval"), "{:?}", asked.reasons);
    let again = lab.healer.delete_infrastructure(&name, RunMode::Run, "bob").unwrap();
    assert_eq!(again.plan.id, asked.plan.id, "asked for twice, it is shown once");
    let calls = lab.notices.lock().unwrap().iter().filter(|n| n.kind == NoticeKind::ApprovalNeeded).count();
    assert_eq!(calls, 1);
    turns(&lab, 5);
    assert!(!lab.provider.instances().is_empty(), "nothing happens before the yes");

    lab.healer.approve(asked.plan.id, "bob").unwrap();
    turns(&lab, 5);
    assert_eq!(status(&lab, &asked), PlanStatus::Success);
    assert!(lab.provider.instances().is_empty());
    assert!(lab.healer.snapshot().unwrap().services.is_empty());

    lab.healer.roll_back(asked.plan.id, "ann").unwrap();
    turns(&lab, 5);
    assert_eq!(lab.provider.attributes(), lab.declared);
}

#[test]
fn one_infrastructure_is_up_at_a_time_and_one_can_be_brought_up_where_nothing_is() {
    let lab = lab_with_nothing_up();
    turns(&lab, 30);
    assert!(lab.healer.troubles().is_empty(), "the loop turns over nothing: {:?}", lab.healer.troubles());
    assert!(lab.store.open_issues().unwrap().is_empty());
    let unknown = lab.healer.delete_infrastructure(&shop().name, RunMode::Run, "ann");
    assert!(matches!(unknown, Err(OperateError::NotFound { .. })), "{unknown:?}");

    let up = lab.healer.create_infrastructure(shop(), RunMode::Run, "ann").unwrap();
    assert_eq!(status(&lab, &up), PlanStatus::Success, "{:?}", up.reasons);
    turns(&lab, 5);
    assert_eq!(lab.provider.attributes(), lab.declared);
    assert_eq!(lab.healer.snapshot().unwrap().infrastructure, Some(shop().name));

    let mut other = shop();
    other.name = "other".parse().unwrap();
    let second = lab.healer.create_infrastructure(other, RunMode::Run, "ann");
    let why = second.expect_err("one at a time").to_string();
    assert!(why.contains("shop is up already"), "{why}");
}

#[test]
fn a_scale_that_was_asked_for_stays_and_ending_many_waits() {
    let lab = Lab::shop(automatic());
    lab.turn();
    let AttributeValue::Count(before) = replicas(&lab) else { panic!() };
    let more = lab.healer.scale(&cart(), before + 2, RunMode::Run, "ann").unwrap();
    assert_eq!(status(&lab, &more), PlanStatus::Success, "{:?}", more.reasons);
    assert!(matches!(more.plan.steps[0].action, Action::SetReplicas { .. }));
    turns(&lab, 31 * 60);
    assert_eq!(replicas(&lab), AttributeValue::Count(before + 2), "nobody asked for fewer");

    let same = lab.healer.scale(&cart(), before + 2, RunMode::Run, "ann");
    assert!(matches!(same, Err(OperateError::Refused { .. })), "{same:?}");
    let none = lab.healer.scale(&cart(), 0, RunMode::Run, "ann");
    assert!(matches!(none, Err(OperateError::Refused { .. })), "{none:?}");
    let fewer = lab.healer.scale(&cart(), 1, RunMode::Run, "ann").unwrap();
    assert_eq!(fewer.status, PlanStatus::AwaitingApproval, "{:?}", fewer.reasons);
    lab.healer.reject(fewer.plan.id, "bob").unwrap();
    turns(&lab, 5);
    assert_eq!(replicas(&lab), AttributeValue::Count(before + 2));
}

#[test]
fn where_policy_asks_for_two_people_who_asked_does_not_approve() {
    let approval = decide::plan::policy::ApprovalRules { two_people: true };
    let lab = Lab::shop(Policy { approval, ..Policy::default() });
    lab.turn();
    let asked = lab.healer.delete_infrastructure(&shop().name, RunMode::Run, "ann").unwrap();
    let own = lab.healer.approve(asked.plan.id, "ann");
    assert!(matches!(&own, Err(OperateError::Refused { why }) if why.contains("somebody else")), "{own:?}");
    assert_eq!(status(&lab, &asked), PlanStatus::AwaitingApproval);
    lab.healer.approve(asked.plan.id, "bob").unwrap();
    turns(&lab, 5);
    assert_eq!(status(&lab, &asked), PlanStatus::Success);
}

#[test]
fn who_starts_or_ends_a_control_plane_approves_that_by_the_same_word_unless_policy_asks_for_two_people() {
    let mut production = shop();
    production.environment = domain::Environment::Production;
    let lab = lab_with_nothing_up();
    let up = lab.healer.start_declared(production.clone(), "ann").unwrap();
    assert_eq!(status(&lab, &up), PlanStatus::Success, "{:?}", up.reasons);
    let other = lab.healer.end_declared(shop(), "ann");
    assert!(matches!(other, Err(OperateError::Impossible(_))), "it is not what is up: {other:?}");
    let down = lab.healer.end_declared(production.clone(), "ann").unwrap();
    assert_eq!(status(&lab, &down), PlanStatus::Success, "{:?}", down.reasons);

    let approval = decide::plan::policy::ApprovalRules { two_people: true };
    let settings = lab.healer.settings();
    let policy = Policy { approval, ..settings.policy.clone() };
    lab.healer.set(heal::Settings { policy, ..(*settings).clone() });
    let up = lab.healer.start_declared(production, "ann").unwrap();
    assert_eq!(status(&lab, &up), PlanStatus::AwaitingApproval);
    assert!(up.reasons[0].contains("production"), "{:?}", up.reasons);
    lab.healer.approve(up.plan.id, "bob").unwrap();
    turns(&lab, 5);
    assert_eq!(status(&lab, &up), PlanStatus::Success);
}
