//! OpenTelemetry's semantic conventions for HTTP and gRPC, shared by the adapters.
//!
//! In: requests and answers of the crate `http`. Out: span names and attributes. Deliberately absent: query
//! strings and bodies, which hold what must not be recorded.

use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode, Uri, Version};

use crate::span::{Span, task};
use crate::tracer::Tracer;
use crate::value::{Kind, Status, Value};
use crate::{Context, installed};

/// Which end of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What is called: decides names and what an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

impl Protocol {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let content = headers.get(http::header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        if content.is_some_and(|content| content.starts_with(b"application/grpc")) {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

/// The name of a span: the route where it is known, never the path, which has as many values as there are
/// customers.
pub(crate) fn name(protocol: Protocol, method: &Method, uri: &Uri, route: Option<&str>) -> Cow<'static, str> {
    match (protocol, route) {
        (Protocol::Grpc, _) => uri.path().trim_start_matches('/').to_owned().into(),
        (Protocol::Http, Some(route)) => format!("{} {route}", method_name(method).unwrap_or("HTTP")).into(),
        (Protocol::Http, None) => method_name(method).unwrap_or("HTTP").into(),
    }
}

/// A method anybody may send has any text; only those of RFC 9110 and RFC 5789 are names.
fn method_name(method: &Method) -> Option<&'static str> {
    const KNOWN: [&str; 9] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str())
}

/// What is known when a call begins.
pub(crate) fn describe(
    span: &mut Span,
    protocol: Protocol,
    side: Side,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) {
    if !span.is_recorded() {
        return;
    }
    match protocol {
        Protocol::Grpc => {
            let (service, method) = uri.path().trim_start_matches('/').rsplit_once('/').unwrap_or_default();
            span.attribute("rpc.system", Value::Static("grpc"));
            span.attribute("rpc.service", service);
            span.attribute("rpc.method", method);
        }
        Protocol::Http => {
            span.attribute("http.request.method", method_name(method).unwrap_or("_OTHER"));
            if method_name(method).is_none() {
                span.attribute("http.request.method_original", method.as_str());
            }
            match side {
                Side::Server => span.attribute("url.path", uri.path()),
                Side::Client => span.attribute("url.full", without_secrets(uri).as_str()),
            }
            if let Some(scheme) = uri.scheme_str() {
                span.attribute("url.scheme", scheme);
            }
        }
    }
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<http::uri::Authority>().ok());
    if let Some(authority) = authority.as_ref().or(uri.authority()) {
        span.attribute("server.address", authority.host());
        if let Some(port) = authority.port_u16() {
            span.attribute("server.port", port);
        }
    }
}

/// The address without user, password and query.
fn without_secrets(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or("http");
    let host = uri.authority().map_or("", |authority| authority.as_str());
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{scheme}://{host}{}", uri.path())
}

/// The version, as `network.protocol.version` says it.
pub(crate) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// The status line of an answer. A server's 4xx is the client's fault.
pub(crate) fn answered(span: &mut Span, side: Side, status: StatusCode) {
    span.attribute("http.response.status_code", status.as_u16());
    let failed = match side {
        Side::Server => status.is_server_error(),
        Side::Client => status.is_server_error() || status.is_client_error(),
    };
    if failed {
        span.attribute("error.type", status.as_str());
        span.status(Status::Error(""));
    }
}

/// `grpc-status`, from headers (an answer without a body) or trailers.
pub(crate) fn grpc_answered(span: &mut Span, side: Side, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<u16>().ok()) else { return };
    span.attribute("rpc.grpc.status_code", code);
    // Unknown, deadline exceeded, unimplemented, internal, unavailable, data loss: the server's own.
    let failed = match side {
        Side::Server => matches!(code, 2 | 4 | 12..=15),
        Side::Client => code != 0,
    };
    if failed {
        span.status(Status::Error(text("grpc-message").unwrap_or_default()));
    }
}

/// A client span: a child of what is in scope, else a trace of its own.
pub(crate) fn client(tracer: Option<&Tracer>, name: Cow<'static, str>) -> Span {
    if Context::current().is_some() {
        let mut span = task(name);
        span.kind(Kind::Client);
        return span;
    }
    match tracer.or(installed()) {
        Some(tracer) => tracer.root(name).kind(Kind::Client).start(),
        None => Span::none(),
    }
}
