//! What limits do to the texts of spans and records that are no attributes.

use super::{Limits, Walked, walk_logs, walk_traces};
use crate::batch::Batch;
use crate::column::Strings;
use crate::fixture::{Message, log_record, logs, span, traces};
use crate::model::{Signal, Value};

/// Ten bytes of a text are kept.
const LIMITS: Limits = Limits { attributes: 256, value_bytes: 10, events: 1024, links: 1024 };

/// A character of two bytes stands over the limit's edge.
const LONG: &str = "123456789é, and more";
const CUT: &str = "123456789";

fn walked(signal: Signal, request: &[u8], limits: &Limits) -> (Batch, Walked) {
    let mut batch = Batch::new(signal);
    let walk = match signal {
        Signal::Spans => walk_traces,
        Signal::Logs => walk_logs,
    };
    let walked = walk(request, limits, &mut batch).expect("a request of ours");
    (batch, walked)
}

fn first(column: &Strings) -> &str {
    column.text(column.code(0))
}

#[test]
fn every_text_of_a_span_is_cut_at_the_limit_and_counted() {
    let event = Message::new().bytes(2, LONG);
    let status = Message::new().bytes(2, LONG).varint(3, 2);
    let span = Message::new()
        .bytes(1, [1; 16])
        .bytes(2, [2; 8])
        .bytes(5, LONG)
        .message(11, event)
        .message(15, status);
    let (batch, walked) = walked(Signal::Spans, &traces("cart", [span]), &LIMITS);
    assert_eq!([&batch.name, &batch.message, &batch.events.name].map(first), [CUT; 3]);
    assert_eq!((walked.accepted, walked.left.values_cut), (1, 3));
}

#[test]
fn a_tracestate_is_kept_whole_or_not_at_all() {
    let state = |bytes: usize| format!("vendor={}", "v".repeat(bytes - 7));
    let with = |state: &str| {
        let link = Message::new().bytes(1, [1; 16]).bytes(2, [2; 8]).bytes(3, state);
        traces("cart", [span(1, 1, 1).bytes(3, state).message(13, link)])
    };
    let (batch, fits) = walked(Signal::Spans, &with(&state(512)), &Limits::default());
    assert_eq!([&batch.trace_state, &batch.links.trace_state].map(first), [&*state(512); 2]);
    assert_eq!(fits.left.values_cut, 0);
    let (batch, over) = walked(Signal::Spans, &with(&state(513)), &Limits::default());
    assert_eq!([&batch.trace_state, &batch.links.trace_state].map(first), [""; 2]);
    assert_eq!((over.accepted, over.left.values_cut), (1, 2));
}

#[test]
fn every_text_of_a_log_record_is_cut_at_the_limit_and_counted() {
    let record = Message::new().bytes(3, LONG).message(5, Message::new().bytes(1, LONG)).bytes(12, LONG);
    let (batch, walked) = walked(Signal::Logs, &logs("cart", [record]), &LIMITS);
    assert_eq!([&batch.message, &batch.name].map(first), [CUT; 2]);
    assert_eq!(bodies(&batch), [Value::Text(CUT.to_owned())]);
    assert_eq!((walked.accepted, walked.left.values_cut), (1, 3));
}

#[test]
fn a_body_too_large_to_be_kept_is_counted() {
    let list = Message::new().message(1, Message::new().bytes(1, LONG));
    let record = Message::new().message(5, Message::new().message(5, list));
    let (batch, walked) = walked(Signal::Logs, &logs("cart", [record]), &LIMITS);
    assert_eq!((walked.accepted, walked.left.values_cut), (1, 1));
    assert_eq!(batch.attributes.columns().len(), 0);
}

#[test]
fn a_record_sent_with_many_bodies_has_the_last_one() {
    let record = (0..1000)
        .fold(log_record(1, 9, "first"), |record, _| record.message(5, Message::new().bytes(1, "last")));
    let (batch, _) = walked(Signal::Logs, &logs("cart", [record]), &Limits::default());
    assert_eq!(bodies(&batch), [Value::Text("last".to_owned())]);
}

fn bodies(batch: &Batch) -> Vec<Value> {
    let cursor = batch.attributes.cursor();
    let values = cursor.values().into_iter().filter(|(column, _)| column.key().is_empty());
    values.map(|(column, rank)| super::owned(column.value(rank))).collect()
}

#[test]
fn every_text_weighs_what_it_is_long() {
    let long = "t".repeat(10_000);
    let event = Message::new().bytes(2, &long);
    let status = Message::new().bytes(2, &long);
    let plain = walked(Signal::Spans, &traces("cart", [span(1, 1, 1)]), &Limits::default()).0.weight();
    for (what, request) in [
        ("name", traces("cart", [span(1, 1, 1).bytes(5, &long)])),
        ("status message", traces("cart", [span(1, 1, 1).message(15, status)])),
        ("event name", traces("cart", [span(1, 1, 1).message(11, event)])),
        ("resource", traces(&long, [span(1, 1, 1)])),
    ] {
        let weight = walked(Signal::Spans, &request, &Limits::default()).0.weight();
        assert!(weight > plain + 9_900, "{what}: {weight} after {plain}");
    }
}
