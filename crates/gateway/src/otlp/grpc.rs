//! OTLP over gRPC: `Export` of the three collector services, over HTTP/2.
//!
//! gRPC is a path, a prefix of five bytes before the message, and a status in the trailers. All three stand here,
//! over hyper: a generated service would decode the message, which is what the store's walker is there to avoid.
//!
//! Deliberately absent: streams, reflection, health. OTLP has unary calls only.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use hyper::body::Body;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::body::{Reply, gather};
use super::counts::{Protocol, Reason};
use super::decompress::Encoding;
use super::receiver::{Done, Format, Receiver};
use super::refused::{GrpcCode, Refused};
use super::signal::Signal;
use super::sink::Sink;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Whether the message is compressed, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// Answers one call.
pub(crate) async fn answer<S, B>(receiver: &Receiver<S>, request: Request<B>) -> Response<Reply>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    if !is_grpc(request.headers()) {
        // Not a gRPC client: it would not read a status in trailers.
        receiver.counts.refuse(Protocol::Grpc, Reason::MediaType);
        let mut response = Response::new(Reply { data: None, trailers: None });
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match export(receiver, request).await {
        Ok(done) => accepted(&done),
        Err(refused) => {
            receiver.counts.refuse(Protocol::Grpc, refused.reason);
            refusal(&refused)
        }
    }
}

/// Answers a call that may not send here.
pub(crate) fn denied<S: Sink>(receiver: &Receiver<S>, refused: &Refused) -> Response<Reply> {
    receiver.counts.refuse(Protocol::Grpc, refused.reason);
    refusal(refused)
}

async fn export<S, B>(receiver: &Receiver<S>, request: Request<B>) -> Result<Done, Refused>
where
    S: Sink,
    B: Body<Data = Bytes> + Unpin,
{
    let Some(signal) = Signal::of_grpc_path(request.uri().path()) else {
        return Err(Refused::new(Reason::Path, format!("{} is not implemented", request.uri().path())));
    };
    if request.method() != Method::POST {
        return Err(Refused::new(Reason::Method, "gRPC calls are made with POST"));
    }
    if request.headers().contains_key(header::ORIGIN) {
        return Err(Refused::new(Reason::Browser, "web pages may not send telemetry here"));
    }
    let offered = encoding_of(request.headers())?;
    let (limit, time) = (receiver.body_limit(offered), receiver.limits.body_time);
    let taken = {
        let body = gather(request.into_body(), limit + PREFIX_BYTES, time, &receiver.room).await?;
        receiver.counts.received(Protocol::Grpc, body.len());
        let (encoding, message) = unframe(&body, offered)?;
        receiver.take(signal, Format::Protobuf, encoding, message)?
    };
    receiver.settle(Protocol::Grpc, signal, taken).await
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    matches!(kind.strip_prefix(b"application/grpc"), Some([] | [b';', ..] | b"+proto"))
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, Refused> {
    let Some(value) = headers.get(GRPC_ENCODING) else { return Ok(Encoding::Identity) };
    value.to_str().ok().and_then(Encoding::named).ok_or_else(|| {
        let message = format!("grpc-encoding {value:?} is not known here; send gzip, zstd or identity");
        Refused::new(Reason::Encoding, message)
    })
}

/// Takes the prefix off the one message of a call.
pub(crate) fn unframe(body: &[u8], offered: Encoding) -> Result<(Encoding, &[u8]), Refused> {
    let malformed = |what: &str| Err(Refused::new(Reason::Malformed, what));
    let Some(([compressed, length @ ..], message)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return malformed("the call holds no message");
    };
    let length = u32::from_be_bytes(*length) as usize;
    if message.len() < length {
        return malformed("the message is shorter than its prefix says");
    }
    if message.len() > length {
        return malformed("the call holds more than one message");
    }
    match (compressed, offered) {
        (0, _) => Ok((Encoding::Identity, message)),
        (1, Encoding::Identity) => malformed("the message is compressed, and no grpc-encoding says how"),
        (1, encoding) => Ok((encoding, message)),
        _ => malformed("the prefix of the message is none"),
    }
}

fn accepted(done: &Done) -> Response<Reply> {
    let message = done.in_protobuf();
    let mut data = Vec::with_capacity(PREFIX_BYTES + message.len());
    data.push(0);
    // Our own answers are short.
    data.extend_from_slice(&(message.len() as u32).to_be_bytes());
    data.extend_from_slice(&message);
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, HeaderValue::from(GrpcCode::Ok as u16));
    let mut response = Response::new(Reply { data: Some(data.into()), trailers: Some(trailers) });
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// The status stands in the head, because there is no message ("trailers only").
fn refusal(refused: &Refused) -> Response<Reply> {
    let mut response = Response::new(Reply { data: None, trailers: None });
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(refused.grpc_code() as u16));
    let mut insert = |name, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    insert(GRPC_MESSAGE, percent_encoded(&refused.message));
    insert(GRPC_DETAILS, STANDARD_NO_PAD.encode(refused.in_protobuf()));
    if refused.reason == Reason::Encoding {
        insert(GRPC_ACCEPT_ENCODING, "identity,gzip,zstd".to_owned());
    }
    response
}

/// `grpc-message`: printable ASCII stands for itself, except the percent sign.
fn percent_encoded(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(text, "%{byte:02X}");
            }
            _ => text.push(char::from(byte)),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_holds_exactly_one_message() {
        let gzip = Encoding::Gzip;
        assert_eq!(unframe(b"\0\0\0\0\x02ab", gzip), Ok((Encoding::Identity, &b"ab"[..])));
        assert_eq!(unframe(b"\x01\0\0\0\0", gzip), Ok((gzip, &b""[..])));
        for body in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\0\0\0\0\0\0", b"\x02\0\0\0\0"] {
            assert_eq!(unframe(body, gzip).map_err(|refused| refused.reason), Err(Reason::Malformed));
        }
        assert!(unframe(b"\x01\0\0\0\0", Encoding::Identity).unwrap_err().message.contains("grpc-encoding"));
    }

    #[test]
    fn messages_are_printable() {
        assert_eq!(percent_encoded("100 % \n é"), "100 %25 %0A %C3%A9");
    }
}
