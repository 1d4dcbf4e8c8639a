//! What is discarded is forgotten, whoever ends last; guards that go out of order touch no other trace.

mod sink;

use homeostat_tracer::{Context, Entered, Reason, Sampler, Status, Tracer, root, span, task, task_of};
use sink::{PATIENCE, Sink, builder};

/// Every span that arrives, by name.
fn names(sink: &Sink, tracer: &Tracer) -> Vec<String> {
    tracer.flush(PATIENCE).unwrap();
    let mut names: Vec<String> = sink.spans().into_iter().map(|span| span.name).collect();
    names.sort_unstable();
    let metrics = tracer.metrics();
    assert_eq!(metrics.created, metrics.settled(), "{metrics:?}");
    names
}

/// A sampler that keeps everything at once, and one that decides when the root ends.
fn samplers() -> [Sampler; 3] {
    let lean = homeostat_tracer::Adaptive { rate_min: 0.0, rate_max: 0.0, ..Default::default() };
    [Sampler::Always, Sampler::Ratio(1.0), Sampler::Adaptive(lean)]
}

#[test]
fn what_is_discarded_is_forgotten_with_its_errors() {
    for sampler in samplers() {
        let sink = Sink::start();
        let tracer = builder(&sink).sampler(sampler.clone()).build().unwrap();
        let idle = tracer.root("idle").enter();
        span("inside").status(Status::Error("broken"));
        idle.status(Status::Error("broken too"));
        idle.discard();
        assert!(Context::current().is_none());
        drop(tracer.root("next").enter());
        assert_eq!(names(&sink, &tracer), ["next"], "{sampler:?}");
        assert_eq!(tracer.metrics().dropped_for(Reason::Unsampled), 2, "{sampler:?}");
    }
}

#[test]
fn branches_that_end_after_the_discard_are_forgotten_too() {
    for sampler in samplers() {
        let sink = Sink::start();
        let tracer = builder(&sink).sampler(sampler.clone()).build().unwrap();
        let idle = tracer.root("idle").enter();
        let (context, late, long) = (idle.context().unwrap(), task("late"), task("long"));
        idle.discard();
        std::thread::spawn(move || {
            let long = long.enter();
            long.status(Status::Error("broken"));
            (0..10_000).for_each(|_| span("leaf").status(Status::Error("broken")));
            drop(long);
            late.enter().status(Status::Error("broken"));
            task_of(context, "begun late").enter().status(Status::Error("broken"));
        })
        .join()
        .unwrap();
        assert_eq!(names(&sink, &tracer), Vec::<String>::new(), "{sampler:?}");
        assert_eq!(tracer.metrics().dropped_for(Reason::Unsampled), 10_004, "{sampler:?}");
    }
}

#[test]
fn a_branch_that_ended_before_the_discard_is_gone_only_where_its_trace_was_sure_to_be_kept() {
    for (sampler, kept) in samplers().into_iter().zip([&["early"][..], &["early"], &[]]) {
        let sink = Sink::start();
        let tracer = builder(&sink).sampler(sampler.clone()).build().unwrap();
        let idle = tracer.root("idle").enter();
        task("early").status(Status::Error("broken"));
        idle.discard();
        assert_eq!(names(&sink, &tracer), kept, "{sampler:?}");
    }
}

#[test]
fn a_branch_that_is_discarded_ends_as_always() {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::Always).build().unwrap();
    let root = tracer.root("root").enter();
    let branch = task("branch");
    std::thread::spawn(move || branch.enter().discard()).join().unwrap();
    drop(root);
    assert_eq!(names(&sink, &tracer), ["branch", "root"]);
}

/// Two traces of which the first is in scope below the second; its guard goes first, as `go` has it.
fn first_goes_first(go: impl FnOnce(Entered)) -> Vec<String> {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::Always).build().unwrap();
    let first = tracer.root("first").enter();
    let second = tracer.root("second").enter();
    go(first);
    let inside = span("inside");
    assert_eq!(inside.context().unwrap().trace_id(), second.context().unwrap().trace_id());
    drop(inside);
    drop(second);
    assert!(Context::current().is_none(), "something is left in scope");
    let names = names(&sink, &tracer);
    assert_eq!(sink.span("inside").parent_span_id, sink.span("second").span_id);
    names
}

#[test]
fn a_guard_that_goes_too_early_touches_no_other_trace() {
    assert_eq!(first_goes_first(drop), ["first", "inside", "second"]);
    assert_eq!(first_goes_first(Entered::discard), ["inside", "second"]);
    let taken_out = |first: Entered| {
        let mut nothing = first.exit();
        assert!(!nothing.is_recorded());
        nothing.attribute("nobody", "reads this");
    };
    assert_eq!(first_goes_first(taken_out), ["first", "inside", "second"]);
}

#[test]
fn guards_that_all_go_the_wrong_way_round_end_all_their_spans() {
    let sink = Sink::start();
    let tracer = builder(&sink).sampler(Sampler::Always).build().unwrap();
    let around = tracer.root("around").enter();
    let all: Vec<Entered> = (0..5).map(|_| tracer.root("one").enter()).collect();
    // One that records nothing is in scope too.
    let unrecorded = root("of no tracer").enter();
    for (number, guard) in all.into_iter().enumerate() {
        if number == 3 { guard.discard() } else { drop(guard) }
    }
    assert!(Context::current().is_none());
    drop(unrecorded);
    drop(span("inside"));
    assert_eq!(Context::current().map(|at| at.span_id()), around.context().map(|at| at.span_id()));
    drop(around);
    assert_eq!(names(&sink, &tracer), ["around", "inside", "one", "one", "one", "one"]);
}
