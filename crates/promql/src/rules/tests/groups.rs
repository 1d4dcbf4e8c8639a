//! What a group records and when.

use super::{MINUTE, Running, SECOND, group, shown};
use crate::rules::{Beginning, Health, Progress};

#[test]
fn a_rule_finds_what_those_before_it_recorded() {
    let mut running = Running::new(
        "groups:
- name: a
  rules:
  - {record: doubled, expr: 2 * x, labels: {kind: twice, job: ''}}
  - {record: again, expr: doubled + 1}
  - {record: none, expr: 'count_over_time(doubled[1m])'}
",
    );
    running.memory.set("x", &[("job", "a"), ("i", "1")], 0, 4.0);
    let recorded = shown(&running.evaluate(SECOND).samples);
    assert_eq!(
        recorded,
        [
            "doubled{i=\"1\", kind=\"twice\"} 8",
            "again{i=\"1\", kind=\"twice\"} 9",
            "none{i=\"1\", kind=\"twice\"} 1"
        ]
    );
    assert_eq!(shown(&running.evaluate(30 * SECOND).samples)[2], "none{i=\"1\", kind=\"twice\"} 2");
}

#[test]
fn a_series_that_is_no_more_ends() {
    let mut running = Running::new("groups: [{name: a, rules: [{record: y, expr: x > 1}]}]");
    running.memory.set("x", &[("i", "1")], 0, 4.0);
    running.evaluate(0);
    running.memory.set("x", &[("i", "1")], MINUTE, 0.0);
    assert_eq!(shown(&running.evaluate(MINUTE).samples), ["y{i=\"1\"} ends"]);
    // Once.
    assert_eq!(running.evaluate(2 * MINUTE).samples, []);
}

#[test]
fn a_rule_that_fails_says_why_and_the_others_go_on() {
    let mut running = Running::new(
        "groups:
- name: a
  limit: 1
  rules:
  - {record: y, expr: 'label_replace(x, \"i\", \"\", \"\", \"\")'}
  - {record: z, expr: x}
  - {record: w, expr: 'sum(x)'}
  - {record: text, expr: '\"a\"'}
",
    );
    running.memory.set("x", &[("i", "1")], 0, 4.0);
    running.memory.set("x", &[("i", "2")], 0, 5.0);
    let evaluated = running.evaluate(0);
    assert_eq!(shown(&evaluated.samples), ["w{} 9"]);
    let state = running.progress.state(&running.group, std::time::Duration::from_secs(60));
    let health: Vec<&Health> = state.rules.iter().map(|rule| &rule.health).collect();
    assert!(matches!(health[0], Health::Bad(_)), "{health:?}");
    assert_eq!(health[1], &Health::Bad("exceeded limit of 1 with 2 series".to_owned()));
    assert_eq!(health[2], &Health::Good);
    assert_eq!(health[3], &Health::Bad("rule result is not a vector or scalar".to_owned()));
    assert_eq!(evaluated.failed.len(), 3);
}

#[test]
fn an_offset_looks_back_and_is_stamped_so() {
    let mut running = Running::new("groups: [{name: a, query_offset: 1m, rules: [{record: y, expr: x}]}]");
    running.memory.set("x", &[], 0, 1.0);
    running.memory.set("x", &[], MINUTE, 2.0);
    let evaluated = running.evaluate(MINUTE);
    assert_eq!(shown(&evaluated.samples), ["y{} 1"]);
    assert_eq!(evaluated.samples[0].1.at_ms, 0);
}

#[test]
fn rules_read_anew_go_on_and_those_that_are_gone_end() {
    let before = "groups: [{name: a, rules: [{record: y, expr: x}, {record: z, expr: x}, {alert: A, expr: x, for: 10m}]}]";
    let after = "groups: [{name: a, rules: [{alert: A, expr: x > 0, for: 10m}, {record: y, expr: x * 2}]}]";
    let mut running = Running::new(before);
    running.memory.set("x", &[], 0, 1.0);
    running.evaluate(0);
    let to = group(after);
    running.progress = std::mem::take(&mut running.progress).carried(&running.group, &to);
    running.group = to;
    let lines = shown(&running.evaluate(MINUTE).samples);
    assert!(lines.contains(&"z{} ends".to_owned()) && lines.contains(&"y{} 2".to_owned()), "{lines:?}");
    // Since the first evaluation.
    let alert = running.progress.alerts().next().unwrap().1.clone();
    assert_eq!(alert.active_at_ms, 0);
    // All of it is over.
    let ended = shown(&running.progress.ended(2 * MINUTE));
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(ended.iter().all(|line| line.ends_with(" ends")));
    assert_eq!(Progress::new(&running.group, Beginning::Anew).ended(0), []);
}
