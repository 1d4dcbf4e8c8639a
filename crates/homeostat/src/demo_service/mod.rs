//! The services of the demo shop: what Homeostat breaks and heals when nobody gave it a fleet.
//!
//! ```text
//!            ┌─► catalogue ─► database      each arrow passes the keeper's link proxy;
//! load ─► front ─► cart ────► database      its address is CALLEE_ADDRESS in the environment
//!            └─► orders ────► database, payments
//! ```
//!
//! In: settings from the environment (`PORT`, `HOMEOSTAT_INSTANCE`, `HOMEOSTAT_VOLUME`, one
//! `CALLEE_ADDRESS` per dependency), HTTP requests. Out: HTTP answers, rows in a real SQL engine, files in
//! the volume. Each instance is one process with one thread for requests (the database has a second one
//! for SQL), so that CPU, memory, disk and latency mean something.
//!
//! What a killed instance had acknowledged is in the database or in a file of its volume, never only in
//! memory. A service degrades on one signal alone: the header an open breaker answers with. Any other
//! failure of a callee is passed on, as 502 or 504, because hiding it would hide what is to be found.
//!
//! Deliberately absent: anything that knows of faults, repairs or the keeper.

mod answer;
mod append_log;
mod cache;
mod call;
mod cart;
mod catalogue;
mod database;
mod edition;
mod front;
mod metrics;
mod orders;
mod outbox;
mod page;
mod payments;
mod search;
mod server;
mod settings;
mod traces;

pub(crate) use answer::{DEGRADED_HEADER, ORDER_HEADER};
pub(crate) use call::{CallError, Dependency, Reply};
pub(crate) use traces::start as start_traces;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use homeostat_tracer::Sampler;
use settings::Settings;

/// Which service a process plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// The pages people see.
    Front,
    /// Products and their search.
    Catalogue,
    /// What visitors are about to buy.
    Cart,
    /// What they bought.
    Orders,
    /// Charges cards.
    Payments,
    /// The SQL engine behind the others.
    Database,
}

impl Role {
    /// The service's name in the fleet.
    fn service(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Catalogue => "catalogue",
            Self::Cart => "cart",
            Self::Orders => "orders",
            Self::Payments => "payments",
            Self::Database => "database",
        }
    }
}

/// Why a service could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// A setting is missing or wrong.
    #[error("environment variable {name} {problem}")]
    Setting {
        /// Which variable.
        name: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}; is another process using it?")]
    Listen {
        /// Which port.
        port: u16,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The runtime or its signal handlers could not be set up.
    #[error("cannot set up the service's event loop")]
    Runtime(#[source] io::Error),
    /// A file of the volume cannot be used.
    #[error("cannot use {}", path.display())]
    Volume {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The database file cannot be opened or its schema not be made.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: rusqlite::Error,
    },
}

/// Runs one instance until SIGTERM or SIGINT, then finishes what is in flight and returns. `release` is the version it
/// was deployed as, where its service has several.
pub fn run(role: Role, release: Option<&str>) -> Result<(), ServiceError> {
    let settings = Settings::from_environment()?;
    let _traces = traces::start(role.service(), &settings.instance, Sampler::adaptive());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(ServiceError::Runtime)?;
    runtime.block_on(async {
        match role {
            Role::Front => server::serve(&settings, Arc::new(front::Front::new()?)).await,
            Role::Catalogue => {
                let edition = edition::Edition::of(release)?;
                server::serve(&settings, Arc::new(catalogue::Catalogue::new(&settings, edition)?)).await
            }
            Role::Cart => server::serve(&settings, cart::Cart::start(&settings)?).await,
            Role::Orders => server::serve(&settings, orders::Orders::start(&settings)?).await,
            Role::Payments => server::serve(&settings, Arc::new(payments::Payments::new(&settings))).await,
            Role::Database => {
                let database = Arc::new(database::Database::open(&settings)?);
                let served = server::serve(&settings, Arc::clone(&database)).await;
                database.close();
                served
            }
        }
    })
}

/// Microseconds of the wall clock since 1970-01-01 UTC.
fn wall_us() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a service of the demo has no clock but the machine's")]
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// An id nobody else makes: 64 bits that are random for each process, and a counter, behind `prefix`.
fn fresh_id(prefix: &str) -> String {
    static PROCESS: LazyLock<u64> = LazyLock::new(random_number);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{:016x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A number from the system's randomness, by way of the keys the standard library hashes with.
pub(crate) fn random_number() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A mutex's content also after a panic elsewhere: every critical section here leaves it whole.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
