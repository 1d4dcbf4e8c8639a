//! Spans and log records as people and queries read them: whole, owned, with names in place of codes.
//!
//! Rows of a block become these only when they are answered with; nothing on the way in is ever one.
//! Source of the fields: OpenTelemetry protocol 1.x, `trace.proto`, `logs.proto`, `common.proto`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;
use std::str::FromStr;
use std::sync::Arc;

/// A trace's id: 16 bytes, never all zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// A span's id: 8 bytes, never all zero, unique in its trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: it needs {digits} hexadecimal digits, not all zero")]
pub struct IdError {
    text: String,
    what: &'static str,
    digits: usize,
}

impl FromStr for TraceId {
    type Err = IdError;

    /// Reads 32 hexadecimal digits; shorter text (older Jaeger clients leave leading zeros out) is filled up in front.
    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| IdError {
            text: text.to_owned(),
            what: "trace id",
            digits: 32,
        })
    }
}

impl FromStr for SpanId {
    type Err = IdError;

    /// Reads 16 hexadecimal digits; shorter text is filled up in front.
    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Self).ok_or_else(|| IdError {
            text: text.to_owned(),
            what: "span id",
            digits: 16,
        })
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.is_empty() || text.len() > 2 * N {
        return None;
    }
    let mut id = [0u8; N];
    for (i, digit) in text.bytes().rev().enumerate() {
        let value = char::from(digit).to_digit(16)? as u8;
        id[N - 1 - i / 2] |= value << (4 * (i % 2));
    }
    (id != [0; N]).then_some(id)
}

macro_rules! hexadecimal {
    ($id:ty) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
hexadecimal!(TraceId);
hexadecimal!(SpanId);

/// The value of an attribute, or the body of a log record. Equal are those that were sent the same: a double that is no
/// number is equal to itself.
#[derive(Debug, Clone)]
pub enum Value {
    /// No value was given.
    Empty,
    /// Text.
    Text(String),
    /// Signed 64-bit integer.
    Int(i64),
    /// 64-bit floating point.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A map, in the order in which it came.
    Map(Vec<(String, Value)>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Empty, Self::Empty) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        mem::discriminant(self).hash(state);
        match self {
            Self::Empty => {}
            Self::Text(text) => text.hash(state),
            Self::Int(number) => number.hash(state),
            Self::Double(number) => number.to_bits().hash(state),
            Self::Bool(yes) => yes.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::List(list) => list.hash(state),
            Self::Map(map) => map.hash(state),
        }
    }
}

/// Attributes in the order in which they came.
pub type AttributeList = Vec<(String, Value)>;

/// Who made a span or a log record: OTLP's resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Resource {
    /// `service.name`, or `unknown_service` where it is missing (OpenTelemetry resource conventions).
    pub service: String,
    /// All attributes, `service.name` among them.
    pub attributes: AttributeList,
}

/// The instrumentation that made it: OTLP's scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// Name of the library.
    pub name: String,
    /// Version of the library, empty when not given.
    pub version: String,
}

/// What role a span has in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SpanKind {
    /// Not said.
    Unspecified = 0,
    /// Within a service.
    Internal = 1,
    /// Serves a request from elsewhere.
    Server = 2,
    /// Makes a request to elsewhere.
    Client = 3,
    /// Sends a message that is handled later.
    Producer = 4,
    /// Handles a message.
    Consumer = 5,
}

impl SpanKind {
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }

    /// The word OpenTelemetry and Jaeger use for it; empty where it was not said.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StatusCode {
    /// Not said.
    Unset = 0,
    /// Said to be good by who made it.
    Ok = 1,
    /// An error.
    Error = 2,
}

impl StatusCode {
    pub(crate) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}

/// A span.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it; none for a root.
    pub parent: Option<SpanId>,
    /// W3C `tracestate`, as it came.
    pub trace_state: String,
    /// W3C trace flags and OTLP's bits above them.
    pub flags: u32,
    /// The operation.
    pub name: String,
    /// Its role.
    pub kind: SpanKind,
    /// Nanoseconds since 1970-01-01 UTC.
    pub start_unix_nano: u64,
    /// Nanoseconds; 0 where the end lay before the start.
    pub duration_nano: u64,
    /// How it ended.
    pub status: StatusCode,
    /// The status in words, empty when not given.
    pub status_message: String,
    /// Who made it.
    pub resource: Arc<Resource>,
    /// With what.
    pub scope: Arc<Scope>,
    /// What is known about it.
    pub attributes: AttributeList,
    /// What happened while it ran.
    pub events: Vec<Event>,
    /// Other spans it has to do with.
    pub links: Vec<Link>,
    /// Attributes, events and links that the sender or our limits left out.
    pub dropped: Dropped,
}

impl Span {
    /// Nanoseconds since 1970-01-01 UTC at which it ended.
    pub fn end_unix_nano(&self) -> u64 {
        self.start_unix_nano.saturating_add(self.duration_nano)
    }

    /// Its service.
    pub fn service(&self) -> &str {
        &self.resource.service
    }
}

/// How many parts of a span or record were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Dropped {
    /// Attributes.
    pub attributes: u32,
    /// Events.
    pub events: u32,
    /// Links.
    pub links: u32,
}

/// Something that happened while a span ran.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    /// Nanoseconds since 1970-01-01 UTC.
    pub time_unix_nano: u64,
    /// What happened.
    pub name: String,
    /// What is known about it.
    pub attributes: AttributeList,
    /// Attributes left out.
    pub dropped_attributes: u32,
}

/// A span of this or another trace that a span has to do with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Link {
    /// The other span's trace.
    pub trace_id: TraceId,
    /// The other span.
    pub span_id: SpanId,
    /// Its W3C `tracestate`.
    pub trace_state: String,
    /// Its W3C trace flags and OTLP's bits above them.
    pub flags: u32,
    /// What is known about the relation.
    pub attributes: AttributeList,
    /// Attributes left out.
    pub dropped_attributes: u32,
}

/// A log record.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When it happened: nanoseconds since 1970-01-01 UTC; the time it was observed where the source did not say.
    pub time_unix_nano: u64,
    /// When it was observed; 0 when not said.
    pub observed_unix_nano: u64,
    /// 1 to 24 (trace 1–4, debug 5–8, info 9–12, warn 13–16, error 17–20, fatal 21–24), 0 when not said.
    pub severity_number: u8,
    /// The severity in the source's own word.
    pub severity_text: String,
    /// Names records of one kind; mostly empty.
    pub event_name: String,
    /// What was logged.
    pub body: Value,
    /// What is known about it.
    pub attributes: AttributeList,
    /// The trace it was logged in.
    pub trace_id: Option<TraceId>,
    /// The span it was logged in.
    pub span_id: Option<SpanId>,
    /// W3C trace flags.
    pub flags: u32,
    /// Who logged it.
    pub resource: Arc<Resource>,
    /// With what.
    pub scope: Arc<Scope>,
    /// Attributes left out.
    pub dropped_attributes: u32,
}

/// What a block, a file or a request holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Signal {
    /// Spans.
    Spans = 1,
    /// Log records.
    Logs = 2,
}

impl Signal {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Spans),
            2 => Some(Self::Logs),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written_and_short_ones_are_filled_up() {
        let id: TraceId = "000102030405060708090a0b0c0d0e0f".parse().expect("32 digits");
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f");
        let short: TraceId = "abc".parse().expect("short");
        assert_eq!(short.to_string(), format!("{:0>32}", "abc"));
        assert_eq!(short.to_string().parse::<TraceId>(), Ok(short));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "0", "00000000000000000000000000000000", "xyz", "0123456789abcdef0123456789abcdef0"]
        {
            assert!(text.parse::<TraceId>().is_err(), "{text}");
        }
        let error = "g".parse::<SpanId>().expect_err("no hexadecimal digit").to_string();
        assert!(error.contains("16 hexadecimal digits"), "{error}");
    }
}
