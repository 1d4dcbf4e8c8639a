//! restart_pod: kill the process in a slot and start another. For what crashed or hangs; a hung process
//! would not drain. Its volume is kept.

use domain::{Action, StopManner};

use super::{Case, Draft, Unsuited};

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, _) = case.instance()?;
    let summary = format!("kill and restart {instance}, because of {}", case.why());
    let effect = format!("{instance} is ready again with a new process; requests it holds now fail");
    let action = Action::RestartInstance { instance, manner: StopManner::Kill };
    Ok(case.draft(vec![action], summary, effect))
}
