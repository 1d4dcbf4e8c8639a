//! What is removed on request: what is over and old, of the kinds that were asked for; and the disk has its room again.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use domain::*;
use store::*;
use support::purging::*;
use support::*;

#[test]
fn what_would_go_is_said_without_a_write_and_then_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let old = closed(&store, 1);
    let repaired = repaired(&store, 2, &old);
    experimented(&store, 3);
    let log = dir.path().join("homeostat.db-wal");
    let written = || (log.metadata().unwrap().len(), std::fs::read(&log).unwrap());
    let before = written();
    let said = purgeable(&store, &RecordKind::ALL);
    assert_eq!((said.issues, said.plans, said.experiments), (1, 2, 1));
    assert!(written() == before, "saying it writes nothing");
    assert!(store.issue(old.id).unwrap().is_some() && store.plan(repaired.id).unwrap().is_some());
    assert_eq!(purge(&store, &RecordKind::ALL), said);
    assert!(store.issue(old.id).unwrap().is_none() && store.plan(repaired.id).unwrap().is_none());
    assert_eq!(purge(&store, &RecordKind::ALL), Pruned::default(), "nothing is left of it");
}

#[test]
fn what_is_open_runs_or_is_owed_stays_whatever_its_age() {
    let store = Store::in_memory().unwrap();
    let open = issue(1);
    store.save_issue(&open).unwrap();
    let waiting = repair(2, &open, "cart-0");
    store.add_plan(&waiting, PlanStatus::AwaitingApproval, &[]).unwrap();
    let timed = repaired(&store, 3, &open);
    store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: timed.id, due: at(5) }).unwrap();
    let undecided = repaired(&store, 4, &open);
    store.append_intent(first_step(&undecided), &undecided.steps[0], &Captured::Nothing, at(5)).unwrap();
    // Over by its own word, while its fault is still in force.
    let (id, fault) = experimented(&store, 5);
    store.append_intent(first_step(&fault), &fault.steps[0], &Captured::Nothing, at(5)).unwrap();
    store.append_ending(first_step(&fault), &Ending::Done, at(5)).unwrap();

    assert_eq!(purgeable(&store, &RecordKind::ALL), Pruned::default());
    assert_eq!(purge(&store, &RecordKind::ALL), Pruned::default());
    for plan in [&waiting, &timed, &undecided, &fault] {
        assert!(store.plan(plan.id).unwrap().is_some(), "{}", plan.id);
    }
    assert!(store.experiment(id).unwrap().is_some(), "a plan of it is kept");
    assert_eq!(
        store.unrecorded_purges().unwrap().notes,
        [],
        "of what removed nothing there is nothing to tell"
    );
}

#[test]
fn only_the_kinds_that_were_asked_for_go() {
    let store = Store::in_memory().unwrap();
    let old = closed(&store, 1);
    let repaired = repaired(&store, 2, &old);
    let (id, _) = experimented(&store, 3);
    let one = |kind, removed: Pruned| {
        assert_eq!(purgeable(&store, &[kind]), removed, "{}", kind.name());
        assert_eq!(purge(&store, &[kind]), removed, "{}", kind.name());
    };
    one(RecordKind::Issues, Pruned::default());
    one(RecordKind::Experiments, Pruned { plans: 1, experiments: 1, ..Pruned::default() });
    assert!(store.experiment(id).unwrap().is_none() && store.plan(repaired.id).unwrap().is_some());
    one(RecordKind::Remediations, Pruned { plans: 1, ..Pruned::default() });
    one(RecordKind::Issues, Pruned { issues: 1, diagnoses: 1, ..Pruned::default() });
}

#[test]
fn what_limits_are_counted_over_cannot_be_removed() {
    let store = Store::in_memory().unwrap();
    let age = MONTH - Duration::from_secs(1);
    let said = store.purgeable(later(), age, &RecordKind::ALL, None, || ControlFlow::Continue(()));
    assert!(matches!(said, Err(StoreError::TooYoung { .. })), "{said:?}");
    let young = PurgeOrder { age, ..order(1, &RecordKind::ALL) };
    let refused = store.purge(&young, None, |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(StoreError::TooYoung { .. })), "{refused:?}");
}

/// Fills a store with repairs that are over, each of so many bytes, and says how long its file is then.
fn filled(dir: &Path, bytes: usize) -> (Store, u64) {
    let store = Store::open(dir).unwrap();
    let old = closed(&store, 1);
    for seed in 2..200 {
        let mut plan = repair(seed, &old, "cart-0");
        plan.expected_effect = "x".repeat(bytes);
        store.add_plan(&plan, PlanStatus::Failed, &[]).unwrap();
    }
    let length = length(dir);
    (store, length)
}

fn length(dir: &Path) -> u64 {
    dir.join("homeostat.db").metadata().unwrap().len()
}

#[test]
fn the_disk_has_the_room_of_what_was_removed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, full) = filled(dir.path(), 8000);
    purge(&store, &RecordKind::ALL);
    let room = store.give_back(|| ControlFlow::Continue(())).unwrap();
    assert!(room.given_back() > 1 << 20, "{room:?}");
    assert!(length(dir.path()) < full / 4, "{} of {full} bytes are left", length(dir.path()));
    // It is a database as before.
    store.save_issue(&issue(300)).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path()).unwrap().open_issues().unwrap().len(), 1);
}

#[test]
fn others_write_while_room_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = filled(dir.path(), 150_000);
    purge(&store, &RecordKind::ALL);
    let (steps, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (began, begun) = mpsc::channel();
    let (store, steps, over) = (&store, &steps, &over);
    std::thread::scope(|threads| {
        // One who wants to write once at each step.
        let writer = threads.spawn(move || {
            let (mut writes, mut seen) = (0, 0);
            began.send(()).unwrap();
            while !over.load(Ordering::SeqCst) {
                let now = steps.load(Ordering::SeqCst);
                if now == seen {
                    std::thread::yield_now();
                    continue;
                }
                seen = now;
                store.put_document("written", "1").unwrap();
                writes += 1;
            }
            writes
        });
        begun.recv().unwrap();
        let room = store.give_back(|| {
            steps.fetch_add(1, Ordering::SeqCst);
            ControlFlow::Continue(())
        });
        let steps = steps.load(Ordering::SeqCst);
        over.store(true, Ordering::SeqCst);
        let writes = writer.join().unwrap();
        assert!(room.unwrap().given_back() > 20 << 20);
        assert!(steps > 20, "{steps} steps");
        assert!(writes >= steps / 3, "{writes} writes got through in {steps} steps");
    });
}

#[test]
fn a_database_that_was_made_before_keeps_its_room_and_says_how_it_becomes_one_of_today() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 8000).0);
    let made_before = rusqlite::Connection::open(dir.path().join("homeostat.db")).unwrap();
    made_before.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM;").unwrap();
    drop(made_before);
    let store = Store::open(dir.path()).unwrap();
    let refused = store.give_back(|| ControlFlow::Continue(())).unwrap_err();
    assert!(refused.to_string().contains("a backup that is restored"), "{refused}");
    // It is one.
    let copy = tempfile::tempdir().unwrap();
    assert!(store::backup::copy(dir.path(), &copy.path().join("homeostat.db")).unwrap());
    let full = length(copy.path());
    let store = Store::open(copy.path()).unwrap();
    purge(&store, &RecordKind::ALL);
    store.give_back(|| ControlFlow::Continue(())).unwrap();
    let left = length(copy.path());
    assert!(left < full / 4, "{left} of {full} bytes are left");
}
