//! The one store of the payments is short of processor time because its limit throttles it: another instance would
//! begin empty, so its limit is raised.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{approve_what_waits, begun, closed, config, free_port, issue, service, strategies, verdict};
use crate::fleet::{Fleet, agent, until};

/// So long the visitors come as usual before anything is judged by it: use is an average over 3 s, a start costs
/// processor time, and the usual rate is what a rise is told by.
const SETTLE: Duration = Duration::from_secs(6);

/// Visitors a second at first, to find out what one costs.
const FIRST: f64 = 20.0;

/// What the rush is to need, in cores.
const RUSH: f64 = 0.12;

/// The limit is this share of what the rush needs: it throttles, and half as much again is enough.
const SHARE: f64 = 0.94;

/// Visitors who wait for their answer at the same time, at most.
const AT_ONCE: u64 = 4;

/// The payments service of the demo shop.
fn payments(port: u16, limits: &str) -> String {
    format!(
        r#"name: till
services:
  payments:
    command: ["{{homeostat}}", demo-service, payments]
    listens: http
    publish: {port}
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 64MiB }}
    limits: {{ {limits} }}
"#
    )
}

pub(super) fn higher_limit() {
    let port = free_port();
    let Some((rate, needed)) = rush_of(&Fleet::up(&config("15s"), &payments(port, "")), port) else {
        println!("skipped: no cgroup");
        return;
    };
    let limit = (needed * SHARE * 1000.0).round() / 1000.0;
    println!("{rate:.0} payments a second need {needed:.3} cores; the limit is {limit}");
    let port = free_port();
    let fleet = Fleet::up(&config("15s"), &payments(port, &format!("cpu: {limit}")));
    let visitors = Visitors::come(port, rate / 2.0);
    wait(SETTLE);
    visitors.set(rate);
    let seen = until("the payments are short of processor time", || {
        issue(&fleet, "high_cpu", "instance/payments-0")
    });
    assert_eq!(seen["reason"], "load", "{seen:#}");

    let repair = until("the limit is raised, and that held", || {
        approve_what_waits(&fleet)?;
        verdict(&fleet, &seen, "increase_cpu_limit")
    });
    assert_eq!(repair["outcome"]["kind"], "healed", "{repair:#}");
    assert_eq!(repair["cause"]["class"], "cpu_exhausted", "{repair:#}");
    assert_eq!(strategies(&begun(&fleet, &seen).unwrap()), ["increase_cpu_limit"]);
    until("the issue is over", || closed(&fleet, "high_cpu", "instance/payments-0"));

    let raised = service(&fleet, "payments").unwrap()["cpu_limit_cores"].as_f64().unwrap();
    assert!((raised - limit * 1.5).abs() < 1e-9, "{raised} instead of half as much again as {limit}");
    assert_eq!(limit_in_table(&fleet).as_f64(), Some(raised));
    let now = service(&fleet, "payments").unwrap();
    let used = now["instances"][0]["cpu_cores"].as_f64().unwrap();
    assert!(used < raised * 0.85, "it is used up again: {now:#}");
}

/// How many payments a second need about [`RUSH`], and what they need; `None` where no limit is held by the kernel.
fn rush_of(fleet: &Fleet, port: u16) -> Option<(f64, f64)> {
    let capabilities = fleet.get("/api/v3/self-healing/capabilities").unwrap();
    if capabilities["cpu_limit"]["by"] != "kernel" {
        println!("no CPU limits by the kernel here: {}", capabilities["cpu_limit"]);
        return None;
    }
    let used = || {
        until("its use is measured", || {
            let seen = service(fleet, "payments")?;
            seen["instances"][0]["cpu_cores"].as_f64().ok_or_else(|| seen.to_string())
        })
    };
    let visitors = Visitors::come(port, FIRST);
    wait(SETTLE);
    // What a visitor costs depends on how the service was compiled.
    let rate = (FIRST * RUSH / used()).clamp(FIRST, 400.0);
    visitors.set(rate);
    wait(SETTLE);
    Some((rate, used()))
}

/// Lets the visitors come for a while.
fn wait(time: Duration) {
    let began = Instant::now();
    until(
        "they came for a while",
        || {
            if began.elapsed() >= time { Ok(()) } else { Err("too soon".to_owned()) }
        },
    );
}

/// The limit as the keeper holds it, read from its own file.
fn limit_in_table(fleet: &Fleet) -> Value {
    let text = std::fs::read(fleet.dir.join("keeper/table.json")).unwrap();
    let table: Value = serde_json::from_slice(&text).unwrap();
    let rows = table["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["attribute"] == json!({ "cpu_limit": "payments" }));
    let row = row.unwrap_or_else(|| panic!("no row for the limit: {table:#}"));
    row["layers"].as_array().unwrap().last().unwrap()[1]["cpu"].clone()
}

/// People who pay, so many a second; one who has to wait keeps the next one waiting.
struct Visitors {
    per_second: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Visitors {
    fn come(port: u16, rate: f64) -> Self {
        let (per_second, over) = (Arc::new(AtomicU64::new(rate.to_bits())), Arc::new(AtomicBool::new(false)));
        let one = |_| {
            let (per_second, over) = (Arc::clone(&per_second), Arc::clone(&over));
            std::thread::spawn(move || pay(port, &per_second, &over))
        };
        let threads = (0..AT_ONCE).map(one).collect();
        Self { per_second, over, threads }
    }

    fn set(&self, rate: f64) {
        self.per_second.store(rate.to_bits(), Ordering::Relaxed);
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

fn pay(port: u16, per_second: &AtomicU64, over: &AtomicBool) {
    let charge = json!({ "order": "o1", "amount_cents": 1999, "card": "4111111111111111" });
    let mut next = Instant::now();
    while !over.load(Ordering::Relaxed) {
        // One that is turned away is counted by the proxy.
        let _ = agent().post(format!("http://127.0.0.1:{port}/payments")).send_json(&charge);
        let rate = f64::from_bits(per_second.load(Ordering::Relaxed));
        next = Instant::now().max(next + Duration::from_secs_f64(AT_ONCE as f64 / rate));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
