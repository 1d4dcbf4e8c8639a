//! Rules over a real store: what they record is found, files are read again, a broken one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alerting::{Rules, Settings};
use domain::{AlertPhase, AlertSource, Clock};
use metrics::{Batch, Metrics, SourceName};
use promql::rules::{ActivePhase, Health, RuleStates};
use promql::{Labels, MatchOp, Matcher, Sample, Select, Source, Value};
use provider::clock::SystemClock;

const WAIT: Duration = Duration::from_secs(60);

/// A store of series, and rules over it.
struct World {
    dir: tempfile::TempDir,
    store: Metrics,
    said: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Metrics::open(metrics::Config::new(dir.path().join("metrics"), Arc::new(SystemClock)));
        Self { store: store.unwrap(), dir, said: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("a.rules.yaml")
    }

    fn start(&self, yaml: &str) -> Rules {
        std::fs::write(self.file(), yaml).unwrap();
        let settings = Settings {
            files: vec![self.file()],
            interval: Duration::from_secs(1),
            external_labels: [("region".to_owned(), "eu".to_owned())].into(),
            external_url: "http://here:4000".to_owned(),
            ..Settings::default()
        };
        let said = Arc::clone(&self.said);
        let say = move |text: &str| said.lock().unwrap().push(text.to_owned());
        Rules::start(settings, self.store.clone(), Arc::new(SystemClock), None, say).unwrap()
    }

    /// A sample of now.
    fn put(&self, name: &str, value: f64) {
        let at_ms = SystemClock.now().wall_us / 1000;
        let labels = Labels::new([("__name__", name), ("service", "cart")]);
        let series = vec![(labels, vec![Sample { at_ms, value: Value::Float(value) }])];
        self.store.append(&SourceName::new("test"), Batch { series, ..Batch::default() }).unwrap();
    }

    /// The values of a series, stale markers as none.
    fn values(&self, name: &str) -> Vec<Option<f64>> {
        let to_ms = SystemClock.now().wall_us / 1000 + 60_000;
        let matchers = vec![Matcher { name: "__name__".into(), op: MatchOp::Equal, value: name.into() }];
        let select = Select { matchers, from_ms: to_ms - 600_000, to_ms, step_ms: 0 };
        let series = self.store.select(&select).unwrap();
        let shown = |sample: &Sample| match &sample.value {
            value if value.is_stale() => None,
            Value::Float(value) => Some(*value),
            Value::Histogram(_) => Some(f64::NAN),
        };
        series.iter().flat_map(|series| &series.samples).map(shown).collect()
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const RULES: &str = "groups:
- name: a
  rules:
  - {record: doubled, expr: 2 * x}
  - {alert: High, expr: doubled > 10, labels: {severity: page}, annotations: {summary: 'is {{ $value }}'}}
  - {alert: OfChaos, expr: x > 10 or chaos_active_faults, labels: {severity: page}}
";

#[test]
fn what_rules_record_is_found_and_what_fires_is_told() {
    let world = World::new();
    world.put("x", 20.0);
    let rules = world.start(RULES);
    eventually("it is recorded", || world.values("doubled").contains(&Some(40.0)));
    eventually("it fires", || rules.alerts().iter().any(|alert| alert.phase == AlertPhase::Firing));
    let alerts = rules.alerts();
    let told: Vec<_> =
        alerts.iter().map(|alert| (&*alert.name, &*alert.annotations["summary"], alert.value)).collect();
    // The one that reads what is injected is not told, but fires as any other.
    assert_eq!(told, [("High", "is 40", 40.0)]);
    let groups = rules.groups();
    let phases: Vec<_> = groups[0].rules.iter().map(|rule| (rule.health.clone(), rule.phase())).collect();
    let firing = (Health::Good, Some(ActivePhase::Firing));
    assert_eq!(phases, [(Health::Good, None), firing.clone(), firing]);
    // After a restart nobody knows since when it fires: it is recorded from the second evaluation on.
    eventually("the alert is recorded", || world.values("ALERTS").contains(&Some(1.0)));
    world.put("x", 1.0);
    eventually("it is over", || rules.alerts().are_known() && rules.alerts().iter().next().is_none());
    eventually("its series ended", || world.values("ALERTS").contains(&None));
    assert!(rules.counters().samples.get() > 0);
    assert_eq!((rules.counters().failures.get(), rules.counters().samples_refused.get()), (0, 0));
}

#[test]
fn files_are_read_again_all_or_none() {
    let world = World::new();
    world.put("x", 20.0);
    let rules = world.start(RULES);
    eventually("it is recorded", || world.values("doubled").contains(&Some(40.0)));
    std::fs::write(world.file(), "groups: [{name: a, rules: [{record: tripled, expr: 3 *}]}]").unwrap();
    let error = rules.reload().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:1:", world.file().display())), "{error}");
    assert_eq!(rules.groups()[0].rules[0].name, "doubled");
    std::fs::write(world.file(), "groups: [{name: a, rules: [{record: tripled, expr: 3 * x}]}]").unwrap();
    rules.reload().unwrap();
    eventually("the new one records", || world.values("tripled").contains(&Some(60.0)));
    eventually("the old one ended", || world.values("doubled").last() == Some(&None));
    std::fs::write(world.file(), "groups: []").unwrap();
    rules.reload().unwrap();
    eventually("the last one ended", || world.values("tripled").last() == Some(&None));
    assert_eq!((rules.counters().reloads.get(), rules.counters().reload_failures.get()), (3, 1));
}

#[test]
fn rules_that_are_wrong_do_not_start() {
    let world = World::new();
    let settings = Settings { files: vec![world.file()], ..Settings::default() };
    let start =
        || Rules::start(settings.clone(), world.store.clone(), Arc::new(SystemClock), None, |_: &str| {});
    assert!(start().unwrap_err().to_string().starts_with("cannot read the rules"));
    std::fs::write(world.file(), "groups: [{name: a, rules: [{alert: A, expr: up, for: soon}]}]").unwrap();
    let error = start().unwrap_err().to_string();
    assert!(error.contains("is \"soon\"; a duration"), "{error}");
}

#[test]
fn rules_of_others_are_noted() {
    let world = World::new();
    let rules = world.start("groups: [{name: a, partial_response_strategy: warn, rules: []}]");
    assert!(world.said.lock().unwrap()[0].contains("Thanos"), "{:?}", world.said);
    drop(rules);
    assert!(Path::new(&world.file()).exists());
}
