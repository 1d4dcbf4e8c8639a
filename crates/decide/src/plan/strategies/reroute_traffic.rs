//! reroute_traffic: take the one bad instance out of a link's balancing, as the caller sees it. The
//! instance itself is not mended; it comes back when the plan is lifted.

use std::time::Duration;

use domain::snapshot::BackendState;
use domain::{Action, InstanceName, LinkName, LinkState, ResourceId, Strategy};

use super::{Case, Draft, Unsuited};
use crate::plan::need::bad_backends;

/// Lifted by itself after this long even if nobody saw the instance well again: half the capacity of a
/// service is not given away for ever.
const LIFT_AFTER: Duration = Duration::from_secs(30 * 60);

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let links = case.links()?;
    let mut actions = Vec::new();
    for (name, link) in &links {
        let instance = bad_backend(case, name, link)?;
        actions.push(Action::EjectBackend { link: (*name).clone(), instance });
    }
    let out = actions.iter().map(|action| match action {
        Action::EjectBackend { link, instance } => format!("{instance} out of {link}"),
        other => other.resource().to_string(),
    });
    let out = out.collect::<Vec<_>>().join(", ");
    let summary = format!("take {out}, because of {}", case.why());
    let effect = "the caller's requests go to the instances that are well".to_owned();
    let mut draft = case.draft(actions, summary, effect);
    draft.lift_after = Some(LIFT_AFTER);
    Ok(draft)
}

/// The instance behind the link that is bad and not yet taken out by a plan of ours; where the cause names
/// one, that one. The proxy may have ejected it by itself meanwhile; that does not last.
fn bad_backend(case: &Case<'_>, name: &LinkName, link: &LinkState) -> Result<InstanceName, Unsuited> {
    let named = case.cause.resource.instance();
    let in_trouble = bad_backends(name, case.ctx.snapshot, case.ctx.thresholds);
    let bad: Vec<_> = link
        .backends
        .iter()
        .filter(|(instance, _)| Some(*instance) == named || in_trouble.contains(*instance))
        .collect();
    let worst = bad
        .iter()
        .filter(|(instance, _)| !taken_out(case, name, instance))
        .filter(|(instance, _)| named.is_none_or(|named| named == *instance))
        .max_by(|a, b| badness(a.1).total_cmp(&badness(b.1)))
        .map(|(instance, _)| (*instance).clone())
        .ok_or_else(|| Unsuited::NoBadBackend(name.clone()))?;
    let other_is_well = link.backends.iter().any(|(instance, backend)| {
        *instance != worst && !backend.ejected && !bad.iter().any(|(bad, _)| *bad == instance)
    });
    if other_is_well { Ok(worst) } else { Err(Unsuited::NoOtherBackend(name.clone())) }
}

/// Failing counts more than slow: a share of errors is worth ten seconds, a failed health check one more.
fn badness(backend: &BackendState) -> f64 {
    let errors = backend.recent.error_ratio().unwrap_or(0.0);
    let slow_ms =
        backend.recent.p95_ms.unwrap_or(0.0).max(backend.path_check.map_or(0.0, |d| d.as_secs_f64() * 1e3));
    errors * 10_000.0 + f64::from(backend.path_check_failures.min(10)) * 1000.0 + slow_ms
}

fn taken_out(case: &Case<'_>, link: &LinkName, instance: &InstanceName) -> bool {
    let targets = [ResourceId::Link(link.clone()), ResourceId::Instance(instance.clone())];
    case.ctx.history.records().iter().any(|record| {
        record.strategy == Strategy::RerouteTraffic
            && (record.under_way() || record.in_force(case.ctx.now))
            && targets.iter().all(|target| record.targets.contains(target))
    })
}
