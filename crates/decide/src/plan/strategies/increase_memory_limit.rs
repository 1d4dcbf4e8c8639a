//! increase_memory_limit: after an OOM + 512 MiB, but never more than double, so that a service declared
//! with 64 MiB does not take the machine's memory from others; for high use + 50 %.

use domain::{Action, Bytes, IssueKind, Percent};

use super::{Case, Draft, Unsuited};

const AFTER_OOM: Bytes = Bytes::mib(512);
const FOR_HIGH_USE: Percent = Percent(50.0);

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (name, service) = case.service()?;
    if let Some(why) = case.ctx.capabilities.memory_limit.unavailable() {
        return Err(Unsuited::CapabilityMissing(why.to_owned()));
    }
    let now = service.limits.memory.ok_or_else(|| Unsuited::NoLimit(name.clone()))?;
    let limit = if case.need.kind == IssueKind::PodCrash {
        Bytes(now.0.saturating_add(AFTER_OOM.0.min(now.0)))
    } else {
        now.grown_by(FOR_HIGH_USE)
    };
    let summary =
        format!("raise the memory limit of {name} from {now} to {limit}, because of {}", case.why());
    let effect = format!("{name} has room for what it holds; a leak would show as use that goes on growing");
    let action = Action::SetMemoryLimit { service: name.clone(), limit };
    Ok(case.draft(vec![action], summary, effect))
}
