//! What the guard promises, as examples.

use std::time::Duration;

use domain::snapshot::Phase;
use domain::{
    Action, Environment, Fault, FaultKind, FileClass, IdSource, IssueKind, OutcomeKind, Percent, Severity,
    StopManner, Strategy,
};

use super::*;
use crate::plan::PlanRecord;
use crate::plan::fixture::*;
use crate::plan::policy::{Ladder, Rung};
use crate::plan::request::{Request, plan_fault, plan_operation};

mod fresh_fleets;
mod infrastructures;
mod rollbacks;
mod storms;

pub(super) struct World {
    pub(super) now: Time,
    pub(super) snapshot: Snapshot,
    pub(super) history: History,
    pub(super) policy: Policy,
    pub(super) switches: Switches,
    pub(super) approved: Option<Approval>,
    pub(super) running: Vec<RunningPlan>,
}

pub(super) fn world() -> World {
    World {
        now: now(),
        snapshot: shop(),
        history: History::default(),
        policy: auto(),
        switches: Switches::default(),
        approved: None,
        running: Vec::new(),
    }
}

impl World {
    pub(super) fn ask(&self, plan: &Plan) -> Ruling {
        let ctx = GuardContext {
            now: self.now,
            snapshot: &self.snapshot,
            history: &self.history,
            policy: &self.policy,
            switches: &self.switches,
            approved: self.approved.as_ref(),
            running: &self.running,
        };
        guard(plan.clone(), &ctx)
    }

    fn reasons(&self, plan: &Plan) -> Vec<Objection> {
        self.ask(plan).reasons().to_vec()
    }

    fn done(&mut self, plan: &Plan, seconds_ago: u64, outcome: Option<OutcomeKind>) {
        let mut record = PlanRecord::of(plan, self.now.minus(Duration::from_secs(seconds_ago))).unwrap();
        record.outcome = outcome;
        self.history.start(record);
    }

    fn approve(&mut self, plan: &Plan) {
        self.approved = Some(Approval { by: "ann".to_owned(), plan: plan.id, at: self.now });
    }

    fn fault(&self, target: &str) -> Plan {
        let kind = FaultKind::Pause;
        let fault = Fault { target: resource(target), kind, duration: Duration::from_secs(30) };
        let capabilities = capable();
        let request = Request {
            snapshot: &self.snapshot,
            capabilities: &capabilities,
            policy: &self.policy,
            id: plan_id(target.len() as u64 * 1000 + self.running.len() as u64),
            now: self.now,
        };
        plan_fault(&fault, IdSource::seeded(3).next(self.now), Actor::Chaos, &request).unwrap()
    }

    fn operation(&self, action: Action) -> Plan {
        let capabilities = capable();
        let request = Request {
            snapshot: &self.snapshot,
            capabilities: &capabilities,
            policy: &self.policy,
            id: plan_id(500),
            now: self.now,
        };
        plan_operation(vec![action], "asked".to_owned(), Actor::Operator("ann".to_owned()), &request).unwrap()
    }
}

fn kill(name: &str, seed: u64) -> Plan {
    restart(plan_id(seed), name)
}

#[test]
fn a_plain_repair_in_a_calm_fleet_is_cleared_unchanged() {
    let plan = kill("cart-0", 1);
    let Ruling::Clear(cleared) = world().ask(&plan) else { panic!() };
    assert_eq!(cleared.plan(), &plan);
    assert_eq!(cleared.steps().count(), 1);
}

#[test]
fn the_eleventh_remediation_of_a_resource_within_an_hour_waits_whoever_approves_it() {
    let mut world = world();
    world.policy.limits.cooldown = Duration::ZERO;
    world.policy.limits.repeats_max = 1000;
    for n in 0..10 {
        assert_eq!(world.reasons(&kill("cart-0", 1)), [], "after {n}");
        world.done(&kill("cart-0", 10 + n), 3500 - n, Some(OutcomeKind::Healed));
    }
    let window = Duration::from_secs(3600);
    let resource = resource("instance/cart-0");
    let rate = Objection::PerResource { resource, limit: 10, seen: 10, window };
    assert_eq!(world.reasons(&kill("cart-0", 1)), [rate]);
    assert_eq!(world.reasons(&kill("cart-1", 1)), []);
    world.approve(&kill("cart-0", 1));
    assert!(matches!(world.ask(&kill("cart-0", 1)), Ruling::Wait { .. }));
    world.now = world.now.plus(Duration::from_secs(101));
    world.snapshot.taken = world.now;
    assert_eq!(world.reasons(&kill("cart-0", 1)), [], "the oldest has left the window");
}

#[test]
fn a_hundred_an_hour_in_all_and_five_at_a_time() {
    let mut world = world();
    for n in 0..100_u32 {
        let action = Action::ClearCaches { instance: service("cart").instance(1000 + n) };
        let plan = remediation(plan_id(u64::from(n)), Strategy::ClearCaches, vec![action]);
        world.done(&plan, 60, Some(OutcomeKind::Healed));
    }
    let window = Duration::from_secs(3600);
    assert_eq!(world.reasons(&kill("cart-0", 1)), [Objection::InAll { limit: 100, seen: 100, window }]);
    world.history = History::default();
    for n in 0..5 {
        let plan = RunningPlan {
            id: plan_id(n),
            blast_radius: vec![resource("link/load->front")],
            started_at: world.now,
            activity: Activity::Remediation,
        };
        world.running.push(plan);
    }
    assert_eq!(world.reasons(&kill("cart-0", 9)), [Objection::AtATime { limit: 5, seen: 5 }]);
}

#[test]
fn an_unsure_diagnosis_waits_for_a_person_and_an_approval_of_this_plan_lets_it_pass() {
    let mut world = world();
    let mut plan = kill("cart-0", 1);
    let Intent::Remediation { cause, .. } = &mut plan.intent else { unreachable!() };
    cause.confidence = Percent(84.9);
    assert!(world.ask(&plan).awaits_approval());
    world.approve(&kill("cart-0", 2));
    assert!(world.ask(&plan).awaits_approval(), "an approval is good for its own plan only");
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    world.now = world.now.plus(Duration::from_secs(3601));
    world.snapshot.taken = world.now;
    assert!(world.ask(&plan).awaits_approval(), "an approval expires");
    let Intent::Remediation { cause, .. } = &mut plan.intent else { unreachable!() };
    cause.confidence = Percent(f64::NAN);
    assert!(world.ask(&plan).awaits_approval(), "no number is no confidence");
}

#[test]
fn the_lowest_severity_is_left_to_people_unless_policy_says_otherwise() {
    let of = |severity| {
        let mut plan = kill("cart-0", 1);
        let Intent::Remediation { severity: its, .. } = &mut plan.intent else { unreachable!() };
        *its = severity;
        plan
    };
    let mut world = world();
    for severity in [Severity::Medium, Severity::High, Severity::Critical] {
        assert!(matches!(world.ask(&of(severity)), Ruling::Clear(_)), "{severity}");
    }
    let low = of(Severity::Low);
    let objection = Objection::Severity { limit: Severity::Medium, seen: Severity::Low };
    assert_eq!(world.reasons(&low), [objection]);
    assert!(world.ask(&low).awaits_approval());
    let asked = Plan { requested_by: Actor::Operator("ann".to_owned()), ..low.clone() };
    assert!(matches!(world.ask(&asked), Ruling::Clear(_)), "a person asked for it");
    world.approve(&low);
    assert!(matches!(world.ask(&low), Ruling::Clear(_)));

    world.approved = None;
    world.policy.limits.severity_min = Severity::Low;
    assert!(matches!(world.ask(&low), Ruling::Clear(_)));
    world.policy.limits.severity_min = Severity::Critical;
    assert!(world.ask(&of(Severity::High)).awaits_approval());
}

#[test]
fn automation_stops_when_more_than_thirty_percent_of_ten_failed() {
    let mut world = world();
    for n in 0..10 {
        let action = Action::ClearCaches { instance: service("front").instance(100 + n) };
        let plan = remediation(plan_id(u64::from(n)), Strategy::ClearCaches, vec![action]);
        let outcome = if n < 3 { OutcomeKind::NotHealed } else { OutcomeKind::Healed };
        world.done(&plan, 60, Some(outcome));
    }
    assert_eq!(world.reasons(&kill("cart-0", 1)), []);
    let action = Action::ClearCaches { instance: service("front").instance(99) };
    let plan = remediation(plan_id(99), Strategy::ClearCaches, vec![action]);
    world.done(&plan, 60, Some(OutcomeKind::NotHealed));
    assert!(matches!(
        world.reasons(&kill("cart-0", 1))[..],
        [Objection::FailureRate { limit: Percent(30.0), runs: 11, .. }]
    ));
    assert!(failure_rate_exceeded(&world.history, &world.policy, world.now).is_some());
}

#[test]
fn the_rungs_of_the_ladder_refuse_show_wait_and_run() {
    let plan = kill("cart-0", 1);
    let ruled = |rung| {
        let mut world = world();
        world.policy.ladder = Ladder { default: rung, rules: Vec::new() };
        world.ask(&plan)
    };
    assert!(matches!(ruled(Rung::Observe), Ruling::Refuse { .. }));
    assert!(ruled(Rung::Advise).awaits_approval());
    assert!(ruled(Rung::Approve).awaits_approval());
    assert!(matches!(ruled(Rung::Auto), Ruling::Clear(_)));
    let mut world = world();
    world.policy.ladder = Ladder::started_by_up();
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    let rotate = Action::RotateLogs { instance: instance("cart-0") };
    assert!(world.ask(&remediation(plan_id(2), Strategy::RotateLogs, vec![rotate])).awaits_approval());
}

#[test]
fn a_strategy_that_keeps_failing_on_a_service_is_no_longer_automatic_there() {
    let mut world = world();
    for n in 0..3 {
        world.done(&kill("cart-1", 10 + n), 40_000, Some(OutcomeKind::NotHealed));
    }
    assert!(matches!(world.reasons(&kill("cart-0", 1))[..], [Objection::Demoted { seen: 3, .. }]));
    assert_eq!(world.reasons(&kill("front-0", 1)), []);
}

#[test]
fn the_same_issue_again_and_again_asks_for_root_cause_work() {
    let mut world = world();
    for n in 0..5 {
        world.done(&kill("cart-0", 10 + n), 20_000 + n, Some(OutcomeKind::Healed));
    }
    let reasons = world.reasons(&kill("cart-0", 1));
    assert!(matches!(reasons[..], [Objection::Repeats { kind: IssueKind::PodCrash, seen: 5, .. }]));
    assert!(reasons[0].calls_a_person());
}

#[test]
fn the_pause_between_tries_doubles_while_they_do_not_heal() {
    for (failures, pause) in [(1, 10), (2, 20), (3, 40)] {
        let mut world = world();
        world.policy.limits.demote_after = 100;
        for n in 0..failures {
            world.done(&kill("cart-0", 10 + n), pause - 1, Some(OutcomeKind::NotHealed));
        }
        assert!(matches!(world.reasons(&kill("cart-0", 1))[..], [Objection::Cooldown { .. }]), "{failures}");
        world.now = world.now.plus(Duration::from_secs(1));
        world.snapshot.taken = world.now;
        assert_eq!(world.reasons(&kill("cart-0", 1)), [], "{failures}");
    }
}

#[test]
fn only_named_deletions_go_without_a_person() {
    let world = world();
    let remove = |class, days: u64| {
        let older_than = Duration::from_secs(days * 86_400);
        let action = Action::RemoveFiles { instance: instance("cart-0"), class, older_than };
        world.ask(&remediation(plan_id(1), Strategy::CleanupTempFiles, vec![action]))
    };
    assert!(matches!(remove(FileClass::Temporary, 7), Ruling::Clear(_)));
    assert!(remove(FileClass::Temporary, 6).awaits_approval());
    assert!(remove(FileClass::Cache, 7).awaits_approval());
}

#[test]
fn switches_pauses_and_labels_hold_everything_they_name() {
    let plan = kill("cart-0", 1);
    let mut w = world();
    w.switches.emergency_stop = true;
    assert!(matches!(w.ask(&plan), Ruling::Refuse { .. }));
    assert!(matches!(w.ask(&w.fault("instance/cart-0")), Ruling::Refuse { .. }));

    let mut w = world();
    w.switches.automation = false;
    assert!(w.ask(&plan).awaits_approval());
    w.switches = Switches { dry_run: true, ..Switches::default() };
    assert_eq!(w.reasons(&plan), [Objection::DryRun]);

    let mut w = world();
    w.switches.paused.insert(service("cart"), Some(w.now.plus(Duration::from_secs(60))));
    assert!(matches!(w.reasons(&plan)[..], [Objection::Paused { .. }]));
    let eject = Action::EjectBackend { link: link("cart->database"), instance: instance("database-0") };
    assert!(
        w.reasons(&remediation(plan_id(2), Strategy::RerouteTraffic, vec![eject]))
            .iter()
            .any(|reason| matches!(reason, Objection::Paused { .. })),
        "a change of a link is a change of its caller"
    );
    let by_hand =
        w.operation(Action::RestartInstance { instance: instance("cart-0"), manner: StopManner::Drain });
    assert!(matches!(w.ask(&by_hand), Ruling::Clear(_)), "a pause is when people work by hand");
    w.now = w.now.plus(Duration::from_secs(60));
    w.snapshot.taken = w.now;
    assert_eq!(w.reasons(&plan), [], "a pause ends by itself");

    let mut w = world();
    w.snapshot.services.get_mut(&service("cart")).unwrap().hands_off = true;
    assert_eq!(w.reasons(&plan), [Objection::HandsOff(service("cart"))]);
}

#[test]
fn an_empty_blast_radius_or_an_unseen_resource_never_means_everything() {
    let mut plan = kill("cart-0", 1);
    plan.blast_radius.clear();
    assert!(matches!(world().ask(&plan), Ruling::Refuse { .. }));
    let unseen = kill("cart-7", 1);
    assert_eq!(world().reasons(&unseen), [Objection::UnknownResource(resource("instance/cart-7"))]);
    let mut world = world();
    world.now = world.now.plus(Duration::from_secs(31));
    assert!(matches!(world.reasons(&kill("cart-0", 1))[..], [Objection::StaleSnapshot { .. }]));
}

#[test]
fn a_repair_of_a_disturbed_instance_uses_its_slot_and_another_instance_waits() {
    let mut world = world();
    let fault = world.fault("instance/cart-0");
    world.running.push(RunningPlan::of(&fault, world.now).unwrap());
    assert_eq!(world.reasons(&kill("cart-0", 1)), []);
    let slots = Objection::InstanceSlots { service: service("cart"), limit: 1, seen: 2 };
    assert_eq!(world.reasons(&kill("cart-1", 1)), [slots]);
    let again = world.reasons(&world.fault("instance/cart-0"));
    assert!(matches!(again[..], [Objection::Busy { .. }]));
    assert!(again[0].to_string().starts_with("a fault is in effect on instance/cart-0 "), "{}", again[0]);
    assert!(again[0].to_string().ends_with("; it ends by itself, or is aborted"), "{}", again[0]);
    world.running = vec![RunningPlan::of(&kill("cart-0", 1), world.now).unwrap()];
    let again = world.reasons(&kill("cart-0", 2));
    assert!(
        again[0].to_string().ends_with(" repairs instance/cart-0; try again when it has ended"),
        "{}",
        again[0]
    );
}

#[test]
fn the_last_ready_instance_is_stopped_only_by_a_person() {
    let mut world = world();
    slot_mut(&mut world.snapshot, "cart-1").phase = Phase::BackingOff;
    let plan = kill("cart-0", 1);
    assert_eq!(world.reasons(&plan), [Objection::LastReady(instance("cart-0"))]);
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
    assert_eq!(world.reasons(&kill("database-0", 2)), [], "a single instance has no other");
}

#[test]
fn the_last_backend_is_never_taken_out() {
    let mut world = world();
    let eject = Action::EjectBackend { link: link("front->cart"), instance: instance("cart-0") };
    let mut plan = remediation(plan_id(1), Strategy::RerouteTraffic, vec![eject]);
    plan.lift_after = Some(Duration::from_secs(60));
    assert_eq!(world.reasons(&plan), []);
    let link_state = world.snapshot.links.get_mut(&link("front->cart")).unwrap();
    link_state.backends.get_mut(&instance("cart-1")).unwrap().ejected = true;
    assert_eq!(world.reasons(&plan), [Objection::NoBackendLeft(link("front->cart"))]);
}

#[test]
fn half_of_the_fleet_or_a_fleet_of_three_is_no_storm() {
    let mut world = world();
    let rotate = Action::RotateLogs { instance: instance("front-0") };
    let plan = remediation(plan_id(2), Strategy::RotateLogs, vec![rotate]);
    for name in ["cart-0", "cart-1", "front-0"] {
        hangs(&mut world.snapshot, name);
    }
    assert_eq!(world.reasons(&plan), [], "3 of 6");
    world.snapshot.services.remove(&service("load"));
    assert!(matches!(world.reasons(&plan)[..], [Objection::Storm { unwell: 3, of: 5, .. }]));
    world.snapshot.services.remove(&service("cart"));
    hangs(&mut world.snapshot, "front-1");
    assert_eq!(world.reasons(&plan), [], "2 of 3");
}

#[test]
fn in_a_storm_only_plain_restarts_go_on_paced_and_a_person_is_called() {
    let mut world = world();
    for name in ["cart-0", "cart-1", "front-0", "front-1"] {
        hangs(&mut world.snapshot, name);
    }
    assert!(matches!(world.ask(&kill("cart-0", 1)), Ruling::Clear(_)));
    let scale = Action::SetReplicas { service: service("cart"), replicas: 3 };
    let scale = remediation(plan_id(2), Strategy::ScaleReplicas, vec![scale]);
    let reasons = world.reasons(&scale);
    assert!(matches!(reasons[..], [Objection::Storm { unwell: 4, of: 6, .. }]));
    assert!(reasons[0].calls_a_person());
    world.done(&kill("cart-0", 1), 4, None);
    assert!(matches!(world.reasons(&kill("front-0", 3))[..], [Objection::StormPace { .. }]));
    assert!(
        world
            .reasons(&world.fault("instance/database-0"))
            .iter()
            .any(|reason| matches!(reason, Objection::UnhealthyFleet { .. }))
    );
}

#[test]
fn faults_stay_within_their_limits_and_never_touch_the_protected() {
    let mut world = world();
    assert_eq!(world.reasons(&world.fault("instance/cart-0")), []);
    world.policy.chaos.faults_at_a_time = 1;
    world.running.push(RunningPlan::of(&world.fault("instance/front-0"), world.now).unwrap());
    let reasons = world.reasons(&world.fault("instance/cart-0"));
    assert!(reasons.contains(&Objection::FaultsAtATime { limit: 1, seen: 2 }));
    assert!(reasons.contains(&Objection::BlastRadius { limit: 1, seen: 2 }), "a quarter of six");
    world.running.clear();
    let plan = world.fault("instance/cart-0");
    world.policy.chaos.protected_services.insert(service("cart"));
    assert_eq!(world.reasons(&plan), [Objection::Protected(service("cart"))]);
    world.policy.chaos.protected_services.clear();
    world.snapshot.environment = Environment::Production;
    assert_eq!(world.reasons(&plan), [Objection::ProductionFault]);
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}

#[test]
fn deleting_a_fifth_of_the_fleet_needs_an_approval_even_of_an_operator() {
    let mut world = world();
    add_service(&mut world.snapshot, "many", 20, &[]);
    let scale =
        |world: &World, replicas| world.operation(Action::SetReplicas { service: service("many"), replicas });
    assert_eq!(world.reasons(&scale(&world, 15)), []);
    let plan = scale(&world, 14);
    assert_eq!(world.reasons(&plan), [Objection::BulkDeletion { limit: 6, seen: 6 }]);
    world.approve(&plan);
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}

#[test]
fn taking_a_measure_back_needs_no_clearance() {
    let mut world = world();
    world.switches = Switches { automation: false, emergency_stop: true, ..Switches::default() };
    let mut plan = kill("cart-0", 1);
    plan.intent = Intent::Lift { of: plan_id(2) };
    assert!(matches!(world.ask(&plan), Ruling::Clear(_)));
}
