//! Deployments in simulation: a release that makes its service worse is rolled back, once, and proven so; others stay.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::fault::PathScope;
use domain::{
    Attribute, AttributeValue, CauseClass, Deployment, Fault, FaultKind, Intent, OutcomeKind, Plan,
    PlanStatus, Release, ResourceId, SeenBy, ServiceName, Strategy, Time,
};
use heal::{Deploy, OperateError, RunMode};
use store::{EntryState, PlanRecord};
use support::{Lab, TURN, automatic};

const START: Time = Time { boot_us: 0, wall_us: 0 };

fn catalogue() -> ServiceName {
    ServiceName::new("catalogue").unwrap()
}

/// One whose releases have no name here: only its spans say which it is.
fn cart() -> ServiceName {
    ServiceName::new("cart").unwrap()
}

/// A version with a defect, or without one.
fn version(name: &str, defect: &[(&str, &str)]) -> Deploy {
    let environment = defect.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Deploy { version: name.to_owned(), command: None, environment: environment.collect::<BTreeMap<_, _>>() }
}

const FAILS: [(&str, &str); 1] = [("SIMULATED_FAILS_PERCENT", "30")];
const SLOW: [(&str, &str); 1] = [("SIMULATED_SLOWER_MS", "400")];

/// A shop that has been looked at.
fn shop() -> Lab {
    let lab = Lab::shop(automatic());
    turns(&lab, 5);
    lab
}

fn turns(lab: &Lab, seconds: u64) {
    for _ in 0..Duration::from_secs(seconds).as_millis() / TURN.as_millis() {
        lab.turn();
    }
}

fn deploy(lab: &Lab, change: Deploy) -> Plan {
    let proposal = lab.healer.deploy(&catalogue(), change, RunMode::Run, "ann").unwrap();
    assert!(proposal.reasons.is_empty(), "{:?}", proposal.reasons);
    lab.turn();
    proposal.plan
}

fn runs(lab: &Lab) -> Release {
    let snapshot = lab.observer.snapshot().unwrap();
    snapshot.services[&catalogue()].release.clone()
}

fn deployments(lab: &Lab) -> Vec<Deployment> {
    lab.store.deployments(START).unwrap()
}

fn repairs(lab: &Lab) -> Vec<PlanRecord> {
    let filter =
        store::PlanFilter { only: Some(store::PlanPurpose::Remediation), ..store::PlanFilter::default() };
    lab.store.plans(&filter).unwrap()
}

fn rollbacks(lab: &Lab) -> Vec<PlanRecord> {
    let mut repairs = repairs(lab);
    repairs.retain(|record| record.plan.strategy() == Some(Strategy::RollbackDeployment));
    repairs
}

fn is_rolled_back(defect: &[(&str, &str)], pattern: &str) {
    let lab = shop();
    let before = runs(&lab);
    let plan = deploy(&lab, version("2", defect));
    assert_eq!(runs(&lab).version.as_deref(), Some("2"));
    turns(&lab, 150);

    assert_eq!(runs(&lab), before, "exactly what ran before runs again");
    let done = rollbacks(&lab);
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(done[0].status, PlanStatus::Success);
    assert_eq!(done[0].outcome.as_ref().unwrap().kind, OutcomeKind::Healed);
    let Intent::Remediation { cause, .. } = &done[0].plan.intent else { panic!("{:?}", done[0].plan) };
    assert_eq!((cause.class, cause.pattern.as_str()), (CauseClass::BadDeployment, pattern));
    assert!(cause.evidence[0].text.contains("version 2 was deployed"), "{:?}", cause.evidence);
    assert_eq!(repairs(&lab).len(), 1, "nothing else was tried: {:?}", repairs(&lab));
    assert!(lab.store.open_issues().unwrap().is_empty());

    let told = deployments(&lab);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].seen_by, told[0].plan), (SeenBy::Plan, Some(plan.id)));
    assert_eq!(told[0].version.as_deref(), Some("2"));
    assert!(told[0].finished_at.is_some() && told[0].before.is_some_and(|before| before.requests > 100));
    assert_eq!((told[1].rolls_back, told[1].plan), (Some(told[0].id), Some(done[0].plan.id)));
    assert!(lab.left_behind().is_empty(), "{:?}", lab.left_behind());
}

#[test]
fn a_release_that_fails_requests_is_rolled_back_and_verified() {
    is_rolled_back(&FAILS, "just_deployed+errors_rose");
}

#[test]
fn a_release_that_is_slow_is_rolled_back_and_verified() {
    is_rolled_back(&SLOW, "just_deployed+slow_requests_rose");
}

#[test]
fn a_good_release_stays() {
    let lab = shop();
    deploy(&lab, version("1.1", &[]));
    turns(&lab, 120);
    assert_eq!(runs(&lab).version.as_deref(), Some("1.1"));
    assert!(repairs(&lab).is_empty(), "{:?}", repairs(&lab));
    assert_eq!(deployments(&lab).len(), 1);
}

#[test]
fn a_broken_path_after_a_good_release_is_not_the_releases_fault() {
    let mut lab = shop();
    deploy(&lab, version("1.1", &[]));
    turns(&lab, 20);
    let fault = Fault {
        target: "link/front->catalogue".parse().unwrap(),
        kind: FaultKind::NetworkPartition { scope: PathScope::Backend("catalogue-0".parse().unwrap()) },
        duration: Duration::from_secs(60),
    };
    lab.inject(&fault).unwrap();
    turns(&lab, 120);
    assert!(!repairs(&lab).is_empty());
    assert!(rollbacks(&lab).is_empty(), "{:?}", rollbacks(&lab));
    assert_eq!(runs(&lab).version.as_deref(), Some("1.1"));
}

#[test]
fn a_release_that_somebody_deploys_again_over_its_rollback_stays() {
    let lab = shop();
    deploy(&lab, version("2", &FAILS));
    turns(&lab, 150);
    let rollback = rollbacks(&lab).remove(0).plan.id;
    lab.healer.roll_back(rollback, "ann").unwrap();
    turns(&lab, 90);
    assert_eq!(runs(&lab).version.as_deref(), Some("2"), "who took the rollback back wants it so");
    assert_eq!(rollbacks(&lab).len(), 1);
    let told = deployments(&lab);
    assert_eq!(told.last().unwrap().rolls_back, Some(told[1].id));
}

#[test]
fn a_release_that_another_replaced_is_not_rolled_back_before_that_one_is() {
    let lab = shop();
    let before = runs(&lab);
    let first = deploy(&lab, version("1.4.0", &[]));
    turns(&lab, 20);
    let second = deploy(&lab, version("1.5.0", &[]));
    turns(&lab, 20);
    let refused = lab.healer.roll_back(first.id, "ann").unwrap_err().to_string();
    assert!(refused.contains(&format!("homeostat rollback {}", second.id)), "{refused}");
    assert!(refused.contains("roll that one back first"), "{refused}");
    turns(&lab, 20);
    let record = lab.store.plan(first.id).unwrap().unwrap();
    assert_eq!((record.status, record.rolled_back, &record.error), (PlanStatus::Success, false, &None));
    assert_eq!(lab.store.journal(first.id).unwrap()[0].state(), EntryState::Done, "nothing was begun");
    assert_eq!(runs(&lab).version.as_deref(), Some("1.5.0"));

    lab.healer.roll_back(second.id, "ann").unwrap();
    turns(&lab, 20);
    assert_eq!(runs(&lab).version.as_deref(), Some("1.4.0"));
    lab.healer.roll_back(first.id, "ann").unwrap();
    turns(&lab, 20);
    assert_eq!(runs(&lab), before);
    assert!(lab.store.plan(first.id).unwrap().unwrap().rolled_back);
}

#[test]
fn what_was_changed_past_every_plan_is_not_said_to_be_rolled_back() {
    let lab = shop();
    let plan = lab.healer.scale(&catalogue(), 4, RunMode::Run, "ann").unwrap().plan;
    turns(&lab, 20);
    lab.provider.set_from_outside(&Attribute::Replicas(catalogue()), AttributeValue::Count(5));
    turns(&lab, 5);
    for _ in 0..2 {
        let refused = lab.healer.roll_back(plan.id, "ann").unwrap_err().to_string();
        assert!(refused.contains("was changed by somebody else since"), "{refused}");
    }
    let record = lab.store.plan(plan.id).unwrap().unwrap();
    assert_eq!((record.status, record.rolled_back), (PlanStatus::Success, false));
    assert_eq!(lab.store.journal(plan.id).unwrap()[0].state(), EntryState::Superseded);
}

#[test]
fn the_same_release_ordered_anew_is_judged_anew() {
    let lab = shop();
    let before = runs(&lab);
    deploy(&lab, version("2", &FAILS));
    turns(&lab, 150);
    deploy(&lab, version("2", &FAILS));
    turns(&lab, 150);
    assert_eq!(rollbacks(&lab).len(), 2, "{:?}", rollbacks(&lab));
    assert_eq!(runs(&lab), before);
}

#[test]
fn what_somebody_posts_is_recorded_once_and_what_is_wrong_with_it_is_said() {
    let lab = shop();
    let posted = lab.healer.post_deployment(&catalogue(), "7", None).unwrap();
    assert_eq!((posted.seen_by, posted.version.as_deref()), (SeenBy::Posted, Some("7")));
    let again = lab.healer.post_deployment(&catalogue(), "7", None).unwrap();
    assert_eq!(again.id, posted.id, "it is recorded once");
    for (version, at) in [("two words", None), ("8", Some(lab.now().plus(Duration::from_secs(60))))] {
        let refused = lab.healer.post_deployment(&catalogue(), version, at);
        assert!(matches!(refused, Err(OperateError::Refused { .. })), "{refused:?}");
    }
    let nobody = ServiceName::new("nobody").unwrap();
    let refused = lab.healer.post_deployment(&nobody, "8", None);
    assert!(matches!(refused, Err(OperateError::NotFound { .. })), "{refused:?}");
}

#[test]
fn a_new_control_plane_tells_no_deployment_anew_and_sees_the_end_of_one() {
    let mut lab = shop();
    let proposal = lab.healer.deploy(&catalogue(), version("1.1", &[]), RunMode::Run, "ann").unwrap();
    lab.crash();
    turns(&lab, 10);
    let told = deployments(&lab);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].plan, Some(proposal.plan.id));
    assert!(told[0].finished_at.is_some());
    lab.crash();
    turns(&lab, 10);
    assert_eq!(deployments(&lab), told);
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing_and_what_is_wrong_is_said() {
    let lab = shop();
    let before = runs(&lab);
    let shown = lab.healer.deploy(&catalogue(), version("2", &FAILS), RunMode::DryRun, "ann").unwrap();
    assert_eq!(shown.plan.steps.len(), 1);
    turns(&lab, 5);
    assert_eq!(runs(&lab), before);
    assert!(deployments(&lab).is_empty());
    let refused = |change| match lab.healer.deploy(&catalogue(), change, RunMode::Run, "ann") {
        Err(OperateError::Refused { why }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(version("two words", &[])).contains("is no version"));
    deploy(&lab, version("1.1", &[]));
    turns(&lab, 10);
    assert!(refused(version("1.1", &[])).contains("exactly that already"));
}

#[test]
fn what_the_guard_lets_and_cannot_be_done_is_told_apart_and_begun_by_nobody() {
    let lab = shop();
    let before = runs(&lab);
    lab.provider.refuse_all_on(ResourceId::Service(catalogue()));
    for mode in [RunMode::DryRun, RunMode::Run] {
        let told = lab.healer.deploy(&catalogue(), version("2", &FAILS), mode, "ann");
        assert!(
            matches!(&told, Err(OperateError::Impossible(why)) if why.to_string().contains("the check")),
            "{told:?}"
        );
    }
    turns(&lab, 5);
    assert_eq!(runs(&lab), before);
    let all = store::PlanFilter { only: Some(store::PlanPurpose::Operation), ..store::PlanFilter::default() };
    assert_eq!(lab.store.plans(&all).unwrap(), [], "no plan is left of it");
    // The guard is asked first.
    lab.store.latch_emergency_stop(lab.now()).unwrap();
    let shown = lab.healer.deploy(&catalogue(), version("2", &FAILS), RunMode::DryRun, "ann").unwrap();
    assert_eq!(shown.status, PlanStatus::Refused);
}

/// What spans of the catalogue say it is, and since when.
struct Spans(std::sync::Mutex<Option<(String, Time)>>);

impl domain::TraceSource for Spans {
    fn traces(&self, _now: Time) -> domain::Traces {
        let told = self.0.lock().unwrap().clone();
        let seen = told.map(|(version, since)| (cart(), domain::traces::SeenVersion { version, since }));
        domain::Traces { versions: seen.into_iter().collect(), ..domain::Traces::default() }
    }
}

#[test]
fn another_version_in_the_spans_is_a_deployment_that_is_blamed_and_cannot_be_put_back() {
    let spans = std::sync::Arc::new(Spans(std::sync::Mutex::new(None)));
    let mut lab = Lab::shop(automatic());
    let said = |version: &str, since| *spans.0.lock().unwrap() = Some((version.to_owned(), since));
    said("3", lab.now());
    lab.listen_to(std::sync::Arc::clone(&spans) as std::sync::Arc<dyn domain::TraceSource>);
    turns(&lab, 10);
    assert!(deployments(&lab).is_empty(), "the first version that is seen was there before");
    // Somebody else deploys it where we only see the end of it.
    said("4", lab.now());
    lab.provider.change_behind(&cart(), &FAILS);
    turns(&lab, 60);
    let told = deployments(&lab);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].seen_by, told[0].version.as_deref()), (SeenBy::Spans, Some("4")));
    assert_eq!(told[0].previous_version.as_deref(), Some("3"));
    assert!(rollbacks(&lab).is_empty(), "nobody knows what ran before");
    let blamed = repairs(&lab).into_iter().any(|record| {
        matches!(&record.plan.intent, Intent::Remediation { cause, .. } if cause.class == CauseClass::BadDeployment)
    });
    assert!(blamed, "{:?}", repairs(&lab));
}
