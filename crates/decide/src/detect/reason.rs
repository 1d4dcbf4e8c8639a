//! When the stated reason of an open issue changes.
//!
//! In: the issue as it stands and what was found now. Out: which of the two is believed. A repair is planned
//! by the reason, so it must not follow every look: where a breaker is open or requests are throttled, health
//! checks pass and fail in turn, and each look names another part of the link.
//!
//! For `network_latency` and `error_rate`:
//!
//! - A look that tells no part (`unspecified`) changes nothing that was told before.
//! - What was told from requests is not changed by what health checks say.
//! - On better evidence, or on equal evidence that tells more, the new reason is taken at once. Old
//!   connections tell more than all instances, and all more than one: windows of requests reach back to
//!   before the trouble, so that at its beginning some still look well.
//! - On equal evidence that tells less it is taken once nothing else was seen for [`RESTATED_AFTER`], longer
//!   than a window of requests.
//!
//! Load that stays remains the reason of `high_cpu`.
//!
//! The sentence goes with the reason. Other types always take the latest reason: it is what happened last.
//! The evidence and since when the reason is contradicted are kept in the issue's metrics (`reason_evidence`:
//! 1 health checks, 2 requests; `reason_doubted_s`, on the boot clock).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Issue, IssueKind, Reason, Time};

use super::traffic::Evidence;
use super::{Finding, high_cpu};

/// How long equal evidence has to contradict a reason without a break.
const RESTATED_AFTER: Duration = Duration::from_secs(5);

/// The metric a finding states its evidence by.
pub(super) fn stated_from(evidence: Evidence) -> (&'static str, f64) {
    let value = match evidence {
        Evidence::None => 0.0,
        Evidence::Checks => 1.0,
        Evidence::Requests => 2.0,
    };
    (Issue::REASON_EVIDENCE, value)
}

/// The reason, sentence and metrics of an open issue after it was seen again.
pub(super) fn restated(
    issue: &Issue,
    finding: &Finding,
    now: Time,
) -> (Reason, String, BTreeMap<String, f64>) {
    let mut metrics = finding.metrics.clone();
    let taken = (finding.reason, finding.description.clone());
    if issue.kind == IssueKind::HighCpu {
        return (high_cpu::again(issue.reason, finding), taken.1, metrics);
    }
    let (Some(&stated), Some(&seen)) =
        (issue.metrics.get(Issue::REASON_EVIDENCE), finding.metrics.get(Issue::REASON_EVIDENCE))
    else {
        return (taken.0, taken.1, metrics);
    };
    if issue.reason == finding.reason {
        metrics.insert(Issue::REASON_EVIDENCE.to_owned(), stated.max(seen));
        return (taken.0, taken.1, metrics);
    }
    let stronger = (seen, tells(finding.reason)) > (stated, tells(issue.reason));
    if stronger {
        return (taken.0, taken.1, metrics);
    }
    let contradicts = seen >= stated && finding.reason != Reason::Unspecified;
    let since = doubted_since(issue, now).or(contradicts.then_some(now));
    if contradicts && since.is_some_and(|since| now.since(since) >= RESTATED_AFTER) {
        return (taken.0, taken.1, metrics);
    }
    metrics.insert(Issue::REASON_EVIDENCE.to_owned(), stated);
    metrics.extend(since.map(|since| (Issue::REASON_DOUBTED.to_owned(), since.boot_us as f64 / 1e6)));
    (issue.reason, issue.description.clone(), metrics)
}

/// How much a reason tells; see the module's text.
fn tells(reason: Reason) -> u8 {
    match reason {
        Reason::OneBackend => 1,
        Reason::AllBackends => 2,
        Reason::StaleConnections => 3,
        _ => 0,
    }
}

/// Since when the reason is contradicted; `None` where it is not, or that was noted on the clock of an earlier
/// boot.
fn doubted_since(issue: &Issue, now: Time) -> Option<Time> {
    let noted_us = (issue.metrics.get(Issue::REASON_DOUBTED)? * 1e6).round() as u64;
    let age_us = now.boot_us.checked_sub(noted_us)?;
    Some(now.minus(Duration::from_micros(age_us)))
}
