//! The adapters, against real servers and clients.
#![cfg(all(feature = "tower", feature = "reqwest", feature = "tracing"))]

mod sink;

use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::extract::MatchedPath;
use axum::routing::get;
use homeostat_tracer::reqwest::SendTraced;
use homeostat_tracer::tower::{ClientLayer, ServerLayer};
use homeostat_tracer::tracing::TracerLayer;
use homeostat_tracer::{InSpan, Sampler, Tracer, span};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use sink::{PATIENCE, Sink, text, until, value};
use tower_layer::Layer;
use tower_service::Service;
use tracing_subscriber::layer::SubscriberExt;

fn tracer(sink: &Sink) -> Tracer {
    Tracer::builder("shop").endpoint(sink.address()).sampler(Sampler::Always).build().unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn a_request_from_reqwest_to_axum_is_one_trace() {
    let sink = Sink::start();
    let tracer = tracer(&sink);
    let route =
        |extensions: &http::Extensions| extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let app = axum::Router::new()
        .route(
            "/cart/{id}",
            get(|| async {
                drop(span("inside"));
                http::StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(ServerLayer::new().tracer(tracer.clone()).route(route));
    block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let call = async {
            let client = reqwest::Client::new();
            let url = format!("http://{address}/cart/7?token=secret");
            client.get(url).send_traced().await.unwrap()
        };
        let answer = call.in_span(tracer.root("caller").start()).await;
        assert_eq!(answer.status(), 500);
    });
    until("the server's span", || tracer.metrics().created == 4);
    tracer.flush(PATIENCE).unwrap();
    let [caller, client, server, inside] =
        ["caller", "GET", "GET /cart/{id}", "inside"].map(|name| sink.span(name));
    assert_eq!((client.kind(), server.kind()), (SpanKind::Client, SpanKind::Server));
    assert_eq!(client.parent_span_id, caller.span_id);
    assert_eq!(server.parent_span_id, client.span_id);
    assert_eq!(inside.parent_span_id, server.span_id);
    assert!([&client, &server, &inside].iter().all(|span| span.trace_id == caller.trace_id));
    assert_eq!(text(&server.attributes, "http.route"), "/cart/{id}");
    assert_eq!(text(&server.attributes, "http.request.method"), "GET");
    assert_eq!(text(&server.attributes, "url.path"), "/cart/7");
    assert_eq!(text(&server.attributes, "server.address"), "127.0.0.1");
    assert_eq!(value(&server.attributes, "http.response.status_code"), Some(&Any::IntValue(500)));
    assert!(text(&client.attributes, "url.full").ends_with("/cart/7"), "no query");
    assert!([&client, &server].iter().all(|span| span.status.as_ref().unwrap().code() == StatusCode::Error));
}

/// An answer of gRPC: a body that is only trailers.
struct Trailers(Option<HeaderMap>);

impl Body for Trailers {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        Poll::Ready(self.0.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

#[derive(Clone)]
struct Grpc;

impl Service<Request<()>> for Grpc {
    type Response = Response<Trailers>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(request.headers().contains_key("traceparent"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "5".parse().unwrap());
        trailers.insert("grpc-message", "no such order".parse().unwrap());
        ready(Ok(Response::new(Trailers(Some(trailers)))))
    }
}

#[test]
fn a_call_of_grpc_ends_with_its_trailers_and_not_found_is_the_clients_error_alone() {
    let sink = Sink::start();
    let tracer = tracer(&sink);
    let served = ServerLayer::new().tracer(tracer.clone()).layer(Grpc);
    let mut client = ClientLayer::new().tracer(tracer.clone()).layer(served);
    block_on(async {
        let request = Request::post("http://orders/shop.Orders/Get")
            .header("content-type", "application/grpc+proto")
            .body(())
            .unwrap();
        let answer = client.call(request).await.unwrap();
        assert_eq!(tracer.metrics().created, 0, "the answer has not been read");
        let mut body = pin!(answer.into_body());
        while poll_fn(|context| body.as_mut().poll_frame(context)).await.is_some() {}
    });
    tracer.flush(PATIENCE).unwrap();
    let spans = sink.spans();
    let of = |kind| spans.iter().find(|span| span.kind() == kind).unwrap();
    let (server, client) = (of(SpanKind::Server), of(SpanKind::Client));
    assert_eq!((server.name.as_str(), client.name.as_str()), ("shop.Orders/Get", "shop.Orders/Get"));
    assert_eq!(server.parent_span_id, client.span_id);
    for span in [server, client] {
        assert_eq!(text(&span.attributes, "rpc.service"), "shop.Orders");
        assert_eq!(text(&span.attributes, "rpc.method"), "Get");
        assert_eq!(value(&span.attributes, "rpc.grpc.status_code"), Some(&Any::IntValue(5)));
    }
    assert_eq!(client.status.as_ref().unwrap().message, "no such order");
    assert!(server.status.is_none());
}

#[test]
fn spans_and_events_of_tracing_are_ours() {
    let sink = Sink::start();
    let tracer = tracer(&sink);
    let subscriber = tracing_subscriber::registry().with(TracerLayer::new(tracer.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let root =
            tracing::info_span!("root", otel.kind = "server", items = 3_u64, late = tracing::field::Empty);
        let entered = root.enter();
        root.record("late", "said later");
        drop(span("a span of ours inside"));
        let child = tracing::info_span!("child", name = %"shown").entered();
        tracing::info!(rows = 2, "read");
        tracing::error!("it broke");
        drop(child);
        drop(entered);
        drop(span("outside: nothing"));
        let again = root.enter();
        drop(span("inside again"));
        drop(again);
        drop(root);

        // Guards out of order.
        let (first, second) = (tracing::info_span!("first"), tracing::info_span!("second"));
        let (in_first, in_second) = (first.enter(), second.enter());
        drop(in_first);
        drop(span("in second"));
        drop(in_second);
        assert!(homeostat_tracer::Context::current().is_none());
        drop((first, second));

        // Ours around theirs.
        let outer = tracer.root("ours").enter();
        drop(tracing::info_span!("theirs"));
        drop(outer);
    });
    tracer.flush(PATIENCE).unwrap();
    let (root, child) = (sink.span("root"), sink.span("child"));
    assert_eq!(root.kind(), SpanKind::Server);
    assert_eq!(value(&root.attributes, "items"), Some(&Any::IntValue(3)));
    assert_eq!(text(&root.attributes, "late"), "said later");
    assert_eq!(sink.span("a span of ours inside").parent_span_id, root.span_id);
    assert_eq!(sink.span("inside again").parent_span_id, root.span_id);
    assert_eq!(child.parent_span_id, root.span_id);
    assert_eq!(text(&child.attributes, "name"), "shown");
    assert_eq!(
        child.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(),
        ["read", "it broke"]
    );
    assert_eq!(value(&child.events[0].attributes, "rows"), Some(&Any::IntValue(2)));
    assert_eq!(child.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(sink.span("in second").parent_span_id, sink.span("second").span_id);
    assert_eq!(sink.span("theirs").parent_span_id, sink.span("ours").span_id);
    assert!(!sink.spans().iter().any(|span| span.name.starts_with("outside")));
}
