//! What is asked for while something stands in the way waits for its turn, and is judged by what is there then.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use decide::plan::Policy;
use decide::plan::policy::ApprovalRules;
use domain::{Attribute, AttributeValue, Plan, PlanId, PlanStatus, ServiceName};
use heal::{Deploy, NoticeKind, OperateError, RunMode};
use store::{PlanFilter, PlanPurpose, PlanRecord, SlotLimits, TimerKind};
use support::{Lab, automatic};

fn cart() -> ServiceName {
    "cart".parse().unwrap()
}

fn record(lab: &Lab, id: PlanId) -> PlanRecord {
    lab.store.plan(id).unwrap().expect("it is written down")
}

fn replicas(lab: &Lab) -> u32 {
    let AttributeValue::Count(count) = lab.provider.attributes()[&Attribute::Replicas(cart())] else {
        panic!()
    };
    count
}

fn calls(lab: &Lab) -> usize {
    lab.notices.lock().unwrap().iter().filter(|notice| notice.kind == NoticeKind::ApprovalNeeded).count()
}

/// A change of the number of carts that is under way and has no effect yet.
fn under_way(lab: &Lab, count: u32) -> Plan {
    let plan = lab.healer.scale(&cart(), count, RunMode::DryRun, "eve").unwrap().plan;
    lab.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    lab.store.start_plan(plan.id, &SlotLimits::NONE, lab.now()).unwrap();
    plan
}

/// It comes to its effect and ends.
fn ends(lab: &Lab, plan: Plan) {
    lab.clock_passes(Duration::from_secs(1));
    let cleared = sim::cleared(plan);
    lab.executor.run(&cleared).unwrap();
    lab.clock_passes(Duration::from_secs(1));
}

fn turns(lab: &Lab, count: usize) {
    (0..count).for_each(|_| _ = lab.turn());
}

fn operations(lab: &Lab) -> Vec<PlanRecord> {
    let filter = PlanFilter { only: Some(PlanPurpose::Operation), ..PlanFilter::default() };
    lab.store.plans(&filter).unwrap()
}

/// Three are asked for while twenty are being started, of two: what waits for that is no deletion when it is asked for, and ends
/// seventeen when its turn comes.
fn a_deletion_by_the_time_of_its_turn(policy: Policy) -> (Lab, PlanRecord) {
    let lab = Lab::shop(policy);
    lab.turn();
    assert_eq!(replicas(&lab), 2);
    let growing = under_way(&lab, 20);
    let asked = lab.healer.scale(&cart(), 3, RunMode::Run, "ann").unwrap();
    assert_eq!(asked.status, PlanStatus::Pending, "{:?}", asked.reasons);
    assert_eq!(record(&lab, asked.plan.id).decision, None, "who asks approves nothing");
    ends(&lab, growing);
    turns(&lab, 8);
    assert_eq!(replicas(&lab), 20, "nobody approved that");
    let waiting = operations(&lab).into_iter().find(|record| record.status == PlanStatus::AwaitingApproval);
    let waiting = waiting.expect("it waits for an approval");
    assert_eq!(waiting.decision, None);
    assert!(waiting.reasons.iter().any(|why| why.contains("17 instances")), "{:?}", waiting.reasons);
    assert!(!waiting.plan.summary.contains("instead of 2"), "{}", waiting.plan.summary);
    // The instances it ends are named: repairs keep off them, and people see them.
    assert!(waiting.plan.blast_radius.iter().any(|resource| resource.to_string() == "instance/cart-19"));
    let before = record(&lab, asked.plan.id);
    assert_eq!(before.status, PlanStatus::Refused);
    assert!(before.error.unwrap().contains(&waiting.plan.id.to_string()), "it leads on");
    assert!(lab.timer(TimerKind::ApprovalExpiry));
    assert_eq!(calls(&lab), 1, "people are called once");
    (lab, waiting)
}

#[test]
fn what_waited_for_its_turn_and_ends_many_by_then_waits_for_an_approval() {
    let (lab, waiting) = a_deletion_by_the_time_of_its_turn(Policy::default());
    lab.healer.approve(waiting.plan.id, "bob").unwrap();
    turns(&lab, 8);
    assert_eq!((record(&lab, waiting.plan.id).status, replicas(&lab)), (PlanStatus::Success, 3));
    assert_eq!(record(&lab, waiting.plan.id).decision.unwrap().who, "bob");
}

#[test]
fn an_approval_that_nobody_gives_to_what_waited_expires() {
    let (lab, waiting) = a_deletion_by_the_time_of_its_turn(Policy::default());
    lab.clock_passes(Policy::default().limits.approval_valid);
    turns(&lab, 2);
    assert_eq!(record(&lab, waiting.plan.id).status, PlanStatus::Refused);
    assert_eq!(replicas(&lab), 20);
}

#[test]
fn two_people_are_two_people_for_what_waited_too() {
    let approval = ApprovalRules { two_people: true };
    let (lab, waiting) = a_deletion_by_the_time_of_its_turn(Policy { approval, ..Policy::default() });
    let own = lab.healer.approve(waiting.plan.id, "ann");
    assert!(matches!(&own, Err(OperateError::Refused { why }) if why.contains("somebody else")), "{own:?}");
    turns(&lab, 8);
    assert_eq!(replicas(&lab), 20);
}

#[test]
fn an_approval_is_for_what_was_shown_and_not_for_more() {
    let lab = Lab::shop(Policy::default());
    lab.turn();
    lab.healer.scale(&cart(), 10, RunMode::Run, "ann").unwrap();
    turns(&lab, 8);
    let growing = under_way(&lab, 30);
    let asked = lab.healer.scale(&cart(), 2, RunMode::Run, "ann").unwrap();
    assert_eq!(asked.status, PlanStatus::AwaitingApproval);
    lab.healer.approve(asked.plan.id, "bob").unwrap();
    ends(&lab, growing);
    turns(&lab, 8);
    assert_eq!(replicas(&lab), 30, "eight were shown, not twenty-eight");
}

#[test]
fn where_policy_asks_for_two_people_a_deployment_that_waits_is_approved_by_nobody_and_runs() {
    let approval = ApprovalRules { two_people: true };
    let lab = Lab::shop(Policy { approval, ..automatic() });
    lab.turn();
    let growing = under_way(&lab, 4);
    let change = Deploy { version: "2".to_owned(), command: None, environment: BTreeMap::new() };
    let asked = lab.healer.deploy(&cart(), change, RunMode::Run, "ann").unwrap();
    assert_eq!(asked.status, PlanStatus::Pending);
    assert_eq!(record(&lab, asked.plan.id).decision, None);
    ends(&lab, growing);
    turns(&lab, 8);
    assert_eq!(record(&lab, asked.plan.id).status, PlanStatus::Success, "{:?}", record(&lab, asked.plan.id));
}

#[test]
fn the_number_that_was_asked_for_last_holds_and_an_earlier_one_that_waits_names_it() {
    let lab = Lab::shop(automatic());
    lab.turn();
    let first = under_way(&lab, 6);
    let mut asked = Vec::new();
    for count in [8, 9, 7] {
        lab.clock_passes(Duration::from_millis(20));
        asked.push(lab.healer.scale(&cart(), count, RunMode::Run, "ann").unwrap().plan.id);
    }
    ends(&lab, first);
    turns(&lab, 20);
    assert_eq!(replicas(&lab), 7, "it was asked for last");
    assert_eq!(record(&lab, asked[2]).status, PlanStatus::Success);
    for earlier in &asked[..2] {
        let earlier = record(&lab, *earlier);
        assert_eq!((earlier.status, earlier.started_at), (PlanStatus::Refused, None));
        assert!(earlier.error.as_ref().unwrap().contains(&asked[2].to_string()), "{:?}", earlier.error);
    }
}

#[test]
fn what_waits_for_an_approval_is_over_where_another_number_was_asked_for_since() {
    let lab = Lab::shop(Policy::default());
    lab.turn();
    lab.healer.scale(&cart(), 10, RunMode::Run, "ann").unwrap();
    turns(&lab, 4);
    let fewer = lab.healer.scale(&cart(), 2, RunMode::Run, "ann").unwrap();
    assert_eq!(fewer.status, PlanStatus::AwaitingApproval);
    turns(&lab, 4);
    assert_eq!(record(&lab, fewer.plan.id).status, PlanStatus::AwaitingApproval);
    let more = lab.healer.scale(&cart(), 12, RunMode::Run, "ann").unwrap();
    turns(&lab, 4);
    let over = record(&lab, fewer.plan.id);
    assert_eq!(over.status, PlanStatus::Refused);
    assert!(over.error.unwrap().contains(&more.plan.id.to_string()));
    assert!(!lab.timer(TimerKind::ApprovalExpiry));
    assert_eq!(replicas(&lab), 12);
}

#[test]
fn what_was_said_to_run_and_lost_its_slot_waits_and_runs() {
    let lab = Lab::shop(automatic());
    lab.turn();
    // Another one began and ended between the look and the slot.
    let other = lab.healer.scale(&cart(), 4, RunMode::DryRun, "eve").unwrap().plan;
    lab.store.add_plan(&other, PlanStatus::Pending, &[]).unwrap();
    let soon = lab.now().plus(Duration::from_millis(10));
    lab.store.start_plan(other.id, &SlotLimits::NONE, soon).unwrap();
    lab.store.set_plan_status(other.id, PlanStatus::InProgress, PlanStatus::Failed, soon, None).unwrap();

    let asked = lab.healer.scale(&cart(), 5, RunMode::Run, "ann").unwrap().plan.id;
    let waiting = record(&lab, asked);
    assert_eq!((waiting.status, replicas(&lab)), (PlanStatus::Pending, 2));
    assert!(waiting.reasons[0].contains(&other.id.to_string()), "{:?}", waiting.reasons);
    lab.clock_passes(Duration::from_secs(1));
    turns(&lab, 4);
    assert_eq!((record(&lab, asked).status, replicas(&lab)), (PlanStatus::Success, 5));
}

#[test]
fn no_rate_holds_for_what_a_person_asks_for() {
    let lab = Lab::shop(automatic());
    lab.turn();
    for count in 0..14 {
        let asked = lab.healer.scale(&cart(), 3 + count, RunMode::Run, "ann").unwrap().plan.id;
        assert_eq!(record(&lab, asked).status, PlanStatus::Success, "number {count}");
        lab.clock_passes(Duration::from_secs(1));
    }
    assert_eq!(replicas(&lab), 16);
}

#[test]
fn what_waits_says_why_it_waits_now_and_a_person_can_end_it() {
    let lab = Lab::shop(automatic());
    lab.turn();
    let first = under_way(&lab, 6);
    let asked = lab.healer.scale(&cart(), 7, RunMode::Run, "ann").unwrap().plan.id;
    assert!(record(&lab, asked).reasons[0].contains(&first.id.to_string()));
    // The first one is over, and another has begun in its place.
    lab.store.set_plan_status(first.id, PlanStatus::InProgress, PlanStatus::Failed, lab.now(), None).unwrap();
    let change = Deploy { version: "2".to_owned(), command: None, environment: BTreeMap::new() };
    let second = lab.healer.deploy(&cart(), change, RunMode::DryRun, "eve").unwrap().plan;
    lab.store.add_plan(&second, PlanStatus::Pending, &[]).unwrap();
    lab.store.start_plan(second.id, &SlotLimits::NONE, lab.now()).unwrap();
    lab.clock_passes(Duration::from_secs(1));
    turns(&lab, 2);
    let waiting = record(&lab, asked);
    assert_eq!(waiting.status, PlanStatus::Pending);
    assert!(waiting.reasons[0].contains(&second.id.to_string()), "{:?}", waiting.reasons);

    lab.healer.reject(asked, "bob").unwrap();
    let over = record(&lab, asked);
    assert_eq!((over.status, over.decision.unwrap().who.as_str()), (PlanStatus::Refused, "bob"));
    ends(&lab, second);
    turns(&lab, 4);
    assert_eq!(replicas(&lab), 2);
    let done = lab.healer.scale(&cart(), 3, RunMode::Run, "ann").unwrap().plan.id;
    let again = lab.healer.reject(done, "bob").unwrap_err().to_string();
    assert!(again.contains("is success, not awaiting_approval or pending"), "{again}");
}
