//! Files that are read, and files of which every fault is named with its place.

use std::time::Duration;

use crate::Engine;
use crate::rules::{FileError, Purpose, RuleFiles, read_all};

fn read(yaml: &str) -> Result<RuleFiles, FileError> {
    read_all(&[("rules.yaml", yaml.as_bytes())], &Engine::default())
}

#[test]
fn a_file_is_read_as_prometheus_reads_it() {
    let files = read(
        "groups:
- name: shop
  interval: 30s
  query_offset: 1m
  limit: 10
  partial_response_strategy: abort
  labels: {team: web, severity: none}
  rules:
  - record: job:requests:rate5m
    expr: sum by (job) (rate(requests_total[5m]))
    labels: {code: 0500}
  - alert: Down
    expr: up == 0
    for: 5m
    keep_firing_for: 1h30m
    labels:
      severity: page
      level: 1
    annotations:
      summary: '{{ $labels.job }} is down'
",
    )
    .unwrap();
    let group = &files.groups[0];
    assert_eq!(
        (group.interval, group.query_offset),
        (Some(Duration::from_secs(30)), Some(Duration::from_secs(60)))
    );
    assert_eq!((&*group.name, group.limit, group.rules.len()), ("shop", 10, 2));
    let labels: Vec<_> = group.rules[0].written_labels().into_iter().collect();
    // What looks like a number is the text that stands there.
    let expected = [("code", "0500"), ("severity", "none"), ("team", "web")];
    assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let Purpose::Alert { hold, keep_firing, .. } = &group.rules[1].kind else { panic!("no alert") };
    assert_eq!((hold.as_secs(), keep_firing.as_secs()), (300, 5400));
    let labels = group.rules[1].written_labels();
    assert_eq!((&*labels["severity"], &*labels["team"], &*labels["level"]), ("page", "web", "1"));
    assert_eq!(group.rules[1].line, 12);
    let note = files.notes[0].to_string();
    assert!(note.starts_with("rules.yaml:6:30: groups[0].partial_response_strategy: is Thanos'"), "{note}");
}

#[test]
fn a_file_without_groups_has_none() {
    for empty in ["", "# nothing\n", "groups:\n", "groups: []\n"] {
        assert_eq!(read(empty).unwrap(), RuleFiles::default(), "{empty:?}");
    }
}

#[test]
fn all_that_is_wrong_is_told_with_its_place() {
    let error = read(
        "groups:
- name: a
  intervall: 30s
  rules:
  - record: a:b
    expr: sum(rate(x[5m])
  - alert: Down
    expr: |
      up
      == bool 0 +
    for: 5 minutes
    annotations:
      summary: 'is {{ $label.job }}'
  - expr: up
  - record: x{a=\"b\"}
    expr: 1
    for: 5m
    annotations: {a: b}
  - {record: a, alert: b, expr: 1}
- name: a
  limit: many
  rules: up
- rules: []
",
    )
    .unwrap_err()
    .to_string();
    let expected = [
        ("rules.yaml:3:3: groups[0].intervall: is no field known here", ""),
        ("rules.yaml:6:26: groups[0].rules[0].expr: ", "expected \",\" or \")\""),
        ("rules.yaml:10:18: groups[0].rules[1].expr: ", "expected a metric"),
        ("rules.yaml:11:10: groups[0].rules[1].for: is \"5 minutes\"; a duration", ""),
        ("rules.yaml:13:23: groups[0].rules[1].annotations.summary: undefined variable \"$label\"", ""),
        ("rules.yaml:14:5: groups[0].rules[2]: has neither `record` nor `alert`", ""),
        (
            "rules.yaml:15:13: groups[0].rules[3].record: is \"x{a=\\\"b\\\"}\"; the name of a series was expected",
            "",
        ),
        ("rules.yaml:17:5: groups[0].rules[3].for: belongs to an alert", ""),
        ("rules.yaml:18:5: groups[0].rules[3].annotations: belongs to an alert", ""),
        ("rules.yaml:19:17: groups[0].rules[4].alert: stands beside `record`", ""),
        (
            "rules.yaml:20:3: groups[1]: is the second group with the name \"a\"; the first begins in line 2",
            "",
        ),
        ("rules.yaml:21:10: groups[1].limit: is \"many\"; a whole number", ""),
        ("rules.yaml:22:10: groups[1].rules: is text, must be a list", ""),
        ("rules.yaml:23:3: groups[2]: has no `name`", ""),
    ];
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{error}");
    for (line, (begins, contains)) in lines.iter().zip(expected) {
        assert!(line.starts_with(begins) && line.contains(contains), "{line}\n{error}");
    }
}

#[test]
fn nothing_of_several_files_is_read_where_one_is_wrong() {
    let good = "groups: [{name: a, rules: [{record: a, expr: 1}]}]";
    let files = [("good.yaml", good.as_bytes()), ("bad.yaml", b"groups: [{name: a, rules: [{record: a}]}]")];
    let error = read_all(&files, &Engine::default()).unwrap_err();
    assert_eq!(error.to_string(), "bad.yaml:1:28: groups[0].rules[0]: has no `expr`, which is needed");
    // The same name in two files is two groups.
    let files = [("a.yaml", good.as_bytes()), ("b.yaml", good.as_bytes())];
    assert_eq!(read_all(&files, &Engine::default()).unwrap().groups.len(), 2);
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    for (yaml, place) in [
        (&b"groups: [\n"[..], "rules.yaml:"),
        (b"a: \xff", "rules.yaml:1:4: is not UTF-8"),
        (b"---\ngroups:\n---\ngroups:\n", "rules.yaml:"),
    ] {
        let error = read_all(&[("rules.yaml", yaml)], &Engine::default()).unwrap_err().to_string();
        assert!(error.starts_with(place), "{error}");
    }
}
