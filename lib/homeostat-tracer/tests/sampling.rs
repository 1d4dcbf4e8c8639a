//! Which local traces arrive, and which do not.

mod sink;

use std::time::{Duration, Instant};

use homeostat_tracer::{Reason, Sampler, Status, propagation, span, task, task_of};
use sink::{PATIENCE, Sink, builder, until, value};

#[test]
fn errors_and_slow_roots_are_kept_and_the_rest_is_thinned() {
    let sink = Sink::start();
    let lean = homeostat_tracer::Adaptive { rate_min: 0.0, rate_max: 0.0, ..Default::default() };
    let tracer = builder(&sink).sampler(Sampler::Adaptive(lean)).build().unwrap();
    // The first second's rate is 100 %; the control loop then takes it down to what is allowed: nothing. One root of
    // twenty takes a millisecond, so that is the 99th percentile at least, and the short ones that follow are not
    // slow, however long this machine takes for an attribute.
    until("the rate", || {
        for number in 0..40 {
            let root = tracer.root("request").enter();
            if number % 20 == 0 {
                spin(Duration::from_millis(1));
            }
            drop(root);
        }
        tracer.metrics().dropped_for(Reason::Unsampled) > 0
    });
    tracer.flush(PATIENCE).unwrap();
    let before = tracer.metrics();
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
    // Slow is what takes longer than the 99th percentile of the thousands of roots before. How long that was the
    // machine decides: each root takes twice as long as the one before, until one is found slow.
    let mut length = Duration::from_millis(1);
    until("a root that is slow enough", || {
        let slow = tracer.root("request").enter();
        slow.attribute("slow", true);
        spin(length);
        drop(slow);
        length *= 2;
        tracer.flush(PATIENCE).unwrap();
        sink.spans().iter().any(|span| value(&span.attributes, "slow").is_some())
    });
    let kept = sink.spans();
    let broken =
        kept.iter().filter(|span| span.status.as_ref().is_some_and(|status| status.message == "broken"));
    assert_eq!(broken.clone().count(), 20);
    assert!(broken.clone().all(|span| span.trace_state == "ot=th:0"), "each stands for itself");
    assert!(broken.clone().all(|span| kept.iter().any(|root| root.span_id == span.parent_span_id)));
    assert_eq!(kept.iter().filter(|span| span.name == "elsewhere").count(), 10);
    assert_eq!(kept.iter().filter(|span| value(&span.attributes, "slow").is_some()).count(), 1);
    let metrics = tracer.metrics();
    let dropped = metrics.dropped_for(Reason::Unsampled) - before.dropped_for(Reason::Unsampled);
    assert!(dropped >= 150, "of the 170 others some were slow by chance, the rest is dropped: {metrics:?}");
    assert_eq!(metrics.created, metrics.settled(), "{metrics:?}");
}

fn spin(length: Duration) {
    let began = Instant::now();
    while began.elapsed() < length {
        std::thread::yield_now();
    }
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
