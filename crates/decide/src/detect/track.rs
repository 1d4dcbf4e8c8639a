//! From findings to issues: what is new, what is seen again, what is over.
//!
//! - One open issue per type and resource. Seen again, it takes the latest figures, the reason that is better
//!   founded (see [`super::reason`]), and keeps the worst severity of its occurrence. Load that stays remains
//!   the reason of `high_cpu`.
//! - An issue closes after two looks in a row that judged it healthy, at least a second apart. A look that cannot judge it neither counts nor starts the count again. The count lives in
//!   the issue's metrics (`well_looks`, `well_since_s` on the boot clock).
//! - An issue of a link stays open while an instance that was taken out of its balancing cannot be reached
//!   well: the requests are well because they go elsewhere.
//! - An issue that comes back within a minute of its close is the same issue with one recurrence more.
//! - An issue that was foretold is the same issue once it comes to pass, and keeps how long before that it was raised.
//! - An instance that is no longer declared (its slot is gone after a scale-back) takes its issues with it.
//!   Any other absence is unknown.

#[cfg(test)]
mod tests;

use std::time::Duration;

use domain::{InstanceName, Issue, IssueId, IssueKind, ResourceId, Snapshot, Time};

use super::reason::restated;
use super::{Finding, Thresholds, Verdict, alert, pod_crash, traffic, verdict};

/// Healthy looks in a row that close an issue: one may be luck.
const WELL_LOOKS: f64 = 2.0;

/// Time those looks have to span, so that two looks woken by one event do not count as two.
const WELL_FOR: Duration = Duration::from_secs(1);

/// A return within this time after the close is a recurrence, not another issue.
const DAMPING: Duration = Duration::from_secs(60);

/// Ends of instances younger than this become an issue even where the successor was well before anybody
/// looked. Twice the interval of the full scan.
const CATCH_UP: Duration = Duration::from_secs(60);

/// What changed with one issue.
#[derive(Debug, Clone, PartialEq)]
pub enum IssueChange {
    /// It is new, or came back.
    Opened(Issue),
    /// It was open and was seen again.
    Seen(Issue),
    /// It was open and looked well this time, not yet for long enough.
    Recovering(Issue),
    /// It was open and is over.
    Closed(Issue),
}

impl IssueChange {
    /// The issue as it is after the change.
    pub fn issue(&self) -> &Issue {
        match self {
            Self::Opened(issue) | Self::Seen(issue) | Self::Recovering(issue) | Self::Closed(issue) => issue,
        }
    }
}

/// What one look changes. `open` are the open issues, `findings` what [`super::detect`] said of `snapshot`,
/// `history` the issues closed lately (at least the last minute of them).
pub fn track(
    open: &[Issue],
    findings: &[Finding],
    snapshot: &Snapshot,
    thresholds: &Thresholds,
    history: &[Issue],
    next_id: &mut dyn FnMut() -> IssueId,
) -> Vec<IssueChange> {
    let missed = missed_ends(open, findings, snapshot, history);
    let fresh = findings.iter().chain(&missed).filter(|finding| of(finding, open).is_none());
    let opened = fresh.map(|finding| IssueChange::Opened(begin(finding, snapshot.taken, history, next_id)));
    let mut changes: Vec<IssueChange> = opened.collect();
    for issue in open {
        let finding = findings.iter().chain(&missed).find(|finding| same(finding, issue));
        changes.extend(match finding {
            Some(finding) => Some(IssueChange::Seen(again(issue, finding, snapshot.taken))),
            None => unseen(issue, snapshot, thresholds),
        });
    }
    changes
}

fn same(finding: &Finding, issue: &Issue) -> bool {
    finding.kind == issue.kind && finding.resource == issue.resource
}

fn of<'a>(finding: &Finding, issues: &'a [Issue]) -> Option<&'a Issue> {
    issues.iter().find(|issue| same(finding, issue))
}

fn begin(finding: &Finding, now: Time, history: &[Issue], next_id: &mut dyn FnMut() -> IssueId) -> Issue {
    let closed_lately = |issue: &&Issue| {
        same(finding, issue) && issue.closed_at.is_some_and(|closed| now.since(closed) <= DAMPING)
    };
    let before = history.iter().filter(closed_lately).max_by_key(|issue| issue.closed_at);
    Issue {
        id: before.map_or_else(next_id, |issue| issue.id),
        kind: finding.kind,
        reason: finding.reason,
        resource: finding.resource.clone(),
        severity: finding.severity,
        description: finding.description.clone(),
        detected_at: now,
        last_seen: now,
        closed_at: None,
        metrics: finding.metrics.clone(),
        recurrences: before.map_or(0, |issue| issue.recurrences.saturating_add(1)),
    }
}

fn again(issue: &Issue, finding: &Finding, now: Time) -> Issue {
    let (reason, description, mut metrics) = restated(issue, finding, now);
    let came_to_pass = issue.is_foretold() && !finding.is_foretold();
    let lead = came_to_pass.then(|| now.since(issue.detected_at).as_secs_f64());
    let lead = issue.metrics.get(Issue::LEAD).copied().or(lead);
    metrics.extend(lead.map(|seconds| (Issue::LEAD.to_owned(), seconds)));
    Issue {
        reason,
        severity: issue.severity.max(finding.severity),
        description,
        last_seen: now,
        metrics,
        ..issue.clone()
    }
}

/// What becomes of an open issue that no finding names.
fn unseen(issue: &Issue, snapshot: &Snapshot, thresholds: &Thresholds) -> Option<IssueChange> {
    if withdrawn(&issue.resource, snapshot) {
        return Some(IssueChange::Closed(Issue { closed_at: Some(snapshot.taken), ..issue.clone() }));
    }
    let judged = match verdict(issue.kind, &issue.resource, snapshot, thresholds) {
        // An alert told of a resource that the type's engine does not judge.
        Verdict::Unknown if alert::told(issue) => alert::judge(issue.kind, &issue.resource, snapshot),
        judged => judged,
    };
    if judged != Verdict::Healthy || ejected_unwell(issue, snapshot, thresholds) {
        return None;
    }
    let now = snapshot.taken;
    let well_since = well_since(issue, now).unwrap_or(now);
    let looks =
        issue.metrics.get(Issue::WELL_LOOKS).filter(|_| well_since != now).map_or(1.0, |looks| looks + 1.0);
    let mut issue = issue.clone();
    issue.metrics.insert(Issue::WELL_LOOKS.to_owned(), looks);
    issue.metrics.insert(Issue::WELL_SINCE.to_owned(), well_since.boot_us as f64 / 1e6);
    if looks >= WELL_LOOKS && now.since(well_since) >= WELL_FOR {
        issue.closed_at = Some(well_since);
        return Some(IssueChange::Closed(issue));
    }
    Some(IssueChange::Recovering(issue))
}

/// When the looks in a row that judged an issue healthy began; `None` where there was none, or it was noted
/// on the clock of an earlier boot.
fn well_since(issue: &Issue, now: Time) -> Option<Time> {
    let noted_us = (issue.metrics.get(Issue::WELL_SINCE)? * 1e6).round() as u64;
    let age_us = now.boot_us.checked_sub(noted_us)?;
    Some(now.minus(Duration::from_micros(age_us)))
}

/// Whether an instance is gone because it is no longer wanted.
fn withdrawn(resource: &ResourceId, snapshot: &Snapshot) -> bool {
    resource.instance().is_some_and(|name| {
        snapshot
            .services
            .get(&name.service)
            .is_some_and(|service| name.ordinal >= service.replicas && !service.instances.contains_key(name))
    })
}

/// Whether a link is well only because an instance that cannot be reached well is out of its balancing.
fn ejected_unwell(issue: &Issue, snapshot: &Snapshot, thresholds: &Thresholds) -> bool {
    let ResourceId::Link(name) = &issue.resource else { return false };
    let limit_ms = thresholds.at(&issue.resource, snapshot).latency_ms;
    snapshot.links.get(name).is_some_and(|link| {
        link.backends.values().any(|backend| {
            let well =
                backend.path_check_failures == 0 && traffic::check_slow(backend, limit_ms) == Some(false);
            backend.ejected && !well
        })
    })
}

/// Findings for ends that no issue knows of, because the successor was well before anybody looked.
fn missed_ends(open: &[Issue], findings: &[Finding], snapshot: &Snapshot, history: &[Issue]) -> Vec<Finding> {
    let missed = |name: &&InstanceName| {
        let resource = ResourceId::Instance((*name).clone());
        let about = |kind: IssueKind, of: &ResourceId| kind == IssueKind::PodCrash && *of == resource;
        let exit = snapshot.instance(name).and_then(pod_crash::unexpected);
        exit.is_some_and(|exit| {
            snapshot.taken.since(exit.at) <= CATCH_UP
                && !findings.iter().any(|finding| about(finding.kind, &finding.resource))
                && !open
                    .iter()
                    .chain(history)
                    .any(|issue| about(issue.kind, &issue.resource) && issue.last_seen.reached(exit.at))
        })
    };
    let names = snapshot.services.values().flat_map(|service| service.instances.keys());
    names.filter(missed).filter_map(|name| pod_crash::ended(name, snapshot)).collect()
}
