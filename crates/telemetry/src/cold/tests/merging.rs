//! Merging changes in which file rows are, never what is answered; no instant of a crash loses or doubles any.

use std::path::{Path, PathBuf};

use super::*;
use crate::SeriesFilter;
use crate::cold::page::Page;
use crate::derive::now_unix_nano;
use crate::model::{Signal, SpanId};

/// The parts a store is filled by, each of which becomes a unit.
const PARTS: u64 = 5;

/// A store with small units of spans and log records.
fn with_small_units(dir: &TempDir) -> Telemetry {
    let store = open(dir);
    for part in 0..PARTS {
        let spans = (0..60).map(|n| fixture::span(1 + n % 12, 1 + part * 60 + n, 1000 + part * 60 + n));
        send(&store, &fixture::traces("s1", spans));
        let records = (1..5).map(|n| fixture::log_record(part * 10 + n, 9, "body 3"));
        send_logs(&store, &fixture::logs("s1", records));
        store.compact().expect("compacted");
    }
    store
}

/// Every span as it is stored, one that is stored twice twice.
fn all_spans(store: &Telemetry) -> Vec<(TraceId, SpanId)> {
    let mut ids = Vec::new();
    store.each_span(|trace, span| ids.push((trace, span))).expect("readable");
    ids.sort_unstable_by_key(|(trace, span)| (trace.0, span.0));
    ids
}

fn units(store: &Telemetry) -> usize {
    store.open.tiers.units().len()
}

fn cold(dir: &TempDir) -> PathBuf {
    dir.path().join("cold")
}

fn files(dir: &TempDir) -> Vec<PathBuf> {
    super::super::compact::files_in(&cold(dir)).expect("cold")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn answers_stay_the_same_whatever_is_merged(
        parts in prop::collection::vec(prop::collection::vec(seed(), 1..14), 4..7),
        records in prop::collection::vec((0u64..3000, 0u64..24, 0u64..6, 0u64..4), 0..20),
    ) {
        let (hot_dir, cold_dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let (hot, cold) = (open(&hot_dir), open(&cold_dir));
        let mut number = 0;
        for (part, seeds) in parts.iter().enumerate() {
            let numbered = seeds.iter().map(|seed| { number += 1; (number, seed.clone()) });
            let requests = request(&numbered.collect::<Vec<_>>());
            let logs = records.iter().enumerate().skip(part).step_by(parts.len());
            let logs = logs.map(|(at, &(time, severity, body, trace))| {
                let time = 1 + time * 100 + at as u64;
                let record = fixture::log_record(time, severity, &format!("body {body}"));
                let record = if trace > 0 { record.bytes(9, fixture::trace_id(trace)) } else { record };
                fixture::logs("s1", [record])
            });
            let logs: Vec<Vec<u8>> = logs.collect();
            for store in [&hot, &cold] {
                requests.iter().for_each(|request| send(store, request));
                logs.iter().for_each(|request| send_logs(store, request));
            }
            cold.compact().expect("compacted");
        }
        wait_for_names(&cold, &hot);
        let before = units(&cold);
        while cold.open.work.merge().expect("merged") {}
        prop_assert!(units(&cold) < before || before < 4, "{} units of {before}", units(&cold));
        prop_assert_eq!(answers(&cold), answers(&hot));
        prop_assert_eq!(all_spans(&cold), all_spans(&hot));
        drop(cold);
        let cold = open(&cold_dir);
        prop_assert_eq!(answers(&cold), answers(&hot), "after a restart");
        prop_assert_eq!(all_spans(&cold), all_spans(&hot), "after a restart");
    }
}

#[test]
fn a_merge_that_stops_anywhere_loses_and_doubles_nothing() {
    for (stop, merged) in [
        (Step::SpansWritten, false),
        (Step::LogsWritten, false),
        (Step::IndexWritten, false),
        (Step::Committed, true),
    ] {
        let dir = TempDir::new().expect("a directory");
        let store = with_small_units(&dir);
        let (before, spans) = (answers(&store), all_spans(&store));
        assert_eq!((spans.len() as u64, units(&store) as u64), (60 * PARTS, PARTS));
        let full =
            |step| if step == stop { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) };
        store.open.work.merge_watched(&full).expect_err("stopped");
        assert_eq!(store.counters().merge_failures.get(), 1);
        assert_eq!((answers(&store), all_spans(&store)), (before, spans.clone()), "{stop:?}, still running");
        let before = answers(&store);
        drop(store);
        let store = open(&dir);
        assert_eq!(
            (answers(&store), all_spans(&store)),
            (before, spans.clone()),
            "{stop:?}, after a restart"
        );
        let left = if merged { 1 } else { PARTS as usize };
        assert_eq!((units(&store), files(&dir).len()), (left, 3 * left), "{stop:?}: what is left is removed");
        let before = answers(&store);
        while store.open.work.merge().expect("tried again") {}
        assert_eq!((units(&store), files(&dir).len()), (1, 3), "{stop:?}");
        assert_eq!((answers(&store), all_spans(&store)), (before, spans), "{stop:?}, merged at last");
    }
}

/// A crash amid the removal of what was merged: any of its files may still be there, or back.
#[test]
fn whatever_a_crash_leaves_of_merged_units_is_not_seen_again() {
    for kept in ["", "spans.parquet", "logs.parquet", "index", "unfinished"] {
        let dir = TempDir::new().expect("a directory");
        let store = with_small_units(&dir);
        let (before, spans) = (answers(&store), all_spans(&store));
        let saved: Vec<(PathBuf, Vec<u8>)> =
            files(&dir).into_iter().map(|path| (path.clone(), fs::read(path).expect("a file"))).collect();
        assert!(store.open.work.merge().expect("merged"));
        drop(store);
        for (path, bytes) in &saved {
            let name = path.to_str().expect("a name");
            match kept {
                "unfinished" if name.ends_with("index") => {
                    fs::write(path.with_extension("unfinished"), bytes).expect("back")
                }
                _ if name.ends_with(kept) => fs::write(path, bytes).expect("back"),
                _ => {}
            }
        }
        let store = open(&dir);
        assert_eq!((answers(&store), all_spans(&store)), (before, spans), "{kept:?}");
        assert_eq!((units(&store), files(&dir).len()), (1, 3), "{kept:?}: the rest is removed");
    }
}

#[test]
fn a_failed_merge_leaves_no_files_and_one_that_was_committed_in_vain_does_not_count() {
    let dir = TempDir::new().expect("a directory");
    let store = with_small_units(&dir);
    let spans = all_spans(&store);
    store
        .open
        .work
        .merge_watched(&|step| {
            let broken = rustix::io::Errno::IO.raw_os_error();
            if step == Step::Committed { Err(io::Error::from_raw_os_error(broken)) } else { Ok(()) }
        })
        .expect_err("stopped");
    assert_eq!(files(&dir).len() as u64, 3 * PARTS + 3, "the merged unit has its name, and is not used");
    // A directory in the place of a file to write: the next compaction fails as on a broken disk.
    send(&store, &fixture::traces("s1", [fixture::span(40, 1000, 5)]));
    let next = cold(&dir).join(format!("{0:020}-{0:020}.spans.parquet", PARTS + 1));
    fs::create_dir(&next).expect("in the way");
    store.compact().expect_err("in the way");
    fs::remove_dir(&next).expect("out of the way");
    while store.open.work.merge().expect("merged") {}
    assert_eq!((units(&store), files(&dir).len()), (1, 3), "{:?}", files(&dir));
    assert_eq!(all_spans(&store).len(), spans.len() + 1);
    store.compact().expect("compacted");
    drop(store);
    assert_eq!(all_spans(&open(&dir)).len(), spans.len() + 1);
}

#[test]
fn what_was_sampled_stays_sampled_and_stands_for_as_many() {
    let dir = TempDir::new().expect("a directory");
    let store = open_with(Config { compact_after: None, keep_percent: 20.0, ..Config::new(dir.path()) });
    let id = |n: u64| u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    for part in 0..4u64 {
        let span = |n: u64| {
            let span = Message::new().bytes(1, id(n)).bytes(2, n.to_be_bytes()).bytes(5, "GET").fixed64(7, n);
            span.fixed64(8, n + 5).message(15, Message::new().varint(3, 2 * u64::from(n.is_multiple_of(50))))
        };
        send(&store, &fixture::traces("s1", (part * 200 + 1..=part * 200 + 200).map(span)));
        store.compact().expect("compacted");
    }
    let stands_for = |store: &Telemetry| {
        let mut all = Vec::new();
        for unit in store.open.tiers.units() {
            for group in &unit.index.spans {
                let (batch, counts) = Page::new(&unit, Signal::Spans, group, 0).batch().expect("readable");
                all.extend(batch.trace.iter().zip(counts).map(|(trace, count)| (*trace, count.to_bits())));
            }
        }
        all.sort_unstable();
        all
    };
    let before = stands_for(&store);
    let of_all = |store: &Telemetry| store.open.tiers.units().iter().map(|unit| unit.spans().1).sum::<u64>();
    let (sampled_out, came) = (store.counters().sampled_out_spans.get(), of_all(&store));
    assert!(sampled_out > 400 && came == 800, "{sampled_out} of {came} sampled out");
    let counts = |count: f64| before.iter().filter(|(_, of)| *of == count.to_bits()).count();
    assert!(counts(1.0) >= 16 && counts(5.0) > 50, "{} and {}", counts(1.0), counts(5.0));
    assert!(store.open.work.merge().expect("merged"));
    assert_eq!(units(&store), 1);
    assert_eq!(stands_for(&store), before);
    assert_eq!((store.counters().sampled_out_spans.get(), of_all(&store)), (sampled_out, came));
}

/// A merge holds the batches of a whole row group: were each to hold the row group's dictionary, that would be many
/// times what is there.
#[test]
fn a_page_that_is_merged_holds_the_names_of_its_own_rows() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let span = |n: u64| {
        let span = Message::new().bytes(1, fixture::trace_id(1 + n / 10)).bytes(2, (n + 1).to_be_bytes());
        span.bytes(5, format!("GET /{}", n / 2)).fixed64(7, 1000 + n).fixed64(8, 2000 + n)
    };
    for numbers in (0..10_000).collect::<Vec<u64>>().chunks(1000) {
        send(&store, &fixture::traces("s1", numbers.iter().map(|&n| span(n))));
    }
    store.compact().expect("compacted");
    let unit = Arc::clone(&store.open.tiers.units()[0]);
    let group = &unit.index.spans[0];
    let batches = (0..group.bounds.len()).map(|page| Page::new(&unit, Signal::Spans, group, page).batch());
    let held: Vec<(usize, usize)> = batches
        .map(|batch| batch.expect("readable").0)
        .map(|batch| (batch.rows(), batch.name.entries()))
        .collect();
    assert_eq!(held, [(8192, 4096), (1808, 904)], "rows, names");
}

#[test]
fn what_was_counted_stays_counted() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let now = now_unix_nano();
    for part in 0..4 {
        let spans = (0..50).map(|n| fixture::span(n, 1 + part * 50 + n, now - n));
        send(&store, &fixture::traces("s1", spans));
        store.compact().expect("compacted");
    }
    let calls = |store: &Telemetry| {
        let from = now - 600_000_000_000;
        let series = store.series(&SeriesFilter::default(), from..now + 1_000_000_000).expect("a range");
        series.iter().map(|series| (series.operation.clone(), series.calls.calls())).collect::<Vec<_>>()
    };
    let before = calls(&store);
    assert_eq!(before.iter().map(|(_, calls)| calls).sum::<f64>(), 200.0, "{before:?}");
    assert!(store.open.work.merge().expect("merged"));
    drop(store);
    assert_eq!(calls(&open(&dir)), before, "after a restart");
}

/// Makes a unit as old as if it had been written so many hours ago.
fn age(index: &Path, hours: u64) {
    #[expect(clippy::disallowed_methods, reason = "files are dated by the wall clock")]
    let at = SystemTime::now() - Duration::from_secs(hours * 3600);
    fs::File::options().append(true).open(index).and_then(|file| file.set_modified(at)).expect("dated");
}

#[test]
fn what_is_merged_is_kept_as_long_as_its_newest_part_and_no_longer_than_a_tenth_more() {
    let dir = TempDir::new().expect("a directory");
    drop(with_small_units(&dir));
    let retention_age = Duration::from_secs(50 * 3600);
    let config = || Config { compact_after: None, retention_age, ..Config::new(dir.path()) };
    let indices: Vec<PathBuf> =
        files(&dir).into_iter().filter(|path| path.extension().is_some_and(|e| e == "index")).collect();
    // The last is more than five hours younger than the first: it stays apart.
    for (index, hours) in indices.iter().zip([49, 47, 46, 45, 43]) {
        age(index, hours);
    }
    let store = open_with(config());
    assert!(store.open.work.merge().expect("merged"));
    let age_of = |store: &Telemetry, at: usize| {
        let unit = &store.open.tiers.units()[at];
        let hours = |time: SystemTime| (time.elapsed().expect("in the past").as_secs() + 1800) / 3600;
        (hours(unit.first_written()), hours(unit.written))
    };
    assert_eq!((units(&store), age_of(&store, 0)), (2, (49, 45)));
    drop(store);
    let store = open_with(config());
    assert_eq!(age_of(&store, 0), (49, 45), "after a restart");
    store.open.work.retain();
    assert_eq!(units(&store), 2);
    drop(store);
    age(&files(&dir)[0], 51);
    let store = open_with(config());
    store.open.work.retain();
    assert_eq!((units(&store), files(&dir).len()), (1, 3));
}

#[test]
fn damage_is_met_once_and_leaves_the_units_as_they_are() {
    let dir = TempDir::new().expect("a directory");
    let store = with_small_units(&dir);
    let unit = Arc::clone(&store.open.tiers.units()[2]);
    let mut bytes = fs::read(&unit.files.spans).expect("a file");
    bytes[unit.index.spans[0].fields[0].pages[0].offset as usize] ^= 1;
    fs::write(&unit.files.spans, bytes).expect("written");
    let error = store.open.work.merge().expect_err("damaged");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(!store.open.work.merge().expect("not tried again"));
    assert_eq!((units(&store), files(&dir).len()), (PARTS as usize, 3 * PARTS as usize));
    assert_eq!(store.counters().merge_failures.get(), 1);
}

#[test]
fn a_quiet_store_merges_by_itself_and_questions_meanwhile_find_everything_once() {
    let dir = TempDir::new().expect("a directory");
    let store = with_small_units(&dir);
    let (before, spans) = (answers(&store), all_spans(&store));
    drop(store);
    let store =
        open_with(Config { compact_after: Some(Duration::from_secs(3600)), ..Config::new(dir.path()) });
    let deadline = Instant::now() + Duration::from_secs(60);
    while units(&store) > 1 {
        assert!(Instant::now() < deadline, "{} units", units(&store));
        assert_eq!(answers(&store), before);
        assert_eq!(all_spans(&store), spans);
    }
    assert_eq!((answers(&store), all_spans(&store)), (before, spans));
    assert_eq!(store.counters().merged_units.get(), PARTS);
}
