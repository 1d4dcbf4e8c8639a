//! Traces read from what came: order, summary, critical path, whatever the spans look like.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixture::{number, span};

use super::*;
use crate::model::{Resource, SpanKind, StatusCode};

fn assemble(spans: Vec<Span>) -> Trace {
    Trace::assemble(spans).expect("there are spans")
}

/// Depth and number of each row.
fn shape(trace: &Trace) -> Vec<(usize, u64)> {
    trace.rows().iter().zip(trace.spans()).map(|(row, span)| (row.depth, number(span))).collect()
}

fn path(trace: &Trace) -> Vec<(u64, u64, u64)> {
    let named = |section: Section| {
        (number(&trace.spans()[section.row]), section.start_unix_nano, section.end_unix_nano)
    };
    trace.critical_path().into_iter().map(named).collect()
}

#[test]
fn rows_follow_the_tree_whatever_order_the_spans_come_in() {
    let trace =
        assemble(vec![span(4, 2, 30, 40), span(3, 1, 50, 90), span(2, 1, 10, 45), span(1, 0, 0, 100)]);
    assert_eq!(shape(&trace), [(0, 1), (1, 2), (2, 4), (1, 3)]);
    assert_eq!(trace.children(0).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(trace.subtree(1), 1..3);
    assert_eq!((trace.start_unix_nano(), trace.duration_nano()), (0, 100));
}

#[test]
fn self_time_is_what_no_child_covers() {
    let children = vec![span(1, 0, 0, 100), span(2, 1, 10, 40), span(3, 1, 30, 60), span(4, 1, 90, 500)];
    let trace = assemble(children);
    assert_eq!(trace.rows()[0].self_nano, 10 + 30);
    assert_eq!(trace.rows()[1].self_nano, 30);
}

#[test]
fn spans_without_their_parent_are_roots_and_say_so() {
    let trace = assemble(vec![span(2, 9, 0, 10), span(1, 0, 5, 50), span(3, 1, 6, 9)]);
    assert_eq!(shape(&trace), [(0, 2), (0, 1), (1, 3)]);
    assert_eq!(trace.rows()[0].oddity, Some(Oddity::MissingParent));
    assert_eq!(trace.main_root(), 1, "a true root begins the trace, even if it starts later");
    let summary = trace.summary();
    assert_eq!((summary.root, summary.missing_parents), (Root::Present, 1));
}

#[test]
fn circles_are_cut_at_their_earliest_span() {
    // 5 hangs below the circle 2 → 3 → 4 → 2 and starts before all of it.
    let trace = assemble(vec![span(2, 4, 20, 30), span(3, 2, 10, 30), span(4, 3, 15, 30), span(5, 3, 0, 5)]);
    assert_eq!(shape(&trace), [(0, 3), (1, 5), (1, 4), (2, 2)]);
    assert_eq!(trace.rows()[0].oddity, Some(Oddity::Circle));
    let own_parent = assemble(vec![span(1, 1, 0, 10), span(2, 1, 1, 2)]);
    assert_eq!(shape(&own_parent), [(0, 1), (1, 2)]);
}

#[test]
fn the_two_sides_of_a_call_with_one_id_are_parent_and_child() {
    for (client_start, server_start) in [(10, 12), (12, 10)] {
        let client = Span { kind: SpanKind::Client, ..span(2, 1, client_start, 40) };
        let server = Span { kind: SpanKind::Server, ..span(2, 1, server_start, 38) };
        let trace = assemble(vec![span(1, 0, 0, 50), client, server, span(3, 2, 20, 30)]);
        let kinds: Vec<SpanKind> = trace.spans().iter().map(|span| span.kind).collect();
        assert_eq!(kinds, [SpanKind::Internal, SpanKind::Client, SpanKind::Server, SpanKind::Internal]);
        assert_eq!(shape(&trace), [(0, 1), (1, 2), (2, 2), (3, 3)]);
    }
    let twice = assemble(vec![span(1, 0, 0, 50), span(2, 1, 1, 2), span(2, 1, 3, 4), span(3, 2, 5, 6)]);
    assert_eq!(shape(&twice), [(0, 1), (1, 2), (2, 3), (1, 2)]);
    assert_eq!(twice.rows()[3].oddity, Some(Oddity::SharedId));
}

#[test]
fn a_child_outside_its_parent_keeps_its_times_and_is_marked() {
    let trace = assemble(vec![span(1, 0, 100, 200), span(2, 1, 40, 80), span(3, 1, 150, 160)]);
    assert_eq!(trace.rows()[1].oddity, Some(Oddity::OutsideParent));
    assert_eq!(trace.spans()[1].start_unix_nano, 40);
    assert_eq!(trace.rows()[2].oddity, None);
    assert_eq!((trace.start_unix_nano(), trace.main_root()), (40, 0));
    assert_eq!(path(&trace), [(1, 100, 150), (3, 150, 160), (1, 160, 200)]);
}

#[test]
fn the_critical_path_goes_through_the_child_that_finished_last() {
    // |----------1----------|
    //   |--2--|  |----3---|
    //            |-4-|
    let trace = assemble(vec![
        span(1, 0, 0, 100),
        span(2, 1, 10, 40),
        span(3, 1, 50, 90),
        span(4, 1, 50, 70),
        span(5, 3, 60, 80),
    ]);
    let expected =
        [(1, 0, 10), (2, 10, 40), (1, 40, 50), (3, 50, 60), (5, 60, 80), (3, 80, 90), (1, 90, 100)];
    assert_eq!(path(&trace), expected);
}

#[test]
fn children_that_follow_each_other_at_once_are_both_on_the_path() {
    let trace =
        assemble(vec![span(1, 0, 0, 100), span(2, 1, 0, 50), span(3, 1, 50, 100), span(4, 1, 50, 50)]);
    assert_eq!(path(&trace), [(2, 0, 50), (3, 50, 100)]);
}

#[test]
fn children_that_outlive_their_parent_count_until_its_end() {
    let trace =
        assemble(vec![span(1, 0, 0, 100), span(2, 1, 50, 300), span(3, 2, 150, 200), span(4, 2, 60, 120)]);
    assert_eq!(path(&trace), [(1, 0, 50), (2, 50, 60), (4, 60, 100)]);
    let never_waited_for = assemble(vec![span(1, 0, 0, 100), span(2, 1, 100, 300)]);
    assert_eq!(path(&never_waited_for), [(1, 0, 100)]);
}

#[test]
fn a_summary_counts_spans_and_errors_by_service() {
    let cart = Arc::new(Resource { service: "cart".to_owned(), attributes: Vec::new() });
    let failed = Span { status: StatusCode::Error, resource: cart, ..span(2, 1, 10, 120) };
    let summary = TraceSummary::of(&[failed, span(1, 0, 5, 100)]).expect("spans");
    assert_eq!((summary.root_service.as_str(), summary.root_operation.as_str()), ("shop", "step 1"));
    assert_eq!((summary.start_unix_nano, summary.duration_nano, summary.end_unix_nano()), (5, 115, 120));
    assert_eq!((summary.spans, summary.errors), (2, 1));
    let share = |service: &str, spans, errors| ServiceShare { service: service.to_owned(), spans, errors };
    assert_eq!(summary.services, [share("cart", 1, 1), share("shop", 1, 0)]);
    assert_eq!(TraceSummary::of(&[]), None);
}

#[test]
fn a_trace_as_deep_as_it_is_long_is_answered() {
    let spans = (1..=50_000).map(|id| span(id, id - 1, id, 200_000 - id)).collect();
    let trace = assemble(spans);
    assert_eq!(trace.rows()[49_999].depth, 49_999);
    assert_eq!(trace.critical_path().len(), 99_999);
}

proptest! {
    /// Whatever ids, parents and times are sent: each span has one row, parents come first, and subtrees are whole.
    #[test]
    fn every_span_has_its_place(spans in any_spans()) {
        let count = spans.len();
        let summary = TraceSummary::of(&spans);
        let trace = assemble(spans);
        prop_assert_eq!(trace.spans().len(), count);
        for (row, place) in trace.rows().iter().enumerate() {
            match place.parent {
                Some(parent) => {
                    prop_assert!(parent < row && trace.subtree(parent).contains(&row));
                    prop_assert_eq!(place.depth, trace.rows()[parent].depth + 1);
                }
                None => prop_assert_eq!(place.depth, 0),
            }
            prop_assert!(place.self_nano <= trace.spans()[row].duration_nano);
            prop_assert_eq!(trace.children(row).map(|child| trace.rows()[child].subtree).sum::<usize>() + 1, place.subtree);
        }
        prop_assert_eq!(trace.roots().map(|root| trace.rows()[root].subtree).sum::<usize>(), count);
        let own = trace.summary();
        let summary = summary.expect("there are spans");
        prop_assert_eq!((own.spans, own.errors, own.services), (summary.spans, summary.errors, summary.services));
    }

    /// The critical path covers the main root's time from end to end, each instant once.
    #[test]
    fn the_critical_path_is_as_long_as_its_root(spans in any_spans()) {
        let trace = assemble(spans);
        let root = &trace.spans()[trace.main_root()];
        let mut at = root.start_unix_nano;
        for section in trace.critical_path() {
            prop_assert_eq!(section.start_unix_nano, at);
            prop_assert!(section.end_unix_nano > at);
            let span = &trace.spans()[section.row];
            prop_assert!(span.start_unix_nano <= at && section.end_unix_nano <= span.end_unix_nano());
            at = section.end_unix_nano;
        }
        prop_assert_eq!(at, root.end_unix_nano());
    }
}

fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    let time = prop_oneof![0u64..50, Just(u64::MAX), Just(u64::MAX - 1)];
    let one =
        (1u64..16, 0u64..20, time.clone(), time, 0u8..3).prop_map(|(id, parent, start, end, kind)| Span {
            kind: [SpanKind::Internal, SpanKind::Client, SpanKind::Server][usize::from(kind)],
            ..span(id, parent, start, end)
        });
    vec(one, 1..24)
}
