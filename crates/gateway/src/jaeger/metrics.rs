//! `/api/metrics/…`: what the UI's Monitor tab shows, from the rates, errors and durations counted while spans come in.
//!
//! Each point is exact for its own step; Jaeger's `ratePer` (over how long Prometheus averages) is checked and passed
//! over. A step without calls has a rate of 0 and neither a duration nor a share of errors: it has no point there.

use std::ops::Range;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use telemetry::{RedPoint, SeriesFilter, SpanKind, Telemetry, Window, WindowError};

use super::AskedJaeger;
use super::query::{self, Malformed};
use super::refused::{RefusedV1, respond};
use super::v1::{AnswerV1, refused_window};
use crate::span_time::show_time;

/// Jaeger's defaults, nanoseconds.
const LOOKBACK: u64 = 3_600 * 1_000_000_000;
const STEP: u64 = 5 * 1_000_000_000;

const KINDS: [(&str, SpanKind); 6] = [
    ("unspecified", SpanKind::Unspecified),
    ("internal", SpanKind::Internal),
    ("server", SpanKind::Server),
    ("client", SpanKind::Client),
    ("producer", SpanKind::Producer),
    ("consumer", SpanKind::Consumer),
];

/// What is asked of each step.
#[derive(Clone, Copy)]
enum Figure {
    /// Milliseconds that this share of calls stayed within.
    Latency(f64),
    /// Calls a second.
    Calls,
    /// Share of calls that ended in an error.
    Errors,
}

impl Figure {
    fn of(self, point: &RedPoint) -> Option<f64> {
        match self {
            Self::Latency(quantile) => point.calls.quantile(quantile).map(|time| time.as_secs_f64() * 1e3),
            Self::Calls => Some(point.rate()),
            Self::Errors => point.calls.error_ratio(),
        }
    }

    /// The family's name after `service_` or `service_operation_`, and what it is.
    fn words(self) -> (&'static str, String) {
        match self {
            Self::Latency(quantile) => ("latencies", format!("{quantile:.2}th quantile latency")),
            Self::Calls => ("call_rate", "calls/sec".to_owned()),
            Self::Errors => {
                ("error_rate", "error rate, computed as a fraction of errors/sec over calls/sec".to_owned())
            }
        }
    }
}

/// `GET /api/metrics/latencies`
pub(crate) fn latencies(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let text = asked.query.text("quantile").unwrap_or_default();
    match text.parse::<f64>() {
        Ok(quantile) if (0.0..=1.0).contains(&quantile) => family(asked, Figure::Latency(quantile)),
        _ => {
            Err(Malformed(format!("unable to parse param 'quantile': {text:?} is not a number from 0 to 1"))
                .into())
        }
    }
}

/// `GET /api/metrics/calls`
pub(crate) fn calls(asked: &AskedJaeger<'_>) -> AnswerV1 {
    family(asked, Figure::Calls)
}

/// `GET /api/metrics/errors`
pub(crate) fn errors(asked: &AskedJaeger<'_>) -> AnswerV1 {
    family(asked, Figure::Errors)
}

/// `GET /api/metrics/minstep`: milliseconds.
pub(crate) fn min_step(asked: &AskedJaeger<'_>) -> AnswerV1 {
    asked.telemetry()?;
    let body = json!({"data": 1000, "total": 0, "limit": 0, "offset": 0, "errors": null});
    Ok(respond(StatusCode::OK, &body))
}

fn family(asked: &AskedJaeger<'_>, figure: Figure) -> AnswerV1 {
    let services: Vec<&str> = asked.query.all("service").collect();
    if services.is_empty() {
        let message = "unable to parse param 'service': please provide at least one service name";
        return Err(RefusedV1::new(StatusCode::BAD_REQUEST, message));
    }
    let by_operation = query::boolean(&asked.query, "groupByOperation")?;
    let kinds = kinds(asked)?;
    let range = query::window(&asked.query, asked.now(), LOOKBACK)?;
    let step = Duration::from_nanos(query::millis(&asked.query, "step")?.unwrap_or(STEP));
    query::millis(&asked.query, "ratePer")?;
    let window = Window::new(range.start, range.end, step).map_err(|error| refused_window(&error))?;
    let telemetry = asked.telemetry()?;
    let mut metrics = Vec::new();
    for service in services {
        let filter =
            SeriesFilter { service: Some(service.to_owned()), operation: None, kinds: kinds.clone() };
        let filters = match by_operation {
            true => {
                of_operations(telemetry, &filter, range.clone()).map_err(|error| refused_window(&error))?
            }
            false => vec![filter],
        };
        metrics.extend(filters.iter().map(|filter| metric(&telemetry.red(filter, window), filter, figure)));
    }
    let (name, what) = figure.words();
    let (prefix, grouped) =
        if by_operation { ("service_operation", "service & operation") } else { ("service", "service") };
    let body = json!({
        "name": format!("{prefix}_{name}"),
        "type": "GAUGE",
        "help": format!("{what}, grouped by {grouped}"),
        "metrics": metrics,
    });
    Ok(respond(StatusCode::OK, &body))
}

/// One filter for each operation of a service that was called.
fn of_operations(
    telemetry: &Telemetry,
    filter: &SeriesFilter,
    range: Range<u64>,
) -> Result<Vec<SeriesFilter>, WindowError> {
    let mut names: Vec<String> =
        telemetry.series(filter, range)?.into_iter().filter_map(|series| series.operation).collect();
    names.sort();
    names.dedup();
    Ok(names.into_iter().map(|name| SeriesFilter { operation: Some(name), ..filter.clone() }).collect())
}

fn metric(points: &[RedPoint], filter: &SeriesFilter, figure: Figure) -> Value {
    let label = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| json!({"name": name, "value": value}))
    };
    let labels: Vec<Value> = [label("operation", &filter.operation), label("service_name", &filter.service)]
        .into_iter()
        .flatten()
        .collect();
    let points: Vec<Value> = points
        .iter()
        .filter_map(|point| {
            let value = figure.of(point)?;
            let time = show_time(point.start_unix_nano);
            Some(json!({"gaugeValue": {"doubleValue": value}, "timestamp": time}))
        })
        .collect();
    json!({"labels": labels, "metricPoints": points})
}

fn kinds(asked: &AskedJaeger<'_>) -> Result<Vec<SpanKind>, Malformed> {
    let read = |word: &str| {
        let known = KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        known.ok_or_else(|| {
            Malformed(format!("unable to parse param 'spanKind': unsupported span kind: '{word}'"))
        })
    };
    let kinds: Vec<SpanKind> = asked.query.all("spanKind").map(read).collect::<Result<_, _>>()?;
    Ok(if kinds.is_empty() { vec![SpanKind::Server] } else { kinds })
}
