//! A fleet in a nutshell: small real servers on loopback, a real caller, and a clock that can be moved on.

mod faults;
mod http;
mod tcp;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use domain::{FaultKind, IdSource, PathScope, ServiceName, StepToken};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use super::*;
use crate::sample::{Counts, LinkSecond};

/// Nothing in these tests takes this long unless it is broken, also on a machine that stands still for seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// Far above what an unhindered request takes, far below the delays that are asserted against it.
const QUICK: Duration = Duration::from_millis(600);

/// The machine's time plus what the test added to it; once it is stopped, the latter alone.
struct TestClock {
    began: Instant,
    stopped: AtomicBool,
    added_us: AtomicU64,
}

impl TestClock {
    /// From now on time passes by [`Self::advance`] alone, however slow the machine is.
    fn stop(&self) {
        let passed = self.began.elapsed();
        self.stopped.store(true, Ordering::Relaxed);
        self.advance(passed);
    }

    fn advance(&self, by: Duration) {
        self.added_us.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        let passed = if self.stopped.load(Ordering::Relaxed) { Duration::ZERO } else { self.began.elapsed() };
        let us = 1_000_000_000 + passed.as_micros() as u64 + self.added_us.load(Ordering::Relaxed);
        Time { boot_us: us, wall_us: us as i64 }
    }

    fn wait(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// An instance that speaks HTTP. `/` says its name, `/held` when it is let go, `/hang` never, `/fail` is a 500,
/// `/echo` gives the body back, `/headers` lists the names of the headers it got.
struct Server {
    backend: Backend,
    requests: Arc<AtomicU32>,
    connections: Arc<AtomicU32>,
    close: watch::Sender<u32>,
    let_go: watch::Sender<bool>,
}

fn instance(ordinal: u32) -> InstanceName {
    ServiceName::new("cart").unwrap().instance(ordinal)
}

impl Server {
    async fn start(ordinal: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, connections) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let (close, let_go) = (watch::Sender::new(0), watch::Sender::new(false));
        let (counted, opened) = (requests.clone(), connections.clone());
        let (closed, held) = (close.clone(), let_go.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
                let (counted, held) = (counted.clone(), held.subscribe());
                let mut closed = closed.subscribe();
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| answer(ordinal, counted.clone(), held.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = connection => {}
                        _ = closed.changed() => {}
                    }
                });
            }
        });
        let backend = Backend { instance: instance(ordinal), address, ready: true, ejected: false };
        Self { backend, requests, connections, close, let_go }
    }

    /// How many requests it answered, path checks aside.
    fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Answers what asked for `/held`, and will ask for it.
    fn let_go(&self) {
        self.let_go.send_replace(true);
    }

    fn close_connections(&self) {
        self.close.send_modify(|times| *times += 1);
    }
}

type ServerBody = Either<Full<Bytes>, Incoming>;

async fn answer(
    ordinal: u32,
    requests: Arc<AtomicU32>,
    mut held: watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Result<Response<ServerBody>, Infallible> {
    if request.uri().path() != "/check" {
        requests.fetch_add(1, Ordering::Relaxed);
    }
    let text = |text: String| Response::new(Either::Left(Full::from(text)));
    Ok(match request.uri().path() {
        "/held" => {
            // Its sender lives as long as the task that accepts.
            let _ = held.wait_for(|let_go| *let_go).await;
            text(format!("cart-{ordinal}"))
        }
        "/hang" => std::future::pending().await,
        "/fail" => {
            let mut response = text("broken".to_owned());
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
        "/echo" => Response::new(Either::Right(request.into_body())),
        "/headers" => {
            let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
            text(names.join(","))
        }
        _ => text(format!("cart-{ordinal}")),
    })
}

/// An address at which nobody listens, nor will while its socket lives.
fn refusing(ordinal: u32) -> (Backend, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (Backend { instance: instance(ordinal), address, ready: true, ejected: false }, socket)
}

fn config(backends: impl IntoIterator<Item = Backend>) -> LinkConfig {
    LinkConfig {
        protocol: Protocol::Http,
        backends: backends.into_iter().collect(),
        held_open: false,
        faults: Vec::new(),
        check_path: Some("/check".to_owned()),
    }
}

/// A proxy under test, with what it was configured to do.
struct Link {
    proxy: LinkProxy,
    clock: Arc<TestClock>,
    config: LinkConfig,
}

impl Link {
    async fn start(config: LinkConfig) -> Self {
        let clock = Arc::new(TestClock {
            began: Instant::now(),
            stopped: AtomicBool::new(false),
            added_us: AtomicU64::new(0),
        });
        let name = "front->cart".parse().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let proxy = LinkProxy::bind(name, listen, config.clone(), clock.clone()).await.unwrap();
        Self { proxy, clock, config }
    }

    /// In front of these servers.
    async fn to(servers: &[&Server]) -> Self {
        Self::start(config(servers.iter().map(|server| server.backend.clone()))).await
    }

    fn change(&mut self, change: impl FnOnce(&mut LinkConfig)) {
        change(&mut self.config);
        self.proxy.configure(self.config.clone());
    }

    /// Begins a fault, and ends every other.
    fn inject(&mut self, kind: FaultKind) {
        let since = self.clock.now();
        let token = StepToken { plan: IdSource::seeded(1).next(since), index: 0 };
        self.change(|config| config.faults = vec![LinkFault { token, kind, since }]);
    }

    fn heal(&mut self) {
        self.change(|config| config.faults.clear());
    }

    async fn get(&self, path: &str) -> Reply {
        call(self.proxy.address(), Method::GET, path).await
    }

    /// Whether a request is soon answered without delay. One alone may be late on a busy machine.
    async fn is_quick(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            let reply = self.get("/").await;
            if reply.status == 200 && reply.took < QUICK {
                return true;
            }
        }
        false
    }

    async fn post(&self, path: &str) -> Reply {
        call(self.proxy.address(), Method::POST, path).await
    }

    /// The seconds so far, with the one that is running.
    fn seconds(&self) -> VecDeque<Arc<LinkSecond>> {
        self.proxy.core.counter.complete(self.clock.now().plus(Duration::from_secs(1)))
    }

    fn counts(&self) -> Vec<Counts> {
        self.seconds().iter().flat_map(|second| second.counts.clone()).collect()
    }

    /// Requests, errors, throttled, unanswered.
    fn totals(&self) -> [u64; 4] {
        self.counts().iter().fold([0; 4], |[requests, errors, throttled, unanswered], counts| {
            [
                requests + counts.requests,
                errors + counts.errors,
                throttled + counts.throttled,
                unanswered + counts.unanswered,
            ]
        })
    }

    fn rejected(&self) -> u64 {
        self.seconds().iter().map(|second| second.rejected).sum()
    }

    fn backend(&self, ordinal: u32) -> crate::sample::BackendSample {
        self.proxy.sample().backends[&instance(ordinal)].clone()
    }
}

#[derive(Debug)]
struct Reply {
    status: u16,
    breaker: Option<String>,
    body: String,
    took: Duration,
}

async fn call(address: SocketAddr, method: Method, path: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "cart")
        .body(Full::new(Bytes::new()))
        .unwrap();
    send(address, request).await
}

async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Reply {
    let began = Instant::now();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let breaker =
        response.headers().get("x-homeostat-breaker").map(|value| value.to_str().unwrap().to_owned());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    driver.abort();
    Reply { status, breaker, body: String::from_utf8(body.to_vec()).unwrap(), took: began.elapsed() }
}

/// A caller that keeps its connection.
struct Caller {
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, driver: tokio::spawn(connection) }
    }

    async fn get(&mut self, path: &str) -> Bytes {
        self.sender.ready().await.unwrap();
        let request = Request::get(path).header("host", "cart").body(Full::default()).unwrap();
        self.sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    }
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn latency(ms: u64, scope: PathScope) -> FaultKind {
    FaultKind::NetworkLatency { delay: Duration::from_millis(ms), jitter: Duration::ZERO, scope }
}

fn partition(scope: PathScope) -> FaultKind {
    FaultKind::NetworkPartition { scope }
}
