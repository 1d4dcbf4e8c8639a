//! What speaks for a fault of an instance or its volume.
//!
//! | pattern | class |
//! |---|---|
//! | `liveness_failing`, `readiness_failing`, `probe_failing_below_limit` | process_hangs |
//! | `exit_seen`, `exit_seen_a_while_ago`, `crash_loop`, `not_running` | process_ended |
//! | `out_of_memory_kill`, `memory_over_threshold` | memory_exhausted |
//! | `cpu_over_threshold+request_rate_usual`, `cpu_over_threshold+request_rate_up` | cpu_exhausted |
//! | `disk_over_threshold` | disk_exhausted |
//! | `memory_growing`, `disk_filling` | memory_exhausted, disk_exhausted, before it comes to that; explains nothing else |

use std::time::Duration;

use domain::snapshot::{ExitCause, InstanceState, Phase};
use domain::{
    CauseClass, EvidenceItem, InstanceName, IssueKind, LinkName, LinkState, Reason, ResourceId, units,
};

use super::{Candidate, Symptom, UNTROUBLED, seen};
use crate::detect::{Finding, Verdict, View, pod_crash, traffic, verdict};

/// An end this long ago can still be felt in the window of 3 complete seconds, time-outs included.
const JUST_NOW: Duration = Duration::from_secs(10);

/// An end longer ago than this is not the cause of what is seen now.
const A_WHILE: Duration = Duration::from_secs(60);

/// A process that started less than this ago may still be starting.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The candidates at an instance, as seen from the callers of `through`, where it is seen through a link.
pub(super) fn candidates(
    name: &InstanceName,
    through: Option<(&LinkName, &LinkState)>,
    symptom: Symptom,
    view: View<'_>,
) -> Vec<Candidate> {
    let Some(state) = view.snapshot.instance(name) else { return Vec::new() };
    let mut found = Vec::new();
    found.extend(hang(name, state, symptom, view));
    found.extend(ended(name, state, symptom, view));
    found.extend(exhausted(name, symptom, view));
    let relevant = through.map_or(1.0, |(link, seen)| relevance(name, link, seen, view));
    for candidate in &mut found {
        candidate.score *= relevant;
    }
    found
}

/// An instance that answers the requests of a link well is not what its callers suffer from.
fn relevance(name: &InstanceName, link: &LinkName, seen: &LinkState, view: View<'_>) -> f64 {
    let limit_ms = view.thresholds.at(&ResourceId::Link(link.clone()), view.snapshot).latency_ms;
    let well = seen.backends.get(name).is_some_and(|backend| {
        backend.recent.errors == 0
            && backend.path_check_failures == 0
            && traffic::mostly_slow(&backend.recent, limit_ms / 2.0, 3) == Some(false)
    });
    if well { UNTROUBLED } else { 1.0 }
}

fn hang(name: &InstanceName, state: &InstanceState, symptom: Symptom, view: View<'_>) -> Option<Candidate> {
    let now = view.snapshot.taken;
    let young = state.phase == Phase::Starting
        && state.started_at.is_none_or(|started| now.since(started) < START_LIMIT);
    let runs = matches!(state.phase, Phase::Starting | Phase::Ready | Phase::NotReady);
    if young || !runs {
        return None;
    }
    let (probe, words, pattern, score) = match (state.liveness, state.readiness) {
        (Some(probe), _) if probe.failing() => (probe, "liveness", "liveness_failing", 0.96),
        (_, Some(probe)) if probe.failing() => (probe, "readiness", "readiness_failing", 0.8),
        (Some(probe), _) if probe.failures_in_a_row > 0 => {
            (probe, "liveness", "probe_failing_below_limit", 0.75)
        }
        (_, Some(probe)) if probe.failures_in_a_row > 0 => {
            (probe, "readiness", "probe_failing_below_limit", 0.75)
        }
        _ => return None,
    };
    let last = probe.last_passed.map_or("never passed since its start".to_owned(), |at| {
        format!("last passed {} ago", units::show_duration(now.since(at)))
    });
    let text = format!("runs, but failed {} {words} probes in a row; {last}", probe.failures_in_a_row);
    Some(Candidate {
        resource: ResourceId::Instance(name.clone()),
        class: CauseClass::ProcessHangs,
        pattern,
        score: score * own(symptom, IssueKind::PodCrash),
        evidence: vec![seen(ResourceId::Instance(name.clone()), text)],
    })
}

fn ended(name: &InstanceName, state: &InstanceState, symptom: Symptom, view: View<'_>) -> Option<Candidate> {
    let resource = ResourceId::Instance(name.clone());
    let Some(exit) = pod_crash::unexpected(state) else {
        return (state.phase == Phase::BackingOff).then(|| Candidate {
            resource: resource.clone(),
            class: CauseClass::ProcessEnded,
            pattern: "not_running",
            score: 0.9,
            evidence: vec![seen(resource, "does not run and waits for its next start".to_owned())],
        });
    };
    let age = view.snapshot.taken.since(exit.at);
    let down = matches!(state.phase, Phase::BackingOff | Phase::Starting);
    let lately = match symptom {
        Symptom::Own(IssueKind::PodCrash) => 0.95,
        _ if age > A_WHILE && !down && !state.crash_loop => return None,
        _ if age > JUST_NOW && !down && !state.crash_loop => 0.2,
        Symptom::Failing => 0.9,
        Symptom::Slow => 0.7,
        Symptom::Own(_) => 0.4,
    };
    let memory = exit.cause == ExitCause::OutOfMemory;
    let (class, pattern) = match (memory, state.crash_loop) {
        (true, _) => (CauseClass::MemoryExhausted, "out_of_memory_kill"),
        (_, true) => (CauseClass::ProcessEnded, "crash_loop"),
        _ if lately <= 0.2 => (CauseClass::ProcessEnded, "exit_seen_a_while_ago"),
        _ => (CauseClass::ProcessEnded, "exit_seen"),
    };
    let mut evidence = vec![seen(
        resource.clone(),
        format!("{} {} ago, unasked", pod_crash::cause_words(&exit.cause), units::show_duration(age)),
    )];
    if state.crash_loop {
        let text = format!("ended {} times in a row before it settled", state.unsettled_exits);
        evidence.push(seen(resource.clone(), text));
    }
    Some(Candidate { resource, class, pattern, score: lately, evidence })
}

/// CPU, memory and volume over their bounds. Detection is asked, so that both always agree.
fn exhausted(name: &InstanceName, symptom: Symptom, view: View<'_>) -> Vec<Candidate> {
    let instance = ResourceId::Instance(name.clone());
    let volume = ResourceId::Volume(name.clone());
    let over = |kind: IssueKind, resource: &ResourceId| match verdict(
        kind,
        resource,
        view.snapshot,
        &view.thresholds,
    ) {
        Verdict::Unhealthy(finding) => Some(finding),
        Verdict::Healthy | Verdict::Unknown => None,
    };
    let mut found = Vec::new();
    let mut add = |finding: Finding, class, pattern, slow: f64, failing: f64| {
        let of_itself = matches!(symptom, Symptom::Own(kind) if kind == finding.kind);
        if finding.is_foretold() && !of_itself {
            return; // It hurts nobody yet.
        }
        let score = match symptom {
            Symptom::Slow => slow,
            Symptom::Failing => failing,
            Symptom::Own(_) => 0.95 * own(symptom, finding.kind),
        };
        let evidence: Vec<EvidenceItem> = vec![seen(finding.resource.clone(), finding.description)];
        found.push(Candidate { resource: finding.resource, class, pattern, score, evidence });
    };
    if let Some(finding) = over(IssueKind::HighCpu, &instance) {
        let pattern = match finding.reason {
            Reason::Load => "cpu_over_threshold+request_rate_up",
            _ => "cpu_over_threshold+request_rate_usual",
        };
        add(finding, CauseClass::CpuExhausted, pattern, 0.85, 0.5);
    }
    if let Some(finding) = over(IssueKind::HighMemory, &instance) {
        let pattern = if finding.is_foretold() { "memory_growing" } else { "memory_over_threshold" };
        add(finding, CauseClass::MemoryExhausted, pattern, 0.4, 0.4);
    }
    if let Some(finding) = over(IssueKind::DiskFull, &volume) {
        let pattern = if finding.is_foretold() { "disk_filling" } else { "disk_over_threshold" };
        add(finding, CauseClass::DiskExhausted, pattern, 0.6, 0.88);
    }
    found
}

/// How much a finding of `kind` explains a symptom of the instance itself: wholly where it is that symptom.
fn own(symptom: Symptom, kind: IssueKind) -> f64 {
    match symptom {
        Symptom::Own(asked) if asked != kind => 0.5,
        _ => 1.0,
    }
}
