//! Alerts from inactive to resolved, and over restarts.

use proptest::prelude::*;

use super::{MINUTE, Memory, Running, SECOND, shown};
use crate::rules::{ActivePhase, Alert, Beginning, Phase};

const DOWN: &str = "groups:
- name: a
  rules:
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: '{{ if eq $labels.job \"db\" }}page{{ else }}ticket{{ end }}', region: '{{ $externalLabels.region }}'}
    annotations: {summary: '{{ $labels.job }} has {{ $value }}'}
";

fn changes(changed: &[(usize, Alert)]) -> Vec<(String, Phase)> {
    changed.iter().map(|(_, alert)| (alert.labels.get("job").to_owned(), alert.phase)).collect()
}

#[test]
fn an_alert_waits_fires_and_is_resolved() {
    let mut running = Running::new(DOWN);
    let mut turn = |minute: i64, up: f64| {
        running.memory.set("up", &[("job", "db")], minute * MINUTE, up);
        let evaluated = running.evaluate(minute * MINUTE);
        (changes(&evaluated.changed), shown(&evaluated.samples))
    };
    let labels = "alertname=\"Down\"";
    let rest = "job=\"db\", region=\"eu\", severity=\"page\"";
    assert_eq!(turn(0, 1.0), (vec![], vec![]));
    let pending = format!("ALERTS{{{labels}, alertstate=\"pending\", {rest}}}");
    let firing = format!("ALERTS{{{labels}, alertstate=\"firing\", {rest}}}");
    let since = format!("ALERTS_FOR_STATE{{{labels}, {rest}}}");
    let db = |phase| vec![("db".to_owned(), phase)];
    assert_eq!(turn(1, 0.0), (db(Phase::Pending), vec![format!("{pending} 1"), format!("{since} 60")]));
    assert_eq!(turn(2, 0.0).0, []);
    // The series of the phase before ends.
    let ended = vec![format!("{firing} 1"), format!("{since} 60"), format!("{pending} ends")];
    assert_eq!(turn(3, 0.0), (db(Phase::Firing), ended));
    let resolved = db(Phase::Resolved { at_ms: 4 * MINUTE });
    assert_eq!(turn(4, 1.0), (resolved, vec![format!("{firing} ends"), format!("{since} ends")]));
    // It begins anew.
    assert_eq!(turn(5, 0.0).0, db(Phase::Pending));
    assert_eq!(turn(6, 1.0).0, []);
    assert_eq!(running.progress.alerts().count(), 0);
}

#[test]
fn what_is_said_of_an_alert_is_of_now() {
    let mut running = Running::new(
        "groups: [{name: a, rules: [{alert: Hot, expr: t > 10, annotations: {now: '{{ $value }}'}}]}]",
    );
    for (minute, value) in [(0, 11.0), (1, 12.0)] {
        running.memory.set("t", &[], minute * MINUTE, value);
        running.evaluate(minute * MINUTE);
    }
    let state = running.progress.state(&running.group, std::time::Duration::from_secs(60));
    // Without `for` it fires at once.
    assert_eq!(state.rules[0].phase(), Some(ActivePhase::Firing));
    let alert = running.progress.alerts().next().unwrap().1;
    assert_eq!((alert.value, &*alert.annotations["now"], alert.active_at_ms), (12.0, "12", 0));
}

#[test]
fn an_alert_that_keeps_firing_is_resolved_later() {
    let mut running =
        Running::new("groups: [{name: a, rules: [{alert: Hot, expr: t > 10, keep_firing_for: 2m}]}]");
    let mut turn = |minute: i64, value: f64| {
        running.memory.set("t", &[], minute * MINUTE, value);
        let evaluated = running.evaluate(minute * MINUTE);
        evaluated.changed.into_iter().map(|(_, alert)| alert.phase).collect::<Vec<_>>()
    };
    assert_eq!(turn(0, 11.0), [Phase::Pending, Phase::Firing]);
    assert_eq!(turn(1, 1.0), []);
    assert_eq!(turn(2, 11.0), []);
    assert_eq!(turn(3, 1.0), []);
    assert_eq!(turn(4, 1.0), []);
    assert_eq!(turn(5, 1.0), [Phase::Resolved { at_ms: 5 * MINUTE }]);
    // Remembered, so that whoever missed it is told again.
    assert_eq!(turn(20, 1.0), []);
    assert_eq!(running.progress.alerts().count(), 1);
    running.evaluate(21 * MINUTE);
    assert_eq!(running.progress.alerts().count(), 0);
}

#[test]
fn two_alerts_of_the_same_labels_are_an_error() {
    let mut running =
        Running::new("groups: [{name: a, rules: [{alert: Hot, expr: t > 10, labels: {i: ''}}]}]");
    running.memory.set("t", &[("i", "1")], 0, 11.0);
    running.memory.set("t", &[("i", "2")], 0, 11.0);
    let failed = running.evaluate(0).failed;
    assert_eq!(failed[0].1, "vector contains metrics with the same labelset after applying alert labels");
}

#[test]
fn too_many_alerts_are_none() {
    let mut running = Running::new("groups: [{name: a, limit: 1, rules: [{alert: Hot, expr: t > 10}]}]");
    running.memory.set("t", &[("i", "1")], 0, 11.0);
    running.evaluate(0);
    running.memory.set("t", &[("i", "2")], MINUTE, 11.0);
    let evaluated = running.evaluate(MINUTE);
    assert_eq!(evaluated.failed[0].1, "exceeded limit of 1 with 2 alerts");
    assert_eq!((evaluated.changed.len(), running.progress.alerts().count()), (0, 0));
}

const LONG: &str = "groups: [{name: a, rules: [{alert: Long, expr: t > 10, for: 30m}]}]";

/// An alert that is active from minute 0 to `down`, nobody until `up`, and then again; the minute in which it fires.
fn fires_after_outage(down: i64, up: i64) -> Option<i64> {
    let mut running = Running::new(LONG);
    for minute in 0..=down {
        running.memory.set("t", &[], minute * MINUTE, 11.0);
        running.evaluate(minute * MINUTE);
    }
    let mut running = Running::beginning(LONG, Beginning::Restart, running.memory);
    for minute in up..up + 120 {
        running.memory.set("t", &[], minute * MINUTE, 11.0);
        let evaluated = running.evaluate(minute * MINUTE);
        if minute == up {
            assert_eq!(evaluated.samples, [], "what is recorded before it is restored hides what was");
        }
        if evaluated.changed.iter().any(|(_, alert)| alert.phase == Phase::Firing) {
            return Some(minute);
        }
    }
    None
}

#[test]
fn an_alert_goes_on_after_a_restart() {
    // It waited 10 min of 30: 20 are left, from the second evaluation at minute 16.
    assert_eq!(fires_after_outage(10, 15), Some(36));
    // 2 min were left: it waits for the grace period of 10.
    assert_eq!(fires_after_outage(28, 35), Some(46));
    // It fired: with the next evaluation it does again.
    assert_eq!(fires_after_outage(40, 45), Some(47));
    // Longer ago than an outage may last: it begins anew.
    assert_eq!(fires_after_outage(10, 100), Some(130));
}

#[test]
fn an_alert_that_had_ended_before_a_restart_begins_anew() {
    let mut running = Running::new(LONG);
    for (minute, value) in [(0, 11.0), (1, 11.0), (2, 1.0)] {
        running.memory.set("t", &[], minute * MINUTE, value);
        running.evaluate(minute * MINUTE);
    }
    let mut running = Running::beginning(LONG, Beginning::Restart, running.memory);
    for minute in 3..6 {
        running.memory.set("t", &[], minute * MINUTE, 11.0);
        running.evaluate(minute * MINUTE);
    }
    assert_eq!(running.progress.alerts().next().unwrap().1.active_at_ms, 3 * MINUTE);
}

/// What an alert's phase has to be by the values alone: the rule of Prometheus' documentation, told without state.
fn expected(values: &[bool], hold: usize) -> Option<ActivePhase> {
    let run = values.iter().rev().take_while(|holds| **holds).count();
    match run {
        0 => None,
        run if run > hold => Some(ActivePhase::Firing),
        _ => Some(ActivePhase::Pending),
    }
}

proptest! {
    #[test]
    fn phases_follow_from_values(values in proptest::collection::vec(any::<bool>(), 1..40), hold in 0_usize..6) {
        let yaml = format!("groups: [{{name: a, rules: [{{alert: A, expr: t > 10, for: {}s}}]}}]", hold * 30);
        let mut running = Running::beginning(&yaml, Beginning::Anew, Memory::default());
        for (at, holds) in values.iter().enumerate() {
            let at_ms = at as i64 * 30 * SECOND;
            running.memory.set("t", &[], at_ms, if *holds { 11.0 } else { 1.0 });
            running.evaluate(at_ms);
            let state = running.progress.state(&running.group, std::time::Duration::from_secs(60));
            prop_assert_eq!(state.rules[0].phase(), expected(&values[..=at], hold));
        }
    }
}
