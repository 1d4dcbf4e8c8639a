//! Alerts of rules as issues: what a rule of the user's calls wrong is wrong.
//!
//! In: the alerts of a snapshot. Out: a finding for each type and resource that one fires for. The label `issue_type` says
//! the type where it is the name of one, else it is `alert`. Where it is, the labels say by which the fleet's own series
//! are told apart: `from` and `to` a link, `instance` an instance (of `disk_full`: its volume), `service` a service. An
//! alert that names none of ours is not about the fleet, and is told to people by Alertmanager alone.
//!
//! A type that has an engine of its own is verified and closed by that, once the alert is over: an alert is over later than
//! the trouble, since its expression looks back and its rule is evaluated now and then. A type without one is over when
//! no alert says otherwise.

use domain::alert::{AlertPhase, RuleAlert};
use domain::{InstanceName, Issue, IssueKind, LinkName, Reason, ResourceId, ServiceName, Severity, Snapshot};

use super::{Finding, Verdict, metrics};

/// The metric that says how many alerts fire; what is measured does not have it.
const ALERTS: &str = "alerts";

/// Whether what was last said of an issue came from alerts.
pub(super) fn told(issue: &Issue) -> bool {
    issue.metrics.contains_key(ALERTS)
}

/// What alerts say of types without an engine of their own.
pub(super) fn judge(kind: IssueKind, resource: &ResourceId, snapshot: &Snapshot) -> Verdict {
    if let Some(finding) = found(kind, resource, snapshot) {
        return Verdict::Unhealthy(finding);
    }
    if !snapshot.alerts.are_known() || !is_seen(resource, snapshot) {
        return Verdict::Unknown;
    }
    // Its condition holds again already, or holds still after a restart in which its waiting began anew.
    let pending = snapshot
        .alerts
        .iter()
        .any(|alert| subject(alert, snapshot).as_ref() == Some(&(kind, resource.clone())));
    if pending { Verdict::Unknown } else { Verdict::Healthy }
}

/// Whether a resource was seen: an alert about what was not is told apart from none only where it was.
fn is_seen(resource: &ResourceId, snapshot: &Snapshot) -> bool {
    match resource {
        ResourceId::Service(name) => snapshot.services.contains_key(name),
        ResourceId::Instance(name) | ResourceId::Volume(name) => snapshot.instance(name).is_some(),
        ResourceId::Link(name) => snapshot.links.contains_key(name),
        ResourceId::Node(_) | ResourceId::Infrastructure(_) => false,
    }
}

/// What fires, each type and resource once.
pub(super) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut subjects: Vec<(IssueKind, ResourceId)> = Vec::new();
    for subject in firing(snapshot).filter_map(|alert| subject(alert, snapshot)) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    subjects.iter().filter_map(|(kind, resource)| found(*kind, resource, snapshot)).collect()
}

fn firing(snapshot: &Snapshot) -> impl Iterator<Item = &RuleAlert> {
    snapshot.alerts.iter().filter(|alert| alert.phase == AlertPhase::Firing)
}

/// The worst alert that fires for a type and resource, with how many others do.
fn found(kind: IssueKind, resource: &ResourceId, snapshot: &Snapshot) -> Option<Finding> {
    let subject_is =
        |alert: &&RuleAlert| subject(alert, snapshot).is_some_and(|(k, r)| k == kind && r == *resource);
    let all: Vec<&RuleAlert> = firing(snapshot).filter(subject_is).collect();
    // Of those that are as bad the first by name and labels, so that looks do not differ.
    let worst =
        all.iter().min_by_key(|alert| (std::cmp::Reverse(severity(alert)), &alert.name, &alert.labels))?;
    let said = ["summary", "description", "message"].iter().find_map(|name| worst.annotations.get(*name));
    let said = said.map_or(String::new(), |said| format!(": {}", said.trim()));
    let others = match all.len() - 1 {
        0 => String::new(),
        1 => "; one alert more fires here".to_owned(),
        others => format!("; {others} alerts more fire here"),
    };
    Some(Finding {
        kind,
        reason: Reason::Unspecified,
        resource: resource.clone(),
        severity: severity(worst),
        description: format!("alert {} fires{said}{others}", worst.name),
        metrics: metrics([
            ("value", worst.value),
            ("dependents", snapshot.reached_by(resource) as f64),
            (ALERTS, all.len() as f64),
        ]),
        excess: 0.0,
    })
}

/// The type and resource an alert is about; `None` where that is none of ours.
fn subject(alert: &RuleAlert, snapshot: &Snapshot) -> Option<(IssueKind, ResourceId)> {
    let label = |name: &str| alert.labels.get(name);
    let known = |name: &String| IssueKind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = label("issue_type").and_then(known).unwrap_or(IssueKind::Alert);
    let service = |name: &str| {
        label(name)?.parse::<ServiceName>().ok().filter(|name| snapshot.services.contains_key(name))
    };
    if let (Some(from), Some(to)) = (service("from"), service("to")) {
        let link = LinkName { from, to };
        if snapshot.links.contains_key(&link) {
            return Some((kind, ResourceId::Link(link)));
        }
    }
    let instance = label("instance").and_then(|name| name.parse::<InstanceName>().ok());
    if let Some(instance) = instance.filter(|name| snapshot.instance(name).is_some()) {
        let has_volume = snapshot.services.get(&instance.service).is_some_and(|state| state.volume.is_some());
        return Some(match kind {
            IssueKind::DiskFull if has_volume => (kind, ResourceId::Volume(instance)),
            _ => (kind, ResourceId::Instance(instance)),
        });
    }
    service("service").map(|service| (kind, ResourceId::Service(service)))
}

/// As the label `severity` says, in the words that rules use; medium where it says nothing that is known.
fn severity(alert: &RuleAlert) -> Severity {
    let said = alert.labels.get("severity").map(|said| said.to_ascii_lowercase());
    match said.as_deref() {
        Some("critical" | "page" | "emergency" | "disaster") => Severity::Critical,
        Some("high" | "error" | "major") => Severity::High,
        Some("low" | "info" | "informational" | "none" | "debug") => Severity::Low,
        _ => Severity::Medium,
    }
}
