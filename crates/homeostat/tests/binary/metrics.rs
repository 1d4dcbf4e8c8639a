//! Series of the binary: of the fleet, of itself, of what is sent; found after a kill; and the files that ship for
//! Prometheus and Grafana, which read them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use domain::Clock;
use provider::clock::SystemClock;
use serde_json::{Value, json};

use crate::Test;
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;
use crate::processes::{self, Part};

pub(crate) const TESTS: &[Test] = &[
    ("series_are_kept_of_the_fleet_of_itself_and_of_what_is_sent_and_survive_a_kill", kept),
    ("what_ships_for_prometheus_and_grafana_reads_what_is_exported", shipped),
];

/// What a query answers, without its times.
fn asked(fleet: &Fleet, query: &str) -> Result<Vec<(Value, String)>, String> {
    let address = std::fs::read_to_string(fleet.dir.join("address")).map_err(|error| error.to_string())?;
    let request = agent().get(format!("{address}/api/v1/query")).query("query", query);
    let mut answer = request.call().map_err(|error| error.to_string())?;
    let answer: Value = answer.body_mut().read_json().map_err(|error| error.to_string())?;
    let Some(found) = answer["data"]["result"].as_array() else { return Err(answer.to_string()) };
    let one = |series: &Value| {
        (series["metric"].clone(), series["value"][1].as_str().unwrap_or_default().to_owned())
    };
    Ok(found.iter().map(one).collect())
}

fn kept() {
    let (http, grpc) = (free_port(), free_port());
    let config = format!("[otlp]\nhttp_port = {http}\ngrpc_port = {grpc}\n[metrics]\nscrape_seconds = 1\n");
    let mut fleet = Fleet::up(&config, PAYMENTS);
    until("every instance is ready", || fleet.all_ready());
    let found = |what: &str, query: &str, expected: &[(Value, &str)]| {
        until(what, || {
            let found = asked(&fleet, query)?;
            let same = found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, expected)| {
                    found.0 == expected.0 && (expected.1.is_empty() || found.1 == expected.1)
                });
            if same { Ok(()) } else { Err(format!("{query}: {found:?}")) }
        });
    };
    let memory = json!({"__name__": "homeostat_instance_memory_bytes", "instance": "payments-0", "job": "homeostat",
        "service": "payments"});
    found("the fleet", "homeostat_instance_memory_bytes{instance=\"payments-0\"}", &[(memory, "")]);
    let up = |instance: &str| json!({"__name__": "up", "instance": instance, "job": "payments"});
    found(
        "services that show theirs",
        "up{job=\"payments\"}",
        &[(up("payments-0"), "1"), (up("payments-1"), "1")],
    );
    found("itself", "count(self_healing_issues_detected_total{job=\"homeostat\"})", &[(json!({}), "1")]);

    let at = SystemClock.now().wall_us * 1000;
    let body = json!({"resourceMetrics": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "till"}}]},
        "scopeMetrics": [{"metrics": [{"name": "queue.length",
            "gauge": {"dataPoints": [{"timeUnixNano": at.to_string(), "asInt": "3"}]}}]}],
    }]});
    let sent = agent().post(format!("http://127.0.0.1:{http}/v1/metrics")).send_json(&body).unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    let queue = json!({"__name__": "queue_length", "job": "till"});
    found("what was sent, at once", "queue_length", &[(queue.clone(), "3")]);

    processes::kill(fleet.the(&Part::ControlPlane));
    fleet.serve();
    let again = asked(&fleet, "queue_length").unwrap();
    assert_eq!(again, [(queue, "3".to_owned())], "acknowledged, and so found after a kill");
}

/// A service of two instances that show their metrics.
const PAYMENTS: &str = r#"name: small
services:
  payments:
    command: ["{homeostat}", demo-service, payments]
    replicas: 2
    listens: http
    metrics: /metrics
    readiness: { http: /ready, interval: 100ms }
    volume: { size: 8MiB }
"#;

/// Every expression in a document, wherever it stands.
fn expressions(document: &Value, found: &mut Vec<String>) {
    match document {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// The metrics an expression names: words that begin as ours do.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    const OURS: [&str; 9] = [
        "self_healing_",
        "healing_",
        "auto_",
        "chaos_",
        "homeostat_",
        "telemetry_",
        "metrics_",
        "traces_",
        "rca_",
    ];
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| OURS.iter().any(|ours| word.starts_with(ours))).map(str::to_owned).collect()
}

fn shipped() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    let mut all = Vec::new();
    let rules = deploy.join("prometheus/homeostat.rules.yaml");
    let text = std::fs::read_to_string(&rules).unwrap();
    expressions(&serde_saphyr::from_str(&text).unwrap(), &mut all);
    for uid in ["sre-automation", "chaos-engineering", "observability"] {
        let text = std::fs::read_to_string(deploy.join(format!("grafana/{uid}.json"))).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(dashboard["uid"], uid);
        expressions(&dashboard, &mut all);
    }
    assert!(all.len() > 40, "{all:?}");

    // What makes every metric appear: visitors, a fault that is repaired, an experiment that ends.
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../drills/shop.yaml");
    let shop = std::fs::read_to_string(shop).unwrap();
    let fleet = Fleet::up(
        "[metrics]\nscrape_seconds = 1\n[policy.ladder]\ndefault = \"auto\"\n[policy.verification]\nhold = \"2s\"\n",
        &shop,
    );
    until("every instance is ready", || fleet.all_ready());
    fleet.run(&["chaos", "inject", "pause", "--target", "instance/cart-0", "--for", "15s"]).done();
    let wanted: BTreeSet<String> = all.iter().flat_map(|expression| metrics_of(expression)).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    until("every metric that the shipped files name", || {
        for name in &wanted {
            if !seen.contains(name) && !asked(&fleet, name)?.is_empty() {
                seen.insert(name.clone());
            }
        }
        let missing: Vec<&String> = wanted.difference(&seen).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("never exported: {missing:?}")) }
    });
    for expression in &all {
        let expression =
            expression.replace("$service", ".*").replace("$__rate_interval", "1m").replace("$__range", "1h");
        asked(&fleet, &expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    }

    match Command::new("promtool").arg("check").arg("rules").arg(&rules).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr)),
        Err(_) => println!("skipped: no promtool"),
    }
}
