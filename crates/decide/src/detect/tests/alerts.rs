//! Alerts of rules as issues.

use std::collections::BTreeMap;

use domain::{AlertPhase, Alerts, IdSource, Issue, RuleAlert};

use super::*;
use crate::detect::{IssueChange, track};

fn alert(name: &str, phase: AlertPhase, labels: &[(&str, &str)]) -> RuleAlert {
    let texts = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    RuleAlert {
        name: name.to_owned(),
        phase,
        labels: texts(labels),
        annotations: texts(&[("summary", "too much of it")]),
        value: 4.0,
    }
}

fn firing(name: &str, labels: &[(&str, &str)]) -> RuleAlert {
    alert(name, AlertPhase::Firing, labels)
}

/// What is found where these alerts are there.
fn found(alerts: Vec<RuleAlert>) -> Vec<(IssueKind, String, Severity)> {
    let mut fleet = Fleet::healthy();
    fleet.snapshot.alerts = Alerts::known(alerts);
    let findings = detect(&fleet.snapshot, &Thresholds::default());
    findings.into_iter().map(|f| (f.kind, f.resource.to_string(), f.severity)).collect()
}

#[test]
fn labels_say_what_an_alert_is_about() {
    type Labels = &'static [(&'static str, &'static str)];
    type About = (IssueKind, &'static str, Severity);
    let cases: [(Labels, Option<About>); 9] = [
        (&[("service", "cart")], Some((IssueKind::Alert, "service/cart", Severity::Medium))),
        (
            &[("service", "cart"), ("instance", "cart-0"), ("severity", "page")],
            Some((IssueKind::Alert, "instance/cart-0", Severity::Critical)),
        ),
        (
            &[("instance", "cart-0"), ("issue_type", "high_memory"), ("severity", "Warning")],
            Some((IssueKind::HighMemory, "instance/cart-0", Severity::Medium)),
        ),
        (
            &[("instance", "cart-0"), ("issue_type", "of my own"), ("severity", "info")],
            Some((IssueKind::Alert, "instance/cart-0", Severity::Low)),
        ),
        (
            &[("from", "front"), ("to", "cart"), ("issue_type", "error_rate"), ("severity", "high")],
            Some((IssueKind::ErrorRate, "link/front->cart", Severity::High)),
        ),
        (
            &[("instance", "10.0.0.1:9100"), ("service", "cart")],
            Some((IssueKind::Alert, "service/cart", Severity::Medium)),
        ),
        // None of ours.
        (&[("instance", "cart-17")], None),
        (&[("service", "billing")], None),
        (&[("job", "cart")], None),
    ];
    for (labels, expected) in cases {
        let expected: Vec<_> = expected.into_iter().map(|(k, r, s)| (k, r.to_owned(), s)).collect();
        assert_eq!(found(vec![firing("A", labels)]), expected, "{labels:?}");
    }
}

#[test]
fn what_is_pending_is_no_issue() {
    assert_eq!(found(vec![alert("A", AlertPhase::Pending, &[("service", "cart")])]), []);
}

#[test]
fn several_alerts_about_one_thing_are_one_issue_as_bad_as_the_worst() {
    let mut fleet = Fleet::healthy();
    let alerts = vec![
        firing("Mild", &[("service", "cart"), ("severity", "info")]),
        firing("Bad", &[("service", "cart"), ("severity", "critical")]),
        firing("Other", &[("service", "cart")]),
    ];
    fleet.snapshot.alerts = Alerts::known(alerts);
    let findings = detect(&fleet.snapshot, &Thresholds::default());
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Severity::Critical);
    assert_eq!(findings[0].description, "alert Bad fires: too much of it; 2 alerts more fire here");
}

#[test]
fn of_what_was_not_seen_nothing_is_known() {
    let mut fleet = Fleet::healthy();
    fleet.snapshot.alerts = Alerts::known(Vec::new());
    let judged = |resource: &str| {
        let resource = resource.parse().unwrap();
        verdict(IssueKind::Alert, &resource, &fleet.snapshot, &Thresholds::default())
    };
    assert_eq!(judged("service/cart"), Verdict::Healthy);
    assert_eq!(judged("service/nobody"), Verdict::Unknown);
    assert_eq!(judged("instance/cart-99"), Verdict::Unknown);
}

/// What becomes of an issue of an alert when a second later, and another, these alerts are there.
fn then(opened_by: &RuleAlert, alerts: Option<Vec<RuleAlert>>) -> Vec<IssueChange> {
    let mut fleet = Fleet::healthy();
    let mut ids = IdSource::seeded(1);
    let mut open: Vec<Issue> = Vec::new();
    let mut last = Vec::new();
    for alerts in [Some(vec![opened_by.clone()]), alerts.clone(), alerts] {
        fleet.snapshot.taken = fleet.snapshot.taken.plus(std::time::Duration::from_secs(2));
        fleet.snapshot.alerts = alerts.map_or_else(Alerts::default, Alerts::known);
        let findings = detect(&fleet.snapshot, &Thresholds::default());
        last = track(&open, &findings, &fleet.snapshot, &Thresholds::default(), &[], &mut || {
            ids.next(fleet.snapshot.taken)
        });
        open = match last.first() {
            Some(change) => vec![change.issue().clone()],
            None => open,
        };
    }
    last
}

#[test]
fn an_issue_is_over_when_its_alert_is() {
    // Also of a type whose engine does not judge services.
    for labels in [&[("service", "cart")][..], &[("service", "cart"), ("issue_type", "high_cpu")]] {
        let opened_by = firing("A", labels);
        assert!(matches!(then(&opened_by, Some(vec![]))[..], [IssueChange::Closed(_)]), "{labels:?}");
        assert!(matches!(then(&opened_by, Some(vec![opened_by.clone()]))[..], [IssueChange::Seen(_)]));
    }
}

#[test]
fn an_issue_stays_where_nothing_is_known_of_its_alert() {
    let opened_by = firing("A", &[("service", "cart")]);
    assert_eq!(then(&opened_by, None), [], "the rules were not evaluated yet");
    let pending = alert("A", AlertPhase::Pending, &[("service", "cart")]);
    assert_eq!(then(&opened_by, Some(vec![pending])), [], "it waits again");
}
