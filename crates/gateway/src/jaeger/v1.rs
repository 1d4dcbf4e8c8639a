//! `/api/…`: services, operations, traces, dependencies, metrics.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Value, json};
use telemetry::{Keeping, WindowError};

use super::answer::{Missing, TracesAnswer};
use super::query::{self, Search};
use super::refused::{RefusedV1, respond};
use super::{Answer, AskedJaeger, Traces, read_one};
use crate::body::Query;
use crate::deed::Deed;
use crate::pieces;

/// Dependencies where the client does not say how far back: Jaeger's day.
const DEPENDENCIES_LOOKBACK: u64 = 24 * 3_600 * 1_000_000_000;

pub(super) type AnswerV1 = Answer<RefusedV1>;

/// A list as Jaeger answers it.
fn list(items: Vec<Value>) -> AnswerV1 {
    let body = json!({"total": items.len(), "limit": 0, "offset": 0, "errors": null, "data": items});
    Ok(respond(StatusCode::OK, &body))
}

/// `GET /api/services`
pub(crate) fn services(asked: &AskedJaeger<'_>) -> AnswerV1 {
    list(asked.telemetry()?.services().into_iter().map(Value::from).collect())
}

/// `GET /api/services/{service}/operations`: names alone, each once.
pub(crate) fn operations_of_service(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let telemetry = asked.telemetry()?;
    let mut operations = telemetry.operations(asked.name);
    if operations.is_empty() {
        // Grafana encodes the name twice, and Jaeger decodes it twice.
        operations = telemetry.operations(&decoded(asked.name));
    }
    let names: BTreeSet<String> = operations.into_iter().map(|operation| operation.name).collect();
    list(names.into_iter().map(Value::from).collect())
}

/// Takes one more percent-encoding off; text that has none stays as it is.
fn decoded(text: &str) -> String {
    let query = Query::parse(Some(&format!("name={text}")));
    query.ok().and_then(|query| query.text("name").map(str::to_owned)).unwrap_or_default()
}

/// `GET /api/operations?service=&spanKind=`
pub(crate) fn operations(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let Some(service) = asked.query.text("service") else {
        return Err(RefusedV1::new(StatusCode::BAD_REQUEST, "parameter 'service' is required"));
    };
    let kind = asked.query.text("spanKind");
    let operations = asked.telemetry()?.operations(service);
    let of_kind = operations.iter().filter(|operation| kind.is_none_or(|kind| kind == operation.kind.word()));
    list(
        of_kind.map(|operation| json!({"name": operation.name, "spanKind": operation.kind.word()})).collect(),
    )
}

/// `GET /api/traces`
pub(crate) fn search(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let telemetry = asked.telemetry()?;
    let (traces, missing) = match query::search(&asked.query, asked.now())? {
        Search::Ids(ids) => (Traces::of(telemetry, ids), Missing::Error),
        Search::Matching(filter) => {
            let found = telemetry.search(&filter)?;
            (Traces::of(telemetry, found.into_iter().map(|(id, _)| id)), Missing::Gone)
        }
    };
    Ok(pieces::json(TracesAnswer::new(traces, missing)))
}

/// `GET /api/traces/{id}`
pub(crate) fn trace(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let id = query::trace_id("traceID", asked.name)?;
    query::check_trace_hints(&asked.query)?;
    match read_one(asked.telemetry()?, id)? {
        Some(traces) => Ok(pieces::json(TracesAnswer::new(traces, Missing::Gone))),
        None => Err(RefusedV1::new(StatusCode::NOT_FOUND, "trace not found")),
    }
}

/// `POST /api/archive/{id}`: answered when the disk has it.
pub(crate) fn archive(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let id = query::trace_id("traceID", asked.name)?;
    asked.telemetry()?.archive_trace(id, Keeping::Asked)?;
    let body = json!({"data": [], "total": 0, "limit": 0, "offset": 0, "errors": []});
    let mut answer = respond(StatusCode::OK, &body);
    answer.extensions_mut().insert(Deed::trace(id).and("archived"));
    Ok(answer)
}

/// `GET /api/dependencies?endTs=&lookback=&service=`: calls between services, of messages too.
pub(crate) fn dependencies(asked: &AskedJaeger<'_>) -> AnswerV1 {
    let window = query::window(&asked.query, asked.now(), DEPENDENCIES_LOOKBACK)?;
    let service = asked.query.text("service");
    let edges = asked.telemetry()?.dependencies(window).map_err(|error| refused_window(&error))?;
    let mut calls: BTreeMap<(String, String), f64> = BTreeMap::new();
    for edge in edges {
        if service.is_none_or(|service| service == edge.caller || service == edge.callee) {
            *calls.entry((edge.caller, edge.callee)).or_default() += edge.caller_view.calls();
        }
    }
    let link = |((parent, child), calls): ((String, String), f64)| json!({"parent": parent, "child": child, "callCount": calls.round() as u64});
    list(calls.into_iter().map(link).collect())
}

/// A range that cannot be answered for.
pub(super) fn refused_window(error: &WindowError) -> RefusedV1 {
    RefusedV1::new(StatusCode::BAD_REQUEST, format!("unable to parse param 'lookback': {error}"))
}
