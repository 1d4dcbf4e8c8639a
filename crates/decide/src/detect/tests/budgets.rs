//! A burning error budget: where it is an issue, how bad it makes others, and when it is over.

use super::*;

fn found(fleet: &Fleet) -> Vec<Finding> {
    let mut findings = detect(&fleet.snapshot, &Thresholds::default());
    findings.retain(|finding| finding.kind == IssueKind::SloBurn);
    findings
}

#[test]
fn it_is_one_issue_of_the_service_with_its_windows_and_what_is_left() {
    let mut fleet = Fleet::healthy();
    assert!(found(&fleet).is_empty());
    fleet.burning("service/cart", 40.0, 40.0);
    let [finding] = &found(&fleet)[..] else { panic!("{:?}", found(&fleet)) };
    assert_eq!(finding.resource, "service/cart".parse().unwrap());
    assert_eq!(
        finding.description,
        "objective answers: its error budget burns 40.0 times over 5 min and 40.0 times over 1 h as fast as it lasts (limit 14.4); 50.0 % of the budget is left"
    );
    assert_eq!((finding.metrics["burn_rate"], finding.metrics["window_minutes"]), (40.0, 60.0));
}

#[test]
fn it_is_over_when_no_alert_fires_there_and_not_known_without_objectives() {
    let mut fleet = Fleet::healthy();
    let cart: ResourceId = "service/cart".parse().unwrap();
    let judged = |fleet: &Fleet| verdict(IssueKind::SloBurn, &cart, &fleet.snapshot, &Thresholds::default());
    assert_eq!(judged(&fleet), Verdict::Unknown);
    assert_eq!(judged(fleet.burning("service/orders", 40.0, 40.0)), Verdict::Healthy);
    assert!(matches!(judged(fleet.burning("service/cart", 40.0, 40.0)), Verdict::Unhealthy(_)));
}

#[test]
fn what_burns_a_budget_is_worse_than_what_does_not() {
    let severity = |rate: Option<f64>| {
        let mut fleet = Fleet::healthy();
        fleet.memory("cart-0", 97.0);
        if let Some(rate) = rate {
            fleet.burning("service/cart", rate, rate);
        }
        let findings = detect(&fleet.snapshot, &Thresholds::default());
        findings.iter().find(|finding| finding.kind == IssueKind::HighMemory).unwrap().severity
    };
    let rates = [None, Some(14.5), Some(30.0), Some(1000.0)].map(severity);
    assert!(rates.is_sorted(), "{rates:?}");
    assert!(rates[0] < rates[3], "{rates:?}");
}
