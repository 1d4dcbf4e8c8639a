//! `ExportTraceServiceRequest` into rows.

use super::Walked;
use super::limits::{Item, Limits};
use crate::batch::Batch;
use crate::model::{SpanKind, StatusCode};
use protowire::{Fault, Reader, fixed32, fixed64, len, varint};

/// Walks a request into `batch`. On a fault the batch holds what it held before.
pub(crate) fn walk_traces(request: &[u8], limits: &Limits, batch: &mut Batch) -> Result<Walked, Fault> {
    let rows = batch.rows();
    let mut walk = Walk { batch, limits, walked: Walked::default() };
    match walk.request(request) {
        Ok(()) => Ok(walk.walked),
        Err(fault) => {
            walk.abandon_row(rows);
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

/// The fixed-size fields of a span, before it is known whether it becomes a row.
#[derive(Default)]
struct Row<'a> {
    trace: &'a [u8],
    span: &'a [u8],
    parent: &'a [u8],
    trace_state: &'a [u8],
    name: Option<u32>,
    kind: u64,
    start: u64,
    end: u64,
    flags: u32,
    status: u64,
    message: &'a [u8],
    dropped: [u32; 3],
    events: usize,
    links: usize,
}

impl Walk<'_> {
    fn request(&mut self, request: &[u8]) -> Result<(), Fault> {
        let mut reader = Reader::new(request);
        while let Some(tag) = reader.tag()? {
            if tag == len(1) {
                self.resource_spans(reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn resource_spans(&mut self, message: &[u8]) -> Result<(), Fault> {
        let resource = find(message, 1)?;
        let resource = self.batch.origins.resource(resource);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.scope_spans(resource, reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, resource: u32, message: &[u8]) -> Result<(), Fault> {
        let scope = find(message, 1)?;
        let scope = self.batch.origins.scope(scope);
        let origin = self.batch.origins.pair(resource, scope);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            if tag == len(2) {
                self.span(origin, reader.bytes()?)?;
            } else {
                reader.skip(tag)?;
            }
        }
        Ok(())
    }

    fn span(&mut self, origin: u32, message: &[u8]) -> Result<(), Fault> {
        const TRACE: u32 = len(1);
        const SPAN: u32 = len(2);
        const STATE: u32 = len(3);
        const PARENT: u32 = len(4);
        const NAME: u32 = len(5);
        const KIND: u32 = varint(6);
        const START: u32 = fixed64(7);
        const END: u32 = fixed64(8);
        const ATTRIBUTE: u32 = len(9);
        const ATTRIBUTES_DROPPED: u32 = varint(10);
        const EVENT: u32 = len(11);
        const EVENTS_DROPPED: u32 = varint(12);
        const LINK: u32 = len(13);
        const LINKS_DROPPED: u32 = varint(14);
        const STATUS: u32 = len(15);
        const FLAGS: u32 = fixed32(16);
        let mut row = Row::default();
        self.batch.attributes.begin(u32::MAX);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                ATTRIBUTE => {
                    let Self { batch, limits, walked } = self;
                    let mut item = Item { attributes: &mut batch.attributes, limits, left: &mut walked.left };
                    row.dropped[0] += item.attribute(reader.bytes()?)?;
                }
                TRACE => row.trace = reader.bytes()?,
                SPAN => row.span = reader.bytes()?,
                PARENT => row.parent = reader.bytes()?,
                NAME => self.name(&mut row, reader.bytes()?),
                KIND => row.kind = reader.varint()?,
                START => row.start = reader.fixed64()?,
                END => row.end = reader.fixed64()?,
                STATE => row.trace_state = reader.bytes()?,
                ATTRIBUTES_DROPPED => row.dropped[0] = row.dropped[0].saturating_add(dropped(&mut reader)?),
                EVENT => self.event(&mut row, reader.bytes()?)?,
                EVENTS_DROPPED => row.dropped[1] = row.dropped[1].saturating_add(dropped(&mut reader)?),
                LINK => self.link(&mut row, reader.bytes()?)?,
                LINKS_DROPPED => row.dropped[2] = row.dropped[2].saturating_add(dropped(&mut reader)?),
                STATUS => (row.status, row.message) = status(reader.bytes()?)?,
                FLAGS => row.flags = reader.fixed32()?,
                _ => reader.skip(tag)?,
            }
        }
        self.finish(origin, &row);
        Ok(())
    }

    /// The name is known before the attributes come, and with it the shape to expect.
    #[inline]
    fn name(&mut self, row: &mut Row<'_>, name: &[u8]) {
        let name = self.limits.text(name, &mut self.walked.left.values_cut);
        let code = self.batch.name.intern_text(name);
        row.name = Some(code);
        if self.batch.attributes.begun() == 0 {
            let hint = self.batch.expected_shapes.get(code as usize).copied().unwrap_or(u32::MAX);
            self.batch.attributes.begin(hint);
        }
    }

    /// Makes a row of what was read, or leaves the span out where its ids are unusable.
    #[inline]
    fn finish(&mut self, origin: u32, row: &Row<'_>) {
        let (Some(trace), Some(span)) = (trace_id(row.trace), span_id(row.span)) else {
            self.abandon_row(self.batch.rows());
            self.walked.rejected += 1;
            return;
        };
        let batch = &mut *self.batch;
        let name = row.name.unwrap_or_else(|| batch.name.intern(b""));
        let shape = batch.attributes.end();
        if batch.expected_shapes.len() <= name as usize {
            batch.expected_shapes.resize(name as usize + 1, u32::MAX);
        }
        batch.expected_shapes[name as usize] = shape;
        if row.dropped != [0; 3] {
            batch.dropped.push((batch.trace.len() as u32, row.dropped));
        }
        batch.trace.push(trace);
        batch.span.push(span);
        batch.parent.push(span_id(row.parent).unwrap_or(0));
        batch.start.push(row.start);
        batch.duration.push(row.end.saturating_sub(row.start));
        batch.kind.push(SpanKind::from_number(row.kind) as u8);
        batch.status.push(StatusCode::from_number(row.status) as u8);
        batch.flags.push(row.flags);
        batch.name.push_code(name);
        let cut = &mut self.walked.left.values_cut;
        batch.message.push_text(self.limits.text(row.message, cut));
        batch.trace_state.push_text(self.limits.trace_state(row.trace_state, cut));
        batch.origin.push(origin);
        self.walked.accepted += 1;
    }

    fn event(&mut self, row: &mut Row<'_>, message: &[u8]) -> Result<(), Fault> {
        const TIME: u32 = fixed64(1);
        const NAME: u32 = len(2);
        const ATTRIBUTE: u32 = len(3);
        const DROPPED: u32 = varint(4);
        if row.events == self.limits.events {
            row.dropped[1] = row.dropped[1].saturating_add(1);
            self.walked.left.events += 1;
            return Ok(());
        }
        row.events += 1;
        let Self { batch, limits, walked } = self;
        let at = batch.trace.len() as u32;
        let events = &mut batch.events;
        let (mut time, mut name, mut left_out) = (0, &[][..], 0u32);
        events.attributes.begin(events.attributes.items().last().copied().unwrap_or(u32::MAX));
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TIME => time = reader.fixed64()?,
                NAME => name = reader.bytes()?,
                ATTRIBUTE => {
                    let mut item =
                        Item { attributes: &mut events.attributes, limits, left: &mut walked.left };
                    left_out += item.attribute(reader.bytes()?)?;
                }
                DROPPED => left_out = left_out.saturating_add(dropped(&mut reader)?),
                _ => reader.skip(tag)?,
            }
        }
        events.attributes.end();
        events.row.push(at);
        events.time.push(time);
        events.name.push_text(limits.text(name, &mut walked.left.values_cut));
        events.dropped.push(left_out);
        Ok(())
    }

    fn link(&mut self, row: &mut Row<'_>, message: &[u8]) -> Result<(), Fault> {
        const TRACE: u32 = len(1);
        const SPAN: u32 = len(2);
        const STATE: u32 = len(3);
        const ATTRIBUTE: u32 = len(4);
        const DROPPED: u32 = varint(5);
        const FLAGS: u32 = fixed32(6);
        if row.links == self.limits.links {
            row.dropped[2] = row.dropped[2].saturating_add(1);
            self.walked.left.links += 1;
            return Ok(());
        }
        let Self { batch, limits, walked } = self;
        let at = batch.trace.len() as u32;
        let links = &mut batch.links;
        let (mut trace, mut span, mut state, mut flags, mut left_out) = (&[][..], &[][..], &[][..], 0, 0u32);
        links.attributes.begin(links.attributes.items().last().copied().unwrap_or(u32::MAX));
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                TRACE => trace = reader.bytes()?,
                SPAN => span = reader.bytes()?,
                STATE => state = reader.bytes()?,
                ATTRIBUTE => {
                    let mut item = Item { attributes: &mut links.attributes, limits, left: &mut walked.left };
                    left_out += item.attribute(reader.bytes()?)?;
                }
                DROPPED => left_out = left_out.saturating_add(dropped(&mut reader)?),
                FLAGS => flags = reader.fixed32()?,
                _ => reader.skip(tag)?,
            }
        }
        let (Some(trace), Some(span)) = (trace_id(trace), span_id(span)) else {
            links.attributes.abandon();
            row.dropped[2] = row.dropped[2].saturating_add(1);
            walked.left.links += 1;
            return Ok(());
        };
        row.links += 1;
        links.attributes.end();
        links.row.push(at);
        links.trace.push(trace);
        links.span.push(span);
        links.trace_state.push_text(limits.trace_state(state, &mut walked.left.values_cut));
        links.flags.push(flags);
        links.dropped.push(left_out);
        Ok(())
    }

    /// Takes back what belongs to a row that is not pushed yet and would be number `row`.
    fn abandon_row(&mut self, row: usize) {
        let row = row as u32;
        let batch = &mut *self.batch;
        batch.attributes.abandon();
        batch.events.attributes.abandon();
        batch.links.attributes.abandon();
        batch.events.truncate(batch.events.row.partition_point(|&at| at < row));
        batch.links.truncate(batch.links.row.partition_point(|&at| at < row));
    }
}

/// The message in field `number`, empty where there is none. Serialisers write fields in the order of their numbers, so
/// it comes first, and then the rest is not walked twice; but it need not come first.
pub(super) fn find(message: &[u8], number: u32) -> Result<&[u8], Fault> {
    let mut reader = Reader::new(message);
    if reader.tag()? == Some(len(number)) {
        return reader.bytes();
    }
    protowire::find(message, number)
}

/// Code and message of a `Status`.
fn status(message: &[u8]) -> Result<(u64, &[u8]), Fault> {
    const MESSAGE: u32 = len(2);
    const CODE: u32 = varint(3);
    let mut reader = Reader::new(message);
    let (mut code, mut text) = (0, &[][..]);
    while let Some(tag) = reader.tag()? {
        match tag {
            MESSAGE => text = reader.bytes()?,
            CODE => code = reader.varint()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok((code, text))
}

/// A count of things left out by the sender.
pub(super) fn dropped(reader: &mut Reader<'_>) -> Result<u32, Fault> {
    Ok(u32::try_from(reader.varint()?).unwrap_or(u32::MAX))
}

/// A usable trace id: 16 bytes, not all zero.
#[inline]
pub(super) fn trace_id(bytes: &[u8]) -> Option<[u8; 16]> {
    bytes.try_into().ok().filter(|id| *id != [0; 16])
}

/// A usable span id: 8 bytes, not all zero.
#[inline]
pub(super) fn span_id(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes).filter(|&id| id != 0)
}
