//! A real Alertmanager receives our alerts, and that they are over. Debian's package `prometheus-alertmanager` brings it.

#[path = "../../provider/tests/shared/port.rs"]
mod port;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alerting::{Address, Alertmanager, Rules, Settings};
use domain::Clock;
use metrics::{Batch, Metrics, SourceName};
use promql::{Labels, Sample, Value};
use provider::clock::SystemClock;

const WAIT: Duration = Duration::from_secs(60);

/// A running Alertmanager that calls nobody.
struct Running {
    child: Child,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `None` where it is not installed.
fn start(dir: &std::path::Path, port: u16) -> Option<Running> {
    let config = dir.join("alertmanager.yaml");
    std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n").unwrap();
    let child = Command::new("prometheus-alertmanager")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--cluster.listen-address=")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let running = Running { child, url: format!("http://127.0.0.1:{port}") };
    eventually("Alertmanager is ready", || get(&format!("{}/-/ready", running.url)).is_some());
    Some(running)
}

fn get(url: &str) -> Option<String> {
    let response = ureq::get(url).call().ok()?;
    let mut text = String::new();
    response.into_body().into_reader().read_to_string(&mut text).ok()?;
    Some(text)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < WAIT, "not within {WAIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn alerts(url: &str) -> Vec<serde_json::Value> {
    let text = get(&format!("{url}/api/v2/alerts")).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

#[test]
fn alertmanager_receives_an_alert_and_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let port = port::free_port();
    let Some(first) = start(dir.path(), port) else {
        println!("skipped: no Alertmanager");
        return;
    };
    // It is not there when the alert fires first: what is to be sent waits.
    let url = first.url.clone();
    drop(first);
    let store =
        Metrics::open(metrics::Config::new(dir.path().join("metrics"), Arc::new(SystemClock))).unwrap();
    let put = |value: f64| {
        let at_ms = SystemClock.now().wall_us / 1000;
        let labels = Labels::new([("__name__", "x"), ("service", "cart")]);
        let series = vec![(labels, vec![Sample { at_ms, value: Value::Float(value) }])];
        store.append(&SourceName::new("test"), Batch { series, ..Batch::default() }).unwrap();
    };
    put(20.0);
    let rules_file = dir.path().join("rules.yaml");
    let yaml = "groups: [{name: a, rules: [{alert: High, expr: x > 10, labels: {severity: page}, annotations: {summary: 'is {{ $value }}'}}]}]";
    std::fs::write(&rules_file, yaml).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let alertmanager = Alertmanager::start(
        vec![Address::parse(&url).unwrap()],
        &outbound::Peer::default(),
        &clock,
        |_: &str| {},
    )
    .unwrap();
    let settings = Settings {
        files: vec![rules_file],
        interval: Duration::from_secs(1),
        external_labels: [("region".to_owned(), "eu".to_owned())].into(),
        external_url: "http://here:4000".to_owned(),
        ..Settings::default()
    };
    let rules = Rules::start(settings, store.clone(), clock, Some(alertmanager), |_: &str| {}).unwrap();
    eventually("it was tried in vain", || rules.alertmanagers()[0].failures > 0);
    assert!(rules.alertmanagers()[0].trouble.as_deref().unwrap_or_default().contains("does not answer"));
    let _second = start(dir.path(), port).unwrap();
    eventually("Alertmanager has the alert", || !alerts(&url).is_empty());
    let alert = alerts(&url).remove(0);
    let labels =
        serde_json::json!({"alertname": "High", "severity": "page", "service": "cart", "region": "eu"});
    assert_eq!(alert["labels"], labels);
    assert_eq!(alert["annotations"], serde_json::json!({"summary": "is 20"}));
    assert_eq!(alert["status"]["state"], "active");
    assert_eq!(alert["generatorURL"], "http://here:4000/graph?g0.expr=x+%3E+10&g0.tab=1");
    put(1.0);
    // By itself it would end four minutes after it was last told of.
    eventually("Alertmanager has its end", || alerts(&url).is_empty());
    // Alertmanager knows it before we have read that it does.
    eventually("it is known to have been taken", || {
        let state = &rules.alertmanagers()[0];
        state.sent >= 2 && state.waiting == 0 && state.trouble.is_none()
    });
}
