//! What needs a person.

use domain::{ResourceId, Severity, Time};
use serde::{Deserialize, Serialize};

/// Why a person is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// A plan waits for approval.
    ApprovalNeeded,
    /// Every strategy was tried, or none applies.
    NotHealed,
    /// Too many repairs failed; automation was switched off.
    AutomationOff,
    /// The same resource again and again: look for the root cause.
    RootCauseWork,
    /// More than half of the fleet is unwell.
    Storm,
    /// Health is below 70: an incident review is due.
    HealthLow,
}

/// One notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Why.
    pub kind: NoticeKind,
    /// How bad.
    pub severity: Severity,
    /// One plain sentence.
    pub title: String,
    /// Where, if it is one place.
    pub resource: Option<ResourceId>,
    /// When.
    pub at: Time,
}
