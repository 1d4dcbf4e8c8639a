//! What a turn does is told: each phase once it is done, with the issue and the plan it is about.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decide::plan::policy::{Ladder, Rung};
use domain::fault::{FaultKind, PathScope};
use domain::{Fault, PlanId, ResourceId, StepToken};
use heal::{NoticeKind, Phase, Tell, TellElsewhere, Told};
use store::{Store, TimerKind};
use support::{Lab, Reach, automatic};

/// One phase, as it was told.
#[derive(Debug, Clone)]
struct Heard {
    turn: usize,
    phase: Phase,
    said: BTreeMap<&'static str, String>,
    happened: Vec<&'static str>,
    details: Vec<String>,
    failed: Option<String>,
}

/// Keeps what is told of turns that are not forgotten.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<(usize, Vec<Heard>)>>);

struct Hearing(Ear, usize);

impl Ear {
    fn heard(&self) -> Vec<Heard> {
        self.0.lock().unwrap().1.clone()
    }
}

impl Tell for Ear {
    fn begin(&self, phase: Phase) -> Box<dyn Told> {
        let mut all = self.0.lock().unwrap();
        all.0 += usize::from(phase == Phase::Turn);
        let turn = all.0;
        all.1.push(Heard {
            turn,
            phase,
            said: BTreeMap::new(),
            happened: Vec::new(),
            details: Vec::new(),
            failed: None,
        });
        Box::new(Hearing(self.clone(), all.1.len() - 1))
    }

    fn elsewhere(&self) -> TellElsewhere {
        let ear = self.clone();
        Box::new(move |phase| ear.begin(phase))
    }
}

impl Told for Hearing {
    fn say(&mut self, key: &'static str, value: &str) {
        self.0.0.lock().unwrap().1[self.1].said.insert(key, value.to_owned());
    }

    fn happened(&mut self, what: &'static str, details: &[(&'static str, &str)]) {
        let heard = &mut self.0.0.lock().unwrap().1[self.1];
        heard.happened.push(what);
        heard.details.extend(details.iter().map(|(_, value)| (*value).to_owned()));
    }

    fn failed(&mut self, why: &str) {
        self.0.0.lock().unwrap().1[self.1].failed = Some(why.to_owned());
    }

    fn forget(self: Box<Self>) {
        self.0.0.lock().unwrap().1.truncate(self.1);
    }
}

#[test]
fn a_repair_is_told_from_the_look_to_the_verdict_and_idle_turns_are_forgotten() {
    let ear = Ear::default();
    let mut lab = Lab::shop(automatic());
    lab.live_on(Reach { tell: Arc::new(ear.clone()), ..Reach::of(&lab.provider) });
    turns(&lab, 20);
    assert!(ear.heard().is_empty(), "nothing was done: {:?}", ear.heard());

    let target = ResourceId::Instance("cart-1".parse().unwrap());
    lab.inject(&Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(300) }).unwrap();
    turns(&lab, 150);
    let heard = ear.heard();
    let opened =
        heard.iter().find(|one| one.happened.contains(&"issue opened")).expect("an issue was opened");
    let issue = &opened.said["homeostat.issue.id"];
    let about: Vec<&Heard> =
        heard.iter().filter(|one| one.said.get("homeostat.issue.id") == Some(issue)).collect();
    let phases: BTreeSet<Phase> = about.iter().map(|one| one.phase).collect();
    assert_eq!(
        phases.into_iter().collect::<Vec<_>>(),
        [Phase::Detect, Phase::Diagnose, Phase::Plan, Phase::Act, Phase::Verify],
        "{about:#?}"
    );
    let act = about.iter().find(|one| one.phase == Phase::Act).unwrap();
    let of_its_turn: BTreeSet<Phase> =
        heard.iter().filter(|one| one.turn == act.turn).map(|one| one.phase).collect();
    assert!(
        of_its_turn.is_superset(&BTreeSet::from([Phase::Turn, Phase::Observe, Phase::Plan])),
        "{heard:#?}"
    );
    let plan = &act.said["homeostat.plan.id"];
    let verified = about.iter().rfind(|one| one.phase == Phase::Verify).unwrap();
    assert_eq!(&verified.said["homeostat.plan.id"], plan);
    assert_eq!(verified.said["homeostat.outcome"], "signal held");
    assert!(heard.iter().all(|one| one.failed.is_none()), "{heard:#?}");
}

/// A control plane that is heard begins over an issue that is open already, with this rung for every repair; what was
/// heard of it within `seconds`.
fn heard_of_an_open_issue(lab: &mut Lab, rung: Rung, seconds: u64) -> Vec<Heard> {
    let ear = Ear::default();
    lab.policy.ladder = Ladder { default: rung, rules: Vec::new() };
    lab.live_on(Reach { tell: Arc::new(ear.clone()), ..Reach::of(&lab.provider) });
    // The start takes out what was injected before it.
    let plan = domain::IdSource::seeded(seconds).next(lab.now());
    let target = ResourceId::Instance("cart-1".parse().unwrap());
    let hang = Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(900) };
    assert!(lab.provider.happen(StepToken { plan, index: 0 }, &hang));
    turns(lab, seconds);
    ear.heard()
}

fn turns(lab: &Lab, seconds: u64) {
    let until = lab.now().plus(Duration::from_secs(seconds));
    while !lab.now().reached(until) {
        lab.turn();
    }
}

fn turns_heard(heard: &[Heard]) -> BTreeSet<usize> {
    heard.iter().map(|one| one.turn).collect()
}

#[test]
fn what_is_refused_asked_for_and_not_answered_is_told_once() {
    let mut lab = Lab::shop(automatic());
    lab.policy.limits.approval_valid = Duration::from_secs(60);
    let opened = heard_of_an_open_issue(&mut lab, Rung::Observe, 20);
    assert!(opened.iter().any(|one| one.happened.contains(&"issue opened")), "{opened:#?}");

    let refused = heard_of_an_open_issue(&mut lab, Rung::Observe, 21);
    assert_eq!(turns_heard(&refused).len(), 1, "{refused:#?}");
    assert!(refused.iter().any(|one| one.phase == Phase::Plan), "{refused:#?}");

    let asked = heard_of_an_open_issue(&mut lab, Rung::Approve, 22);
    assert_eq!(turns_heard(&asked).len(), 1, "{asked:#?}");
    let calls = lab.notices.lock().unwrap().iter().filter(|n| n.kind == NoticeKind::ApprovalNeeded).count();
    assert_eq!(calls, 1);

    // It is not asked for again, so that the turn in which it expires does nothing else.
    let expired = heard_of_an_open_issue(&mut lab, Rung::Observe, 61);
    let told = expired.iter().filter(|one| one.happened == ["approval expired"]).collect::<Vec<_>>();
    assert!(matches!(&told[..], [one] if one.phase == Phase::Lift), "{expired:#?}");
    assert_eq!(turns_heard(&expired).len(), 2, "one more refuses it: {expired:#?}");
}

#[test]
fn a_measure_that_is_lifted_is_told() {
    let ear = Ear::default();
    let mut lab = Lab::shop(automatic());
    lab.live_on(Reach { tell: Arc::new(ear.clone()), ..Reach::of(&lab.provider) });
    let target: ResourceId = "link/front->cart".parse().unwrap();
    let scope = PathScope::Backend("cart-0".parse().unwrap());
    let (delay, jitter) = (Duration::from_millis(600), Duration::from_millis(50));
    let kind = FaultKind::NetworkLatency { delay, jitter, scope };
    lab.inject(&Fault { target, kind, duration: Duration::from_secs(120) }).unwrap();
    turns(&lab, 60);
    let measures = |lab: &Lab| {
        let timers = lab.store.timers().unwrap().into_iter();
        timers.filter(|timer| timer.kind == TimerKind::LiftPlan).map(|timer| timer.plan).collect::<Vec<_>>()
    };
    let held = measures(&lab);
    assert!(!held.is_empty(), "{:#?}", ear.heard());
    let until = lab.now().plus(Duration::from_secs(1800));
    while !measures(&lab).is_empty() {
        assert!(!lab.now().reached(until), "{held:?}");
        lab.turn();
    }
    let heard = ear.heard();
    let lifted: Vec<&Heard> = heard.iter().filter(|one| one.happened.contains(&"plan taken back")).collect();
    assert!(lifted.len() >= held.len() && lifted.iter().all(|one| one.phase == Phase::Lift), "{heard:#?}");
    let about = |plan: &PlanId| lifted.iter().any(|one| one.details.contains(&plan.to_string()));
    assert!(held.iter().all(about), "{held:?} {lifted:#?}");
}

#[test]
fn what_fails_apart_is_told_when_it_is_new() {
    let ear = Ear::default();
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::over(Store::open(dir.path()).unwrap(), support::shop(), automatic(), 7);
    lab.live_on(Reach { tell: Arc::new(ear.clone()), ..Reach::of(&lab.provider) });
    turns(&lab, 20);
    assert!(ear.heard().is_empty(), "{:#?}", ear.heard());
    // Without the room kept free for repairs no health score is written.
    let reserve = dir.path().join("reserve");
    std::fs::remove_file(&reserve).unwrap();
    std::fs::create_dir(&reserve).unwrap();
    turns(&lab, 150);
    let heard = ear.heard();
    assert_eq!(turns_heard(&heard).len(), 1, "{heard:#?}");
    let turn = heard.iter().find(|one| one.phase == Phase::Turn).unwrap();
    assert_eq!(turn.happened, ["trouble"]);
    assert!(turn.details.contains(&"health score".to_owned()), "{turn:#?}");
    assert_eq!(turn.failed, None, "the rest of it went on");
}
