//! From what a person or an experiment asks for to a plan.
//!
//! In: a fault, or actions a person named. Out: a plan for the guard to rule on, or every refusal at once.
//! What can never be done is refused here, by name and before anything is touched; what may not be done
//! now is the guard's to say.

use domain::{
    Action, Actor, Attachment, Capabilities, Enforcement, ExperimentId, Fault, FaultKind, InstanceName,
    Intent, LinkName, PathScope, Plan, PlanId, Release, ResourceId, ServiceName, ServiceState, Snapshot,
    Step, Time, UpWhen,
};

use super::check::{services_of, touched};
use super::need::exists;
use super::policy::Policy;
use super::steps::{rollout, step};

/// What planning reads beside the request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What was seen.
    pub snapshot: &'a Snapshot,
    /// What the provider can do.
    pub capabilities: &'a Capabilities,
    /// Protected services.
    pub policy: &'a Policy,
    /// The id the plan gets.
    pub id: PlanId,
    /// Now.
    pub now: Time,
}

/// Why a request can never become a plan as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A field of the fault.
    #[error("{field} {message}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// The target was not seen.
    #[error("there is no {0}; `homeostat status` lists what there is")]
    UnknownTarget(ResourceId),
    /// The instance is not one behind the link.
    #[error("{instance} is not behind {link}; name an instance of {}", link.to)]
    NotBehind {
        /// Which instance.
        instance: InstanceName,
        /// Which link.
        link: LinkName,
    },
    /// The provider cannot do it here.
    #[error("{what} cannot be done here: {why}")]
    CapabilityMissing {
        /// What was asked.
        what: &'static str,
        /// Why not, and what would change that.
        why: String,
    },
    /// The service lacks what the request is about.
    #[error("{service} declares no {what}; declare one in its Infrastructure file")]
    NotDeclared {
        /// Which service.
        service: ServiceName,
        /// What is missing.
        what: &'static str,
    },
    /// The service is protected from faults.
    #[error("{0} is protected from faults; take it off `protected` first")]
    Protected(ServiceName),
    /// The service is labelled hands-off.
    #[error("{0} is labelled hands-off; take the label off first")]
    HandsOff(ServiceName),
    /// A version that is no name of one.
    #[error("{0}")]
    Version(String),
    /// It runs that already.
    #[error("{0} runs exactly that already; nothing would change")]
    RunsAlready(ServiceName),
    /// It is being given something else just now.
    #[error("a rollout of {0} is under way; wait until it is over")]
    RollingOut(ServiceName),
    /// Something is up already.
    #[error("{0} is up already and one Infrastructure is kept at a time; take it down first")]
    IsUp(ServiceName),
    /// An Infrastructure that cannot be brought up as it is declared.
    #[error("{field}: {message}")]
    Violated {
        /// Which field.
        field: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// Nothing was asked for.
    #[error("nothing was asked for; name at least one action")]
    Nothing,
    /// A fault came in as an operation.
    #[error("a fault is no operation; inject it as an experiment")]
    FaultAsOperation,
}

/// Plans one fault.
///
/// # Errors
///
/// Every reason why it cannot be injected there.
pub fn plan_fault(
    fault: &Fault,
    experiment: ExperimentId,
    requested_by: Actor,
    request: &Request<'_>,
) -> Result<Plan, Vec<Refusal>> {
    let mut refused: Vec<_> =
        fault.check().into_iter().map(|(field, message)| Refusal::OutOfRange { field, message }).collect();
    let action = Action::Inject(fault.clone());
    check_targets(&action, request, &mut refused);
    check_backend(fault, &mut refused);
    check_capability(fault, request, &mut refused);
    check_declared(fault, request, &mut refused);
    if let Some(service) = fault.target.service()
        && (request.policy.chaos.protected_services.contains(service)
            || request.snapshot.services.get(service).is_some_and(|state| state.protected))
    {
        refused.push(Refusal::Protected(service.clone()));
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let seconds = fault.duration.as_secs_f64();
    let summary = if fault.kind.is_instant() {
        format!("inject {} into {}", fault.kind, fault.target)
    } else {
        format!("inject {} into {} for at most {seconds} s", fault.kind, fault.target)
    };
    let expected_effect =
        format!("{} is disturbed and found, repaired and verified by the loop", fault.target);
    Ok(assemble(
        vec![action],
        Intent::Experiment { experiment },
        requested_by,
        summary,
        expected_effect,
        request,
    ))
}

/// Plans what a person asked for, in their words.
///
/// # Errors
///
/// Every reason why one of the actions cannot be done.
pub fn plan_operation(
    actions: Vec<Action>,
    why: String,
    requested_by: Actor,
    request: &Request<'_>,
) -> Result<Plan, Vec<Refusal>> {
    let mut refused = Vec::new();
    if actions.is_empty() {
        refused.push(Refusal::Nothing);
    }
    for action in &actions {
        if matches!(action, Action::Inject(_)) {
            refused.push(Refusal::FaultAsOperation);
        }
        check_targets(action, request, &mut refused);
        check_operation(action, request, &mut refused);
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let named: Vec<_> = actions.iter().map(|action| action.resource().to_string()).collect();
    let summary = format!("change {} on request: {why}", named.join(", "));
    let expected_effect = effect(&actions);
    Ok(assemble(actions, Intent::Operation { why }, requested_by, summary, expected_effect, request))
}

/// What is expected to come of actions that were asked for.
fn effect(actions: &[Action]) -> String {
    match actions {
        [Action::BringUp { infrastructure, up_when }] => {
            let instances: u32 = infrastructure.services.values().map(|spec| spec.replicas).sum();
            let services = infrastructure.services.len();
            match up_when {
                UpWhen::Ready => format!(
                    "{instances} instances of {services} services run and are ready; if not, none of them stay"
                ),
                UpWhen::Started => format!(
                    "{instances} instances of {services} services are started; what does not become ready is repaired"
                ),
            }
        }
        [Action::TakeDown { .. }] => {
            "nothing of it runs any more, and its volumes are removed with what is in \
             them; taking this back starts its services again, with empty volumes"
                .to_owned()
        }
        _ => "what was asked for is in force".to_owned(),
    }
}

fn assemble(
    actions: Vec<Action>,
    intent: Intent,
    requested_by: Actor,
    summary: String,
    expected_effect: String,
    request: &Request<'_>,
) -> Plan {
    let mut blast_radius: Vec<_> = actions.iter().flat_map(touched).collect();
    blast_radius.extend(actions.iter().flat_map(|action| removed(action, request.snapshot)));
    blast_radius.sort();
    blast_radius.dedup();
    Plan {
        id: request.id,
        intent,
        requested_by,
        summary,
        expected_effect,
        steps: actions.into_iter().map(|action| timed(action, request.snapshot)).collect(),
        verify: None,
        blast_radius,
        lift_after: None,
        created_at: request.now,
    }
}

/// The step of an action, with the time that so many instances need.
fn timed(action: Action, snapshot: &Snapshot) -> Step {
    let Action::Deploy { service, .. } = &action else { return step(action) };
    let replicas = snapshot.services.get(service).map_or(1, |state| state.replicas);
    rollout(action, replicas)
}

/// What ends with an action: of a scale-down the highest slots, of a whole Infrastructure everything.
fn removed(action: &Action, snapshot: &Snapshot) -> Vec<ResourceId> {
    if matches!(action, Action::TakeDown { .. }) {
        let services = snapshot.services.keys().cloned().map(ResourceId::Service);
        return snapshot.resources().chain(services).collect();
    }
    let Action::SetReplicas { service, replicas } = action else { return Vec::new() };
    let slots = snapshot.services.get(service).into_iter().flat_map(|state| state.instances.keys());
    slots.filter(|slot| slot.ordinal >= *replicas).cloned().map(ResourceId::Instance).collect()
}

fn check_targets(action: &Action, request: &Request<'_>, refused: &mut Vec<Refusal>) {
    let snapshot = request.snapshot;
    if let Action::BringUp { .. } = action {
        // What it touches is not there yet.
        return refused.extend(snapshot.infrastructure.clone().map(Refusal::IsUp));
    }
    let mut services = Vec::new();
    for resource in touched(action) {
        let there = exists(&resource, snapshot);
        services.extend(services_of(&resource).into_iter().cloned());
        if !there {
            refused.push(Refusal::UnknownTarget(resource));
        }
    }
    services.sort();
    services.dedup();
    let hands_off =
        |service: &ServiceName| snapshot.services.get(service).is_some_and(|state| state.hands_off);
    refused.extend(services.into_iter().filter(hands_off).map(Refusal::HandsOff));
}

fn scope_of(kind: &FaultKind) -> Option<&PathScope> {
    match kind {
        FaultKind::NetworkLatency { scope, .. }
        | FaultKind::NetworkPartition { scope }
        | FaultKind::ApiThrottling { scope, .. } => Some(scope),
        _ => None,
    }
}

fn check_backend(fault: &Fault, refused: &mut Vec<Refusal>) {
    if let (Some(PathScope::Backend(instance)), ResourceId::Link(link)) =
        (scope_of(&fault.kind), &fault.target)
        && instance.service != link.to
    {
        refused.push(Refusal::NotBehind { instance: instance.clone(), link: link.clone() });
    }
}

fn need_capability(what: &'static str, by: &Enforcement, refused: &mut Vec<Refusal>) {
    if let Some(why) = by.unavailable() {
        refused.push(Refusal::CapabilityMissing { what, why: why.to_owned() });
    }
}

fn check_capability(fault: &Fault, request: &Request<'_>, refused: &mut Vec<Refusal>) {
    let can = request.capabilities;
    match &fault.kind {
        FaultKind::DiskFill { .. } => need_capability("disk_fill", &can.volumes, refused),
        FaultKind::CpuStress { attachment: Attachment::Host, .. }
        | FaultKind::MemoryStress { attachment: Attachment::Host, .. } => {
            need_capability("host stress", &can.host_stress, refused);
        }
        // Only what enforces the limit ends memory taken beyond it.
        FaultKind::MemoryStress { fill, .. } if fill.0 > 100.0 => {
            need_capability("memory_stress above 100 %", &can.memory_limit, refused);
        }
        kind if scope_of(kind).is_some() => need_capability("a network fault", &can.links, refused),
        _ => {}
    }
}

fn check_declared(fault: &Fault, request: &Request<'_>, refused: &mut Vec<Refusal>) {
    let Some(service) = fault.target.service() else { return };
    let Some(state) = request.snapshot.services.get(service) else { return };
    let missing = match &fault.kind {
        FaultKind::CpuStress { .. } if state.limits.cpu.is_none() => "CPU limit",
        FaultKind::MemoryStress { .. } if state.limits.memory.is_none() => "memory limit",
        FaultKind::DiskFill { .. } if state.volume.is_none() => "volume",
        _ => return,
    };
    refused.push(Refusal::NotDeclared { service: service.clone(), what: missing });
}

fn check_operation(action: &Action, request: &Request<'_>, refused: &mut Vec<Refusal>) {
    let can = request.capabilities;
    let state = |service: &ServiceName| request.snapshot.services.get(service);
    let mut declared = |service: &ServiceName, there: bool, what| {
        if !there {
            refused.push(Refusal::NotDeclared { service: service.clone(), what });
        }
    };
    match action {
        Action::ResizeVolume { instance, .. }
        | Action::RemoveFiles { instance, .. }
        | Action::RotateLogs { instance } => {
            let volume = state(&instance.service).is_none_or(|state| state.volume.is_some());
            declared(&instance.service, volume, "volume");
        }
        Action::ClearCaches { instance } => {
            let hook = state(&instance.service).is_none_or(|state| state.can_clear_caches);
            declared(&instance.service, hook, "`clear_caches` hook");
        }
        _ => {}
    }
    if let Action::BringUp { infrastructure, .. } = action {
        let violated = |it: domain::infrastructure::Violation| Refusal::Violated {
            field: it.field,
            message: it.message,
        };
        refused.extend(infrastructure.check().into_iter().map(violated));
    }
    if let Action::EjectBackend { link, instance } = action
        && instance.service != link.to
    {
        refused.push(Refusal::NotBehind { instance: instance.clone(), link: link.clone() });
    }
    if let Action::Deploy { service, release } = action
        && let Some(state) = request.snapshot.services.get(service)
    {
        check_release(service, state, release, refused);
    }
    match action {
        Action::SetCpuLimit { .. } => need_capability("a CPU limit", &can.cpu_limit, refused),
        Action::SetMemoryLimit { .. } => need_capability("a memory limit", &can.memory_limit, refused),
        Action::ResizeVolume { .. } => need_capability("growing a volume", &can.volumes, refused),
        Action::EjectBackend { .. } | Action::OpenBreaker { .. } | Action::ResetConnections { .. } => {
            need_capability("a change of a link", &can.links, refused);
        }
        _ => {}
    }
}

fn check_release(service: &ServiceName, state: &ServiceState, to: &Release, refused: &mut Vec<Refusal>) {
    refused.extend(to.version.as_deref().and_then(Release::version_fault).map(Refusal::Version));
    if *to == state.release {
        refused.push(Refusal::RunsAlready(service.clone()));
    }
    if state.rolling_out {
        refused.push(Refusal::RollingOut(service.clone()));
    }
}

#[cfg(test)]
mod tests;
