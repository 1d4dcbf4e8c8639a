//! The HTTP server every service shares: standard endpoints, draining, a graceful end.
//!
//! In: connections on loopback. Out: answers of an [`Application`], and on every service `GET /ready`,
//! `GET /live`, `GET /metrics` and `POST /drain`. Deliberately absent: TLS and authentication (loopback
//! only), and dependencies in the readiness: a service whose callee is down is ready, its answers say why
//! they fail.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use homeostat_tracer::InSpan;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::ServiceError;
use super::answer::{Answer, Request};
use super::append_log::AppendLog;
use super::call::CALL_LIMIT;
use super::metrics::Metrics;
use super::settings::Settings;
use super::traces;

/// How long `POST /drain` waits for what is in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);

/// What a service does with requests that are not for the standard endpoints.
pub(super) trait Application: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;

    /// Whether it can answer yet.
    fn ready(&self) -> bool {
        true
    }
}

struct Instance<A> {
    application: Arc<A>,
    name: String,
    metrics: Metrics,
    access_log: AppendLog,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    idle: Notify,
}

/// Serves until SIGTERM or SIGINT, then finishes what is in flight.
pub(super) async fn serve<A: Application>(
    settings: &Settings,
    application: Arc<A>,
) -> Result<(), ServiceError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServiceError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServiceError::Runtime)?;
    let listener = TcpListener::bind(("127.0.0.1", settings.port))
        .await
        .map_err(|source| ServiceError::Listen { port: settings.port, source })?;
    let instance = Arc::new(Instance {
        application,
        name: settings.instance.clone(),
        metrics: Metrics::default(),
        access_log: AppendLog::new(settings.volume.join("logs/access.log")),
        draining: AtomicBool::new(false),
        in_flight: AtomicUsize::new(0),
        idle: Notify::new(),
    });
    provider::say!("{} listens on 127.0.0.1:{}", settings.instance, settings.port);
    let (stop, stopping) = watch::channel(false);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve_connection(Arc::clone(&instance), stream, stopping.clone()));
                }
                // Out of descriptors: give the open connections time to end instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop(listener);
    instance.draining.store(true, Ordering::Relaxed);
    drop(stopping);
    // The connection tasks finish their request and end; the channel closes with the last of them.
    let _ = stop.send(true);
    let _ = tokio::time::timeout(CALL_LIMIT, stop.closed()).await;
    provider::say!("{} ends", settings.instance);
    Ok(())
}

async fn serve_connection<A: Application>(
    instance: Arc<Instance<A>>,
    stream: TcpStream,
    mut stopping: watch::Receiver<bool>,
) {
    // Without it small answers on a kept connection wait for the peer's delayed acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let answer = service_fn(|request| {
        let instance = Arc::clone(&instance);
        async move { Ok::<_, std::convert::Infallible>(instance.respond(request).await) }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        // A connection that breaks is the peer's affair; it sees it too.
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

impl<A: Application> Instance<A> {
    async fn respond(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let standard = match (request.method(), request.uri().path()) {
            (&Method::GET, "/live") => Some(Answer::text(StatusCode::OK, "live\n")),
            (&Method::GET, "/ready") => Some(self.readiness()),
            (&Method::GET, "/metrics") => {
                Some(Answer::text(StatusCode::OK, self.metrics.text(&self.name, self.access_log.lost())))
            }
            (&Method::POST, "/drain") => Some(self.drain().await),
            _ => None,
        };
        match standard {
            Some(answer) => answer.into_response(),
            None => self.respond_and_log(request).await,
        }
    }

    async fn respond_and_log(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let _in_flight = InFlight::begin(&self.in_flight, &self.idle);
        let began = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let mut span = traces::server(&method, &path, request.headers());
        let answer = self.read_and_answer(request).in_scope_of(&mut span).await;
        traces::answered(&mut span, answer.status);
        drop(span);
        let took = began.elapsed();
        let status = answer.status.as_u16();
        self.metrics.ended(status, took);
        self.access_log.note(&format!(
            "{} {method} {path} {status} {}us",
            super::wall_us(),
            took.as_micros()
        ));
        let mut response = answer.into_response();
        if self.draining.load(Ordering::Relaxed) {
            // Whoever still comes over a kept connection is served, and then has to go elsewhere.
            response
                .headers_mut()
                .insert(hyper::header::CONNECTION, hyper::header::HeaderValue::from_static("close"));
        }
        response
    }

    async fn read_and_answer(&self, request: hyper::Request<Incoming>) -> Answer {
        match Request::read(request).await {
            Ok(request) => self.application.answer(request).await,
            Err(unreadable) => unreadable,
        }
    }

    fn readiness(&self) -> Answer {
        if self.draining.load(Ordering::Relaxed) {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else if self.application.ready() {
            Answer::text(StatusCode::OK, "ready\n")
        } else {
            Answer::text(StatusCode::SERVICE_UNAVAILABLE, "starting\n")
        }
    }

    /// Turns unready and waits until nothing is in flight. 503 where [`DRAIN_LIMIT`] was not enough.
    async fn drain(&self) -> Answer {
        self.draining.store(true, Ordering::Relaxed);
        let emptied = tokio::time::timeout(DRAIN_LIMIT, async {
            while self.in_flight.load(Ordering::Relaxed) > 0 {
                self.idle.notified().await;
            }
        });
        match emptied.await {
            Ok(()) => Answer::text(StatusCode::OK, "drained\n"),
            Err(_) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "requests are still in flight\n"),
        }
    }
}

/// Counts a request as in flight until it is dropped, also when its caller hangs up.
struct InFlight<'a> {
    count: &'a AtomicUsize,
    idle: &'a Notify,
}

impl<'a> InFlight<'a> {
    fn begin(count: &'a AtomicUsize, idle: &'a Notify) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self { count, idle }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            // One waiter or none yet: a permit is kept for a drain that is about to wait.
            self.idle.notify_one();
        }
    }
}
