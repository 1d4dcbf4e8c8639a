//! scale_replicas: one instance more for a time (`lifting.scale_back`, 30 min by default), so that users are
//! served while one instance does not recover. It does not mend that instance, so it is verified where users
//! feel it: at the callers.

use domain::units::show_duration;
use domain::{Action, IssueKind};

use super::{Case, Draft, Unsuited, can_scale};

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (name, service) = case.service()?;
    can_scale(name, service)?;
    let replicas = service.replicas + 1;
    let back_after = case.ctx.policy.lifting.scale_back;
    let summary = format!(
        "scale {name} to {replicas} instances for {}, because of {}",
        show_duration(back_after),
        case.why()
    );
    let effect = format!("{name} has its capacity back while the failing instance is away");
    let action = Action::SetReplicas { service: name.clone(), replicas };
    let mut draft = case.draft(vec![action], summary, effect);
    draft.verify = case.callers_signal(name, IssueKind::ErrorRate);
    draft.lift_after = Some(back_after);
    Ok(draft)
}
