//! Detection: a snapshot in, findings out; findings and the issues so far in, changed issues out.
//!
//! Each issue type is one file with one function that judges one resource: healthy, unhealthy, or unknown.
//! [`detect`] asks all of them about everything there is; verification asks one of them about one resource
//! ([`verdict`]). Both go through the same function, so they cannot disagree. [`track`] then decides what is
//! a new issue, what is an old one seen again, and what is over.
//!
//! # Invariants
//!
//! - Absence is unknown, never healthy: a resource that is not in the snapshot, a signal without samples,
//!   an instance too young to be judged close nothing.
//! - Nothing here has a memory. What has to be remembered between two looks lives in the issue.
//! - What is being injected is not part of a snapshot and so cannot be used here.
//!
//! # Before it comes to pass
//!
//! Memory and volumes fill up, and where that goes on steadily the bound is as good as crossed: the issue is raised
//! before, with the forecast as its evidence (`forecast`, proactive mode of SPEC H5). What goes up and down with the
//! requests (CPU, latency, errors) is not foretold from a line.
//!
//! # Against noise
//!
//! A busy machine stalls, and a stall is not a fault. Rates are judged only over enough requests, not in the
//! first seconds of a fleet, not while the callee is being replaced on purpose; latency only where most
//! requests of some part of the link (an instance, the old connections, all) are slow, which a stall
//! shorter than half of the window cannot bring about.

mod alert;
pub(crate) mod disk_full;
mod error_rate;
mod forecast;
pub(crate) mod high_cpu;
mod high_memory;
mod network_latency;
pub(crate) mod pod_crash;
mod reason;
pub mod severity;
mod slo_burn;
mod thresholds;
mod traced;
mod track;
pub(crate) mod traffic;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::{Issue, IssueKind, Reason, ResourceId, Severity, Snapshot};

pub use thresholds::Thresholds;
pub use track::{IssueChange, track};
pub use traffic::{backends_in_trouble, scope};

use severity::Urgency;

/// What detection says of one issue type on one resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Measured, and in bounds.
    Healthy,
    /// Measured, and out of bounds.
    Unhealthy(Finding),
    /// Not measured, too little of it, or not to be judged now.
    Unknown,
}

/// One issue type seen on one resource in one snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The issue type.
    pub kind: IssueKind,
    /// The finer reason.
    pub reason: Reason,
    /// Where.
    pub resource: ResourceId,
    /// How bad; see [`severity`].
    pub severity: Severity,
    /// One plain sentence with figures and the limit they are judged by.
    pub description: String,
    /// The measured values by name, among them `threshold`.
    pub metrics: BTreeMap<String, f64>,
    /// How far beyond the threshold: 0 at it, 1 where the resource can no longer do its work; see
    /// [`severity`].
    pub excess: f64,
}

impl Finding {
    /// Whether its bound is not crossed yet, and will be as things go.
    pub fn is_foretold(&self) -> bool {
        self.metrics.contains_key(Issue::FORECAST)
    }
}

/// One issue type's engine.
struct Detector {
    kind: IssueKind,
    judge: fn(&ResourceId, View<'_>) -> Verdict,
}

/// Every engine there is. Of an issue type without one alerts are asked.
const DETECTORS: [Detector; 7] = [
    Detector { kind: IssueKind::PodCrash, judge: pod_crash::judge },
    Detector { kind: IssueKind::HighCpu, judge: high_cpu::judge },
    Detector { kind: IssueKind::HighMemory, judge: high_memory::judge },
    Detector { kind: IssueKind::DiskFull, judge: disk_full::judge },
    Detector { kind: IssueKind::NetworkLatency, judge: network_latency::judge },
    Detector { kind: IssueKind::ErrorRate, judge: error_rate::judge },
    Detector { kind: IssueKind::SloBurn, judge: slo_burn::judge },
];

/// What an engine sees: the world, and the bounds for the resource it is asked about.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) thresholds: Thresholds,
}

/// Everything wrong in a snapshot, worst first: what is measured, and what alerts of rules say.
pub fn detect(snapshot: &Snapshot, thresholds: &Thresholds) -> Vec<Finding> {
    let found = |kind: IssueKind, resource: &ResourceId| match verdict(kind, resource, snapshot, thresholds) {
        Verdict::Unhealthy(finding) => Some(finding),
        Verdict::Healthy | Verdict::Unknown => None,
    };
    let measured = DETECTORS.iter().map(|detector| detector.kind).filter(|kind| *kind != IssueKind::SloBurn);
    let kinds: Vec<IssueKind> = measured.collect();
    let here = snapshot
        .resources()
        .flat_map(|resource| kinds.iter().filter_map(|kind| found(*kind, &resource)).collect::<Vec<_>>());
    // An objective may be about a service as a whole, which nothing else is measured of.
    let budgets = slo_burn::burning(snapshot);
    let budgets = budgets.iter().filter_map(|resource| found(IssueKind::SloBurn, resource));
    let mut findings: Vec<Finding> = here.chain(budgets).collect();
    for said in alert::findings(snapshot) {
        let same = |known: &&mut Finding| known.kind == said.kind && known.resource == said.resource;
        match findings.iter_mut().find(same) {
            // What is measured says more of it; that somebody wrote a rule for it says how bad it is.
            Some(known) => known.severity = known.severity.max(said.severity),
            None => findings.push(said),
        }
    }
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.excess.total_cmp(&a.excess)));
    findings
}

/// One issue type on one resource. [`detect`] finds exactly what this calls unhealthy, and what alerts say of types with an
/// engine.
pub fn verdict(
    kind: IssueKind,
    resource: &ResourceId,
    snapshot: &Snapshot,
    thresholds: &Thresholds,
) -> Verdict {
    let view = View { snapshot, thresholds: thresholds.at(resource, snapshot) };
    DETECTORS
        .iter()
        .find(|detector| detector.kind == kind)
        .map_or_else(|| alert::judge(kind, resource, snapshot), |detector| (detector.judge)(resource, view))
}

/// What an engine has measured, before its severity is known.
struct Measured {
    kind: IssueKind,
    reason: Reason,
    excess: f64,
    urgency: Urgency,
    description: String,
    metrics: BTreeMap<String, f64>,
}

impl Measured {
    /// The verdict, with the severity for the resource's place in the fleet.
    fn unhealthy(self, resource: &ResourceId, snapshot: &Snapshot) -> Verdict {
        let dependents = snapshot.reached_by(resource);
        let burn = slo_burn::beyond(resource, snapshot);
        let mut metrics = self.metrics;
        metrics.insert("dependents".to_owned(), dependents as f64);
        Verdict::Unhealthy(Finding {
            kind: self.kind,
            reason: self.reason,
            resource: resource.clone(),
            severity: severity::severity(self.excess, dependents, self.urgency, burn),
            description: self.description,
            metrics,
            excess: self.excess.max(0.0),
        })
    }
}

/// Metrics from name and value.
fn metrics<const N: usize>(pairs: [(&str, f64); N]) -> BTreeMap<String, f64> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The excess of a share of a limit: 0 at the threshold, 1 at 100 %.
fn share_excess(share: f64, threshold: f64) -> f64 {
    (share - threshold) / (100.0 - threshold).max(1.0)
}
