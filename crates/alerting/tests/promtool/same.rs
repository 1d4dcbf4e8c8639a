//! The same rules over the same series say the same in Prometheus: what ours record and which alerts fire with which texts
//! is written down as the expectations of `promtool test rules`, for every minute, and Prometheus has to agree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use alerting::{engine, load};
use promql::rules::{self, Beginning, Phase, Progress, Purpose, RuleGroup, World};
use promql::{Answered, Engine, Labels, Limits, Sample, Select, Series, Source, SourceError, Value};
use serde_json::{Value as Json, json};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/promtool/same.rules.yaml");
const MINUTE: i64 = 60_000;
const MINUTES: i64 = 30;

/// Series kept as a store keeps them.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<Labels, Vec<Sample>>>);

impl Source for Memory {
    fn select(&self, select: &Select) -> Result<Vec<Series>, SourceError> {
        let matchers: Vec<_> = select.matchers.iter().map(|matcher| matcher.compiled().unwrap()).collect();
        let all = self.0.lock().unwrap();
        let found = all.iter().filter(|(labels, _)| matchers.iter().all(|m| m.matches_labels(labels)));
        let within = |sample: &&Sample| (select.from_ms..=select.to_ms).contains(&sample.at_ms);
        let series = found.map(|(labels, samples)| Series {
            labels: labels.clone(),
            samples: samples.iter().filter(within).cloned().collect(),
        });
        Ok(series.filter(|series| !series.samples.is_empty()).collect())
    }
}

/// A value a minute, or none.
struct Input {
    labels: Labels,
    values: Vec<Option<f64>>,
}

impl Input {
    fn new(name: &str, labels: &[(&str, &str)], value: impl FnMut(i64) -> Option<f64>) -> Self {
        let pairs = [("__name__", name)].into_iter().chain(labels.iter().copied());
        Self { labels: Labels::new(pairs), values: (0..=MINUTES).map(value).collect() }
    }

    fn written(&self) -> Json {
        let values: Vec<String> =
            self.values.iter().map(|value| value.map_or("_".to_owned(), |value| value.to_string())).collect();
        json!({"series": format!("{:?}", self.labels), "values": values.join(" ")})
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Services that fail now and then, instances that come and go, and numbers of every size.
fn inputs(seed: u64) -> Vec<Input> {
    let mut dice = Dice(seed);
    let mut inputs = Vec::new();
    for service in ["cart", "front-end"] {
        for instance in ["0", "1"] {
            let labels = [("service", service), ("instance", instance)];
            let mut total = 0.0;
            inputs.push(Input::new("requests_total", &labels, |_| {
                total += 60.0;
                Some(total)
            }));
            let (mut errors, mut left, mut step) = (0.0, 0, 0.0);
            inputs.push(Input::new("errors_total", &labels, |_| {
                if left == 0 {
                    (left, step) = (dice.roll(7) + 1, [0.0, 0.0, 3.0, 13.0, 39.0][dice.roll(5) as usize]);
                }
                left -= 1;
                errors += step;
                Some(errors)
            }));
        }
    }
    for instance in ["db-0:1", "web-0:80"] {
        let (mut left, mut value) = (0, Some(1.0));
        inputs.push(Input::new("up", &[("instance", instance)], |_| {
            if left == 0 {
                // Less than the 5 min for which a sample stands: whether its end is in it, Prometheus 2 and 3 disagree.
                (left, value) = match (value, dice.roll(4)) {
                    (Some(_), 0) => (dice.roll(4) + 1, None),
                    (_, 1) => (dice.roll(13) + 1, Some(1.0)),
                    _ => (dice.roll(13) + 1, Some(0.0)),
                };
            }
            left -= 1;
            value
        }));
    }
    let sizes =
        [("tiny", 1.25e-7), ("small", 0.0425), ("middle", 12.5), ("large", 98765.4321), ("huge", 1.5e9)];
    for (name, value) in sizes {
        let absent = dice.roll(20) as i64;
        inputs.push(Input::new("numbers", &[("name", name)], |at| (at != absent).then_some(value)));
    }
    inputs
}

/// Everything that ours say at every minute, as promtool's expectations.
struct Expected<'a> {
    engine: &'a Engine,
    memory: Memory,
    groups: Vec<RuleGroup>,
    alerts: Vec<Json>,
    expressions: Vec<Json>,
}

const LIMITS: Limits<'static> = Limits { samples: 1_000_000, points: 1_000_000, cancelled: &|| false };

impl Expected<'_> {
    fn run(&mut self, inputs: &[Input]) {
        let groups = std::mem::take(&mut self.groups);
        let mut progress: Vec<Progress> =
            groups.iter().map(|group| Progress::new(group, Beginning::Anew)).collect();
        for minute in 0..=MINUTES {
            let at_ms = minute * MINUTE;
            for input in inputs {
                if let Some(value) = input.values[minute as usize] {
                    self.put(input.labels.clone(), Sample { at_ms, value: Value::Float(value) });
                }
            }
            for (group, progress) in groups.iter().zip(&mut progress) {
                let evaluated = {
                    let external = Labels::default();
                    let world = World {
                        engine: self.engine,
                        source: &self.memory,
                        limits: LIMITS,
                        external_labels: &external,
                        external_url: "",
                        interval: Duration::from_secs(60),
                        query_offset: Duration::ZERO,
                        outage_tolerance: Duration::ZERO,
                        grace: Duration::ZERO,
                        stopwatch: &|| Duration::ZERO,
                    };
                    rules::evaluate(group, std::mem::take(progress), at_ms, &world)
                };
                assert_eq!(evaluated.failed, [], "minute {minute}");
                *progress = evaluated.progress;
                for (labels, sample) in evaluated.samples {
                    self.put(labels, sample);
                }
            }
            for (group, progress) in groups.iter().zip(&progress) {
                self.expect(group, progress, minute);
            }
        }
    }

    fn put(&self, labels: Labels, sample: Sample) {
        self.memory.0.lock().unwrap().entry(labels).or_default().push(sample);
    }

    fn expect(&mut self, group: &RuleGroup, progress: &Progress, minute: i64) {
        let eval_time = format!("{minute}m");
        for (place, rule) in group.rules.iter().enumerate() {
            if matches!(rule.kind, Purpose::Record { .. }) {
                self.expect_value(&format!("{{__name__=\"{}\"}}", rule.name), minute);
                continue;
            }
            let firing = progress.alerts().filter(|(of, alert)| *of == place && alert.phase == Phase::Firing);
            let shown: Vec<Json> = firing
                .map(|(_, alert)| {
                    let labels: BTreeMap<_, _> =
                        alert.labels.iter().filter(|(name, _)| *name != rules::ALERT_NAME).collect();
                    json!({"exp_labels": labels, "exp_annotations": alert.annotations})
                })
                .collect();
            self.alerts.push(json!({"eval_time": eval_time, "alertname": rule.name, "exp_alerts": shown}));
        }
        self.expect_value("{__name__=~\"ALERTS|ALERTS_FOR_STATE\"}", minute);
    }

    fn expect_value(&mut self, expression: &str, minute: i64) {
        let parsed = self.engine.parse(expression).unwrap();
        let answer = self.engine.instant(&parsed, minute * MINUTE, &self.memory, &LIMITS).unwrap();
        let Answered::Vector(points) = answer.value else { panic!("no vector") };
        let samples: Vec<Json> = points
            .iter()
            .map(|point| {
                let Value::Float(value) = point.value else { panic!("a histogram") };
                json!({"labels": format!("{:?}", point.labels), "value": value})
            })
            .collect();
        let eval_time = format!("{minute}m");
        self.expressions.push(json!({"expr": expression, "eval_time": eval_time, "exp_samples": samples}));
    }
}

#[test]
fn the_same_rules_say_the_same() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("skipped: no promtool");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let engine = engine(Duration::from_secs(60));
    let (mut fired, mut values) = (0, 0);
    for seed in 1..=6 {
        let inputs = inputs(seed);
        let groups = load(&[RULES.into()], &engine).unwrap().groups;
        let (alerts, expressions) = (Vec::new(), Vec::new());
        let mut expected =
            Expected { engine: &engine, memory: Memory::default(), groups, alerts, expressions };
        expected.run(&inputs);
        fired += expected.alerts.iter().flat_map(|test| test["exp_alerts"].as_array().unwrap()).count();
        values +=
            expected.expressions.iter().flat_map(|test| test["exp_samples"].as_array().unwrap()).count();
        let test = json!({
            "rule_files": [RULES],
            "evaluation_interval": "1m",
            // Else promtool takes them in an order of chance.
            "group_eval_order": ["recorded", "alerts"],
            "tests": [{
                "interval": "1m",
                "input_series": inputs.iter().map(Input::written).collect::<Vec<_>>(),
                "alert_rule_test": expected.alerts,
                "promql_expr_test": expected.expressions,
            }],
        });
        agrees(&dir.path().join(format!("seed-{seed}.yaml")), &test);
    }
    // Else nothing was compared.
    assert!(fired > 500 && values > 2_000, "{fired} alerts, {values} values");
    println!("{fired} alerts with their texts and {values} values are the same");
}

fn agrees(file: &Path, test: &Json) {
    // JSON is YAML.
    std::fs::write(file, serde_json::to_vec_pretty(test).unwrap()).unwrap();
    let output = Command::new("promtool").args(["test", "rules"]).arg(file).output().unwrap();
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    let _ = write!(said, "{}", String::from_utf8_lossy(&output.stderr));
    let short: String = said.chars().take(6_000).collect();
    assert!(output.status.success(), "Prometheus does not agree: {short}");
}
