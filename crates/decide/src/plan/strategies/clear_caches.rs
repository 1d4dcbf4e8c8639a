//! clear_caches: by the service's own hook where it declares one; else its cached files are removed, which
//! cannot be taken back and so needs an approval unless policy names it.

use std::time::Duration;

use domain::{Action, FileClass, Reason};

use super::{Case, Draft, Unsuited, Volume};

/// Cached files are all dispensable; but one that is being written now is left alone.
const AGE: Duration = Duration::from_secs(1);

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, state, volume) = Volume::of(case)?;
    let (_, service) = case.service()?;
    let frees = state.usage.disk_cache.ok_or_else(|| case.unknown("the size of the cache"))?;
    volume.worth(frees, case.need.reason == Reason::Cache, &case.need.at)?;
    let summary = format!("clear the caches of {instance}, because of {}", case.why());
    let effect = format!("about {frees} of {} become free; the cache fills again", volume.size);
    let action = if service.can_clear_caches {
        Action::ClearCaches { instance }
    } else {
        Action::RemoveFiles { instance, class: FileClass::Cache, older_than: AGE }
    };
    Ok(case.draft(vec![action], summary, effect))
}
