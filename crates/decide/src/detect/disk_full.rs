//! `disk_full`: a volume is filled beyond its threshold, or will be soon as it fills up.
//!
//! The reason names the class of files whose removal frees most: old temporary files, logs, cached files;
//! otherwise the service's own data, which no repair removes.

use domain::snapshot::Usage;
use domain::{Bytes, IssueKind, Percent, Reason, ResourceId};

use super::forecast::forecast;
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
    let foretold = forecast(used, size.0 as f64 * view.thresholds.disk.ratio(), usage.disk_growth);
    let is = format!("the volume of {name} is {share:.1} % full, {used} of {size}");
    let is = match foretold {
        Some(foretold) => format!("{is}, and will be {threshold:.0} % full {}", foretold.words()),
        None if share > threshold => format!("{is} (limit {threshold:.0} %)"),
        None => return Verdict::Healthy,
    };
    let (reason, held) = fills(&usage, size);
    let holds = match reason {
        Reason::TemporaryFiles => format!("temporary files older than 7 days hold {held}"),
        Reason::Logs => format!("log files hold {held}"),
        Reason::Cache => format!("cached files hold {held}"),
        _ => "the service's own data holds most of it".to_owned(),
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
    let urgency = foretold.map_or(Urgency::Now, |foretold| foretold.urgency());
    values.extend(foretold.map(|foretold| foretold.metrics()).unwrap_or_default());
    Measured {
        kind: IssueKind::DiskFull,
        reason,
        excess: share_excess(share, threshold).max(0.0),
        urgency,
        description: format!("{is}; {holds}"),
        metrics: values,
    }
    .unhealthy(resource, view.snapshot)
}

/// The kind of files of a volume of `size` whose removal frees most, and how much they hold; data, and
/// nothing, where none is worth removing.
pub(crate) fn fills(usage: &Usage, size: Bytes) -> (Reason, Bytes) {
    [
        (Reason::TemporaryFiles, usage.disk_temporary_old),
        (Reason::Logs, usage.disk_logs),
        (Reason::Cache, usage.disk_cache),
    ]
    .into_iter()
    .filter_map(|(reason, held)| Some((reason, held?)))
    .filter(|(_, held)| held.0 as f64 >= RECLAIMABLE_MIN * size.0 as f64)
    .max_by_key(|(_, held)| *held)
    .unwrap_or((Reason::Data, Bytes(0)))
}
