//! Traces as OTLP's JSON: ids in hexadecimal, 64-bit numbers as text, what is empty left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value as Json, json};
use telemetry::{AttributeList, Event, Link, Span, StatusCode, Trace, Value};

use super::Traces;
use super::origin::Origins;
use crate::pieces::{Broken, More, Pieces};

/// Spans of one piece.
const SPANS: usize = 256;

/// `{"result": {"resourceSpans": […]}}` with all traces, spans of one resource and scope together.
pub(super) struct OtlpAnswer {
    traces: Traces,
    stage: Stage,
    written: usize,
}

enum Stage {
    Begin,
    Between,
    /// The rows of a trace by resource and scope, and how many of them were written.
    Within {
        trace: Box<Trace>,
        rows: Vec<(usize, usize)>,
        done: usize,
    },
}

impl OtlpAnswer {
    pub(super) fn new(traces: Traces) -> Self {
        Self { traces, stage: Stage::Begin, written: 0 }
    }
}

impl Pieces for OtlpAnswer {
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        match &mut self.stage {
            Stage::Begin => {
                out.extend_from_slice(b"{\"result\":{\"resourceSpans\":[");
                self.stage = Stage::Between;
            }
            Stage::Between => match self.traces.next() {
                None => {
                    out.extend_from_slice(b"]}}");
                    return Ok(More::No);
                }
                Some((_, read)) => {
                    if let Some(trace) = read? {
                        let rows = by_origin(&trace);
                        self.stage = Stage::Within { trace: Box::new(trace), rows, done: 0 };
                    }
                }
            },
            Stage::Within { rows, done, .. } if *done == rows.len() => self.stage = Stage::Between,
            Stage::Within { trace, rows, done } => {
                if self.written > 0 {
                    out.push(b',');
                }
                self.written += 1;
                *done += write_group(trace, &rows[*done..], out)?;
            }
        }
        Ok(More::Yes)
    }
}

/// Rows with the number of their resource, those of one resource and scope side by side.
fn by_origin(trace: &Trace) -> Vec<(usize, usize)> {
    let mut origins = Origins::default();
    let spans = trace.spans();
    let mut rows: Vec<(usize, usize)> =
        spans.iter().enumerate().map(|(row, span)| (origins.number(&span.resource), row)).collect();
    rows.sort_by(|&(a, left), &(b, right)| {
        let scope = |row: usize| (&spans[row].scope.name, &spans[row].scope.version);
        (a, scope(left), left).cmp(&(b, scope(right), right))
    });
    rows
}

/// Writes the first spans of one resource and scope; answers how many.
fn write_group(trace: &Trace, rows: &[(usize, usize)], out: &mut Vec<u8>) -> Result<usize, Broken> {
    let spans = trace.spans();
    let (origin, first) = rows[0];
    let first = &spans[first];
    let alike = |&&(other, row): &&(usize, usize)| other == origin && spans[row].scope == first.scope;
    let group: Vec<SpanShape<'_>> =
        rows.iter().take(SPANS).take_while(alike).map(|&(_, row)| SpanShape::new(&spans[row])).collect();
    let count = group.len();
    let resource = match first.resource.attributes.is_empty() {
        true => json!({}),
        false => json!({"attributes": attributes(&first.resource.attributes)}),
    };
    let mut scope = json!({});
    for (key, text) in [("name", &first.scope.name), ("version", &first.scope.version)] {
        if !text.is_empty() {
            scope[key] = Json::from(text.as_str());
        }
    }
    out.extend_from_slice(
        format!("{{\"resource\":{resource},\"scopeSpans\":[{{\"scope\":{scope},\"spans\":").as_bytes(),
    );
    serde_json::to_writer(&mut *out, &group)?;
    out.extend_from_slice(b"}]}");
    Ok(count)
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanShape<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    kind: u32,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Json>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<EventShape<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_events_count: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<LinkShape<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_links_count: u32,
    status: StatusShape<'a>,
}

#[derive(Debug, Serialize)]
struct StatusShape<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    code: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventShape<'a> {
    time_unix_nano: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Json>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_attributes_count: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LinkShape<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace_state: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Json>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_attributes_count: u32,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> SpanShape<'a> {
    fn new(span: &'a Span) -> Self {
        let code = match span.status {
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
        };
        Self {
            trace_id: span.trace_id.to_string(),
            span_id: span.span_id.to_string(),
            trace_state: &span.trace_state,
            parent_span_id: span.parent.map(|parent| parent.to_string()),
            flags: span.flags,
            name: &span.name,
            kind: span.kind as u32,
            start_time_unix_nano: span.start_unix_nano.to_string(),
            end_time_unix_nano: span.end_unix_nano().to_string(),
            attributes: attributes(&span.attributes),
            dropped_attributes_count: span.dropped.attributes,
            events: span.events.iter().map(EventShape::new).collect(),
            dropped_events_count: span.dropped.events,
            links: span.links.iter().map(LinkShape::new).collect(),
            dropped_links_count: span.dropped.links,
            status: StatusShape { code, message: &span.status_message },
        }
    }
}

impl<'a> EventShape<'a> {
    fn new(event: &'a Event) -> Self {
        Self {
            time_unix_nano: event.time_unix_nano.to_string(),
            name: &event.name,
            attributes: attributes(&event.attributes),
            dropped_attributes_count: event.dropped_attributes,
        }
    }
}

impl<'a> LinkShape<'a> {
    fn new(link: &'a Link) -> Self {
        Self {
            trace_id: link.trace_id.to_string(),
            span_id: link.span_id.to_string(),
            trace_state: &link.trace_state,
            attributes: attributes(&link.attributes),
            dropped_attributes_count: link.dropped_attributes,
            flags: link.flags,
        }
    }
}

fn attributes(list: &AttributeList) -> Vec<Json> {
    list.iter().map(|(key, value)| json!({"key": key, "value": any_value(value)})).collect()
}

fn any_value(value: &Value) -> Json {
    match value {
        Value::Empty => json!({}),
        Value::Text(text) => json!({"stringValue": text}),
        Value::Bool(bool) => json!({"boolValue": bool}),
        Value::Int(int) => json!({"intValue": int.to_string()}),
        // Protobuf's JSON has words for what is no number.
        Value::Double(double) if double.is_nan() => json!({"doubleValue": "NaN"}),
        Value::Double(double) if double.is_infinite() => {
            json!({"doubleValue": if *double > 0.0 { "Infinity" } else { "-Infinity" }})
        }
        Value::Double(double) => json!({"doubleValue": double}),
        Value::Bytes(bytes) => json!({"bytesValue": STANDARD.encode(bytes)}),
        Value::List(list) => {
            json!({"arrayValue": {"values": list.iter().map(any_value).collect::<Vec<_>>()}})
        }
        Value::Map(map) => json!({"kvlistValue": {"values": attributes(map)}}),
    }
}
