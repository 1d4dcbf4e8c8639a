//! The control plane: every role wired together in one process.
//!
//! In: a data directory, a configuration. Out: a running loop, chaos engine and gateway, until dropped.
//! Order of start: lock, keeper, recovery (the faults of a dead predecessor are taken out before anything else;
//! what it was repairing is settled, or left to the loop where a step may still come to its effect), gateway,
//! loop. Services and traffic are the keeper's; they go on when this ends.

mod listening;
mod start_error;
pub(crate) mod wiring;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use act::{Executor, Recovered};
use audit::Audit;
use chaos::Experiments;
use chaos::drill::Archive;
use domain::{Clock, Infrastructure};
use gateway::access::{Access, AccessConfig, SealingKey};
use gateway::{Gateway, GatewayConfig, Tls, TlsWatch};
use heal::{Driver, Healer};
use observe::Observer;
use promql::rules::RuleStates;
use provider::ProcessProvider;
use provider::clock::SystemClock;
use provider::{Look, ProviderError};
use store::Store;

use crate::alerts::Alerts;
use crate::auditing::{self, Auditing};
use crate::client::{address_file, endpoint_file, token_file};
use crate::config::Config;
use crate::control::Loops;
use crate::metering::Metering;
use crate::objectives::Evaluation;
use crate::purges;
use crate::receiving::{self, Receiving};
use crate::reload::{Reloading, WebhookInUse};
use crate::signals;
use crate::token::token;
use listening::Bound;
pub use start_error::StartError;
use wiring::{Wiring, Witnesses};

/// Between two heartbeats to the keeper, which drops every fault when they end.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Between two looks for the file that stops everything.
const EMERGENCY_LOOK: Duration = Duration::from_millis(100);

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
    /// How long audit records are kept; 0 for ever.
    audit_days: Arc<AtomicU64>,
    driver: Option<Driver>,
    gateway: Option<Gateway>,
    /// Spans and logs, and where they come in; `None` where `otlp.enabled` is false.
    telemetry: Option<Receiving>,
    /// Series of numbers; `None` where `metrics.enabled` is false.
    metering: Option<Metering>,
    /// Rules; `None` where none are configured.
    alerts: Option<Alerts>,
    evaluation: Option<Evaluation>,
    watch: Option<(Arc<AtomicBool>, Vec<JoinHandle<()>>)>,
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
        fs::create_dir_all(dir).map_err(directory)?;
        // A thousand live pages are a thousand connections.
        if let Err(error) = provider::open_files::raise() {
            log::warn!("the limit of open files stays as it is: {error}");
        }
        let dir = fs::canonicalize(dir).map_err(directory)?;
        let store = Store::take_over(&dir, &SystemClock)?;
        let bound = listening::bind(config, port)?;
        let token = token(&dir)?;
        let keeper_ran = ProcessProvider::runs(&dir);
        let provider = Arc::new(ProcessProvider::open(&dir)?);
        let before = matches!(provider.infrastructure(), Ok(Some(_)));
        let started = Self::start_on(
            Ground { dir, store, bound, token, provider: &provider, occupied: port },
            config,
            infrastructure,
        );
        if started.is_err() && !before {
            take_back(&provider, keeper_ran);
        }
        started
    }

    /// The rest of the start, on a data directory that is ours and a keeper that answers.
    fn start_on(
        ground: Ground<'_>,
        config: &Config,
        infrastructure: Option<&Infrastructure>,
    ) -> Result<Self, StartError> {
        let Ground { dir, store, bound, token, provider, occupied } = ground;
        let provider = Arc::clone(provider);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let metering = Metering::start(&dir, config, &clock)?;
        let series = metering.as_ref().map(Metering::store);
        let options = auditing::options(&store, config.retention.audit_days)?;
        let trail = Audit::open_with(&dir, Arc::clone(&clock), options).map_err(StartError::Audit)?;
        if let Err(error) = purges::record_unrecorded(&dir, &store, &trail) {
            log::error!("{}", act::in_full(&error));
        }
        let audit_days = Arc::new(AtomicU64::new(config.retention.audit_days));
        let auditing = Auditing::start(&trail, &store, Arc::clone(&clock), Arc::clone(&audit_days));
        let auditing = auditing.map_err(StartError::Thread)?;
        let tokens = Access::new(store.clone(), Arc::clone(&clock), &token, AccessConfig::default());
        let receiving = Receiving::start(
            &dir,
            config,
            occupied,
            series,
            receiving::exposure(bound.tls.as_ref(), tokens).as_ref(),
        )?;
        if let Some(infrastructure) = infrastructure {
            let endpoint = receiving.as_ref().map(Receiving::endpoint);
            provider.up(&receiving::with_endpoint(infrastructure, endpoint.as_deref()))?;
        }
        let executor = Arc::new(Executor::new(store.clone(), provider.clone(), Arc::clone(&clock)));
        let recovered = executor.recover()?;
        let alerts = match &metering {
            Some(metering) => Alerts::start(config, metering.store(), &clock, bound.address.clone())?,
            None => None,
        };
        let evaluation = Evaluation::start(config, &store, receiving.as_ref(), metering.as_ref(), &clock)?;
        let witnesses = Witnesses {
            config,
            deployments: &store,
            series: metering.as_ref(),
            alerts: alerts.as_ref(),
            spans: receiving.as_ref(),
            objectives: evaluation.objectives(),
        };
        let observer = Arc::new(witnesses.observer(provider.clone()).map_err(StartError::Thread)?);
        let webhook: WebhookInUse = Arc::new(Mutex::new(wiring::webhook(config)?));
        let mut policy = config.policy.clone();
        if let Some(infrastructure) = provider.infrastructure()? {
            policy.protect(&infrastructure);
        }
        let parts = Wiring {
            policy: &policy,
            config,
            store: &store,
            observer: &observer,
            executor: &executor,
            clock: &clock,
            tracer: receiving.as_ref().and_then(Receiving::tracer),
        };
        let healer = parts.healer(&webhook)?;
        healer.conclude_left_over()?;
        let experiments = Arc::new(parts.experiments());
        let loops = Arc::new(Loops {
            store: store.clone(),
            provider: provider.clone(),
            healer: Arc::clone(&healer),
            experiments: Arc::clone(&experiments),
            executor: Arc::clone(&executor),
            clock: Arc::clone(&clock),
            endpoint: receiving.as_ref().map(Receiving::endpoint),
        });
        let oidc = config.oidc.as_ref().map(|oidc| oidc.provider()).transpose()?;
        let gateway = gateway::serve(
            bound.listening,
            store.clone(),
            loops.clone(),
            GatewayConfig {
                audit: Some(trail),
                drills: Some(Archive::of_data_directory(&dir)),
                token: token.clone(),
                token_file: Some(token_file(&dir)),
                clock: Arc::clone(&clock),
                access: AccessConfig {
                    key: Some(SealingKey::of_file(&dir.join("access.key"))?),
                    oidc,
                    anonymous_reads: config.gateway.anonymous_reads(),
                },
                otlp: receiving.as_ref().map(Receiving::running),
                telemetry: receiving.as_ref().map(|receiving| receiving.store().clone()),
                metrics: metering.as_ref().map(|metering| metering.store().clone()),
                rules: alerts.as_ref().map(|alerts| alerts.rules().clone() as Arc<dyn RuleStates>),
                targets: metering.as_ref().map(Metering::scraped),
                tracer: receiving.as_ref().and_then(Receiving::tracer),
                objectives: Some(Arc::clone(evaluation.objectives())),
                answers: evaluation.answers(),
            },
        )?;
        let port = gateway.local_address().port();
        let metering = match metering {
            Some(metering) => Some(metering.follow(port, Arc::clone(&loops)).map_err(StartError::Thread)?),
            None => None,
        };
        let driver = Driver::start(Arc::clone(&healer)).map_err(StartError::Thread)?;
        let watch = watch(&dir, &loops).map_err(StartError::Thread)?;
        let endpoint = receiving.as_ref().map(Receiving::endpoint);
        say_where(&dir, &format!("http://localhost:{port}"), endpoint.as_deref())
            .map_err(|source| StartError::Directory { dir: dir.clone(), source })?;
        Ok(Self {
            store,
            provider,
            observer,
            clock,
            healer,
            experiments,
            recovered,
            executor,
            token,
            address: bound.address,
            dir,
            webhook,
            auditing: Some(auditing),
            audit_days,
            driver: Some(driver),
            gateway: Some(gateway),
            telemetry: receiving,
            metering,
            alerts,
            evaluation: Some(evaluation),
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

    /// Stops every service and the keeper, then the control plane.
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
        if let Some((stop, threads)) = self.watch.take() {
            stop.store(true, Ordering::Release);
            for thread in threads {
                // A thread that panicked has said so on stderr already.
                let _ = thread.join();
            }
        }
        if let Some(driver) = self.driver.take() {
            driver.stop();
        }
        if let Some(gateway) = self.gateway.take() {
            gateway.shutdown();
        }
        if let Some(evaluation) = self.evaluation.take() {
            evaluation.stop();
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
        // It only says where nobody listens any more.
        let _ = fs::remove_file(address_file(&self.dir));
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.halt();
    }
}

/// What a control plane is started on.
struct Ground<'a> {
    dir: PathBuf,
    store: Store,
    bound: Bound,
    token: String,
    provider: &'a Arc<ProcessProvider>,
    occupied: OccupiedPort,
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

/// Keeps the keeper's lease alive, closes experiments that are over, and looks for the emergency stop: the
/// file, or SIGUSR1.
fn watch(dir: &Path, loops: &Arc<Loops>) -> std::io::Result<(Arc<AtomicBool>, Vec<JoinHandle<()>>)> {
    let stop = Arc::new(AtomicBool::new(false));
    let heartbeat = {
        let (stop, loops) = (Arc::clone(&stop), Arc::clone(loops));
        let mut keeper = loops.provider.keeper_pid();
        move || {
            while !stop.load(Ordering::Acquire) {
                // A keeper that does not answer is started again by the next call; the loop says so.
                let _ = loops.provider.heartbeat();
                let now = loops.provider.keeper_pid();
                if std::mem::replace(&mut keeper, now) != now {
                    loops.end_faults("the keeper ended, and its faults with it");
                }
                if let Err(error) = loops.experiments.settle() {
                    log::error!("cannot close an experiment: {error}");
                }
                loops.clock.wait(HEARTBEAT);
            }
        }
    };
    let emergency = {
        let (stop, loops, file) = (Arc::clone(&stop), Arc::clone(loops), dir.join(EMERGENCY_FILE));
        let mut acted = false;
        move || {
            while !stop.load(Ordering::Acquire) {
                let asked_by_file = file.exists();
                let asked_by_signal = signals::take_emergency_stop();
                if asked_by_signal || (asked_by_file && !acted) {
                    match loops.executor.emergency_stop() {
                        Ok(stopped) => log::warn!(
                            "emergency stop: {} faults taken out; nothing is repaired or disturbed until \
                             `homeostat chaos resume`",
                            stopped.faults
                        ),
                        Err(error) => log::error!("emergency stop: {error}"),
                    }
                }
                acted = asked_by_file;
                loops.clock.wait(EMERGENCY_LOOK);
            }
        }
    };
    let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(run)
    };
    let threads =
        vec![spawn("heartbeat", Box::new(heartbeat))?, spawn("emergency-stop", Box::new(emergency))?];
    Ok((stop, threads))
}

/// Writes where it is spoken with, the address last: who finds that may use all of it.
fn say_where(dir: &Path, address: &str, endpoint: Option<&str>) -> std::io::Result<()> {
    match endpoint {
        Some(endpoint) => fs::write(endpoint_file(dir), endpoint)?,
        None if endpoint_file(dir).exists() => fs::remove_file(endpoint_file(dir))?,
        None => {}
    }
    fs::write(address_file(dir), address)
}
