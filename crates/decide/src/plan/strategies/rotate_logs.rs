//! rotate_logs: compress the log files of a volume and let the service begin new ones.

use domain::{Action, Bytes, Reason};

use super::{Case, Draft, Unsuited, Volume};

/// Share of its size a log file loses by compression, counted low: text loses 80 to 95 %.
const FREED: f64 = 0.7;

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, state, volume) = Volume::of(case)?;
    let logs = state.usage.disk_logs.ok_or_else(|| case.unknown("the size of the logs"))?;
    let frees = Bytes((logs.0 as f64 * FREED) as u64);
    volume.worth(frees, case.need.reason == Reason::Logs, &case.need.at)?;
    let summary = format!("rotate and compress the logs of {instance}, because of {}", case.why());
    let effect = format!("about {frees} of {} become free", volume.size);
    Ok(case.draft(vec![Action::RotateLogs { instance }], summary, effect))
}
