//! What arrives at a receiver, and what the counters say of it.

mod sink;

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use homeostat_tracer::{
    BuildError, Builder, Context, Delivery, InSpan, Kind, Reason, Sampler, SpanId, Status, TraceId, Tracer,
    Transport, Value, propagation, span, task, task_of,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use sink::{PATIENCE, Sink, text, until, value};

fn keeping_all(sink: &Sink) -> Tracer {
    builder(sink).sampler(Sampler::Always).build().unwrap()
}

fn builder(sink: &Sink) -> Builder {
    Tracer::builder("shop").endpoint(sink.address())
}

#[derive(Debug)]
struct Outer(Inner);

#[derive(Debug)]
struct Inner;

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order was not placed")
    }
}

impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stock is empty")
    }
}

impl Error for Inner {}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn everything_said_of_a_span_arrives_as_otlp() {
    let sink = Sink::start();
    let tracer = builder(&sink)
        .sampler(Sampler::Always)
        .attribute("service.version", "1.2.3")
        .header("x-token", "secret")
        .build()
        .unwrap();
    let other = Context::remote(TraceId::new(7).unwrap(), SpanId::new(9).unwrap(), true);
    {
        let root = tracer.root("POST /order").kind(Kind::Server).enter();
        root.attribute("text", "värde");
        root.attribute("number", -5);
        root.attribute("share", 0.25);
        root.attribute("truth", false);
        root.attributes(&[("number", Value::I64(6)), ("more", Value::Static("at once"))]);
        root.attribute("last", "one");
        root.link(&other, &[("why", Value::Static("batch"))]);
        let child = span(format!("SELECT {}", "stock")).kind(Kind::Client);
        child.event("row", &[("count", Value::I64(3))]);
        child.event("done", &[]);
        child.record_error(&Outer(Inner));
        drop(child);
        root.status(Status::Ok);
        root.rename("POST /order/{id}");
    }
    tracer.flush(PATIENCE).unwrap();

    let (root, child) = (sink.span("POST /order/{id}"), sink.span("SELECT stock"));
    assert_eq!(text(&sink.resource(), "service.name"), "shop");
    assert_eq!(text(&sink.resource(), "service.version"), "1.2.3");
    assert!(sink.heads()[0].contains("x-token: secret"));
    assert!(sink.heads()[0].contains("content-type: application/x-protobuf"));
    assert_eq!((root.kind(), child.kind()), (SpanKind::Server, SpanKind::Client));
    assert_eq!(text(&root.attributes, "text"), "värde");
    assert_eq!(value(&root.attributes, "number"), Some(&Any::IntValue(6)));
    assert_eq!(value(&root.attributes, "share"), Some(&Any::DoubleValue(0.25)));
    assert_eq!(value(&root.attributes, "truth"), Some(&Any::BoolValue(false)));
    assert_eq!(
        (text(&root.attributes, "more"), text(&root.attributes, "last")),
        ("at once".into(), "one".into())
    );
    assert_eq!(root.links[0].span_id, 9_u64.to_be_bytes());
    assert_eq!(text(&root.links[0].attributes, "why"), "batch");
    assert_eq!(root.status.as_ref().unwrap().code(), StatusCode::Ok);
    assert_eq!((root.trace_id.clone(), root.parent_span_id.len()), (child.trace_id.clone(), 0));
    assert_eq!((child.parent_span_id, root.trace_state.as_str()), (root.span_id, "ot=th:0"));
    let names: Vec<_> = child.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["row", "done", "exception"]);
    assert_eq!(value(&child.events[0].attributes, "count"), Some(&Any::IntValue(3)));
    assert_eq!(text(&child.events[2].attributes, "exception.type"), "Outer");
    let message = "the order was not placed: the stock is empty";
    assert_eq!(text(&child.events[2].attributes, "exception.message"), message);
    let status = child.status.unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, message));
    assert!(root.start_time_unix_nano <= child.start_time_unix_nano);
    assert!(child.end_time_unix_nano <= root.end_time_unix_nano);
    for event in &child.events {
        assert!((child.start_time_unix_nano..=child.end_time_unix_nano).contains(&event.time_unix_nano));
    }
}

#[test]
fn a_context_goes_on_in_another_thread_and_another_process() {
    let sink = Sink::start();
    let (front, back) = (keeping_all(&sink), keeping_all(&sink));
    let mut message: Vec<(String, Vec<u8>)> = Vec::new();
    {
        let _root = front.root("front").enter();
        let work = task("worker");
        std::thread::spawn(move || {
            let _work = work.enter();
            drop(span("inside the worker"));
        })
        .join()
        .unwrap();
        let producer = span("send").kind(Kind::Producer);
        propagation::inject(&mut message);
        drop(producer);
    }
    let parent = propagation::extract(&message);
    drop(back.root("back").kind(Kind::Consumer).parent(parent).enter());
    front.flush(PATIENCE).unwrap();
    back.flush(PATIENCE).unwrap();

    let [front, worker, inside, send, back] =
        ["front", "worker", "inside the worker", "send", "back"].map(|name| sink.span(name));
    assert_eq!(worker.parent_span_id, front.span_id);
    assert_eq!(inside.parent_span_id, worker.span_id);
    assert_eq!(back.parent_span_id, send.span_id);
    assert!([&worker, &inside, &send, &back].iter().all(|span| span.trace_id == front.trace_id));
    assert_eq!((back.flags & 0x300, worker.flags & 0x300), (0x300, 0x100), "whether the parent is remote");
}

/// Pending once, so that the other future runs in between.
async fn turn() {
    let mut turned = false;
    std::future::poll_fn(|context| {
        if turned {
            return std::task::Poll::Ready(());
        }
        turned = true;
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[test]
fn tasks_that_take_turns_on_a_thread_do_not_mix() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    let work = |name: &'static str, inner: &'static str, tail: &'static str| {
        async move {
            turn().await;
            async {
                turn().await;
                drop(span(inner));
            }
            .in_span(task("step"))
            .await;
            turn().await;
            drop(span(tail));
        }
        .in_span(tracer.root(name).start())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::join!(work("a", "a inner", "a tail"), work("b", "b inner", "b tail")) });
    assert!(Context::current().is_none(), "nothing is left in scope");
    tracer.flush(PATIENCE).unwrap();
    for (root, inner, tail) in [("a", "a inner", "a tail"), ("b", "b inner", "b tail")] {
        let (root, inner, tail) = (sink.span(root), sink.span(inner), sink.span(tail));
        assert_eq!(tail.parent_span_id, root.span_id);
        let steps = sink.spans();
        let step = steps.iter().find(|span| span.span_id == inner.parent_span_id).unwrap();
        assert_eq!((step.name.as_str(), &step.parent_span_id), ("step", &root.span_id));
    }
}

#[test]
fn a_future_dropped_half_way_ends_its_span() {
    let sink = Sink::start();
    let tracer = keeping_all(&sink);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let endless = async {
            loop {
                turn().await;
            }
        };
        tokio::select! {
            biased;
            () = endless.in_span(tracer.root("cut off").start()) => {}
            () = async { turn().await; turn().await } => {}
        }
    });
    tracer.flush(PATIENCE).unwrap();
    assert!(sink.span("cut off").end_time_unix_nano > 0);
}

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
    {
        let root = tracer.root("root").enter();
        root.attribute("said", "at the beginning");
        let middle = span("middle");
        (0..10_000).for_each(|_| drop(span("leaf")));
        middle.attribute("said", "at the end");
        until("a part before the root has ended", || tracer.metrics().created > 4000);
    }
    tracer.shutdown(PATIENCE).unwrap();
    let metrics = tracer.metrics();
    assert_eq!((metrics.created, metrics.exported), (10_002, 10_002), "{metrics:?}");
    assert_eq!(sink.spans().len(), 10_002);
    let (root, middle) = (sink.span("root"), sink.span("middle"));
    assert_eq!(text(&root.attributes, "said"), "at the beginning");
    assert_eq!(text(&middle.attributes, "said"), "at the end");
    let leaves = sink.spans();
    let leaves = leaves.iter().filter(|span| span.name == "leaf");
    assert!(leaves.clone().all(|leaf| leaf.parent_span_id == middle.span_id && leaf.end_time_unix_nano > 0));
    assert_eq!(leaves.count(), 10_000);
}

#[test]
fn a_receiver_that_asks_to_wait_is_obeyed_and_one_that_refuses_is_not_asked_again() {
    let sink = Sink::start();
    sink.answer([(503, "retry-after: 1\r\n", Vec::new()), (429, "", Vec::new())]);
    let tracer = keeping_all(&sink);
    drop(tracer.root("patient").enter());
    tracer.flush(PATIENCE).unwrap();
    assert_eq!(tracer.metrics().exported, 1);
    let arrivals = sink.arrivals();
    assert_eq!(arrivals.len(), 3);
    assert!(arrivals[1] - arrivals[0] >= Duration::from_secs(1));

    // A partial success that refuses one span, and a bad request.
    sink.answer([(200, "", vec![0x0a, 0x02, 0x08, 0x01]), (400, "", b"no".to_vec())]);
    drop(tracer.root("refused by a partial success").enter());
    tracer.flush(PATIENCE).unwrap();
    drop(tracer.root("refused").enter());
    tracer.flush(PATIENCE).unwrap();
    let metrics = tracer.metrics();
    assert_eq!((metrics.exported, metrics.failed), (1, 2), "{metrics:?}");
    assert_eq!(metrics.last_failure.as_deref(), Some("the receiver answered 400: no"));
    assert_eq!(sink.arrivals().len(), 5);
}

#[test]
fn errors_and_slow_roots_are_kept_and_the_rest_is_thinned() {
    let sink = Sink::start();
    let lean = homeostat_tracer::Adaptive { rate_min: 0.0, rate_max: 0.0, ..Default::default() };
    let tracer = builder(&sink).sampler(Sampler::Adaptive(lean)).build().unwrap();
    // The first second's rate is 100 %; the control loop then takes it down to what is allowed: nothing.
    until("the rate", || {
        (0..50).for_each(|_| drop(tracer.root("request").enter()));
        tracer.metrics().dropped_for(Reason::Unsampled) > 0
    });
    tracer.flush(PATIENCE).unwrap();
    let before = tracer.metrics().exported;
    for number in 0..200 {
        let root = tracer.root("request").enter();
        if number % 10 == 0 {
            span("deep inside").status(Status::Error("broken"));
        }
        if number % 20 == 1 {
            let work = task("elsewhere");
            std::thread::spawn(move || {
                let failing = span("out of scope: nothing");
                drop(failing);
                work.enter().status(Status::Error("broken elsewhere"));
            })
            .join()
            .unwrap();
        }
        root.attribute("number", number);
    }
    // Slow: far above the 99th percentile of the thousands of empty roots before.
    let slow = tracer.root("request").enter();
    slow.attribute("slow", true);
    std::thread::sleep(Duration::from_millis(100));
    drop(slow);
    tracer.flush(PATIENCE).unwrap();
    let kept = sink.spans();
    let broken =
        kept.iter().filter(|span| span.status.as_ref().is_some_and(|status| status.message == "broken"));
    assert_eq!(broken.clone().count(), 20);
    assert!(broken.clone().all(|span| span.trace_state == "ot=th:0"), "each stands for itself");
    assert!(broken.clone().all(|span| kept.iter().any(|root| root.span_id == span.parent_span_id)));
    assert_eq!(kept.iter().filter(|span| span.name == "elsewhere").count(), 10);
    assert_eq!(kept.iter().filter(|span| value(&span.attributes, "slow").is_some()).count(), 1);
    let metrics = tracer.metrics();
    assert!(metrics.exported - before < 200, "the rest was dropped: {metrics:?}");
    assert_eq!(metrics.created, metrics.settled(), "{metrics:?}");
}

#[test]
fn a_part_that_ends_after_its_root_follows_the_decision() {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::adaptive()).build().unwrap();
    let root = tracer.root("root").enter();
    let context = root.context().unwrap();
    let late = task("late");
    drop(root);
    let later = task_of(context, "begun late");
    drop((late, later));
    tracer.flush(PATIENCE).unwrap();
    let root = sink.span("root").span_id;
    assert_eq!(sink.span("late").parent_span_id, root);
    assert_eq!(sink.span("begun late").parent_span_id, root);
}

#[test]
fn what_a_parent_dropped_is_not_recorded_and_goes_on_as_dropped() {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::adaptive()).build().unwrap();
    let headers = vec![
        ("traceparent".to_owned(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".to_owned()),
        ("tracestate".to_owned(), "vendor=kept".to_owned()),
    ];
    let mut out: Vec<(String, String)> = Vec::new();
    {
        let root = tracer.root("root").parent(propagation::extract(&headers)).enter();
        root.attribute("nobody", "reads this");
        let child = span("child");
        assert!(!root.is_recorded() && !child.is_recorded());
        propagation::inject(&mut out);
    }
    tracer.flush(PATIENCE).unwrap();
    assert_eq!((tracer.metrics().created, sink.spans().len()), (0, 0));
    assert!(out[0].1.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && out[0].1.ends_with("-00"));
    assert!(!out[0].1.contains("b7ad6b7169203331"));
    assert_eq!(out[1].1, "vendor=kept");
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
fn settings_that_cannot_work_are_refused_with_what_to_do() {
    let refused = |builder: Builder| match builder.build() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was built"),
    };
    assert!(refused(Tracer::builder("")).contains("name"));
    assert!(refused(Tracer::builder("x").endpoint("https://h/v1/traces")).contains("transport"));
    assert!(refused(Tracer::builder("x").endpoint("nonsense")).contains("http://HOST:PORT"));
    assert!(refused(Tracer::builder("x").sampler(Sampler::Ratio(1.5))).contains("0 to 1"));
    assert!(matches!(
        Tracer::builder("x").threads(0).build(),
        Err(BuildError::Range { name: "threads", .. })
    ));
}

#[cfg(feature = "gzip")]
#[test]
fn requests_can_be_packed() {
    let sink = Sink::start();
    let tracer = builder(&sink)
        .sampler(Sampler::Always)
        .compression(homeostat_tracer::Compression::Gzip)
        .build()
        .unwrap();
    drop(tracer.root("packed").enter());
    tracer.flush(PATIENCE).unwrap();
    assert_eq!(sink.span("packed").name, "packed");
    assert!(sink.heads()[0].contains("content-encoding: gzip"));
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
