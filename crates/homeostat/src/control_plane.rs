//! The control plane: every role wired together in one process.
//!
//! In: a data directory, a configuration. Out: a running loop, chaos engine and gateway, until dropped.
//! Order of start: lock, keeper, recovery (the faults of a dead predecessor are taken out before anything else;
//! what it was repairing is settled, or left to the loop where a step may still come to its effect), gateway,
//! loop. Services and traffic are the keeper's; they go on when this ends.

pub(crate) mod declared;
mod listening;
mod parts;
mod start_error;
mod watch;
pub(crate) mod wiring;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use act::{Executor, Recovered};
use audit::Audit;
use chaos::Experiments;
use domain::{Clock, Infrastructure};
use gateway::{Gateway, RequestRates, Tls, TlsWatch};
use heal::{Driver, Healer};
use observe::Observer;
use provider::ProcessProvider;
use provider::clock::SystemClock;
use provider::{Look, ProviderError};
use store::Store;

use crate::alerts::Alerts;
use crate::auditing::Auditing;
use crate::backup;
use crate::client::{address_file, endpoint_file, page_file};
use crate::config::Config;
use crate::evidence::EvidenceKeeper;
use crate::metering::Metering;
use crate::objectives::Evaluation;
use crate::receiving::{self, Receiving};
use crate::reload::{Reloading, WebhookInUse};
use crate::token::token;
use declared::Hand;
use parts::{Ground, Kept, Sight};
pub use start_error::StartError;
use watch::Watch;

/// The file in the data directory whose presence is the emergency stop.
pub const EMERGENCY_FILE: &str = "EMERGENCY_STOP";

/// What to do where the gateway's port is occupied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OccupiedPort {
    /// Refuse to start.
    Refuse,
    /// Take a free one.
    TakeAnother,
}

/// A running control plane.
pub struct ControlPlane {
    /// Where state survives.
    pub store: Store,
    /// The process provider.
    pub provider: Arc<ProcessProvider>,
    /// Looks at the fleet.
    pub observer: Arc<Observer>,
    /// Tells time.
    pub clock: Arc<dyn Clock>,
    /// Heals.
    pub healer: Arc<Healer>,
    /// Disturbs.
    pub experiments: Arc<Experiments>,
    /// What was settled at start.
    pub recovered: Recovered,
    executor: Arc<Executor>,
    /// The token that every write needs.
    pub token: String,
    address: String,
    dir: PathBuf,
    webhook: WebhookInUse,
    auditing: Option<Auditing>,
    trail: Audit,
    /// How long audit records are kept; 0 for ever.
    audit_days: Arc<AtomicU64>,
    /// How often one may ask.
    rates: RequestRates,
    driver: Option<Driver>,
    gateway: Option<Gateway>,
    /// Spans and logs, and where they come in; `None` where `otlp.enabled` is false.
    telemetry: Option<Receiving>,
    /// Series of numbers; `None` where `metrics.enabled` is false.
    metering: Option<Metering>,
    /// Rules; `None` where none are configured.
    alerts: Option<Alerts>,
    evaluation: Option<Evaluation>,
    /// Archives the traces that issues cite; `None` where no spans are kept.
    evidence: Option<EvidenceKeeper>,
    watch: Option<Watch>,
    tls: Option<Tls>,
    /// Takes a new certificate as long as it lives.
    _tls_watch: Option<TlsWatch>,
}

impl ControlPlane {
    /// Starts one on `dir`. With an `infrastructure` it brings that up first; without one it adopts what
    /// the keeper keeps.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing of it runs then, and what ran before is untouched.
    pub fn start(
        dir: &Path,
        config: &Config,
        port: OccupiedPort,
        infrastructure: Option<&Infrastructure>,
    ) -> Result<Self, StartError> {
        let directory = |source| StartError::Directory { dir: dir.to_owned(), source };
        durable::take_dir(dir).map_err(directory)?;
        // A thousand live pages are a thousand connections.
        if let Err(error) = provider::open_files::raise() {
            log::warn!("the limit of open files stays as it is: {error}");
        }
        let dir = fs::canonicalize(dir).map_err(directory)?;
        let store = Store::take_over(&dir, &SystemClock)?;
        backup::remove_left_over(&dir);
        // What is found counts from here on, such as the token, also where the process that named it was killed.
        durable::sync_dir(&dir).map_err(directory)?;
        let bound = listening::bind(config, port)?;
        let token = token(&dir)?;
        let keeper_ran = ProcessProvider::runs(&dir);
        let provider = Arc::new(ProcessProvider::open(&dir)?);
        let before = matches!(provider.infrastructure(), Ok(Some(_)));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ground = Ground { dir, store, bound, token, provider: provider.clone(), occupied: port, clock };
        let started = Self::start_on(ground, config, infrastructure);
        if started.is_err() && !before {
            take_back(&provider, keeper_ran);
        }
        started
    }

    /// The rest of the start, on a data directory that is ours and a keeper that answers.
    fn start_on(
        ground: Ground,
        config: &Config,
        infrastructure: Option<&Infrastructure>,
    ) -> Result<Self, StartError> {
        let kept = Kept::open(&ground, config)?;
        let executor =
            Arc::new(Executor::new(ground.store.clone(), ground.provider.clone(), Arc::clone(&ground.clock)));
        let recovered = executor.recover()?;
        let sight = Sight::open(&ground, config, &kept)?;
        let hand = Hand {
            config,
            store: &ground.store,
            provider: &ground.provider,
            observer: &sight.observer,
            executor: &executor,
            clock: &ground.clock,
            trail: Some(&kept.trail),
        };
        let endpoint = kept.endpoint();
        let declared = infrastructure.map(|it| receiving::with_endpoint(it, endpoint.as_deref()));
        let brought_up = declared.map_or(Ok(None), |declared| hand.bring_up(&declared))?;
        let looking_after = Arc::clone(&executor);
        let started = Self::start_loops(ground, config, kept, sight, executor, recovered);
        if started.is_err()
            && let Some(plan) = brought_up
            && let Err(error) = looking_after.undo_plan(plan, "the control plane did not start")
        {
            log::error!("plan {plan} is not taken back: {}", act::in_full(&error));
        }
        started
    }

    /// What looks after the fleet, and where that is asked for.
    fn start_loops(
        ground: Ground,
        config: &Config,
        kept: Kept,
        sight: Sight,
        executor: Arc<Executor>,
        recovered: Recovered,
    ) -> Result<Self, StartError> {
        let endpoint = kept.endpoint();
        let webhook: WebhookInUse = Arc::new(Mutex::new(wiring::webhook(config)?));
        let loops = parts::loops(&ground, config, &kept, &sight.observer, Arc::clone(&executor), &webhook)?;
        let shown = parts::shown(&ground, config, &kept, &sight)?;
        let Ground { dir, store, bound, token, provider, clock, .. } = ground;
        let gateway = gateway::serve(bound.listening, store.clone(), loops.clone(), shown)?;
        let port = gateway.local_address().port();
        let metering = match kept.metering {
            Some(metering) => Some(metering.follow(port, Arc::clone(&loops)).map_err(StartError::Thread)?),
            None => None,
        };
        let driver = Driver::start(Arc::clone(&loops.healer)).map_err(StartError::Thread)?;
        let watch = Watch::start(&dir, &loops, &kept.trail).map_err(StartError::Thread)?;
        let spans = kept.receiving.as_ref().map(|receiving| receiving.store().clone());
        let evidence = spans
            .map(|spans| EvidenceKeeper::start(store.clone(), spans, Arc::clone(&clock)))
            .transpose()
            .map_err(StartError::Thread)?;
        let address = format!("http://localhost:{port}");
        let page = (bound.address != address).then_some(bound.address.as_str());
        say_where(&dir, &address, page, endpoint.as_deref())
            .map_err(|source| StartError::Directory { dir: dir.clone(), source })?;
        Ok(Self {
            store,
            provider,
            observer: sight.observer,
            clock,
            healer: Arc::clone(&loops.healer),
            experiments: Arc::clone(&loops.experiments),
            recovered,
            executor,
            token,
            address: bound.address,
            dir,
            webhook,
            auditing: Some(kept.auditing),
            trail: kept.trail,
            audit_days: kept.audit_days,
            rates: kept.rates,
            driver: Some(driver),
            gateway: Some(gateway),
            telemetry: kept.receiving,
            metering,
            alerts: sight.alerts,
            evaluation: Some(sight.evaluation),
            evidence,
            watch: Some(watch),
            tls: bound.tls,
            _tls_watch: bound.watch,
        })
    }

    /// Where the page and the API are, for people: `http://localhost:4000`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where telemetry is taken, for people; `None` where it is not.
    pub fn otlp(&self) -> Option<String> {
        self.telemetry.as_ref().map(Receiving::for_people)
    }

    /// The span store; `None` where nothing is received.
    pub fn spans(&self) -> Option<&telemetry::Telemetry> {
        self.telemetry.as_ref().map(Receiving::store)
    }

    /// The store of series; `None` where none are kept.
    pub fn metrics(&self) -> Option<&metrics::Metrics> {
        self.metering.as_ref().map(Metering::store)
    }

    /// Takes a changed configuration over; `path` and `config` are what it was started with.
    pub(crate) fn reloading(&self, path: Option<PathBuf>, config: Config) -> Reloading {
        Reloading {
            path,
            in_force: Mutex::new(config),
            healer: Arc::clone(&self.healer),
            experiments: Arc::clone(&self.experiments),
            observer: Arc::clone(&self.observer),
            provider: Arc::clone(&self.provider),
            webhook: Arc::clone(&self.webhook),
            rules: self.alerts.as_ref().map(|alerts| Arc::clone(alerts.rules())),
            tls: self.tls.clone(),
            audit_days: Arc::clone(&self.audit_days),
            trail: self.trail.clone(),
            rates: self.rates.clone(),
        }
    }

    /// How long ago the loop looked last; `None` before it did.
    pub(crate) fn look_age(&self) -> Option<Duration> {
        self.healer.snapshot().map(|snapshot| self.clock.now().since(snapshot.taken))
    }

    /// Whether a step of an earlier control plane is still awaited.
    pub fn is_settling(&self) -> bool {
        self.executor.is_settling()
    }

    /// Stops every service and the keeper, then the control plane, of a fleet whose data directory goes with it: nothing of
    /// that is written down.
    ///
    /// # Errors
    ///
    /// The provider's, where services do not end.
    pub fn down(mut self) -> Result<(), ProviderError> {
        self.halt();
        self.provider.down()
    }

    /// Stops the control plane; services and traffic go on.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        drop(self.watch.take());
        if let Some(driver) = self.driver.take() {
            driver.stop();
        }
        if let Some(gateway) = self.gateway.take() {
            gateway.shutdown();
        }
        if let Some(evaluation) = self.evaluation.take() {
            evaluation.stop();
        }
        if let Some(evidence) = self.evidence.take() {
            evidence.stop();
        }
        if let Some(receiving) = self.telemetry.take() {
            receiving.stop();
        }
        if let Some(alerts) = self.alerts.take() {
            alerts.stop();
        }
        if let Some(metering) = self.metering.take() {
            metering.stop();
        }
        if let Some(auditing) = self.auditing.take() {
            auditing.stop();
        }
        // They only say where nobody listens any more.
        let _ = fs::remove_file(address_file(&self.dir));
        let _ = fs::remove_file(page_file(&self.dir));
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Takes back what a start brought up that came to nothing, where nothing was up before it.
pub(crate) fn take_back(provider: &ProcessProvider, keeper_ran: bool) {
    let taken = match (provider.infrastructure(), keeper_ran) {
        (Ok(Some(_)), _) => provider.down(),
        (_, false) => provider.shutdown(),
        (_, true) => Ok(()),
    };
    if let Err(error) = taken {
        log::error!("what was started could not be ended: {error}; run `homeostat down`");
    }
}

/// Writes where it is spoken with, the address last: who finds that may use all of it.
fn say_where(dir: &Path, address: &str, page: Option<&str>, endpoint: Option<&str>) -> std::io::Result<()> {
    for (file, said) in [(page_file(dir), page), (endpoint_file(dir), endpoint)] {
        match said {
            Some(said) => fs::write(file, said)?,
            None if file.exists() => fs::remove_file(file)?,
            None => {}
        }
    }
    fs::write(address_file(dir), address)
}
