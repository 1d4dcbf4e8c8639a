//! Jaeger's HTTP query API, so that the Jaeger UI and Grafana's Jaeger data source work unchanged: point them at
//! `http://localhost:4000`.
//!
//! In: requests as Jaeger's clients make them, forgiving where Jaeger is (unknown parameters are passed over). Out: its
//! JSON, answers of many spans written while they are sent, and errors in the form its clients read.
//!
//! Two versions are spoken: `/api/…`, which Grafana and older UIs use, and `/api/v3/…`, where traces are OTLP. What
//! Jaeger reads and we do not need is read, checked and passed over: `raw`, and the times of a trace asked for by id
//! (hints for stores that are cut by day).
//!
//! `POST /api/archive/{id}` is the one write: the UI's button "Archive Trace", which whoever serves the UI switches on by
//! `archiveStorage` of its storage capabilities. It needs proof as every write does.
//!
//! Deliberately absent: uploads, expressions as filters (`query.filter`), clock skew taken out of time
//! stamps (Jaeger has it off by default).

mod answer;
mod metrics;
mod origin;
mod otlp;
mod query;
mod refused;
mod span;
#[cfg(test)]
mod tests;
mod v1;
mod v3;

use std::collections::VecDeque;

use axum::response::Response;
use telemetry::{ReadError, Telemetry, Trace, TraceId};

use axum::http::Method;
use axum::response::IntoResponse;
use domain::Permission;

use crate::body::Query;
use crate::endpoint::Endpoint;
use crate::problem::Problem;
use crate::routes::{asks, changes};
use crate::serve::App;

/// The API of others whose addresses these are.
const API: &str = "Jaeger";

/// Its endpoints, at addresses of its own.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    fn at<E>(path: &str, name: &'static str, handler: fn(&AskedJaeger<'_>) -> Result<Response, E>) -> Endpoint
    where
        E: IntoResponse + From<Problem> + Send + 'static,
    {
        Endpoint::foreign(Method::GET, Permission::TelemetryRead, path, API, name, asks(handler))
    }
    vec![
        at("/api/services", "jaeger.services", v1::services),
        at("/api/services/{service}/operations", "jaeger.operations_of_service", v1::operations_of_service),
        at("/api/operations", "jaeger.operations", v1::operations),
        at("/api/traces", "jaeger.search", v1::search),
        at("/api/traces/{id}", "jaeger.trace", v1::trace),
        at("/api/dependencies", "jaeger.dependencies", v1::dependencies),
        at("/api/metrics/latencies", "jaeger.latencies", metrics::latencies),
        at("/api/metrics/calls", "jaeger.calls", metrics::calls),
        at("/api/metrics/errors", "jaeger.errors", metrics::errors),
        at("/api/metrics/minstep", "jaeger.min_step", metrics::min_step),
        Endpoint::foreign(
            Method::POST,
            Permission::TelemetryWrite,
            "/api/archive/{id}",
            API,
            "jaeger.archive",
            changes(v1::archive),
        )
        .changes(),
        at("/api/v3/services", "jaeger.v3_services", v3::services),
        at("/api/v3/operations", "jaeger.v3_operations", v3::operations),
        at("/api/v3/traces", "jaeger.v3_search", v3::search),
        at("/api/v3/traces/{id}", "jaeger.v3_trace", v3::trace),
        at("/api/v3/trace-summaries", "jaeger.v3_summaries", v3::summaries),
    ]
}

/// One request of Jaeger's API.
pub(crate) struct AskedJaeger<'a> {
    pub(crate) app: &'a App,
    /// What stands in the path's one placeholder.
    pub(crate) name: &'a str,
    pub(crate) query: Query,
}

/// What a handler gives.
type Answer<E> = Result<Response, E>;

impl AskedJaeger<'_> {
    fn telemetry(&self) -> Result<&Telemetry, NoTelemetry> {
        self.app.telemetry.as_ref().ok_or(NoTelemetry)
    }

    /// Nanoseconds since 1970.
    fn now(&self) -> u64 {
        u64::try_from(self.app.clock.now().wall_us).unwrap_or(0).saturating_mul(1000)
    }
}

/// No telemetry is kept here.
pub(crate) struct NoTelemetry;

impl NoTelemetry {
    /// What people are told.
    pub(crate) const SENTENCE: &'static str =
        "this control plane keeps no spans and no log records; the log of `homeostat serve` says why";
}

/// Traces by their ids, read one after the other while an answer is written.
struct Traces {
    telemetry: Telemetry,
    ids: VecDeque<TraceId>,
    /// Read before the answer began, to know whether there is anything.
    ready: Option<Trace>,
}

impl Traces {
    fn of(telemetry: &Telemetry, ids: impl IntoIterator<Item = TraceId>) -> Self {
        Self { telemetry: telemetry.clone(), ids: ids.into_iter().collect(), ready: None }
    }

    /// The next trace; an id that has none is answered as such.
    fn next(&mut self) -> Option<(TraceId, Result<Option<Trace>, ReadError>)> {
        if let Some(trace) = self.ready.take() {
            return Some((trace.id(), Ok(Some(trace))));
        }
        let id = self.ids.pop_front()?;
        Some((id, self.telemetry.trace(id).map(Trace::assemble)))
    }
}

/// The one trace asked for, read at once.
fn read_one(telemetry: &Telemetry, id: TraceId) -> Result<Option<Traces>, ReadError> {
    let trace = Trace::assemble(telemetry.trace(id)?);
    Ok(trace.map(|trace| Traces { ready: Some(trace), ..Traces::of(telemetry, []) }))
}
