//! Counters against what they rose by.

use std::sync::Arc;
use std::time::Duration;

use domain::{Clock, Time};
use metrics::{Batch, Config, SourceName};
use promql::{Labels, Sample};

use super::*;

const BEGIN_S: i64 = 1_700_000_000;

struct Fixed(i64);

impl Clock for Fixed {
    fn now(&self) -> Time {
        at(self.0)
    }

    fn wait(&self, _: Duration) {}
}

fn at(second: i64) -> Time {
    Time { boot_us: second.unsigned_abs() * 1_000_000, wall_us: (BEGIN_S + second) * 1_000_000 }
}

fn store(dir: &tempfile::TempDir) -> Metrics {
    Metrics::open(Config::new(dir.path(), Arc::new(Fixed(300)))).unwrap()
}

/// Samples of one series: seconds and values.
fn add(metrics: &Metrics, name: &str, code: &str, samples: &[(i64, f64)]) {
    let labels = Labels::new([("__name__", name), ("code", code)]);
    let samples = samples
        .iter()
        .map(|(second, value)| Sample { at_ms: (BEGIN_S + second) * 1000, value: Value::Float(*value) })
        .collect();
    let batch = Batch { series: vec![(labels, samples)], ..Batch::default() };
    metrics.append(&SourceName::new("test"), batch).unwrap();
}

fn objective(error: &str, total: &str) -> Promql {
    let text = format!(
        "version: prometheus/v1\nservice: cart\nslos:\n  - name: answers\n    objective: 99\n    sli:\n      events:\n        error_query: '{error}'\n        total_query: '{total}'\n    alerting: {{name: Burns}}\n"
    );
    let mut objectives = slo::read("slos.yaml", text.as_bytes()).unwrap();
    match objectives.remove(0).indicator {
        slo::Indicator::Promql(promql) => promql,
        other => panic!("{other:?}"),
    }
}

/// Events in millionths, as they are counted: bad and all.
fn sums(counts: &[(i64, Counts)]) -> (u64, u64) {
    let sums = counts.iter().fold(Counts::NONE, |sum, (_, counts)| sum.plus(*counts));
    (sums.bad() / 1_000_000, sums.total() / 1_000_000)
}

const ERRORS: &str = r#"sum(rate(requests_total{code="500"}[{{.window}}]))"#;
const ALL: &str = "sum(rate(requests_total[{{.window}}]))";

#[test]
fn counters_count_by_what_they_rose_with_resets_and_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = store(&dir);
    let promql = objective(ERRORS, ALL);
    let mut counters = Counters::default();
    add(&metrics, "requests_total", "200", &[(0, 1000.0), (15, 1010.0)]);
    assert_eq!(
        sums(&counters.measure(&promql, &metrics, at(16)).unwrap()),
        (0, 10),
        "what was before is unknown"
    );
    assert_eq!(sums(&counters.measure(&promql, &metrics, at(17)).unwrap()), (0, 0), "nothing twice");
    // The service began anew at 0 and answered 7; one that fails appears, and rises by 3.
    add(&metrics, "requests_total", "200", &[(30, 7.0), (45, 20.0)]);
    add(&metrics, "requests_total", "500", &[(30, 1.0), (45, 4.0)]);
    let kept = serde_json::to_string(&counters).unwrap();
    let mut counters: Counters = serde_json::from_str(&kept).unwrap();
    let counts = counters.measure(&promql, &metrics, at(290)).unwrap();
    assert_eq!(sums(&counts), (3, 20 + 3), "all of the new count, and what the other rose by");
    assert_eq!(counts.last().unwrap().0, BEGIN_S + 45, "when the sample says");
}

#[test]
fn other_expressions_are_evaluated_once_for_each_minute() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = store(&dir);
    let promql = objective(
        r#"sum(rate(requests_total{code="500"}[{{.window}}])) * 1"#,
        "sum(rate(requests_total[{{.window}}])) * 1",
    );
    let samples: Vec<(i64, f64)> = (0..20).map(|at| (at * 15, at as f64 * 15.0)).collect();
    add(&metrics, "requests_total", "200", &samples);
    add(
        &metrics,
        "requests_total",
        "500",
        &samples.iter().map(|(at, value)| (*at, value / 3.0)).collect::<Vec<_>>(),
    );
    let mut counters = Counters::default();
    let first = counters.measure(&promql, &metrics, at(200)).unwrap();
    assert_eq!(first.len(), 1);
    assert!(counters.measure(&promql, &metrics, at(201)).unwrap().is_empty());
    let share = first[0].1.bad() as f64 / first[0].1.total() as f64;
    assert!((share - 0.25).abs() < 1e-3, "{share}");
    assert_eq!(counters.measure(&promql, &metrics, at(330)).unwrap().len(), 2, "no minute is left out");
}

#[test]
fn what_has_several_values_is_no_measurement_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = store(&dir);
    add(
        &metrics,
        "requests_total",
        "200",
        &[(0, 1.0), (15, 2.0), (30, 3.0), (45, 4.0), (60, 5.0), (75, 6.0)],
    );
    add(
        &metrics,
        "requests_total",
        "500",
        &[(0, 1.0), (15, 2.0), (30, 3.0), (45, 4.0), (60, 5.0), (75, 6.0)],
    );
    let promql = objective("rate(requests_total[{{.window}}])", "rate(requests_total[{{.window}}])*2");
    let error = Counters::default().measure(&promql, &metrics, at(110)).unwrap_err();
    assert!(error.contains("sum them up"), "{error}");
}

#[test]
fn only_a_sum_of_one_counter_is_read_sample_by_sample() {
    let of = |text: &str| counter(&Template::new(text).unwrap()).map(str::to_owned);
    assert_eq!(of(ALL).as_deref(), Some("requests_total"));
    assert_eq!(of(ERRORS).as_deref(), Some("requests_total{code=\"500\"}"));
    assert_eq!(of("sum(increase(a{b=\"]\"}[{{ .window }}]))").as_deref(), Some("a{b=\"]\"}"));
    for text in [
        "sum(rate(a[{{.window}}])) / 2",
        "sum(rate(a[{{.window}}])) + sum(rate(b[{{.window}}]))",
        "sum(rate(a[{{.window}}] offset 5m))",
        "sum(irate(a[{{.window}}]))",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
}
