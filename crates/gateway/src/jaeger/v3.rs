//! `/api/v3/…`: the same as OTLP, and summaries.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::json;
use telemetry::{Root, SpanKind, TraceSummary};

use super::otlp::OtlpAnswer;
use super::query;
use super::refused::{RefusedV3, respond};
use super::{Answer, AskedJaeger, Traces, read_one};
use crate::pieces::{self, Broken, More, Pieces};

type AnswerV3 = Answer<RefusedV3>;

/// `GET /api/v3/services`
pub(crate) fn services(asked: &AskedJaeger<'_>) -> AnswerV3 {
    Ok(respond(StatusCode::OK, &json!({"services": asked.telemetry()?.services()})))
}

/// `GET /api/v3/operations?service=&spanKind=`
pub(crate) fn operations(asked: &AskedJaeger<'_>) -> AnswerV3 {
    let service = asked.query.text("service").unwrap_or_default();
    let kind = asked.query.text("spanKind").or_else(|| asked.query.text("span_kind"));
    let word = |kind: SpanKind| match kind {
        SpanKind::Unspecified => SpanKind::Internal.word(),
        kind => kind.word(),
    };
    let operations: Vec<_> = asked
        .telemetry()?
        .operations(service)
        .into_iter()
        .filter(|operation| kind.is_none_or(|kind| kind == operation.kind.word()))
        .map(|operation| json!({"name": operation.name, "spanKind": word(operation.kind)}))
        .collect();
    Ok(respond(StatusCode::OK, &json!({"operations": operations})))
}

/// `GET /api/v3/traces`
pub(crate) fn search(asked: &AskedJaeger<'_>) -> AnswerV3 {
    let filter = query::search_v3(&asked.query)?;
    let telemetry = asked.telemetry()?;
    let found = telemetry.search(&filter)?;
    if found.is_empty() {
        return Err(RefusedV3::new(StatusCode::NOT_FOUND, "No traces found"));
    }
    let traces = Traces::of(telemetry, found.into_iter().map(|(id, _)| id));
    Ok(pieces::json(OtlpAnswer::new(traces)))
}

/// `GET /api/v3/traces/{id}`
pub(crate) fn trace(asked: &AskedJaeger<'_>) -> AnswerV3 {
    let id = query::trace_id("trace_id", asked.name)?;
    query::check_trace_hints_v3(&asked.query)?;
    match read_one(asked.telemetry()?, id)? {
        Some(traces) => Ok(pieces::json(OtlpAnswer::new(traces))),
        None => Err(RefusedV3::new(StatusCode::NOT_FOUND, "No traces found")),
    }
}

/// `GET /api/v3/trace-summaries`
pub(crate) fn summaries(asked: &AskedJaeger<'_>) -> AnswerV3 {
    let filter = query::search_v3(&asked.query)?;
    let telemetry = asked.telemetry()?;
    let found = telemetry.search(&filter)?;
    let traces = Traces::of(telemetry, found.into_iter().map(|(id, _)| id));
    Ok(pieces::json(Summaries { traces, written: None }))
}

/// `{"summaries": […]}`, each trace read, summed up and let go.
struct Summaries {
    traces: Traces,
    /// How many were written; none before the beginning.
    written: Option<usize>,
}

impl Pieces for Summaries {
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        let Some(written) = &mut self.written else {
            out.extend_from_slice(b"{\"summaries\":[");
            self.written = Some(0);
            return Ok(More::Yes);
        };
        let Some((_, read)) = self.traces.next() else {
            out.extend_from_slice(b"]}");
            return Ok(More::No);
        };
        if let Some(trace) = read? {
            if *written > 0 {
                out.push(b',');
            }
            *written += 1;
            serde_json::to_writer(out, &SummaryShape::new(&trace.summary()))?;
        }
        Ok(More::Yes)
    }
}

/// 64-bit numbers are text and zeros are left out, as protobuf's JSON has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SummaryShape<'a> {
    trace_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_service_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_operation_name: &'a str,
    min_start_time_unix_nano: String,
    max_end_time_unix_nano: String,
    span_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    error_span_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    orphan_span_count: usize,
    services: Vec<ShareShape<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShareShape<'a> {
    name: &'a str,
    span_count: usize,
    #[serde(skip_serializing_if = "is_zero")]
    error_span_count: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<'a> SummaryShape<'a> {
    fn new(summary: &'a TraceSummary) -> Self {
        // Jaeger names a root only where it is there; its UI has words of its own for a trace without one.
        let root = |text: &'a str| if summary.root == Root::Present { text } else { "" };
        let share = |share: &'a telemetry::ServiceShare| ShareShape {
            name: &share.service,
            span_count: share.spans,
            error_span_count: share.errors,
        };
        Self {
            trace_id: summary.trace_id.to_string(),
            root_service_name: root(&summary.root_service),
            root_operation_name: root(&summary.root_operation),
            min_start_time_unix_nano: summary.start_unix_nano.to_string(),
            max_end_time_unix_nano: summary.end_unix_nano().to_string(),
            span_count: summary.spans,
            error_span_count: summary.errors,
            orphan_span_count: summary.missing_parents,
            services: summary.services.iter().map(share).collect(),
        }
    }
}
