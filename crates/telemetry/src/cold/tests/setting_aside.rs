//! One file that cannot be read costs what is in it, never the turn of what is behind it.

use std::cell::Cell;

use super::*;
use crate::OpenError;
use crate::cold::index::Index;
use crate::counters::Counter;

/// A store with so many segments, each with a trace of its number.
fn with_segments(dir: &TempDir, count: u64) -> Telemetry {
    let store = open(dir);
    for trace in 1..=count {
        let spans = (0..20).map(|n| fixture::span(trace, 1 + n, 1000 * trace + n));
        send(&store, &fixture::traces("s1", spans));
        store.open.shared.seal();
    }
    store
}

fn found(store: &Telemetry, trace: u64) -> usize {
    store.trace(TraceId(fixture::trace_id(trace))).expect("readable").len()
}

fn covered(store: &Telemetry) -> Vec<u64> {
    store.open.tiers.units().iter().flat_map(|unit| unit.segments().to_vec()).collect()
}

fn cut(path: &std::path::Path) {
    fs::File::options().write(true).open(path).and_then(|file| file.set_len(50)).expect("cut");
}

fn counts<const N: usize>(counters: [&Counter; N]) -> [u64; N] {
    counters.map(Counter::get)
}

#[test]
fn a_segment_that_cannot_be_read_is_met_once_and_those_behind_it_are_compacted() {
    let dir = TempDir::new().expect("a directory");
    let store = with_segments(&dir, 4);
    cut(&store.open.tiers.sealed()[1].path);
    let error = store.compact().expect_err("cut off");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    store.compact().expect("the others");
    assert_eq!(covered(&store), [1, 3, 4]);
    assert_eq!(store.backlog().bytes, 0, "what is set aside does not close the gate");
    let counters = store.counters();
    assert_eq!(counts([&counters.compaction_failures, &counters.damaged_segments]), [1, 1]);
    assert_eq!([1, 3, 4].map(|trace| found(&store, trace)), [20; 3]);
}

#[test]
fn a_defect_met_by_one_segment_leaves_that_one_as_it_is_and_the_others_go_on() {
    let dir = TempDir::new().expect("a directory");
    let store = with_segments(&dir, 4);
    let attempt = Cell::new(0);
    // All together, then each alone, of which the third meets it again.
    let defect = |step| {
        assert!(step != Step::SpansWritten || ![1, 4].contains(&attempt.get()), "a defect made for a test");
        Ok(())
    };
    let mut outcomes = Vec::new();
    for number in 1..=6 {
        attempt.set(number);
        outcomes.push(store.open.work.compact_watched(Take::All, &defect).ok());
    }
    assert_eq!(outcomes, [None, Some(true), Some(true), None, Some(true), Some(false)]);
    assert_eq!(covered(&store), [1, 2, 4]);
    let counters = store.counters();
    assert_eq!(counts([&counters.compaction_failures, &counters.damaged_segments]), [2, 1]);
    assert_eq!([1, 2, 3, 4].map(|trace| found(&store, trace)), [20; 4], "what is set aside is still found");
}

#[test]
fn a_file_that_was_cut_off_is_not_merged_and_those_behind_it_are() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for trace in 1..=9 {
        send(&store, &fixture::traces("s1", (0..20).map(|n| fixture::span(trace, 1 + n, 1000 * trace + n))));
        store.compact().expect("compacted");
    }
    cut(&store.open.tiers.units()[2].files.spans);
    let error = store.open.work.merge().expect_err("cut off");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    assert!(store.open.work.merge().expect("those behind it"));
    assert!(!store.open.work.merge().expect("nothing is left to merge"));
    let units: Vec<usize> = store.open.tiers.units().iter().map(|unit| unit.segments().len()).collect();
    assert_eq!(units, [1, 1, 1, 6]);
    let counters = store.counters();
    assert_eq!(counts([&counters.merge_failures, &counters.damaged_units]), [1, 1]);
    assert_eq!([1, 2, 4, 9].map(|trace| found(&store, trace)), [20; 4]);
}

#[test]
fn a_unit_that_cannot_be_read_costs_its_own_spans_and_its_files_are_kept() {
    type Spoil = fn(&crate::cold::unit::Files);
    let spoils: [Spoil; 4] = [
        |files| cut(&files.index),
        |files| {
            let mut bytes = fs::read(&files.index).expect("an index");
            *bytes.last_mut().expect("bytes") ^= 1;
            fs::write(&files.index, bytes).expect("written");
        },
        |files| {
            let bytes = fs::read(&files.index).expect("an index");
            let index = Index { derived: vec![7; 9], ..Index::read(&bytes).expect("an index") };
            fs::write(&files.index, index.write(&[])).expect("written");
        },
        |files| fs::remove_file(&files.spans).expect("removed"),
    ];
    for (number, spoil) in spoils.into_iter().enumerate() {
        let dir = TempDir::new().expect("a directory");
        let store = open(&dir);
        for trace in 1..=3 {
            send(&store, &fixture::traces("s1", (0..20).map(|n| fixture::span(trace, 1 + n, 1000 + n))));
            store.compact().expect("compacted");
        }
        let files = store.open.tiers.units()[2].files.clone();
        drop(store);
        spoil(&files);
        let store = open(&dir);
        assert_eq!([1, 2, 3].map(|trace| found(&store, trace)), [20, 20, 0], "spoil {number}");
        let damaged: Vec<_> = store.damaged().iter().map(|damaged| damaged.index.clone()).collect();
        assert_eq!((&*damaged, store.counters().damaged_units.get()), (&[files.index.clone()][..], 1));
        // Its number is not given again: its files would be taken for those of another.
        send(&store, &fixture::traces("s1", [fixture::span(4, 1, 5000)]));
        store.compact().expect("compacted");
        assert_eq!(covered(&store), [1, 2, 4], "spoil {number}");
        drop(store);
        let store = open(&dir);
        assert_eq!((store.damaged(), found(&store, 4)), (&[][..], 1), "said once");
        let kept = |path: &std::path::Path| std::path::PathBuf::from(format!("{}.damaged", path.display()));
        assert!(kept(&files.index).exists(), "spoil {number}");
        assert_eq!(kept(&files.spans).exists(), number != 3, "spoil {number}");
    }
}

#[test]
fn a_damaged_unit_is_told_of_also_where_the_opening_fails_later() {
    let dir = TempDir::new().expect("a directory");
    let store = with_segments(&dir, 1);
    store.compact().expect("compacted");
    let index = store.open.tiers.units()[0].files.index.clone();
    drop(store);
    fs::write(&index, "no index").expect("spoilt");
    let archive = dir.path().join("archive");
    fs::remove_dir_all(&archive).expect("it is empty");
    fs::write(&archive, "in the way").expect("written");
    let error = Telemetry::open(Config::new(dir.path())).expect_err("there is no archive");
    let OpenError::SetAside { set_aside, .. } = &error else { panic!("{error}") };
    assert_eq!(set_aside.units.iter().map(|one| &one.index).collect::<Vec<_>>(), [&index]);
    assert!(error.to_string().contains(&index.with_extension("*.damaged").display().to_string()), "{error}");
    fs::remove_file(&archive).expect("out of the way");
    assert_eq!(open(&dir).damaged(), [], "it is told of no more");
}

/// What was merged is there twice when a crash came before the removal: damage of the larger costs nothing then.
#[test]
fn a_damaged_merged_unit_does_not_take_the_place_of_those_it_was_made_from() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for trace in 1..=4 {
        send(&store, &fixture::traces("s1", (0..20).map(|n| fixture::span(trace, 1 + n, 1000 + n))));
        store.compact().expect("compacted");
    }
    let committed = |step| {
        if step == Step::Committed { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    };
    store.open.work.merge_watched(&committed).expect_err("stopped");
    drop(store);
    let merged = dir.path().join("cold").join(format!("{:020}-{:020}.spans.parquet", 1, 4));
    fs::remove_file(merged).expect("removed");
    let store = open(&dir);
    assert_eq!(store.damaged().len(), 1);
    assert_eq!([1, 2, 3, 4].map(|trace| found(&store, trace)), [20; 4]);
}

/// What a failed compaction wrote, and what could not be removed then, would count after a restart.
#[test]
fn what_a_failure_left_is_removed_before_the_next_compaction() {
    let dir = TempDir::new().expect("a directory");
    let store = with_segments(&dir, 2);
    let broken = |step| {
        let errno = rustix::io::Errno::IO.raw_os_error();
        if step == Step::Committed { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
    };
    store.open.work.compact_watched(Take::All, &broken).expect_err("stopped");
    // Directories in the place of files: neither can the next one be written, nor anything be removed.
    let cold = dir.path().join("cold");
    let in_the_way = [(0, 0), (1, 1)].map(|(a, b)| cold.join(format!("{a:020}-{b:020}.spans.parquet")));
    in_the_way.iter().for_each(|path| fs::create_dir(path).expect("in the way"));
    store.compact().expect_err("in the way");
    in_the_way.iter().for_each(|path| fs::remove_dir(path).expect("out of the way"));
    let left = cold.join(format!("{:020}-{:020}.index", 1, 2));
    assert!(left.exists());
    store.compact().expect("compacted");
    assert!(!left.exists());
    assert_eq!(covered(&store), [1, 2]);
    assert_eq!([1, 2].map(|trace| found(&store, trace)), [20; 2]);
}
