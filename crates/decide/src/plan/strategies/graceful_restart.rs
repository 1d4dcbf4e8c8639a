//! graceful_restart: drain, stop, start. Ends what lives inside an instance (a runaway worker, a leak)
//! without failing a request. The process's caches end with it, so they need no step of their own, which
//! could fail on an instance that is short of memory.

use domain::{Action, StopManner};

use super::{Case, Draft, Unsuited};

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (instance, _) = case.instance()?;
    let (_, service) = case.service()?;
    let summary = format!("drain and restart {instance}, because of {}", case.why());
    let effect = if service.can_drain {
        format!("{instance} finishes its requests and starts afresh")
    } else {
        format!("{instance} gets no new requests, is stopped with SIGTERM and starts afresh")
    };
    let action = Action::RestartInstance { instance, manner: StopManner::Drain };
    Ok(case.draft(vec![action], summary, effect))
}
