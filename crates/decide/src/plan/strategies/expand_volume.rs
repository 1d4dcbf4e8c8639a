//! expand_volume: + 20 %, online, as often as it takes until the volume is 5 points under its threshold:
//! right under it the next write would raise the issue again.

use domain::{Action, Bytes, Percent};

use super::{Case, Draft, Unsuited, Volume};

const GROWTH: Percent = Percent(20.0);
const MARGIN: f64 = 0.05;
/// 1.2^8 is 4.3 times the size; what needs more is no matter of growing a little.
const STEPS_MAX: u32 = 8;

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, _, volume) = Volume::of(case)?;
    if let Some(why) = case.ctx.capabilities.volumes.unavailable() {
        return Err(Unsuited::CapabilityMissing(why.to_owned()));
    }
    let share = (volume.threshold.ratio() - MARGIN).max(MARGIN);
    let fits = |size: &Bytes| (volume.used.0 as f64) < size.0 as f64 * share;
    let sizes = std::iter::successors(Some(volume.size.grown_by(GROWTH)), |size| Some(size.grown_by(GROWTH)));
    let size = sizes
        .take(STEPS_MAX as usize)
        .find(fits)
        .ok_or_else(|| Unsuited::AtMaximum(format!("{STEPS_MAX} growths of 20 % at once")))?;
    let summary =
        format!("grow the volume of {instance} from {} to {size}, because of {}", volume.size, case.why());
    let effect = format!("the {} in use fit in it with room to spare", volume.used);
    Ok(case.draft(vec![Action::ResizeVolume { instance, size }], summary, effect))
}
