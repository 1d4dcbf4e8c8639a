//! What is removed on request: what is over and old, of the kinds that were asked for; and the disk has its room again.

mod support;

use std::time::Duration;

use domain::*;
use store::*;
use support::*;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Two days after everything.
fn later() -> Time {
    at(60 * 86_400 + 1000)
}

fn finish(store: &Store, plan: &Plan) {
    store.add_plan(plan, PlanStatus::Failed, &[]).unwrap();
}

/// An experiment that is over, with its plan.
fn experimented(store: &Store, seed: u64) -> (ExperimentId, Plan) {
    let plan = experiment(seed, "cart-1");
    let Intent::Experiment { experiment: id } = plan.intent else { unreachable!("it is one") };
    let record = ExperimentRecord {
        id,
        status: ExperimentStatus::Completed,
        document: "{}".to_owned(),
        created_at: at(seed),
    };
    store.save_experiment(&record).unwrap();
    store.add_plan(&plan, PlanStatus::Success, &[]).unwrap();
    (id, plan)
}

#[test]
fn a_dry_run_says_what_the_removal_then_does() {
    let store = Store::in_memory().unwrap();
    let mut old = issue(1);
    old.closed_at = Some(at(5));
    store.save_issue(&old).unwrap();
    let repaired = repair(2, &old, "cart-0");
    finish(&store, &repaired);
    experimented(&store, 3);
    let purge = |mode| store.purge(later(), MONTH, &RecordKind::ALL, mode).unwrap();
    let said = purge(PurgeMode::DryRun);
    assert_eq!((said.issues, said.plans, said.experiments), (1, 2, 1));
    assert!(store.issue(old.id).unwrap().is_some() && store.plan(repaired.id).unwrap().is_some());
    assert_eq!(purge(PurgeMode::Remove), said);
    assert!(store.issue(old.id).unwrap().is_none() && store.plan(repaired.id).unwrap().is_none());
    assert_eq!(purge(PurgeMode::Remove), Pruned::default(), "nothing is left of it");
}

#[test]
fn what_is_open_runs_or_is_owed_stays_whatever_its_age() {
    let store = Store::in_memory().unwrap();
    let open = issue(1);
    store.save_issue(&open).unwrap();
    let waiting = repair(2, &open, "cart-0");
    store.add_plan(&waiting, PlanStatus::AwaitingApproval, &[]).unwrap();
    let timed = repair(3, &open, "cart-1");
    finish(&store, &timed);
    store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: timed.id, due: at(5) }).unwrap();
    let undecided = repair(4, &open, "cart-2");
    finish(&store, &undecided);
    store.append_intent(first_step(&undecided), &undecided.steps[0], &Captured::Nothing, at(5)).unwrap();
    // Over by its own word, while its fault is still in force.
    let (id, fault) = experimented(&store, 5);
    store.append_intent(first_step(&fault), &fault.steps[0], &Captured::Nothing, at(5)).unwrap();
    store.append_ending(first_step(&fault), &Ending::Done, at(5)).unwrap();

    let pruned = store.purge(later(), MONTH, &RecordKind::ALL, PurgeMode::Remove).unwrap();
    assert_eq!(pruned, Pruned::default());
    for plan in [&waiting, &timed, &undecided, &fault] {
        assert!(store.plan(plan.id).unwrap().is_some(), "{}", plan.id);
    }
    assert!(store.experiment(id).unwrap().is_some(), "a plan of it is kept");
}

#[test]
fn only_the_kinds_that_were_asked_for_go() {
    let store = Store::in_memory().unwrap();
    let mut old = issue(1);
    old.closed_at = Some(at(5));
    store.save_issue(&old).unwrap();
    let repaired = repair(2, &old, "cart-0");
    finish(&store, &repaired);
    let (id, _) = experimented(&store, 3);
    let purge = |kind| store.purge(later(), MONTH, &[kind], PurgeMode::Remove).unwrap();
    assert_eq!(purge(RecordKind::Issues), Pruned::default(), "its repair is kept, and so is the issue");
    assert_eq!(purge(RecordKind::Experiments), Pruned { plans: 1, experiments: 1, ..Pruned::default() });
    assert!(store.experiment(id).unwrap().is_none() && store.plan(repaired.id).unwrap().is_some());
    assert_eq!(purge(RecordKind::Remediations), Pruned { plans: 1, ..Pruned::default() });
    assert_eq!(purge(RecordKind::Issues), Pruned { issues: 1, ..Pruned::default() });
}

#[test]
fn what_limits_are_counted_over_cannot_be_removed() {
    let store = Store::in_memory().unwrap();
    for mode in [PurgeMode::DryRun, PurgeMode::Remove] {
        let refused = store.purge(later(), MONTH - Duration::from_secs(1), &RecordKind::ALL, mode);
        assert!(matches!(refused, Err(StoreError::TooYoung { .. })), "{refused:?}");
    }
}

/// Fills a store with repairs that are over, and says how long its file is then.
fn filled(dir: &std::path::Path) -> (Store, u64) {
    let store = Store::open(dir).unwrap();
    let mut old = issue(1);
    old.closed_at = Some(at(5));
    old.description = "x".repeat(4000);
    store.save_issue(&old).unwrap();
    for seed in 2..200 {
        let mut plan = repair(seed, &old, "cart-0");
        plan.expected_effect = "x".repeat(8000);
        finish(&store, &plan);
    }
    let length = dir.join("homeostat.db").metadata().unwrap().len();
    (store, length)
}

#[test]
fn the_disk_has_the_room_of_what_was_removed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = filled(dir.path());
    let length = || dir.path().join("homeostat.db").metadata().unwrap().len();
    store.purge(later(), MONTH, &RecordKind::ALL, PurgeMode::Remove).unwrap();
    let room = store.give_back().unwrap();
    assert!(room.given_back() > 1 << 20, "{room:?}");
    assert!(length() < full / 4, "{} of {full} bytes are left", length());
    // It is a database as before.
    store.save_issue(&issue(300)).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().open_issues().unwrap().len(), 1);
}

#[test]
fn a_database_that_was_made_before_gives_its_room_back_too() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path()).0);
    let path = dir.path().join("homeostat.db");
    let made_before = rusqlite::Connection::open(&path).unwrap();
    made_before.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM;").unwrap();
    drop(made_before);
    let full = path.metadata().unwrap().len();
    let store = Store::open(dir.path()).unwrap();
    store.purge(later(), MONTH, &RecordKind::ALL, PurgeMode::Remove).unwrap();
    store.give_back().unwrap();
    let left = path.metadata().unwrap().len();
    assert!(left < full / 4, "{left} of {full} bytes are left");
}
