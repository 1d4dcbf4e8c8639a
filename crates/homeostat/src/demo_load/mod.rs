//! The visitors of the demo shop: an open-loop load generator.
//!
//! In: the front's address, a rate, a seed. Out: requests at times that do not depend on any answer, and for
//! each two witnesses of how it went: a root span (`spans`), and a line in the request log ([`read_log`]). A
//! request is timed from when it was due in the log, so that a slow shop cannot slow down its own measurement;
//! its span begins when it is sent. Deliberately absent: retries; a visitor who was turned away is a failed
//! request.

mod arrivals;
mod request_log;
pub(crate) mod spans;
mod visitors;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use request_log::property as request_log_property;
pub use request_log::{LogError, RequestCounts, read_log};

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::Time;
use homeostat_tracer::{InSpan, Sampler, Span};
use hyper::StatusCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::demo_service::{CallError, DEGRADED_HEADER, Dependency, ORDER_HEADER, Reply, start_traces};
use arrivals::Arrivals;
use request_log::{Kind, Outcome, Record, RequestLog};
use visitors::{Visit, Visitors};

/// Requests that may be open at once. At the default rate and the 2 s limit of a request 80 are open when
/// the shop answers nothing; three times that also bears a burst.
const IN_FLIGHT_MAX: usize = 256;
/// How often the log goes to its file.
const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// A line is in the file at most so long after its request ended.
pub(crate) const LOG_LATE: Duration = Duration::from_millis(200);
/// How long the end waits for open requests: their limit, and a little for their lines.
const END_LIMIT: Duration = Duration::from_millis(2200);

/// What the load generator is told.
#[derive(Debug, Clone, clap::Args)]
pub struct LoadArgs {
    /// Where the front answers, as host:port.
    #[arg(long, env = "FRONT_ADDRESS")]
    pub front: String,
    /// Requests a second, on average.
    #[arg(long, default_value_t = 40.0, value_parser = parse_rate)]
    pub rate: f64,
    /// The same seed sends the same kinds of requests at the same distances.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The request log; appended to.
    #[arg(long, env = "HOMEOSTAT_REQUEST_LOG")]
    pub log: PathBuf,
}

/// Why the load generator could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The runtime or its signal handlers could not be set up.
    #[error("cannot set up the load generator's event loop")]
    Runtime(#[source] std::io::Error),
    /// What happened cannot be written down; going on would hide failed requests.
    #[error("cannot keep the request log")]
    Log(#[from] LogError),
}

/// Sends requests until SIGTERM or SIGINT, whether or not the shop answers.
pub fn run(args: &LoadArgs) -> Result<(), LoadError> {
    let _traces = start_traces(spans::SERVICE, "load-0", Sampler::Always);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(LoadError::Runtime)?;
    runtime.block_on(send_all(args))
}

struct Generator {
    front: Dependency,
    visitors: Mutex<Visitors>,
    witnesses: Mutex<Witnesses>,
}

/// Where it is written down how requests ended, in the order in which they did.
struct Witnesses {
    log: RequestLog,
    /// How many have ended.
    ended: u64,
}

async fn send_all(args: &LoadArgs) -> Result<(), LoadError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(LoadError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(LoadError::Runtime)?;
    let generator = Arc::new(Generator {
        front: Dependency::new("front", args.front.clone()),
        visitors: Mutex::new(Visitors::new(args.seed)),
        witnesses: Mutex::new(Witnesses { log: RequestLog::open(&args.log, now())?, ended: 0 }),
    });
    let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut arrivals = Arrivals::new(args.rate, args.seed);
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = flush.tick() => locked(&generator.witnesses).log.flush()?,
            () = tokio::time::sleep_until(due) => {
                let visit = locked(&generator.visitors).next(arrivals.kind());
                match Arc::clone(&room).try_acquire_owned() {
                    Ok(place) => {
                        let generator = Arc::clone(&generator);
                        tokio::spawn(async move {
                            generator.send(visit, due).await;
                            drop(place);
                        });
                    }
                    Err(_) => generator.note(spans::begun(visit.kind), visit.kind, 0, due, Outcome::Overload),
                }
                due += arrivals.gap();
            }
        }
    }
    let all = u32::try_from(IN_FLIGHT_MAX).unwrap_or(u32::MAX);
    let unanswered = tokio::time::timeout(END_LIMIT, room.acquire_many(all)).await.is_err();
    locked(&generator.witnesses).log.flush()?;
    if unanswered {
        provider::say!("some requests were still open at the end; they are not in the log");
    }
    Ok(())
}

impl Generator {
    async fn send(&self, visit: Visit, due: Instant) {
        let Visit { kind, method, path, form, .. } = &visit;
        let body = Bytes::from(form.clone());
        let mut span = spans::begun(*kind);
        let sent = self.front.exchange(method.clone(), path, body, "application/x-www-form-urlencoded");
        let sent = sent.in_scope_of(&mut span).await;
        let (status, outcome) = judged(&sent, *kind);
        if !outcome.is_failure() {
            locked(&self.visitors).served(&visit);
        }
        self.note(span, *kind, status, due, outcome);
    }

    /// A request has ended: its span ends, and its line is written.
    fn note(&self, span: Span, kind: Kind, status: u16, due: Instant, outcome: Outcome) {
        let mut witnesses = locked(&self.witnesses);
        spans::end(span, witnesses.ended, outcome);
        witnesses.ended += 1;
        let record = Record { ended: now(), kind, status, latency: due.elapsed(), outcome };
        witnesses.log.append(&record);
    }
}

fn judged(sent: &Result<Reply, CallError>, kind: Kind) -> (u16, Outcome) {
    let reply = match sent {
        Ok(reply) => reply,
        Err(CallError::TimedOut) => return (0, Outcome::Timeout),
        Err(_) => return (0, Outcome::NoAnswer),
    };
    let outcome = match reply.status {
        StatusCode::TOO_MANY_REQUESTS => Outcome::Throttled,
        status if status.is_server_error() => Outcome::Error,
        status if !status.is_success() => Outcome::Rejected,
        _ if reply.headers.contains_key(DEGRADED_HEADER) => Outcome::Degraded,
        // A checkout that acknowledges no order served nobody.
        _ if kind == Kind::Checkout && !reply.headers.contains_key(ORDER_HEADER) => Outcome::Rejected,
        _ => Outcome::Ok,
    };
    (reply.status.as_u16(), outcome)
}

/// Both clocks of the machine, now.
fn now() -> Time {
    let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `boot` is a valid timespec for the kernel to write to. The call cannot fail: the clock exists
    // in every Linux since 2.6.39 and the pointer is good.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut boot) };
    #[expect(clippy::disallowed_methods, reason = "the load generator has no clock but the machine's")]
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time {
        boot_us: boot.tv_sec.unsigned_abs() * 1_000_000 + boot.tv_nsec.unsigned_abs() / 1000,
        wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if (0.1..=5000.0).contains(&rate) { Ok(rate) } else { Err(format!("is {rate}, must be 0.1 to 5000")) }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
