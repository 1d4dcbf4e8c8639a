//! A purge that does not come to its end: what is gone is what is told, nothing is half gone, and the next one goes on.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use domain::*;
use store::*;
use support::purging::*;
use support::*;

/// Of everything, so much that it takes several transactions, and here and there what keeps something.
fn filled(store: &Store, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut ids = 1000 * seed..;
    let mut next = move || ids.next().unwrap();
    for _ in 0..150 {
        let issue = if rng.u8(..8) == 0 { issue(next()) } else { closed(store, next()) };
        store.save_issue(&issue).unwrap();
        for _ in 0..rng.u8(..3) {
            let plan = repaired(store, next(), &issue);
            match rng.u8(..12) {
                0 => {
                    store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: plan.id, due: at(5) }).unwrap()
                }
                1 => {
                    let step = &plan.steps[0];
                    store.append_intent(first_step(&plan), step, &Captured::Nothing, at(5)).unwrap();
                }
                _ => {}
            }
        }
    }
    for _ in 0..120 {
        let (_, fault) = experimented(store, next());
        if rng.u8(..6) == 0 {
            store.append_intent(first_step(&fault), &fault.steps[0], &Captured::Nothing, at(5)).unwrap();
        }
    }
}

/// How many rows each table has.
fn rows(dir: &Path) -> Vec<(String, usize)> {
    let database = rusqlite::Connection::open(dir.join("homeostat.db")).unwrap();
    let broken: usize =
        database.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(broken, 0);
    ["self_healing_issues", "plans", "experiments", "documents WHERE key LIKE 'diagnosis/%'"]
        .map(|table| {
            let count = format!("SELECT count(*) FROM {table}");
            (table.to_owned(), database.query_row(&count, [], |row| row.get(0)).unwrap())
        })
        .into()
}

fn counted(pruned: &Pruned) -> [usize; 4] {
    [pruned.issues, pruned.plans, pruned.experiments, pruned.diagnoses]
}

/// The data directory as a crash of the machine would leave it now.
fn as_after_a_crash(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["homeostat.db", "homeostat.db-wal"] {
        std::fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn after_a_crash_between_any_two_transactions_the_note_says_what_is_gone_and_the_next_purge_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    filled(&store, 1);
    let before = rows(dir.path());
    let said = purgeable(&store, &RecordKind::ALL);
    let mut crashes = Vec::new();
    let purged = store.purge(&order(1, &RecordKind::ALL), None, |removed| {
        crashes.push((*removed, as_after_a_crash(dir.path())));
        ControlFlow::Continue(())
    });
    let purged = purged.unwrap();
    assert_eq!(purged.removed, said);
    assert!(crashes.len() > 4, "{} transactions", crashes.len());
    let after = rows(dir.path());
    for (removed, dir) in crashes {
        let gone: Vec<usize> =
            before.iter().zip(rows(dir.path())).map(|((_, before), (_, left))| before - left).collect();
        assert_eq!(gone, counted(&removed));
        let store = Store::open(dir.path()).unwrap();
        let notes = store.unrecorded_purges().unwrap().notes;
        assert_eq!(notes.len(), 1);
        assert_eq!((notes[0].removed, notes[0].whole, notes[0].who.as_str()), (removed, false, "ada"));
        assert_eq!((notes[0].age, notes[0].kinds.as_slice()), (MONTH, RecordKind::ALL.as_slice()));
        let mut in_all = removed;
        in_all += purge(&store, &RecordKind::ALL);
        assert_eq!(in_all, said, "each record was counted once");
        assert_eq!(rows(dir.path()), after);
    }
    let notes = store.unrecorded_purges().unwrap().notes;
    assert_eq!((notes.len(), notes[0].removed, notes[0].whole), (1, said, true));
    store.purge_is_recorded(notes[0].id).unwrap();
    assert_eq!(store.unrecorded_purges().unwrap().notes, []);
}

#[test]
fn what_is_said_is_what_then_goes_whatever_is_kept_and_whichever_kinds_are_asked_for() {
    for seed in 1..6 {
        let store = Store::in_memory().unwrap();
        filled(&store, seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..6 {
            let kinds: Vec<RecordKind> = RecordKind::ALL.into_iter().filter(|_| rng.bool()).collect();
            let said = purgeable(&store, &kinds);
            assert_eq!(purge(&store, &kinds), said, "{kinds:?} of seed {seed}");
        }
        let said = purgeable(&store, &RecordKind::ALL);
        assert_eq!(purge(&store, &RecordKind::ALL), said, "seed {seed}");
    }
}

#[test]
fn others_write_while_it_goes_on_and_it_ends_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    filled(&store, 2);
    let said = purgeable(&store, &RecordKind::ALL);
    let mut writes = 0;
    let purged = store.purge(&order(1, &RecordKind::ALL), None, |_| {
        writes += 1;
        // On another thread, as whoever repairs.
        let (store, key) = (store.clone(), format!("written/{writes}"));
        let other = std::thread::spawn(move || store.put_document(&key, "1"));
        other.join().unwrap().unwrap();
        if writes < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let purged = purged.unwrap();
    assert!(matches!(purged.end, PurgeEnd::Stopped) && purged.removed != said, "{purged:?}");
    let mut in_all = purged.removed;
    in_all += store.purge(&order(2, &RecordKind::ALL), None, |_| ControlFlow::Continue(())).unwrap().removed;
    assert_eq!(in_all, said);
    assert_eq!(store.unrecorded_purges().unwrap().notes.len(), 2, "each is told by itself");
}

#[test]
fn it_ends_when_it_is_told_to_also_among_many_that_are_old_and_must_stay() {
    let store = Store::in_memory().unwrap();
    let issue = closed(&store, 1);
    for seed in 2..252 {
        let plan = repaired(&store, seed, &issue);
        store.add_timer(&Timer { kind: TimerKind::LiftPlan, plan: plan.id, due: at(5) }).unwrap();
    }
    let mut asked = 0;
    let purged = store.purge(&order(1, &[RecordKind::Remediations]), None, |_| {
        asked += 1;
        if asked < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let purged = purged.unwrap();
    assert!(matches!(purged.end, PurgeEnd::Stopped), "{purged:?} after it was asked {asked} times");
    assert_eq!((purged.removed, asked), (Pruned::default(), 2));
}

#[test]
fn what_would_go_is_counted_until_it_is_told_to_stop_and_is_no_more_than_what_goes() {
    let store = Store::in_memory().unwrap();
    filled(&store, 3);
    let all = purgeable(&store, &RecordKind::ALL);
    for looks in 1..4 {
        let mut asked = 0;
        let go_on = || {
            asked += 1;
            if asked < looks { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let said = store.purgeable(later(), MONTH, &RecordKind::ALL, None, go_on).unwrap();
        assert!(!said.is_all);
        let more = counted(&said.counted).into_iter().zip(counted(&all)).all(|(said, all)| said <= all);
        assert!(more && said.counted != all, "{said:?} of {all:?}");
    }
}

#[test]
fn retention_removes_a_little_at_a_time_and_all_in_the_end() {
    let store = Store::in_memory().unwrap();
    let taken = |n: u64| HealthRecord {
        overall: Some(100),
        compute: None,
        network: None,
        storage: None,
        database: None,
        security: None,
        coverage: 1.0,
        issues_detected: 0,
        auto_remediated: 0,
        at: at(n),
    };
    (0..700).for_each(|n| store.add_health(&taken(n)).unwrap());
    let keep = Retention { health: Duration::from_secs(3600), ..Retention::default() };
    let mut rounds = Vec::new();
    loop {
        let round = store.prune(at(600 + 3600), keep).unwrap();
        rounds.push(round.removed.health_scores);
        if !round.more {
            break;
        }
    }
    assert!(rounds.len() > 1 && rounds.iter().all(|rows| *rows < 600), "{rounds:?}");
    assert_eq!(rounds.iter().sum::<usize>(), 600);
    assert_eq!(store.health_since(at(0)).unwrap().len(), 100);
}
