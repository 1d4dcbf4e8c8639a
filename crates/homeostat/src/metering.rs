//! The store of series, and what fills it by itself.
//!
//! In: the data directory, the configuration, what runs. Out: series of the fleet (from every look of the loop), of our own
//! metrics, of services that say where theirs are, and of what the configuration names. What is sent as OTLP or
//! remote-write comes through `receiving`.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::{Clock, Infrastructure, Snapshot};
use gateway::Control;
use metrics::Metrics;
use metrics::scrape::{self, Scraper, Target};
use observe::Recorder;
use provider::Look;

use crate::config::{self, Config};
use crate::control::Loops;
use crate::control_plane::StartError;

/// Between two looks at which instances there are to be scraped.
const FOLLOW: Duration = Duration::from_secs(2);

/// The label `job` of our own metrics.
const JOB: &str = "homeostat";

/// A store of series that fills.
pub(crate) struct Metering {
    store: Metrics,
    settings: config::Metrics,
    scraper: Arc<Scraper>,
    /// Follows the fleet until the sender goes.
    following: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Metering {
    /// Opens the store in the data directory; `None` where `metrics.enabled` is false.
    pub(crate) fn start(
        dir: &Path,
        config: &Config,
        clock: &Arc<dyn Clock>,
    ) -> Result<Option<Self>, StartError> {
        let settings = config.metrics.clone();
        if !settings.enabled {
            return Ok(None);
        }
        let store = Metrics::open(settings.store(&dir.join("metrics"), Arc::clone(clock)))?;
        for damaged in store.status().damaged {
            provider::say!("series are missing: {damaged:?}");
        }
        let sink = Arc::new(store.clone());
        let scraper = Scraper::start(&scrape::Config::default(), sink, Arc::clone(clock));
        let scraper = Arc::new(scraper.map_err(StartError::Thread)?);
        scraper.set_targets(settings.targets())?;
        Ok(Some(Self { store, settings, scraper, following: None }))
    }

    /// The store.
    pub(crate) fn store(&self) -> &Metrics {
        &self.store
    }

    /// Who scrapes, to be asked what.
    pub(crate) fn scraped(&self) -> Arc<dyn gateway::ScrapeTargets> {
        Arc::clone(&self.scraper) as _
    }

    /// The provider, with what it measures kept as series.
    pub(crate) fn recorder(&self, look: Arc<dyn Look>) -> std::io::Result<Arc<dyn Look>> {
        let every = Duration::from_secs(self.settings.fleet_seconds);
        let sink = Arc::new(self.store.clone());
        Ok(Arc::new(Recorder::start(look, sink, every, |why| provider::say!("{why}"))?))
    }

    /// Scrapes our own metrics, at `port`, and the instances of services that say where theirs are, as they come and go.
    pub(crate) fn follow(mut self, port: u16, loops: Arc<Loops>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (settings, scraper) = (self.settings.clone(), Arc::clone(&self.scraper));
        let thread = std::thread::Builder::new().name("scrape-targets".to_owned()).spawn(move || {
            let mut before = None;
            loop {
                let (infrastructure, snapshot) = (loops.provider.infrastructure(), loops.snapshot());
                let targets =
                    targets(&settings, port, infrastructure.ok().flatten().as_ref(), snapshot.as_deref());
                if before.as_ref() != Some(&targets) {
                    if let Err(error) = scraper.set_targets(targets.clone()) {
                        provider::say!("the services' metrics are not scraped: {error}");
                    }
                    before = Some(targets);
                }
                match stopped.recv_timeout(FOLLOW) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        self.following = Some((stop, thread));
        Ok(self)
    }

    /// Takes nothing more and closes the store.
    pub(crate) fn stop(self) {
        if let Some((stop, thread)) = self.following {
            drop(stop);
            // A panic of the thread was printed when it happened.
            let _ = thread.join();
        }
        drop(self.scraper);
        self.store.close();
    }
}

/// What is to be scraped now: what the configuration names, ourselves, and every instance that runs of a service that says
/// where its metrics are.
fn targets(
    settings: &config::Metrics,
    port: u16,
    infrastructure: Option<&Infrastructure>,
    snapshot: Option<&Snapshot>,
) -> Vec<Target> {
    let interval = Duration::from_secs(settings.scrape_seconds);
    let timed = |target: Target| Target { interval, timeout: target.timeout.min(interval), ..target };
    let own = Target::new(JOB, format!("http://127.0.0.1:{port}/metrics"));
    let mut targets = settings.targets();
    targets.push(timed(own));
    let services = infrastructure.into_iter().flat_map(|infrastructure| &infrastructure.services);
    for (name, path) in services.filter_map(|(name, spec)| Some((name, spec.metrics.as_ref()?))) {
        let state = snapshot.and_then(|snapshot| snapshot.services.get(name));
        for (instance, state) in state.into_iter().flat_map(|state| &state.instances) {
            let (Some(port), Some(_)) = (state.port, &state.incarnation) else { continue };
            let mut target = Target::new(name.as_str(), format!("http://127.0.0.1:{port}{path}"));
            target.labels.insert("instance".to_owned(), instance.to_string());
            targets.push(timed(target));
        }
    }
    targets
}
