//! How the observer and the two loops, healing and chaos, are put together.
//!
//! In: what a control plane has opened, and its configuration. Out: an [`Observer`], a [`Healer`] and [`Experiments`].

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use act::{Executor, Mode};
use audit::{Action, Audit, NewRecord, Outcome, Via};
use chaos::Experiments;
use decide::plan::Policy;
use domain::Clock;
use gateway::{Notice, Webhook};
use heal::start::Execution;
use heal::{Healer, Learning, NoticeKind};
use homeostat_tracer::Tracer;
use observe::Observer;
use observe::objectives::Objectives;
use provider::Look;
use store::Store;

use super::StartError;
use crate::alerts::Alerts;
use crate::auditing;
use crate::config::{Config, Witness};
use crate::loop_traces::LoopTraces;
use crate::metering::Metering;
use crate::receiving::Receiving;
use crate::reload::WebhookInUse;

/// Who is asked about the fleet beside its provider.
pub(super) struct Witnesses<'a> {
    pub(super) config: &'a Config,
    pub(super) deployments: &'a Store,
    pub(super) series: Option<&'a Metering>,
    pub(super) alerts: Option<&'a Alerts>,
    pub(super) spans: Option<&'a Receiving>,
    pub(super) objectives: &'a Arc<Objectives>,
}

impl Witnesses<'_> {
    /// An observer of `provider` that asks them all. What it sees is kept as series, where there is a store of them.
    pub(super) fn observer(&self, provider: Arc<dyn Look>) -> std::io::Result<Observer> {
        let look = match self.series {
            Some(series) => series.recorder(provider)?,
            None => provider,
        };
        let mut observer = Observer::new(look)
            .with_deployments(Arc::new(self.deployments.clone()), self.config.thresholds.latency_ms)
            .with_objectives(Arc::clone(self.objectives));
        if let Some(alerts) = self.alerts {
            observer = observer.with_alerts(alerts.rules().clone());
        }
        if let Some(spans) = self.spans.filter(|_| self.config.healing.witness == Witness::Spans) {
            observer = observer.with_traces(Arc::new(spans.store().clone()));
        }
        if let Some(foresight) = self.config.proactive.foresight() {
            observer = observer.with_foresight(foresight);
        }
        Ok(observer)
    }
}

/// What the two loops are made from.
pub(super) struct Wiring<'a> {
    pub(super) config: &'a Config,
    /// The configured policy, with the services the Infrastructure protects.
    pub(super) policy: &'a Policy,
    pub(super) store: &'a Store,
    pub(super) observer: &'a Arc<Observer>,
    pub(super) executor: &'a Arc<Executor>,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) trail: &'a Audit,
    /// Where the loop's own turns are traced.
    pub(super) tracer: Option<Tracer>,
}

impl Wiring<'_> {
    pub(super) fn healer(&self, webhook: &WebhookInUse) -> Result<Arc<Healer>, StartError> {
        let healing = &self.config.healing;
        if self.store.document(FIRST_USE)?.is_none() {
            self.store.set_automation(healing.auto_remediation)?;
            self.store.put_document(FIRST_USE, "\"done\"")?;
        }
        let settings = settings(self.config, self.policy.clone(), seed(self.clock));
        let (webhook, trail) = (Arc::clone(webhook), self.trail.clone());
        let notify = move |notice: heal::Notice| {
            log::warn!("needs a person: {}", notice.title);
            if notice.kind == NoticeKind::AutomationOff {
                const ACTION: Action = Action::new("automation.set");
                let record = NewRecord::new("healing", Via::Loop, ACTION, "automation", Outcome::Done);
                auditing::record(&trail, record.why(notice.title.as_str()).detail("off"));
            }
            if let Some(webhook) = &*webhook.lock().unwrap_or_else(PoisonError::into_inner) {
                webhook.send(Notice {
                    title: notice.title,
                    severity: notice.severity,
                    resource: notice.resource.map(|resource| resource.to_string()),
                    url: None,
                    time: notice.at.rfc3339(),
                });
            }
        };
        let parts = heal::Parts {
            store: self.store.clone(),
            observer: Arc::clone(self.observer),
            executor: Arc::clone(self.executor),
            clock: Arc::clone(self.clock),
            notify: Box::new(notify),
            tell: match self.tracer.clone() {
                Some(tracer) => Arc::new(LoopTraces::new(tracer)),
                None => Arc::new(heal::Silent),
            },
        };
        Ok(Healer::new(parts, settings)?)
    }

    pub(super) fn experiments(&self) -> Experiments {
        Experiments::new(chaos::Parts {
            store: self.store.clone(),
            observer: Arc::clone(self.observer),
            executor: Arc::clone(self.executor),
            clock: Arc::clone(self.clock),
            policy: self.policy.clone(),
            mode: mode(self.config),
            seed: seed(self.clock) ^ 1,
        })
    }
}

/// Whether plans may change anything.
pub(crate) fn mode(config: &Config) -> Mode {
    if config.healing.dry_run { Mode::DryRun } else { Mode::Live }
}

/// How the loop is set, with a policy that knows what the Infrastructure protects.
pub(crate) fn settings(config: &Config, policy: Policy, seed: u64) -> heal::Settings {
    let healing = &config.healing;
    heal::Settings {
        thresholds: config.thresholds,
        policy,
        mode: mode(config),
        learning: if healing.learning { Learning::On } else { Learning::Off },
        scan_interval: Duration::from_secs(healing.scan_interval_seconds),
        health_interval: Duration::from_secs(healing.health_check_interval_seconds),
        retention: config.retention.retention(),
        execution: Execution::Concurrent,
        seed,
    }
}

/// Who is told what needs a person, if anybody is.
pub(crate) fn webhook(config: &Config) -> Result<Option<Webhook>, StartError> {
    let start = |receiver| Webhook::start(receiver, |why| log::warn!("{why}"));
    Ok(config.notify.receiver()?.map(start).transpose()?)
}

/// The document that says the configuration's first switches were taken over.
const FIRST_USE: &str = "configuration/first-use";

/// Ids only have to differ between two control planes on one machine; the clock and the process id do.
pub(super) fn seed(clock: &Arc<dyn Clock>) -> u64 {
    let now = clock.now();
    now.wall_us.unsigned_abs().rotate_left(20) ^ (now.boot_us << 1) ^ u64::from(std::process::id())
}
