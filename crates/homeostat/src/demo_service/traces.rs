//! Traces of the shop: a server span for each request, a client span for each call, sent where the keeper says.
//!
//! In: `OTEL_EXPORTER_OTLP_ENDPOINT`, requests, calls. Out: spans over OTLP, named by OpenTelemetry's HTTP conventions.
//! Without the variable nothing is recorded. A span that cannot be sent costs a visitor nothing: the tracer drops it and
//! counts it.

use std::borrow::Cow;
use std::time::Duration;

use homeostat_tracer::{Context, Kind, Sampler, Span, Status, Tracer, propagation};
use hyper::{HeaderMap, Method, StatusCode};

use super::call::{CallError, Reply};

/// Where OTLP is received, without the path: the variable of OpenTelemetry's specification.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What OpenTelemetry's libraries are told of the process.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// One thread sends what a shop of 40 requests a second makes.
const EXPORT_THREADS: usize = 1;

/// Bytes that may wait: two minutes of the shop's spans, should nobody receive them.
const QUEUE_BYTES: usize = 1 << 20;

/// What the end of a process waits for its last spans.
const FLUSH_LIMIT: Duration = Duration::from_millis(300);

/// Sends the last spans when dropped.
#[derive(Debug)]
pub(crate) struct Traces(Option<Tracer>);

/// Begins to trace as `service`, where a receiver was named.
pub(crate) fn start(service: &str, instance: &str, sampler: Sampler) -> Traces {
    let Some(endpoint) = std::env::var(ENDPOINT).ok().filter(|endpoint| !endpoint.is_empty()) else {
        return Traces(None);
    };
    let built = Tracer::builder(service)
        .attribute("service.instance.id", instance)
        .attribute("service.version", &version())
        .endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
        .threads(EXPORT_THREADS)
        .queue_bytes(QUEUE_BYTES)
        .sampler(sampler)
        .build();
    match built {
        Ok(tracer) => {
            // A second tracer in one process is not made; were there one, the first goes on.
            let _ = homeostat_tracer::install(tracer.clone());
            Traces(Some(tracer))
        }
        Err(error) => {
            provider::say!("no traces: {error}");
            Traces(None)
        }
    }
}

/// What the keeper says this was deployed as; else the version of the program.
fn version() -> String {
    let said = std::env::var(RESOURCE_ATTRIBUTES).unwrap_or_default();
    let version = said.split(',').find_map(|pair| pair.trim().strip_prefix("service.version="));
    version.unwrap_or(env!("CARGO_PKG_VERSION")).to_owned()
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(tracer) = &self.0 {
            // What did not get through in time is counted by the tracer, and nobody is left to read it.
            let _ = tracer.shutdown(FLUSH_LIMIT);
        }
    }
}

/// The span of a request that came in.
pub(super) fn server(method: &Method, path: &str, headers: &HeaderMap) -> Span {
    let route = route(path);
    let mut span = homeostat_tracer::root(format!("{method} {route}"))
        .kind(Kind::Server)
        .parent(propagation::extract(headers))
        .start();
    if span.is_recorded() {
        span.attribute("http.request.method", method.as_str());
        span.attribute("http.route", &*route);
        span.attribute("url.path", path);
        span.attribute("url.scheme", "http");
    }
    span
}

/// Says in a request's span how it was answered: a 5xx is an error, a 4xx is the asker's.
pub(super) fn answered(span: &mut Span, status: StatusCode) {
    span.attribute("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.status(Status::Error(reason(status)));
    }
}

/// Says in a call's span how it ended: to who asked, whatever is no answer is an error, and so is a 4xx.
pub(super) fn called(span: &mut Span, sent: &Result<Reply, CallError>) {
    match sent {
        Ok(reply) => {
            span.attribute("http.response.status_code", reply.status.as_u16());
            if reply.status.is_client_error() || reply.status.is_server_error() {
                span.status(Status::Error(reason(reply.status)));
            }
        }
        Err(error) => span.record_error(error),
    }
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("no success")
}

/// The span of a call to `callee`; a root where nothing is in scope.
pub(crate) fn client(callee: &str, method: &Method, path: &str) -> Span {
    let route = route(path);
    let name = format!("{method} {route}");
    let mut span = match Context::current() {
        Some(context) => homeostat_tracer::task_of(context, name),
        None => homeostat_tracer::root(name).start(),
    };
    if span.is_recorded() {
        span.kind(Kind::Client);
        span.attribute("http.request.method", method.as_str());
        span.attribute("url.path", path.split('?').next().unwrap_or(path));
        span.attribute("peer.service", callee);
    }
    span
}

/// The path with what differs from request to request left out.
fn route(path: &str) -> Cow<'static, str> {
    let path = path.split('?').next().unwrap_or(path);
    match path.trim_start_matches('/').split_once('/') {
        Some(("carts", _)) => "/carts/{id}".into(),
        Some(("orders", _)) => "/orders/{id}".into(),
        _ => path.to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::route;

    #[test]
    fn routes_hold_no_ids() {
        for (path, expected) in [
            ("/", "/"),
            ("/?q=lamp&cart=c1", "/"),
            ("/cart/add", "/cart/add"),
            ("/carts/cart-1f-2", "/carts/{id}"),
            ("/orders", "/orders"),
            ("/orders/o-1", "/orders/{id}"),
            ("/products?q=oak", "/products"),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
