//! OTLP over HTTP/1.1: `POST /v1/traces`, `/v1/logs`, `/v1/metrics`, in protobuf or JSON; and beside it Prometheus'
//! remote-write, which speaks in its own way ([`remote_write`]).
//!
//! Answers are in the form of the request. Deliberately absent: CORS. A request with an `Origin` comes from a web
//! page, and no page has business writing into this machine's telemetry.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::gather;
use super::counts::{Protocol, Reason};
use super::decompress::Encoding;
use super::receiver::{Done, Format, Receiver};
use super::refused::Refused;
use super::remote_write;
use super::signal::Signal;
use super::sink::Sink;

/// Answers one request.
pub(crate) async fn answer<S, B>(receiver: &Receiver<S>, request: Request<B>) -> Response<Full<Bytes>>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    if receiver.series.is_some() && request.uri().path() == remote_write::PATH {
        return remote_write::answer(receiver, request).await;
    }
    let format = format_of(request.headers());
    match export(receiver, request, format).await {
        Ok(done) => accepted(&done, format.unwrap_or(Format::Protobuf)),
        Err(refused) => {
            receiver.counts.refuse(Protocol::Http, refused.reason);
            // Who speaks neither form is answered in the one that people can read.
            refusal(&refused, format.unwrap_or(Format::Json))
        }
    }
}

/// Answers a request that may not send here.
pub(crate) fn denied<S: Sink, B>(
    receiver: &Receiver<S>,
    request: &Request<B>,
    refused: &Refused,
) -> Response<Full<Bytes>> {
    let mut response = if receiver.series.is_some() && request.uri().path() == remote_write::PATH {
        remote_write::denied(receiver, refused)
    } else {
        receiver.counts.refuse(Protocol::Http, refused.reason);
        refusal(refused, format_of(request.headers()).unwrap_or(Format::Json))
    };
    if refused.reason == Reason::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    // Its body is not read.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn export<S, B>(
    receiver: &Receiver<S>,
    request: Request<B>,
    format: Option<Format>,
) -> Result<Done, Refused>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    let Some(signal) = Signal::of_http_path(request.uri().path()) else {
        let message = format!(
            "there is nothing at {}; OTLP is at /v1/traces, /v1/logs and /v1/metrics",
            request.uri().path()
        );
        return Err(Refused::new(Reason::Path, message));
    };
    if request.method() != Method::POST {
        return Err(Refused::new(Reason::Method, "send telemetry with POST"));
    }
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Refused::new(Reason::Browser, "web pages may not send telemetry here"));
    }
    let Some(format) = format else {
        let message = "send application/x-protobuf or application/json";
        return Err(Refused::new(Reason::MediaType, message));
    };
    let encoding = encoding_of(request.headers())?;
    let (limit, time) = (receiver.body_limit(encoding), receiver.limits.body_time);
    let taken = {
        let body = gather(request.into_body(), limit, time, &receiver.room).await?;
        receiver.counts.received(Protocol::Http, body.len());
        receiver.take(signal, format, encoding, &body)?
    };
    receiver.settle(Protocol::Http, signal, taken).await
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-protobuf") {
        Some(Format::Protobuf)
    } else if kind.eq_ignore_ascii_case("application/json") {
        Some(Format::Json)
    } else {
        None
    }
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Refused> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
    value.to_str().ok().and_then(Encoding::named).ok_or_else(|| {
        let message = format!("content encoding {value:?} is not known here; send gzip, zstd or identity");
        Refused::new(Reason::Encoding, message)
    })
}

fn accepted(done: &Done, format: Format) -> Response<Full<Bytes>> {
    let body = match format {
        Format::Protobuf => done.in_protobuf(),
        Format::Json => done.in_json(),
    };
    response(StatusCode::OK, format, body)
}

fn refusal(refused: &Refused, format: Format) -> Response<Full<Bytes>> {
    let body = match format {
        Format::Protobuf => refused.in_protobuf(),
        Format::Json => refused.in_json(),
    };
    let mut response = response(refused.status(), format, body);
    refused.put_headers(response.headers_mut(), "gzip, zstd, identity");
    response
}

fn response(status: StatusCode, format: Format, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
