//! Rules of the configuration, evaluated over the store of series.
//!
//! In: the configuration, the store. Out: how rules stand, to the gateway; what fires, to the loop and to Alertmanagers.
//! With a reload the files are read again: all of them, or none.

use std::sync::Arc;

use alerting::{Alertmanager, AlertmanagerError, Rules};
use domain::Clock;
use metrics::Metrics;

use crate::config::Config;
use crate::control_plane::StartError;

/// Rules that are evaluated.
pub(crate) struct Alerts {
    rules: Arc<Rules>,
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
        let addresses = config.alertmanager.addresses().map_err(AlertmanagerError::from)?;
        let say = |text: &str| log::warn!("{text}");
        let alertmanager = match addresses.is_empty() {
            true => None,
            false => Some(Alertmanager::start(addresses, &config.alertmanager.peer(), clock, say)?),
        };
        let settings = config.rules.settings(address);
        let rules = Arc::new(Rules::start(settings, store.clone(), Arc::clone(clock), alertmanager, say)?);
        Ok(Some(Self { rules }))
    }

    /// The rules.
    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Evaluates nothing any more.
    pub(crate) fn stop(self) {
        self.rules.stop();
    }
}
