//! Traces, spans and log records on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use telemetry::{
    AttributeList, Dropped, Event, Link, LogRecord, Oddity, Root, Row, Section, ServiceShare, Span,
    StatusCode, Trace, TraceSummary, Value,
};

use crate::span_time::show_time;

/// A trace in a list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TraceSummaryShape {
    trace_id: String,
    root_service: String,
    root_operation: String,
    /// The parent of the root is not there.
    root_missing: bool,
    start: String,
    duration_ms: f64,
    spans: usize,
    errors: usize,
    missing_parents: usize,
    services: Vec<ServiceShareShape>,
}

#[derive(Serialize, JsonSchema)]
struct ServiceShareShape {
    service: String,
    spans: usize,
    errors: usize,
}

impl From<TraceSummary> for TraceSummaryShape {
    fn from(summary: TraceSummary) -> Self {
        let share = |share: ServiceShare| ServiceShareShape {
            service: share.service,
            spans: share.spans,
            errors: share.errors,
        };
        Self {
            trace_id: summary.trace_id.to_string(),
            root_service: summary.root_service,
            root_operation: summary.root_operation,
            root_missing: summary.root == Root::Missing,
            start: show_time(summary.start_unix_nano),
            duration_ms: ms(summary.duration_nano),
            spans: summary.spans,
            errors: summary.errors,
            missing_parents: summary.missing_parents,
            services: summary.services.into_iter().map(share).collect(),
        }
    }
}

/// A stretch of the critical path.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SectionShape<'a> {
    span_id: String,
    service: &'a str,
    operation: &'a str,
    start: String,
    duration_ms: f64,
}

impl<'a> SectionShape<'a> {
    pub(crate) fn new(trace: &'a Trace, section: Section) -> Self {
        let span = &trace.spans()[section.row];
        Self {
            span_id: span.span_id.to_string(),
            service: span.service(),
            operation: &span.name,
            start: show_time(section.start_unix_nano),
            duration_ms: ms(section.duration_nano()),
        }
    }
}

/// A span with everything known about it, and its place in the trace.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SpanShape<'a> {
    span_id: String,
    parent_span_id: Option<String>,
    service: &'a str,
    operation: &'a str,
    kind: &'static str,
    start: String,
    duration_ms: f64,
    status: &'static str,
    status_message: Option<&'a str>,
    /// How many rows lead down to it.
    depth: usize,
    /// Time in which none of its children ran.
    self_ms: f64,
    /// What is odd about its place.
    oddity: Option<&'static str>,
    #[schemars(schema_with = "sent_attributes")]
    attributes: Json,
    #[schemars(schema_with = "sent_attributes")]
    resource: Json,
    scope: ScopeShape<'a>,
    events: Vec<EventShape<'a>>,
    links: Vec<LinkShape>,
    trace_state: Option<&'a str>,
    flags: u32,
    dropped: DroppedShape,
}

#[derive(Serialize, JsonSchema)]
struct ScopeShape<'a> {
    name: &'a str,
    version: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct EventShape<'a> {
    time: String,
    name: &'a str,
    #[schemars(schema_with = "sent_attributes")]
    attributes: Json,
    dropped_attributes: u32,
}

#[derive(Serialize, JsonSchema)]
struct LinkShape {
    trace_id: String,
    span_id: String,
    #[schemars(schema_with = "sent_attributes")]
    attributes: Json,
    dropped_attributes: u32,
}

#[derive(Serialize, JsonSchema)]
struct DroppedShape {
    attributes: u32,
    events: u32,
    links: u32,
}

impl<'a> SpanShape<'a> {
    pub(crate) fn new(span: &'a Span, row: &Row) -> Self {
        Self {
            span_id: span.span_id.to_string(),
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            service: span.service(),
            operation: &span.name,
            kind: if span.kind.word().is_empty() { "unspecified" } else { span.kind.word() },
            start: show_time(span.start_unix_nano),
            duration_ms: ms(span.duration_nano),
            status: status(span.status),
            status_message: given(&span.status_message),
            depth: row.depth,
            self_ms: ms(row.self_nano),
            oddity: row.oddity.map(Oddity::sentence),
            attributes: attributes(&span.attributes),
            resource: attributes(&span.resource.attributes),
            scope: ScopeShape { name: &span.scope.name, version: &span.scope.version },
            events: span.events.iter().map(event).collect(),
            links: span.links.iter().map(link).collect(),
            trace_state: given(&span.trace_state),
            flags: span.flags,
            dropped: dropped(span.dropped),
        }
    }
}

/// A log record.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LogRecordShape {
    time: String,
    service: String,
    /// 1 to 24, 0 when not said.
    severity_number: u8,
    severity: String,
    event_name: String,
    #[schemars(schema_with = "sent")]
    body: Json,
    trace_id: Option<String>,
    span_id: Option<String>,
    #[schemars(schema_with = "sent_attributes")]
    attributes: Json,
    #[schemars(schema_with = "sent_attributes")]
    resource: Json,
    dropped_attributes: u32,
}

impl From<&LogRecord> for LogRecordShape {
    fn from(record: &LogRecord) -> Self {
        Self {
            time: show_time(record.time_unix_nano),
            service: record.resource.service.clone(),
            severity_number: record.severity_number,
            severity: record.severity_text.clone(),
            event_name: record.event_name.clone(),
            body: plain_value(&record.body),
            trace_id: record.trace_id.map(|id| id.to_string()),
            span_id: record.span_id.map(|id| id.to_string()),
            attributes: attributes(&record.attributes),
            resource: attributes(&record.resource.attributes),
            dropped_attributes: record.dropped_attributes,
        }
    }
}

/// A value as plain JSON: bytes as base64, what is no number as text.
pub(crate) fn plain_value(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::Text(text) => Json::from(text.as_str()),
        Value::Int(int) => Json::from(*int),
        Value::Double(double) if !double.is_finite() => Json::from(double.to_string()),
        Value::Double(double) => Json::from(*double),
        Value::Bool(bool) => Json::from(*bool),
        Value::Bytes(bytes) => Json::from(STANDARD.encode(bytes)),
        Value::List(list) => list.iter().map(plain_value).collect(),
        Value::Map(map) => attributes(map),
    }
}

/// Whatever was sent.
fn sent(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["null", "string", "number", "boolean", "array", "object"]})
}

/// Whatever was sent, by name.
fn sent_attributes(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": sent(generator)})
}

/// Of a key that came twice the last value counts.
fn attributes(list: &AttributeList) -> Json {
    let pairs = list.iter().map(|(key, value)| (key.clone(), plain_value(value)));
    Json::Object(pairs.collect::<Map<String, Json>>())
}

fn event(event: &Event) -> EventShape<'_> {
    EventShape {
        time: show_time(event.time_unix_nano),
        name: &event.name,
        attributes: attributes(&event.attributes),
        dropped_attributes: event.dropped_attributes,
    }
}

fn link(link: &Link) -> LinkShape {
    LinkShape {
        trace_id: link.trace_id.to_string(),
        span_id: link.span_id.to_string(),
        attributes: attributes(&link.attributes),
        dropped_attributes: link.dropped_attributes,
    }
}

fn dropped(dropped: Dropped) -> DroppedShape {
    DroppedShape { attributes: dropped.attributes, events: dropped.events, links: dropped.links }
}

fn status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::Unset => "unset",
        StatusCode::Ok => "ok",
        StatusCode::Error => "error",
    }
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn ms(nano: u64) -> f64 {
    nano as f64 / 1e6
}
