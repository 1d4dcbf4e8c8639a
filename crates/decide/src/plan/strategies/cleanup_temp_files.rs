//! cleanup_temp_files: remove files older than 7 days from the declared place of temporary files. Cannot be
//! taken back; policy names it by default.

use std::time::Duration;

use domain::{Action, FileClass, Reason};

use super::{Case, Draft, Unsuited, Volume};

const AGE: Duration = Duration::from_secs(7 * 86_400);

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, state, volume) = Volume::of(case)?;
    let frees = state.usage.disk_temporary_old.ok_or_else(|| case.unknown("old temporary files"))?;
    volume.worth(frees, case.need.reason == Reason::TemporaryFiles, &case.need.at)?;
    let summary =
        format!("remove temporary files older than 7 days of {instance}, because of {}", case.why());
    let effect = format!("about {frees} of {} become free", volume.size);
    let action = Action::RemoveFiles { instance, class: FileClass::Temporary, older_than: AGE };
    Ok(case.draft(vec![action], summary, effect))
}
