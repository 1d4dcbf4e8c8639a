//! Calls to a dependency: keep-alive connections, a time limit, and one reading of what came back.
//!
//! In: a method, a path, a body. Out: the body of a 2xx, or a [`CallError`] that says what kind of failure
//! it was. Deliberately absent: balancing, ejection and breakers, which are the link proxy's, and retries:
//! a request is sent a second time only when the first connection provably never carried it.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::{locked, traces};

/// How long a call may take from connecting to the last byte.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(2);
/// With it the link proxy marks answers it gave itself because its breaker is open.
const BREAKER_HEADER: &str = "x-homeostat-breaker";
/// Idle connections kept per dependency; more are only open while a slow callee piles requests up.
const IDLE_MAX: usize = 16;

/// A service one calls.
#[derive(Debug)]
pub(crate) struct Dependency {
    name: String,
    address: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The link's breaker is open; the one failure a caller may soften.
    #[error("the circuit breaker to this dependency is open")]
    BreakerOpen,
    /// Nothing came within [`CALL_LIMIT`].
    #[error("the dependency did not answer within {} s", CALL_LIMIT.as_secs())]
    TimedOut,
    /// The connection was refused, or broke before the answer was complete.
    #[error("the dependency gave no answer: {0}")]
    NoAnswer(String),
    /// It answered that it cannot: 5xx, or 429.
    #[error("the dependency failed with {0}")]
    Failed(StatusCode),
    /// It answered that the request is wrong: another 4xx.
    #[error("{message}")]
    Turned {
        /// The status, passed on as it is.
        status: StatusCode,
        /// What the dependency said.
        message: String,
    },
    /// It answered something else than was agreed.
    #[error("cannot read the dependency's answer: {0}")]
    Unreadable(String),
}

impl Dependency {
    /// The dependency called `name` at `address` (`host:port`). Connects when first called.
    pub(crate) fn new(name: &str, address: String) -> Self {
        Self { name: name.to_owned(), address, idle: Mutex::default() }
    }

    /// `GET path`, read as JSON.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        judged(self.exchange(Method::GET, path, Bytes::new(), "application/json").await?)
    }

    /// `POST path` with `body` as JSON, read as JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let body = serde_json::to_vec(body).map_err(|error| CallError::Unreadable(error.to_string()))?;
        judged(self.exchange(Method::POST, path, body.into(), "application/json").await?)
    }

    /// One request and its answer within [`CALL_LIMIT`].
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        content_type: &'static str,
    ) -> Result<Reply, CallError> {
        let mut span = traces::client(&self.name, &method, path);
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.address)
            .header(CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|error| CallError::NoAnswer(error.to_string()))?;
        span.inject(request.headers_mut());
        let sent = tokio::time::timeout(CALL_LIMIT, self.send(request)).await;
        let sent = sent.unwrap_or(Err(CallError::TimedOut));
        traces::called(&mut span, &sent);
        sent
    }

    /// Sends over an idle connection, over a new one where none is left that still carries requests.
    async fn send(&self, mut request: hyper::Request<Full<Bytes>>) -> Result<Reply, CallError> {
        loop {
            let reused = locked(&self.idle).pop();
            let (mut connection, fresh) = match reused {
                Some(connection) => (connection, false),
                None => (self.connect().await?, true),
            };
            if connection.ready().await.is_err() && !fresh {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(response) => return self.receive(connection, response).await,
                Err(mut failure) => match failure.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(CallError::NoAnswer(failure.into_error().to_string())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        let no_answer = |error: &dyn std::error::Error| CallError::NoAnswer(error.to_string());
        let stream = TcpStream::connect(&self.address).await.map_err(|error| no_answer(&error))?;
        stream.set_nodelay(true).map_err(|error| no_answer(&error))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(&error))?;
        // Ends with the connection; the sender sees the same error.
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn receive(
        &self,
        connection: SendRequest<Full<Bytes>>,
        response: hyper::Response<hyper::body::Incoming>,
    ) -> Result<Reply, CallError> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| CallError::NoAnswer(error.to_string()))?.to_bytes();
        let mut idle = locked(&self.idle);
        if idle.len() < IDLE_MAX && !connection.is_closed() {
            idle.push(connection);
        }
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

fn judged<T: DeserializeOwned>(reply: Reply) -> Result<T, CallError> {
    let Reply { status, headers, body } = reply;
    if headers.get(BREAKER_HEADER).is_some_and(|state| state == "open") {
        return Err(CallError::BreakerOpen);
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| CallError::Unreadable(error.to_string()));
    }
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        let message = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|value| value.get("error")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| "the dependency turned the request down".to_owned());
        return Err(CallError::Turned { status, message });
    }
    Err(CallError::Failed(status))
}
