//! Rules of the configuration, evaluated over the store of series.
//!
//! In: the configuration, the store. Out: how rules stand, to the gateway; what fires, to the loop and to Alertmanagers.
//! On SIGHUP the files are read again: all of them, or none.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use alerting::{Alertmanager, Rules};
use domain::Clock;
use metrics::Metrics;

use crate::config::Config;
use crate::control_plane::StartError;
use crate::signals;

/// Between two looks whether the files are to be read again.
const LOOK: Duration = Duration::from_millis(500);

/// Rules that are evaluated.
pub(crate) struct Alerts {
    rules: Arc<Rules>,
    /// Looks for SIGHUP until the sender goes.
    reloading: (Sender<()>, JoinHandle<()>),
}

impl Alerts {
    /// Starts them; `None` where the configuration names no files. `address` is where this program is reached.
    pub(crate) fn start(
        config: &Config,
        store: &Metrics,
        clock: &Arc<dyn Clock>,
        address: String,
    ) -> Result<Option<Self>, StartError> {
        if config.rules.files.is_empty() {
            return Ok(None);
        }
        let addresses = config.alertmanager.addresses()?;
        let alertmanager = match addresses.is_empty() {
            true => None,
            false => Some(Alertmanager::start(addresses, clock).map_err(StartError::Thread)?),
        };
        let settings = config.rules.settings(address);
        let say = |text: &str| provider::say!("{text}");
        let rules = Arc::new(Rules::start(settings, store.clone(), Arc::clone(clock), alertmanager, say)?);
        let reloading = reload_on_signal(Arc::clone(&rules)).map_err(StartError::Thread)?;
        Ok(Some(Self { rules, reloading }))
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Evaluates nothing any more.
    pub(crate) fn stop(self) {
        let (stop, thread) = self.reloading;
        drop(stop);
        // A panic of the thread was printed when it happened.
        let _ = thread.join();
        self.rules.stop();
    }
}

fn reload_on_signal(rules: Arc<Rules>) -> std::io::Result<(Sender<()>, JoinHandle<()>)> {
    signals::catch_reload()?;
    let (stop, stopped) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name("rules-reload".to_owned()).spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK) {
            if !signals::take_reload() {
                continue;
            }
            match rules.reload() {
                Ok(()) => provider::say!("the rules were read again"),
                Err(error) => provider::say!("the rules stay as they were: {error}"),
            }
        }
    })?;
    Ok((stop, thread))
}
