//! `ExportLogsServiceRequest` into rows.

use super::Walked;
use super::limits::{Item, Limits};
use super::traces::{dropped, find, span_id, trace_id};
use super::value::scalar;
use crate::batch::Batch;
use crate::column::Scalar;
use protowire::{Fault, Reader, fixed32, fixed64, len, varint};

/// The last severity number OpenTelemetry knows: FATAL4.
const SEVERITY_MAX: u64 = 24;

/// Walks a request into `batch`. On a fault the batch holds what it held before.
pub(crate) fn walk_logs(request: &[u8], limits: &Limits, batch: &mut Batch) -> Result<Walked, Fault> {
    let rows = batch.rows();
    let mut walk = Walk { batch, limits, walked: Walked::default() };
    match walk.request(request) {
        Ok(()) => Ok(walk.walked),
        Err(fault) => {
            walk.batch.attributes.abandon();
            walk.batch.truncate(rows);
            Err(fault)
        }
    }
}

struct Walk<'b> {
    batch: &'b mut Batch,
    limits: &'b Limits,
    walked: Walked,
}

/// The fixed-size fields of a record.
#[derive(Default)]
struct Row<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: &'a [u8],
    trace: &'a [u8],
    span: &'a [u8],
    flags: u32,
    body: Option<Scalar<'a>>,
    event_name: &'a [u8],
    left_out: u32,
}

/// The envelope is walked as that of spans is, and stands here again: one walk for both, with the items as a closure, took
/// a fifth more time for each span.
impl Walk<'_> {
    fn request(&mut self, request: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(request);
        while let Some(tag) = reader.tag()? {
            if tag == len(1) {
                self.resource_logs(reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn resource_logs(&mut self, message: &[u8]) -> Result<(), Fault> {
        let resource = self.batch.origins.resource(find(message, 1)?);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.scope_logs(resource, reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn scope_logs(&mut self, resource: u32, message: &[u8]) -> Result<(), Fault> {
        let scope = self.batch.origins.scope(find(message, 1)?);
        let origin = self.batch.origins.pair(resource, scope);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.record(origin, reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn record(&mut self, origin: u32, message: &[u8]) -> Result<(), Fault> {
        const TIME: u32 = fixed64(1);
        const SEVERITY: u32 = varint(2);
        const SEVERITY_TEXT: u32 = len(3);
        const BODY: u32 = len(5);
        const ATTRIBUTE: u32 = len(6);
        const DROPPED: u32 = varint(7);
        const FLAGS: u32 = fixed32(8);
        const TRACE: u32 = len(9);
        const SPAN: u32 = len(10);
        const OBSERVED: u32 = fixed64(11);
        const EVENT_NAME: u32 = len(12);
        let mut row = Row::default();
        let hint = self.batch.attributes.items().last().copied().unwrap_or(u32::MAX);
        self.batch.attributes.begin(hint);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => row.time = reader.fixed64()?,
                SEVERITY => row.severity = reader.varint()?.min(SEVERITY_MAX),
                SEVERITY_TEXT => row.severity_text = reader.bytes()?,
                BODY => row.body = scalar(reader.bytes()?)?,
                ATTRIBUTE => row.left_out += self.item().attribute(reader.bytes()?)?,
                DROPPED => row.left_out = row.left_out.saturating_add(dropped(&mut reader)?),
                FLAGS => row.flags = reader.fixed32()?,
                TRACE => row.trace = reader.bytes()?,
                SPAN => row.span = reader.bytes()?,
                OBSERVED => row.observed = reader.fixed64()?,
                EVENT_NAME => row.event_name = reader.bytes()?,
                _ => reader.skip(tag)?,
            }
        }
        self.body(&row);
        self.finish(origin, &row);
        Ok(())
    }

    #[inline]
    fn item(&mut self) -> Item<'_> {
        let Self { batch, limits, walked } = self;
        Item { attributes: &mut batch.attributes, limits, left: &mut walked.left }
    }

    /// A record has one body; where it was sent with several, the last one counts, as protobuf has it.
    #[inline]
    fn body(&mut self, row: &Row<'_>) {
        let Some(body) = row.body else { return };
        let mut item = self.item();
        match item.cut(body) {
            // Not to be known again: it is no key with a value, though its bytes could be.
            Some(body) => item.attributes.push(b"", body, &[]),
            None => item.left.values_cut += 1,
        }
    }

    fn finish(&mut self, origin: u32, row: &Row<'_>) {
        let batch = &mut *self.batch;
        batch.attributes.end();
        if row.left_out > 0 {
            batch.dropped.push((batch.trace.len() as u32, [row.left_out, 0, 0]));
        }
        batch.trace.push(trace_id(row.trace).unwrap_or_default());
        batch.span.push(span_id(row.span).unwrap_or_default());
        batch.start.push(if row.time == 0 { row.observed } else { row.time });
        batch.duration.push(row.observed);
        batch.kind.push(row.severity as u8);
        batch.flags.push(row.flags);
        let cut = &mut self.walked.left.values_cut;
        batch.name.push_text(self.limits.text(row.event_name, cut));
        batch.message.push_text(self.limits.text(row.severity_text, cut));
        batch.origin.push(origin);
        self.walked.accepted += 1;
    }
}
