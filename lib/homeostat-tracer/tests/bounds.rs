//! Bounds are kept, and every span is counted once, whatever happens to it.

mod sink;

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use homeostat_tracer::{
    Context, Delivery, Reason, Sampler, SpanId, Status, TraceId, Tracer, Transport, Value, span,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use sink::{PATIENCE, Sink, builder, keeping_all, text, until, value};

/// A receiver that takes nothing until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Option<Delivery>>, Condvar)>);

impl Gate {
    fn open(&self, answer: Delivery) {
        *self.0.0.lock().unwrap() = Some(answer);
        self.0.1.notify_all();
    }
}

impl Transport for Gate {
    fn send(&self, _request: &[u8]) -> Delivery {
        let closed = self.0.0.lock().unwrap();
        self.0.1.wait_while(closed, |answer| answer.is_none()).unwrap().clone().unwrap()
    }
}

#[test]
fn under_overload_it_drops_by_its_bound_and_every_span_is_counted_once() {
    let gate = Gate::default();
    let bound = 1024 * 1024;
    let tracer = Tracer::builder("busy")
        .sampler(Sampler::Always)
        .transport(gate.clone())
        .queue_bytes(bound)
        .build()
        .unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let tracer = tracer.clone();
            std::thread::spawn(move || {
                for _ in 0..20_000 {
                    let root = tracer.root("root").enter();
                    root.attribute("some", "text");
                    drop((span("one"), span("two")));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let metrics = tracer.metrics();
    assert_eq!(metrics.created, 4 * 20_000 * 3);
    assert!(metrics.dropped_for(Reason::QueueFull) > 0, "{metrics:?}");
    assert!(metrics.queued_bytes <= bound, "{metrics:?}");
    gate.open(Delivery::Accepted { rejected: 1 });
    tracer.shutdown(PATIENCE).unwrap();
    let metrics = tracer.metrics();
    assert!(metrics.exported > 0 && metrics.failed > 0, "{metrics:?}");
    assert_eq!(metrics.created, metrics.settled(), "{metrics:?}");
    assert_eq!((metrics.queued_bytes, metrics.dropped_for(Reason::Closed)), (0, 0));
}

#[test]
fn a_deadline_that_passes_leaves_nothing_uncounted() {
    let gate = Gate::default();
    let tracer = Tracer::builder("stuck").sampler(Sampler::Always).transport(gate.clone()).build().unwrap();
    (0..1000).for_each(|_| drop(tracer.root("root").enter()));
    assert!(tracer.shutdown(Duration::from_millis(50)).is_err());
    drop(tracer.root("too late").enter());
    gate.open(Delivery::Retry { after: None, reason: "busy".to_owned() });
    until("the end", || tracer.metrics().created == tracer.metrics().settled());
    let metrics = tracer.metrics();
    assert_eq!((metrics.created, metrics.exported), (1000, 0), "{metrics:?}");
}

#[test]
fn shutdown_sends_what_waits_and_a_long_trace_arrives_whole() {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::Always).interval(Duration::from_secs(60)).build().unwrap();
    let other = Context::remote(TraceId::new(7).unwrap(), SpanId::new(9).unwrap(), true);
    {
        let root = tracer.root("root").enter();
        root.attribute("said", "at the beginning");
        let early = span(format!("ends {}", "early"));
        let middle = span("middle");
        middle.attribute("by address", Value::Static("kept"));
        middle.event("moved", &[("count", Value::I64(3))]);
        middle.link(&other, &[("why", Value::Static("batch"))]);
        middle.status(Status::Error("broken"));
        early.attribute("said", "before what is inside it has ended");
        drop(early);
        (0..10_000).for_each(|_| drop(span("leaf")));
        middle.attribute("said", "at the end");
        until("a part before the root has ended", || tracer.metrics().created > 4000);
    }
    tracer.shutdown(PATIENCE).unwrap();
    let metrics = tracer.metrics();
    assert_eq!((metrics.created, metrics.exported), (10_003, 10_003), "{metrics:?}");
    assert_eq!(sink.spans().len(), 10_003);
    let (root, early, middle) = (sink.span("root"), sink.span("ends early"), sink.span("middle"));
    assert_eq!((&early.parent_span_id, &middle.parent_span_id), (&root.span_id, &early.span_id));
    assert_eq!(text(&early.attributes, "said"), "before what is inside it has ended");
    assert!(early.end_time_unix_nano < middle.end_time_unix_nano);
    assert_eq!(text(&middle.attributes, "by address"), "kept");
    assert_eq!(middle.events[0].name, "moved");
    assert_eq!(value(&middle.events[0].attributes, "count"), Some(&Any::IntValue(3)));
    assert_eq!(middle.links[0].span_id, 9_u64.to_be_bytes());
    assert_eq!(text(&middle.links[0].attributes, "why"), "batch");
    let status = middle.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "broken"));
    assert_eq!(text(&root.attributes, "said"), "at the beginning");
    assert_eq!(text(&middle.attributes, "said"), "at the end");
    let leaves = sink.spans();
    let leaves = leaves.iter().filter(|span| span.name == "leaf");
    assert!(leaves.clone().all(|leaf| leaf.parent_span_id == middle.span_id && leaf.end_time_unix_nano > 0));
    assert_eq!(leaves.count(), 10_000);
}

#[test]
fn guards_that_outlive_their_trace_or_end_out_of_order_do_no_harm() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    let root = tracer.root("root").enter();
    let (first, second) = (span("first"), span("second"));
    drop(first);
    let third = span("third");
    drop(root);
    second.attribute("too", "late");
    let other = tracer.root("other").enter();
    drop((second, third));
    drop(span("inside"));
    drop(other);
    tracer.flush(PATIENCE).unwrap();
    assert_eq!(sink.span("third").parent_span_id, sink.span("second").span_id);
    assert_eq!(sink.span("inside").parent_span_id, sink.span("other").span_id);
    let unfinished = value(&sink.span("third").attributes, "homeostat.unfinished").cloned();
    assert_eq!(unfinished, Some(Any::BoolValue(true)));
    assert_eq!(value(&sink.span("second").attributes, "too"), None);
}

#[test]
fn limits_are_kept_and_what_is_dropped_is_said() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    {
        let root = tracer.root("root").enter();
        (0..140).for_each(|number| root.attribute("key", number));
        root.attributes(&[("one more", Value::Bool(true))]);
        (0..130).for_each(|_| root.event("event", &[]));
        let long = span("long");
        long.attribute("text", "é".repeat(10_000).as_str());
        drop(long);
        let open: Vec<_> = (0..5000).map(|_| span("open")).collect();
        drop(open);
    }
    tracer.flush(PATIENCE).unwrap();
    let root = sink.span("root");
    assert_eq!(root.dropped_attributes_count, 13);
    assert_eq!((root.events.len(), root.dropped_events_count), (128, 2));
    assert_eq!(text(&sink.span("long").attributes, "text").len(), homeostat_tracer::TEXT_BYTES_MAX);
    let metrics = tracer.metrics();
    assert_eq!(metrics.dropped_for(Reason::OpenSpans), 5002 - 1 - 1 - 4095);
    assert_eq!((metrics.created, metrics.settled()), (5002, 5002));
}

#[test]
fn metrics_have_the_names_dashboards_use() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    (0..1000).for_each(|_| drop(tracer.root("root").enter()));
    tracer.flush(PATIENCE).unwrap();
    let text = tracer.metrics().prometheus();
    for line in [
        "tracing_spans_created_total 1000",
        "tracing_spans_exported_total 1000",
        "tracing_spans_dropped_total{reason=\"queue_full\"} 0",
        "tracing_spans_dropped_total{reason=\"failed\"} 0",
        "tracing_sampling_rate 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let overhead = tracer.metrics().overhead;
    assert!((Duration::from_micros(5)..Duration::from_secs(2)).contains(&overhead), "{overhead:?}");
}

#[test]
fn a_long_trace_that_outlives_its_tracer_is_counted_and_does_not_grow() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    let root = tracer.root("root").start();
    let shut = tracer.clone();
    std::thread::spawn(move || shut.shutdown(PATIENCE)).join().unwrap().unwrap();
    // A thread that has never met the tracer.
    std::thread::spawn(move || {
        let _root = root.enter();
        (0..20_000).for_each(|_| drop(span("leaf")));
    })
    .join()
    .unwrap();
    let metrics = tracer.metrics();
    assert_eq!((metrics.created, metrics.dropped_for(Reason::Closed)), (20_001, 20_001), "{metrics:?}");
}
