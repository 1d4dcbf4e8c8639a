//! Steps: every action with the undo it has and the time it may take. One place, so that a strategy, an
//! operator and an experiment cannot disagree on how something is taken back.

use std::time::Duration;

use domain::{Action, FaultKind, Step, Undo, UpWhen};

use super::check::STEP_TIMEOUT_MAX;

/// How long one instance may take to drain, start and become ready.
const ROLLOUT_PER_INSTANCE: Duration = Duration::from_secs(30);

/// The step that lets every one of `replicas` instances run something else, one after another. One that never gets
/// ready is taken back by the end of its time.
pub(super) fn rollout(action: Action, replicas: u32) -> Step {
    let step = step(action);
    let timeout = ROLLOUT_PER_INSTANCE.saturating_mul(replicas.saturating_add(1)).min(STEP_TIMEOUT_MAX);
    Step { timeout, ..step }
}

/// The step that does `action`.
pub fn step(action: Action) -> Step {
    let (undo, seconds) = match &action {
        // Includes draining and the start of the successor.
        Action::RestartInstance { .. } => (Undo::NothingToRestore, 30),
        // For one instance; see `rollout`.
        Action::Deploy { .. } => (Undo::Exact, ROLLOUT_PER_INSTANCE.as_secs() * 2),
        Action::SetReplicas { .. } => (Undo::Exact, 60),
        // Where every instance has to be ready, all of them start at once.
        Action::BringUp { infrastructure, up_when } => {
            let seconds = if *up_when == UpWhen::Ready { 90 } else { 30 };
            (
                Undo::Compensating(Box::new(Action::TakeDown { infrastructure: infrastructure.clone() })),
                seconds,
            )
        }
        Action::TakeDown { infrastructure } => {
            let again = Action::BringUp { infrastructure: infrastructure.clone(), up_when: UpWhen::Ready };
            let slowest = infrastructure.services.values().map(|spec| spec.stop_timeout.as_secs()).max();
            (Undo::Compensating(Box::new(again)), slowest.unwrap_or(0).saturating_add(60))
        }
        Action::SetCpuLimit { .. }
        | Action::SetMemoryLimit { .. }
        | Action::ResizeVolume { .. }
        | Action::EjectBackend { .. }
        | Action::OpenBreaker { .. } => (Undo::Exact, 10),
        Action::RemoveFiles { .. } => (Undo::Irreversible, 60),
        // Compressed logs can be read as before, emptied caches fill again, closed connections are made
        // anew: nothing is lost.
        Action::RotateLogs { .. } => (Undo::NothingToRestore, 60),
        Action::ClearCaches { .. } => (Undo::NothingToRestore, 30),
        Action::ResetConnections { .. } => (Undo::NothingToRestore, 10),
        Action::Inject(fault) if fault.kind.is_instant() => (Undo::NothingToRestore, 30),
        Action::Inject(fault) => match fault.kind {
            FaultKind::DiskFill { .. } | FaultKind::MemoryStress { .. } => (Undo::Exact, 60),
            _ => (Undo::Exact, 30),
        },
    };
    Step { action, undo, timeout: Duration::from_secs(seconds).min(STEP_TIMEOUT_MAX) }
}
