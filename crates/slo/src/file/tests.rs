//! Files that are read, and what is said of those that are not.

use std::time::Duration;

use domain::SloSeverity;

use super::{read, read_all};
use crate::indicator::{Events, Exact, Good, Indicator, Promql, SpanRole};
use crate::minutes::Minutes;
use crate::objective::{Bound, Budgeting, Metric, Objective, Resolved};

const SLOTH: &str = include_str!("tests/sloth.yaml");
const OPENSLO: &str = include_str!("tests/openslo.yaml");
const PYRRA: &str = include_str!("tests/pyrra.yaml");
const KUBERNETES: &str = include_str!("tests/kubernetes.yaml");
const BUILT_IN: &str = include_str!("../../../../drills/slos.yaml");

fn good(text: &str) -> Vec<Objective> {
    read("slos.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// Everything said of a file, a line each.
fn said(text: &str) -> String {
    read("slos.yaml", text.as_bytes()).map(|found| format!("{found:?}")).unwrap_err().to_string()
}

fn parts(objective: &Objective) -> (String, String) {
    match &objective.indicator {
        Indicator::Promql(Promql::Good { good: part, total, .. } | Promql::Bad { bad: part, total, .. }) => {
            (part.over("1m"), total.over("1m"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_five_built_in_are_there_and_count_what_is_ours() {
    let objectives = good(BUILT_IN);
    let shown: Vec<(&str, f64, Metric)> = objectives
        .iter()
        .map(|objective| (&*objective.id, objective.target.percent(), objective.metric()))
        .collect();
    assert_eq!(
        shown,
        [
            ("gateway-availability", 99.9, Metric::Availability),
            ("api-requests", 95.0, Metric::Latency),
            ("database-queries", 99.0, Metric::Latency),
            ("fleet-errors", 99.0, Metric::ErrorRate),
            ("homeostat-self-healing", 85.0, Metric::SuccessRate),
        ]
    );
    let exact = |at: usize| match &objectives[at].indicator {
        Indicator::Exact(exact) => exact.clone(),
        other => panic!("{other:?}"),
    };
    let outside = Events::Gateway;
    assert_eq!(exact(0), Exact { events: outside, good: Good::Succeeded });
    let queries = Events::Spans { service: None, operation: None, role: Some(SpanRole::Database) };
    assert_eq!(exact(2), Exact { events: queries, good: Good::Faster(Duration::from_millis(100)) });
    assert_eq!(exact(4), Exact { events: Events::Remediations, good: Good::Succeeded });
    for objective in &objectives {
        assert_eq!(objective.period, Minutes::days(30));
        assert_eq!(objective.alerts.len(), 2, "a page and a ticket");
    }
}

#[test]
fn sloth_is_read_in_both_spellings() {
    let objectives = good(SLOTH);
    assert_eq!(objectives[0].id, "cart-availability");
    assert_eq!(objectives[0].labels["category"], "availability");
    assert_eq!(objectives[0].labels["owner"], "shop");
    assert_eq!(parts(&objectives[0]).1, "sum(rate(http_requests_total{job=\"cart\"}[1m]))");
    let [page, ticket] = &objectives[0].alerts[..] else { panic!("{:?}", objectives[0].alerts) };
    assert_eq!(
        (page.severity, &*page.labels["severity"], &*page.labels["team"]),
        (SloSeverity::Page, "critical", "shop")
    );
    assert_eq!(ticket.annotations["summary"], "The cart's budget burns slowly");
    assert_eq!(page.when[0].factor.value(), 14.4);
    assert!(objectives[1].alerts.is_empty());
    assert!(matches!(objectives[1].indicator, Indicator::Promql(Promql::ErrorRatio { .. })));

    let objectives = good(KUBERNETES);
    assert_eq!((&*objectives[0].id, objectives[0].target.percent()), ("cart-availability", 99.95));
    assert_eq!(objectives[0].alerts.len(), 1);
}

#[test]
fn openslo_resolves_its_references() {
    let objectives = good(OPENSLO);
    let ids: Vec<&str> = objectives.iter().map(|objective| &*objective.id).collect();
    assert_eq!(ids, ["web-shop-main-page-0", "web-shop-main-page-1", "web-shop-search"]);
    let page = &objectives[0];
    assert_eq!(page.period, Minutes::days(14));
    assert_eq!(page.labels["team"], "web,shop");
    assert!(matches!(page.budgeting, Budgeting::Timeslices { slice, .. } if slice == Minutes::new(5)));
    let (good, total) = parts(page);
    assert_eq!(good, "sum(increase(http_requests_total{job=\"shop\",code!~\"5..\"}[1m]))");
    assert_eq!(total, "sum(increase((sum(http_requests_total{job=\"shop\"}))[1m:]))");
    let [rule] = &page.alerts[..] else { panic!("{:?}", page.alerts) };
    assert_eq!(
        (&*rule.name, rule.severity, rule.hold),
        ("burns-fast", SloSeverity::Page, Duration::from_secs(300))
    );
    assert_eq!(
        (rule.when[0].long, rule.when[0].short, rule.when[0].bound),
        (Minutes::hours(1), None, Bound::AtLeast)
    );
    assert_eq!(rule.when[0].factor.value(), 2.5);
    assert_eq!(
        (rule.no_data, rule.resolved, &*rule.targets),
        (Some(Minutes::hours(1)), Resolved::Silent, &["email".to_owned()][..])
    );

    let search = &objectives[2];
    assert_eq!((search.period, search.alerts.len()), (Minutes::days(30), 2));
    let (good, total) = parts(search);
    assert_eq!(good, "sum(sum_over_time(((search_duration_ms) < bool 500)[1m:]))");
    assert_eq!(total, "sum(count_over_time((search_duration_ms)[1m:]))");
}

#[test]
fn references_reach_into_other_files() {
    let (objects, slos) =
        OPENSLO.split_at(OPENSLO.rfind("---\napiVersion: openslo/v1\nkind: SLO\nmetadata:\n").unwrap());
    let both = read_all(&[("slos.yaml", slos.as_bytes()), ("objects.yaml", objects.as_bytes())]).unwrap();
    assert_eq!(both.len(), 3);
    let error = said(slos);
    assert!(
        error.contains("slos.yaml:9:17: spec.indicatorRef: names no SLI of these files: \"answered\""),
        "{error}"
    );
}

#[test]
fn pyrra_s_four_indicators_become_sums_over_a_window() {
    let objectives = good(PYRRA);
    let errors = &objectives[0];
    assert_eq!((&*errors.id, &*errors.service), ("shop-cart-errors", "cart"));
    assert_eq!(errors.period, Minutes::days(28));
    assert_eq!((&*errors.labels["team"], &*errors.labels["namespace"]), ("web", "shop"));
    assert_eq!(
        parts(errors).0,
        "sum by (handler) (increase(http_requests_total{job=\"cart\",code=~\"5..\"}[1m]))"
    );
    let latency = &objectives[1];
    assert_eq!((latency.metric(), latency.threshold()), (Metric::Latency, Some(Duration::from_millis(500))));
    assert!(latency.alerts.is_empty());
    let native = &objectives[2];
    assert_eq!(native.alerts[0].name, "CartSlow");
    let histogram = "sum(increase(http_request_duration_seconds{job=\"cart\"}[1m]))";
    assert_eq!(
        parts(native),
        (
            format!("histogram_fraction(0, 0.2, {histogram}) * histogram_count({histogram})"),
            format!("histogram_count({histogram})")
        )
    );
    assert_eq!(
        parts(&objectives[3]),
        (
            "sum by (target) (sum_over_time(probe_success[1m]))".to_owned(),
            "sum by (target) (count_over_time(probe_success[1m]))".to_owned()
        )
    );
}

/// A file, a piece of it, what stands there instead, and what is said of that.
const WRONG: [(&str, &str, &str, &str); 29] = [
    (
        SLOTH,
        "objective: 99.9",
        "objective: 100",
        "slos.yaml:8:16: slos[0].objective: is 100, must be more than 0 and less than 100",
    ),
    (
        SLOTH,
        "objective: 99.9",
        "objective: high",
        "slos.yaml:8:16: slos[0].objective: is text, must be a number",
    ),
    (
        SLOTH,
        "objective: 99.9",
        "objectiv: 99.9",
        "slos.yaml:8:5: slos[0].objectiv: is no field known here; there are name",
    ),
    (
        SLOTH,
        "[{{.window}}]))\n        total",
        "[5m]))\n        total",
        "slos.yaml:13:22: slos[0].sli.events.error_query: has no `{{.window}}`",
    ),
    (
        SLOTH,
        "total_query: sum(rate(",
        "total_query: sum((rate(",
        "slos.yaml:14:22: slos[0].sli.events.total_query: is no PromQL",
    ),
    (SLOTH, "\"availability\"", "\"avail ability\"", "slos[0].name: \"avail ability\" is no name"),
    (SLOTH, "tier: \"2\"", "tier: 2", "slos.yaml:5:9: labels.tier: is a number, must be text"),
    (
        SLOTH,
        "prometheus/v1",
        "prometheus/v2",
        "slos.yaml:1:10: version: is \"prometheus/v2\"; `apiVersion: openslo/v1`",
    ),
    (
        SLOTH,
        "name: \"freshness\"",
        "name: \"availability\"",
        "is the second objective with the id \"cart-availability\"; the first is in slos.yaml:7",
    ),
    (SLOTH, "      name: CartBurns\n", "", "has no `name` for its alerts"),
    (
        OPENSLO,
        "duration: 2w",
        "duration: 1M",
        "slos.yaml:62:17: spec.timeWindow[0].duration: \"1M\" has no fixed length",
    ),
    (OPENSLO, "duration: 2w", "duration: 2h", "is 2h, must be 1d to 90d"),
    (
        OPENSLO,
        "isRolling: true",
        "isRolling: false",
        "slos.yaml:63:7: spec.timeWindow[0].isRolling: is a calendar-aligned window",
    ),
    (
        OPENSLO,
        "conditionRef: burns-fast",
        "conditionRef: burns",
        "names no AlertCondition of these files: \"burns\"",
    ),
    (
        OPENSLO,
        "service: web-shop\n  indicatorRef",
        "service: web\n  indicatorRef",
        "spec.service: names no Service of these files: \"web\"",
    ),
    (
        OPENSLO,
        "type: Prometheus\n  conn",
        "type: Datadog\n  conn",
        "slos.yaml:6:9: spec.type: is \"Datadog\", which cannot be asked",
    ),
    (OPENSLO, "timeSliceTarget: 0.95, ", "", "has no `timeSliceTarget`, which Timeslices needs"),
    (
        OPENSLO,
        "targetPercent: 99,",
        "targetPercent: 99, target: 0.9,",
        "must have one of `target` and `targetPercent`",
    ),
    (
        OPENSLO,
        "lookbackWindow: 1h",
        "lookbackWindow: 3w",
        "spec.alertPolicies[0]: looks back 3w, which is longer than the period of 2w",
    ),
    (OPENSLO, "value: 500, ", "", "needs `op` and `value`"),
    (OPENSLO, "kind: SLI", "kind: Sli", "slos.yaml:15:7: kind: is \"Sli\"; one of SLO, SLI"),
    (PYRRA, "'99.9'", "'many'", "slos.yaml:8:11: spec.target: \"many\" is no number"),
    (PYRRA, "le=\"0.5\"", "le=\"many\"", "names no bucket"),
    (PYRRA, "latency: 200ms", "latency: soon", "\"soon\" is no duration"),
    (
        PYRRA,
        "metric: probe_success,",
        "metric: probe_success offset 5m,",
        "must be a selector without offset",
    ),
    (BUILT_IN, "outcome: good", "outcome: fine", "is \"fine\"; good or bad was expected"),
    (
        BUILT_IN,
        "{events: gateway}",
        "{events: requests}",
        "must be the same events as `good`, without the outcome",
    ),
    (BUILT_IN, "op: lt", "op: gt", "would call slow good"),
    (BUILT_IN, "measure: duration_seconds", "outcome: good", "must have `measure: duration_seconds`"),
];

#[test]
fn what_is_wrong_is_told_with_its_place_and_what_was_expected() {
    for (text, from, to, expected) in WRONG {
        assert!(text.contains(from), "{from}");
        let said = said(&text.replacen(from, to, 1));
        assert!(said.contains(expected), "{expected:?} in\n{said}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let said = said(&SLOTH.replace("objective: 95", "objective: 195").replace("99.9", "ninety"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("slos.yaml:8:16: ") && lines[1].starts_with("slos.yaml:25:16: "), "{said}");
}

#[test]
fn one_wrong_file_keeps_the_others_out() {
    let error =
        read_all(&[("good.yaml", SLOTH.as_bytes()), ("bad.yaml", b"version: prometheus/v1\n")]).unwrap_err();
    assert!(error.problems.iter().all(|problem| problem.file == "bad.yaml"), "{error}");
}

#[test]
fn what_is_no_yaml_is_told_where_it_stops_being() {
    for (bytes, expected) in [
        (&b""[..], "slos.yaml:1:1: is empty"),
        (b"a: b\nc: \xff", "slos.yaml:2:4: is not UTF-8"),
        (b"a: [", "slos.yaml:1:"),
        (b"just text", "slos.yaml:1:1: is text, must be fields"),
        (b"a: 1\na: 2\n", "slos.yaml:2:1: "),
    ] {
        let error = read("slos.yaml", bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected:?} in {error:?}");
    }
}

#[test]
fn every_expression_is_checked_with_what_the_caller_knows() {
    let files: [(&str, &[u8]); 1] = [("slos.yaml", SLOTH.as_bytes())];
    let seen = std::cell::RefCell::new(Vec::new());
    let check = |query: &str| {
        seen.borrow_mut().push(query.to_owned());
        if query.contains("5..") { Err("no such function".to_owned()) } else { Ok(()) }
    };
    let error = super::read_checked(&files, &check).unwrap_err().to_string();
    assert_eq!(error, "slos.yaml:13:22: slos[0].sli.events.error_query: is no PromQL: no such function",);
    assert!(
        seen.borrow().contains(&"sum(rate(http_requests_total{job=\"cart\"}[1m]))".to_owned()),
        "{seen:?}"
    );
}

#[test]
fn what_is_not_closed_is_no_expression() {
    for (query, expected) in [
        ("sum(rate(a[{{.window}}])", ") is missing"),
        ("sum(rate(a[{{.window}}])))", ") closes nothing"),
        ("rate(a{b=\"(}[{{.window}}])", "\" opens a string without end"),
        ("rate(a[{{.window}})", ") closes nothing"),
    ] {
        let text =
            SLOTH.replace("sum(rate(http_requests_total{job=\"cart\"}[{{.window}}]))", &format!("'{query}'"));
        let said = said(&text);
        assert!(said.contains(&format!("total_query: is no PromQL: {expected}")), "{query}: {said}");
    }
}
