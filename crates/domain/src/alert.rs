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

/// The alerts that are pending or firing. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Told", into = "Told")]
pub struct Alerts {
    all: Option<Arc<[RuleAlert]>>,
    known: bool,
}

/// The same, as it is written.
#[derive(Serialize, Deserialize)]
struct Told {
    alerts: Vec<RuleAlert>,
    known: bool,
}

impl From<Told> for Alerts {
    fn from(Told { alerts, known }: Told) -> Self {
        Self { all: (!alerts.is_empty()).then(|| alerts.into()), known }
    }
}

impl From<Alerts> for Told {
    fn from(alerts: Alerts) -> Self {
        Self { alerts: alerts.iter().cloned().collect(), known: alerts.known }
    }
}

impl Alerts {
    /// These, and no others.
    pub fn known(alerts: Vec<RuleAlert>) -> Self {
        Told { alerts, known: true }.into()
    }

    /// These, and perhaps others: some rules were not evaluated yet.
    pub fn at_least(alerts: Vec<RuleAlert>) -> Self {
        Told { alerts, known: false }.into()
    }

    /// Whether there are no others; not so where no rules are evaluated.
    pub fn are_known(&self) -> bool {
        self.known
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = &RuleAlert> {
        self.all.iter().flat_map(|alerts| alerts.iter())
    }
}

/// Where alerts come from.
pub trait AlertSource: Send + Sync {
    /// As the rules were evaluated last.
    fn alerts(&self) -> Alerts;
}
