//! Archived traces are there beyond retention and sampling, each once, as they were.

use super::*;

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
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}, &mut Vec::new()).expect("an archive");
    let trace = all[0].trace_id;
    archive.keep(trace, Keeping::Asked, || Ok(all.clone()), &|_| Ok(())).expect("archived");
    assert!(archive.trace(trace).expect("readable") == all);
    let archive = Archive::open(dir.path(), 64 << 20, |_| {}, &mut Vec::new()).expect("an archive");
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
fn what_is_slow_to_read_holds_up_no_other_and_undoes_no_other_change() {
    let dir = TempDir::new().expect("a directory");
    let archive = &Archive::open(dir.path(), 1 << 20, |_| {}, &mut Vec::new()).expect("an archive");
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
    let removed = kept_while(2, |archive| assert!(archive.remove(id(2), &|_| Ok(())).expect("removed")));
    assert!(matches!(removed, Err(ArchiveError::NotFound(_))), "what was removed stays so: {removed:?}");
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
