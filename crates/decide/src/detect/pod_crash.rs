//! `pod_crash`: an instance ended without being asked, ends again and again, was killed for its memory, or
//! lives and does not answer.
//!
//! An end that the standing restart policy answered is an issue until the successor has been ready for a
//! moment; that moment lets every look that an event wakes still see it. A look that comes later than that
//! catches up in [`super::track`].

use std::time::Duration;

use domain::snapshot::{ExitCause, ExitRecord, InstanceState, Phase};
use domain::{InstanceName, IssueKind, Reason, ResourceId, Snapshot, Time};

use super::severity::Urgency;
use super::{Finding, Measured, Verdict, View, metrics};

/// How long a successor has to be ready until the end of its predecessor is over.
const SUCCESSOR_PROVEN: Duration = Duration::from_secs(1);

/// An instance that answers no probe this long after its start is hung, not starting.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Ends within this time are counted in the metrics.
const COUNTED_WITHIN: Duration = Duration::from_secs(600);

/// What is wrong with an instance.
enum Trouble<'a> {
    Ended(Option<&'a ExitRecord>),
    CrashLoop(Option<&'a ExitRecord>),
    Unresponsive { failures: u32, limit: u32, since: Option<Time> },
}

/// What can be said of an instance.
enum Standing<'a> {
    Well,
    Unknown,
    Trouble(Trouble<'a>),
}

pub(super) fn judge(resource: &ResourceId, view: View<'_>) -> Verdict {
    let ResourceId::Instance(name) = resource else { return Verdict::Unknown };
    let Some(state) = view.snapshot.instance(name) else { return Verdict::Unknown };
    match standing(state, view.snapshot.taken) {
        Standing::Well => Verdict::Healthy,
        Standing::Unknown => Verdict::Unknown,
        Standing::Trouble(trouble) => found(name, state, &trouble, view.snapshot),
    }
}

/// The finding for the latest end in a slot, whatever became of the successor. For looks that came late.
pub(super) fn ended(name: &InstanceName, snapshot: &Snapshot) -> Option<Finding> {
    let state = snapshot.instance(name)?;
    let exit = unexpected(state)?;
    match found(name, state, &Trouble::Ended(Some(exit)), snapshot) {
        Verdict::Unhealthy(finding) => Some(finding),
        Verdict::Healthy | Verdict::Unknown => None,
    }
}

/// The latest end in the slot, where nobody asked for it. An end that was asked for settles what was before.
pub(crate) fn unexpected(state: &InstanceState) -> Option<&ExitRecord> {
    state.exits.last().filter(|exit| !exit.requested)
}

fn standing(state: &InstanceState, now: Time) -> Standing<'_> {
    let exit = unexpected(state);
    if matches!(state.phase, Phase::Stopping | Phase::Unknown) {
        return Standing::Unknown;
    }
    if state.crash_loop {
        return Standing::Trouble(Trouble::CrashLoop(exit));
    }
    let young = state.phase == Phase::Starting
        && state.started_at.is_none_or(|started| now.since(started) < START_LIMIT);
    let hung = state.liveness.filter(|probe| probe.failing() && !young && state.incarnation.is_some());
    if let Some(probe) = hung {
        return Standing::Trouble(Trouble::Unresponsive {
            failures: probe.failures_in_a_row,
            limit: probe.failures_limit,
            since: probe.last_passed,
        });
    }
    match (state.phase, exit) {
        (Phase::BackingOff | Phase::Starting, Some(_)) => Standing::Trouble(Trouble::Ended(exit)),
        // It does not run, and no end of it is known: it could not even be started.
        (Phase::BackingOff, None) if state.exits.is_empty() => Standing::Trouble(Trouble::Ended(None)),
        (Phase::Ready, Some(seen)) if !proven(state, seen, now) => Standing::Trouble(Trouble::Ended(exit)),
        (Phase::Ready, _) if state.liveness.is_none_or(|probe| probe.failures_in_a_row == 0) => {
            Standing::Well
        }
        _ => Standing::Unknown,
    }
}

/// Whether the process that followed an end has been ready for long enough.
fn proven(state: &InstanceState, exit: &ExitRecord, now: Time) -> bool {
    state.phase_since.reached(exit.at) && now.since(state.phase_since) >= SUCCESSOR_PROVEN
}

fn found(name: &InstanceName, state: &InstanceState, trouble: &Trouble<'_>, snapshot: &Snapshot) -> Verdict {
    let killed_for_memory =
        |exit: &Option<&ExitRecord>| exit.is_some_and(|exit| exit.cause == ExitCause::OutOfMemory);
    let reason = match trouble {
        Trouble::Ended(exit) | Trouble::CrashLoop(exit) if killed_for_memory(exit) => Reason::OutOfMemory,
        Trouble::Ended(_) => Reason::Exit,
        Trouble::CrashLoop(_) => Reason::CrashLoop,
        Trouble::Unresponsive { .. } => Reason::Unresponsive,
    };
    let recent = |exit: &&ExitRecord| !exit.requested && snapshot.taken.since(exit.at) <= COUNTED_WITHIN;
    let ends = state.exits.iter().filter(recent).count();
    let for_memory =
        state.exits.iter().filter(recent).filter(|exit| exit.cause == ExitCause::OutOfMemory).count();
    let (out, replicas) = out_of_service(name, snapshot);
    let threshold = match trouble {
        Trouble::Unresponsive { limit, .. } => f64::from(*limit),
        Trouble::Ended(_) | Trouble::CrashLoop(_) => 0.0,
    };
    let mut values = metrics([
        ("threshold", threshold),
        ("unexpected_ends_10min", ends as f64),
        ("out_of_memory_ends_10min", for_memory as f64),
        ("unsettled_ends", f64::from(state.unsettled_exits)),
        ("instances_out", f64::from(out)),
        ("instances_wanted", f64::from(replicas)),
    ]);
    if let Trouble::Unresponsive { failures, .. } = trouble {
        values.insert("probe_failures".to_owned(), f64::from(*failures));
    }
    Measured {
        kind: IssueKind::PodCrash,
        reason,
        excess: f64::from(out) / f64::from(replicas),
        // A single end is answered by the standing restart within milliseconds; the others last.
        urgency: if reason == Reason::Exit { Urgency::Soon } else { Urgency::Now },
        description: describe(name, state, trouble, snapshot.taken),
        metrics: values,
    }
    .unhealthy(&ResourceId::Instance(name.clone()), snapshot)
}

/// How many instances of the service do not serve, this one included, and how many there should be.
fn out_of_service(name: &InstanceName, snapshot: &Snapshot) -> (u32, u32) {
    let Some(service) = snapshot.services.get(&name.service) else { return (1, 1) };
    let out = service
        .instances
        .iter()
        .filter(|(other, state)| *other == name || state.phase != Phase::Ready)
        .count();
    (u32::try_from(out).unwrap_or(u32::MAX), service.replicas.max(1))
}

fn describe(name: &InstanceName, state: &InstanceState, trouble: &Trouble<'_>, now: Time) -> String {
    match trouble {
        Trouble::Ended(None) => format!("{name} does not run and is waiting for its next start"),
        Trouble::Ended(Some(exit)) => {
            let ago = domain::units::show_duration(now.since(exit.at));
            format!(
                "{name} {} {ago} ago; nobody asked for it (limit 0 unexpected ends)",
                cause_words(&exit.cause)
            )
        }
        Trouble::CrashLoop(exit) => {
            let last =
                exit.map_or(String::new(), |exit| format!("; the last time it {}", cause_words(&exit.cause)));
            format!(
                "{name} ended {} times in a row before it settled, a crash loop (limit 0 unexpected ends){last}",
                state.unsettled_exits
            )
        }
        Trouble::Unresponsive { failures, limit, since } => {
            let last = since.map_or("never answered since its start".to_owned(), |at| {
                format!("last answered {} ago", domain::units::show_duration(now.since(at)))
            });
            format!("{name} runs but failed {failures} liveness probes in a row (limit {limit}); it {last}")
        }
    }
}

/// How a process ended, as the predicate of a sentence.
pub(crate) fn cause_words(cause: &ExitCause) -> String {
    match cause {
        ExitCause::Status(status) => format!("ended with status {status}"),
        ExitCause::Signal(signal) => format!("was ended by signal {signal}"),
        ExitCause::OutOfMemory => "was killed for using more memory than its limit".to_owned(),
        ExitCause::Unknown => "ended in an unknown way".to_owned(),
    }
}
