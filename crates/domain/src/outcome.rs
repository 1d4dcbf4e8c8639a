//! What came of a plan, with times.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::PlanId;
use crate::time::Time;

/// The verdict on a remediation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Its signal came back in bounds and held through the hold window, and not by the fault's own end.
    Healed,
    /// By a measure that is no repair of the cause and must be lifted later (an open breaker).
    Mitigated,
    /// The signal came back before a repair could have done it.
    SelfRecovered,
    /// It did not come back, or did not hold.
    NotHealed,
    /// The guard or the provider refused.
    Refused,
}

/// What came of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Which plan.
    pub plan: PlanId,
    /// The verdict.
    pub kind: OutcomeKind,
    /// When the first step began; `None` where none did.
    pub started_at: Option<Time>,
    /// When the signal was first seen back in bounds; `None` where it was not.
    pub verified_at: Option<Time>,
    /// When the verdict was given.
    pub decided_at: Time,
    /// Whether the plan's steps were taken back.
    pub rolled_back: bool,
    /// Why, in one sentence, where it is not healed.
    pub explanation: Option<String>,
}

impl OutcomeKind {
    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healed => "healed",
            Self::Mitigated => "mitigated",
            Self::SelfRecovered => "self_recovered",
            Self::NotHealed => "not_healed",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
