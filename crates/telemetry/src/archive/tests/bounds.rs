//! The archive is bounded: evidence makes room, what was asked for does not and leaves some.

use super::*;

/// A span with text that does not compress, so that a trace takes about so many KiB.
fn heavy(trace: u64, kib: u64) -> Message {
    let mut state = trace;
    let mut noise = String::new();
    for _ in 0..kib * 64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        noise.push_str(&format!("{:016x}", state ^ (state >> 29)));
    }
    let parts = noise.as_bytes().chunks(16 << 10).map(|part| String::from_utf8_lossy(part).into_owned());
    parts.enumerate().fold(fixture::span(trace, 1, trace), |span, (n, part)| {
        span.message(9, text(&format!("noise{n}"), &part))
    })
}

fn send_heavy(store: &Telemetry, trace: u64) {
    let admission = store.intake().traces(&fixture::traces("cart", [heavy(trace, 640)])).expect("taken in");
    admission.durable.wait().expect("on disk");
}

#[test]
fn the_oldest_evidence_goes_for_new_and_what_was_asked_for_never_does() {
    let dir = TempDir::new().expect("a directory");
    let store = open_with(&dir, |config| config.archive_bytes = 7 << 18);
    (1..=4).for_each(|trace| send_heavy(&store, trace));
    let bytes = store.archive_trace(id(1), Keeping::Evidence).expect("archived").bytes;
    assert!((600 << 10..672 << 10).contains(&bytes), "{bytes}: two are to have room, and three not");
    store.archive_trace(id(2), Keeping::Evidence).expect("archived");
    store.archive_trace(id(3), Keeping::Asked).expect("archived");
    let left = |store: &Telemetry| {
        let mut left: Vec<TraceId> = store.archived_traces().into_iter().map(|told| told.trace_id).collect();
        left.sort();
        left
    };
    assert_eq!(left(&store), [id(2), id(3)], "the older one went");
    assert_eq!(store.counters().archive_evicted.get(), 1);
    store.archive_trace(id(2), Keeping::Asked).expect("somebody asks for it now");
    let refused = store.archive_trace(id(4), Keeping::Asked).expect_err("there is no room");
    assert!(matches!(refused, ArchiveError::Full { .. }), "{refused}");
    assert!(refused.to_string().contains("telemetry.archive_mib"), "{refused}");
    assert_eq!((left(&store), found(&store, 3)), (vec![id(2), id(3)], 1));
    let status = store.archive_status();
    assert_eq!((status.traces, status.bytes, status.asked_bytes), (2, 2 * bytes, 2 * bytes));
    store.remove_archived(id(3)).expect("removed");
    store.archive_trace(id(4), Keeping::Evidence).expect("there is room again");
    drop(store);
    let store = open_with(&dir, |config| config.archive_bytes = 1 << 20);
    assert_eq!(left(&store), [id(2)], "with less room the evidence goes, what was asked for stays");
}

#[test]
fn what_is_asked_for_leaves_a_quarter_to_evidence() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 16 << 10, |_| {}, &mut Vec::new()).expect("an archive");
    let one = |trace, keeping| keep(&archive, keeping, &some_spans(trace, 1), &|_| Ok(()));
    one(9, Keeping::Evidence).expect("archived");
    (1..=3).for_each(|trace| one(trace, Keeping::Asked).expect("archived"));
    for trace in [4, 9] {
        let refused = one(trace, Keeping::Asked).expect_err("the last quarter is not theirs");
        assert!(matches!(refused, ArchiveError::Full { asked_bytes_max: 12_288, .. }), "{refused}");
    }
    let keeping = |trace| archive.get(id(trace)).map(|kept| kept.told.keeping);
    assert_eq!((keeping(9), keeping(4)), (Some(Keeping::Evidence), None));
    one(8, Keeping::Evidence).expect("in the place of the older");
    assert_eq!((keeping(8), keeping(9), archive.status().traces), (Some(Keeping::Evidence), None, 4));
    let grown =
        keep(&archive, Keeping::Evidence, &some_spans(1, 400), &|_| Ok(())).expect_err("it was asked for");
    assert!(matches!(grown, ArchiveError::Full { .. }), "{grown}");
}
