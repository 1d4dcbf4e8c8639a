//! `high_memory`: an instance uses more than its share of its memory limit.
//!
//! Beyond 100 % the instance is killed; that is `pod_crash` with reason out of memory.

use domain::{IssueKind, Percent, Reason, ResourceId};

use super::severity::Urgency;
use super::{Measured, Verdict, View, metrics, share_excess, traffic};

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some((name, state)) = traffic::running(resource, view.snapshot) else { return Verdict::Unknown };
    let limit = view.snapshot.services.get(&name.service).and_then(|service| service.limits.memory);
    let (Some(used), Some(limit)) = (state.usage.memory, limit) else { return Verdict::Unknown };
    let Some(Percent(share)) = Percent::of(used.0 as f64, limit.0 as f64) else { return Verdict::Unknown };
    let threshold = view.thresholds.memory.0;
    if share <= threshold {
        return Verdict::Healthy;
    }
    Measured {
        kind: IssueKind::HighMemory,
        reason: Reason::Unspecified,
        excess: share_excess(share, threshold),
        urgency: Urgency::Now,
        description: format!(
            "{name} uses {used}, {share:.0} % of its memory limit of {limit} (limit {threshold:.0} %)"
        ),
        metrics: metrics([
            ("threshold", threshold),
            ("memory_percent", share),
            ("memory_bytes", used.0 as f64),
        ]),
    }
    .unhealthy(resource, view.snapshot)
}
