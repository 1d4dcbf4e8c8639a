//! One file that cannot be read costs what is in it, never the turn of what is behind it.

use std::cell::Cell;

use super::*;
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
