//! How bad a finding is (SPEC H2, H12).
//!
//! ```text
//! score    = min(excess, 2) + 0.1 × min(dependents, 5) + urgency + 0.125 × min(burn, 4)
//! severity = critical from 1.75, high from 1.0, medium from 0.5, else low
//! ```
//!
//! - *excess* is 0 at the threshold and 1 where the resource can no longer do its work: 100 % of a limit,
//!   five times the latency bound, half of the requests failing, every instance of the service out.
//! - *dependents* are the services whose requests reach the resource, directly or through others ([`domain::Snapshot::reached_by`]).
//! - *urgency* says how soon the kind turns into failed requests: 0.5 where that is at once, 0.25 where it
//!   is not, 0 where it is foretold and there is time left for a person.
//!
//! - *burn* is how many times faster than the limit that pages the error budget of the resource's service burns; 0
//!   while no page fires, so that it raises the severity of whatever is wrong there by up to a step.
//!
//! Every term only adds, so the severity never falls when one of them rises.

use domain::Severity;

/// How soon an issue turns into failed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing is hurt yet, nor will be for a while.
    Later,
    /// The service still serves, worse.
    Soon,
    /// Requests or writes fail now.
    Now,
}

/// The severity for an excess (0 at the threshold), a number of dependents, an urgency, and a budget's burn as a multiple
/// of the limit that pages (0 where none does).
pub fn severity(excess: f64, dependents: usize, urgency: Urgency, burn: f64) -> Severity {
    let urgency = match urgency {
        Urgency::Later => 0.0,
        Urgency::Soon => 0.25,
        Urgency::Now => 0.5,
    };
    let burn = 0.125 * burn.clamp(0.0, 4.0);
    let score = excess.clamp(0.0, 2.0) + 0.1 * dependents.min(5) as f64 + urgency + burn;
    match score {
        s if s >= 1.75 => Severity::Critical,
        s if s >= 1.0 => Severity::High,
        s if s >= 0.5 => Severity::Medium,
        _ => Severity::Low,
    }
}
