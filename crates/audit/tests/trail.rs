//! What whoever appends, asks and proves can rely on.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use audit::{
    Audit, AuditError, Fact, Filter, Format, NewRecord, Options, Outcome, Proof, ProofError, Record, Trusted,
    Via, export, prove_growth, prove_record, verify,
};
use domain::{IdSource, PlanId};
use support::{APPROVE, START_US, clock, closed, directory, fill, options, record};

fn sequences(audit: &Audit, filter: &Filter) -> Vec<u64> {
    audit.query(filter).unwrap().records.iter().map(|record| record.sequence).collect()
}

#[test]
fn many_threads_append_at_once_and_each_record_has_its_own_place() {
    const THREADS: usize = 16;
    const EACH: usize = 50;
    let dir = directory();
    let audit =
        Audit::open_with(dir.path(), clock(), Options { segment_bytes: 20_000, ..options() }).unwrap();
    let done = AtomicBool::new(false);
    let mut all: Vec<u64> = thread::scope(|scope| {
        // Somebody verifies while it is written to.
        let verifier = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let report = verify(dir.path(), &Trusted::default()).unwrap();
                assert!(report.holds(), "{:?}", report.problems);
            }
        });
        let writers: Vec<_> = (0..THREADS)
            .map(|number| {
                let audit = audit.clone();
                scope.spawn(move || {
                    let append = |at: usize| {
                        let who = format!("thread {number}");
                        let new = NewRecord::new(who, Via::Token, APPROVE, at.to_string(), Outcome::Done);
                        audit.append(new).unwrap()
                    };
                    (0..EACH).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        let all = writers.into_iter().flat_map(|writer| {
            let own = writer.join().unwrap();
            assert!(own.is_sorted());
            own
        });
        let all = all.collect();
        done.store(true, Ordering::Relaxed);
        verifier.join().unwrap();
        all
    });
    all.sort_unstable();
    assert_eq!(all, (0..(THREADS * EACH) as u64).collect::<Vec<_>>());
    let own = Filter { who: Some("thread 3".to_owned()), limit: 1000, ..Filter::default() };
    let records = audit.query(&own).unwrap().records;
    let targets: Vec<usize> = records.iter().rev().map(|record| record.target.parse().unwrap()).collect();
    assert_eq!(targets, (0..EACH).collect::<Vec<usize>>());
    assert!(audit.query(&Filter::default()).unwrap().records.is_sorted_by(|a, b| a.time_us > b.time_us));
}

#[test]
fn a_filter_finds_what_a_look_at_every_record_finds_before_and_after_a_restart() {
    let dir = directory();
    let plan: PlanId = IdSource::seeded(1).next(clock().now());
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    for number in 0..40 {
        let new = record(number);
        audit.append(if number % 7 == 0 { new.plan(plan) } else { new }).unwrap();
    }
    let all = audit.query(&Filter { limit: 1000, ..Filter::default() }).unwrap().records;
    assert_eq!(all.len(), 40);
    let any = Filter { limit: 1000, ..Filter::default() };
    let filters = [
        any.clone(),
        Filter { who: Some("bob".to_owned()), ..any.clone() },
        Filter { who: Some("nobody".to_owned()), ..any.clone() },
        Filter { action: Some("remediation.".to_owned()), ..any.clone() },
        Filter { outcome: Some(Outcome::Refused), ..any.clone() },
        Filter { target: Some("service-3".to_owned()), ..any.clone() },
        Filter { plan: Some(plan), ..any.clone() },
        Filter { since_us: Some(all[10].time_us), ..any.clone() },
        Filter {
            before: Some(12),
            who: Some("alice".to_owned()),
            action: Some("chaos".to_owned()),
            ..any.clone()
        },
    ];
    let check = |audit: &Audit| {
        for filter in &filters {
            let wanted = all.iter().filter(|record| {
                filter.matches(record) && filter.before.is_none_or(|before| record.sequence < before)
            });
            assert_eq!(
                sequences(audit, filter),
                wanted.map(|one| one.sequence).collect::<Vec<_>>(),
                "{filter:?}"
            );
        }
    };
    check(&audit);
    drop(audit);
    check(&Audit::open_with(dir.path(), clock(), options()).unwrap());
}

#[test]
fn pages_follow_each_other_without_a_gap() {
    let dir = directory();
    closed(dir.path(), 23, 5);
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    let mut filter = Filter { limit: 5, ..Filter::default() };
    let mut seen = Vec::new();
    loop {
        let page = audit.query(&filter).unwrap();
        seen.extend(page.records.iter().map(|record| record.sequence));
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..23).rev().collect::<Vec<_>>());
    assert!(matches!(audit.record(23), Err(AuditError::NoSuchRecord { sequence: 23, size: 23 })));
}

#[test]
fn a_checkpoint_comes_by_number_and_by_time() {
    let dir = directory();
    let by_number = Options { checkpoint_records: 4, ..options() };
    let audit = Audit::open_with(dir.path(), clock(), by_number).unwrap();
    fill(&audit, 0..4);
    wait_for(|| audit.status().checkpoint_size == 4);
    drop(audit);
    let by_time = Options { checkpoint_interval: Duration::from_millis(20), ..options() };
    let audit = Audit::open_with(dir.path(), clock(), by_time).unwrap();
    audit.append(record(4)).unwrap();
    wait_for(|| audit.status().checkpoint_size == 5);
}

fn wait_for(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn every_record_is_proven_without_the_log_and_no_other() {
    let dir = directory();
    closed(dir.path(), 13, 6);
    let keys = audit::public_keys(dir.path()).unwrap();
    for sequence in 0..13 {
        let proof = prove_record(dir.path(), sequence, None).unwrap();
        let read = Proof::from_json(&proof.to_json()).unwrap();
        let proven = read.check(Some(&keys)).unwrap();
        let Fact::Recorded(record, checkpoint) = proven.fact else { panic!("{:?}", proven.fact) };
        assert_eq!((record.sequence, checkpoint.size), (sequence, 13));
        let because = format!("because of {sequence}");
        assert_eq!(record.why.as_ref(), Some(&because));
        let lie = Proof::from_json(&proof.to_json().replace(&because, "because of me")).unwrap();
        assert_eq!(lie.check(Some(&keys)), Err(ProofError::Path));
    }
    assert!(matches!(prove_record(dir.path(), 13, None), Err(AuditError::NoSuchRecord { .. })));
    let others = directory();
    closed(others.path(), 1, 1);
    let strangers = audit::public_keys(others.path()).unwrap();
    let proof = prove_record(dir.path(), 0, None).unwrap();
    assert!(matches!(proof.check(Some(&strangers)), Err(ProofError::Checkpoint(_))));
}

#[test]
fn growth_is_proven_between_checkpoints_and_not_for_another_log() {
    let dir = directory();
    let audit = Audit::open_with(dir.path(), clock(), options()).unwrap();
    let mut kept = Vec::new();
    for number in 0..12 {
        audit.append(record(number)).unwrap();
        kept.push(audit.checkpoint().unwrap());
    }
    for (number, old) in kept.iter().enumerate() {
        let proof = prove_growth(dir.path(), &("kept".into(), old.note.clone())).unwrap();
        let proven = Proof::from_json(&proof.to_json()).unwrap().check(Some(&audit.keys())).unwrap();
        let Fact::Grown(before, after) = proven.fact else { panic!("{:?}", proven.fact) };
        assert_eq!((before.size, after.size), (number as u64 + 1, 12));
        let by_old =
            prove_record(dir.path(), number as u64, Some(&("kept".into(), old.note.clone()))).unwrap();
        assert!(by_old.check(None).is_ok());
    }
    let Proof::Consistency { old, path, keys, .. } =
        prove_growth(dir.path(), &("kept".into(), kept[4].note.clone())).unwrap()
    else {
        panic!("it is about growth")
    };
    let other = Proof::Consistency { old, new: kept[7].note.clone(), path, keys };
    assert_eq!(other.check(Some(&audit.keys())), Err(ProofError::Path));
}

#[test]
fn an_export_has_the_lines_of_the_log_and_a_table_of_the_same() {
    let dir = directory();
    closed(dir.path(), 20, 5);
    let exported = |since, format| {
        let mut out = Vec::new();
        let count = export(dir.path(), since, format, &mut out).unwrap();
        (count, String::from_utf8(out).unwrap())
    };
    let (count, lines) = exported(None, Format::Jsonl);
    let records: Vec<Record> = lines.lines().map(|line| Record::parse(line.as_bytes()).unwrap()).collect();
    assert_eq!((count, records.len()), (20, 20));
    let (count, _) = exported(Some(records[15].time_us), Format::Jsonl);
    assert_eq!(count, 5);
    let (_, table) = exported(None, Format::Csv);
    assert_eq!(table.lines().count(), 21);
    assert!(table.lines().nth(1).unwrap().starts_with("0,2023-11-14T22:13:20.0000"), "{table}");
    assert!(records[0].time_us >= START_US);
}
