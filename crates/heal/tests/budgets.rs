//! Error budgets in the loop, in simulation: a burning one is an issue of the service, brings no second repair, and ends.

mod support;

use std::time::Duration;

use domain::fault::FaultKind;
use domain::{Fault, Issue, IssueKind, OutcomeKind, ResourceId};
use store::{IssueFilter, PlanFilter, PlanPurpose, PlanRecord};
use support::{Lab, automatic};

/// Requests to a service, of which so many have to be answered.
fn answered(service: &str, percent: f64) -> slo::Objective {
    let text = format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: answers}}\nspec:\n  service: {service}\n  budgetingMethod: Occurrences\n  \
         timeWindow: [{{duration: 30d, isRolling: true}}]\n  alertPolicies: [{{kind: AlertPolicy, metadata: {{name: fast}}, spec: {{alertWhenBreaching: true, \
         conditions: [{{kind: AlertCondition, metadata: {{name: fast}}, spec: {{severity: page, condition: {{kind: burnrate, op: gt, \
         threshold: 14.4, lookbackWindow: 5m, alertAfter: 0m}}}}}}], notificationTargets: []}}}}]\n  objectives: [{{targetPercent: {percent}}}]\n  indicator:\n    spec:\n      \
         ratioMetric:\n        counter: true\n        bad: {{metricSource: {{type: Homeostat, spec: {{events: requests, to: {service}, outcome: bad}}}}}}\n        \
         total: {{metricSource: {{type: Homeostat, spec: {{events: requests, to: {service}}}}}}}\n"
    );
    slo::read("slos.yaml", text.as_bytes()).unwrap().remove(0)
}

fn pause(instance: &str) -> Fault {
    let target = ResourceId::Instance(instance.parse().unwrap());
    Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(600) }
}

fn budget_issues(lab: &Lab) -> Vec<Issue> {
    let filter = IssueFilter { kind: Some(IssueKind::SloBurn), ..IssueFilter::default() };
    lab.store.issues(&filter).unwrap()
}

fn repairs(lab: &Lab) -> Vec<PlanRecord> {
    let filter = PlanFilter { only: Some(PlanPurpose::Remediation), ..PlanFilter::default() };
    lab.store.plans(&filter).unwrap()
}

/// Turns until something is so; `None` where it is not within this time.
fn until(lab: &Lab, seconds: u64, done: impl Fn(&Lab) -> bool) -> Option<Duration> {
    let begun = lab.now();
    while lab.now().since(begun) < Duration::from_secs(seconds) {
        if done(lab) {
            return Some(lab.now().since(begun));
        }
        lab.turn();
    }
    None
}

#[test]
fn a_burning_budget_is_an_issue_of_the_service_and_the_one_repair_is_that_of_its_cause() {
    let mut lab = Lab::shop(automatic());
    lab.promise(vec![answered("payments", 99.9999)]);
    assert!(until(&lab, 120, |lab| !budget_issues(lab).is_empty()).is_none(), "nothing burns yet");
    lab.inject(&pause("payments-0")).unwrap();
    let took = until(&lab, 60, |lab| !budget_issues(lab).is_empty()).expect("an issue within a minute");
    assert!(took <= Duration::from_secs(60), "{took:?}");
    let burn = &budget_issues(&lab)[0];
    assert_eq!(burn.resource, "service/payments".parse().unwrap());
    assert!(burn.metrics["burn_rate"] > burn.metrics["threshold"], "{}", burn.description);
    until(&lab, 60, |lab| repairs(lab).iter().any(|repair| repair.outcome.is_some()))
        .expect("it is repaired");
    // Its windows empty for minutes after that.
    until(&lab, 1800, |lab| budget_issues(lab).iter().all(|issue| issue.closed_at.is_some()))
        .expect("it ends");
    let repairs = repairs(&lab);
    assert_eq!(
        repairs.len(),
        1,
        "{:?}",
        repairs.iter().map(|repair| &repair.plan.summary).collect::<Vec<_>>()
    );
    assert_eq!(repairs[0].outcome.as_ref().map(|outcome| outcome.kind), Some(OutcomeKind::Healed));
    assert!(budget_issues(&lab).len() == 1, "one issue, however long it burned");
}

#[test]
fn a_quiet_hour_burns_no_budget() {
    let mut lab = Lab::shop(automatic());
    lab.promise(vec![answered("front", 99.9), answered("cart", 99.9)]);
    for _ in 0..3600 {
        if let Some(objectives) = &lab.objectives {
            objectives.tick(lab.now());
        }
        lab.observer.snapshot().unwrap();
        lab.clock_passes(Duration::from_secs(1));
    }
    lab.turn();
    assert!(budget_issues(&lab).is_empty(), "{:?}", budget_issues(&lab));
}
