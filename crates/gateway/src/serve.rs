//! The server: one thread with its own runtime, from [`serve`] to [`Gateway::shutdown`].
//!
//! In: bound listeners ([`Listening`]), the store, the loops behind [`Control`]. Out: HTTP. At rest the
//! thread sleeps in the kernel: there is no timer until a page listens for live updates.
//!
//! Calls to store and loops block, so handlers make them on the runtime's small blocking pool.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use audit::Audit;
use chaos::drill::Archive;
use domain::{Clock, IdSource};
use homeostat_tracer::Tracer;
use metrics::Metrics;
use observe::objectives::{Answers, Objectives};
use promql::rules::RuleStates;
use store::Store;
use telemetry::{Intake, Telemetry};
use tokio::sync::{Semaphore, watch};

use crate::access::{Access, AccessConfig};
use crate::api::{Carried, Settled};
use crate::auditing::{self, Trail};
use crate::conditional::Turns;
use crate::control::Control;
use crate::graphql::GraphQl;
use crate::idempotency::UnderWay;
use crate::listen::Listening;
use crate::live::LivePages;
use crate::otlp;
use crate::prometheus::ScrapeTargets;
use crate::rates::RequestRates;
use crate::routes;
use crate::security::Door;
use crate::tls::Tls;

/// Threads for blocking calls; they end when idle. Enough that an emergency stop finds a free one while a
/// few slow calls wait for the keeper.
const BLOCKING_THREADS: usize = 16;

/// How long open connections may take to finish at shutdown.
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

/// What the gateway is told at start.
pub struct GatewayConfig {
    /// The token every write needs; at least 16 characters.
    pub token: String,
    /// Where people find it; shown on the page that asks for it.
    pub token_file: Option<PathBuf>,
    /// Where changes and refusals are recorded; `None` where they are not.
    pub audit: Option<Audit>,
    /// Where reports of drills are kept; `None` where they are not.
    pub drills: Option<Archive>,
    /// The machine's clocks.
    pub clock: Arc<dyn Clock>,
    /// Who may sign in, and what needs no proof.
    pub access: AccessConfig,
    /// Spans and log records; `None` where no telemetry is kept, and then what asks for them is answered so.
    pub telemetry: Option<Telemetry>,
    /// Series; `None` where none are kept, and then what asks for them is answered so.
    pub metrics: Option<Metrics>,
    /// Who evaluates rules; `None` where nobody does, and then there are none.
    pub rules: Option<Arc<dyn RuleStates>>,
    /// Who scrapes; `None` where nobody does, and then there are no targets.
    pub targets: Option<Arc<dyn ScrapeTargets>>,
    /// The OTLP receivers; `None` where none run.
    pub otlp: Option<otlp::Running>,
    /// Traces each request; `None` where nobody would receive the spans.
    pub tracer: Option<Tracer>,
    /// Service level objectives; `None` where none are evaluated.
    pub objectives: Option<Arc<Objectives>>,
    /// Counts what is answered.
    pub answers: Answers,
    /// How often one may ask.
    pub rates: RequestRates,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Beyond loopback, and what is said could be read on the way.
    #[error(
        "the gateway listens beyond loopback only with TLS, not on {address} without; set [tls] certificate and key, or listen on 127.0.0.1 and reach it through an SSH tunnel"
    )]
    ExposedWithoutTls {
        /// The address of the listener.
        address: SocketAddr,
    },
    /// Beyond loopback, and who asks would not have to say who it is.
    #[error(
        "the gateway listens beyond loopback only where everybody has to sign in, not on {address} with anonymous reads; switch them off, or listen on 127.0.0.1"
    )]
    ExposedToAnybody {
        /// The address of the listener.
        address: SocketAddr,
    },
    /// The token could be guessed.
    #[error(
        "the token has {length} characters, it needs at least 16; remove the token file to have one made"
    )]
    WeakToken {
        /// How long it is.
        length: usize,
    },
    /// The listener, the thread or the runtime could not be set up.
    #[error("cannot start the gateway: {step} failed")]
    Start {
        /// Which step.
        step: &'static str,
        /// What happened.
        source: std::io::Error,
    },
}

/// A running server. Dropping it shuts it down.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    local_address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What every handler sees.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Door,
    /// The certificate that clients beyond loopback are shown; `None` where there is no TLS.
    pub(crate) tls: Option<Tls>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) drills: Option<Archive>,
    pub(crate) telemetry: Option<Telemetry>,
    pub(crate) metrics: Option<Metrics>,
    pub(crate) rules: Option<Arc<dyn RuleStates>>,
    pub(crate) targets: Option<Arc<dyn ScrapeTargets>>,
    /// One permit for each query of series that runs.
    pub(crate) queries: Arc<Semaphore>,
    /// The gateway's own entry to it: there is one for each receiver, not for each request.
    pub(crate) intake: Option<Intake>,
    pub(crate) otlp: Option<otlp::Running>,
    pub(crate) objectives: Option<Arc<Objectives>>,
    pub(crate) answers: Answers,
    pub(crate) rates: RequestRates,
    /// What tracing our own requests costs is told by it.
    pub(crate) tracer: Option<Tracer>,
    /// The ids of what is posted.
    pub(crate) ids: Mutex<IdSource>,
    /// Where changes and refusals are recorded.
    pub(crate) trail: Trail,
    /// The idempotency keys whose requests are being answered.
    pub(crate) under_way: Mutex<UnderWay>,
    /// What is being overwritten.
    pub(crate) turns: Turns,
    /// What retention removed of what is counted.
    pub(crate) carried: Mutex<Carried>,
    /// What was counted of what is old.
    pub(crate) settled: Mutex<Option<Settled>>,
    /// Turns true at shutdown, so that live pages end.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) graphql: GraphQl,
    /// The pages that are updated live.
    pub(crate) live_pages: LivePages,
}

impl App {
    /// What cannot be done now and is tried again, or needs a person.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let certificate = self.tls.as_ref().and_then(Tls::concern).map(|concern| concern.to_string());
        self.control.troubles().into_iter().chain(self.trail.trouble()).chain(certificate).collect()
    }
}

/// A panic of another handler leaves what it held as it was.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to serve and returns at once. A listener alone is served on loopback without TLS.
pub fn serve(
    listening: impl Into<Listening>,
    store: Store,
    control: Arc<dyn Control>,
    config: GatewayConfig,
) -> Result<Gateway, GatewayError> {
    let failed = |step| move |source| GatewayError::Start { step, source };
    if config.token.len() < 16 {
        return Err(GatewayError::WeakToken { length: config.token.len() });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("gateway-call")
        .build()
        .map_err(failed("building the runtime"))?;
    let listening = listening.into();
    let tls = listening.tls.clone();
    let ways = {
        let _inside = runtime.enter();
        listening.ways()?
    };
    let (address, local_address) = (ways.address, ways.local_address);
    let (stop, stopping) = watch::channel(false);
    let now = config.clock.now();
    let access = Access::new(store.clone(), Arc::clone(&config.clock), &config.token, config.access);
    let app = Arc::new(App {
        ids: Mutex::new(IdSource::seeded(now.boot_us ^ now.wall_us.unsigned_abs().rotate_left(32))),
        trail: Trail::new(config.audit),
        carried: Mutex::new(Carried::load(&store)),
        under_way: Mutex::default(),
        turns: Turns::default(),
        settled: Mutex::default(),
        store,
        control,
        clock: config.clock,
        door: Door::new(address.port(), access),
        tls,
        token_file: config.token_file,
        drills: config.drills,
        intake: config.telemetry.as_ref().map(Telemetry::intake),
        telemetry: config.telemetry,
        metrics: config.metrics,
        rules: config.rules,
        targets: config.targets,
        queries: Arc::new(Semaphore::new(crate::prometheus::QUERIES_MAX)),
        otlp: config.otlp,
        objectives: config.objectives,
        answers: config.answers,
        rates: config.rates,
        tracer: config.tracer.clone(),
        graphql: GraphQl::new(),
        stopping: stopping.clone(),
        live_pages: LivePages::default(),
    });
    let thread = std::thread::Builder::new()
        .name("gateway".to_owned())
        .spawn(move || {
            let router = routes::router(Arc::clone(&app), config.tracer);
            runtime.block_on(async {
                tokio::spawn(auditing::told_by_the_minute(Arc::clone(&app)));
                ways.serve(router, stopping, SHUTDOWN_TIME).await;
                let _ = tokio::time::timeout(SHUTDOWN_TIME, app.graphql.sockets_ended()).await;
            });
            runtime.shutdown_timeout(SHUTDOWN_TIME);
            app.trail.tell_left_out();
        })
        .map_err(failed("starting the thread"))?;
    Ok(Gateway { address, local_address, stop, thread: Some(thread) })
}

impl Gateway {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves programs of this machine by plain HTTP; the same where it has no TLS.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Takes no more requests, lets those under way finish for half a second, and waits for the thread.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}
