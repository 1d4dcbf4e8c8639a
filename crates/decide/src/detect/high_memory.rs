//! `high_memory`: an instance uses more than its share of its memory limit, or will soon as its memory grows.
//!
//! Beyond 100 % the instance is killed; that is `pod_crash` with reason out of memory.

use domain::{IssueKind, Percent, Reason, ResourceId};

use super::forecast::forecast;
use super::severity::Urgency;
use super::{Measured, Verdict, View, metrics, share_excess, traffic};

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let Some((name, state)) = traffic::running(resource, view.snapshot) else { return Verdict::Unknown };
    let limit = view.snapshot.services.get(&name.service).and_then(|service| service.limits.memory);
    let (Some(used), Some(limit)) = (state.usage.memory, limit) else { return Verdict::Unknown };
    let Some(Percent(share)) = Percent::of(used.0 as f64, limit.0 as f64) else { return Verdict::Unknown };
    let threshold = view.thresholds.memory.0;
    let foretold = forecast(used, limit.0 as f64 * view.thresholds.memory.ratio(), state.usage.memory_growth);
    let uses = format!("{name} uses {used}, {share:.0} % of its memory limit of {limit}");
    let description = match foretold {
        Some(foretold) => format!("{uses}, and will use {threshold:.0} % {}", foretold.words()),
        None if share > threshold => format!("{uses} (limit {threshold:.0} %)"),
        None => return Verdict::Healthy,
    };
    let mut values =
        metrics([("threshold", threshold), ("memory_percent", share), ("memory_bytes", used.0 as f64)]);
    let urgency = foretold.map_or(Urgency::Now, |foretold| foretold.urgency());
    values.extend(foretold.map(|foretold| foretold.metrics()).unwrap_or_default());
    Measured {
        kind: IssueKind::HighMemory,
        reason: Reason::Unspecified,
        excess: share_excess(share, threshold).max(0.0),
        urgency,
        description,
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}
