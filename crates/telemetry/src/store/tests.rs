//! The store: what is acknowledged is found, at once and after a restart, whatever the tail of a file looks like.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use domain::{Time, TraceSource};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Config, OpenError, Telemetry};
use crate::SeriesFilter;
use crate::derive::now_unix_nano;
use crate::fixture;
use crate::intake::Refusal;
use crate::model::TraceId;
use crate::query::{LogFilter, StatusFilter, TraceFilter};

fn open(dir: &TempDir) -> Telemetry {
    Telemetry::open(Config::new(dir.path())).expect("a store opens in an empty directory")
}

fn send(store: &Telemetry, request: &[u8]) {
    let admission = store.intake().traces(request).expect("taken in");
    admission.durable.wait().expect("on disk");
}

fn found(store: &Telemetry, trace: u64) -> usize {
    store.trace(TraceId(fixture::trace_id(trace))).expect("readable").len()
}

fn segments(dir: &TempDir) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir.path().join("hot"))
        .expect("hot")
        .map(|entry| entry.expect("entry").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_is_acknowledged_is_found_at_once_and_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    send(&store, &fixture::traces("cart", (1..=3).map(|i| fixture::span(7, i, 10 * i))));
    assert_eq!(found(&store, 7), 3);
    assert_eq!(found(&store, 8), 0);
    drop(store);
    let store = open(&dir);
    assert_eq!(found(&store, 7), 3);
    assert_eq!(store.recovery().torn_bytes, 0);
    assert_eq!(store.services(), ["cart"]);
    let names: Vec<String> = store.operations("cart").into_iter().map(|operation| operation.name).collect();
    assert_eq!(names, ["GET /0", "GET /1", "GET /2"]);
}

#[test]
fn a_span_sent_twice_is_shown_once() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for _ in 0..2 {
        send(&store, &fixture::traces("cart", [fixture::span(1, 1, 5)]));
    }
    assert_eq!(found(&store, 1), 1);
}

#[test]
fn a_second_process_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let _store = open(&dir);
    let refused = Telemetry::open(Config::new(dir.path()));
    assert!(matches!(refused, Err(OpenError::InUse { .. })), "{refused:?}");
}

#[test]
fn malformed_requests_name_the_place_and_change_nothing() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let mut request = fixture::traces("cart", [fixture::span(1, 1, 5)]);
    request.truncate(request.len() - 1);
    let refused = store.intake().traces(&request).expect_err("cut off");
    assert!(matches!(refused, Refusal::Malformed { .. }), "{refused:?}");
    assert_eq!(store.counters().malformed.get(), 1);
    assert_eq!(found(&store, 1), 0);
}

#[test]
fn spans_without_ids_are_left_out_and_counted() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let without = fixture::Message::new().bytes(5, "no ids");
    let request = fixture::traces("cart", [without, fixture::span(1, 1, 5)]);
    let admission = store.intake().traces(&request).expect("taken in");
    assert_eq!((admission.accepted, admission.rejected), (1, 1));
    assert!(admission.reason.expect("a reason").contains("16 bytes"));
    admission.durable.wait().expect("on disk");
    assert_eq!(found(&store, 1), 1);
}

#[test]
fn more_than_may_wait_is_refused_with_a_time_to_come_back() {
    let dir = TempDir::new().expect("a directory");
    let store =
        Telemetry::open(Config { waiting_bytes_max: 10, ..Config::new(dir.path()) }).expect("a store opens");
    let refused = store.intake().traces(&fixture::traces("cart", [fixture::span(1, 1, 5)]));
    assert!(matches!(refused, Err(Refusal::Overloaded { .. })), "{refused:?}");
    assert_eq!(store.counters().overloaded.get(), 1);
}

#[test]
fn after_closing_nothing_is_taken_in_and_everything_is_found() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let intake = store.intake();
    let request = fixture::traces("cart", [fixture::span(1, 1, 5)]);
    let admission = intake.traces(&request).expect("taken in");
    store.close();
    assert_eq!(admission.durable.wait(), Ok(()));
    assert!(matches!(intake.traces(&request), Err(Refusal::Closing)));
    assert_eq!(found(&store, 1), 1);
}

#[test]
fn small_segments_follow_each_other_and_all_are_read() {
    let dir = TempDir::new().expect("a directory");
    let small = Config { segment_bytes: 1, ..Config::new(dir.path()) };
    let store = Telemetry::open(small).expect("a store opens");
    for i in 1..=4 {
        send(&store, &fixture::traces("cart", [fixture::span(3, i, i)]));
    }
    assert_eq!(found(&store, 3), 4);
    store.close();
    assert_eq!(segments(&dir).len(), 4);
}

#[test]
fn searches_find_spans_that_match_all_that_is_asked() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    // Odd spans have status 500; names go by the remainder of 3.
    for i in 1..=12u64 {
        let service = if i <= 6 { "cart" } else { "orders" };
        send(&store, &fixture::traces(service, [fixture::span(i, i, 1_000 * i)]));
    }
    let ask = |filter: TraceFilter| -> Vec<u64> {
        let found = store.search(&filter).expect("readable");
        found.into_iter().map(|(_, start)| start / 1_000).collect()
    };
    let all = TraceFilter::default();
    let tag = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    assert_eq!(ask(TraceFilter { limit: 3, ..all.clone() }), [12, 11, 10]);
    assert_eq!(ask(TraceFilter { service: Some("cart".into()), ..all.clone() }), [6, 5, 4, 3, 2, 1]);
    assert_eq!(ask(TraceFilter { operation: Some("GET /1".into()), ..all.clone() }), [10, 7, 4, 1]);
    assert_eq!(
        ask(TraceFilter { tags: tag("http.response.status_code", "500"), ..all.clone() }),
        [11, 9, 7, 5, 3, 1]
    );
    assert_eq!(ask(TraceFilter { tags: tag("service.name", "orders"), limit: 2, ..all.clone() }), [12, 11]);
    assert_eq!(ask(TraceFilter { tags: tag("span.kind", "client"), ..all.clone() }), [0u64; 0]);
    assert_eq!(ask(TraceFilter { start: 3_000..=5_000, ..all.clone() }), [5, 4, 3]);
    assert_eq!(ask(TraceFilter { duration: 0..=4_999_999, ..all.clone() }), [0u64; 0]);
    assert_eq!(ask(TraceFilter { status: StatusFilter::Error, ..all.clone() }), [0u64; 0]);
    let three = TraceFilter {
        service: Some("orders".into()),
        operation: Some("GET /0".into()),
        tags: tag("http.request.method", "GET"),
        ..all
    };
    assert_eq!(ask(three.clone()), [12, 9]);
    let mut matching = Vec::new();
    store.each_match(&three, |span| matching.push(span.start_unix_nano / 1_000)).expect("readable");
    assert_eq!(matching, [9, 12], "the spans themselves, in the order in which they came");
}

#[test]
fn log_records_are_found_by_text_severity_and_trace() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let records = [
        fixture::log_record(1, 9, "Payment refused"),
        fixture::log_record(2, 17, "payment lost").bytes(9, fixture::trace_id(4)),
        fixture::log_record(3, 9, "cart emptied"),
    ];
    let admission = store.intake().logs(&fixture::logs("payments", records)).expect("taken in");
    admission.durable.wait().expect("on disk");
    let ask = |filter: LogFilter| -> Vec<u64> {
        store.logs(&filter).expect("readable").iter().map(|record| record.time_unix_nano).collect()
    };
    let all = LogFilter::default();
    assert_eq!(ask(all.clone()), [3, 2, 1]);
    assert_eq!(ask(LogFilter { text: "PAYMENT".into(), ..all.clone() }), [2, 1]);
    assert_eq!(ask(LogFilter { severity_min: 17, ..all.clone() }), [2]);
    assert_eq!(ask(LogFilter { trace: Some(TraceId(fixture::trace_id(4))), ..all.clone() }), [2]);
    assert_eq!(ask(LogFilter { service: Some("cart".into()), ..all.clone() }), [0u64; 0]);
    assert_eq!(ask(LogFilter { limit: 1, ..all.clone() }), [3]);
    assert_eq!(ask(LogFilter { in_a_trace: true, ..all }), [2]);
}

/// Traces of `service` with one span each, and with one log record each, of `logger`, that says `text`.
fn logged(store: &Telemetry, (service, logger): (&str, &str), text: &str, traces: std::ops::Range<u64>) {
    send(store, &fixture::traces(service, traces.clone().map(|n| fixture::span(n, n, n))));
    let record = |n| fixture::log_record(n, 9, text).bytes(9, fixture::trace_id(n));
    let admission = store.intake().logs(&fixture::logs(logger, traces.map(record))).expect("taken in");
    admission.durable.wait().expect("on disk");
}

#[test]
fn traces_are_found_by_what_a_record_of_any_of_their_services_says() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    logged(&store, ("cart", "payments"), "Card timeout", 4..5);
    let found = |text: &str, start| {
        let filter = TraceFilter { service: Some("cart".into()), start, ..TraceFilter::default() };
        store.search_logged(text, &filter).expect("readable").traces
    };
    assert_eq!(found("CARD", 0..=9), [(TraceId(fixture::trace_id(4)), 4)]);
    assert!(found("card", 0..=3).is_empty() && found("cash", 0..=9).is_empty());
}

#[test]
fn newer_records_with_the_text_hide_no_trace_that_matches() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    logged(&store, ("cart", "payments"), "card timeout", 1..2);
    let filter = TraceFilter { service: Some("cart".into()), ..TraceFilter::default() };
    // Very many of one other trace, then a few of as many traces as are looked among.
    let record = |n| fixture::log_record(n, 9, "card timeout").bytes(9, fixture::trace_id(2));
    let admission = store.intake().logs(&fixture::logs("chatty", (10..2_510).map(record))).expect("taken in");
    admission.durable.wait().expect("on disk");
    let whole = store.search_logged("card timeout", &filter).expect("readable");
    assert_eq!((whole.traces, whole.cut_at), (vec![(TraceId(fixture::trace_id(1)), 1)], None));

    logged(&store, ("other", "other"), "card timeout", 5_000..5_004);
    let among = |most| store.search_logged_among("card timeout", &filter, most).expect("readable");
    let cut = among([2, 3]);
    assert_eq!((cut.traces.len(), cut.cut_at), (0, Some(5_001)), "that not all were looked among is said");
    let whole = among([2, 6]);
    assert_eq!((whole.traces.len(), whole.cut_at), (1, None));
    let enough = store.search_logged_among(
        "card timeout",
        &TraceFilter { limit: 2, ..TraceFilter::default() },
        [2, 3],
    );
    assert_eq!(enough.expect("readable").cut_at, None, "as many as were asked for are there");
}

#[test]
fn a_search_among_no_traces_reads_nothing() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    logged(&store, ("cart", "cart"), "card timeout", 1..9);
    for path in segments(&dir) {
        let length = fs::metadata(&path).expect("there").len();
        OpenOptions::new().write(true).open(&path).expect("writable").set_len(length / 2).expect("cut");
    }
    let filter = TraceFilter { among: Some(std::collections::BTreeSet::new()), ..TraceFilter::default() };
    assert_eq!(store.search(&filter).expect("nothing is read"), []);
    assert!(store.search(&TraceFilter::default()).is_err(), "what is read is not readable");
}

/// What a crash can leave behind the last whole block.
#[derive(Debug, Clone)]
enum Tail {
    Zeros(usize),
    Noise(Vec<u8>),
    /// The first bytes of a block.
    Torn(prop::sample::Index),
}

fn tails() -> impl Strategy<Value = Tail> {
    prop_oneof![
        (1usize..5000).prop_map(Tail::Zeros),
        prop::collection::vec(any::<u8>(), 1..300).prop_map(Tail::Noise),
        any::<prop::sample::Index>().prop_map(Tail::Torn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_lies_behind_the_last_block_nothing_acknowledged_is_lost(tail in tails()) {
        let dir = TempDir::new().expect("a directory");
        let store = open(&dir);
        for i in 1..=3 {
            send(&store, &fixture::traces("cart", [fixture::span(1, i, i)]));
        }
        drop(store);
        let path = segments(&dir).pop().expect("a segment");
        let whole = fs::read(&path).expect("readable");
        let bytes = match tail {
            Tail::Zeros(n) => vec![0; n],
            Tail::Noise(noise) => noise,
            Tail::Torn(cut) => whole[..1 + cut.index(whole.len() / 3 - 1)].to_vec(),
        };
        OpenOptions::new().append(true).open(&path).expect("writable").write_all(&bytes).expect("written");
        let store = open(&dir);
        prop_assert_eq!(found(&store, 1), 3);
        prop_assert_eq!(store.recovery().torn_bytes, bytes.len() as u64);
        prop_assert_eq!(store.recovery().damaged_bytes, 0);
        send(&store, &fixture::traces("cart", [fixture::span(1, 4, 4)]));
        drop(store);
        let store = open(&dir);
        prop_assert_eq!(found(&store, 1), 4);
        prop_assert_eq!(store.recovery().torn_bytes, 0);
    }
}

#[test]
fn a_damaged_block_costs_its_own_rows_and_is_reported() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    for i in 1..=3 {
        send(&store, &fixture::traces("cart", [fixture::span(i, i, i)]));
    }
    drop(store);
    let path = segments(&dir).pop().expect("a segment");
    let mut bytes = fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, &bytes).expect("written");
    let store = open(&dir);
    assert_eq!([found(&store, 1), found(&store, 2), found(&store, 3)], [1, 0, 1]);
    assert!(store.recovery().damaged_bytes > 0);
    assert_eq!(store.recovery().torn_bytes, 0);
}

#[test]
fn many_senders_share_commits_and_none_is_forgotten() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    std::thread::scope(|scope| {
        for sender in 0..8u64 {
            let store = &store;
            scope.spawn(move || {
                let intake = store.intake();
                for i in 0..20 {
                    let span = fixture::span(sender + 1, i + 1, i);
                    let admission = intake.traces(&fixture::traces("cart", [span])).expect("taken in");
                    admission.durable.wait().expect("on disk");
                }
            });
        }
    });
    assert!((1..=8).all(|trace| found(&store, trace) == 20));
    assert!(store.counters().commits.get() <= 160);
    store.close();
}

#[test]
fn a_segment_left_alone_is_sealed_by_its_age() {
    let dir = TempDir::new().expect("a directory");
    let config = Config { segment_age: Duration::from_millis(20), ..Config::new(dir.path()) };
    let store = Telemetry::open(config).expect("a store opens");
    send(&store, &fixture::traces("cart", [fixture::span(1, 1, 1)]));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while store.open.tiers.sealed().is_empty() {
        assert!(std::time::Instant::now() < deadline, "not sealed within 60 s");
        std::thread::yield_now();
    }
    assert_eq!(found(&store, 1), 1);
}

/// A client span of one service and the server span of another that it caused, that started at `start`.
fn call(store: &Telemetry, id: u64, start: u64, failed: bool) {
    let span = |kind, span: u64, duration_ms: u64| {
        fixture::Message::new()
            .bytes(1, fixture::trace_id(id))
            .bytes(2, span.to_be_bytes())
            .bytes(5, "GET /")
            .varint(6, kind)
            .fixed64(7, start)
            .fixed64(8, start + duration_ms * 1_000_000)
            .message(15, fixture::Message::new().varint(3, if failed { 2 } else { 0 }))
    };
    let callee = span(2, 2 * id + 1, 40).bytes(4, (2 * id).to_be_bytes());
    send(store, &fixture::traces("cart", [callee]));
    let client = span(3, 2 * id, 60).bytes(4, (3 * id).to_be_bytes());
    send(store, &fixture::traces("front", [client, span(2, 3 * id, 70)]));
}

#[test]
fn what_is_derived_is_there_at_once_and_after_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let store = open(&dir);
    let now = now_unix_nano();
    (1..=8).for_each(|id| call(&store, id, now - 5_000_000_000, id > 6));
    store.close();
    let told = |store: &Telemetry| {
        let range = now - 60_000_000_000..now;
        let incoming = store.series(&SeriesFilter::incoming("cart"), range.clone()).expect("a window");
        let edges = store.dependencies(range).expect("a window");
        (incoming, edges)
    };
    let (incoming, edges) = told(&store);
    assert_eq!((incoming.len(), incoming[0].calls.calls(), incoming[0].calls.errors()), (1, 8.0, 2.0));
    let edge: Vec<(&str, &str)> = edges.iter().map(|edge| (&*edge.caller, &*edge.callee)).collect();
    assert_eq!(edge, [("front", "cart")]);
    assert_eq!((edges[0].caller_view.calls(), edges[0].callee_view.errors()), (8.0, 2.0));
    drop(store);
    let store = open(&dir);
    assert_eq!(told(&store), (incoming, edges));
    let traces = store.traces(Time { boot_us: 0, wall_us: (now / 1000) as i64 });
    let link = &traces.links[&"front->cart".parse().expect("a link")];
    assert_eq!((link.recent.requests, link.recent.errors), (8, 2));
    let cart = &traces.services[&"cart".parse().expect("a service")];
    let front = &traces.services[&"front".parse().expect("a service")];
    assert_eq!((cart.own_errors, front.own_errors), (2, 0), "front only passes on what failed in cart");
    assert!((9.0..=11.0).contains(&front.own_ms.expect("calls")), "{front:?}");
    let failing = [7, 8].map(|id| TraceId(fixture::trace_id(id)).to_string());
    assert!(failing.contains(&cart.exemplars[0]), "{cart:?}");
}
