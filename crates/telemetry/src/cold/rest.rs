//! What of a row has no column: an OTLP `Span` or `LogRecord` message with these fields alone.
//!
//! In: attributes whose keys are rare, come twice or hold lists and maps, events, links, counts of what was left out.
//! Out: the message, which other readers of the file understand, and the same read back.

use protowire::{Fault, Reader, fixed32, fixed64, len, put_bytes, put_integer, varint};

use crate::batch::{Events, Links};
use crate::column::{Cursor, Scalar};
use crate::model::{AttributeList, Dropped, Event, Link, Signal, SpanId, TraceId};
use crate::otlp;
use crate::otlp::write::put_attribute;

/// The number of the field with attributes; the count of those left out is the next one.
fn attribute_field(signal: Signal) -> u32 {
    match signal {
        Signal::Spans => 9,
        Signal::Logs => 6,
    }
}

/// Adds an attribute of the row.
pub(super) fn put_row_attribute(out: &mut Vec<u8>, signal: Signal, key: &[u8], value: Scalar<'_>) {
    put_attribute(out, attribute_field(signal), key, value);
}

/// Adds the counts of what was left out.
pub(super) fn put_dropped(out: &mut Vec<u8>, signal: Signal, [attributes, events, links]: [u32; 3]) {
    put_integer(out, attribute_field(signal) + 1, attributes.into());
    if signal == Signal::Spans {
        put_integer(out, 12, events.into());
        put_integer(out, 14, links.into());
    }
}

/// Adds event `at`.
pub(super) fn put_event(out: &mut Vec<u8>, events: &Events, at: usize, attributes: &mut Cursor<'_>) {
    let mut event = vec![fixed64(1) as u8];
    event.extend(events.time[at].to_le_bytes());
    put_bytes(&mut event, 2, events.name.entry(events.name.code(at)));
    attributes.seek(at);
    for (column, rank) in attributes.values() {
        put_attribute(&mut event, 3, &column.key, column.value(rank));
    }
    put_integer(&mut event, 4, events.dropped[at].into());
    put_bytes(out, 11, &event);
}

/// Adds link `at`.
pub(super) fn put_link(out: &mut Vec<u8>, links: &Links, at: usize, attributes: &mut Cursor<'_>) {
    let mut link = Vec::new();
    put_bytes(&mut link, 1, &links.trace[at]);
    put_bytes(&mut link, 2, &links.span[at].to_be_bytes());
    put_bytes(&mut link, 3, links.trace_state.entry(links.trace_state.code(at)));
    attributes.seek(at);
    for (column, rank) in attributes.values() {
        put_attribute(&mut link, 4, &column.key, column.value(rank));
    }
    put_integer(&mut link, 5, links.dropped[at].into());
    link.push(fixed32(6) as u8);
    link.extend(links.flags[at].to_le_bytes());
    put_bytes(out, 13, &link);
}

/// Attributes of a row, an event or a link.
pub(super) type List<'a> = Vec<(&'a [u8], Scalar<'a>)>;

/// The message of a row, taken apart.
#[derive(Debug, Default)]
pub(super) struct Pieces<'a> {
    pub(super) attributes: List<'a>,
    pub(super) events: Vec<EventPiece<'a>>,
    pub(super) links: Vec<LinkPiece<'a>>,
    /// Attributes, events and links that were left out.
    pub(super) dropped: [u32; 3],
}

#[derive(Debug, Default)]
pub(super) struct EventPiece<'a> {
    pub(super) time_unix_nano: u64,
    pub(super) name: &'a [u8],
    pub(super) attributes: List<'a>,
    pub(super) dropped_attributes: u32,
}

#[derive(Debug, Default)]
pub(super) struct LinkPiece<'a> {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) trace_state: &'a [u8],
    pub(super) flags: u32,
    pub(super) attributes: List<'a>,
    pub(super) dropped_attributes: u32,
}

/// What was read back.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) attributes: AttributeList,
    pub(super) events: Vec<Event>,
    pub(super) links: Vec<Link>,
    pub(super) dropped: Dropped,
}

/// Reads the message of a row.
pub(super) fn read(signal: Signal, message: &[u8]) -> Result<Rest, Fault> {
    let Pieces { attributes, events, links, dropped } = pieces(signal, message)?;
    let event = |event: EventPiece<'_>| Event {
        time_unix_nano: event.time_unix_nano,
        name: text(event.name),
        attributes: owned(event.attributes),
        dropped_attributes: event.dropped_attributes,
    };
    let link = |link: LinkPiece<'_>| Link {
        trace_id: TraceId(link.trace_id),
        span_id: SpanId(link.span_id),
        trace_state: text(link.trace_state),
        flags: link.flags,
        attributes: owned(link.attributes),
        dropped_attributes: link.dropped_attributes,
    };
    let [left_out, left_events, left_links] = dropped;
    Ok(Rest {
        attributes: owned(attributes),
        events: events.into_iter().map(event).collect(),
        links: links.into_iter().map(link).collect(),
        dropped: Dropped { attributes: left_out, events: left_events, links: left_links },
    })
}

/// Takes the message of a row apart.
pub(super) fn pieces(signal: Signal, message: &[u8]) -> Result<Pieces<'_>, Fault> {
    let attribute = attribute_field(signal);
    let mut rest = Pieces::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == len(attribute) => put_attribute_of(reader.bytes()?, &mut rest.attributes)?,
            _ if tag == varint(attribute + 1) => rest.dropped[0] = reader.varint()? as u32,
            _ if tag == len(11) => rest.events.push(event(reader.bytes()?)?),
            _ if tag == varint(12) => rest.dropped[1] = reader.varint()? as u32,
            _ if tag == len(13) => rest.links.push(link(reader.bytes()?)?),
            _ if tag == varint(14) => rest.dropped[2] = reader.varint()? as u32,
            _ => reader.skip(tag)?,
        }
    }
    Ok(rest)
}

fn put_attribute_of<'a>(message: &'a [u8], list: &mut List<'a>) -> Result<(), Fault> {
    let (key, value) = otlp::attribute(message)?;
    list.push((key, value.unwrap_or(Scalar::Any(&[]))));
    Ok(())
}

fn event(message: &[u8]) -> Result<EventPiece<'_>, Fault> {
    let mut event = EventPiece::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == fixed64(1) => event.time_unix_nano = reader.fixed64()?,
            _ if tag == len(2) => event.name = reader.bytes()?,
            _ if tag == len(3) => put_attribute_of(reader.bytes()?, &mut event.attributes)?,
            _ if tag == varint(4) => event.dropped_attributes = reader.varint()? as u32,
            _ => reader.skip(tag)?,
        }
    }
    Ok(event)
}

fn link(message: &[u8]) -> Result<LinkPiece<'_>, Fault> {
    let mut link = LinkPiece::default();
    let mut reader = Reader::new(message);
    while let Some(tag) = reader.tag()? {
        match tag {
            _ if tag == len(1) => link.trace_id = reader.bytes()?.try_into().unwrap_or_default(),
            _ if tag == len(2) => link.span_id = reader.bytes()?.try_into().unwrap_or_default(),
            _ if tag == len(3) => link.trace_state = reader.bytes()?,
            _ if tag == len(4) => put_attribute_of(reader.bytes()?, &mut link.attributes)?,
            _ if tag == varint(5) => link.dropped_attributes = reader.varint()? as u32,
            _ if tag == fixed32(6) => link.flags = reader.fixed32()?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(link)
}

fn owned(list: List<'_>) -> AttributeList {
    list.into_iter().map(|(key, value)| (text(key), otlp::owned(value))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
