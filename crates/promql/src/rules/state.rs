//! What there is to say about rules at a time: what `/api/v1/rules` and `/api/v1/alerts` are made of.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Labels;

/// Whoever evaluates rules, asked how they stand.
pub trait RuleStates: fmt::Debug + Send + Sync {
    /// Every group, in the order of files and within them.
    fn groups(&self) -> Vec<GroupState>;

    /// Appends what they did since the start, in Prometheus' text format; nothing where that is not counted.
    fn write_metrics(&self, _out: &mut String) {}
}

/// A group of rules that are evaluated one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupState {
    /// Unique within its file.
    pub name: String,
    /// The file it stands in, as it was named.
    pub file: String,
    /// The time between two evaluations.
    pub interval: Duration,
    /// Series or alerts that one rule may produce; 0 is no limit.
    pub limit: u64,
    /// In the order of their evaluation.
    pub rules: Vec<RuleState>,
    /// When it was last evaluated, milliseconds since 1970.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_time: Duration,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleState {
    /// The series it records, or the alert it raises.
    pub name: String,
    /// Its expression, as it was written.
    pub query: String,
    /// The labels it adds; those of an alert are templates, as they were written.
    pub labels: BTreeMap<String, String>,
    /// How the last evaluation went.
    pub health: Health,
    /// When that was, milliseconds since 1970.
    pub last_evaluation_ms: Option<i64>,
    /// How long it took.
    pub evaluation_time: Duration,
    /// What it is for.
    pub kind: RuleKind,
}

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// There was none yet.
    Unknown,
    /// It has a value.
    Good,
    /// It has none, and this is why.
    Bad(String),
}

/// What a rule is for.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// Its value is kept as series.
    Recording,
    /// Its value is what there is to be alarmed about.
    Alerting {
        /// How long it has to be so before it fires (`for`).
        hold: Duration,
        /// How long it goes on firing when it is so no more (`keep_firing_for`).
        keep_firing: Duration,
        /// Templates, as they were written.
        annotations: BTreeMap<String, String>,
        /// Those that are pending or firing, by labels.
        alerts: Vec<ActiveAlert>,
    },
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveAlert {
    /// With `alertname`.
    pub labels: Labels,
    /// Expanded.
    pub annotations: BTreeMap<String, String>,
    /// How far it is.
    pub phase: ActivePhase,
    /// Since when its condition holds, milliseconds since 1970.
    pub active_at_ms: i64,
    /// Since when its condition holds no more although it still fires, milliseconds since 1970.
    pub keep_firing_since_ms: Option<i64>,
    /// The value of the expression when its condition last held.
    pub value: f64,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActivePhase {
    /// Its condition holds, not yet long enough.
    Pending,
    /// It fires.
    Firing,
}

impl RuleState {
    /// How far the furthest of its alerts is: what Prometheus calls the state of an alerting rule. None where it has none
    /// (`inactive`), or is no alerting rule.
    pub fn phase(&self) -> Option<ActivePhase> {
        match &self.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting { alerts, .. } => alerts.iter().map(|alert| alert.phase).max(),
        }
    }
}
