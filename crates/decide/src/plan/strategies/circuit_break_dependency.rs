//! circuit_break_dependency: answer at once with 503 instead of calling, so that the caller degrades. It
//! mends nothing, so it mitigates; it is lifted when the callee is seen well through the path's health
//! checks, and after 10 min in any case, to look again.
//!
//! Verified one link further up: on the opened link itself nothing passes any more, which would prove
//! nothing; what counts is that those who call the caller are served.

use std::time::Duration;

use domain::{Action, LinkName};

use super::{Case, Draft, Unsuited};

const LIFT_AFTER: Duration = Duration::from_secs(10 * 60);

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let links: Vec<&LinkName> = case.links()?.into_iter().map(|(name, _)| name).collect();
    let Some(link) = links.iter().find(|link| serves(case, link)) else {
        return Err(links.first().map_or_else(
            || Unsuited::NoCaller(case.need.at.clone()),
            |link| Unsuited::CallerServesNobody((*link).clone()),
        ));
    };
    let verify = case.callers_signal(&link.from, case.issue.kind);
    let opened: Vec<_> = links.into_iter().filter(|link| serves(case, link)).cloned().collect();
    let names = opened.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let summary = format!("open the breaker of {names}, because of {}", case.why());
    let effect =
        "the caller answers at once without the missing part; lifted when the callee is well".to_owned();
    let actions = opened.into_iter().map(|link| Action::OpenBreaker { link }).collect();
    let mut draft = case.draft(actions, summary, effect);
    draft.verify = verify;
    draft.lift_after = Some(LIFT_AFTER);
    Ok(draft)
}

/// Whether the caller listens, and so has somebody to give a degraded answer to. What listens nowhere (a
/// load generator, a batch job) is a user itself: refusing its calls at once helps nobody.
fn serves(case: &Case<'_>, link: &LinkName) -> bool {
    let caller = case.ctx.snapshot.services.get(&link.from);
    caller.is_some_and(|service| service.instances.values().any(|instance| instance.port.is_some()))
}
