//! Connections of one listener, from the kernel's queue to their end.
//!
//! In: a bound listener, the limits of connections, a router. Out: answers of the router over HTTP/1.1, and over HTTP/2 where the
//! handshake agrees on it. Who is too slow or one too many is closed; at the stop what is under way has a time to finish.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::entry::{Entry, Peer, Wire};
use super::handshake::handshake;
use super::hosts::Hosts;
use super::patient::Patient;
use super::places::Places;
use super::rated::{Activity, Answered};
use super::{ConnectionLimits, ERROR_STREAMS, RESET_STREAMS};
use crate::serve::GatewayError;

/// Between two pings of HTTP/2, and for the answer: a client that is gone frees its place.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);

/// One listener with its rules.
pub(super) struct Way {
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    entry: Entry,
    limits: ConnectionLimits,
}

impl Way {
    /// Must be called inside the runtime that serves it.
    pub(super) fn new(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        hosts: Option<Hosts>,
        port: u16,
        limits: ConnectionLimits,
    ) -> Result<Self, GatewayError> {
        let failed = |step| move |source| GatewayError::Start { step, source };
        listener.set_nonblocking(true).map_err(failed("making the listener non-blocking"))?;
        let listener =
            tokio::net::TcpListener::from_std(listener).map_err(failed("registering the listener"))?;
        let wire = if tls.is_some() { Wire::Encrypted } else { Wire::Plain };
        Ok(Self {
            listener,
            acceptor: tls.map(TlsAcceptor::from),
            entry: Entry { hosts, port, wire },
            limits,
        })
    }
}

/// Accepts until it is told to stop; then lets what is under way finish for `shutdown_time`.
pub(super) async fn accept(
    way: Arc<Way>,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    shutdown_time: Duration,
) {
    let in_all = way.limits.in_all.clamp(1, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(in_all));
    let places = Places::new(way.limits.per_address);
    let next = async || {
        let permit = Arc::clone(&room).acquire_owned().await.ok()?;
        Some((permit, way.listener.accept().await))
    };
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let Some((permit, accepted)) = accepted else { return };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, or the client is gone already: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Too many from there: closed without a word, which costs least.
        let Some(place) = places.take(peer.ip()) else { continue };
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            way: Arc::clone(&way),
            peer: Peer(peer.ip()),
            router: router.clone(),
            stopping: stopping.clone(),
            shutdown_time,
        };
        tokio::spawn(async move {
            let _held = (permit, place);
            connection.serve(stream).await;
        });
    }
    let all = u32::try_from(in_all).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(shutdown_time, room.acquire_many(all)).await;
}

/// One connection, from its first byte on.
struct Connection {
    way: Arc<Way>,
    peer: Peer,
    router: Router,
    stopping: watch::Receiver<bool>,
    shutdown_time: Duration,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let Some(acceptor) = &self.way.acceptor else { return self.http1(stream).await };
        let Some(stream) = handshake(acceptor, stream, self.way.limits.handshake_time).await else { return };
        match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => self.http2(stream).await,
            _ => self.http1(stream).await,
        }
    }

    /// Answers its requests.
    fn answering(
        &self,
        activity: &Arc<Activity>,
    ) -> impl Service<Request<Incoming>, Response = Response<Answered>, Error = Infallible, Future: Send> + use<>
    {
        let (way, activity, peer) = (Arc::clone(&self.way), Arc::clone(activity), self.peer);
        let router = TowerToHyperService::new(self.router.clone());
        service_fn(move |request| {
            let (way, router, activity) = (Arc::clone(&way), router.clone(), Arc::clone(&activity));
            async move { Ok(way.entry.answer((request, peer), &way.limits, router, &activity).await) }
        })
    }

    async fn http1<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = &self.way.limits;
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_header_size(limits.head_bytes)
            .serve_connection(
                TokioIo::new(Patient::new(stream, limits.stall_time)),
                self.answering(&Activity::new()),
            )
            .with_upgrades();
        tokio::pin!(connection);
        // An error here is a client that went away or spoke no HTTP; hyper has answered it if it could.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = tokio::time::timeout(self.shutdown_time, connection).await;
    }

    async fn http2<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (activity, limits) = (Activity::new(), &self.way.limits);
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(ERROR_STREAMS)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIME)
            .serve_connection(
                TokioIo::new(Patient::new(stream, limits.stall_time)),
                self.answering(&activity),
            );
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = activity.idle(limits.head_time, limits.idle_time) => connection.as_mut().graceful_shutdown(),
            _ = self.stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = tokio::time::timeout(self.shutdown_time, connection).await;
    }
}
