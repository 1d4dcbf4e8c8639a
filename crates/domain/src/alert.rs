//! What alerting rules say at a look.
//!
//! In: nothing. Out: the values a [`Snapshot`](crate::Snapshot) carries, and the trait by which they come.
//!
//! Deliberately absent: the rules themselves and their evaluation (crates `promql` and `alerting`), and alerts of rules
//! that read what is being injected.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// An alert of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleAlert {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub phase: AlertPhase,
    /// Its labels, expanded; without its name.
    pub labels: BTreeMap<String, String>,
    /// What is said with it, expanded.
    pub annotations: BTreeMap<String, String>,
    /// The value of its expression when its condition last held.
    pub value: f64,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertPhase {
    /// Its condition holds, not yet for as long as the rule says.
    Pending,
    /// It fires.
    Firing,
}

/// Every alert that is pending or firing; or that nothing is known of alerts, where no rules are evaluated or some were
/// not evaluated yet. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Option<Vec<RuleAlert>>", into = "Option<Vec<RuleAlert>>")]
pub struct Alerts(Option<Arc<[RuleAlert]>>);

impl From<Option<Vec<RuleAlert>>> for Alerts {
    fn from(alerts: Option<Vec<RuleAlert>>) -> Self {
        Self(alerts.map(Into::into))
    }
}

impl From<Alerts> for Option<Vec<RuleAlert>> {
    fn from(alerts: Alerts) -> Self {
        alerts.0.map(|alerts| alerts.to_vec())
    }
}

impl Alerts {
    /// Whether it is known which alerts there are.
    pub fn are_known(&self) -> bool {
        self.0.is_some()
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = &RuleAlert> {
        self.0.iter().flat_map(|alerts| alerts.iter())
    }
}

/// Where alerts come from.
pub trait AlertSource: Send + Sync {
    /// As the rules were evaluated last.
    fn alerts(&self) -> Alerts;
}
