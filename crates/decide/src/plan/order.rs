//! In which order open issues are planned for.
//!
//! In: the open issues, each with its ranked causes. Out: the same, in order. Deliberately absent: whether
//! anything is done about them.
//!
//! One cause shows as many issues: its own, and one at every caller. They get one repair, and it has to be
//! verified where the cause stands: by its own signal, which is measured when the repair is done, not by a
//! caller's, which may carry too few requests to tell. So issues with one cause go together, as urgent as the
//! most severe of them, and the one that stands at the cause goes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use domain::{Cause, Issue, IssueKind, ResourceId, Severity, Time};

/// Puts diagnosed issues in order. Causes are the more urgent the more severe the worst issue they explain,
/// then the longer that was seen. Within one: the issue at the cause itself, then severity, then age.
pub fn by_priority(mut diagnosed: Vec<(&Issue, Vec<Cause>)>) -> Vec<(&Issue, Vec<Cause>)> {
    let mut urgency: BTreeMap<ResourceId, (Reverse<Severity>, Time)> = BTreeMap::new();
    for (issue, causes) in &diagnosed {
        let this = (Reverse(issue.severity), issue.detected_at);
        let worst = urgency.entry(place(issue, causes).clone()).or_insert(this);
        *worst = this.min(*worst);
    }
    diagnosed.sort_by_cached_key(|(issue, causes)| {
        let place = place(issue, causes);
        let elsewhere = *place != issue.resource;
        (urgency[place], place.clone(), elsewhere, Reverse(issue.severity), issue.detected_at)
    });
    diagnosed
}

/// The issue that a burning budget, or an alert, leaves the repair to: an open one of the same cause, or at the same place, that says
/// itself what is wrong. A budget burns on after the repair, while its windows empty; it must not bring a second one.
pub fn told_directly<'a>(
    issue: &Issue,
    causes: &[Cause],
    diagnosed: &'a [(&'a Issue, Vec<Cause>)],
) -> Option<&'a Issue> {
    if !says_symptom(issue.kind) {
        return None;
    }
    let cause = place(issue, causes);
    let same = |(other, others): &&(&Issue, Vec<Cause>)| {
        let there = place(other, others);
        there == cause
            || other.resource == *cause
            || (there.service().is_some() && there.service() == cause.service())
    };
    diagnosed.iter().filter(|(other, _)| !says_symptom(other.kind)).find(same).map(|(other, _)| *other)
}

/// Whether a type says that users are hurt, or that somebody wants to know, and not what is wrong. It outlasts the repair.
fn says_symptom(kind: IssueKind) -> bool {
    matches!(kind, IssueKind::SloBurn | IssueKind::Alert)
}

/// Where the likeliest cause is; the issue's own resource as long as none is known.
fn place<'a>(issue: &'a Issue, causes: &'a [Cause]) -> &'a ResourceId {
    causes.first().map_or(&issue.resource, |cause| &cause.resource)
}

#[cfg(test)]
mod tests;
