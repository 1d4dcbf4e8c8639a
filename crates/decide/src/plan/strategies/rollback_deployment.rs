//! rollback_deployment: run what was run before the deployment that made it worse. Taking the rollback back deploys
//! it again.

use domain::{Action, CauseClass, ServiceName};

use super::{Case, Draft, Unsuited};
use crate::plan::steps::rollout;

pub(super) fn propose(case: &Case<'_>) -> Result<Draft, Unsuited> {
    let (name, state) = case.service()?;
    if case.cause.class != CauseClass::BadDeployment {
        return Err(case.unknown("a deployment that is the cause"));
    }
    let mut of_service =
        case.ctx.snapshot.deployments.iter().filter(|lately| lately.deployment.service == *name);
    let last = &of_service.next_back().ok_or_else(|| case.unknown("the deployment"))?.deployment;
    let former = last.former.clone().ok_or_else(|| Unsuited::FormerUnknown(name.clone()))?;
    let summary = format!(
        "run {} again in place of {}, because of {}",
        called(name, former.version.as_deref()),
        called(name, last.version.as_deref()),
        case.why()
    );
    let effect = format!("{name} answers as it did before the deployment");
    let action = Action::Deploy { service: name.clone(), release: Box::new(former) };
    let mut draft = case.draft(vec![action.clone()], summary, effect);
    draft.steps = vec![rollout(action, state.replicas)];
    Ok(draft)
}

fn called(service: &ServiceName, version: Option<&str>) -> String {
    version
        .map_or_else(|| format!("the unnamed release of {service}"), |version| format!("{service} {version}"))
}
