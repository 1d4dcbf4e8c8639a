//! What is derived equals a naive recount, whatever the order and the batches in which spans come.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::histogram::Histogram;
use super::names::{OTHER, SERIES_PER_SERVICE_MAX};
use super::read::{self, Dependency, Series, SeriesFilter, Window};
use super::state::State;
use super::weight::ONE;
use super::{Link, Minutes, MinutesError, prometheus, scale};
use crate::batch::Batch;
use crate::fixture::{Message, text, trace_id, traces};
use crate::model::{Signal, SpanKind};
use crate::otlp::{self, Limits};

const NANOS: u64 = 1_000_000_000;

/// Now, in seconds since 1970.
const NOW: u64 = 1_800_000_030;

/// A span of these tests.
#[derive(Debug, Clone)]
struct Made {
    service: u8,
    name: u8,
    kind: SpanKind,
    trace: u64,
    span: u64,
    parent: u64,
    /// Nanoseconds before now.
    ago: u64,
    duration: u64,
    error: bool,
    /// Kept one of four by its source.
    sampled: bool,
    /// What its attributes say it called.
    peer: Option<&'static str>,
}

impl Made {
    fn new(service: u8, kind: SpanKind, span: u64, parent: u64) -> Self {
        Self {
            service,
            name: 0,
            kind,
            trace: 1,
            span,
            parent,
            ago: NANOS,
            duration: 1000,
            error: false,
            sampled: false,
            peer: None,
        }
    }

    fn start(&self) -> u64 {
        NOW * NANOS - self.ago
    }

    fn message(&self) -> Message {
        let message = Message::new()
            .bytes(1, trace_id(self.trace))
            .bytes(2, self.span.to_be_bytes())
            .bytes(5, format!("op{}", self.name))
            .varint(6, self.kind as u64)
            .fixed64(7, self.start())
            .fixed64(8, self.start() + self.duration)
            .message(15, Message::new().varint(3, if self.error { 2 } else { 0 }));
        let message = if self.parent == 0 { message } else { message.bytes(4, self.parent.to_be_bytes()) };
        let message = if self.sampled { message.bytes(3, "ot=th:c") } else { message };
        let message = message.message(9, text("http.route", "/"));
        match self.peer {
            Some(peer) => message.message(9, text("peer.service", peer)),
            None => message,
        }
    }

    fn weight(&self) -> u64 {
        if self.sampled { 4 * ONE } else { ONE }
    }
}

fn batch(spans: &[Made]) -> Batch {
    let mut batch = Batch::new(Signal::Spans);
    for span in spans {
        let request = traces(&format!("service{}", span.service), [span.message()]);
        otlp::walk_traces(&request, &Limits::default(), &mut batch).expect("a good request");
    }
    batch
}

fn observe(state: &mut State, spans: &[Made]) {
    state.observe(&batch(spans), NOW * NANOS, |_, _, _| {});
}

fn all_series(state: &State, filter: &SeriesFilter, from: u64, to: u64) -> Vec<Series> {
    let window = Window::whole(from * NANOS, to * NANOS).expect("a window");
    read::series(state.take_series(filter, window, NOW as u32))
}

fn all_edges(state: &State) -> Vec<Dependency> {
    let window = Window::whole((NOW - 80_000) * NANOS, (NOW + 60) * NANOS).expect("a window");
    read::dependencies(state.take_edges(window, NOW as u32, |_| true))
}

/// Series between two times, counted one by one.
fn recount(spans: &[Made], from: u64, to: u64) -> BTreeMap<(String, String, SpanKind), Histogram> {
    let mut series: BTreeMap<_, Histogram> = BTreeMap::new();
    for span in spans.iter().filter(|span| (from * NANOS..to * NANOS).contains(&span.start())) {
        let key = (format!("service{}", span.service), format!("op{}", span.name), span.kind);
        let bucket = scale::bucket(span.duration);
        series.entry(key).or_default().add(bucket, span.duration, span.weight(), span.error);
    }
    series
}

fn by_key(series: Vec<Series>) -> BTreeMap<(String, String, SpanKind), Histogram> {
    series.into_iter().map(|s| ((s.service.clone(), s.name().to_owned(), s.kind), s.calls)).collect()
}

/// Edges: caller, callee; calls and errors, as each side saw them.
fn recount_edges(spans: &[Made]) -> BTreeMap<(String, String), [Histogram; 2]> {
    let is = |span: &Made, kinds: [SpanKind; 2]| kinds.contains(&span.kind);
    let mut edges: BTreeMap<_, [Histogram; 2]> = BTreeMap::new();
    for callee in spans.iter().filter(|s| is(s, [SpanKind::Server, SpanKind::Consumer])) {
        let mut callers = spans.iter().filter(|s| is(s, [SpanKind::Client, SpanKind::Producer]));
        let Some(caller) = callers.find(|s| s.trace == callee.trace && s.span == callee.parent) else {
            continue;
        };
        if caller.service == callee.service {
            continue;
        }
        let key = (format!("service{}", caller.service), format!("service{}", callee.service));
        let [by_caller, by_callee] = edges.entry(key).or_default();
        let weight = caller.weight().max(callee.weight());
        let add = |histogram: &mut Histogram, duration, error| {
            histogram.add(scale::bucket(duration), duration, weight, error);
        };
        add(by_caller, caller.duration, caller.error || callee.error);
        add(by_callee, callee.duration, callee.error);
    }
    edges
}

fn kind() -> impl Strategy<Value = SpanKind> {
    (0u64..6).prop_map(SpanKind::from_number)
}

/// Spans with distinct ids whose parents are often among them, over the last half hour.
fn spans() -> impl Strategy<Value = Vec<Made>> {
    let span = (0u8..3, 0u8..3, kind(), 0u64..3, 0u64..30, 0u64..1800 * NANOS, 0u32..40, any::<[bool; 3]>());
    prop::collection::vec(span, 0..60).prop_map(|spans| {
        let made =
            (1u64..).zip(spans).map(|(id, (service, name, kind, trace, parent, ago, bits, flags))| Made {
                name,
                trace,
                ago,
                duration: (1 << bits) + id,
                error: flags[0],
                sampled: flags[1] && flags[2],
                ..Made::new(service, kind, id, parent)
            });
        made.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counts_equal_a_naive_recount_in_any_order_and_batches(
        (spans, shuffled) in spans().prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
        size in 1usize..20,
    ) {
        let mut state = State::new();
        shuffled.chunks(size).for_each(|chunk| observe(&mut state, chunk));
        let (from, to) = (NOW - 1920 - 30, NOW + 30);
        let minutes = by_key(all_series(&state, &SeriesFilter::default(), from, to));
        prop_assert_eq!(minutes, recount(&spans, from, to));
        let (from, to) = (NOW - 333, NOW - 7);
        let seconds = by_key(all_series(&state, &SeriesFilter::default(), from, to));
        prop_assert_eq!(seconds, recount(&spans, from, to));
        let edges = all_edges(&state).into_iter();
        let edges: BTreeMap<_, _> =
            edges.map(|e| ((e.caller, e.callee), [e.caller_view, e.callee_view])).collect();
        // Calls and messages between the same two are edges of their own: the parent decides which.
        let recounted = recount_edges(&spans);
        prop_assert_eq!(edges.keys().collect::<Vec<_>>(), recounted.keys().collect::<Vec<_>>());
    }

    #[test]
    fn joins_do_not_depend_on_the_order_of_arrival(
        (spans, shuffled) in spans().prop_flat_map(|spans| {
            let spans: Vec<Made> = spans.into_iter().filter(|s| s.kind != SpanKind::Producer).collect();
            (Just(spans.clone()), Just(spans).prop_shuffle())
        }),
        size in 1usize..20,
    ) {
        let mut state = State::new();
        shuffled.chunks(size).for_each(|chunk| observe(&mut state, chunk));
        let edges = all_edges(&state).into_iter();
        let edges: BTreeMap<_, _> =
            edges.map(|e| ((e.caller, e.callee), [e.caller_view, e.callee_view])).collect();
        prop_assert_eq!(edges, recount_edges(&spans));
    }

    #[test]
    fn minutes_read_back_as_written_and_add_up_as_if_counted_together(spans in spans(), at in 0usize..60) {
        let (first, second) = spans.split_at(at.min(spans.len()));
        let now = NOW * NANOS;
        let [a, b] = [first, second].map(|spans| Minutes::of([&batch(spans)], now));
        prop_assert_eq!(&Minutes::from_bytes(&a.to_bytes()), &Ok(a.clone()));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b);
        ba.merge(&a);
        prop_assert_eq!(ab.to_bytes().len(), ba.to_bytes().len());
        let mut state = State::new();
        [&a, &b].into_iter().for_each(|minutes| state.restore(minutes, now));
        let (from, to) = (NOW - 1920 - 30, NOW + 30);
        let restored = by_key(all_series(&state, &SeriesFilter::default(), from, to));
        prop_assert_eq!(restored, recount(&spans, from, to));
        let range = (NOW - 1920) * NANOS..NOW * NANOS;
        let mut live = State::new();
        observe(&mut live, &spans);
        let filter = SeriesFilter::default();
        prop_assert_eq!(state.exemplars(&filter, &(0..u64::MAX)).len(), live.exemplars(&filter, &range).len());
    }

    #[test]
    fn bytes_that_are_no_minutes_are_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80), at: usize) {
        prop_assert_eq!(Minutes::from_bytes(&bytes), Err(MinutesError::Damaged));
        // With a checksum that holds, what is inside is still looked at.
        bytes.splice(0..0, *b"HMIN\x01");
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        let _ = Minutes::from_bytes(&bytes);
        let mut good = Minutes::of([&batch(&[Made::new(0, SpanKind::Server, 1, 0)])], NOW * NANOS).to_bytes();
        let at = at % good.len();
        good[at] ^= 0x10;
        prop_assert!(Minutes::from_bytes(&good).is_err());
    }
}

#[test]
fn exemplars_are_errors_before_others_then_the_newest() {
    let mut state = State::new();
    let server = |span, ago, error| Made { ago, error, ..Made::new(0, SpanKind::Server, span, 0) };
    let spans = [server(1, 9, false), server(2, 5, true), server(3, 7, true), server(4, 1, false)];
    observe(&mut state, &spans);
    let found = state.exemplars(&SeriesFilter::incoming("service0"), &(0..u64::MAX));
    let ids: Vec<u64> = found.iter().map(|exemplar| u64::from_be_bytes(exemplar.span_id.0)).collect();
    assert_eq!(ids, [2]);
    assert_eq!(found[0].trace_id.0, trace_id(1));
    assert!(state.exemplars(&SeriesFilter::incoming("service1"), &(0..u64::MAX)).is_empty());
}

#[test]
fn too_many_operations_share_a_series_that_says_so() {
    let mut state = State::new();
    let names = u64::from(SERIES_PER_SERVICE_MAX) + 5;
    let mut batch = Batch::new(Signal::Spans);
    for span in 1..=names {
        let message = Message::new()
            .bytes(1, trace_id(1))
            .bytes(2, span.to_be_bytes())
            .bytes(5, format!("/item/{span}"))
            .fixed64(7, NOW * NANOS);
        otlp::walk_traces(&traces("shop", [message]), &Limits::default(), &mut batch).expect("good");
    }
    state.observe(&batch, NOW * NANOS, |_, _, _| {});
    let series = all_series(&state, &SeriesFilter::default(), NOW - 60, NOW + 60);
    assert_eq!(series.len(), SERIES_PER_SERVICE_MAX as usize + 1);
    let other = series.iter().find(|series| series.operation.is_none()).expect("an other series");
    assert_eq!((other.name(), other.calls.calls()), (OTHER, 5.0));
    assert_eq!(state.counters.in_other, 5);
}

#[test]
fn series_without_calls_for_a_day_make_room() {
    let mut state = State::new();
    observe(&mut state, &[Made::new(0, SpanKind::Server, 1, 0)]);
    state.tick((NOW + 26 * 3600) as u32);
    assert_eq!(state.series.iter().count(), 0);
    observe(&mut state, &[Made { ago: 0, ..Made::new(1, SpanKind::Server, 2, 0) }]);
    assert_eq!(state.counters.too_old, 0, "now does not run backwards for the spans of this test");
}

#[test]
fn what_lies_beyond_the_day_or_in_the_future_is_told_and_learnt_by_name() {
    let mut state = State::new();
    let mut learnt = Vec::new();
    let mut old = Made { ago: 25 * 3600 * NANOS, ..Made::new(0, SpanKind::Server, 1, 0) };
    state.observe(&batch(&[old.clone()]), NOW * NANOS, |_, name, _| learnt.push(name.to_owned()));
    old.ago = 0;
    state.observe(&batch(&[old]), (NOW - 3600) * NANOS, |_, _, _| {});
    assert_eq!((state.counters.too_old, state.counters.too_new), (1, 1));
    assert_eq!(learnt, ["op0"]);
}

#[test]
fn a_caller_alone_is_an_edge_to_what_it_names_once_its_minute_is_over() {
    let mut state = State::new();
    let named = Made { peer: Some("postgresql"), error: true, ..Made::new(0, SpanKind::Client, 1, 0) };
    let unnamed = Made::new(0, SpanKind::Client, 2, 0);
    let callee = Made::new(1, SpanKind::Server, 3, 9);
    observe(&mut state, &[named, unnamed, callee]);
    assert_eq!(all_edges(&state), []);
    assert_eq!(state.counters.waiting, 3);
    state.tick(NOW as u32 + 61);
    let edges = all_edges(&state);
    assert_eq!(edges.len(), 1);
    assert_eq!((&*edges[0].callee, edges[0].link), ("postgresql", Link::Uninstrumented));
    assert_eq!((edges[0].caller_view.calls(), edges[0].caller_view.errors()), (1.0, 1.0));
    assert!(edges[0].callee_view.is_empty());
    assert_eq!((state.counters.callers_alone, state.counters.callees_alone), (1, 1));
}

#[test]
fn a_call_that_did_not_reach_a_service_counts_with_those_that_did() {
    let mut state = State::new();
    let spans = [
        Made { peer: Some("service1"), ..Made::new(0, SpanKind::Client, 1, 0) },
        Made::new(1, SpanKind::Server, 2, 1),
        Made { peer: Some("service1"), error: true, ..Made::new(0, SpanKind::Client, 3, 0) },
    ];
    observe(&mut state, &spans);
    state.tick(NOW as u32 + 61);
    let edges = all_edges(&state);
    assert_eq!(edges.len(), 1, "{edges:?}");
    assert_eq!((&*edges[0].callee, edges[0].link), ("service1", Link::Call));
    assert_eq!((edges[0].caller_view.calls(), edges[0].caller_view.errors()), (2.0, 1.0));
    assert_eq!(edges[0].callee_view.calls(), 1.0);
}

#[test]
fn a_caller_sent_again_with_its_callee_is_one_call() {
    let mut state = State::new();
    let caller = Made { peer: Some("service1"), ..Made::new(0, SpanKind::Client, 1, 0) };
    observe(&mut state, std::slice::from_ref(&caller));
    observe(&mut state, &[caller, Made::new(1, SpanKind::Server, 2, 1)]);
    state.tick(NOW as u32 + 61);
    let edges = all_edges(&state);
    assert_eq!(edges.len(), 1, "{edges:?}");
    assert_eq!((edges[0].caller_view.calls(), edges[0].callee_view.calls()), (1.0, 1.0));
    assert_eq!(state.counters.waiting, 0);
}

#[test]
fn edges_of_many_seconds_at_once_are_brought_to_rest_at_once() {
    let mut state = State::new();
    for second in 1..=10 {
        let pairs = (0..40u8).flat_map(|caller| (40..80u8).map(move |callee| (caller, callee)));
        let spans = pairs.enumerate().flat_map(|(n, (caller, callee))| {
            let (ago, id) = (second * NANOS, second * 10_000 + 2 * n as u64);
            let caller = Made { ago, ..Made::new(caller, SpanKind::Client, id, 0) };
            [caller, Made { ago, ..Made::new(callee, SpanKind::Server, id + 1, id) }]
        });
        observe(&mut state, &spans.collect::<Vec<_>>());
        assert!(!state.graph.is_crowded(), "{second} seconds of 1,600 edges");
    }
    assert!(all_edges(&state).iter().all(|edge| edge.callee_view.calls() == 10.0));
}

#[test]
fn a_message_may_be_handled_many_times() {
    let mut state = State::new();
    let spans = [
        Made::new(1, SpanKind::Consumer, 2, 1),
        Made::new(0, SpanKind::Producer, 1, 0),
        Made::new(2, SpanKind::Consumer, 3, 1),
    ];
    spans.iter().for_each(|span| observe(&mut state, std::slice::from_ref(span)));
    let edges: Vec<(String, Link)> = all_edges(&state).into_iter().map(|e| (e.callee, e.link)).collect();
    assert_eq!(edges, [("service1".to_owned(), Link::Message), ("service2".to_owned(), Link::Message)]);
}

#[test]
fn late_spans_are_counted_in_the_minute_they_started_in() {
    let mut state = State::new();
    for span in 1..=10 {
        observe(&mut state, &[Made { ago: 3600 * NANOS, ..Made::new(0, SpanKind::Server, span, 0) }]);
        // What is over is cooled between any two.
        state.tick((NOW + span) as u32);
    }
    let series = all_series(&state, &SeriesFilter::default(), NOW - 3660, NOW - 3540);
    assert_eq!(series[0].calls.calls(), 10.0);
}

#[test]
fn windows_are_answered_step_by_step() {
    let mut state = State::new();
    let spans: Vec<Made> = (1..=6)
        .map(|id| Made { ago: id * NANOS, error: id == 6, ..Made::new(0, SpanKind::Server, id, 0) })
        .collect();
    observe(&mut state, &spans);
    let window = Window::new((NOW - 6) * NANOS, NOW * NANOS, Duration::from_secs(2)).expect("a window");
    let points = read::red(&state.take_series(&SeriesFilter::incoming("service0"), window, NOW as u32));
    let told: Vec<(f64, f64)> = points.iter().map(|point| (point.rate(), point.calls.errors())).collect();
    assert_eq!(told, [(1.0, 1.0), (1.0, 0.0), (1.0, 0.0)]);
    let map = read::heat_map(&points, Duration::from_secs(2));
    assert_eq!((map.columns_unix_nano.len(), map.rows_nano.len()), (3, 1));
    assert_eq!((map.cells[0][0].calls, map.cells[0][0].errors), (2.0, 1.0));
    assert!(Window::new(0, u64::MAX, Duration::from_secs(1)).is_err());
    assert!(Window::new(5, 5, Duration::from_secs(1)).is_err());
}

#[test]
fn a_scrape_shows_calls_durations_and_edges_and_never_goes_back() {
    let mut state = State::new();
    let client = Made { duration: 3 << 20, ..Made::new(0, SpanKind::Client, 1, 0) };
    let server = Made { duration: 1 << 20, error: true, ..Made::new(1, SpanKind::Server, 2, 1) };
    observe(&mut state, &[client, server]);
    for after in [0, 3600] {
        state.tick((NOW + after) as u32);
        let text = prometheus::text(&state);
        for line in [
            "traces_span_metrics_calls_total{service=\"service1\",span_name=\"op0\",\
             span_kind=\"SPAN_KIND_SERVER\",status_code=\"STATUS_CODE_ERROR\"} 1",
            "traces_span_metrics_duration_seconds_bucket{service=\"service1\",span_name=\"op0\",\
             span_kind=\"SPAN_KIND_SERVER\",le=\"0.001048576\"} 1",
            "traces_service_graph_request_total{client=\"service0\",server=\"service1\",connection_type=\"\"} 1",
            "traces_service_graph_request_failed_total{client=\"service0\",server=\"service1\",connection_type=\"\"} 1",
            "traces_span_metrics_series_left_out 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
    }
}
