//! Prometheus' HTTP query API, so that Grafana's Prometheus data source and other clients work unchanged: point them at
//! `http://localhost:4000`.
//!
//! In: requests as Prometheus' clients make them, by `GET` or as a form by `POST`; what they ask is read either way, so
//! neither needs the token. Out: its JSON, answers of many series written while they are sent, and errors in its form
//! with its status codes. Values come from [`metrics::Metrics`] through [`promql::Engine`]; rules and targets from who
//! runs them ([`promql::rules::RuleStates`], [`ScrapeTargets`]).
//!
//! A query runs for at most [`QUERY_TIME`], or for what `timeout` says where that is less, waiting for its turn
//! included, and ends when its client goes away.
//!
//! Deliberately absent: `stats` (passed over), `format_query` and `parse_query`, the administration of the database,
//! remote read, federation.

mod answer;
mod catalogue;
mod form;
mod number;
mod parameter;
mod query;
mod refused;
mod rules;
mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use metrics::Metrics;
use promql::{Engine, Experimental, Options};

pub(crate) use catalogue::{build, exemplars, label_values, labels, metadata, series, word};
pub(crate) use number::shown;
pub(crate) use query::{POINTS_MAX, instant, range};
pub(crate) use rules::{alerts, rules};
pub use targets::ScrapeTargets;
pub(crate) use targets::targets;

use axum::http::Method;
use domain::Permission;

use crate::endpoint::Endpoint;
use crate::routes::queries;
use crate::serve::App;
use form::Form;
use refused::Refused;

/// The API of others whose addresses these are.
pub(crate) const API: &str = "Prometheus";

/// Its endpoints, at addresses of its own. Nothing here may change anything: what is asked by `POST` is read as well.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str, name, handler: Handler| {
        let read = Permission::TelemetryRead;
        Endpoint::foreign(Method::GET, read, &format!("/api/v1/{path}"), API, name, queries(handler))
    };
    vec![
        at("query", "prometheus.query", instant),
        at("query_range", "prometheus.query_range", range),
        at("query_exemplars", "prometheus.query_exemplars", exemplars),
        at("series", "prometheus.series", series),
        at("labels", "prometheus.labels", labels),
        at("label/{name}/values", "prometheus.label_values", label_values),
        at("metadata", "prometheus.metadata", metadata),
        at("rules", "prometheus.rules", rules),
        at("alerts", "prometheus.alerts", alerts),
        at("targets", "prometheus.targets", targets),
        at("status/buildinfo", "prometheus.buildinfo", build),
    ]
}

/// How long a query may take: Prometheus' default.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(120);

/// How long a query that is out of time may take to notice, before its client is told without it.
const GRACE: Duration = Duration::from_secs(1);

/// Queries that run at a time, half of the threads there are for calls that block: an emergency stop finds one.
pub(crate) const QUERIES_MAX: usize = 8;

/// Most samples that a query reads, and most values that a part of it has: Prometheus' default.
const SAMPLES_MAX: u64 = 50_000_000;

/// The version of Prometheus whose language and API are spoken: clients choose by it what they ask.
const SPOKEN_VERSION: &str = "3.16.0";

/// One request.
pub(crate) struct Asked<'a> {
    app: &'a App,
    /// What stands in the path's one placeholder.
    name: &'a str,
    form: Form,
    deadline: Instant,
    left: &'a AtomicBool,
}

/// What a handler gives.
type Answer = Result<Response, Refused>;

/// A handler.
pub(crate) type Handler = fn(&Asked<'_>) -> Answer;

/// How expressions are understood here: as Prometheus does, with what it calls experimental.
pub(crate) fn options() -> Options {
    Options { experimental: Experimental::Known, ..Options::default() }
}

/// Answers a request when it is its turn, on the blocking pool.
pub(crate) async fn answer(
    app: Arc<App>,
    name: String,
    uri: Uri,
    content_type: String,
    body: Bytes,
    handler: Handler,
) -> Response {
    match asked(app, name, &uri, &content_type, &body, handler).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn asked(
    app: Arc<App>,
    name: String,
    uri: &Uri,
    content_type: &str,
    body: &[u8],
    handler: Handler,
) -> Answer {
    let form = Form::read(uri.query(), content_type, body)?;
    let time = parameter::timeout(&form)?.unwrap_or(QUERY_TIME).min(QUERY_TIME);
    let deadline = Instant::now() + time;
    let turn = tokio::time::timeout(time, Arc::clone(&app.queries).acquire_owned());
    let Ok(Ok(turn)) = turn.await else { return Err(Refused::timeout("query timed out in query queue")) };
    let leaving = Leaving::default();
    let left = Arc::clone(&leaving.0);
    let thread = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        handler(&Asked { app: &app, name: &name, form, deadline, left: &left })
    });
    match tokio::time::timeout_at((deadline + GRACE).into(), thread).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => {
            Err(Refused::internal("the query could not be answered; the log of `homeostat serve` says why"))
        }
        Err(_) => Err(Refused::timeout("query timed out in expression evaluation")),
    }
}

/// Tells who works for a client that it is gone: then the future that waits is dropped, and this with it.
#[derive(Default)]
struct Leaving(Arc<AtomicBool>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Asked<'_> {
    fn metrics(&self) -> Result<&Metrics, Refused> {
        self.app.metrics.as_ref().ok_or_else(|| Refused::unavailable(NO_METRICS))
    }

    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        self.app.clock.now().wall_us.div_euclid(1000)
    }

    fn engine(&self) -> Result<Engine, Refused> {
        let mut options = options();
        if let Some(lookback) = parameter::lookback_ms(&self.form)? {
            options.lookback_ms = lookback;
        }
        Ok(Engine::new(options))
    }

    /// Whether nobody waits for the answer any more.
    fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    fn is_given_up(&self) -> bool {
        self.has_left() || Instant::now() >= self.deadline
    }
}

/// What people are told where no series are kept.
pub(crate) const NO_METRICS: &str = "this control plane keeps no series; it is off in the configuration, or the log of `homeostat serve` says why";
