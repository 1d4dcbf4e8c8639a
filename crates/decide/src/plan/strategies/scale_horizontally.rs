//! scale_horizontally: one to three instances more, by load, for a time (`lifting.scale_back`, 30 min by
//! default); what still needs them then is scaled again.
//!
//! As many as bring the mean use down to 60 % of the CPU limit: 25 points under the threshold of 85 %, so
//! that the next instance to fail does not push the others over it. An instance that is at its limit shows no
//! more than that, whatever it would need, and a rush may still grow: where a first number was not enough, the
//! second is the most.

use domain::units::show_duration;
use domain::{Action, Cores, ServiceName, Strategy};

use super::{Case, Draft, REPLICAS_MAX, Unsuited, can_scale};

/// Share of the limit that is aimed at.
const TARGET: f64 = 0.60;
/// Most instances added by one plan (H3).
const ADD_MAX: u32 = 3;

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (name, service) = case.service()?;
    can_scale(name, service)?;
    let used: f64 = service.instances.values().filter_map(|state| state.usage.cpu).map(|cores| cores.0).sum();
    let add = match service.limits.cpu {
        _ if was_too_few(case, name) => ADD_MAX,
        Some(Cores(limit)) if limit > 0.0 => {
            let wanted = (used / (limit * TARGET)).ceil() as u32;
            wanted.saturating_sub(service.replicas).clamp(1, ADD_MAX)
        }
        _ => 1,
    };
    let replicas = (service.replicas + add).min(REPLICAS_MAX);
    let back_after = case.ctx.policy.lifting.scale_back;
    let summary = format!(
        "scale {name} from {} to {replicas} instances for {}, because of {}",
        service.replicas,
        show_duration(back_after),
        case.why()
    );
    let effect = format!("the {used:.2} cores {name} uses are spread over {replicas} instances");
    let action = Action::SetReplicas { service: name.clone(), replicas };
    let mut draft = case.draft(vec![action], summary, effect);
    draft.lift_after = Some(back_after);
    Ok(draft)
}

/// Whether scaling the service for this need did not heal, a moment ago.
fn was_too_few(case: &Case<'_>, name: &ServiceName) -> bool {
    let window = case.ctx.policy.limits.recurrence_window;
    let mut tries = case.ctx.history.within(window, case.ctx.now);
    tries
        .any(|record| record.strategy == Strategy::ScaleHorizontally && record.failed() && record.is_on(name))
}
