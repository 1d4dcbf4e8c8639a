//! What is wrong in the shop, and what is being done about it: a hang, a slow path, a full disk.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{
    Action, Actor, Captured, Cause, CauseClass, EvidenceItem, FaultKind, FileClass, Intent, Issue, IssueId,
    IssueKind, LinkName, PathScope, Percent, Plan, PlanId, PlanStatus, Reason, ResourceId, Severity, Signal,
    Step, Strategy, Time, Undo,
};
use store::{Ending, SlotLimits};

use super::past::fault;
use super::{name, seconds};
use crate::support::{Fleet, restart_plan};

pub(super) fn issue(
    fleet: &Fleet,
    at: Time,
    kind: IssueKind,
    reason: Reason,
    resource: &str,
    text: &str,
) -> Issue {
    Issue {
        id: fleet.id::<IssueId>(at),
        kind,
        reason,
        resource: resource.parse().unwrap(),
        severity: Severity::High,
        description: text.to_owned(),
        detected_at: at,
        last_seen: fleet.clock.now(),
        closed_at: None,
        metrics: BTreeMap::new(),
        recurrences: 0,
    }
}

/// A hang that is being repaired: the plan runs, its first step is in the journal.
pub(super) fn hang(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(14));
    let mut hang = issue(
        fleet,
        at,
        IssueKind::PodCrash,
        Reason::Unresponsive,
        "instance/cart-1",
        "cart-1 runs but does not answer: 3 probes failed in a row, limit 3",
    );
    hang.severity = Severity::Critical;
    hang.metrics = BTreeMap::from([("failed_probes".to_owned(), 3.0), ("threshold".to_owned(), 3.0)]);
    fleet.store.save_issue(&hang).unwrap();
    restart(fleet, &hang, at.plus(Duration::from_millis(400)));
    fault(fleet, now.minus(seconds(16)), 60, "instance/cart-1", FaultKind::Pause, "pause cart-1 for 60 s");
}

/// The restart of what hangs, under way: its step is in the journal.
pub(super) fn restart(fleet: &Fleet, issue: &Issue, begin: Time) {
    let plan = restart_plan(fleet.id(begin), issue, begin);
    fleet
        .store
        .add_plan(&plan, PlanStatus::Pending, &["diagnosis confidence 96.0 % is above 85 %".to_owned()])
        .unwrap();
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
    let token = plan.tokens().next().unwrap();
    let captured =
        Captured::Process { instance: issue.resource.instance().unwrap().clone(), incarnation: None };
    fleet
        .store
        .append_intent(token, &plan.steps[0], &captured, begin.plus(Duration::from_millis(20)))
        .unwrap();
}

/// A slow path, found and being watched after the repair.
pub(super) fn slow_path(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(95));
    let mut slow = issue(
        fleet,
        at,
        IssueKind::NetworkLatency,
        Reason::OneBackend,
        "link/front->catalogue",
        "front waits 412 ms for catalogue (p95), limit 200 ms; only the path to catalogue-1 is slow",
    );
    slow.severity = Severity::Medium;
    slow.metrics = BTreeMap::from([("p95_ms".to_owned(), 412.0), ("threshold".to_owned(), 200.0)]);
    fleet.store.save_issue(&slow).unwrap();
    let begin = at.plus(Duration::from_millis(900));
    let plan = reroute(fleet.id(begin), &slow, begin);
    fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
    let token = plan.tokens().next().unwrap();
    fleet.store.append_intent(token, &plan.steps[0], &Captured::Nothing, begin).unwrap();
    fleet.store.append_ending(token, &Ending::Done, begin.plus(Duration::from_millis(130))).unwrap();
    let verifying = begin.plus(Duration::from_millis(140));
    fleet
        .store
        .set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Verifying, verifying, None)
        .unwrap();
    let kind = FaultKind::NetworkLatency {
        delay: Duration::from_millis(400),
        jitter: Duration::from_millis(40),
        scope: PathScope::Backend(name("catalogue").instance(1)),
    };
    fault(
        fleet,
        now.minus(seconds(100)),
        180,
        "link/front->catalogue",
        kind,
        "slow the path from front to catalogue-1 by 400 ms",
    );
}

fn reroute(id: PlanId, issue: &Issue, at: Time) -> Plan {
    let link: LinkName = "front->catalogue".parse().unwrap();
    let instance = name("catalogue").instance(1);
    Plan {
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy: Strategy::RerouteTraffic,
            cause: Cause {
                resource: ResourceId::Link(link.clone()),
                class: CauseClass::PathSlow,
                confidence: Percent(91.0),
                pattern: "one path slow, instance well".to_owned(),
                evidence: vec![
                    EvidenceItem {
                        resource: ResourceId::Link(link.clone()),
                        text: "the check through this path takes 398 ms, others 1 ms".to_owned(),
                    },
                    EvidenceItem {
                        resource: ResourceId::Instance(instance.clone()),
                        text: "answers its own probe in 2 ms".to_owned(),
                    },
                ],
            },
        },
        summary: "take catalogue-1 out of the balancing of front, whose path to it is slow".to_owned(),
        expected_effect:
            "p95 of front → catalogue falls below 200 ms within 5 s; catalogue-0 takes all requests"
                .to_owned(),
        steps: vec![Step {
            action: Action::EjectBackend { link, instance },
            undo: Undo::Exact,
            timeout: seconds(5),
        }],
        lift_after: Some(seconds(600)),
        ..restart_plan_base(id, issue, at)
    }
}

fn restart_plan_base(id: PlanId, issue: &Issue, at: Time) -> Plan {
    Plan {
        id,
        intent: Intent::Operation { why: String::new() },
        requested_by: Actor::Healing,
        summary: String::new(),
        expected_effect: String::new(),
        steps: Vec::new(),
        verify: Some(Signal {
            kind: issue.kind,
            resource: issue.resource.clone(),
            deadline: seconds(15),
            hold: seconds(10),
        }),
        blast_radius: vec![issue.resource.clone()],
        lift_after: None,
        created_at: at,
    }
}

/// A full disk whose repair removes files: waits for a person.
pub(super) fn full_disk(fleet: &Fleet, now: Time) {
    let at = now.minus(seconds(260));
    let mut full = issue(
        fleet,
        at,
        IssueKind::DiskFull,
        Reason::Cache,
        "volume/catalogue-0",
        "the volume of catalogue-0 is 97 % full, limit 95 %; 48 MiB of it are cached files",
    );
    full.metrics = BTreeMap::from([("used_percent".to_owned(), 97.0), ("threshold".to_owned(), 95.0)]);
    fleet.store.save_issue(&full).unwrap();
    let instance = name("catalogue").instance(0);
    let plan = Plan {
        intent: Intent::Remediation {
            issue: full.id,
            kind: full.kind,
            reason: full.reason,
            severity: full.severity,
            strategy: Strategy::ClearCaches,
            cause: Cause {
                resource: full.resource.clone(),
                class: CauseClass::DiskExhausted,
                confidence: Percent(82.0),
                pattern: "cache is most of it".to_owned(),
                evidence: vec![EvidenceItem {
                    resource: full.resource.clone(),
                    text: "48 of 62 MiB are below cache/".to_owned(),
                }],
            },
        },
        summary: "remove cached files of catalogue-0 older than 1 h, because its volume is 97 % full"
            .to_owned(),
        expected_effect: "the volume of catalogue-0 falls to about 22 %".to_owned(),
        steps: vec![
            Step {
                action: Action::ClearCaches { instance: instance.clone() },
                undo: Undo::NothingToRestore,
                timeout: seconds(10),
            },
            Step {
                action: Action::RemoveFiles { instance, class: FileClass::Cache, older_than: seconds(3600) },
                undo: Undo::Irreversible,
                timeout: seconds(10),
            },
        ],
        ..restart_plan_base(fleet.id(at.plus(seconds(1))), &full, at.plus(seconds(1)))
    };
    let reasons = [
        "diagnosis confidence 82.0 % is below 85 %".to_owned(),
        "step 2 of 2 removes files, which cannot be taken back".to_owned(),
    ];
    fleet.store.add_plan(&plan, PlanStatus::AwaitingApproval, &reasons).unwrap();
}
