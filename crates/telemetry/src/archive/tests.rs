//! The archive: kept beyond retention and sampling, found once, bounded, and whole after a crash at every step.

use std::cell::RefCell;
use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::Config;
use crate::fixture::{self, Message, text};
use crate::model::{Resource, Scope, Value};
use crate::trace::fixture as spans;

fn open(dir: &TempDir) -> Telemetry {
    open_with(dir, |_| {})
}

fn open_with(dir: &TempDir, change: impl FnOnce(&mut Config)) -> Telemetry {
    let mut config = Config::new(dir.path());
    change(&mut config);
    Telemetry::open(config).expect("a store opens")
}

fn send(store: &Telemetry, trace: u64, spans: std::ops::Range<u64>) {
    let spans = spans.map(|span| fixture::span(trace, span, 1_000 * trace + span));
    let admission = store.intake().traces(&fixture::traces("cart", spans)).expect("taken in");
    admission.durable.wait().expect("on disk");
}

fn id(trace: u64) -> TraceId {
    TraceId(fixture::trace_id(trace))
}

fn found(store: &Telemetry, trace: u64) -> usize {
    store.trace(id(trace)).expect("readable").len()
}

fn searched(store: &Telemetry) -> Vec<TraceId> {
    let filter = TraceFilter { service: Some("cart".to_owned()), ..TraceFilter::default() };
    store.search(&filter).expect("readable").into_iter().map(|(id, _)| id).collect()
}

/// Lets go of all that is no archive, as retention does in the end.
fn forget(store: Telemetry, dir: &TempDir) {
    store.close();
    drop(store);
    for tier in ["hot", "cold"] {
        fs::remove_dir_all(dir.path().join(tier)).expect("there is a tier");
    }
}

fn files(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("archive")).expect("an archive");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[test]
fn an_archived_trace_is_there_when_retention_has_taken_all_else() {
    let dir = TempDir::new().expect("a directory");
    let store = open_with(&dir, |config| config.retention_age = Duration::ZERO);
    send(&store, 1, 1..4);
    send(&store, 2, 1..4);
    let whole = store.trace(id(1)).expect("readable");
    let told = store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert_eq!((told.trace_id, told.keeping, told.spans), (id(1), Keeping::Asked, 3));
    store.compact().expect("compacted");
    store.open.work.retain();
    assert_eq!((found(&store, 1), found(&store, 2)), (3, 0));
    assert_eq!(searched(&store), [id(1)]);
    drop(store);
    let store = open(&dir);
    assert_eq!(store.trace(id(1)).expect("readable"), whole);
    assert_eq!(store.archived_traces(), [told]);
    assert_eq!(store.services(), ["cart"], "a search has to know what it may ask for");
    assert_eq!(store.operations("cart").len(), 3);
}

#[test]
fn sampling_does_not_reach_an_archived_trace() {
    let dir = TempDir::new().expect("a directory");
    let store = open_with(&dir, |config| config.keep_percent = 0.0);
    (1..=200).for_each(|trace| send(&store, trace, 1..2));
    store.archive_trace(id(100), Keeping::Asked).expect("archived");
    store.compact().expect("compacted");
    let left = (1..=200).filter(|&trace| found(&store, trace) > 0).count();
    assert!(left < 50, "{left} traces left: nothing was sampled");
    assert_eq!(found(&store, 100), 1);
}

#[test]
fn a_trace_in_both_places_is_answered_once() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert_eq!((found(&store, 1), searched(&store)), (3, vec![id(1)]));
    send(&store, 1, 3..6);
    assert_eq!(found(&store, 1), 5, "what came since is there, and what came again is no other span");
    let told = store.archive_trace(id(1), Keeping::Evidence).expect("archived");
    assert_eq!((told.spans, told.keeping), (5, Keeping::Asked), "what somebody asked for stays so");
    assert_eq!(files(&dir).len(), 1);
    assert_eq!(store.counters().archived_traces.get(), 2);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert_eq!(store.counters().archived_traces.get(), 2, "nothing came since");
}

/// A part of a span is sent while it runs, and the whole of it at its end; of two that share an id both are sent.
#[test]
fn spans_that_share_an_id_and_a_start_are_archived_once_each() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let of = |is_whole: bool| {
        let span = fixture::span(1, 1, 1_000);
        if is_whole { span.message(9, text("is", "whole")) } else { span }
    };
    let sent = fixture::traces("cart", [of(false), of(true)]);
    store.intake().traces(&sent).expect("taken in").durable.wait().expect("on disk");
    let told = store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert_eq!((told.spans, found(&store, 1)), (2, 2));
    assert_eq!(store.archive_trace(id(1), Keeping::Asked).expect("archived"), told);
    assert_eq!(
        (found(&store, 1), store.counters().archived_traces.get()),
        (2, 1),
        "nothing was written anew"
    );
    assert_eq!(files(&dir).len(), 1);
}

/// Spans with everything in them that a span may have.
fn full_spans() -> Vec<Span> {
    let list = vec![
        ("text".to_owned(), Value::Text("ä".to_owned())),
        ("no number".to_owned(), Value::Double(f64::NAN)),
        ("yes".to_owned(), Value::Bool(true)),
        ("int".to_owned(), Value::Int(-7)),
        ("bytes".to_owned(), Value::Bytes(vec![0, 255])),
        ("none".to_owned(), Value::Empty),
        ("text".to_owned(), Value::Text("the same key again".to_owned())),
        (
            "nested".to_owned(),
            Value::List(vec![Value::Empty, Value::Map(vec![("deep".to_owned(), Value::List(Vec::new()))])]),
        ),
    ];
    let mut first = spans::span(1, 0, 10, 90);
    first.resource = Arc::new(Resource {
        service: "shop".to_owned(),
        attributes: vec![("service.name".to_owned(), Value::Text("shop".to_owned())), list[7].clone()],
    });
    first.scope = Arc::new(Scope { name: "tests".to_owned(), version: "1".to_owned() });
    first.attributes = list.clone();
    first.events = vec![crate::Event {
        time_unix_nano: 20,
        name: "began".to_owned(),
        attributes: list.clone(),
        dropped_attributes: 3,
    }];
    first.links = vec![crate::Link {
        trace_id: TraceId([9; 16]),
        span_id: crate::SpanId([8; 8]),
        trace_state: "a=b".to_owned(),
        flags: 1,
        attributes: list,
        dropped_attributes: 4,
    }];
    first.dropped = crate::Dropped { attributes: 1, events: 2, links: 3 };
    (first.trace_state, first.flags) = ("ot=th:8".to_owned(), 257);
    (first.status, first.status_message) = (crate::StatusCode::Error, "out of stock".to_owned());
    let mut second = spans::span(2, 1, 20, 30);
    second.resource = Arc::new(Resource { service: "unknown_service".to_owned(), attributes: Vec::new() });
    vec![first, second]
}

#[test]
fn spans_read_back_as_they_were_whatever_is_in_them() {
    let dir = TempDir::new().expect("a directory");
    let all: Vec<Span> = (0..5_000u64)
        .flat_map(|n| full_spans().into_iter().map(move |span| Span { start_unix_nano: n, ..span }))
        .collect();
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}).expect("an archive");
    let trace = all[0].trace_id;
    archive.keep(trace, Keeping::Asked, || Ok(all.clone()), &|_| Ok(())).expect("archived");
    assert!(archive.trace(trace).expect("readable") == all);
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}).expect("an archive");
    assert!(archive.trace(trace).expect("readable") == all, "and after a restart");
}

#[test]
fn what_is_not_there_is_not_archived() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let refused = store.archive_trace(id(1), Keeping::Asked).expect_err("there is none");
    assert!(matches!(refused, ArchiveError::NotFound(_)), "{refused}");
    assert_eq!(files(&dir), Vec::<String>::new());
    assert!(!store.remove_archived(id(1)).expect("nothing to remove"));
}

#[test]
fn a_removed_trace_stays_removed() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    assert!(store.remove_archived(id(1)).expect("removed"));
    assert_eq!(found(&store, 1), 3, "retention has it still");
    forget(store, &dir);
    let store = open(&dir);
    assert_eq!((found(&store, 1), store.archive_status().bytes), (0, 0));
}

#[test]
fn a_trace_whose_file_is_gone_is_removed_and_searches_go_on() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    fs::remove_file(dir.path().join("archive").join(&files(&dir)[0])).expect("somebody cleans up");
    assert!(store.remove_archived(id(1)).expect("removed"));
    assert_eq!((store.archived_traces(), searched(&store), found(&store, 1)), (Vec::new(), vec![id(1)], 3));
}

#[test]
fn an_older_file_that_stayed_goes_with_the_trace_or_the_trace_stays() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
    keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
    let older = archive.get(id(1)).expect("archived").path.clone();
    let bytes = fs::read(&older).expect("readable");
    keep(&archive, Keeping::Asked, &some_spans(1, 5), &|_| Ok(())).expect("added to");
    keep(&archive, Keeping::Asked, &some_spans(2, 1), &|_| Ok(())).expect("archived");
    // No file, so that it cannot be removed as one.
    fs::create_dir(&older).expect("in its place");
    let refused = archive.remove(id(1)).expect_err("the disk does not let go of it");
    assert!(matches!(refused, ArchiveError::Disk { .. }), "{refused}");
    assert_eq!(archive.trace(id(1)).expect("readable").len(), 5, "it is there as it was");
    fs::remove_dir(&older).expect("removed");
    fs::write(&older, bytes).expect("it stayed when it was added to");
    assert!(archive.remove(id(1)).expect("removed"));
    assert!(!older.exists());
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
    assert_eq!(
        (archive.get(id(1)).is_none(), archive.status().traces),
        (true, 1),
        "and no start brings it back"
    );
}

#[test]
fn what_is_slow_to_read_holds_up_no_other_and_undoes_no_other_change() {
    let dir = TempDir::new().expect("a directory");
    let archive = &Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
    keep(archive, Keeping::Asked, &some_spans(1, 1), &|_| Ok(())).expect("archived");
    keep(archive, Keeping::Asked, &some_spans(2, 1), &|_| Ok(())).expect("archived");
    // What retention holds beside the archive: four spans of the one trace, none of the other.
    let held = |trace: u64| if trace == 1 { some_spans(1, 4) } else { Vec::new() };
    let kept_while = |trace: u64, change: fn(&Archive)| {
        let is_first = RefCell::new(true);
        std::thread::scope(|scope| {
            let read = || {
                let mut spans = held(trace);
                spans.extend(archive.trace(id(trace))?);
                if is_first.replace(false) {
                    let (done, is_done) = std::sync::mpsc::channel();
                    scope.spawn(move || {
                        change(archive);
                        let _ = done.send(());
                    });
                    is_done.recv_timeout(Duration::from_secs(20)).expect("the change waits for the reader");
                }
                Ok(query::each_once(spans))
            };
            archive.keep(id(trace), Keeping::Asked, read, &|_| Ok(())).map(|(told, _)| told.spans)
        })
    };
    let added = kept_while(1, |archive| {
        keep(archive, Keeping::Asked, &some_spans(1, 9), &|_| Ok(())).expect("added to");
    });
    assert_eq!(added.expect("archived"), 9, "what was added meanwhile stays");
    let removed = kept_while(2, |archive| assert!(archive.remove(id(2)).expect("removed")));
    assert!(matches!(removed, Err(ArchiveError::NotFound(_))), "what was removed stays so: {removed:?}");
}

#[test]
fn a_trace_that_is_removed_while_searches_run_fails_none_of_them() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for _ in 0..100 {
                keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
                assert!(archive.remove(id(1)).expect("removed"));
            }
        });
        while !changes.is_finished() {
            archive.trace(id(1)).expect("it is there, or it is not");
        }
    });
}

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
    let archive = Archive::open(dir.path(), 16 << 10, |_| {}).expect("an archive");
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

/// What stands in an archive at each step of `act`: what a crash there would leave.
fn left_at_each_step(dir: &Path, act: impl FnOnce(Watch<'_>)) -> Vec<(Step, TempDir)> {
    let taken = RefCell::new(Vec::new());
    act(&|step| {
        let copy = TempDir::new()?;
        for entry in dir.read_dir()? {
            let entry = entry?;
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
        taken.borrow_mut().push((step, copy));
        Ok(())
    });
    taken.into_inner()
}

fn some_spans(trace: u64, count: u64) -> Vec<Span> {
    let resource = Arc::new(Resource { service: "unknown_service".to_owned(), attributes: Vec::new() });
    let of = |n| Span { trace_id: id(trace), resource: Arc::clone(&resource), ..spans::span(n, 0, n, n + 5) };
    (1..=count).map(of).collect()
}

fn keep(archive: &Archive, keeping: Keeping, spans: &[Span], watch: Watch<'_>) -> Result<(), ArchiveError> {
    archive.keep(spans[0].trace_id, keeping, || Ok(spans.to_vec()), watch).map(drop)
}

#[test]
fn a_crash_at_any_step_leaves_the_trace_as_before_or_as_asked_for() {
    let dir = TempDir::new().expect("a directory");
    let archive = Archive::open(dir.path(), 16 << 10, |_| {}).expect("an archive");
    keep(&archive, Keeping::Evidence, &some_spans(7, 1), &|_| Ok(())).expect("archived");
    keep(&archive, Keeping::Evidence, &some_spans(8, 1), &|_| Ok(())).expect("archived");
    keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
    // It grows by so much that the two others have to go.
    let grown = some_spans(1, 400);
    assert!(Encoded::new(&grown).counted() > 8 << 10, "{}", Encoded::new(&grown).counted());
    let crashes = left_at_each_step(dir.path(), |watch| {
        keep(&archive, Keeping::Evidence, &grown, watch).expect("archived");
    });
    let steps: Vec<Step> = crashes.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps[..3], [Step::HalfWritten, Step::Written, Step::Named]);
    assert!(steps[3..].len() >= 2 && steps[3..].iter().all(|&step| step == Step::LetGo), "{steps:?}");
    for (step, left) in crashes {
        let archive = Archive::open(left.path(), 16 << 10, |_| {}).expect("it opens");
        let expected = if step < Step::Named { 3 } else { 400 };
        assert_eq!(archive.trace(id(1)).expect("readable").len(), expected, "{step:?}");
        assert_eq!(archive.get(id(1)).map(|kept| kept.told.keeping), Some(Keeping::Asked), "{step:?}");
        assert!(archive.status().bytes <= 16 << 10, "{step:?}: {:?}", archive.status());
        let names = archived_files(left.path()).expect("listed");
        assert_eq!(names.len() as u64, archive.status().traces, "{step:?}: {names:?}");
        assert_eq!(
            left.path().read_dir().expect("listed").count(),
            names.len(),
            "{step:?}: nothing is left over"
        );
    }
}

#[test]
fn a_disk_that_refuses_leaves_what_was_there_and_nothing_else() {
    for refusing in [Step::HalfWritten, Step::Written, Step::Named] {
        let dir = TempDir::new().expect("a directory");
        let archive = Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
        keep(&archive, Keeping::Asked, &some_spans(1, 3), &|_| Ok(())).expect("archived");
        let refuse = |step| if step == refusing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) };
        let refused = keep(&archive, Keeping::Asked, &some_spans(1, 5), &refuse).expect_err("refused");
        assert!(matches!(refused, ArchiveError::Disk { .. }), "{refused}");
        assert_eq!(archive.trace(id(1)).expect("readable").len(), 3, "{refusing:?}");
        assert_eq!(dir.path().read_dir().expect("listed").count(), 1, "{refusing:?}");
        let archive = Archive::open(dir.path(), 1 << 20, |_| {}).expect("an archive");
        assert_eq!(archive.trace(id(1)).expect("readable").len(), 3, "{refusing:?}");
        keep(&archive, Keeping::Asked, &some_spans(1, 5), &|_| Ok(())).expect("with room again");
    }
}

#[test]
fn a_damaged_file_is_set_aside_and_told_and_hides_no_other() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    (1..=3).for_each(|trace| send(&store, trace, 1..4));
    for trace in 1..=3 {
        store.archive_trace(id(trace), Keeping::Asked).expect("archived");
    }
    forget(store, &dir);
    let path = |trace: u64| {
        let name = files(&dir).into_iter().find(|name| name.starts_with(&id(trace).to_string()));
        dir.path().join("archive").join(name.expect("its file"))
    };
    let mut bytes = fs::read(path(1)).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path(1), bytes).expect("written");
    fs::write(path(2), b"").expect("written");
    let store = open(&dir);
    assert_eq!([1, 2, 3].map(|trace| found(&store, trace)), [0, 0, 3]);
    assert_eq!(store.damaged_traces().len(), 2);
    assert!(
        store.damaged_traces().iter().all(|damaged| damaged.path.exists()),
        "{:?}",
        store.damaged_traces()
    );
}

#[test]
fn a_copy_of_the_store_has_the_archive() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, 1, 1..4);
    store.archive_trace(id(1), Keeping::Asked).expect("archived");
    let copy = TempDir::new().expect("a directory");
    let taken = crate::backup::each_file(dir.path(), |path| {
        if path.starts_with(dir.path().join("archive")) {
            let to = copy.path().join(path.strip_prefix(dir.path()).expect("below it"));
            fs::create_dir_all(to.parent().expect("a directory"))?;
            fs::copy(path, to)?;
        }
        Ok(())
    });
    taken.expect("taken");
    let store = open(&copy);
    assert_eq!((found(&store, 1), store.archived_traces().len()), (3, 1));
}
