//! A data directory as it is after a busy quarter: issues and their remediations, one pair every few minutes, and an
//! audit trail.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use audit::{Action as Audited, Audit, NewRecord, Via};
use domain::{
    Action, Actor, Cause, CauseClass, Clock, EvidenceItem, IdSource, InstanceName, Intent, Issue, IssueKind,
    Outcome, OutcomeKind, Percent, Plan, PlanStatus, Reason, ResourceId, ServiceName, Severity, Signal, Step,
    StopManner, Strategy, Time, Undo,
};
use provider::clock::SystemClock;
use store::boot::Boot;
use store::{PlanRecord, Store};

use crate::cli::Failure;

/// What is in the store goes back so far: as long as records are kept.
const STRETCH_US: u64 = 90 * 86_400 * 1_000_000;

/// How long the machine had run when the newest was written.
const UPTIME_US: u64 = 100 * 86_400 * 1_000_000;

/// Records of one transaction.
const AT_ONCE: u32 = 2_000;

/// The services of the demo fleet that the records are about.
const SERVICES: [&str; 6] = ["front", "catalogue", "cart", "orders", "payments", "database"];

/// The demo fleet without its load.
pub(super) fn fleet() -> String {
    let (fleet, _load) =
        crate::demo::SHOP.split_once("\n  # The visitors.").unwrap_or((crate::demo::SHOP, ""));
    format!("{fleet}\n")
}

/// Fills the store of a directory.
pub(super) fn fill(dir: &Path, records: u32) -> Result<(), Failure> {
    let failed = |error: store::StoreError| Failure::failed(&error);
    // A machine that has run for longer than the records go back; the server then begins after a reboot.
    let now = Time { boot_us: UPTIME_US, wall_us: SystemClock.now().wall_us };
    let boot = Boot { id: "the boot before".to_owned(), now };
    let store = Store::open_in_boot(dir, &boot).map_err(failed)?;
    let mut ids = IdSource::seeded(41);
    for begin in (0..records).step_by(AT_ONCE as usize) {
        let part = begin..(begin + AT_ONCE).min(records);
        let pairs: Vec<(Issue, PlanRecord)> = part
            .map(|number| {
                let back = STRETCH_US / u64::from(records) * u64::from(records - number);
                pair(number, now.minus(Duration::from_micros(back)), &mut ids)
            })
            .collect();
        let issues: Vec<&Issue> = pairs.iter().map(|(issue, _)| issue).collect();
        store.save_issues(&issues).map_err(failed)?;
        let plans: Vec<PlanRecord> = pairs.into_iter().map(|(_, plan)| plan).collect();
        store.add_records(&plans).map_err(failed)?;
    }
    Ok(())
}

/// Threads that write audit records: those that come at the same time go to the disk together.
const WRITERS: u32 = 64;

/// Fills the audit trail of a directory.
pub(super) fn fill_trail(dir: &Path, records: u32) -> Result<(), Failure> {
    let trail = Audit::open(dir, Arc::new(SystemClock)).map_err(|error| Failure::failed(&error))?;
    let write = |writer: u32| {
        (writer..records).step_by(WRITERS as usize).try_for_each(|number| {
            let service = SERVICES[number as usize % SERVICES.len()];
            let (action, outcome) = match number % 4 {
                0 => ("remediation.approve", audit::Outcome::Done),
                1 => ("remediation.reject", audit::Outcome::Refused),
                _ => ("plan.state", audit::Outcome::Done),
            };
            let who = format!("user-{}", number % 50);
            let record = NewRecord::new(who, Via::Token, Audited::new(action), service, outcome);
            trail.append(record.why("latency rises after the deployment")).map(drop)
        })
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let write = &write;
                    move || write(writer)
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
    .map_err(|error| Failure::failed(&error))
}

/// An issue that was repaired, and its repair.
fn pair(number: u32, at: Time, ids: &mut IdSource) -> (Issue, PlanRecord) {
    let service: ServiceName =
        SERVICES[number as usize % SERVICES.len()].parse().expect("a name of the demo fleet");
    let instance = InstanceName { service, ordinal: number / 6 % 2 };
    let (kind, reason, strategy) = match number % 3 {
        0 => (IssueKind::PodCrash, Reason::Exit, Strategy::RestartPod),
        1 => (IssueKind::PodCrash, Reason::Unresponsive, Strategy::RestartPod),
        _ => (IssueKind::HighMemory, Reason::Unexplained, Strategy::GracefulRestart),
    };
    let issue = Issue {
        id: ids.next(at),
        kind,
        reason,
        resource: ResourceId::Instance(instance.clone()),
        severity: Severity::High,
        description: format!("{instance} answered none of 3 health checks, limit 3"),
        detected_at: at,
        last_seen: later(at, 4),
        closed_at: Some(later(at, 35)),
        metrics: BTreeMap::from([("threshold".to_owned(), 3.0), ("failures".to_owned(), 3.0)]),
        recurrences: number % 2,
    };
    let plan = repair(&issue, instance, strategy, at, ids);
    (issue, healed(plan, at))
}

fn later(at: Time, seconds: u64) -> Time {
    at.plus(Duration::from_secs(seconds))
}

/// The plan that repairs it.
fn repair(issue: &Issue, instance: InstanceName, strategy: Strategy, at: Time, ids: &mut IdSource) -> Plan {
    let resource = &issue.resource;
    let cause = Cause {
        resource: resource.clone(),
        class: CauseClass::ProcessHangs,
        confidence: Percent(97.0),
        pattern: "unresponsive".to_owned(),
        evidence: vec![EvidenceItem {
            resource: resource.clone(),
            text: "3 of 3 health checks failed".to_owned(),
        }],
    };
    Plan {
        id: ids.next(at),
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy,
            cause,
        },
        requested_by: Actor::Healing,
        summary: format!("restart {instance}"),
        expected_effect: "it answers health checks again".to_owned(),
        steps: vec![Step {
            action: Action::RestartInstance { instance, manner: StopManner::Kill },
            undo: Undo::NothingToRestore,
            timeout: Duration::from_secs(30),
        }],
        verify: Some(Signal {
            kind: issue.kind,
            resource: resource.clone(),
            deadline: Duration::from_secs(30),
            hold: Duration::from_secs(30),
        }),
        blast_radius: vec![resource.clone()],
        lift_after: None,
        created_at: at,
    }
}

/// What is kept of a plan that healed.
fn healed(plan: Plan, at: Time) -> PlanRecord {
    let outcome = Outcome {
        plan: plan.id,
        kind: OutcomeKind::Healed,
        started_at: Some(later(at, 1)),
        verified_at: Some(later(at, 4)),
        decided_at: later(at, 35),
        rolled_back: false,
        explanation: None,
    };
    PlanRecord {
        plan: Arc::new(plan),
        status: PlanStatus::Success,
        reasons: Vec::new(),
        error: None,
        decision: None,
        started_at: Some(later(at, 1)),
        completed_at: Some(later(at, 35)),
        rolled_back: false,
        outcome: Some(outcome),
    }
}
