//! Threads and sockets of the receivers, from [`OtlpReceivers::start`] to [`OtlpReceivers::shutdown`].
//!
//! One thread accepts and hands each connection to the receiver thread with the fewest; a connection stays there.
//! Sharing the port by `SO_REUSEPORT` would spread connections by a hash of their addresses: the few that exporters
//! keep would often land on one core, and a port that another program of the same user has taken would go unnoticed.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::config::OtlpConfig;
use super::counts::{Counts, Protocol};
use super::receiver::Receiver;
use super::series::Metrics;
use super::sink::Sink;
use super::{grpc, http};

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

/// The head of a gRPC request has under 1 KiB.
const HEAD_BYTES: u32 = 16 << 10;

/// Why the receivers did not start.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A port is occupied, or may not be used.
    #[error("cannot listen for OTLP over {} on 127.0.0.1:{port}; stop what listens there, or set otlp.{}_port", protocol.name(), protocol.name())]
    Listen {
        /// For which protocol.
        protocol: Protocol,
        /// Which port.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The machine gives no thread or no runtime.
    #[error("cannot start the OTLP receivers: {step} failed")]
    Start {
        /// Which step.
        step: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl OtlpError {
    /// The protocol whose port somebody else has.
    pub fn occupied(&self) -> Option<Protocol> {
        match self {
            Self::Listen { protocol, source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some(*protocol)
            }
            _ => None,
        }
    }
}

/// What is known outside of receivers that run.
#[derive(Debug, Clone)]
pub struct Running {
    /// What came in and what was refused; shown by `/metrics`.
    pub counts: Arc<Counts>,
    /// Port of OTLP over gRPC on 127.0.0.1.
    pub grpc_port: u16,
    /// Port of OTLP over HTTP on 127.0.0.1.
    pub http_port: u16,
}

/// Running receivers. Dropping them shuts them down.
#[derive(Debug)]
pub struct OtlpReceivers {
    grpc: SocketAddr,
    http: SocketAddr,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// A connection on its way to a receiver thread.
struct Arrival {
    protocol: Protocol,
    stream: std::net::TcpStream,
    place: Place,
}

/// A place among the connections; free again when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    open: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the accepting thread hands connections to.
struct Desk {
    arrivals: mpsc::UnboundedSender<Arrival>,
    open: Arc<AtomicUsize>,
}

impl OtlpReceivers {
    /// Listens, and starts the threads. `sink` makes the entry of each receiver thread.
    ///
    /// # Errors
    ///
    /// [`OtlpError`]; nothing runs then.
    pub fn start<S: Sink>(config: &OtlpConfig, sink: impl FnMut() -> S) -> Result<Self, OtlpError> {
        Self::start_all(config, sink, None)
    }

    /// The same, with metrics taken too: as OTLP, and as Prometheus' remote-write at `/api/v1/write` of the port of HTTP.
    ///
    /// # Errors
    ///
    /// [`OtlpError`]; nothing runs then.
    pub fn start_with_metrics<S: Sink>(
        config: &OtlpConfig,
        sink: impl FnMut() -> S,
        metrics: Metrics,
    ) -> Result<Self, OtlpError> {
        Self::start_all(config, sink, Some(metrics))
    }

    fn start_all<S: Sink>(
        config: &OtlpConfig,
        mut sink: impl FnMut() -> S,
        metrics: Option<Metrics>,
    ) -> Result<Self, OtlpError> {
        let grpc = listen(Protocol::Grpc, config.grpc_port)?;
        let http = listen(Protocol::Http, config.http_port)?;
        let failed = |step| move |source| OtlpError::Start { step, source };
        let address = |listener: &TcpListener| listener.local_addr().map_err(failed("reading an address"));
        let (stop, stopping) = watch::channel(false);
        // From here on a failure drops it, which ends the threads that run already.
        let mut receivers = Self {
            grpc: address(&grpc)?,
            http: address(&http)?,
            counts: Arc::default(),
            stop,
            threads: Vec::new(),
        };
        let mut desks = Vec::new();
        for number in 0..config.receivers.clamp(1, 64) {
            let (sender, arrivals) = mpsc::unbounded_channel();
            desks.push(Desk { arrivals: sender, open: Arc::default() });
            let (sink, limits, metrics) = (sink(), config.limits.clone(), metrics.clone());
            let (counts, stopping) = (Arc::clone(&receivers.counts), stopping.clone());
            let runtime = runtime().map_err(failed("building a runtime"))?;
            receivers.spawn(&format!("otlp-{number}"), move || {
                let receiver = Rc::new(Receiver::new(sink, limits, counts, metrics));
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, receive(receiver, arrivals, stopping));
            })?;
        }
        let runtime = runtime().map_err(failed("building a runtime"))?;
        let connections = config.limits.connections;
        let counts = Arc::clone(&receivers.counts);
        receivers.spawn("otlp-accept", move || {
            let desks = Rc::new(desks);
            let accept_both = async {
                tokio::join!(
                    accept(Protocol::Grpc, grpc, connections, &desks, &counts, stopping.clone()),
                    accept(Protocol::Http, http, connections, &desks, &counts, stopping.clone()),
                )
            };
            runtime.block_on(accept_both);
        })?;
        Ok(receivers)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), OtlpError> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|source| OtlpError::Start { step: "starting a thread", source })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// What came in and what was refused.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// What others need to know of them.
    pub fn running(&self) -> Running {
        Running {
            counts: self.counts(),
            grpc_port: self.grpc_address().port(),
            http_port: self.http_address().port(),
        }
    }

    /// Takes no more requests, lets those under way finish for [`super::Limits::shutdown_time`], and waits for the threads.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A panic of a thread was printed when it happened; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for OtlpReceivers {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn listen(protocol: Protocol, port: u16) -> Result<TcpListener, OtlpError> {
    let listen = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| OtlpError::Listen { protocol, port, source })
}

/// Accepts until it is stopped.
async fn accept(
    protocol: Protocol,
    listener: TcpListener,
    connections: usize,
    desks: &[Desk],
    counts: &Counts,
    mut stopping: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let next = async || {
        let permit = Arc::clone(&room).acquire_owned().await.ok()?;
        Some((permit, listener.accept().await))
    };
    loop {
        let arrived = tokio::select! {
            arrived = next() => arrived,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let Some((permit, accepted)) = arrived else { return };
        let Ok(stream) = accepted.and_then(|(stream, _)| stream.into_std()) else {
            // Out of descriptors, or the client is gone already: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(desk) = desks.iter().min_by_key(|desk| desk.open.load(Ordering::Relaxed)) else { return };
        desk.open.fetch_add(1, Ordering::Relaxed);
        counts.connected(protocol);
        let place = Place { _permit: permit, open: Arc::clone(&desk.open) };
        // A receiver thread that ended drops the connection; it has said why.
        let _ = desk.arrivals.send(Arrival { protocol, stream, place });
    }
}

/// Serves the connections handed to one thread, until it is stopped and they have ended or their time is over.
async fn receive<S: Sink>(
    receiver: Rc<Receiver<S>>,
    mut arrivals: mpsc::UnboundedReceiver<Arrival>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let arrival = tokio::select! {
            arrival = arrivals.recv() => arrival,
            Some(_) = connections.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let Some(Arrival { protocol, stream, place }) = arrival else { break };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { continue };
        let (receiver, stopping) = (Rc::clone(&receiver), stopping.clone());
        connections.spawn_local(async move {
            let _place = place;
            match protocol {
                Protocol::Http => serve_http(receiver, stream, stopping).await,
                Protocol::Grpc => serve_grpc(receiver, stream, stopping).await,
            }
        });
    }
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(receiver.limits.shutdown_time, all_ended).await;
}

async fn serve_http<S: Sink>(
    receiver: Rc<Receiver<S>>,
    stream: tokio::net::TcpStream,
    mut stopping: watch::Receiver<bool>,
) {
    let head_time = receiver.limits.head_time;
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let receiver = Rc::clone(&receiver);
        async move { Ok::<_, std::convert::Infallible>(http::answer(&receiver, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
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
    stream: tokio::net::TcpStream,
    mut stopping: watch::Receiver<bool>,
) {
    let called = Rc::new(Cell::new(false));
    let service = {
        let (receiver, called) = (Rc::clone(&receiver), Rc::clone(&called));
        service_fn(move |request: hyper::Request<Incoming>| {
            called.set(true);
            let receiver = Rc::clone(&receiver);
            async move { Ok::<_, std::convert::Infallible>(grpc::answer(&receiver, request).await) }
        })
    };
    let connection = hyper::server::conn::http2::Builder::new(Here)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES)
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
