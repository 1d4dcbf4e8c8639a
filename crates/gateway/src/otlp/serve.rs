//! Threads and sockets of the receivers, from [`OtlpReceivers::start`] to [`OtlpReceivers::shutdown`].
//!
//! One thread accepts and hands each connection to the receiver thread with the fewest; a connection stays there.
//! Sharing the port by `SO_REUSEPORT` would spread connections by a hash of their addresses: the few that exporters
//! keep would often land on one core, and a port that another program of the same user has taken would go unnoticed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::config::OtlpConfig;
use super::connection::serve;
use super::counts::{Counts, Protocol};
use super::exposed::{Exposure, Gate, Manner};
use super::receiver::Receiver;
use super::series::Metrics;
use super::sink::Sink;
use crate::listen::handshake::handshake;
use crate::listen::is_loopback;
use crate::listen::places::{self, Places};

/// Why the receivers did not start.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A port is occupied, or may not be used.
    #[error("cannot listen for OTLP over {} on {address}; stop what listens there, or set otlp.{}_port", protocol.name(), protocol.name())]
    Listen {
        /// For which protocol.
        protocol: Protocol,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Beyond loopback, and anybody could send.
    #[error(
        "telemetry is received beyond loopback only with TLS and tokens, not on {address} without; set [tls] certificate and key, or otlp.listen = \"127.0.0.1\""
    )]
    Exposed {
        /// Where it was to listen.
        address: IpAddr,
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
    /// Port of OTLP over gRPC.
    pub grpc_port: u16,
    /// Port of OTLP over HTTP.
    pub http_port: u16,
}

/// Running receivers. Dropping them shuts them down.
#[derive(Debug)]
pub struct OtlpReceivers {
    grpc: SocketAddr,
    http: SocketAddr,
    local_http: SocketAddr,
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// A connection on its way to a receiver thread.
struct Arrival {
    protocol: Protocol,
    stream: std::net::TcpStream,
    manner: Manner,
    place: Place,
}

/// A place among the connections; free again when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    _of_address: Option<places::Place>,
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
        Self::start_all(config, sink, None, None)
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
        Self::start_all(config, sink, Some(metrics), None)
    }

    /// With TLS and tokens, wherever `listen` is, and plain on loopback beside it; with metrics where they are stored.
    ///
    /// # Errors
    ///
    /// [`OtlpError`]; nothing runs then.
    pub fn start_exposed<S: Sink>(
        config: &OtlpConfig,
        sink: impl FnMut() -> S,
        metrics: Option<Metrics>,
        exposure: &Exposure,
    ) -> Result<Self, OtlpError> {
        Self::start_all(config, sink, metrics, Some(exposure))
    }

    fn start_all<S: Sink>(
        config: &OtlpConfig,
        mut sink: impl FnMut() -> S,
        metrics: Option<Metrics>,
        exposure: Option<&Exposure>,
    ) -> Result<Self, OtlpError> {
        if exposure.is_none() && !is_loopback(config.listen) {
            return Err(OtlpError::Exposed { address: config.listen });
        }
        let grpc = listen(Protocol::Grpc, config.listen, config.grpc_port)?;
        let http = listen(Protocol::Http, config.listen, config.http_port)?;
        let local = match exposure {
            Some(_) => Some((
                listen_locally(Protocol::Grpc, config.grpc_port)?,
                listen_locally(Protocol::Http, config.http_port)?,
            )),
            None => None,
        };
        let failed = |step| move |source| OtlpError::Start { step, source };
        let address = |listener: &TcpListener| listener.local_addr().map_err(failed("reading an address"));
        let (stop, stopping) = watch::channel(false);
        // From here on a failure drops it, which ends the threads that run already.
        let mut receivers = Self {
            grpc: address(&grpc)?,
            http: address(&http)?,
            local_http: address(local.as_ref().map_or(&http, |(_, http)| http))?,
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
            let gate = exposure.map(Gate::of);
            let runtime = runtime().map_err(failed("building a runtime"))?;
            receivers.spawn(&format!("otlp-{number}"), move || {
                let receiver = Rc::new(Receiver::new(sink, limits, counts, metrics));
                let tasks = tokio::task::LocalSet::new();
                tasks.block_on(&runtime, receive(receiver, gate, arrivals, stopping));
            })?;
        }
        let runtime = runtime().map_err(failed("building a runtime"))?;
        let accepting =
            Accepting { desks, connections: config.limits.connections, counts: receivers.counts(), stopping };
        let manner =
            || exposure.map_or(Manner::Open, |exposure| Manner::Guarded(Places::new(exposure.per_address)));
        let mut listeners = vec![(Protocol::Grpc, grpc, manner()), (Protocol::Http, http, manner())];
        if let Some((grpc, http)) = local {
            listeners.push((Protocol::Grpc, grpc, Manner::Open));
            listeners.push((Protocol::Http, http, Manner::Open));
        }
        receivers.spawn("otlp-accept", move || {
            let accepting = Rc::new(accepting);
            let tasks = tokio::task::LocalSet::new();
            for (protocol, listener, manner) in listeners {
                tasks.spawn_local(accept(protocol, listener, manner, Rc::clone(&accepting)));
            }
            runtime.block_on(tasks);
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

    /// Where HTTP is served for programs of this machine, without TLS and tokens.
    pub fn local_http_address(&self) -> SocketAddr {
        self.local_http
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

fn listen(protocol: Protocol, address: IpAddr, port: u16) -> Result<TcpListener, OtlpError> {
    let address = SocketAddr::new(address, port);
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source| OtlpError::Listen { protocol, address, source })
}

/// On loopback: at the configured port, or at a free one where the wide address has taken that.
fn listen_locally(protocol: Protocol, port: u16) -> Result<TcpListener, OtlpError> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    listen(protocol, loopback, port).or_else(|_| listen(protocol, loopback, 0))
}

/// What the accepting thread holds.
struct Accepting {
    desks: Vec<Desk>,
    /// For each listener.
    connections: usize,
    counts: Arc<Counts>,
    stopping: watch::Receiver<bool>,
}

/// Accepts until it is stopped.
async fn accept(protocol: Protocol, listener: TcpListener, manner: Manner, accepting: Rc<Accepting>) {
    let Accepting { desks, connections, counts, stopping } = &*accepting;
    let mut stopping = stopping.clone();
    let room = Arc::new(Semaphore::new((*connections).clamp(1, Semaphore::MAX_PERMITS)));
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
        let accepted = accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)));
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, or the client is gone already: trying again at once would spin.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Too many from there: closed without a word, which costs least.
        let Some(of_address) = manner.place(peer) else { continue };
        let Some(desk) = desks.iter().min_by_key(|desk| desk.open.load(Ordering::Relaxed)) else { return };
        desk.open.fetch_add(1, Ordering::Relaxed);
        counts.connected(protocol);
        let place = Place { _permit: permit, _of_address: of_address, open: Arc::clone(&desk.open) };
        // A receiver thread that ended drops the connection; it has said why.
        let _ = desk.arrivals.send(Arrival { protocol, stream, manner: manner.clone(), place });
    }
}

/// Serves the connections handed to one thread, until it is stopped and they have ended or their time is over.
async fn receive<S: Sink>(
    receiver: Rc<Receiver<S>>,
    gate: Option<Gate>,
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
        let Some(Arrival { protocol, stream, manner, place }) = arrival else { break };
        let _ = stream.set_nodelay(true);
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { continue };
        let (receiver, gate, stopping) = (Rc::clone(&receiver), gate.clone(), stopping.clone());
        connections.spawn_local(async move {
            let _place = place;
            match (manner, gate) {
                (Manner::Open, _) => serve(protocol, receiver, stream, None, stopping).await,
                (Manner::Guarded(_), Some(gate)) => {
                    let acceptor = gate.acceptor(protocol);
                    let Some(stream) = handshake(acceptor, stream, gate.handshake_time).await else { return };
                    serve(protocol, receiver, stream, Some(gate.authorize), stopping).await;
                }
                (Manner::Guarded(_), None) => {}
            }
        });
    }
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(receiver.limits.shutdown_time, all_ended).await;
}
