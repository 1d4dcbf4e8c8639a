//! `POST observability/trace`: the spans of one trace, as OTLP's JSON.
//!
//! In: an ExportTraceServiceRequest of one trace. Out: what was taken, when the disk has it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use axum::http::{HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use telemetry::TraceId;

use super::observability::no_telemetry;
use super::{Answer, Asked, json};
use crate::deed::Deed;
use crate::endpoint::TRACE_ID;
use crate::otlp::{self, signal::Signal};
use crate::problem::{Code, Problem, chain};

/// The part of OTLP's ExportTraceServiceRequest that is looked at here; the rest is OTLP's, and unknown fields are passed
/// over as OTLP wants it.
pub(super) struct TraceBody;

impl JsonSchema for TraceBody {
    fn schema_name() -> Cow<'static, str> {
        "ExportTraceServiceRequest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "OTLP's ExportTraceServiceRequest in JSON, with the spans of one trace",
            "required": ["resourceSpans"],
            "properties": {"resourceSpans": {"type": "array", "minItems": 1, "items": {
                "type": "object", "required": ["scopeSpans"],
                "properties": {"scopeSpans": {"type": "array", "minItems": 1, "items": {
                    "type": "object", "required": ["spans"],
                    "properties": {"spans": {"type": "array", "minItems": 1, "items": {
                        "type": "object", "required": ["traceId", "spanId"],
                        "properties": {
                            "traceId": {"type": "string", "pattern": TRACE_ID},
                            "spanId": {"type": "string", "pattern": "^[0-9a-fA-F]{16}$"}
                        }
                    }}}
                }}}
            }}},
            "examples": [{"resourceSpans": [{
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
                "scopeSpans": [{"spans": [{
                    "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
                    "name": "GET /cart", "kind": 2,
                    "startTimeUnixNano": "1763782500000000000", "endTimeUnixNano": "1763782500020000000"
                }]}]
            }]}]
        })
    }
}

/// `POST …/trace`: takes the spans of one trace as OTLP's JSON, and answers when the disk has them.
pub(crate) fn take_trace(asked: &Asked<'_>) -> Answer {
    let intake = asked.app.intake.as_ref().ok_or_else(no_telemetry)?;
    let id = the_one_trace(asked.body)?;
    asked.deed.tell(Deed::trace(id));
    let request =
        otlp::json::transcode(Signal::Traces, asked.body).map_err(|error| not_otlp(chain(&error)))?;
    let admission = intake.traces(&request)?;
    admission.durable.wait()?;
    asked.deed.add(format!("spans taken: {}", admission.accepted));
    let taken = Taken {
        trace_id: id.to_string(),
        accepted: admission.accepted,
        rejected: admission.rejected,
        reason: admission.reason,
    };
    let mut response = json(StatusCode::CREATED, &taken)?;
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{id}", asked.path)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// What was taken of a trace.
#[derive(Serialize, JsonSchema)]
pub(super) struct Taken {
    trace_id: String,
    accepted: u64,
    rejected: u64,
    reason: Option<String>,
}

/// As much of OTLP's JSON as it takes to see which traces it holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    #[serde(default)]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    #[serde(default)]
    spans: Vec<SpanOfTrace>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanOfTrace {
    #[serde(default)]
    trace_id: String,
}

fn the_one_trace(body: &[u8]) -> Result<TraceId, Problem> {
    let request: Request = serde_json::from_slice(body).map_err(|error| not_otlp(error.to_string()))?;
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let ids: BTreeSet<String> = scopes.flat_map(|scope| scope.spans).map(|span| span.trace_id).collect();
    match (ids.len(), ids.first()) {
        (1, Some(id)) => id.parse().map_err(|error| Problem::field("traceId", format!("{error}"))),
        (count, _) => Err(Problem::field(
            "traceId",
            format!("the spans belong to {count} traces; send those of one, or use the OTLP receiver"),
        )),
    }
}

fn not_otlp(why: impl std::fmt::Display) -> Problem {
    Problem::new(Code::MalformedJson, format!("the body is no OTLP ExportTraceServiceRequest in JSON: {why}"))
}
