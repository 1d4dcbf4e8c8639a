//! One connection of a receiver thread: HTTP/1.1 or HTTP/2, encrypted or not, to its end.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use super::counts::Protocol;
use super::exposed::Authorize;
use super::receiver::Receiver;
use super::refused::Refused;
use super::sink::Sink;
use super::{grpc, http};
use crate::listen::{ERROR_STREAMS, RESET_STREAMS};

/// A connection that has not sent one gRPC request after this time is closed.
const FIRST_CALL_TIME: Duration = Duration::from_secs(30);

/// Between two pings of an HTTP/2 connection, and for the answer: a client that is gone frees its place.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIME: Duration = Duration::from_secs(20);

/// Flow-control windows of HTTP/2. A stream may send the usual batch of 215 KB without waiting for an update; a
/// connection four of them. 512 connections can make us hold 512 MiB at worst, where all of them are hostile.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The largest frame a client may send: fewer frames, less work for each byte. Most clients send 16 KiB anyway.
const FRAME_BYTES: u32 = 1 << 20;

/// Calls at a time in one connection.
const STREAMS: u32 = 128;

/// The head of a request has under 1 KiB, a few more with a long token.
const HEAD_BYTES: u32 = 16 << 10;

/// Serves a connection. With `authorize` every request has to pass it first.
pub(super) async fn serve<S: Sink>(
    protocol: Protocol,
    receiver: Rc<Receiver<S>>,
    stream: impl Stream,
    authorize: Option<Authorize>,
    stopping: watch::Receiver<bool>,
) {
    match protocol {
        Protocol::Http => serve_http(receiver, stream, authorize, stopping).await,
        Protocol::Grpc => serve_grpc(receiver, stream, authorize, stopping).await,
    }
}

/// A connection, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Stream for T {}

/// Whether who sends this may.
fn admit(authorize: Option<&Authorize>, headers: &hyper::HeaderMap) -> Result<(), Refused> {
    authorize.map_or(Ok(()), |authorize| authorize(headers).map_err(Refused::from))
}

async fn serve_http<S: Sink>(
    receiver: Rc<Receiver<S>>,
    stream: impl Stream,
    authorize: Option<Authorize>,
    mut stopping: watch::Receiver<bool>,
) {
    let head_time = receiver.limits.head_time;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (receiver, admitted) = (Rc::clone(&receiver), admit(authorize.as_ref(), request.headers()));
        async move {
            Ok::<_, std::convert::Infallible>(match admitted {
                Ok(()) => http::answer(&receiver, request).await,
                Err(refused) => http::denied(&receiver, &request, &refused),
            })
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_header_size(HEAD_BYTES as usize)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    // An error here is a client that went away or spoke no HTTP; hyper has answered it if it could.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn serve_grpc<S: Sink>(
    receiver: Rc<Receiver<S>>,
    stream: impl Stream,
    authorize: Option<Authorize>,
    mut stopping: watch::Receiver<bool>,
) {
    let called = Rc::new(Cell::new(false));
    let service = {
        let (receiver, called) = (Rc::clone(&receiver), Rc::clone(&called));
        service_fn(move |request: hyper::Request<Incoming>| {
            called.set(true);
            let (receiver, admitted) = (Rc::clone(&receiver), admit(authorize.as_ref(), request.headers()));
            async move {
                Ok::<_, std::convert::Infallible>(match admitted {
                    Ok(()) => grpc::answer(&receiver, request).await,
                    Err(refused) => grpc::denied(&receiver, &refused),
                })
            }
        })
    };
    let connection = hyper::server::conn::http2::Builder::new(Here)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(ERROR_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIME)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let silent = async {
        tokio::time::sleep(FIRST_CALL_TIME).await;
        if called.get() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = connection.as_mut() => return,
        () = silent => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Runs the tasks of an HTTP/2 connection on the thread it is on.
#[derive(Clone)]
struct Here;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Here {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
