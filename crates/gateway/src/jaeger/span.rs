//! A span as Jaeger's model has it: microseconds, typed tags, references, logs.
//!
//! The mapping is OpenTelemetry's ("OpenTelemetry to Jaeger Transformation"): kind, status and scope become tags, events
//! logs, parent and links references.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use telemetry::{AttributeList, Event, Link, Oddity, Resource, Span, StatusCode, Value};

use crate::shapes::plain_value;

/// Whole numbers above this are not exact in JavaScript, and are written as text.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SpanShape<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
    operation_name: &'a str,
    references: Vec<Reference>,
    /// Microseconds since 1970.
    start_time: u64,
    /// Microseconds.
    duration: u64,
    tags: Vec<Tag<'a>>,
    logs: Vec<Log<'a>>,
    #[serde(rename = "processID")]
    process_id: String,
    warnings: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    ref_type: &'static str,
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(rename = "spanID")]
    span_id: String,
}

#[derive(Debug, Serialize)]
struct Tag<'a> {
    key: &'a str,
    r#type: &'static str,
    value: TagValue<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum TagValue<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Float(f64),
}

#[derive(Debug, Serialize)]
struct Log<'a> {
    timestamp: u64,
    fields: Vec<Tag<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessShape<'a> {
    service_name: &'a str,
    tags: Vec<Tag<'a>>,
}

/// The key of a process in its trace.
pub(super) fn process_key(number: usize) -> String {
    format!("p{}", number + 1)
}

impl<'a> SpanShape<'a> {
    pub(super) fn new(span: &'a Span, process: usize, oddity: Option<Oddity>) -> Self {
        Self {
            trace_id: span.trace_id.to_string(),
            span_id: span.span_id.to_string(),
            operation_name: &span.name,
            references: references(span),
            start_time: span.start_unix_nano / 1000,
            duration: span.duration_nano / 1000,
            tags: tags(span),
            logs: span.events.iter().map(log).collect(),
            process_id: process_key(process),
            warnings: warnings(span, oddity),
        }
    }
}

impl<'a> ProcessShape<'a> {
    pub(super) fn new(resource: &'a Resource) -> Self {
        let others = resource.attributes.iter().filter(|(key, _)| key != "service.name");
        Self { service_name: &resource.service, tags: others.map(|(key, value)| tag(key, value)).collect() }
    }
}

fn references(span: &Span) -> Vec<Reference> {
    let parent = span.parent.map(|parent| Reference {
        ref_type: "CHILD_OF",
        trace_id: span.trace_id.to_string(),
        span_id: parent.to_string(),
    });
    let links = span.links.iter().map(|link| Reference {
        ref_type: reference_type(link),
        trace_id: link.trace_id.to_string(),
        span_id: link.span_id.to_string(),
    });
    // First the parent: clients take the first reference for it.
    parent.into_iter().chain(links).collect()
}

/// A link was a second parent where OpenTracing's bridge says so.
fn reference_type(link: &Link) -> &'static str {
    let child_of = ("opentracing.ref_type".to_owned(), Value::Text("child_of".to_owned()));
    if link.attributes.contains(&child_of) { "CHILD_OF" } else { "FOLLOWS_FROM" }
}

fn tags(span: &Span) -> Vec<Tag<'_>> {
    let mut tags = Vec::with_capacity(span.attributes.len() + 6);
    if !span.scope.name.is_empty() {
        tags.push(text("otel.scope.name", &span.scope.name));
    }
    if !span.scope.version.is_empty() {
        tags.push(text("otel.scope.version", &span.scope.version));
    }
    tags.extend(attributes(&span.attributes));
    if !span.kind.word().is_empty() {
        tags.push(text("span.kind", span.kind.word()));
    }
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => tags.push(text("otel.status_code", "OK")),
        StatusCode::Error => {
            tags.push(text("otel.status_code", "ERROR"));
            tags.push(Tag { key: "error", r#type: "bool", value: TagValue::Bool(true) });
        }
    }
    if !span.status_message.is_empty() {
        tags.push(text("otel.status_description", &span.status_message));
    }
    if !span.trace_state.is_empty() {
        tags.push(text("w3c.tracestate", &span.trace_state));
    }
    tags
}

fn attributes(list: &AttributeList) -> impl Iterator<Item = Tag<'_>> {
    list.iter().map(|(key, value)| tag(key, value))
}

fn log(event: &Event) -> Log<'_> {
    let named = event.attributes.iter().any(|(key, _)| key == "event") || event.name.is_empty();
    let name = (!named).then(|| text("event", &event.name));
    Log {
        timestamp: event.time_unix_nano / 1000,
        fields: name.into_iter().chain(attributes(&event.attributes)).collect(),
    }
}

fn text<'a>(key: &'a str, value: &'a str) -> Tag<'a> {
    Tag { key, r#type: "string", value: TagValue::Text(Cow::Borrowed(value)) }
}

fn tag<'a>(key: &'a str, value: &'a Value) -> Tag<'a> {
    let (r#type, value) = match value {
        Value::Empty => ("string", TagValue::Text(Cow::Borrowed(""))),
        Value::Text(text) => ("string", TagValue::Text(Cow::Borrowed(text))),
        Value::Bool(bool) => ("bool", TagValue::Bool(*bool)),
        Value::Int(int) if int.unsigned_abs() > SAFE_INTEGER => {
            ("int64", TagValue::Text(Cow::Owned(int.to_string())))
        }
        Value::Int(int) => ("int64", TagValue::Int(*int)),
        Value::Double(double) if !double.is_finite() => {
            ("float64", TagValue::Text(Cow::Owned(double.to_string())))
        }
        Value::Double(double) => ("float64", TagValue::Float(*double)),
        Value::Bytes(bytes) => ("binary", TagValue::Text(Cow::Owned(STANDARD.encode(bytes)))),
        list @ (Value::List(_) | Value::Map(_)) => {
            ("string", TagValue::Text(Cow::Owned(plain_value(list).to_string())))
        }
    };
    Tag { key, r#type, value }
}

/// What a person should know who looks at the span.
fn warnings(span: &Span, oddity: Option<Oddity>) -> Option<Vec<String>> {
    let dropped = &span.dropped;
    let counts = [(dropped.attributes, "attributes"), (dropped.events, "events"), (dropped.links, "links")];
    let left_out = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what} of this span were left out before it was stored"));
    let warnings: Vec<String> =
        oddity.map(|oddity| oddity.sentence().to_owned()).into_iter().chain(left_out).collect();
    (!warnings.is_empty()).then_some(warnings)
}
