//! Parts of traces as OTLP: the messages of `opentelemetry/proto/trace/v1` and no others, written by hand.
//!
//! In: a buffer. Out: `Span` messages, each as a field of its `ScopeSpans`, so that a batch is a
//! concatenation; and the request around them. Each message is written once, behind one reserved byte for its
//! length; a longer length moves it up, which happens for few. Deliberately absent: decoding, except of the
//! one number in an answer that says how many spans were refused.

use crate::buffer::{Buffer, Outcome, Record, Said, Saying, Spoken};
use crate::clock::Calibration;
use crate::propagation::tracestate;
use crate::value::{Kind, Value};

/// What spans are said to come from: the library, not the service.
const SCOPE: (&str, &str) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK` and `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Appends every span of `part` as fields of a `ScopeSpans`.
pub(crate) fn write_spans(part: &mut Buffer, clock: &Calibration, out: &mut Vec<u8>) {
    part.sort();
    let state = tracestate::of_recorded(&part.trace, part.weight);
    // Both ids, of which the second changes from span to span.
    let mut ids = [0; 28];
    ids[..2].copy_from_slice(&[tag(1, BYTES), 16]);
    ids[2..18].copy_from_slice(&part.trace.trace_id.to_bytes());
    ids[18..20].copy_from_slice(&[tag(2, BYTES), 8]);
    part.each_span(|record, said| {
        ids[20..].copy_from_slice(&part.span_id(record).to_bytes());
        message(out, 2, |out| {
            out.extend_from_slice(&ids);
            text(out, 3, state.as_bytes());
            write_span(part, record, said, clock, out);
        });
    });
}

fn write_span(part: &Buffer, record: &Record, said: Said<'_>, clock: &Calibration, out: &mut Vec<u8>) {
    let (parent, remote) = part.parent_of(record);
    if parent != 0 {
        let mut field = [tag(4, BYTES), 8, 0, 0, 0, 0, 0, 0, 0, 0];
        field[2..].copy_from_slice(&parent.to_be_bytes());
        out.extend_from_slice(&field);
    }
    text(out, 5, part.name_of(record));
    let start = clock.unix_nanos(record.start);
    // From the length, so that an end is never before its start by a rounding.
    let end = start + clock.nanos(record.end.saturating_sub(record.start));
    let mut fields = [0; 20];
    fields[..2].copy_from_slice(&[tag(6, VARINT), kind_number(record.kind)]);
    fields[2] = tag(7, FIXED64);
    fields[3..11].copy_from_slice(&start.to_le_bytes());
    fields[11] = tag(8, FIXED64);
    fields[12..].copy_from_slice(&end.to_le_bytes());
    out.extend_from_slice(&fields);
    if !said.is_empty() {
        write_said(said, clock, out);
    }
    let [attributes, events, links] = record.dropped();
    varint_field(out, 10, u64::from(attributes));
    varint_field(out, 12, u64::from(events));
    varint_field(out, 14, u64::from(links));
    if record.outcome != Outcome::Unset {
        message(out, 15, |out| {
            text(out, 2, said.message(record.outcome).unwrap_or_default());
            varint_field(out, 3, if record.outcome == Outcome::Ok { 1 } else { 2 });
        });
    }
    let remote = if remote { IS_REMOTE } else { 0 };
    let random = if part.trace.random { 2 } else { 0 };
    fixed32(out, 16, HAS_IS_REMOTE | remote | random | 1);
}

/// Attributes, events and links, in the order in which they were recorded.
fn write_said(said: Said<'_>, clock: &Calibration, out: &mut Vec<u8>) {
    let mut rest = said.sayings().peekable();
    while let Some(saying) = rest.next() {
        match saying {
            Saying::Attribute { key, value } => attribute(out, 9, key, value),
            Saying::Event { name, event } => message(out, 11, |out| {
                fixed64(out, 1, clock.unix_nanos(event.at));
                text(out, 2, name);
                write_details(out, 3, &mut rest);
                varint_field(out, 4, u64::from(event.dropped));
            }),
            Saying::Link(link) => message(out, 13, |out| {
                bytes(out, 1, &link.trace);
                bytes(out, 2, &link.span.to_be_bytes());
                write_details(out, 4, &mut rest);
                varint_field(out, 5, u64::from(link.dropped));
                fixed32(out, 6, u32::from(link.sampled));
            }),
            // After its event or link, which has taken it.
            Saying::Detail { .. } => {}
        }
    }
}

fn write_details<'a>(
    out: &mut Vec<u8>,
    number: u32,
    rest: &mut std::iter::Peekable<impl Iterator<Item = Saying<'a>>>,
) {
    while let Some(Saying::Detail { key, value }) = rest.peek() {
        attribute(out, number, key, *value);
        rest.next();
    }
}

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

/// What is the same in every request: `Resource` as a field of `ResourceSpans`, and the scope as a field of
/// `ScopeSpans`.
#[derive(Debug)]
pub(crate) struct Envelope {
    resource: Vec<u8>,
    scope: Vec<u8>,
}

impl Envelope {
    /// The resource with these attributes.
    pub(crate) fn new<'a>(attributes: impl Iterator<Item = (&'a str, Value<'a>)>) -> Self {
        let mut resource = Vec::new();
        message(&mut resource, 1, |out| {
            for (key, value) in attributes {
                message(out, 1, |out| {
                    text(out, 1, key.as_bytes());
                    message(out, 2, |out| plain_value(out, value));
                });
            }
        });
        let mut scope = Vec::new();
        message(&mut scope, 1, |out| {
            text(out, 1, SCOPE.0.as_bytes());
            text(out, 2, SCOPE.1.as_bytes());
        });
        Self { resource, scope }
    }

    /// Bytes that spans leave free in front of them for [`Self::request`].
    pub(crate) fn room(&self) -> usize {
        // Two keys of a byte with lengths of at most ten.
        self.resource.len() + self.scope.len() + 2 * 11
    }

    /// An `ExportTraceServiceRequest` with the spans of [`write_spans`], which come after [`Self::room`] bytes: what
    /// goes before them is written there, and no span moves.
    pub(crate) fn request<'a>(&self, spans: &'a mut [u8]) -> &'a [u8] {
        let room = self.room();
        let scope_spans = self.scope.len() + spans.len() - room;
        let mut head = Vec::with_capacity(room);
        key(&mut head, 2, BYTES);
        varint(&mut head, scope_spans as u64);
        let resource_spans = self.resource.len() + head.len() + scope_spans;
        head.clear();
        key(&mut head, 1, BYTES);
        varint(&mut head, resource_spans as u64);
        head.extend_from_slice(&self.resource);
        key(&mut head, 2, BYTES);
        varint(&mut head, scope_spans as u64);
        head.extend_from_slice(&self.scope);
        let at = room - head.len();
        spans[at..room].copy_from_slice(&head);
        &spans[at..]
    }
}

/// `rejected_spans` of the `partial_success` in an `ExportTraceServiceResponse`; zero where it says nothing or
/// is no such message.
pub(crate) fn rejected_spans(answer: &[u8]) -> u64 {
    let partial = Fields(answer).find_map(|(number, value)| match (number, value) {
        (1, Field::Bytes(partial)) => Some(partial),
        _ => None,
    });
    let rejected = Fields(partial.unwrap_or_default()).find_map(|(number, value)| match (number, value) {
        (1, Field::Varint(count)) => Some(count),
        _ => None,
    });
    // A negative count of an int64 is nonsense.
    rejected.filter(|count| i64::try_from(*count).is_ok()).unwrap_or(0)
}

/// The fields of a message, up to the first that is broken.
struct Fields<'a>(&'a [u8]);

enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Varint(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            1 => self.take(8).map(|_| Field::Fixed)?,
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }
}

/// A `KeyValue` as field `number`. Most are short: then every length is one byte, known beforehand.
fn attribute(out: &mut Vec<u8>, number: u32, name: &str, value: Spoken<'_>) {
    let mut small = [0; 10];
    let (head, body): (&[u8], &[u8]) = match value {
        Spoken::Text(text) if text.len() <= SHORT => {
            small[..2].copy_from_slice(&[tag(1, BYTES), text.len() as u8]);
            (&small[..2], text)
        }
        Spoken::Bool(value) => {
            small[..2].copy_from_slice(&[tag(2, VARINT), u8::from(value)]);
            (&small[..2], &[])
        }
        Spoken::I64(value @ 0..128) => {
            small[..2].copy_from_slice(&[tag(3, VARINT), value as u8]);
            (&small[..2], &[])
        }
        Spoken::F64(value) => {
            small[0] = tag(4, FIXED64);
            small[1..9].copy_from_slice(&value.to_le_bytes());
            (&small[..9], &[])
        }
        Spoken::Text(_) | Spoken::I64(_) => return long_attribute(out, number, name, value),
    };
    if name.len() > SHORT {
        return long_attribute(out, number, name, value);
    }
    let length = head.len() + body.len();
    let all = name.len() + length + 4;
    out.reserve(all + 2);
    out.extend_from_slice(&[tag(number, BYTES), all as u8, tag(1, BYTES), name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&[tag(2, BYTES), length as u8]);
    out.extend_from_slice(head);
    out.extend_from_slice(body);
}

/// Bytes of a name or a text with which a `KeyValue` stays below 128 bytes, so that its length is one byte.
const SHORT: usize = 60;

fn long_attribute(out: &mut Vec<u8>, number: u32, name: &str, value: Spoken<'_>) {
    message(out, number, |out| {
        text(out, 1, name.as_bytes());
        message(out, 2, |out| match value {
            Spoken::Text(text) => bytes(out, 1, text),
            Spoken::Bool(value) => plain_value(out, Value::Bool(value)),
            Spoken::I64(value) => plain_value(out, Value::I64(value)),
            Spoken::F64(value) => plain_value(out, Value::F64(value)),
        });
    });
}

/// The fields of an `AnyValue`; written even when zero, because they are alternatives.
fn plain_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => bytes(out, 1, text.as_bytes()),
        Value::Static(text) => bytes(out, 1, text.as_bytes()),
        Value::Bool(value) => {
            key(out, 2, VARINT);
            varint(out, u64::from(value));
        }
        Value::I64(value) => {
            key(out, 3, VARINT);
            varint(out, value.cast_unsigned());
        }
        Value::F64(value) => {
            key(out, 4, FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// A message as field `number`: one byte is reserved for its length, and it moves up where that needs more.
fn message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, number, BYTES);
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    let more = varint_length(length as u64) - 1;
    if more > 0 {
        out.extend_from_slice(&[0; 9][..more]);
        out.copy_within(at + 1..at + 1 + length, at + 1 + more);
    }
    let mut rest = length as u64;
    for place in &mut out[at..=at + more] {
        *place = (rest as u8 & 127) | 128;
        rest >>= 7;
    }
    out[at + more] &= 127;
}

/// The key of a field whose number is below 16: one byte.
const fn tag(number: u32, wire: u32) -> u8 {
    (number << 3 | wire) as u8
}

fn key(out: &mut Vec<u8>, number: u32, wire: u32) {
    varint(out, u64::from(number << 3 | wire));
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push(value as u8 | 128);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_length(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        key(out, number, VARINT);
        varint(out, value);
    }
}

fn fixed64(out: &mut Vec<u8>, number: u32, value: u64) {
    key(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(out: &mut Vec<u8>, number: u32, value: u32) {
    key(out, number, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    key(out, number, BYTES);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A string that may be left out when empty.
fn text(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, number, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
            let mut out = Vec::new();
            message(&mut out, 1, |out| out.resize(out.len() + length, 7));
            let fields: Vec<_> = Fields(&out).collect();
            let [(1, Field::Bytes(read))] = fields[..] else { panic!("{length} does not read back") };
            assert_eq!(read, vec![7; length]);
            assert_eq!(out.len(), 1 + varint_length(length as u64) + length);
        }
    }

    #[test]
    fn an_answer_says_how_many_spans_were_refused() {
        assert_eq!(rejected_spans(&[]), 0);
        assert_eq!(rejected_spans(&[0x0a, 0x03, 0x08, 0x96, 0x01]), 150);
        assert_eq!(rejected_spans(&[0x0a, 0x7f, 0x08]), 0);
        assert_eq!(rejected_spans(b"<html>not protobuf</html>"), 0);
    }
}
