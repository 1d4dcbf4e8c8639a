//! What a control plane is made of, part by part in the order of its start.
//!
//! In: a data directory that is ours, a keeper that answers, the configuration. Out: [`Kept`], what is written down and taken in;
//! [`Sight`], who looks; [`Loops`], who acts; and what the gateway is told of them all.
//!
//! Fields stand in the reverse order of their start: where a later part fails, what began last ends first.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use act::Executor;
use audit::Audit;
use chaos::drill::Archive;
use domain::Clock;
use gateway::access::{Access, AccessConfig, SealingKey};
use gateway::{GatewayConfig, RequestRates};
use observe::Observer;
use promql::rules::RuleStates;
use provider::{Look, ProcessProvider};
use store::Store;

use super::listening::Bound;
use super::wiring::{Wiring, Witnesses};
use super::{OccupiedPort, StartError};
use crate::alerts::Alerts;
use crate::auditing::{self, Auditing};
use crate::client::token_file;
use crate::config::Config;
use crate::control::Loops;
use crate::metering::Metering;
use crate::objectives::Evaluation;
use crate::purges;
use crate::receiving::{self, Receiving};
use crate::reload::WebhookInUse;
use crate::second_factors;

/// What a control plane is started on.
pub(super) struct Ground {
    pub(super) dir: PathBuf,
    pub(super) store: Store,
    pub(super) bound: Bound,
    pub(super) token: String,
    pub(super) provider: Arc<ProcessProvider>,
    pub(super) occupied: OccupiedPort,
    pub(super) clock: Arc<dyn Clock>,
}

/// What is written down beside the store, and what comes in to be.
pub(super) struct Kept {
    /// Spans and logs, and where they come in; `None` where `otlp.enabled` is false.
    pub(super) receiving: Option<Receiving>,
    pub(super) auditing: Auditing,
    /// How long audit records are kept; 0 for ever.
    pub(super) audit_days: Arc<AtomicU64>,
    /// How often one may ask.
    pub(super) rates: RequestRates,
    pub(super) trail: Audit,
    /// Series of numbers; `None` where `metrics.enabled` is false.
    pub(super) metering: Option<Metering>,
}

impl Kept {
    pub(super) fn open(ground: &Ground, config: &Config) -> Result<Self, StartError> {
        let Ground { dir, store, bound, token, clock, .. } = ground;
        let metering = Metering::start(dir, config, clock)?;
        let options = auditing::options(store, config.retention.audit_days)?;
        let trail = Audit::open_with(dir, Arc::clone(clock), options).map_err(StartError::Audit)?;
        if let Err(error) = purges::record_unrecorded(dir, store, &trail) {
            log::error!("{}", act::in_full(&error));
        }
        let audit_days = Arc::new(AtomicU64::new(config.retention.audit_days));
        let auditing = Auditing::start(&trail, store, Arc::clone(clock), Arc::clone(&audit_days))
            .map_err(StartError::Thread)?;
        let tokens = Access::new(store.clone(), Arc::clone(clock), token, AccessConfig::default());
        let exposure = receiving::exposure(bound.tls.as_ref(), tokens);
        let series = metering.as_ref().map(Metering::store);
        let receiving = Receiving::start(dir, config, ground.occupied, series, exposure.as_ref())?;
        let gateway = &config.gateway;
        let rates = RequestRates::new(gateway.requests_per_second, gateway.anonymous_requests_per_second);
        Ok(Self { receiving, auditing, audit_days, rates, trail, metering })
    }

    /// Where services send their telemetry; `None` where it is not taken.
    pub(super) fn endpoint(&self) -> Option<String> {
        self.receiving.as_ref().map(Receiving::endpoint)
    }
}

/// Who looks at the fleet, and what is judged by figures alone.
pub(super) struct Sight {
    pub(super) observer: Arc<Observer>,
    pub(super) evaluation: Evaluation,
    /// Rules; `None` where none are configured.
    pub(super) alerts: Option<Alerts>,
}

impl Sight {
    pub(super) fn open(ground: &Ground, config: &Config, kept: &Kept) -> Result<Self, StartError> {
        let Ground { store, clock, bound, .. } = ground;
        let (receiving, metering) = (kept.receiving.as_ref(), kept.metering.as_ref());
        let alerts = match metering {
            Some(metering) => Alerts::start(config, metering.store(), clock, bound.address.clone())?,
            None => None,
        };
        let evaluation = Evaluation::start(config, store, receiving, metering, clock)?;
        let witnesses = Witnesses {
            config,
            deployments: store,
            series: metering,
            alerts: alerts.as_ref(),
            spans: receiving,
            objectives: evaluation.objectives(),
        };
        let observer = witnesses.observer(ground.provider.clone()).map_err(StartError::Thread)?;
        Ok(Self { observer: Arc::new(observer), evaluation, alerts })
    }
}

/// Who heals and who disturbs, ready and not yet running. What an earlier control plane left over is concluded.
pub(super) fn loops(
    ground: &Ground,
    config: &Config,
    kept: &Kept,
    observer: &Arc<Observer>,
    executor: Arc<Executor>,
    webhook: &WebhookInUse,
) -> Result<Arc<Loops>, StartError> {
    let Ground { store, provider, clock, .. } = ground;
    let mut policy = config.policy.clone();
    if let Some(infrastructure) = provider.infrastructure()? {
        policy.protect(&infrastructure);
    }
    let parts = Wiring {
        policy: &policy,
        config,
        store,
        observer,
        executor: &executor,
        clock,
        trail: &kept.trail,
        tracer: kept.receiving.as_ref().and_then(Receiving::tracer),
    };
    let healer = parts.healer(webhook)?;
    healer.conclude_left_over()?;
    let experiments = Arc::new(parts.experiments());
    Ok(Arc::new(Loops {
        store: store.clone(),
        provider: Arc::clone(provider),
        healer,
        experiments,
        executor,
        clock: Arc::clone(clock),
        endpoint: kept.endpoint(),
    }))
}

/// What the gateway shows and asks beside the loops.
pub(super) fn shown(
    ground: &Ground,
    config: &Config,
    kept: &Kept,
    sight: &Sight,
) -> Result<GatewayConfig, StartError> {
    let (receiving, metering) = (kept.receiving.as_ref(), kept.metering.as_ref());
    let oidc = config.oidc.as_ref().map(|oidc| oidc.provider()).transpose()?;
    let key = SealingKey::of_file(&ground.dir.join(SealingKey::FILE))?;
    // A key is made where there is none, so that TOTP can be enrolled; what another one sealed stays, and is told at each start.
    match second_factors::unreadable(&ground.dir) {
        Ok(users) => second_factors::told(&users, &ground.dir).iter().for_each(|said| log::warn!("{said}")),
        Err(error) => {
            log::warn!("whether second factors can be checked is not known: {}", act::in_full(&error))
        }
    }
    Ok(GatewayConfig {
        audit: Some(kept.trail.clone()),
        drills: Some(Archive::of_data_directory(&ground.dir)),
        token: ground.token.clone(),
        token_file: Some(token_file(&ground.dir)),
        clock: Arc::clone(&ground.clock),
        access: AccessConfig { key: Some(key), oidc, anonymous_reads: config.gateway.anonymous_reads() },
        otlp: receiving.map(Receiving::running),
        telemetry: receiving.map(|receiving| receiving.store().clone()),
        metrics: metering.map(|metering| metering.store().clone()),
        rules: sight.alerts.as_ref().map(|alerts| alerts.rules().clone() as Arc<dyn RuleStates>),
        targets: metering.map(Metering::scraped),
        tracer: receiving.and_then(Receiving::tracer),
        objectives: Some(Arc::clone(sight.evaluation.objectives())),
        answers: sight.evaluation.answers(),
        rates: kept.rates.clone(),
    })
}
