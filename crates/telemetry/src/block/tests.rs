//! Blocks: what is written reads back, and what is damaged is refused.

use proptest::prelude::*;

use super::{Block, Encoder, HEADER_BYTES};
use crate::batch::Batch;
use crate::fixture::{self, Message, int, text};
use crate::model::{LogRecord, Signal, Span, SpanKind, StatusCode, Value};
use crate::otlp::{Limits, walk_logs, walk_traces};
use crate::rows::Rows;

fn spans_of(batch: &Batch) -> Vec<Span> {
    let mut rows = Rows::new(batch);
    (0..batch.rows()).map(|row| rows.span(row)).collect()
}

fn through_a_block(batch: &Batch) -> Batch {
    let mut bytes = Vec::new();
    Encoder::default().encode(batch, &mut bytes);
    Block::read(&bytes).expect("a whole block").batch().expect("our own block")
}

fn walked(request: &[u8]) -> Batch {
    let mut batch = Batch::new(Signal::Spans);
    walk_traces(request, &Limits::default(), &mut batch).expect("a request of ours");
    batch
}

/// A span with everything OTLP knows.
fn full_span() -> Message {
    let list = Message::new().message(5, Message::new().message(1, Message::new().varint(3, 7)));
    let event = Message::new()
        .fixed64(1, 1_500)
        .bytes(2, "exception")
        .message(3, text("exception.message", "no such table"))
        .varint(4, 3);
    let link = Message::new()
        .bytes(1, fixture::trace_id(9))
        .bytes(2, 90u64.to_be_bytes())
        .bytes(3, "a=b")
        .message(4, int("n", -1))
        .fixed32(6, 0x301);
    fixture::span(1, 2, 1_000)
        .bytes(3, "ot=th:8")
        .bytes(4, 1u64.to_be_bytes())
        .message(9, Message::new().bytes(1, "d").message(2, Message::new().fixed64(4, 0.5f64.to_bits())))
        .message(9, Message::new().bytes(1, "b").message(2, Message::new().varint(2, 1)))
        .message(9, Message::new().bytes(1, "raw").message(2, Message::new().bytes(7, [0, 255])))
        .message(9, Message::new().bytes(1, "list").message(2, list))
        .varint(10, 4)
        .message(11, event)
        .message(13, link)
        .message(15, Message::new().bytes(2, "broken").varint(3, 2))
        .fixed32(16, 0x101)
}

#[test]
fn every_field_of_a_span_survives_the_block() {
    let batch = walked(&fixture::traces("cart", [fixture::span(1, 1, 900), full_span()]));
    let spans = spans_of(&through_a_block(&batch));
    assert_eq!(spans, spans_of(&batch));
    let span = &spans[1];
    assert_eq!((span.service(), span.name.as_str(), span.kind), ("cart", "GET /2", SpanKind::Server));
    assert_eq!((span.start_unix_nano, span.duration_nano), (1_000, 5_000_000));
    assert_eq!((span.status, span.status_message.as_str()), (StatusCode::Error, "broken"));
    assert_eq!((span.trace_state.as_str(), span.flags), ("ot=th:8", 0x101));
    assert_eq!(span.parent.map(|id| id.to_string()).as_deref(), Some("0000000000000001"));
    assert_eq!((span.scope.name.as_str(), span.scope.version.as_str()), ("fixture", "1.0"));
    assert_eq!(span.dropped.attributes, 4);
    let value = |key: &str| span.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value.clone());
    assert_eq!(value("d"), Some(Value::Double(0.5)));
    assert_eq!(value("b"), Some(Value::Bool(true)));
    assert_eq!(value("raw"), Some(Value::Bytes(vec![0, 255])));
    assert_eq!(value("list"), Some(Value::List(vec![Value::Int(7)])));
    assert_eq!(span.events[0].name, "exception");
    assert_eq!((span.events[0].time_unix_nano, span.events[0].dropped_attributes), (1_500, 3));
    assert_eq!(span.links[0].attributes, [("n".to_owned(), Value::Int(-1))]);
    assert_eq!((span.links[0].trace_state.as_str(), span.links[0].flags), ("a=b", 0x301));
    assert_eq!(spans[0].parent, None);
}

#[test]
fn every_field_of_a_log_record_survives_the_block() {
    let record = fixture::log_record(5, 9, "payment refused")
        .varint(7, 2)
        .fixed32(8, 1)
        .bytes(9, fixture::trace_id(3))
        .bytes(10, 4u64.to_be_bytes())
        .fixed64(11, 6)
        .bytes(12, "payment");
    let mut batch = Batch::new(Signal::Logs);
    let request = fixture::logs("payments", [fixture::log_record(0, 0, ""), record]);
    walk_logs(&request, &Limits::default(), &mut batch).expect("a request of ours");
    let batch = through_a_block(&batch);
    let mut rows = Rows::new(&batch);
    let records: Vec<LogRecord> = (0..2).map(|row| rows.log_record(row)).collect();
    let record = &records[1];
    assert_eq!((record.time_unix_nano, record.observed_unix_nano, record.severity_number), (5, 6, 9));
    assert_eq!(record.body, Value::Text("payment refused".to_owned()));
    assert_eq!(record.attributes, [("thread".to_owned(), Value::Text("main".to_owned()))]);
    assert_eq!((record.severity_text.as_str(), record.event_name.as_str()), ("INFO", "payment"));
    assert_eq!((record.dropped_attributes, record.flags), (2, 1));
    assert_eq!(record.trace_id.map(|id| id.0), Some(fixture::trace_id(3)));
    assert_eq!(records[0].trace_id, None);
}

#[test]
fn a_batch_used_again_writes_only_what_is_in_it() {
    let mut batch = walked(&fixture::traces("cart", [full_span()]));
    batch.clear();
    let request = fixture::traces("orders", [fixture::span(5, 6, 7)]);
    walk_traces(&request, &Limits::default(), &mut batch).expect("a request of ours");
    assert_eq!(spans_of(&through_a_block(&batch)), spans_of(&walked(&request)));
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let batch = walked(&fixture::traces("cart", (1..40).map(|i| fixture::span(1, i, i))));
    let mut bytes = Vec::new();
    Encoder::default().encode(&batch, &mut bytes);
    for at in 0..bytes.len() {
        bytes[at] ^= 1;
        assert!(Block::read(&bytes).is_err(), "byte {at}");
        bytes[at] ^= 1;
    }
}

/// Requests of any content: several services, shapes, types, odd ids.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let attribute = prop_oneof![
        ("[a-c]{0,2}", "[a-z]{0,3}").prop_map(|(key, value)| text(&key, &value)),
        ("[a-c]{0,2}", any::<i64>()).prop_map(|(key, value)| int(&key, value)),
        ("[a-c]{1,2}", any::<bool>())
            .prop_map(|(k, v)| Message::new().bytes(1, k).message(2, Message::new().varint(2, v.into()))),
        ("[a-c]{1,2}", any::<f64>())
            .prop_map(|(k, v)| Message::new().bytes(1, k).message(2, Message::new().fixed64(4, v.to_bits()))),
        ("[a-c]{1,2}", any::<Vec<u8>>())
            .prop_map(|(k, v)| Message::new().bytes(1, k).message(2, Message::new().bytes(7, v))),
    ];
    let attributes = || prop::collection::vec(attribute.clone(), 0..6);
    let event = (any::<u64>(), attributes()).prop_map(|(time, list)| {
        list.into_iter().fold(Message::new().fixed64(1, time), |e, a| e.message(3, a))
    });
    let link = (0u64..3, attributes()).prop_map(|(span, list)| {
        let link = Message::new().bytes(1, fixture::trace_id(span)).bytes(2, span.to_be_bytes());
        list.into_iter().fold(link, |l, a| l.message(4, a))
    });
    let span = (
        0u64..3,
        0u64..4,
        any::<u64>(),
        attributes(),
        prop::collection::vec(event, 0..3),
        prop::collection::vec(link, 0..3),
    )
        .prop_map(|(trace, id, start, attributes, events, links)| {
            let span = Message::new().bytes(1, fixture::trace_id(trace)).bytes(2, id.to_be_bytes());
            let span = span.fixed64(7, start).fixed64(8, start.wrapping_add(id));
            let span = attributes.into_iter().fold(span, |s, a| s.message(9, a));
            let span = events.into_iter().fold(span, |s, e| s.message(11, e));
            links.into_iter().fold(span, |s, l| s.message(13, l))
        });
    ("[a-b]", prop::collection::vec(span, 0..8)).prop_map(|(service, spans)| fixture::traces(&service, spans))
}

/// Values compared as text: a NaN equals itself there.
fn shown(spans: &[Span]) -> Vec<String> {
    spans.iter().map(|span| format!("{span:?}")).collect()
}

proptest! {
    #[test]
    fn any_spans_survive_the_block(requests in prop::collection::vec(requests(), 1..4)) {
        let mut batch = Batch::new(Signal::Spans);
        for request in &requests {
            walk_traces(request, &Limits::default(), &mut batch).expect("a request of ours");
        }
        prop_assert_eq!(shown(&spans_of(&through_a_block(&batch))), shown(&spans_of(&batch)));
    }

    #[test]
    fn a_cut_or_changed_request_is_taken_whole_or_leaves_no_trace(
        first in requests(),
        mut second in requests(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut batch = Batch::new(Signal::Spans);
        walk_traces(&first, &Limits::default(), &mut batch).expect("a request of ours");
        let before = shown(&spans_of(&batch));
        let at = at.index(second.len());
        if cut { second.truncate(at) } else { second[at] = byte }
        let taken = walk_traces(&second, &Limits::default(), &mut batch);
        let after = shown(&spans_of(&batch));
        match taken {
            Ok(walked) => prop_assert_eq!(after.len(), before.len() + walked.accepted as usize),
            Err(fault) => {
                prop_assert!(fault.offset_in(&second) <= second.len());
                prop_assert_eq!(&after, &before);
            }
        }
        prop_assert_eq!(shown(&spans_of(&through_a_block(&batch))), after);
        // What came before and after a refused request is whole.
        walk_traces(&first, &Limits::default(), &mut batch).expect("a request of ours");
        let last = spans_of(&batch).len() - before.len();
        prop_assert_eq!(&shown(&spans_of(&batch))[last..], &before[..]);
    }

    #[test]
    fn a_payload_of_any_bytes_is_read_or_refused(payload in prop::collection::vec(any::<u8>(), 0..200), rows in 0u32..5) {
        let mut bytes = vec![0; HEADER_BYTES];
        let header = super::Header {
            signal: Signal::Spans,
            payload_len: payload.len() as u32,
            payload_crc: crc32fast::hash(&payload),
            rows,
            start_min: 0,
            start_max: 0,
        };
        header.write(bytes.first_chunk_mut().expect("a header's length"));
        bytes.extend(payload);
        let _ = Block::read(&bytes).and_then(|block| block.batch());
    }
}
