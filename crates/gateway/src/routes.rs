//! Which address is answered by what, and what every request passes on its way.
//!
//! From outside in: the headers every answer carries and the form of errors; the time limit; Host; for
//! writes the token and Origin; the handler, on the blocking pool. Queries of series read by `POST` too: they pass Host
//! alone, and have a time limit of their own.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use axum::{Extension, Router};
use homeostat_tracer::Tracer;
use homeostat_tracer::tower::ServerLayer;

use crate::api::{self, Answer, Asked};
use crate::body::{Query, encode};
use crate::jaeger::{self, AskedJaeger};
use crate::live;
use crate::page;
use crate::problem::{NotKept, Problem};
use crate::prometheus;
use crate::security::{self, BODY_LIMIT, REQUEST_TIME, Via};
use crate::serve::App;

type Handler = fn(&Asked<'_>) -> Answer;
type Routes = MethodRouter<Arc<App>>;

/// The whole surface.
pub(crate) fn router(app: Arc<App>, tracer: Option<Tracer>) -> Router {
    let healing = self_healing();
    let router = Router::new()
        .nest("/api/v3/self-healing", healing.clone())
        .nest("/api/self-healing", healing)
        .nest("/api/v3/chaos", chaos())
        .nest("/api/v3/observability", observability())
        .nest("/api", jaeger())
        .merge(pages())
        .fallback(unknown);
    let router = guarded(router, &app).merge(guarded_reads(prometheus(), &app));
    let router = match tracer {
        // By `Router::layer` it runs inside the routing, where the address is known that matched.
        Some(tracer) => router.layer(ServerLayer::new().tracer(tracer).route(matched)),
        None => router,
    };
    router.merge(guarded(untraced(), &app)).with_state(app)
}

/// What asks by itself, or lasts as long as a page is open: traced, it would bury what people and programs ask.
fn untraced() -> Router<Arc<App>> {
    Router::new()
        .route("/health", reads(api::health))
        .route("/metrics", reads(api::metrics))
        .route("/events", get(live::events))
        .route("/assets/style.css", get(|| asset("text/css; charset=utf-8", page::STYLE)))
        .route("/assets/page.js", get(|| asset("text/javascript; charset=utf-8", page::SCRIPT)))
        .route("/assets/traces.js", get(|| asset("text/javascript; charset=utf-8", page::TRACES_SCRIPT)))
        .route("/assets/metrics.js", get(|| asset("text/javascript; charset=utf-8", page::METRICS_SCRIPT)))
        .route("/assets/uplot.js", get(|| asset("text/javascript; charset=utf-8", page::UPLOT)))
        .route("/assets/timeline.js", get(|| asset("text/javascript; charset=utf-8", page::TIMELINE_SCRIPT)))
        .route("/favicon.svg", get(|| asset("image/svg+xml", page::ICON)))
        .route("/favicon.ico", any(|| async { Redirect::permanent("/favicon.svg") }))
}

/// What every request passes, whether it is traced or not.
fn guarded(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(app), guard))
        .layer(from_fn(limit_time))
        .layer(from_fn(finish))
        .layer(from_fn_with_state(Arc::clone(app), count))
}

/// What every request passes that only reads, though it may be a `POST`: Host alone. It limits its time itself.
fn guarded_reads(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(app), guard_reads))
        .layer(from_fn(finish))
        .layer(from_fn_with_state(Arc::clone(app), count))
}

/// Counts every answer for the objective of our own availability; those of status 500 and above failed, unless they say
/// that something is not kept here. What `/health` answers is a state, and says nothing of whether we answer.
async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_state = request.uri().path() == "/health";
    let response = next.run(request).await;
    if !is_state {
        let refused = response.extensions().get::<NotKept>().is_some();
        app.answers.count(response.status().is_server_error() && !refused);
    }
    response
}

/// The address that matched, with its parameters' names in place of their values.
fn matched(extensions: &axum::http::Extensions) -> Option<String> {
    extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned())
}

fn self_healing() -> Router<Arc<App>> {
    Router::new()
        .route("/health-score", reads(api::health_score))
        .route("/health-score/history", reads(api::health_history))
        .route("/health-score/trend", reads(api::health_score_trend))
        .route("/issues", reads(api::issues))
        .route("/issues/{id}", reads(api::issue))
        .route("/remediations", reads(api::remediations))
        .route("/remediations/{id}", reads(api::remediation))
        .route("/remediations/{id}/approve", posts(api::approve))
        .route("/remediations/{id}/reject", posts(api::reject))
        .route("/remediations/{id}/rollback", posts(api::roll_back))
        .route("/statistics", reads(api::statistics))
        .route("/strategies", reads(api::strategies))
        .route("/toggle-auto-remediation", posts(api::toggle))
        .route("/manual-remediate/{id}", posts(api::manual_remediate))
        .route("/dry-run/{id}", posts(api::dry_run))
        .route("/deploy/{name}", posts(api::deploy))
        .route("/services", reads(api::services))
        .route("/services/{name}", reads(api::service))
        .route("/services/{name}/logs", reads(api::logs))
        .route("/pauses", reads(api::pauses).merge(posts(api::pause)))
        .route("/pauses/{name}", deletes(api::resume))
        .route("/capabilities", reads(api::capabilities))
}

fn chaos() -> Router<Arc<App>> {
    let one: Routes = reads(api::experiment).merge(deletes(api::abort_experiment));
    let stop: Routes = reads(api::emergency_stop_state)
        .merge(posts(api::emergency_stop))
        .merge(deletes(api::clear_emergency_stop));
    Router::new()
        .route("/experiment", posts(api::start_experiment))
        .route("/experiments", reads(api::experiments))
        .route("/experiment/{id}", one)
        .route("/faults", reads(api::running_faults))
        .route("/emergency-stop", stop)
}

fn observability() -> Router<Arc<App>> {
    Router::new()
        .route("/trace", posts(api::observability::take_trace))
        .route("/traces", reads(api::observability::traces))
        .route("/trace/{id}", reads(api::observability::trace))
        .route("/logs", reads(api::observability::log_records))
        .route("/slos", reads(api::slos))
        .route("/slo/{id}", reads(api::slo))
        .route("/slo/{id}/budget", reads(api::slo_budget))
        .route("/deployments", reads(api::deployments).merge(posts(api::post_deployment)))
        .route("/status", reads(api::observability::status))
        .route("/timeline", reads(api::timeline::timeline))
        .route("/correlate", reads(api::timeline::correlate))
        .route("/events", posts(api::timeline::post_event))
        .route("/service/{name}/health", reads(api::timeline::service_health))
        .route("/dashboard", reads(api::timeline::dashboard))
}

/// Jaeger's query API, whose addresses are its own.
fn jaeger() -> Router<Arc<App>> {
    Router::new()
        .route("/services", asks(jaeger::services))
        .route("/services/{service}/operations", asks(jaeger::operations_of_service))
        .route("/operations", asks(jaeger::operations))
        .route("/traces", asks(jaeger::search))
        .route("/traces/{id}", asks(jaeger::trace))
        .route("/dependencies", asks(jaeger::dependencies))
        .route("/metrics/latencies", asks(jaeger::latencies))
        .route("/metrics/calls", asks(jaeger::calls))
        .route("/metrics/errors", asks(jaeger::errors))
        .route("/metrics/minstep", asks(jaeger::min_step))
        .route("/v3/services", asks(jaeger::services_v3))
        .route("/v3/operations", asks(jaeger::operations_v3))
        .route("/v3/traces", asks(jaeger::search_v3))
        .route("/v3/traces/{id}", asks(jaeger::trace_v3))
        .route("/v3/trace-summaries", asks(jaeger::summaries_v3))
}

/// Prometheus' query API. Nothing here may change anything: its `POST`s pass without the token.
fn prometheus() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/query", queries(prometheus::instant))
        .route("/api/v1/query_range", queries(prometheus::range))
        .route("/api/v1/query_exemplars", queries(prometheus::exemplars))
        .route("/api/v1/series", queries(prometheus::series))
        .route("/api/v1/labels", queries(prometheus::labels))
        .route("/api/v1/label/{name}/values", queries(prometheus::label_values))
        .route("/api/v1/metadata", queries(prometheus::metadata))
        .route("/api/v1/rules", queries(prometheus::rules))
        .route("/api/v1/alerts", queries(prometheus::alerts))
        .route("/api/v1/targets", queries(prometheus::targets))
        .route("/api/v1/status/buildinfo", queries(prometheus::build))
}

fn pages() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in page::PATHS {
        router = router.route(path, get(show_page));
    }
    for (path, action) in page::ACTIONS {
        router = router.route(path, acts(action));
    }
    router
        .route("/login", get(show_page).merge(acts(page::sign_in)))
        .route("/emergency-stop", get(show_page).merge(acts(page::emergency_stop)))
}

/// The one placeholder of the path, empty where there is none.
type Name = Option<Path<String>>;

fn name_of(name: &Name) -> &str {
    name.as_ref().map_or("", |Path(name)| name.as_str())
}

fn reads(handler: Handler) -> Routes {
    answers(MethodFilter::GET, handler)
}

fn posts(handler: Handler) -> Routes {
    answers(MethodFilter::POST, handler)
}

fn deletes(handler: Handler) -> Routes {
    answers(MethodFilter::DELETE, handler)
}

/// Answers a method by a handler of the API, on the blocking pool.
fn answers(method: MethodFilter, handler: Handler) -> Routes {
    let answer = move |State(app): State<Arc<App>>,
                       name: Name,
                       via: Option<Extension<Via>>,
                       OriginalUri(uri): OriginalUri,
                       headers: HeaderMap,
                       body: Bytes| {
        blocking(move || {
            let asked = Asked {
                app: &app,
                name: name_of(&name),
                path: uri.path(),
                query: Query::parse(uri.query())?,
                headers: &headers,
                body: &body,
                who: who(via.map(|Extension(via)| via)),
            };
            handler(&asked)
        })
    };
    on(method, answer)
}

/// Answers `GET` by a handler of Jaeger's API, which has a form of errors of its own.
fn asks<E>(handler: fn(&AskedJaeger<'_>) -> Result<Response, E>) -> Routes
where
    E: IntoResponse + From<Problem> + Send + 'static,
{
    get(move |State(app): State<Arc<App>>, name: Name, OriginalUri(uri): OriginalUri| {
        blocking(move || {
            let query = Query::parse(uri.query())?;
            handler(&AskedJaeger { app: &app, name: name_of(&name), query })
        })
    })
}

/// Answers a query of series, asked by `GET` or by a form.
fn queries(handler: prometheus::Handler) -> Routes {
    let answer = move |State(app): State<Arc<App>>,
                       name: Name,
                       OriginalUri(uri): OriginalUri,
                       headers: HeaderMap,
                       body: Bytes| {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        prometheus::answer(app, name_of(&name).to_owned(), uri, kind, body, handler)
    };
    on(MethodFilter::GET.or(MethodFilter::POST), answer)
}

fn who(via: Option<Via>) -> &'static str {
    match via {
        Some(Via::Cookie) => "web page",
        _ => "api",
    }
}

/// Does what a form on a page asks for, then leads back to a page.
fn acts(action: page::Act) -> Routes {
    post(move |State(app): State<Arc<App>>, name: Name, uri: Uri, body: Bytes| {
        blocking(move || {
            let form = Query::parse(std::str::from_utf8(&body).ok())?;
            let asked = page::Submitted { app: &app, name: name_of(&name), form };
            Ok::<_, Problem>(action(&asked).unwrap_or_else(|problem| page::error(&app, &uri, &problem)))
        })
    })
}

async fn show_page(State(app): State<Arc<App>>, uri: Uri) -> Response {
    blocking(move || Ok::<_, Problem>(page::show(&app, &uri))).await
}

async fn blocking<E>(answer: impl FnOnce() -> Result<Response, E> + Send + 'static) -> Response
where
    E: IntoResponse + From<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(refused)) => refused.into_response(),
        Err(_) => {
            let why = "the request could not be answered; the log of `homeostat serve` says why";
            E::from(Problem::internal(why)).into_response()
        }
    }
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    // Not kept without asking: a newer binary on the same port must not meet an older script.
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    (headers, text).into_response()
}

async fn unknown(State(app): State<Arc<App>>, OriginalUri(uri): OriginalUri, headers: HeaderMap) -> Response {
    let problem = Problem::not_found(format!("there is nothing at {}", uri.path()));
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if wants_page && !uri.path().starts_with("/api/") {
        return blocking(move || Ok::<_, Problem>(page::error(&app, &uri, &problem))).await;
    }
    problem.into_response()
}

async fn wrong_method(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        format!("{} does not take this method; the Allow header lists those it takes", uri.path()),
    )
}

/// Host for every request; token and Origin for writes.
async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    if let Err(problem) = app.door.check_host(request.headers()) {
        return problem.into_response();
    }
    let path = request.uri().path();
    if path == "/login" && security::is_write(request.method()) {
        if let Err(problem) = app.door.check_origin(request.headers()) {
            return problem.into_response();
        }
    } else if security::is_write(request.method()) {
        match app.door.check_write(request.headers()) {
            Ok(via) => {
                request.extensions_mut().insert(via);
            }
            Err(problem) if problem.code == "token_missing" && !path.starts_with("/api/") => {
                let back = page::page_of_action(path);
                return Redirect::to(&format!("/login?next={}", encode(&back))).into_response();
            }
            Err(problem) => return problem.into_response(),
        }
    }
    next.run(request).await
}

/// Host, for what only reads.
async fn guard_reads(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match app.door.check_host(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

async fn limit_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "too_slow",
            format!(
                "no answer within {} s; what was asked may still happen, look before asking again",
                REQUEST_TIME.as_secs()
            ),
        )
        .into_response(),
    }
}

/// Gives errors that axum made itself (a body too large, a path that is no UTF-8) the form of ours.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if plain && (status.is_client_error() || status.is_server_error()) {
        let problem = match status {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                status,
                "body_too_large",
                format!("the body has more than {BODY_LIMIT} bytes; send less"),
            ),
            _ => Problem::new(
                status,
                "bad_request",
                "the request cannot be read; check its address and headers",
            ),
        };
        response = problem.into_response();
    }
    security::harden(response.headers_mut());
    response
}

/// A redirect after a form, which the browser follows with `GET`.
pub(crate) fn see_other(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response
}
