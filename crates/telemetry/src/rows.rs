//! Rows of a batch as spans and log records.

use std::collections::HashMap;
use std::sync::Arc;

use crate::batch::{Batch, Events, Links};
use crate::column::{Attributes, Cursor};
use crate::model::{
    AttributeList, Dropped, Event, Link, LogRecord, Resource, Scope, Span, SpanId, SpanKind, StatusCode,
    TraceId, Value,
};
use crate::otlp;

/// Reads rows of one batch, in ascending order.
pub(crate) struct Rows<'a> {
    batch: &'a Batch,
    attributes: Cursor<'a>,
    event_attributes: Cursor<'a>,
    link_attributes: Cursor<'a>,
    origins: HashMap<u32, (Arc<Resource>, Arc<Scope>)>,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(batch: &'a Batch) -> Self {
        Self {
            batch,
            attributes: batch.attributes.cursor(),
            event_attributes: batch.events.attributes.cursor(),
            link_attributes: batch.links.attributes.cursor(),
            origins: HashMap::new(),
        }
    }

    /// The span in row `row`, which must not lie before one already read.
    pub(crate) fn span(&mut self, row: usize) -> Span {
        let batch = self.batch;
        let (resource, scope) = self.origin(batch.origin[row]);
        Span {
            trace_id: TraceId(batch.trace[row]),
            span_id: SpanId(batch.span[row].to_be_bytes()),
            parent: span_id(batch.parent[row]),
            trace_state: batch.trace_state.text(batch.trace_state.code(row)).to_owned(),
            flags: batch.flags[row],
            name: batch.name.text(batch.name.code(row)).to_owned(),
            kind: SpanKind::from_number(batch.kind[row].into()),
            start_unix_nano: batch.start[row],
            duration_nano: batch.duration[row],
            status: StatusCode::from_number(batch.status[row].into()),
            status_message: batch.message.text(batch.message.code(row)).to_owned(),
            resource,
            scope,
            attributes: list(&mut self.attributes, row),
            events: self.events(row),
            links: self.links(row),
            dropped: self.dropped(row),
        }
    }

    /// The log record in row `row`, which must not lie before one already read.
    pub(crate) fn log_record(&mut self, row: usize) -> LogRecord {
        let batch = self.batch;
        let (resource, scope) = self.origin(batch.origin[row]);
        let mut attributes = list(&mut self.attributes, row);
        let body = match attributes.iter().position(|(key, _)| key.is_empty()) {
            Some(at) => attributes.remove(at).1,
            None => Value::Empty,
        };
        LogRecord {
            time_unix_nano: batch.start[row],
            observed_unix_nano: batch.duration[row],
            severity_number: batch.kind[row],
            severity_text: batch.message.text(batch.message.code(row)).to_owned(),
            event_name: batch.name.text(batch.name.code(row)).to_owned(),
            body,
            attributes,
            trace_id: (batch.trace[row] != [0; 16]).then_some(TraceId(batch.trace[row])),
            span_id: span_id(batch.span[row]),
            flags: batch.flags[row],
            resource,
            scope,
            dropped_attributes: self.dropped(row).attributes,
        }
    }

    fn origin(&mut self, origin: u32) -> (Arc<Resource>, Arc<Scope>) {
        let (resource, scope) = self.origins.entry(origin).or_insert_with(|| {
            let (resource, scope) = self.batch.origins.read(origin);
            (Arc::new(resource), Arc::new(scope))
        });
        (Arc::clone(resource), Arc::clone(scope))
    }

    fn dropped(&self, row: usize) -> Dropped {
        let dropped = &self.batch.dropped;
        match dropped.binary_search_by_key(&(row as u32), |&(row, _)| row) {
            Ok(at) => {
                let [attributes, events, links] = dropped[at].1;
                Dropped { attributes, events, links }
            }
            Err(_) => Dropped::default(),
        }
    }

    fn events(&mut self, row: usize) -> Vec<Event> {
        let events: &Events = &self.batch.events;
        of_row(&events.row, row)
            .map(|i| Event {
                time_unix_nano: events.time[i],
                name: events.name.text(events.name.code(i)).to_owned(),
                attributes: list(&mut self.event_attributes, i),
                dropped_attributes: events.dropped[i],
            })
            .collect()
    }

    fn links(&mut self, row: usize) -> Vec<Link> {
        let links: &Links = &self.batch.links;
        of_row(&links.row, row)
            .map(|i| Link {
                trace_id: TraceId(links.trace[i]),
                span_id: SpanId(links.span[i].to_be_bytes()),
                trace_state: links.trace_state.text(links.trace_state.code(i)).to_owned(),
                flags: links.flags[i],
                attributes: list(&mut self.link_attributes, i),
                dropped_attributes: links.dropped[i],
            })
            .collect()
    }
}

/// The items of `row` in a column of rows in ascending order.
fn of_row(rows: &[u32], row: usize) -> std::ops::Range<usize> {
    let row = row as u32;
    let start = rows.partition_point(|&at| at < row);
    start..start + rows[start..].partition_point(|&at| at == row)
}

fn span_id(id: u64) -> Option<SpanId> {
    (id != 0).then(|| SpanId(id.to_be_bytes()))
}

fn list(cursor: &mut Cursor<'_>, item: usize) -> AttributeList {
    cursor.seek(item);
    let values = cursor.values();
    values.iter().map(|(column, rank)| (column.key().to_owned(), otlp::owned(column.value(*rank)))).collect()
}

impl Attributes {
    /// The place of the value of `key` with each item that has one: `(item, rank)`, item ascending.
    pub(crate) fn places(&self, column: usize) -> Vec<(u32, u32)> {
        let column = column as u32;
        let holds: Vec<u32> =
            self.shapes().iter().map(|shape| shape.iter().filter(|&&c| c == column).count() as u32).collect();
        let mut rank = 0;
        let mut places = Vec::new();
        for (item, &shape) in self.items().iter().enumerate() {
            for _ in 0..holds[shape as usize] {
                places.push((item as u32, rank));
                rank += 1;
            }
        }
        places
    }
}
