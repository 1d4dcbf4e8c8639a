//! The plain values that planning reads beside an issue and its causes.

use domain::{Capabilities, PlanId, Snapshot, Time};

use super::history::History;
use super::policy::Policy;
use crate::detect::Thresholds;
use crate::learn::rates::Rates;

/// What planning reads beside the issue.
#[derive(Debug, Clone, Copy)]
pub struct PlanContext<'a> {
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// The bounds detection judged it by.
    pub thresholds: &'a Thresholds,
    /// What the provider can do.
    pub capabilities: &'a Capabilities,
    /// The remediations of late.
    pub history: &'a History,
    /// How often strategies healed.
    pub rates: &'a Rates,
    /// Times and limits.
    pub policy: &'a Policy,
    /// The id the plan gets.
    pub id: PlanId,
    /// Now.
    pub now: Time,
}
