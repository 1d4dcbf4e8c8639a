//! How bad a finding is (SPEC H2, H12).
//!
//! ```text
//! score    = min(excess, 2) + 0.1 × min(dependents, 5) + urgency
//! severity = critical from 1.75, high from 1.0, medium from 0.5, else low
//! ```
//!
//! - *excess* is 0 at the threshold and 1 where the resource can no longer do its work: 100 % of a limit,
//!   five times the latency bound, half of the requests failing, every instance of the service out.
//! - *dependents* are the services whose requests reach the resource, directly or through others.
//! - *urgency* says how soon the kind turns into failed requests: 0.5 where that is at once, 0.25 where it
//!   is not.
//!
//! Every term only adds, so the severity never falls when one of them rises. Budget burn will be a further
//! term of the sum when there is an engine that measures it.

use std::collections::BTreeSet;

use domain::{ResourceId, ServiceName, Severity, Snapshot};

/// How soon an issue turns into failed requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// The service still serves, worse.
    Soon,
    /// Requests or writes fail now.
    Now,
}

/// The severity for an excess (0 at the threshold), a number of dependents and an urgency.
pub fn severity(excess: f64, dependents: usize, urgency: Urgency) -> Severity {
    let urgency = match urgency {
        Urgency::Soon => 0.25,
        Urgency::Now => 0.5,
    };
    let score = excess.clamp(0.0, 2.0) + 0.1 * dependents.min(5) as f64 + urgency;
    match score {
        s if s >= 1.75 => Severity::Critical,
        s if s >= 1.0 => Severity::High,
        s if s >= 0.5 => Severity::Medium,
        _ => Severity::Low,
    }
}

/// How many services' requests reach a resource, directly or through others. A link is reached by its
/// caller and everything that calls it; a node by nobody we know of.
pub fn dependents(resource: &ResourceId, snapshot: &Snapshot) -> usize {
    let mut reached: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut open: Vec<&ServiceName> = match resource {
        ResourceId::Link(link) => {
            reached.insert(&link.from);
            vec![&link.from]
        }
        _ => resource.service().into_iter().collect(),
    };
    while let Some(service) = open.pop() {
        for caller in snapshot.dependents(service) {
            if reached.insert(caller) {
                open.push(caller);
            }
        }
    }
    reached.len()
}
