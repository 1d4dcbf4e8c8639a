//! HTTP/1.1 over a link: requests in, balanced exchanges out, bodies streamed.
//!
//! In: a caller's connection. Out: the instances' answers, or the proxy's own as a short problem document
//! (RFC 9457): 503 (breaker open, or nobody there), 502 (no connection, or it broke), 504 (time limit) and
//! 429 (throttled).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::balance::{Lease, Slot};
use super::count::Ending;
use super::exchange::{Exchange, Failure};
use super::faults::Verdict;
use super::pool::Connection;
use super::{Core, stopped};

/// From the request's head to the response's; the bodies may take as long as they take. Longer than an
/// interactive caller waits, and above the longest delay a healthy service of a fleet has; short enough that
/// requests to a hung instance soon show as unanswered.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// On answers of an open breaker, so that a caller can tell them and go on without the callee.
const BREAKER_HEADER: HeaderName = HeaderName::from_static("x-homeostat-breaker");

/// Not passed on (RFC 9110 §7.6.1), besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

type Answer = Either<LeasedBody, Full<Bytes>>;

/// Serves one caller's connection until it closes or the proxy stops.
pub(super) async fn session(
    core: Arc<Core>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let service = service_fn(move |request| {
        let core = Arc::clone(&core);
        async move { Ok::<_, Infallible>(serve(&core, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // An error here is the caller's connection breaking; what it asked for was counted by its exchange.
        _ = connection.as_mut() => return,
        _ = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn serve(core: &Arc<Core>, request: Request<Incoming>) -> Response<Answer> {
    if request.method() == Method::CONNECT {
        return problem(core, StatusCode::NOT_IMPLEMENTED, "the proxy opens no tunnels");
    }
    let Some(mut exchange) = Exchange::begin(core) else {
        let mut response = problem(
            core,
            StatusCode::SERVICE_UNAVAILABLE,
            "the circuit breaker of this link is open; go on without the callee",
        );
        response.headers_mut().insert(BREAKER_HEADER, HeaderValue::from_static("open"));
        return response;
    };
    let answered = tokio::time::timeout(REQUEST_LIMIT, forward(core, &mut exchange, request))
        .await
        .unwrap_or(Err(Failure::TimedOut));
    match answered {
        Ok(response) => {
            exchange.end(match response.status() {
                StatusCode::TOO_MANY_REQUESTS => Ending::Throttled,
                status if status.is_server_error() => Ending::Failed,
                _ => Ending::Answered,
            });
            response
        }
        Err(failure) => {
            exchange.end(failure.ending());
            problem(core, status_of(failure), &failure.to_string())
        }
    }
}

/// Sends the request to an instance, and to a second one where that is allowed and needed.
async fn forward(
    core: &Core,
    exchange: &mut Exchange,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Failure> {
    let retriable = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut request = Some(toward_instance(request));
    let mut lease = exchange.choose()?;
    let mut attempted = attempt(core, exchange, lease.slot(), &mut request).await;
    if matches!(attempted, Err(Failure::NoConnection)) && retriable && request.is_some() {
        lease = exchange.choose_another()?;
        attempted = attempt(core, exchange, lease.slot(), &mut request).await;
    }
    match attempted {
        // No upgrade was asked for: `Upgrade` is not passed on. A caller would take what follows for another
        // protocol.
        Ok((response, _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Failure::Broken),
        Ok((response, connection)) => Ok(toward_caller(response, connection, lease)),
        Err(failure) => Err(failure),
    }
}

/// Sends the request to one instance. Where it was not sent it is put back into `request`.
async fn attempt(
    core: &Core,
    exchange: &mut Exchange,
    slot: &Slot,
    request: &mut Option<Request<Incoming>>,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let idle = slot.pool.take_idle().await;
    let reused = idle.is_some();
    let opened = idle.as_ref().map_or_else(|| core.now(), |connection| connection.life.opened);
    let delay = match core.verdict(slot, opened) {
        Verdict::Pass(delay) => delay,
        Verdict::Cut => return Err(Failure::NoConnection),
        Verdict::Throttled => {
            if let Some(connection) = idle {
                exchange.goes_over(&connection.life);
                slot.pool.give_back(connection);
            }
            return Err(Failure::Throttled);
        }
    };
    let mut connection = match idle {
        Some(connection) => connection,
        None => open(core, slot).await?,
    };
    exchange.goes_over(&connection.life);
    if !delay.is_zero() {
        tokio::select! {
            () = connection.life.cut() => return Err(Failure::Broken),
            () = tokio::time::sleep(delay) => {}
        }
    }
    let response = match send(&mut connection, request).await {
        // The instance had closed the idle connection; nothing was sent.
        Err(_) if request.is_some() && reused => {
            connection = open(core, slot).await?;
            exchange.goes_over(&connection.life);
            send(&mut connection, request).await?
        }
        sent => sent?,
    };
    Ok((response, connection))
}

async fn open(core: &Core, slot: &Slot) -> Result<Connection, Failure> {
    let now = core.now();
    let connection = slot.pool.open(now).await.map_err(|_| Failure::NoConnection)?;
    // A partition may have begun while it was being opened.
    if core.cuts(slot, now) { Err(Failure::NoConnection) } else { Ok(connection) }
}

async fn send(
    connection: &mut Connection,
    request: &mut Option<Request<Incoming>>,
) -> Result<Response<Incoming>, Failure> {
    let Some(unsent) = request.take() else { return Err(Failure::Broken) };
    connection.sender.try_send_request(unsent).await.map_err(|mut error| {
        *request = error.take_message();
        Failure::Broken
    })
}

/// Makes a received request one that can be sent.
fn toward_instance(mut request: Request<Incoming>) -> Request<Incoming> {
    strip_hop_by_hop(request.headers_mut());
    if request.uri().authority().is_some() {
        // Absolute form, as sent to a proxy; instances expect the origin form and `Host`.
        let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        if let Some(host) = host {
            request.headers_mut().insert(header::HOST, host);
        }
        // Without a path it is `/` (RFC 9112 §3.2.1); a first line without one means nothing.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        let origin_form = format!("{slash}{path}").parse();
        *request.uri_mut() = origin_form.unwrap_or_else(|_| Uri::from_static("/"));
    }
    // HTTP/1.0 callers need not say it, HTTP/1.1 instances insist on it.
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    *request.version_mut() = Version::HTTP_11;
    request
}

fn toward_caller(response: Response<Incoming>, connection: Connection, lease: Lease) -> Response<Answer> {
    let (mut head, body) = response.into_parts();
    if head.headers.contains_key(header::TRANSFER_ENCODING) {
        // The coding counts and the length does not (RFC 9112 §6.3). hyper decoded by the first and would
        // send by the second.
        head.headers.remove(header::CONTENT_LENGTH);
    }
    strip_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    let mut body = LeasedBody { body, lent: Some((connection, lease)) };
    if body.body.is_end_stream() {
        body.give_back();
    }
    Response::from_parts(head, Either::Left(body))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn status_of(failure: Failure) -> StatusCode {
    match failure {
        Failure::NoBackend => StatusCode::SERVICE_UNAVAILABLE,
        Failure::NoConnection | Failure::Broken => StatusCode::BAD_GATEWAY,
        Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Failure::Throttled => StatusCode::TOO_MANY_REQUESTS,
    }
}

/// An answer of the proxy's own.
fn problem(core: &Core, status: StatusCode, detail: &str) -> Response<Answer> {
    let body = serde_json::json!({
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "instance": format!("link/{}", core.name),
    });
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(body.to_string()))));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A response body on its way from the instance. Holds the connection and the instance's lease, and gives
/// them back when it has passed whole; a connection with half a response on it is closed instead.
struct LeasedBody {
    body: Incoming,
    lent: Option<(Connection, Lease)>,
}

impl LeasedBody {
    fn give_back(&mut self) {
        if let Some((connection, lease)) = self.lent.take() {
            lease.slot().pool.give_back(connection);
        }
    }
}

impl Body for LeasedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.give_back(),
            Some(Err(_)) => self.lent = None,
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LeasedBody {
    fn drop(&mut self) {
        // With a content length the server stops polling after the last byte, before the end is said.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}
