//! `disk_full`: a volume is filled beyond its threshold.
//!
//! The reason names the class of files whose removal frees most: old temporary files, logs, cached files;
//! otherwise the service's own data, which no repair removes.

use domain::{Bytes, IssueKind, Percent, Reason, ResourceId};

use super::severity::Urgency;
use super::{Measured, Verdict, View, metrics, share_excess};

/// A class is worth removing when it holds at least this share of the volume. With less, the volume would
/// be back at its threshold after a short while of ordinary writing.
const RECLAIMABLE_MIN: f64 = 0.10;

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let ResourceId::Volume(name) = resource else { return Verdict::Unknown };
    // Files stay while no process runs, so the phase of the instance does not matter here.
    let Some(usage) = view.snapshot.instance(name).map(|state| state.usage) else { return Verdict::Unknown };
    let (Some(used), Some(size)) = (usage.disk_used, usage.disk_size) else { return Verdict::Unknown };
    let Some(Percent(share)) = Percent::of(used.0 as f64, size.0 as f64) else { return Verdict::Unknown };
    let threshold = view.thresholds.disk.0;
    if share <= threshold {
        return Verdict::Healthy;
    }
    let classes = [
        (Reason::TemporaryFiles, "temporary files older than 7 days", usage.disk_temporary_old),
        (Reason::Logs, "log files", usage.disk_logs),
        (Reason::Cache, "cached files", usage.disk_cache),
    ];
    let most = classes
        .iter()
        .filter_map(|(reason, words, held)| Some((*reason, *words, (*held)?)))
        .filter(|(_, _, held)| held.0 as f64 >= RECLAIMABLE_MIN * size.0 as f64)
        .max_by_key(|(_, _, held)| *held);
    let (reason, holds) = match most {
        Some((reason, words, held)) => (reason, format!("{words} hold {held}")),
        None => (Reason::Data, "the service's own data holds most of it".to_owned()),
    };
    let bytes = |held: Option<Bytes>| held.map(|held| held.0 as f64);
    let mut values = metrics([
        ("threshold", threshold),
        ("disk_percent", share),
        ("disk_used_bytes", used.0 as f64),
        ("disk_size_bytes", size.0 as f64),
    ]);
    for (key, held) in [
        ("disk_temporary_old_bytes", usage.disk_temporary_old),
        ("disk_logs_bytes", usage.disk_logs),
        ("disk_cache_bytes", usage.disk_cache),
    ] {
        values.extend(bytes(held).map(|held| (key.to_owned(), held)));
    }
    Measured {
        kind: IssueKind::DiskFull,
        reason,
        excess: share_excess(share, threshold),
        urgency: Urgency::Now,
        description: format!(
            "the volume of {name} is {share:.1} % full, {used} of {size} (limit {threshold:.0} %); {holds}"
        ),
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}
