//! What a turn does is told: each phase once it is done, with the issue and the plan it is about.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::fault::FaultKind;
use domain::{Fault, ResourceId};
use heal::{Phase, Tell, TellElsewhere, Told};
use support::{Lab, Reach, automatic};

/// One phase, as it was told.
#[derive(Debug, Clone)]
struct Heard {
    turn: usize,
    phase: Phase,
    said: BTreeMap<&'static str, String>,
    happened: Vec<&'static str>,
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
        all.1.push(Heard { turn, phase, said: BTreeMap::new(), happened: Vec::new(), failed: None });
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

    fn happened(&mut self, what: &'static str, _: &[(&'static str, &str)]) {
        self.0.0.lock().unwrap().1[self.1].happened.push(what);
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
    let turns_until = |lab: &Lab, seconds: u64| {
        let until = lab.now().plus(Duration::from_secs(seconds));
        while !lab.now().reached(until) {
            lab.turn();
        }
    };
    turns_until(&lab, 20);
    assert!(ear.heard().is_empty(), "nothing was done: {:?}", ear.heard());

    let target = ResourceId::Instance("cart-1".parse().unwrap());
    lab.inject(&Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(300) }).unwrap();
    turns_until(&lab, 150);
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
