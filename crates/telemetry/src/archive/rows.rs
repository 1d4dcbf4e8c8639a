//! Spans as rows of a batch: the way back from what people read to what files hold.

use crate::batch::Batch;
use crate::column::Attributes;
use crate::model::{AttributeList, Event, Link, Signal, Span, SpanId};
use crate::otlp::write;

/// A batch is closed at this many spans, or bytes.
const ROWS_MAX: usize = 8192;
const WEIGHT_MAX: usize = 16 << 20;

/// Shows the spans as batches, in their order.
pub(super) fn each_batch(spans: &[Span], mut each: impl FnMut(&Batch)) {
    let mut batch = Batch::new(Signal::Spans);
    for span in spans {
        put(&mut batch, span);
        if batch.rows() >= ROWS_MAX || batch.weight() >= WEIGHT_MAX {
            each(&batch);
            batch.clear();
        }
    }
    if batch.rows() > 0 {
        each(&batch);
    }
}

fn put(batch: &mut Batch, span: &Span) {
    let row = batch.rows() as u32;
    let resource = batch.origins.resource(&write::resource(&span.resource));
    let scope = batch.origins.scope(&write::scope(&span.scope));
    batch.origin.push(batch.origins.pair(resource, scope));
    batch.trace.push(span.trace_id.0);
    batch.span.push(number(span.span_id));
    batch.parent.push(span.parent.map_or(0, number));
    batch.start.push(span.start_unix_nano);
    batch.duration.push(span.duration_nano);
    batch.kind.push(span.kind as u8);
    batch.status.push(span.status as u8);
    batch.flags.push(span.flags);
    batch.name.push(span.name.as_bytes());
    batch.message.push(span.status_message.as_bytes());
    batch.trace_state.push(span.trace_state.as_bytes());
    put_list(&mut batch.attributes, &span.attributes);
    let dropped = [span.dropped.attributes, span.dropped.events, span.dropped.links];
    if dropped != [0; 3] {
        batch.dropped.push((row, dropped));
    }
    span.events.iter().for_each(|event| put_event(batch, row, event));
    span.links.iter().for_each(|link| put_link(batch, row, link));
}

fn put_event(batch: &mut Batch, row: u32, event: &Event) {
    let events = &mut batch.events;
    events.row.push(row);
    events.time.push(event.time_unix_nano);
    events.name.push(event.name.as_bytes());
    put_list(&mut events.attributes, &event.attributes);
    events.dropped.push(event.dropped_attributes);
}

fn put_link(batch: &mut Batch, row: u32, link: &Link) {
    let links = &mut batch.links;
    links.row.push(row);
    links.trace.push(link.trace_id.0);
    links.span.push(number(link.span_id));
    links.trace_state.push(link.trace_state.as_bytes());
    links.flags.push(link.flags);
    put_list(&mut links.attributes, &link.attributes);
    links.dropped.push(link.dropped_attributes);
}

fn put_list(attributes: &mut Attributes, list: &AttributeList) {
    attributes.begin(attributes.items().last().copied().unwrap_or(u32::MAX));
    for (key, value) in list {
        write::with_scalar(value, |value| attributes.push(key.as_bytes(), value, &[]));
    }
    attributes.end();
}

fn number(id: SpanId) -> u64 {
    u64::from_be_bytes(id.0)
}
