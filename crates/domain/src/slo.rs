//! What a service level objective says to the rest: how it stands, and when its error budget burns too fast.
//!
//! In: nothing. Out: the values that evaluation makes, detection turns into issues and the gateway into alerts.
//!
//! Deliberately absent: the objectives themselves, their files and their arithmetic (crate `slo`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
