//! Layers for everything built on tower and the crate `http`: axum, hyper's service stack, tonic.
//!
//! In: requests. Out: server and client spans that last until the last byte of the answer, so that a streamed
//! body and the status in gRPC's trailers belong to them.
//!
//! ```
//! use homeostat_tracer::tower::ServerLayer;
//! # fn with<S>(layer: impl tower_layer::Layer<S>) {}
//! // axum: Router::new().route(…).layer(ServerLayer::new().route(|request| {
//! //     request.get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned())
//! // }))
//! let layer = ServerLayer::new().route(|extensions| extensions.get::<String>().cloned());
//! # with::<()>(layer);
//! ```

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Poller, Poll, ready};

use http::{Extensions, Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::http::{Protocol, Side, answered, client, describe, grpc_answered, name, version};
use crate::future::Scope;
use crate::propagation;
use crate::span::Span;
use crate::tracer::{Tracer, installed};
use crate::value::{Kind, Status};

/// Finds the route of a request, such as `/cart/{id}`, among its extensions.
pub type Route = fn(&Extensions) -> Option<String>;

/// Gives every request a server span, with the parent its headers name.
#[derive(Debug, Clone, Default)]
pub struct ServerLayer {
    tracer: Option<Tracer>,
    route: Option<Route>,
}

impl ServerLayer {
    /// With the installed tracer.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this tracer.
    #[must_use]
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Where the route is found; without one a span is named by its method alone.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, service: S) -> Server<S> {
        Server { service, layer: self.clone() }
    }
}

/// See [`ServerLayer`].
#[derive(Debug, Clone)]
pub struct Server<S> {
    service: S,
    layer: ServerLayer,
}

impl ServerLayer {
    fn span<B>(&self, request: &Request<B>, protocol: Protocol) -> Span {
        let Some(tracer) = self.tracer.as_ref().or(installed()) else { return Span::none() };
        let route = self.route.and_then(|route| route(request.extensions()));
        let name = name(protocol, request.method(), request.uri(), route.as_deref());
        let parent = propagation::extract(request.headers());
        let mut span = tracer.root(name).kind(Kind::Server).parent(parent).start();
        describe(&mut span, protocol, Side::Server, request.method(), request.uri(), request.headers());
        if let Some(route) = route {
            span.attribute("http.route", &route);
        }
        span.attribute("network.protocol.version", version(request.version()));
        span
    }
}

impl<S, B, R> Service<Request<B>> for Server<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display,
{
    type Response = Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(poller)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let mut span = self.layer.span(&request, protocol);
        let future = {
            let _scope = Scope::enter(&mut span);
            self.service.call(request)
        };
        Answering { future, span: Some(span), protocol, side: Side::Server }
    }
}

/// Gives every call a client span, and its headers the context.
#[derive(Debug, Clone, Default)]
pub struct ClientLayer {
    tracer: Option<Tracer>,
}

impl ClientLayer {
    /// For calls outside any span: with the installed tracer. Calls inside one use that one's tracer.
    pub fn new() -> Self {
        Self::default()
    }

    /// For calls outside any span: with this tracer.
    #[must_use]
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = Client<S>;

    fn layer(&self, service: S) -> Client<S> {
        Client { service, layer: self.clone() }
    }
}

/// See [`ClientLayer`].
#[derive(Debug, Clone)]
pub struct Client<S> {
    service: S,
    layer: ClientLayer,
}

impl<S, B, R> Service<Request<B>> for Client<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Display,
{
    type Response = Response<TracedBody<R>>;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let named = name(protocol, request.method(), request.uri(), None);
        let mut span = client(self.layer.tracer.as_ref(), named);
        describe(&mut span, protocol, Side::Client, request.method(), request.uri(), request.headers());
        span.inject(request.headers_mut());
        let future = {
            let _scope = Scope::enter(&mut span);
            self.service.call(request)
        };
        Answering { future, span: Some(span), protocol, side: Side::Client }
    }
}

pin_project! {
    /// An answer on its way.
    #[derive(Debug)]
    pub struct Answering<F> {
        #[pin]
        future: F,
        span: Option<Span>,
        protocol: Protocol,
        side: Side,
    }
}

impl<F, R, E> Future for Answering<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: Display,
{
    type Output = Result<Response<TracedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let span = this.span.get_or_insert_with(Span::none);
        let answer = {
            let _scope = Scope::enter(span);
            ready!(this.future.poll(poller))
        };
        let mut span = this.span.take().unwrap_or_else(Span::none);
        match answer {
            Ok(answer) => {
                if *this.protocol == Protocol::Grpc {
                    grpc_answered(&mut span, *this.side, answer.headers());
                } else {
                    answered(&mut span, *this.side, answer.status());
                }
                let (protocol, side) = (*this.protocol, *this.side);
                Poll::Ready(Ok(answer.map(|body| TracedBody { body, span: Some(span), protocol, side })))
            }
            Err(error) => {
                span.status(Status::Error(&error.to_string()));
                Poll::Ready(Err(error))
            }
        }
    }
}

pin_project! {
    /// A body that ends its span with its last byte, or when it is given up.
    #[derive(Debug)]
    pub struct TracedBody<B> {
        #[pin]
        body: B,
        span: Option<Span>,
        protocol: Protocol,
        side: Side,
    }
}

impl<B: Default> Default for TracedBody<B> {
    fn default() -> Self {
        Self { body: B::default(), span: None, protocol: Protocol::Http, side: Side::Server }
    }
}

impl<B> Body for TracedBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Display,
{
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(span) = this.span else { return this.body.poll_frame(poller) };
        let frame = {
            let _scope = Scope::enter(span);
            ready!(this.body.poll_frame(poller))
        };
        match &frame {
            None => *this.span = None,
            Some(Err(error)) => {
                span.status(Status::Error(&error.to_string()));
                *this.span = None;
            }
            Some(Ok(frame)) => {
                let trailers = frame.trailers_ref().filter(|_| *this.protocol == Protocol::Grpc);
                if let Some(trailers) = trailers {
                    grpc_answered(span, *this.side, trailers);
                }
            }
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
