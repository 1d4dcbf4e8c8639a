//! What arrives at a receiver of what was said.

mod sink;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use homeostat_tracer::{
    BuildError, Builder, Context, InSpan, Kind, Sampler, SpanId, Status, TraceId, Tracer, Value, propagation,
    span, task,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use sink::{PATIENCE, Sink, builder, keeping_all, text, value};

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
fn settings_that_cannot_work_are_refused_with_what_to_do() {
    let refused = |builder: Builder| match builder.build() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was built"),
    };
    assert!(refused(Tracer::builder("")).contains("name"));
    assert!(refused(Tracer::builder("x").endpoint("ftp://h/v1/traces")).contains("transport"));
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
