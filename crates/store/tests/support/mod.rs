//! Issues, plans and times to store.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod purging;

use std::time::Duration;

use domain::*;

pub(crate) const NOW: Time = Time { boot_us: 7_200_000_000, wall_us: 1_767_225_600_000_000 };

pub(crate) fn at(seconds: u64) -> Time {
    NOW.plus(Duration::from_secs(seconds))
}

pub(crate) fn issue(seed: u64) -> Issue {
    let now = at(seed);
    Issue {
        id: IdSource::seeded(seed).next(now),
        kind: IssueKind::HighMemory,
        reason: Reason::Unspecified,
        resource: "instance/cart-0".parse().unwrap(),
        severity: Severity::High,
        description: "93 % of its memory limit, above 90 %".to_owned(),
        detected_at: now,
        last_seen: now,
        closed_at: None,
        metrics: [("threshold".to_owned(), 90.0), ("value".to_owned(), 93.0)].into(),
        recurrences: 0,
    }
}

pub(crate) fn restart(instance: &str) -> Step {
    Step {
        action: Action::RestartInstance { instance: instance.parse().unwrap(), manner: StopManner::Drain },
        undo: Undo::NothingToRestore,
        timeout: Duration::from_secs(10),
    }
}

pub(crate) fn pause(instance: &str) -> Step {
    let target = ResourceId::Instance(instance.parse().unwrap());
    let fault = Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(30) };
    Step { action: Action::Inject(fault), undo: Undo::Exact, timeout: Duration::from_secs(1) }
}

fn plan(seed: u64, intent: Intent, step: Step) -> Plan {
    Plan {
        id: IdSource::seeded(seed).next(at(seed)),
        intent,
        requested_by: Actor::Healing,
        summary: "restart it".to_owned(),
        expected_effect: "memory back below 90 %".to_owned(),
        verify: None,
        blast_radius: vec![step.action.resource()],
        lift_after: None,
        created_at: at(seed),
        steps: vec![step],
    }
}

pub(crate) fn repair(seed: u64, issue: &Issue, instance: &str) -> Plan {
    let intent = Intent::Remediation {
        issue: issue.id,
        kind: issue.kind,
        reason: issue.reason,
        severity: issue.severity,
        strategy: Strategy::GracefulRestart,
        cause: Cause {
            resource: issue.resource.clone(),
            class: CauseClass::MemoryExhausted,
            confidence: Percent(90.0),
            pattern: "test".to_owned(),
            evidence: Vec::new(),
        },
    };
    plan(seed, intent, restart(instance))
}

pub(crate) fn experiment(seed: u64, instance: &str) -> Plan {
    let experiment = IdSource::seeded(seed).next(at(seed));
    plan(seed, Intent::Experiment { experiment }, pause(instance))
}

pub(crate) fn first_step(plan: &Plan) -> StepToken {
    StepToken { plan: plan.id, index: 0 }
}
