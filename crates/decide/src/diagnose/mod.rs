//! Diagnosis: an issue in, its ranked causes out, by topology and timing.
//!
//! An issue of a link is felt by a caller; its cause is at the link, at an instance behind it, or further
//! down. The walk goes from the issue's resource along the calls downwards and collects *candidates*: a
//! resource and a class of fault for which something was seen there. Each carries the evidence, the name of
//! the *pattern* it makes, and a strength between 0 and 1.
//!
//! ```text
//! score = strength of the evidence × reach
//! ```
//!
//! *Reach* is 1 as long as every link on the way down is in trouble itself, and falls to 0.3 of it at
//! each one that is not: trouble that no link passed up cannot be the cause. A link is to blame only for
//! what is seen on the link itself (a slow or failing check of its path while the callee answers its own
//! probe at once); that its requests are slow is never enough, so a caller of a slow service is a symptom.
//! Where nothing further down explains a slow or failing callee, what is left is its own (own excess over
//! its callees).
//!
//! A service that began to run something else just before, and of whose requests more are bad since, is to blame
//! itself (`deployment`).
//!
//! Calls that spans alone tell of, where no proxy stands, are walked too; what is found behind one names them as evidence.
//!
//! The score ranks. The *confidence* that is stated does not come from it: it is the recorded share of runs
//! in which the pattern named the true cause ([`ConfidenceTable`]).
//!
//! Deliberately absent: what is being injected. A snapshot does not hold it.
//!
//! # What the evidence of a cause begins with
//!
//! The first [`EvidenceItem`] names the instance that is in trouble, where it is one of several: for a fault
//! of a path that is the instance to be taken out of the balancing.

mod deployment;
mod path;
mod process;
mod traced;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use domain::{
    Cause, CauseClass, EvidenceItem, Issue, IssueKind, LinkName, ResourceId, ServiceName, Snapshot, units,
};

use crate::detect::{Thresholds, View};
use crate::learn::confidence::ConfidenceTable;

/// How many causes are named at most: nobody reads a sixth.
const CAUSES_MAX: usize = 5;

/// What is left of a candidate's strength behind a link that is not in trouble.
const UNTROUBLED: f64 = 0.3;

/// What is to be explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symptom {
    /// Requests are slow.
    Slow,
    /// Requests fail.
    Failing,
    /// Something is wrong with the instance or volume itself.
    Own(IssueKind),
}

impl Symptom {
    fn of(kind: IssueKind) -> Self {
        match kind {
            IssueKind::NetworkLatency | IssueKind::DatabaseSlow => Self::Slow,
            IssueKind::ErrorRate | IssueKind::SloBurn | IssueKind::Alert => Self::Failing,
            own => Self::Own(own),
        }
    }
}

/// Something that may be the cause.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    resource: ResourceId,
    class: CauseClass,
    /// Stable: confidences are recorded under it.
    pattern: &'static str,
    /// 0 to 1.
    score: f64,
    evidence: Vec<EvidenceItem>,
}

/// The causes of an issue, best first, at most five. Empty only where nothing that could be one was seen.
/// `open` are the open issues of the fleet, `thresholds` those they were detected by.
pub fn diagnose(
    issue: &Issue,
    snapshot: &Snapshot,
    open: &[Issue],
    thresholds: &Thresholds,
    confidence: &ConfidenceTable,
) -> Vec<Cause> {
    if issue.kind == IssueKind::SloBurn && is_over(&issue.resource, snapshot) {
        return Vec::new();
    }
    let view = View { snapshot, thresholds: *thresholds };
    let testimony = traced::testimony(issue, view);
    let mut candidates = strongest(candidates(issue, view));
    if candidates.is_empty() {
        candidates = traced::candidates(&testimony);
    }
    for candidate in &mut candidates {
        confirm(candidate, issue, open);
    }
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    traced::tell(&testimony, &mut candidates);
    let stated = |candidate: Candidate| Cause {
        confidence: confidence.confidence(candidate.pattern),
        resource: candidate.resource,
        class: candidate.class,
        pattern: candidate.pattern.to_owned(),
        evidence: candidate.evidence,
    };
    candidates.into_iter().take(CAUSES_MAX).map(stated).collect()
}

/// Whether what burned the budgets at a resource is over, so that nothing seen now can have been its cause: its events of
/// the last seconds are as good as they have to be.
fn is_over(resource: &ResourceId, snapshot: &Snapshot) -> bool {
    let burning = snapshot.objectives.burning(resource);
    burning.into_iter().all(|(_, state, _)| state.lately.is_some_and(|lately| lately <= 1.0))
}

fn candidates(issue: &Issue, view: View<'_>) -> Vec<Candidate> {
    let symptom = Symptom::of(issue.kind);
    match &issue.resource {
        ResourceId::Link(link) => walk(vec![(link.clone(), 1.0)], symptom, issue, view),
        ResourceId::Instance(name) | ResourceId::Volume(name) => {
            let mut found = process::candidates(name, None, symptom, view);
            // A process that keeps ending may do so because of what it calls.
            if issue.kind == IssueKind::PodCrash {
                let calls = calls_of(&name.service, view.snapshot).map(|call| (call, UNTROUBLED)).collect();
                found.extend(walk(calls, Symptom::Failing, issue, view));
            }
            found
        }
        // A budget is about requests: those to the service, and what the service needs to answer them.
        ResourceId::Service(service) if matches!(issue.kind, IssueKind::SloBurn | IssueKind::Alert) => {
            let into = view.snapshot.links_to(service).map(|(name, _)| (name.clone(), 1.0));
            let calls = calls_of(service, view.snapshot).map(|call| (call, UNTROUBLED));
            let instances = view.snapshot.services.get(service).into_iter().flat_map(|s| s.instances.keys());
            let mut found = walk(into.chain(calls).collect(), symptom, issue, view);
            found.extend(instances.flat_map(|name| process::candidates(name, None, symptom, view)));
            found
        }
        ResourceId::Service(service) => {
            let instances = view.snapshot.services.get(service).into_iter().flat_map(|s| s.instances.keys());
            instances.flat_map(|name| process::candidates(name, None, symptom, view)).collect()
        }
        ResourceId::Node(_) | ResourceId::Infrastructure(_) => Vec::new(),
    }
}

/// Collects the candidates at some links and below them. `open` holds links with their reach.
fn walk(mut open: Vec<(LinkName, f64)>, symptom: Symptom, issue: &Issue, view: View<'_>) -> Vec<Candidate> {
    let mut reached: BTreeMap<LinkName, f64> = BTreeMap::new();
    let mut found = Vec::new();
    while let Some((name, reach)) = open.pop() {
        // A link that is called on several ways counts by the best one; the others add nothing.
        if reached.get(&name).is_some_and(|before| *before >= reach) {
            continue;
        }
        reached.insert(name.clone(), reach);
        let link = view.snapshot.links.get(&name);
        let mut here = link.map(|link| path::candidates(&name, link, symptom, view)).unwrap_or_default();
        if let Some(callee) = view.snapshot.services.get(&name.to) {
            for instance in callee.instances.keys() {
                let seen_through = link.map(|link| (&name, link));
                here.extend(process::candidates(instance, seen_through, symptom, view));
            }
        }
        if let Some(deployed) = deployment::candidate(&name.to, issue, symptom, view) {
            here.push(deployment::beside(deployed, &here));
        }
        if link.is_none() {
            here.iter_mut().for_each(|candidate| candidate.evidence.extend(traced::called(&name, view)));
        }
        found.extend(here.into_iter().map(|c| Candidate { score: c.score * reach, ..c }));
        for call in calls_of(&name.to, view.snapshot) {
            let passes = match view.snapshot.links.get(&call) {
                Some(link) => path::troubled(&call, link, view),
                None => traced::troubled(&call, view),
            };
            open.push((call, if passes { reach } else { reach * UNTROUBLED }));
        }
    }
    found
}

/// The links on which a service calls others: those with a proxy, and those that spans alone tell of.
fn calls_of<'a>(service: &'a ServiceName, snapshot: &'a Snapshot) -> impl Iterator<Item = LinkName> + 'a {
    let all = snapshot.links.keys().chain(snapshot.links_of_traces_alone());
    all.filter(move |link| link.from == *service).cloned()
}

/// Of the candidates that name the same class at the same resource, the one with the highest score.
fn strongest(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        match best.iter_mut().find(|b| b.class == candidate.class && b.resource == candidate.resource) {
            Some(known) if known.score >= candidate.score => {}
            Some(known) => *known = candidate,
            None => best.push(candidate),
        }
    }
    best
}

/// Adds what another open issue says of the same resource, and when it was seen relative to this one. For
/// the reader: the score already holds what made that issue.
fn confirm(candidate: &mut Candidate, issue: &Issue, open: &[Issue]) {
    let about = |other: &&Issue| {
        other.id != issue.id && other.resource == candidate.resource && says(other.kind, candidate.class)
    };
    let Some(other) = open.iter().find(about) else { return };
    let when = if issue.detected_at.reached(other.detected_at) {
        format!("{} before", units::show_duration(issue.detected_at.since(other.detected_at)))
    } else {
        format!("{} after", units::show_duration(other.detected_at.since(issue.detected_at)))
    };
    candidate.evidence.push(EvidenceItem {
        resource: other.resource.clone(),
        text: format!("{} is open here, first seen {when} this issue", other.kind),
    });
}

/// Whether an issue type on a resource speaks for a class of fault there.
fn says(kind: IssueKind, class: CauseClass) -> bool {
    matches!(
        (kind, class),
        (IssueKind::PodCrash, CauseClass::ProcessEnded | CauseClass::ProcessHangs)
            | (IssueKind::HighCpu, CauseClass::CpuExhausted)
            | (IssueKind::PodCrash | IssueKind::HighMemory, CauseClass::MemoryExhausted)
            | (IssueKind::DiskFull, CauseClass::DiskExhausted)
            | (IssueKind::NetworkLatency, CauseClass::PathSlow)
            | (IssueKind::ErrorRate, CauseClass::PathBroken | CauseClass::Throttled)
    )
}

/// One piece of evidence.
fn seen(resource: ResourceId, text: String) -> EvidenceItem {
    EvidenceItem { resource, text }
}
