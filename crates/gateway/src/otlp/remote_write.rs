//! Prometheus' remote-write over HTTP/1.1: `POST /api/v1/write`, versions 1 and 2.
//!
//! In: a body in snappy. Out: 204 where all of it is on disk; 400 where some of it could not be taken, with how much was
//! written in headers and why the rest was not in the body; anything else where nothing was taken, as OTLP's refusals.
//!
//! Deliberately absent: CORS, as for OTLP.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use metrics::wire::remote::{self, Version, Written};
use metrics::wire::{Left, Tally};

use super::body::gather;
use super::counts::{Reason, Via};
use super::receiver::Receiver;
use super::refused::Refused;
use super::sink::Sink;

/// Where Prometheus takes it too.
pub(crate) const PATH: &str = "/api/v1/write";

/// Whom limits of the store are counted for.
const SOURCE: &str = "remote_write";

/// What came of a body: what was written, and what was not, in words.
struct Outcome {
    version: Version,
    written: Written,
    complaint: Option<String>,
}

/// Answers one request.
pub(crate) async fn answer<S, B>(receiver: &Receiver<S>, request: Request<B>) -> Response<Full<Bytes>>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    let counts = &receiver.counts.series;
    match write(receiver, request).await {
        Ok(Outcome { version, written, complaint }) => {
            counts.wrote(version, written);
            match complaint {
                None => response(StatusCode::NO_CONTENT, written, String::new()),
                Some(complaint) => response(StatusCode::BAD_REQUEST, written, complaint),
            }
        }
        Err(refused) => {
            counts.refuse(refused.reason);
            refusal(&refused)
        }
    }
}

/// Answers a request that may not write here.
pub(crate) fn denied<S: Sink>(receiver: &Receiver<S>, refused: &Refused) -> Response<Full<Bytes>> {
    receiver.counts.series.refuse(refused.reason);
    refusal(refused)
}

async fn write<S, B>(receiver: &Receiver<S>, request: Request<B>) -> Result<Outcome, Refused>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    let Some(series) = &receiver.series else {
        return Err(Refused::new(Reason::Path, "metrics are not stored here"));
    };
    if request.method() != Method::POST {
        return Err(Refused::new(Reason::Method, "send remote-write with POST"));
    }
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Refused::new(Reason::Browser, "web pages may not send telemetry here"));
    }
    let version = version_of(request.headers())?;
    let (limit, time) = (receiver.limits.compressed_bytes, receiver.limits.body_time);
    let decoded = {
        let body = gather(request.into_body(), limit, time, &receiver.room).await?;
        receiver.counts.series.received(body.len());
        series.remote_write(version, &body)?
    };
    let mut tally = decoded.tally();
    let left = decoded.left;
    receiver.counts.series.left(Via::RemoteWrite, &left);
    let mut because = None;
    if !decoded.batch.is_empty() {
        let admission = series.append(SOURCE, decoded.batch).await?;
        let (refused, reason) = (admission.left(), admission.reason);
        receiver.counts.series.refused(Via::RemoteWrite, refused);
        tally = less(tally, refused);
        because = (refused != Tally::default()).then(|| not_stored(refused, reason));
    }
    Ok(Outcome { version, written: tally.into(), complaint: complaint(&left, because) })
}

fn version_of(headers: &HeaderMap) -> Result<Version, Refused> {
    let text = |name| {
        headers.get(name).map(|value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let (kind, encoding) = (text(header::CONTENT_TYPE), text(header::CONTENT_ENCODING));
    remote::negotiate(kind.as_deref(), encoding.as_deref()).map_err(|unsupported| {
        let reason = match unsupported {
            remote::Unsupported::ContentType(_) => Reason::MediaType,
            remote::Unsupported::ContentEncoding(_) => Reason::Encoding,
        };
        Refused::new(reason, unsupported.to_string())
    })
}

/// What is left of what was handed in.
fn less(all: Tally, refused: Tally) -> Tally {
    Tally {
        samples: all.samples.saturating_sub(refused.samples),
        histograms: all.histograms.saturating_sub(refused.histograms),
        exemplars: all.exemplars.saturating_sub(refused.exemplars),
        ..all
    }
}

fn not_stored(refused: Tally, reason: Option<String>) -> String {
    let Tally { samples, histograms, exemplars, .. } = refused;
    let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{samples} samples, {histograms} histograms and {exemplars} exemplars were not stored{why}")
}

/// Why not all of it was written; `None` where all of it was.
fn complaint(left: &Left, because: Option<String>) -> Option<String> {
    match (left.is_empty(), because) {
        (true, because) => because,
        (false, None) => Some(left.to_string()),
        (false, Some(because)) => Some(format!("{left}; {because}")),
    }
}

fn refusal(refused: &Refused) -> Response<Full<Bytes>> {
    let mut response = response(refused.status(), Written::default(), refused.message.clone());
    refused.put_headers(response.headers_mut(), "snappy");
    response
}

fn response(status: StatusCode, written: Written, message: String) -> Response<Full<Bytes>> {
    let plain = !message.is_empty();
    let mut response = Response::new(Full::new(Bytes::from(message)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if plain {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for (name, value) in written.headers() {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
    response
}
