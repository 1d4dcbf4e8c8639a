//! A service that needs more memory than it is allowed: killed for it again and again, until the limit is
//! raised.

use serde_json::{Value, json};

use super::{begun, closed, config, issue, service, strategies, verdict};
use crate::fleet::{Fleet, until};

/// What the service keeps in memory: the block that `dd` has read and cannot write, beside a shell's few pages.
const NEEDS: u64 = 40 << 20;

/// Too little for that, and half of what is enough.
const LIMIT: u64 = NEEDS * 3 / 4;

/// A service that needs as much memory from its start on, whatever it was compiled by.
fn hoarder() -> String {
    format!(
        r#"name: till
services:
  hoarder:
    command: [sh, -c, "dd if=/dev/zero bs={NEEDS} | sleep 86400"]
    limits: {{ memory: {LIMIT} }}
"#
    )
}

/// Somebody knows that nothing leaks here, so that high use is no reason for a restart.
const NO_LEAK: &str = r#"
[[policy.ladder.rules]]
strategy = "graceful_restart"
rung = "observe"
"#;

pub(super) fn higher_limit() {
    let fleet = Fleet::up(&(config("15s") + NO_LEAK), &hoarder());
    let seen = until("it runs out of memory", || issue(&fleet, "pod_crash", "instance/hoarder-0"));
    assert_eq!(seen["reason"], "out_of_memory", "{seen:#}");

    let repair = until("the limit is raised", || verdict(&fleet, &seen, "increase_memory_limit"));
    assert_eq!(repair["outcome"]["kind"], "healed", "{repair:#}");
    assert_eq!(repair["cause"]["class"], "memory_exhausted", "{repair:#}");
    // One end is the standing restart's business; nothing else was tried in between.
    assert_eq!(strategies(&begun(&fleet, &seen).unwrap()), ["increase_memory_limit"]);

    // Doubled: 512 MiB more, but never more than there were.
    assert_eq!(service(&fleet, "hoarder").unwrap()["memory_limit_bytes"], json!(2 * LIMIT));
    assert_eq!(limit_in_table(&fleet), json!(2 * LIMIT));
    until("the issue is over", || closed(&fleet, "pod_crash", "instance/hoarder-0"));
    let now = service(&fleet, "hoarder").unwrap();
    let instance = &now["instances"][0];
    let used = instance["memory_bytes"].as_u64().unwrap();
    assert!(instance["phase"] == "ready" && (NEEDS..2 * LIMIT).contains(&used), "{now:#}");
}

/// The limit as the keeper holds it, read from its own file.
fn limit_in_table(fleet: &Fleet) -> Value {
    let text = std::fs::read(fleet.dir.join("keeper/table.json")).unwrap();
    let table: Value = serde_json::from_slice(&text).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["attribute"] == json!({ "memory_limit": "hoarder" }));
    let row = row.unwrap_or_else(|| panic!("no row for the limit: {table:#}"));
    row["layers"].as_array().unwrap().last().unwrap()[1]["size"].clone()
}
