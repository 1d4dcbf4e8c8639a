//! Reading the configuration again while everything runs.
//!
//! In: the file and the environment, as at start. Out: what is live is in force, and for each key that changed whether it
//! took effect or waits for a restart. A file with anything wrong in it changes nothing.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use alerting::Rules;
use audit::{Action, Audit, Outcome};
use chaos::Experiments;
use gateway::{Reload, RequestRates, Tls, Webhook};
use heal::Healer;
use observe::Observer;
use provider::{Look, ProcessProvider};
use serde::{Deserialize, Serialize};

use crate::auditing::{self, Asker};
use crate::cli::Failure;
use crate::config::{Config, Takes, takes};
use crate::control_plane::wiring;
use crate::logging;

/// Who is told what needs a person; another one may take its place.
pub(crate) type WebhookInUse = Arc<Mutex<Option<Webhook>>>;

/// A key that differs from what runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangedKey {
    /// Such as `policy.limits.at_a_time`.
    pub(crate) key: String,
    /// One word more than yes or no, for people and programs alike.
    pub(crate) effect: Effect,
}

/// What came of a changed key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Effect {
    /// It is in force.
    InForce,
    /// It waits for a restart.
    AtRestart,
    /// It counts for data directories that were not used yet.
    AtFirstUse,
}

/// What a reload works on.
pub(crate) struct Reloading {
    pub(crate) path: Option<PathBuf>,
    /// As it was at start, with what was taken over since.
    pub(crate) in_force: Mutex<Config>,
    pub(crate) healer: Arc<Healer>,
    pub(crate) experiments: Arc<Experiments>,
    pub(crate) observer: Arc<Observer>,
    pub(crate) provider: Arc<ProcessProvider>,
    pub(crate) webhook: WebhookInUse,
    pub(crate) rules: Option<Arc<Rules>>,
    /// The certificate, where there is one.
    pub(crate) tls: Option<Tls>,
    pub(crate) audit_days: Arc<AtomicU64>,
    pub(crate) trail: Audit,
    pub(crate) rates: RequestRates,
}

impl Reloading {
    /// Reads everything again for somebody, and has the audit trail know what became of it.
    ///
    /// # Errors
    /// Why nothing of it was taken over.
    pub(crate) fn reload_for(&self, asker: &Asker) -> Result<Vec<ChangedKey>, String> {
        const ACTION: Action = Action::new("configuration.reload");
        let reloaded = self.reload();
        let target = self.path.as_ref().map_or("defaults".to_owned(), |path| path.display().to_string());
        let record = match &reloaded {
            Ok(changed) if changed.is_empty() => {
                asker.did(ACTION, target, Outcome::Done).detail("nothing changed")
            }
            Ok(changed) => asker.did(ACTION, target, Outcome::Done).detail(self.became(changed)),
            Err(why) => asker.did(ACTION, target, Outcome::Failed).detail(why.as_str()),
        };
        auditing::record(&self.trail, record);
        reloaded
    }

    /// What changed, with what it is now where that is no secret.
    fn became(&self, changed: &[ChangedKey]) -> String {
        let in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |key: &ChangedKey| match in_force.rule(&key.key).filter(|_| key.effect == Effect::InForce) {
            Some(value) => format!("{}: {value}", key.said()),
            None => key.said(),
        };
        changed.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Reads everything again, and takes over what is live.
    ///
    /// # Errors
    /// Why nothing of it was taken over.
    fn reload(&self) -> Result<Vec<ChangedKey>, String> {
        let refused = |error: &dyn std::error::Error| {
            format!("{}; the configuration stays as it was", Failure::failed(error).message)
        };
        let config = Config::load(self.path.as_deref()).map_err(|error| refused(&error))?;
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let changed: Vec<ChangedKey> =
            in_force.differences(&config).into_iter().map(ChangedKey::of).collect();
        let mut policy = config.policy.clone();
        if let Some(infrastructure) = self.provider.infrastructure().map_err(|error| refused(&error))? {
            policy.protect(&infrastructure);
        }
        // What a reference names may have changed where the reference did not.
        let webhook = match config.notify == in_force.notify && !config.notify.refers() {
            true => None,
            false => Some(wiring::webhook(&config).map_err(|error| refused(&error))?),
        };
        // Taken by itself within seconds whatever comes of the rest: that it is in use already is no half of a reload.
        if let Some(tls) = &self.tls
            && let Reload::Taken(said) = tls.reload().map_err(|error| refused(&error))?
        {
            log::info!("{said}");
        }
        // The last that can be refused: files of rules are read again also where nothing of this one changed.
        if let Some(rules) = &self.rules {
            rules.reload().map_err(|error| refused(&error))?;
            log::info!("the rules were read again");
        }
        if let Some(webhook) = webhook {
            *self.webhook.lock().unwrap_or_else(PoisonError::into_inner) = webhook;
        }
        let mode = wiring::mode(&config);
        self.healer.set(wiring::settings(&config, policy.clone(), self.healer.settings().seed));
        self.experiments.allow(policy, mode);
        self.audit_days.store(config.retention.audit_days, Ordering::Relaxed);
        let gateway = &config.gateway;
        self.rates.set(gateway.requests_per_second, gateway.anonymous_requests_per_second);
        self.observer.set_slow_ms(config.thresholds.latency_ms);
        logging::configure(config.log.level, config.log.format);
        in_force.take_live(config);
        Ok(changed)
    }
}

impl ChangedKey {
    fn of(key: String) -> Self {
        let effect = match takes(&key) {
            Takes::Live => Effect::InForce,
            Takes::Restart => Effect::AtRestart,
            Takes::FirstUse => Effect::AtFirstUse,
        };
        Self { key, effect }
    }

    /// For people.
    pub(crate) fn said(&self) -> String {
        let effect = match self.effect {
            Effect::InForce => "is in force",
            Effect::AtRestart => "waits for a restart",
            Effect::AtFirstUse => {
                "counts when a data directory is first used; here the switch that people set does"
            }
        };
        format!("{} {effect}", self.key)
    }
}

impl Config {
    /// Takes over the keys that are live; the rest stays as it was at start.
    fn take_live(&mut self, new: Self) {
        let healing = crate::config::Healing {
            auto_remediation: self.healing.auto_remediation,
            witness: self.healing.witness,
            ..new.healing
        };
        let gateway = self.gateway.clone().take_live(&new.gateway);
        let Self { notify, retention, thresholds, policy, log, .. } = new;
        *self = Self { gateway, healing, notify, retention, thresholds, policy, log, ..self.clone() };
    }
}
