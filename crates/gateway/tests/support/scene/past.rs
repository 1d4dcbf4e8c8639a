//! Faults of our own, and repairs that are over.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{
    Action, Actor, Captured, ExperimentId, Fault, FaultKind, InstanceName, Intent, IssueKind, Outcome,
    OutcomeKind, Plan, PlanId, PlanStatus, Reason, ResourceId, Step, StepToken, Time, Undo,
};
use gateway::RunningFault;
use store::{Ending, ExperimentRecord, ExperimentStatus, SlotLimits};

use super::seconds;
use super::trouble::issue;
use crate::support::{Fleet, restart_plan};

/// Repairs that are over, each with its fault.
pub(super) fn past(fleet: &Fleet, now: Time) {
    let runs = [
        (2_700, "instance/orders-0", OutcomeKind::Healed),
        (820, "instance/payments-1", OutcomeKind::Healed),
        (610, "instance/cart-0", OutcomeKind::NotHealed),
        (555, "instance/cart-0", OutcomeKind::Healed),
        (470, "instance/front-1", OutcomeKind::SelfRecovered),
    ];
    for (age, resource, kind) in runs {
        let at = now.minus(seconds(age));
        let instance = resource.split_once('/').unwrap().1;
        let text = format!("{instance} runs but does not answer: 3 probes failed in a row, limit 3");
        let mut over = issue(fleet, at, IssueKind::PodCrash, Reason::Unresponsive, resource, &text);
        over.closed_at = Some(at.plus(seconds(21)));
        over.metrics = BTreeMap::from([("failed_probes".to_owned(), 3.0), ("threshold".to_owned(), 3.0)]);
        fleet.store.save_issue(&over).unwrap();
        let begin = at.plus(Duration::from_millis(300));
        let plan = restart_plan(fleet.id(begin), &over, begin);
        fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
        fleet.store.start_plan(plan.id, &SlotLimits::NONE, begin).unwrap();
        let token = plan.tokens().next().unwrap();
        let instance: InstanceName = instance.parse().unwrap();
        let captured = Captured::Process { instance, incarnation: None };
        fleet.store.append_intent(token, &plan.steps[0], &captured, begin).unwrap();
        fleet.store.append_ending(token, &Ending::Done, begin.plus(seconds(1))).unwrap();
        let healed = kind != OutcomeKind::NotHealed;
        let end = at.plus(seconds(21));
        let status = if healed { PlanStatus::Success } else { PlanStatus::Failed };
        fleet
            .store
            .set_plan_status(plan.id, PlanStatus::InProgress, PlanStatus::Verifying, begin, None)
            .unwrap();
        let error = (!healed).then_some("it hung again within the hold window");
        fleet.store.set_plan_status(plan.id, PlanStatus::Verifying, status, end, error).unwrap();
        let outcome = Outcome {
            plan: plan.id,
            kind,
            started_at: Some(begin),
            verified_at: healed.then(|| begin.plus(Duration::from_millis(2300))),
            decided_at: end,
            rolled_back: false,
            explanation: error.map(str::to_owned),
        };
        fleet.store.save_outcome(&outcome, end).unwrap();
        finished_fault(fleet, at.minus(seconds(2)), resource);
    }
}

/// So many issues of cart that are over, one a minute.
pub(super) fn issues(fleet: &Fleet, now: Time, many: u64) {
    for n in (1..=many).rev() {
        let at = now.minus(seconds(60 * n));
        let text = format!("cart-{} runs but does not answer: 3 probes failed in a row, limit 3", n % 2);
        let resource = format!("instance/cart-{}", n % 2);
        let mut over = issue(fleet, at, IssueKind::PodCrash, Reason::Unresponsive, &resource, &text);
        over.closed_at = Some(at.plus(seconds(10 + n)));
        fleet.store.save_issue(&over).unwrap();
    }
}

fn finished_fault(fleet: &Fleet, at: Time, resource: &str) {
    let (plan, experiment) = experiment_plan(fleet, at, 30, resource, FaultKind::Pause, "pause for 30 s");
    fleet.store.start_plan(plan, &SlotLimits::NONE, at).unwrap();
    let end = at.plus(seconds(24));
    fleet.store.set_plan_status(plan, PlanStatus::InProgress, PlanStatus::Success, end, None).unwrap();
    let document = serde_json::json!({
        "name": format!("pause {resource}"), "type": "pause", "target": {"resource": resource},
        "duration_seconds": 30, "severity": "medium", "safety_level": "dev", "auto_rollback": true,
        "started_at": at.rfc3339(), "completed_at": end.rfc3339(), "recovery_time_seconds": 2.3,
        "passed": true, "verdict": "the shop served all along; the hang was found after 1.6 s and repaired 2.3 s later",
    });
    save_experiment(fleet, experiment, ExperimentStatus::Completed, &document, at);
}

pub(super) fn fault(fleet: &Fleet, at: Time, length: u64, resource: &str, kind: FaultKind, summary: &str) {
    let (plan, experiment) = experiment_plan(fleet, at, length, resource, kind.clone(), summary);
    fleet.store.start_plan(plan, &SlotLimits::NONE, at).unwrap();
    let document = serde_json::json!({
        "name": summary, "type": kind.name(), "target": {"resource": resource},
        "fault": Fault { target: resource.parse().unwrap(), kind: kind.clone(), duration: seconds(length) },
        "duration_seconds": length, "severity": "medium", "safety_level": "dev", "started_at": at.rfc3339(),
    });
    save_experiment(fleet, experiment, ExperimentStatus::Running, &document, at);
    fleet.faults.lock().unwrap().push(RunningFault {
        token: StepToken { plan, index: 0 },
        fault: Fault { target: resource.parse().unwrap(), kind, duration: seconds(length) },
        since: at,
        until: at.plus(seconds(length)),
        experiment: Some(experiment),
    });
}

fn experiment_plan(
    fleet: &Fleet,
    at: Time,
    length: u64,
    resource: &str,
    kind: FaultKind,
    summary: &str,
) -> (PlanId, ExperimentId) {
    let (id, experiment): (PlanId, ExperimentId) = (fleet.id(at), fleet.id(at));
    let target: ResourceId = resource.parse().unwrap();
    let plan = Plan {
        id,
        intent: Intent::Experiment { experiment },
        requested_by: Actor::Chaos,
        summary: summary.to_owned(),
        expected_effect: "the shop goes on serving".to_owned(),
        steps: vec![Step {
            action: Action::Inject(Fault { target: target.clone(), kind, duration: seconds(length) }),
            undo: Undo::Exact,
            timeout: seconds(5),
        }],
        verify: None,
        blast_radius: vec![target],
        lift_after: None,
        created_at: at,
    };
    fleet.store.add_plan(&plan, PlanStatus::Pending, &[]).unwrap();
    (id, experiment)
}

fn save_experiment(
    fleet: &Fleet,
    id: ExperimentId,
    status: ExperimentStatus,
    document: &serde_json::Value,
    at: Time,
) {
    let record = ExperimentRecord { id, status, document: document.to_string(), created_at: at };
    fleet.store.save_experiment(&record).unwrap();
}
