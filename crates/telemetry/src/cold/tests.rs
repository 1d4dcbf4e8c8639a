//! Compaction changes where rows are, never what is answered; and no instant of a crash loses or doubles any.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use proptest::prelude::*;
use tempfile::TempDir;

use super::build::Step;
use super::compact::Take;
use crate::fixture::{self, Message, int, text};
use crate::query::{LogFilter, StatusFilter, TraceFilter};
use crate::{Config, LogRecord, Operation, Span, Telemetry, TraceId};

mod behind;
mod merging;
#[cfg(feature = "object-storage")]
mod moving;
mod operations;
mod retention;
mod setting_aside;
#[cfg(feature = "object-storage")]
mod storage;

/// A store that compacts only when asked.
fn open(dir: &TempDir) -> Telemetry {
    open_with(Config { compact_after: None, ..Config::new(dir.path()) })
}

fn open_with(config: Config) -> Telemetry {
    Telemetry::open(config).expect("a store opens")
}

fn send(store: &Telemetry, request: &[u8]) {
    store.intake().traces(request).expect("taken in").durable.wait().expect("on disk");
}

fn send_logs(store: &Telemetry, request: &[u8]) {
    store.intake().logs(request).expect("taken in").durable.wait().expect("on disk");
}

/// What a test makes a span from.
#[derive(Debug, Clone)]
struct Seed {
    trace: u64,
    parent: u64,
    start: u64,
    duration: u64,
    kind: u64,
    status: u64,
    name: u8,
    attributes: Vec<(u8, u8, u8)>,
    events: u8,
    state: bool,
    service: u8,
}

fn seed() -> impl Strategy<Value = Seed> {
    let ids = (1u64..12, 0u64..60, 0u64..5000, 0u64..3000);
    let codes = (0u64..6, 0u64..3, 0u8..4, 0u8..3, any::<bool>(), 0u8..3);
    let attributes = prop::collection::vec((0u8..6, 0u8..8, 0u8..5), 0..6);
    (ids, codes, attributes).prop_map(|(ids, codes, attributes)| {
        let (trace, parent, start, duration) = ids;
        let (kind, status, name, events, state, service) = codes;
        Seed { trace, parent, start, duration, kind, status, name, attributes, events, state, service }
    })
}

/// A `KeyValue` of any type there is, the same key in several types.
fn attribute(key: u8, kind: u8, value: u8) -> Message {
    let key = ["a", "b", "http.method", "id", "n", ""][usize::from(key)];
    let key = if key.is_empty() { "c" } else { key };
    let any = match kind {
        0 => return text(key, &format!("v{value}")),
        1 => return int(key, i64::from(value) - 2),
        2 => Message::new().fixed64(4, (f64::from(value) / 2.0).to_bits()),
        3 => Message::new().varint(2, u64::from(value % 2)),
        4 => Message::new().bytes(7, [value; 3]),
        5 => Message::new().message(5, Message::new().message(1, Message::new().varint(3, u64::from(value)))),
        6 => Message::new(),
        _ => return text(key, &format!("{:016x}", u64::from(value) * 0x9e37_79b9)),
    };
    Message::new().bytes(1, key).message(2, any)
}

/// Span number `number`; its start is its own, so that answers have one order.
fn span(number: u64, seed: &Seed) -> Message {
    let start = 1_000_000 + seed.start * 1000 + number;
    let mut span = Message::new()
        .bytes(1, fixture::trace_id(seed.trace))
        .bytes(2, (number + 1).to_be_bytes())
        .bytes(5, format!("op {}", seed.name))
        .varint(6, seed.kind)
        .fixed64(7, start)
        .fixed64(8, start + seed.duration)
        .message(
            15,
            Message::new().bytes(2, if seed.status == 2 { "broken" } else { "" }).varint(3, seed.status),
        );
    if seed.parent > 0 {
        span = span.bytes(4, seed.parent.to_be_bytes());
    }
    if seed.state {
        span = span.bytes(3, "vendor=1").fixed32(16, 0x101).varint(10, 3);
    }
    for &(key, kind, value) in &seed.attributes {
        span = span.message(9, attribute(key, kind, value));
    }
    for event in 0..seed.events {
        let body = Message::new()
            .fixed64(1, start + u64::from(event))
            .bytes(2, "an event")
            .message(3, text("exception.type", "E"));
        let link = Message::new()
            .bytes(1, fixture::trace_id(99))
            .bytes(2, 7u64.to_be_bytes())
            .message(4, int("why", 1))
            .fixed32(6, 1);
        span = span.message(11, body).message(13, link);
    }
    span
}

fn request(spans: &[(u64, Seed)]) -> Vec<Vec<u8>> {
    (0..3u8)
        .map(|service| {
            let own = spans.iter().filter(|(_, seed)| seed.service == service);
            fixture::traces(&format!("s{service}"), own.map(|(number, seed)| span(*number, seed)))
        })
        .collect()
}

fn filters() -> Vec<TraceFilter> {
    let any = TraceFilter::default;
    let tag = |key: &str, value: &str| TraceFilter { tags: vec![(key.into(), value.into())], ..any() };
    let hexadecimal = format!("{:016x}", 3 * 0x9e37_79b9u64);
    vec![
        any(),
        TraceFilter { limit: 2, ..any() },
        TraceFilter { service: Some("s1".into()), ..any() },
        TraceFilter { service: Some("s1".into()), operation: Some("op 2".into()), ..any() },
        TraceFilter { service: Some("none".into()), ..any() },
        TraceFilter { start: 2_000_000..=4_000_000, ..any() },
        TraceFilter { duration: 2_500..=u64::MAX, status: StatusFilter::NotError, ..any() },
        TraceFilter { duration: 0..=900, kind: Some(crate::SpanKind::Client), ..any() },
        TraceFilter { status: StatusFilter::Error, limit: 3, ..any() },
        tag("a", "v1"),
        tag("b", "-1"),
        tag("b", "0.5"),
        tag("n", "true"),
        tag("id", &hexadecimal),
        tag("id", "v2"),
        tag("error", "true"),
        tag("span.kind", "server"),
        tag("host.name", "h1"),
        tag("host.name", "h2"),
        TraceFilter { service: Some("s0".into()), duration: 1000..=u64::MAX, ..tag("a", "v3") },
        tag("exception.type", "E"),
        tag("error", "v1"),
        TraceFilter { service: Some("s2".into()), duration: 2000..=u64::MAX, ..tag("exception.type", "E") },
        TraceFilter { service: Some("s1".into()), duration: 500..=u64::MAX, ..tag("host.name", "h1") },
        TraceFilter { service: Some("s1".into()), status: StatusFilter::Error, ..tag("b", "1") },
        TraceFilter { tags: vec![("error".into(), "true".into()), ("a".into(), "v1".into())], ..any() },
        TraceFilter { tags: vec![("b".into(), "1".into()), ("a".into(), "v1".into())], limit: 1, ..any() },
        TraceFilter { operation: Some("op 1".into()), duration: 2000..=u64::MAX, ..any() },
        TraceFilter { among: Some([2, 5].map(|n| TraceId(fixture::trace_id(n))).into()), ..any() },
    ]
}

#[derive(Debug, PartialEq)]
struct Answers {
    traces: Vec<Vec<Span>>,
    found: Vec<Vec<(TraceId, u64)>>,
    matching: Vec<Vec<Span>>,
    logs: Vec<Vec<LogRecord>>,
    services: Vec<String>,
    operations: Vec<Operation>,
}

fn answers(store: &Telemetry) -> Answers {
    let log_filters = [
        LogFilter::default(),
        LogFilter { limit: 3, ..LogFilter::default() },
        LogFilter { service: Some("s1".into()), ..LogFilter::default() },
        LogFilter { severity_min: 12, text: "BODY 3".into(), ..LogFilter::default() },
        LogFilter { trace: Some(TraceId(fixture::trace_id(2))), ..LogFilter::default() },
        LogFilter { time: 500..=1500, ..LogFilter::default() },
        LogFilter { in_a_trace: true, text: "body".into(), ..LogFilter::default() },
    ];
    let matching = |filter: &TraceFilter| {
        let mut spans = Vec::new();
        store.each_match(filter, |span| spans.push(span)).expect("readable");
        spans.sort_by_key(|span| (span.start_unix_nano, span.span_id));
        spans
    };
    let trace = |n| store.trace(TraceId(fixture::trace_id(n))).expect("readable");
    Answers {
        traces: (1..13).map(trace).collect(),
        found: filters().iter().map(|filter| store.search(filter).expect("readable")).collect(),
        matching: filters().iter().map(matching).collect(),
        logs: log_filters.iter().map(|filter| store.logs(filter).expect("readable")).collect(),
        services: store.services(),
        operations: store.operations("s1"),
    }
}

/// Waits until two stores that were sent the same have learnt the same names: they do so after senders were answered.
fn wait_for_names(one: &Telemetry, other: &Telemetry) {
    let names = |store: &Telemetry| (store.services(), store.operations("s1"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while names(one) != names(other) {
        assert!(Instant::now() < deadline, "{:?} and {:?}", names(one), names(other));
        std::thread::yield_now();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The same spans and records, answered for from segments, from units, from both, and after a restart.
    #[test]
    fn answers_stay_the_same_whatever_is_compacted(
        seeds in prop::collection::vec(seed(), 1..60),
        split in 0usize..60,
        records in prop::collection::vec((0u64..3000, 0u64..24, 0u64..6, 0u64..4), 0..30),
    ) {
        let (hot_dir, cold_dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
        let (hot, cold) = (open(&hot_dir), open(&cold_dir));
        let spans: Vec<(u64, Seed)> = seeds.into_iter().enumerate().map(|(i, seed)| (i as u64, seed)).collect();
        let logs: Vec<Vec<u8>> = records.iter().enumerate().map(|(i, &(time, severity, body, trace))| {
            let record = fixture::log_record(1 + time * 100 + i as u64, severity, &format!("body {body}"));
            let record = if trace > 0 { record.bytes(9, fixture::trace_id(trace)) } else { record };
            fixture::logs(&format!("s{}", i % 2), [record])
        }).collect();
        for (part, spans) in [&spans[..split.min(spans.len())], &spans[split.min(spans.len())..]].iter().enumerate() {
            for store in [&hot, &cold] {
                request(spans).iter().for_each(|request| send(store, request));
                logs.iter().skip(part).step_by(2).for_each(|request| send_logs(store, request));
            }
            wait_for_names(&cold, &hot);
            prop_assert_eq!(answers(&cold), answers(&hot), "part {}", part);
            cold.compact().expect("compacted");
            prop_assert_eq!(answers(&cold), answers(&hot), "part {} compacted", part);
        }
        prop_assert!(cold.open.tiers.view().hot.is_empty());
        drop(cold);
        prop_assert_eq!(answers(&open(&cold_dir)), answers(&hot), "after a restart");
    }
}

/// Spans of three pages, of which few match: which pages are left alone must not show.
#[test]
fn what_few_spans_of_many_pages_have_is_found_as_before() {
    let (hot_dir, cold_dir) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let (hot, cold) = (open(&hot_dir), open(&cold_dir));
    let seeded = |number: u64| {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let rare = mixed.is_multiple_of(997);
        let attributes = if rare { vec![(0, 0, 4), (1, 5, 1)] } else { vec![(0, 0, 1), (4, 1, 3)] };
        let seed = Seed {
            trace: 1 + number / 10,
            parent: 0,
            start: number,
            duration: if mixed.is_multiple_of(501) { 2_900 } else { mixed % 1000 },
            kind: mixed % 6,
            status: if mixed.is_multiple_of(701) { 2 } else { 0 },
            name: (mixed % 4) as u8,
            attributes,
            events: u8::from(mixed.is_multiple_of(1201)),
            state: false,
            service: (mixed % 3) as u8,
        };
        span(number, &seed).message(9, text("unique", &format!("u{number}")))
    };
    for service in 0..3u64 {
        let of_service =
            |&number: &u64| ((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 3 == service;
        let numbers: Vec<u64> = (0..20_000).filter(of_service).collect();
        for numbers in numbers.chunks(500) {
            let request =
                fixture::traces(&format!("s{service}"), numbers.iter().map(|&number| seeded(number)));
            send(&hot, &request);
            send(&cold, &request);
        }
    }
    cold.compact().expect("compacted");
    let tags =
        [("a", "v4"), ("a", "v1"), ("n", "1"), ("exception.type", "E"), ("unique", "u7777"), ("a", "no")];
    let (mut found_some, mut found_none) = (0, 0);
    for (tag, value) in tags {
        for (at, service) in [None, Some("s0"), Some("s1"), Some("s2")].into_iter().enumerate() {
            for least in [0, 500, 2_900, 2_901] {
                for status in [StatusFilter::Any, StatusFilter::Error, StatusFilter::NotError] {
                    let filter = TraceFilter {
                        service: service.map(str::to_owned),
                        operation: (at == 3).then(|| "op 2".to_owned()),
                        tags: vec![(tag.to_owned(), value.to_owned())],
                        duration: least..=u64::MAX,
                        status,
                        ..TraceFilter::default()
                    };
                    let found = cold.search(&filter).expect("readable");
                    assert_eq!(found, hot.search(&filter).expect("readable"), "{filter:?}");
                    found_some += usize::from(!found.is_empty());
                    found_none += usize::from(found.is_empty());
                }
            }
        }
    }
    assert!(found_some > 30 && found_none > 30, "{found_some} found, {found_none} did not");
}

fn filled(dir: &TempDir) -> Telemetry {
    let store = open(dir);
    let spans = (0..200).map(|n| fixture::span(1 + n % 12, n + 1, 1000 + n));
    send(&store, &fixture::traces("s1", spans));
    send_logs(&store, &fixture::logs("s1", (1..20).map(|n| fixture::log_record(n, 9, "body 3"))));
    store
}

/// A crash or a full disk after any step of a compaction: before the index has its name nothing has changed, after it
/// everything has; what is answered is the same.
#[test]
fn a_compaction_that_stops_anywhere_loses_and_doubles_nothing() {
    for (stop, committed) in [
        (Step::SpansWritten, false),
        (Step::LogsWritten, false),
        (Step::IndexWritten, false),
        (Step::Committed, true),
    ] {
        let dir = TempDir::new().expect("a directory");
        let store = filled(&dir);
        let before = answers(&store);
        store.open.shared.seal();
        let full =
            |step| if step == stop { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) };
        store.open.work.compact_watched(Take::All, &full).expect_err("stopped");
        assert_eq!(store.counters().compaction_failures.get(), 1);
        assert_eq!(answers(&store), before, "{stop:?}, still running");
        drop(store);
        let store = open(&dir);
        assert_eq!(answers(&store), before, "{stop:?}, after a restart");
        let hot = fs::read_dir(dir.path().join("hot")).expect("hot").count();
        let cold = fs::read_dir(dir.path().join("cold")).expect("cold").count();
        assert_eq!(
            (hot, cold),
            if committed { (0, 3) } else { (1, 0) },
            "{stop:?}: what is left of it is removed"
        );
        store.compact().expect("tried again");
        assert_eq!(answers(&store), before, "{stop:?}, compacted at last");
    }
}

#[test]
fn numbers_of_compacted_segments_are_not_given_again() {
    let dir = TempDir::new().expect("a directory");
    let store = filled(&dir);
    store.compact().expect("compacted");
    drop(store);
    let store = open(&dir);
    send(&store, &fixture::traces("s2", [fixture::span(500, 1, 5)]));
    drop(store);
    let store = open(&dir);
    assert_eq!(store.trace(TraceId(fixture::trace_id(500))).expect("readable").len(), 1);
}

#[test]
fn questions_asked_while_segments_become_units_find_everything_once() {
    let dir = TempDir::new().expect("a directory");
    let store = filled(&dir);
    let before = answers(&store);
    let asked = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let compacted = scope.spawn(|| {
            while asked.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            store.compact()
        });
        while !compacted.is_finished() {
            assert_eq!(answers(&store), before);
            asked.fetch_add(1, Ordering::Relaxed);
        }
        compacted.join().expect("no panic").expect("compacted");
    });
    assert_eq!(answers(&store), before);
}

/// Traces that are found of 2,000 unremarkable ones, one with an error, one slow.
fn sampled(dir: &TempDir, keep_percent: f64) -> (Telemetry, Vec<u64>) {
    let config = Config { compact_after: None, keep_percent, ..Config::new(dir.path()) };
    let store = open_with(config);
    let id = |n: u64| u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
    let span = |n: u64| {
        let status = if n == 1 { 2 } else { 0 };
        let duration = if n == 2 { 90_000_000 } else { 5_000_000 };
        Message::new()
            .bytes(1, id(n))
            .bytes(2, n.to_be_bytes())
            .bytes(5, "GET")
            .fixed64(7, n)
            .fixed64(8, n + duration)
            .message(15, Message::new().varint(3, status))
    };
    send(&store, &fixture::traces("s1", (1..=2000).map(span)));
    store.compact().expect("compacted");
    let found = |&n: &u64| !store.trace(TraceId(id(n))).expect("readable").is_empty();
    let kept = (1..=2000).filter(found).collect();
    (store, kept)
}

#[test]
fn sampling_keeps_traces_with_errors_and_slow_ones_and_its_share_of_the_rest() {
    let dirs = [TempDir::new().expect("a directory"), TempDir::new().expect("a directory")];
    let (store, kept) = sampled(&dirs[0], 10.0);
    assert!([1, 2].iter().all(|n| kept.contains(n)), "{kept:?}");
    assert!((150..260).contains(&kept.len()), "{} of 2,000 at 10 percent", kept.len());
    let counters = store.counters();
    assert_eq!(counters.compacted_spans.get(), 2000);
    assert_eq!(counters.sampled_out_spans.get(), 2000 - kept.len() as u64);
    let (_, more) = sampled(&dirs[1], 40.0);
    assert!(kept.iter().all(|n| more.contains(n)), "a higher rate keeps what a lower one kept");
}

#[test]
fn what_is_too_old_or_too_much_goes_oldest_first() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for trace in 1..=3 {
        send(&store, &fixture::traces("s1", (1..50).map(|n| fixture::span(trace, n, trace * 1000 + n))));
        store.compact().expect("compacted");
    }
    let found = |store: &Telemetry| {
        (1..=3u64)
            .filter(|&n| !store.trace(TraceId(fixture::trace_id(n))).expect("readable").is_empty())
            .collect::<Vec<_>>()
    };
    let sizes: Vec<u64> = store.open.tiers.units().iter().map(|unit| unit.bytes).collect();
    drop(store);
    let retention_bytes = sizes[1] + sizes[2];
    let store = open_with(Config { compact_after: None, retention_bytes, ..Config::new(dir.path()) });
    store.open.work.retain();
    assert_eq!(found(&store), [2, 3]);
    drop(store);
    let unit = fs::read_dir(dir.path().join("cold")).expect("cold").map(|entry| entry.expect("entry").path());
    let oldest = unit.filter(|path| path.extension().is_some_and(|e| e == "index")).min().expect("a unit");
    #[expect(clippy::disallowed_methods, reason = "files are dated by the wall clock")]
    let old = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    fs::File::options().append(true).open(oldest).and_then(|file| file.set_modified(old)).expect("made old");
    let store = open(&dir);
    store.open.work.retain();
    assert_eq!(found(&store), [3]);
    drop(store);
    assert_eq!(found(&open(&dir)), [3]);
}

#[test]
fn a_unit_of_a_later_version_is_refused_and_left_as_it_is() {
    let dir = TempDir::new().expect("a directory");
    let store = filled(&dir);
    store.compact().expect("compacted");
    let index = store.open.tiers.units()[0].files.index.clone();
    drop(store);
    let good = fs::read(&index).expect("an index");
    let mut newer = good.clone();
    newer[4] = 9;
    let crc = crc32fast::hash(&newer[..28]).to_le_bytes();
    newer[28..32].copy_from_slice(&crc);
    fs::write(&index, newer).expect("written");
    let error = Telemetry::open(Config::new(dir.path())).expect_err("refused");
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("use a newer homeostat"), "{source}");
    fs::write(&index, good).expect("written");
    assert_eq!(open(&dir).services(), ["s1"]);
}
