//! increase_cpu_limit: + 50 %, watched five times as long as other repairs (5 min by default) by its
//! verification, and taken back if it is no better then.

use domain::{Action, Cores};

use super::{Case, Draft, Unsuited};

const GROWTH: f64 = 1.5;
const HOLD_FACTOR: u32 = 5;

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (name, service) = case.service()?;
    if let Some(why) = case.ctx.capabilities.cpu_limit.unavailable() {
        return Err(Unsuited::CapabilityMissing(why.to_owned()));
    }
    let Cores(now) = service.limits.cpu.ok_or_else(|| Unsuited::NoLimit(name.clone()))?;
    let limit = Cores(now * GROWTH);
    let summary =
        format!("raise the CPU limit of {name} from {} to {limit}, because of {}", Cores(now), case.why());
    let effect = format!("{name} gets half as much processor again; undone if its use stays out of bounds");
    let action = Action::SetCpuLimit { service: name.clone(), limit };
    let mut draft = case.draft(vec![action], summary, effect);
    draft.verify.hold = draft.verify.hold.saturating_mul(HOLD_FACTOR);
    Ok(draft)
}
