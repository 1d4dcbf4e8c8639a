//! What a service level objective says to the rest: how it stands, and when its error budget burns too fast.
//!
//! In: nothing. Out: the values that evaluation makes, detection turns into issues and the gateway into alerts.
//!
//! Deliberately absent: the objectives themselves, their files and their arithmetic (crate `slo`).

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::resource::{ResourceId, ServiceName};
use crate::time::Time;

/// How an objective stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SloStatus {
    /// Nothing has to be done.
    Healthy,
    /// Half of the error budget is gone, or it burns fast enough for a ticket.
    Warning,
    /// Three quarters of the error budget are gone, or it burns fast enough to page somebody.
    Critical,
    /// The error budget is used up: the objective is missed.
    Breached,
}

/// Whom a burning error budget concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SloSeverity {
    /// Somebody, in the next days.
    Ticket,
    /// Somebody, now.
    Page,
}

/// A window over which an error budget burned, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Burn {
    /// Its length in minutes.
    pub window_minutes: u32,
    /// How many times as fast as would use up the budget exactly at the end of the objective's period; 1 is just
    /// affordable.
    pub rate: f64,
    /// The rate above which it concerns somebody.
    pub threshold: f64,
}

/// An error budget that burns too fast, or no longer does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloAlert {
    /// The id of the objective.
    pub objective: String,
    /// The service it is about, as its file names it.
    pub service: String,
    /// The name of the alert.
    pub name: String,
    /// Whom it concerns.
    pub severity: SloSeverity,
    /// Since when it has been so.
    pub started_at: Time,
    /// Since when it is no longer so; `None` while it is.
    pub ended_at: Option<Time>,
    /// The windows that told, the shortest first; empty where nothing was measured and that is the alert.
    pub burns: Vec<Burn>,
    /// The share of the error budget that is left: 1 all of it, 0 nothing, below 0 overdrawn.
    pub budget_remaining: f64,
    /// Labels of the objective and of the alert.
    pub labels: BTreeMap<String, String>,
    /// Texts for people, by name.
    pub annotations: BTreeMap<String, String>,
    /// Who is to be told, as the file names them; empty where it names nobody.
    pub targets: Vec<String>,
}

/// What the events are that an objective calls bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadEvents {
    /// They failed.
    Failed,
    /// They took too long, or failed.
    Slow,
}

/// How an objective stands at one look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveState {
    /// The service it is about, as its file names it.
    pub service: String,
    /// Where in the fleet its events are: the service or link it is about; of one about the whole fleet, while its budget
    /// burns, the link or service most of the bad events are of. `None` where that is no part of the fleet.
    pub resource: Option<ResourceId>,
    /// Whether it is about that resource alone, not about the whole fleet.
    pub specific: bool,
    /// What is bad.
    pub bad: BadEvents,
    /// How it stands; `None` where nothing was measured.
    pub status: Option<SloStatus>,
    /// The share of events that may be bad, above 0.
    pub budget: f64,
    /// The share of the error budget that is left: 1 all of it, 0 nothing, below 0 overdrawn.
    pub budget_remaining: f64,
    /// How fast the budget burned in the last ten seconds, 1 being just affordable; `None` with fewer than five events.
    pub lately: Option<f64>,
    /// The alert that fires; the worst where several do.
    pub alert: Option<SloAlert>,
}

/// How every objective stands, by its id. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, ObjectiveState>", into = "BTreeMap<String, ObjectiveState>")]
pub struct Objectives(Arc<BTreeMap<String, ObjectiveState>>);

impl From<BTreeMap<String, ObjectiveState>> for Objectives {
    fn from(states: BTreeMap<String, ObjectiveState>) -> Self {
        Self(Arc::new(states))
    }
}

impl From<Objectives> for BTreeMap<String, ObjectiveState> {
    fn from(objectives: Objectives) -> Self {
        Arc::unwrap_or_clone(objectives.0)
    }
}

impl Deref for Objectives {
    type Target = BTreeMap<String, ObjectiveState>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Objectives {
    /// The objectives about a service alone, or about a link to it.
    pub fn about<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a ObjectiveState> + 'a {
        let about = move |state: &&ObjectiveState| {
            let of = state.resource.as_ref().and_then(ResourceId::service);
            state.specific && of == Some(service)
        };
        self.values().filter(about)
    }

    /// The objectives whose budget burns at a resource, with their alerts.
    pub fn burning<'a>(
        &'a self,
        resource: &'a ResourceId,
    ) -> impl Iterator<Item = (&'a str, &'a ObjectiveState, &'a SloAlert)> + 'a {
        self.iter().filter_map(move |(id, state)| {
            (state.resource.as_ref() == Some(resource)).then_some((&**id, state, state.alert.as_ref()?))
        })
    }
}

/// A bound on how fast the error budget of an objective may burn while something is disturbed on purpose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BurnBound {
    /// The id of the objective.
    pub objective: String,
    /// The fastest burn of the last ten seconds that is borne, 1 being just affordable; above 0.
    pub burn_rate: f64,
}

impl BurnBound {
    /// How fast the budget burns where that is faster than is borne; `None` where it is not, or not known.
    pub fn broken(&self, objectives: &Objectives) -> Option<f64> {
        objectives.get(&self.objective)?.lately.filter(|lately| *lately > self.burn_rate)
    }
}

/// Where the standings of objectives come from.
pub trait ObjectiveSource: Send + Sync {
    /// As they were evaluated last.
    fn objectives(&self) -> Objectives;
}

impl SloAlert {
    /// How many times beyond its limit the budget burns, at least 1: of the windows that told, the least.
    pub fn beyond(&self) -> f64 {
        let least = self.burns.iter().map(|burn| burn.rate / burn.threshold).fold(f64::INFINITY, f64::min);
        if least.is_finite() { least.max(1.0) } else { 1.0 }
    }
}

impl SloStatus {
    /// The name in the API and the CLI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Breached => "breached",
        }
    }
}

impl SloSeverity {
    /// The name in labels, as Sloth writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}
