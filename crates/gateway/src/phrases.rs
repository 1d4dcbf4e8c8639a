//! Plain words for actions, undos, resources and verdicts; the same on pages and in the API.

use domain::units::show_duration;
use domain::{
    Action, Actor, Fault, FaultKind, FileClass, Intent, OutcomeKind, PathScope, Plan, PlanStatus, ResourceId,
    Step, StopManner, Undo,
};

/// One step, as an order: `Restart cart-0 (drain first)`.
pub(crate) fn action(action: &Action) -> String {
    match action {
        Action::RestartInstance { instance, manner: StopManner::Drain } => {
            format!("drain, stop and start {instance}")
        }
        Action::RestartInstance { instance, manner: StopManner::Kill } => {
            format!("kill {instance} and start it again")
        }
        Action::SetReplicas { service, replicas } => format!("run {replicas} of {service}"),
        Action::SetCpuLimit { service, limit } => format!("set the CPU limit of {service} to {limit}"),
        Action::Deploy { service, release } => match &release.version {
            Some(version) => format!("let {service} run {version}, one instance after another"),
            None => format!("let {service} run its unnamed release, one instance after another"),
        },
        Action::SetMemoryLimit { service, limit } => format!("set the memory limit of {service} to {limit}"),
        Action::ResizeVolume { instance, size } => format!("resize the volume of {instance} to {size}"),
        Action::RemoveFiles { instance, class, older_than } => {
            format!("remove {} of {instance} older than {}", files(*class), show_duration(*older_than))
        }
        Action::RotateLogs { instance } => format!("rotate and compress the logs of {instance}"),
        Action::ClearCaches { instance } => format!("clear the caches of {instance}"),
        Action::EjectBackend { link, instance } => format!("take {instance} out of the balancing of {link}"),
        Action::OpenBreaker { link } => format!("open the breaker of {link}, so that the caller degrades"),
        Action::ResetConnections { link } => format!("close the connections of {link}"),
        Action::BringUp { infrastructure, .. } => format!("bring {} up", infrastructure.name),
        Action::TakeDown { infrastructure } => format!("take {} down", infrastructure.name),
        Action::Inject(fault) => format!("{} at {}", self::fault(fault), fault.target),
    }
}

/// How a step is taken back.
pub(crate) fn undo(undo: &Undo) -> String {
    match undo {
        Undo::Exact => "puts back what was there".to_owned(),
        Undo::Compensating(by) => action(by),
        Undo::NothingToRestore => "nothing to restore".to_owned(),
        Undo::Irreversible => "cannot be taken back".to_owned(),
    }
}

/// The undo's name in the API.
pub(crate) fn undo_name(undo: &Undo) -> &'static str {
    match undo {
        Undo::Exact => "exact",
        Undo::Compensating(_) => "compensating",
        Undo::NothingToRestore => "nothing_to_restore",
        Undo::Irreversible => "irreversible",
    }
}

/// What a fault does, without where: `400 ms ± 50 ms latency on all of it`.
pub(crate) fn fault(fault: &Fault) -> String {
    let time = show_duration(fault.duration);
    match &fault.kind {
        FaultKind::PodKill => "kill".to_owned(),
        FaultKind::PodDeletion => "stop".to_owned(),
        FaultKind::Pause => format!("pause for {time}"),
        FaultKind::CpuStress { load, .. } => format!("CPU stress of {load} for {time}"),
        FaultKind::MemoryStress { fill, ramp, .. } => {
            format!("memory stress to {fill}{} for {time}", within(*ramp))
        }
        FaultKind::DiskFill { fill, class, ramp } => {
            format!("fill with {} to {fill}{} for {time}", files(*class), within(*ramp))
        }
        FaultKind::NetworkLatency { delay, jitter, scope } => {
            let jitter = match jitter.is_zero() {
                true => String::new(),
                false => format!(" ± {}", show_duration(*jitter)),
            };
            format!("latency of {}{jitter} on {} for {time}", show_duration(*delay), path(scope))
        }
        FaultKind::NetworkPartition { scope } => format!("partition of {} for {time}", path(scope)),
        FaultKind::ApiThrottling { requests_per_second, scope } => {
            format!("throttling to {requests_per_second}/s of {} for {time}", path(scope))
        }
    }
}

/// ` within 2.0 min`, where it is not at once.
fn within(ramp: std::time::Duration) -> String {
    if ramp.is_zero() { String::new() } else { format!(" within {}", show_duration(ramp)) }
}

fn path(scope: &PathScope) -> String {
    match scope {
        PathScope::All => "all instances".to_owned(),
        PathScope::Backend(instance) => format!("the path to {instance}"),
        PathScope::EstablishedConnections => "established connections".to_owned(),
    }
}

fn files(class: FileClass) -> &'static str {
    match class {
        FileClass::Temporary => "temporary files",
        FileClass::Logs => "logs",
        FileClass::Cache => "cached files",
        FileClass::Data => "data",
    }
}

/// What a plan does, in one word: the strategy, the fault, or what it is.
pub(crate) fn action_type(plan: &Plan) -> &str {
    match (&plan.intent, plan.steps.first()) {
        (Intent::Remediation { strategy, .. }, _) => strategy.name(),
        (Intent::Experiment { .. }, Some(Step { action: Action::Inject(fault), .. })) => fault.kind.name(),
        (Intent::Experiment { .. }, _) => "experiment",
        (Intent::Lift { .. }, _) => "lift",
        (Intent::Operation { .. }, _) => "operation",
    }
}

/// Who asked.
pub(crate) fn actor(actor: &Actor) -> &str {
    match actor {
        Actor::Healing => "healing",
        Actor::Chaos => "chaos",
        Actor::Operator(name) => name,
    }
}

/// `process_hangs` as `process hangs`.
pub(crate) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A plan's status in words.
pub(crate) fn status(status: PlanStatus) -> &'static str {
    match status {
        PlanStatus::Pending => "pending",
        PlanStatus::AwaitingApproval => "awaits approval",
        PlanStatus::InProgress => "in progress",
        PlanStatus::Verifying => "verifying",
        PlanStatus::Success => "success",
        PlanStatus::Failed => "failed",
        PlanStatus::RolledBack => "rolled back",
        PlanStatus::Refused => "refused",
    }
}

/// An outcome in words.
pub(crate) fn outcome(outcome: OutcomeKind) -> &'static str {
    match outcome {
        OutcomeKind::Healed => "healed",
        OutcomeKind::Mitigated => "mitigated",
        OutcomeKind::SelfRecovered => "recovered by itself",
        OutcomeKind::NotHealed => "not healed",
        OutcomeKind::Refused => "refused",
    }
}

/// A resource in words: `cart-0`, `front → cart`.
pub(crate) fn resource(resource: &ResourceId) -> String {
    match resource {
        ResourceId::Service(name) => name.to_string(),
        ResourceId::Instance(name) => name.to_string(),
        ResourceId::Volume(name) => format!("volume of {name}"),
        ResourceId::Link(link) => format!("{} → {}", link.from, link.to),
        ResourceId::Node(name) => format!("node {name}"),
        ResourceId::Infrastructure(name) => format!("infrastructure {name}"),
    }
}
