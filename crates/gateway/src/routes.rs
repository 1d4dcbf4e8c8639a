//! Which address is answered by what, and behind what it stands.
//!
//! In: [`Endpoint`]s, pages and what is the same for everybody. Out: one router. What a request passes on its way is in
//! [`guard`]; handlers run on the blocking pool.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use axum::{Extension, Router};
use domain::{Identity, Permission};
use homeostat_tracer::Tracer;
use homeostat_tracer::tower::ServerLayer;

use crate::api::{self, Asked};
use crate::auditing;
use crate::body::Query;
use crate::conditional::{self, Turn};
use crate::deed::Telling;
use crate::endpoint::{self, Effect, Endpoint, Handler, Parameter, Precondition, Service, Surface};
use crate::graphql;
use crate::guard::{self, NOWHERE, Requirement};
use crate::idempotency;
use crate::jaeger::{self, AskedJaeger};
use crate::listen::{NamedAs, Peer};
use crate::live;
use crate::openapi;
use crate::page;
use crate::problem::{Code, NOTHING_AT, Problem};
use crate::prometheus;
use crate::security::BODY_LIMIT;
use crate::serve::App;

pub(crate) type Routes = MethodRouter<Arc<App>>;

/// Every endpoint there is: our own, and those of the APIs of others that we answer.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut all = api::endpoints();
    all.extend(openapi::endpoints());
    all.extend(jaeger::endpoints());
    all.extend(prometheus::endpoints());
    all.extend(graphql::endpoints());
    all
}

/// The whole surface.
pub(crate) fn router(app: Arc<App>, tracer: Option<Tracer>) -> Router {
    let (mut traced, mut untraced, mut own_time) = (pages(&app), unchanging(&app), Router::new());
    for endpoint in endpoints() {
        let router = match (endpoint.surface, endpoint.path.as_str()) {
            // Queries of series limit their time themselves.
            (Surface::Foreign(prometheus::API), _) => &mut own_time,
            // What asks by itself would bury what people and programs ask.
            (_, "/health" | "/metrics") => &mut untraced,
            _ => &mut traced,
        };
        *router = mounted(std::mem::take(router), endpoint, &app);
    }
    let router = guarded(traced.fallback(unknown), &app).merge(identified(own_time, &app));
    let router = match tracer {
        // By `Router::layer` it runs inside the routing, where the address is known that matched.
        Some(tracer) => router.layer(ServerLayer::new().tracer(tracer).route(matched)),
        None => router,
    };
    router.merge(guarded(untraced, &app)).with_state(app)
}

/// Puts an endpoint at its addresses, behind what it asks for.
fn mounted(mut router: Router<Arc<App>>, endpoint: Endpoint, app: &Arc<App>) -> Router<Arc<App>> {
    let requirement = Requirement { access: endpoint.access, effect: endpoint.effect, action: endpoint.name };
    let paths: Vec<String> = endpoint.paths().map(str::to_owned).collect();
    let is_repeatable = endpoint.is_repeatable();
    let routes = match endpoint.service {
        Service::Blocking(handler) => {
            let takes = match (endpoint.effect, endpoint.body) {
                (Effect::Writes, None) => Takes::Nothing,
                _ => Takes::WhatTheHandlerReads,
            };
            let asks = Asks { query: endpoint.query.into(), takes, precondition: endpoint.precondition };
            answers(&endpoint.method, asks, handler)
        }
        Service::Own(routes) => *routes,
    };
    let routes = match (endpoint.surface, &endpoint.method) {
        (Surface::Ours, &Method::GET) => routes.layer(from_fn(conditional::tag)),
        (Surface::Ours, &Method::POST) if is_repeatable => {
            routes.layer(from_fn_with_state(Arc::clone(app), idempotency::once))
        }
        (Surface::Ours, &Method::POST) => routes.layer(from_fn(idempotency::never)),
        (Surface::Foreign(graphql::API), &Method::POST) => {
            let mutations: idempotency::IsWrite = graphql::is_mutation;
            routes.layer(from_fn_with_state((Arc::clone(app), mutations), idempotency::once_where))
        }
        _ => routes,
    };
    for path in paths {
        router = router.route(&path, behind(routes.clone(), requirement, app));
    }
    router
}

fn behind(routes: Routes, requirement: Requirement, app: &Arc<App>) -> Routes {
    let routes = routes.layer(from_fn_with_state((Arc::clone(app), requirement), guard::require));
    match requirement.effect {
        Effect::Reads | Effect::Asks => routes,
        // What is refused at the door is recorded as well.
        Effect::Writes => routes.layer(from_fn_with_state((Arc::clone(app), requirement), auditing::record)),
    }
}

/// What lasts as long as a page is open, and what is the same for everybody.
fn unchanging(app: &Arc<App>) -> Router<Arc<App>> {
    let sees = Requirement { access: Permission::StateRead.into(), effect: Effect::Reads, action: "events" };
    Router::new()
        .route("/events", behind(get(live::events), sees, app))
        .route("/assets/style.css", get(|| asset("text/css; charset=utf-8", page::STYLE)))
        .route("/assets/page.js", get(|| asset("text/javascript; charset=utf-8", page::SCRIPT)))
        .route("/assets/traces.js", get(|| asset("text/javascript; charset=utf-8", page::TRACES_SCRIPT)))
        .route("/assets/metrics.js", get(|| asset("text/javascript; charset=utf-8", page::METRICS_SCRIPT)))
        .route("/assets/passkeys.js", get(|| asset("text/javascript; charset=utf-8", page::PASSKEYS_SCRIPT)))
        .route("/assets/uplot.js", get(|| asset("text/javascript; charset=utf-8", page::UPLOT)))
        .route("/assets/timeline.js", get(|| asset("text/javascript; charset=utf-8", page::TIMELINE_SCRIPT)))
        .route("/favicon.svg", get(|| asset("image/svg+xml", page::ICON)))
        .route("/favicon.ico", any(|| async { Redirect::permanent("/favicon.svg") }))
}

/// What every request passes within the time that a request may take.
fn guarded(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    outside(within(router, app).layer(from_fn(guard::limit_time)), app)
}

/// The same without that limit.
fn identified(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    outside(within(router, app), app)
}

fn within(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(Arc::clone(app), guard::identify))
}

fn outside(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    router
        .layer(from_fn_with_state(Arc::clone(app), guard::finish))
        .layer(from_fn_with_state(Arc::clone(app), guard::count))
}

/// The address that matched, with its parameters' names in place of their values.
fn matched(extensions: &axum::http::Extensions) -> Option<String> {
    extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned())
}

fn pages(app: &Arc<App>) -> Router<Arc<App>> {
    let mut router = Router::new();
    for (path, access) in page::PATHS {
        let sees = Requirement { access, effect: Effect::Reads, action: path };
        router = router.route(path, behind(get(show_page), sees, app));
    }
    for action in page::ACTIONS {
        let changes = Requirement { access: action.access, effect: Effect::Writes, action: action.name };
        router = router.route(action.path, behind(acts(action), changes, app));
    }
    router
}

/// The one placeholder of the path, empty where there is none.
type Name = Option<Path<String>>;

fn name_of(name: &Name) -> &str {
    name.as_ref().map_or("", |Path(name)| name.as_str())
}

/// What may be in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// No body, or `{}`: a write that was meant for another address must not be done.
    Nothing,
    WhatTheHandlerReads,
}

/// What a request is held to before its handler sees it.
#[derive(Clone)]
struct Asks {
    query: Arc<[Parameter]>,
    takes: Takes,
    precondition: Precondition,
}

impl Asks {
    /// Checks it, and keeps others from what it overwrites until it is done.
    fn check<'a>(&self, asked: &Asked<'a>) -> Result<Option<Turn<'a>>, Problem> {
        endpoint::check(&asked.query, &self.query)?;
        if self.takes == Takes::Nothing {
            asked.fields()?.finish()?;
        }
        let turn = match self.precondition {
            Precondition::Of { path, .. } => {
                // What has no name in its address is one thing, however it is written; an own account is one of each user.
                let what = match path {
                    api::ME => conditional::turn_of(api::ME, &self.own_name(asked)),
                    path if path.contains('{') => conditional::turn_of(path, asked.name),
                    path => conditional::turn_of(path, ""),
                };
                Some(asked.app.turns.take(what)?)
            }
            Precondition::Unmeetable | Precondition::Waived => None,
        };
        conditional::check(self.precondition, asked)?;
        Ok(turn)
    }

    /// The user behind who asks; a name that no user has where there is none, who is refused later.
    fn own_name(&self, asked: &Asked<'_>) -> String {
        asked
            .app
            .door
            .access()
            .own_user(asked.identity)
            .map_or_else(|_| asked.who.to_owned(), |user| user.name)
    }
}

/// Answers a method by a handler of the API, on the blocking pool.
fn answers(method: &Method, asks: Asks, handler: Handler) -> Routes {
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    let answer = move |State(app): State<Arc<App>>,
                       name: Name,
                       Extension(identity): Extension<Identity>,
                       peer: Option<Extension<Peer>>,
                       OriginalUri(uri): OriginalUri,
                       headers: HeaderMap,
                       body: Bytes| {
        let asks = asks.clone();
        blocking(move || {
            let query = Query::parse(uri.query())?;
            let asked = Asked {
                app: &app,
                name: name_of(&name),
                path: uri.path(),
                query,
                headers: &headers,
                body: &body,
                who: &identity.name,
                identity: &identity,
                peer: peer.map_or(NOWHERE, |Extension(peer)| peer.0),
                deed: Telling::default(),
            };
            let done = asks.check(&asked).and_then(|_turn| handler(&asked));
            Ok::<_, Problem>(asked.deed.with(done.unwrap_or_else(Problem::into_response)))
        })
    };
    on(filter, answer)
}

/// Answers `GET` by a handler of Jaeger's API, which has a form of errors of its own.
pub(crate) fn asks<E>(handler: fn(&AskedJaeger<'_>) -> Result<Response, E>) -> Routes
where
    E: IntoResponse + From<Problem> + Send + 'static,
{
    get(move |app: State<Arc<App>>, name: Name, uri: OriginalUri| asked_of_jaeger(app, name, uri, handler))
}

/// Does what Jaeger's API asks for by `POST`.
pub(crate) fn changes<E>(handler: fn(&AskedJaeger<'_>) -> Result<Response, E>) -> Routes
where
    E: IntoResponse + From<Problem> + Send + 'static,
{
    post(move |app: State<Arc<App>>, name: Name, uri: OriginalUri| asked_of_jaeger(app, name, uri, handler))
}

async fn asked_of_jaeger<E>(
    State(app): State<Arc<App>>,
    name: Name,
    OriginalUri(uri): OriginalUri,
    handler: fn(&AskedJaeger<'_>) -> Result<Response, E>,
) -> Response
where
    E: IntoResponse + From<Problem> + Send + 'static,
{
    blocking(move || {
        let query = Query::parse(uri.query())?;
        handler(&AskedJaeger { app: &app, name: name_of(&name), query })
    })
    .await
}

/// Answers a query of series, asked by `GET` or by a form.
pub(crate) fn queries(handler: prometheus::Handler) -> Routes {
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

/// Does what a form on a page asks for, then leads back to a page.
fn acts(action: &'static page::Action) -> Routes {
    let answer = move |State(app): State<Arc<App>>,
                       name: Name,
                       Extension(identity): Extension<Identity>,
                       peer: Option<Extension<Peer>>,
                       named: Option<Extension<NamedAs>>,
                       uri: Uri,
                       headers: HeaderMap,
                       body: Bytes| {
        blocking(move || {
            // What cannot be read must not count as an empty form.
            let form = std::str::from_utf8(&body)
                .map_err(|_| Problem::field("body", "the form is not UTF-8"))
                .and_then(|body| Query::parse(Some(body)));
            let form = match form {
                Ok(form) => form,
                Err(problem) => return Ok(page::error(&app, &uri, &problem)),
            };
            let asked = page::Submitted {
                app: &app,
                name: name_of(&name),
                form,
                identity: &identity,
                headers: &headers,
                peer: peer.map_or(NOWHERE, |Extension(peer)| peer.0),
                named_as: named.as_ref().map(|Extension(NamedAs(name))| name.as_str()),
                deed: Telling::default(),
            };
            let done = page::perform(action, &asked, &uri);
            let answer = done.unwrap_or_else(|problem| page::error(&app, &uri, &problem));
            Ok::<_, Problem>(asked.deed.with(answer))
        })
    };
    post(answer)
}

async fn show_page(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Identity>,
    peer: Option<Extension<Peer>>,
    named: Option<Extension<NamedAs>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    // What takes the rest of an address takes a slash, too.
    if let Some(page) = page::without_slash(&uri) {
        return Redirect::permanent(&page).into_response();
    }
    blocking(move || {
        let named_as = named.as_ref().map(|Extension(NamedAs(name))| name.as_str());
        let peer = peer.map_or(NOWHERE, |Extension(peer)| peer.0);
        let visit =
            page::Visit { app: &app, identity: &identity, uri: &uri, headers: &headers, peer, named_as };
        Ok::<_, Problem>(page::show(&visit))
    })
    .await
}

pub(crate) async fn blocking<E>(answer: impl FnOnce() -> Result<Response, E> + Send + 'static) -> Response
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

async fn unknown(
    State(app): State<Arc<App>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Response {
    if let Some(page) = page::without_slash(&uri)
        && matches!(method, Method::GET | Method::HEAD)
    {
        return Redirect::permanent(&page).into_response();
    }
    let problem = Problem::not_found(format!("{NOTHING_AT}{}", uri.path()));
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
        Code::WrongMethod,
        format!("{} does not take this method; the Allow header lists those it takes", uri.path()),
    )
}

/// A redirect after a form, which the browser follows with `GET`.
pub(crate) fn see_other(to: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response
}
