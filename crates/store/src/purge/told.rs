//! A purge in words, for the audit trail.

use std::time::Duration;

use domain::units::show_duration;

use super::{PurgeEnd, PurgeId, PurgeMode, RecordKind};
use crate::retention::Pruned;

/// What was removed or would be, for the audit trail: one sentence.
pub fn purge_told(age: Duration, kinds: &[RecordKind], mode: PurgeMode, pruned: Pruned) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let done = match mode {
        PurgeMode::DryRun => "would go",
        PurgeMode::Remove => "removed",
    };
    let counted = [
        (pruned.issues, "issues"),
        (pruned.plans, "plans"),
        (pruned.experiments, "experiments"),
        (pruned.deployments, "deployments"),
        (pruned.events, "events"),
        (pruned.items, "configuration items"),
        (pruned.changes, "versions of configuration items"),
        (pruned.health_scores, "health scores"),
        (pruned.traces, "archived traces"),
    ];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    let counted = if counted.is_empty() { "nothing".to_owned() } else { counted.join(", ") };
    format!("{} older than {}: {counted} {done}", kinds.join(", "), show_duration(age))
}

/// Which purge a record of the audit trail is about, and how it ended: one sentence, that begins with
/// [`PurgeId::named`].
pub fn purge_ended(id: PurgeId, end: &PurgeEnd) -> String {
    let named = id.named();
    match end {
        PurgeEnd::Whole => named,
        PurgeEnd::Stopped => format!("{named}; it was stopped, more is left"),
        PurgeEnd::Failed(error) => format!("{named}; it ended half-way: {error}"),
    }
}
