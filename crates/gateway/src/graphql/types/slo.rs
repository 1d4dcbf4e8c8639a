//! Service level objectives with what is left of their error budgets.

use async_graphql::{ID, SimpleObject};
use observe::objectives::Detail;

use crate::api::status_word;

/// A share of events that has to be good over a rolling window. Shares are percent; what was not measured is null.
#[derive(SimpleObject)]
pub(in crate::graphql) struct Slo {
    /// Its id.
    id: ID,
    /// What people call it.
    name: String,
    /// Whose events are counted.
    service: String,
    /// What it is about.
    description: String,
    /// What is counted.
    metric: &'static str,
    /// The share that has to be good.
    target: f64,
    /// Of a latency, in milliseconds: what counts as good.
    threshold_ms: Option<f64>,
    /// How long its window is, in days.
    window_days: f64,
    /// The share that was good.
    current: Option<f64>,
    /// `met`, `at risk` and the like, or `unknown`.
    status: &'static str,
    /// The share of the error budget that is left; negative where more than all was spent.
    budget_remaining_percent: Option<f64>,
    /// How fast the budget burns.
    burn_rates: Vec<BurnRate>,
    /// The alerts that fire.
    alerts_firing: Vec<String>,
}

/// How many times as fast as it lasts a budget is spent.
#[derive(SimpleObject)]
struct BurnRate {
    /// Over how long, such as `1h`.
    window: String,
    /// Null without events.
    rate: Option<f64>,
}

impl From<&Detail> for Slo {
    fn from(detail: &Detail) -> Self {
        let Detail { objective, standing, .. } = detail;
        let burn = |burn: &slo::BurnRate| BurnRate { window: burn.window.to_string(), rate: burn.rate };
        Self {
            id: ID(objective.id.clone()),
            name: objective.name.clone(),
            service: objective.service.clone(),
            description: objective.description.clone(),
            metric: objective.metric().as_str(),
            target: objective.target.percent(),
            threshold_ms: objective.threshold().map(|limit| limit.as_secs_f64() * 1e3),
            window_days: f64::from(objective.period.get()) / 1440.0,
            current: standing.and_then(|standing| standing.good).map(|good| good * 100.0),
            status: status_word(standing.as_ref()),
            budget_remaining_percent: standing.map(|standing| standing.budget_remaining * 100.0),
            burn_rates: detail.burn_rates.iter().map(burn).collect(),
            alerts_firing: detail.firing.iter().map(|alert| alert.name.clone()).collect(),
        }
    }
}
