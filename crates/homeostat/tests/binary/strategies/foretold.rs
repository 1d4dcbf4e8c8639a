//! A service whose memory grows steadily: restarted before it is over its bound.

use serde_json::json;

use super::{approve_what_waits, config, issue, verdict};
use crate::fleet::{Fleet, until};

const SHOP: &str = include_str!("../../../../../drills/shop.yaml");

/// Short enough for a test: what grows is told after ten seconds.
const PROACTIVE: &str = r#"
[proactive]
horizon = "2m"
watched_min = "10s"
"#;

pub(super) fn restarted_before() {
    // A program that was built without optimisation takes half of the shop's limit by itself, and what leaks as much again.
    let shop = SHOP.replace("memory: 64MiB", "memory: 192MiB");
    let fleet = Fleet::up(&(config("20s") + PROACTIVE), &shop);
    until("the shop is up", || fleet.all_ready());
    let leak = json!({
        "name": "a leak",
        "type": "memory_stress",
        "target": { "resource": "instance/cart-0" },
        "parameters": { "fill_percent": 97, "ramp_seconds": 50 },
        "duration_seconds": 90,
    });
    fleet.post("/api/v3/chaos/experiment", &leak).unwrap();

    let seen = until("it is foretold", || issue(&fleet, "high_memory", "instance/cart-0"));
    let metric = |name: &str| seen["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name}: {seen:#}"));
    assert!(metric("memory_percent") < 90.0 && metric("forecast_seconds") > 0.0, "{seen:#}");
    assert!(seen["description"].as_str().unwrap().contains("will use 90 % in about"), "{seen:#}");

    let repair = until("it is restarted", || {
        approve_what_waits(&fleet)?;
        verdict(&fleet, &seen, "graceful_restart")
    });
    assert_eq!(repair["outcome"]["kind"], "healed", "{repair:#}");
    assert_eq!(repair["cause"]["pattern"], "memory_growing", "{repair:#}");
    let over = until("the issue is over", || {
        let issue = issue(&fleet, "high_memory", "instance/cart-0")?;
        if issue["closed_at"].is_null() { Err(issue.to_string()) } else { Ok(issue) }
    });
    assert!(over["metrics"]["forecast_lead_seconds"].is_null(), "it came to pass: {over:#}");
    let counts = fleet.get("/metrics").unwrap();
    let counts = counts.as_str().unwrap();
    for line in ["predicted_failures_total 1", "prevented_incidents_total 1"] {
        assert!(counts.lines().any(|it| it == line), "{line}");
    }
}
