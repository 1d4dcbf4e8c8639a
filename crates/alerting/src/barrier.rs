//! The information barrier: alerts of rules that read what is being injected never reach the loop.
//!
//! In: groups of rules. Out: which alerting rules read series about experiments, by themselves or through what other rules
//! record. They are evaluated, shown and sent as any other; only the loop is not told, since detection, diagnosis and the
//! choice of a repair must not see what is being injected.

use std::collections::BTreeSet;

use promql::rules::{Purpose, Rule, RuleGroup};
use promql::{METRIC_NAME, MatchOp, Matcher};

/// What the names of series about experiments begin with.
const PREFIX: &str = "chaos_";

/// Those there are, to try patterns on.
const KNOWN: [&str; 9] = [
    "chaos_active_faults",
    "chaos_blast_radius",
    "chaos_cascade_depth",
    "chaos_experiments_success_total",
    "chaos_experiments_total",
    "chaos_recovery_time_seconds_bucket",
    "chaos_recovery_time_seconds_count",
    "chaos_system_health_score",
    "safety_violations_total",
];

/// The alerting rules that read what is being injected: place of the group, place of the rule.
pub(crate) fn barred<'a>(groups: impl Iterator<Item = &'a RuleGroup> + Clone) -> BTreeSet<(usize, usize)> {
    let mut recorded: BTreeSet<&str> = BTreeSet::new();
    loop {
        let rules = groups.clone().flat_map(|group| &group.rules);
        let more: Vec<&str> = rules
            .filter(|rule| reads_injected(rule, &recorded))
            .map(|rule| match &rule.kind {
                Purpose::Record { .. } => &*rule.name,
                // What it says of itself can be read as well.
                Purpose::Alert { .. } => "ALERTS",
            })
            .collect();
        let before = recorded.len();
        recorded.extend(more);
        if recorded.len() == before {
            break;
        }
    }
    let mut barred = BTreeSet::new();
    for (group_place, group) in groups.enumerate() {
        for (place, rule) in group.rules.iter().enumerate() {
            if matches!(rule.kind, Purpose::Alert { .. }) && reads_injected(rule, &recorded) {
                barred.insert((group_place, place));
            }
        }
    }
    barred
}

fn reads_injected(rule: &Rule, recorded: &BTreeSet<&str>) -> bool {
    let selected = rule.expression.selectors().into_iter().any(|matchers| may_select(matchers, recorded));
    selected || asks_in_template(rule, recorded)
}

/// Whether a selector may select such a series.
fn may_select(matchers: &[Matcher], recorded: &BTreeSet<&str>) -> bool {
    let names: Vec<&Matcher> = matchers.iter().filter(|matcher| &*matcher.name == METRIC_NAME).collect();
    if let Some(equal) = names.iter().find(|matcher| matcher.op == MatchOp::Equal) {
        return equal.value.starts_with(PREFIX)
            || KNOWN.contains(&&*equal.value)
            || is_recorded(&equal.value, matchers, recorded);
    }
    let compiled: Vec<_> = names.iter().filter_map(|matcher| matcher.compiled().ok()).collect();
    let fits = |name: &str| compiled.iter().all(|matcher| matcher.matches(name));
    KNOWN.iter().any(|name| fits(name)) || recorded.iter().any(|name| fits(name))
}

/// Whether what a rule recorded is read. Of alerts it is told by name which are read.
fn is_recorded(name: &str, matchers: &[Matcher], recorded: &BTreeSet<&str>) -> bool {
    let by_name = matchers
        .iter()
        .any(|matcher| &*matcher.name == promql::rules::ALERT_NAME && matcher.op == MatchOp::Equal);
    match name {
        "ALERTS" | "ALERTS_FOR_STATE" => recorded.contains("ALERTS") && !by_name,
        name => recorded.contains(name),
    }
}

/// Templates may ask, too.
fn asks_in_template(rule: &Rule, recorded: &BTreeSet<&str>) -> bool {
    let Purpose::Alert { labels, annotations, .. } = &rule.kind else { return false };
    labels.values().chain(annotations.values()).any(|template| {
        let text = template.text();
        text.contains("query")
            && (text.contains(PREFIX)
                || KNOWN.iter().any(|name| text.contains(name))
                || recorded.iter().any(|name| text.contains(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::Engine;
    use promql::rules::read_all;

    fn barred_names(yaml: &str) -> Vec<String> {
        let groups = read_all(&[("a.yaml", yaml.as_bytes())], &Engine::default()).unwrap().groups;
        barred(groups.iter()).into_iter().map(|(g, r)| groups[g].rules[r].name.clone()).collect()
    }

    #[test]
    fn alerts_about_what_is_injected_are_barred_whatever_way_they_read_it() {
        let yaml = "groups:
- name: a
  rules:
  - {record: faults, expr: sum(chaos_active_faults)}
  - {record: more, expr: faults * 2}
  - {alert: Fine, expr: up == 0, labels: {service: cart}}
  - {alert: Direct, expr: 'chaos_active_faults{job=\"x\"} > 0', labels: {service: cart}}
  - {alert: Through, expr: more > 1}
  - {alert: Pattern, expr: '{__name__=~\"chao.*\"} > 1'}
  - {alert: Anything, expr: 'count({job=\"homeostat\"}) > 1'}
  - {alert: OtherPattern, expr: '{__name__=~\"http_.*\"} > 1'}
  - {alert: Beside, expr: 'up == 0 and on () chaos_experiments_total > 0'}
- name: b
  rules:
  - {alert: Template, expr: up == 0, labels: {service: '{{ with query \"chaos_active_faults\" }}cart{{ end }}'}}
  - {alert: OfAlerts, expr: 'ALERTS > 0'}
  - {alert: OfOneAlert, expr: 'ALERTS{alertname=\"Fine\"} > 0'}
";
        assert_eq!(
            barred_names(yaml),
            ["Direct", "Through", "Pattern", "Anything", "Beside", "Template", "OfAlerts"]
        );
    }
}
