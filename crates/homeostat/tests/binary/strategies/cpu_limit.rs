//! The one store of the payments is short of processor time because its limit throttles it: another instance would
//! begin empty, so its limit is raised.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{approve_what_waits, begun, closed, config, issue, service, strategies, verdict};
use crate::fleet::{Fleet, agent, until};
use crate::port::free_port;

/// What the payments may use, in cores: three times what the usual visitors need on a slow machine, so that the rush can
/// begin below the threshold.
const LIMIT: f64 = 0.1;

/// Visitors a second before the rush.
const USUAL: f64 = 10.0;

/// So long the visitors come as usual: their rate is what a rise is told by, and a start costs processor time.
const SETTLE: Duration = Duration::from_secs(8);

/// The rush begins with as many as need this share of the limit, below the threshold of 85 %.
const FIRST_SHARE: f64 = 0.7;

/// Between two rises of the rush. Detection judges an average over 3 s.
const NEXT_RISE: Duration = Duration::from_secs(5);

/// Each rise is by this share, so that what comes at last needs little more than the limit, which half as much again
/// is well enough for; by the greater one as long as less than [`NEAR`] of the limit is used, so that it is a rush and not
/// what has become usual when it gets there.
const RISE: f64 = 0.2;
const FIRST_RISE: f64 = 0.5;

/// The share of the limit from which on the threshold is near.
const NEAR: f64 = 0.55;

/// Visitors who wait for their answer at the same time, at most.
const AT_ONCE: u64 = 4;

/// The payments service of the demo shop.
fn payments(port: u16) -> String {
    format!(
        r#"name: till
services:
  payments:
    command: ["{{homeostat}}", demo-service, payments]
    listens: http
    publish: {port}
    readiness: {{ http: /ready, interval: 100ms }}
    volume: {{ size: 64MiB }}
    limits: {{ cpu: {LIMIT} }}
"#
    )
}

pub(super) fn higher_limit() {
    let port = free_port();
    let fleet = Fleet::up(&config("15s"), &payments(port));
    let capabilities = fleet.get("/api/v3/self-healing/capabilities").unwrap();
    if capabilities["cpu_limit"]["by"] != "kernel" {
        println!("no CPU limits by the kernel here: {}", capabilities["cpu_limit"]);
        println!("skipped: no cgroup");
        return;
    }
    let visitors = Visitors::come(port, USUAL);
    let began = Instant::now();
    until("the visitors have come as usual", || {
        if began.elapsed() >= SETTLE { Ok(()) } else { Err("too soon".to_owned()) }
    });
    let throttled_before = throttled(&fleet);
    // What a visitor costs depends on how the service was compiled.
    let used = use_of(&fleet).unwrap();
    let mut rate = (USUAL * FIRST_SHARE * LIMIT / used).max(USUAL * 2.0);
    println!("{USUAL} payments a second use {used:.3} of {LIMIT} cores; {rate:.0} come first");
    visitors.set(rate);
    let mut next = Instant::now() + NEXT_RISE;
    let seen = until("the payments are short of processor time", || {
        if Instant::now() >= next {
            let is_near = use_of(&fleet)? >= NEAR * LIMIT;
            rate *= 1.0 + if is_near { RISE } else { FIRST_RISE };
            visitors.set(rate);
            next = Instant::now() + NEXT_RISE;
        }
        issue(&fleet, "high_cpu", "instance/payments-0")
    });
    println!("at {rate:.0} a second: {}", seen["description"]);
    assert_eq!(seen["reason"], "load", "{seen:#}");
    assert!(throttled(&fleet) > throttled_before, "the limit holds nobody back");

    let repair = until("the limit is raised, and that held", || {
        approve_what_waits(&fleet)?;
        verdict(&fleet, &seen, "increase_cpu_limit")
    });
    let used = use_of(&fleet);
    assert_eq!(repair["outcome"]["kind"], "healed", "{used:?} cores are used: {repair:#}");
    assert_eq!(repair["cause"]["class"], "cpu_exhausted", "{repair:#}");
    assert_eq!(strategies(&begun(&fleet, &seen).unwrap()), ["increase_cpu_limit"]);
    until("the issue is over", || closed(&fleet, "high_cpu", "instance/payments-0"));

    let raised = service(&fleet, "payments").unwrap()["cpu_limit_cores"].as_f64().unwrap();
    assert!((raised - LIMIT * 1.5).abs() < 1e-9, "{raised} instead of half as much again as {LIMIT}");
    assert_eq!(limit_in_table(&fleet).as_f64(), Some(raised));
}

/// What the payments use, in cores.
fn use_of(fleet: &Fleet) -> Result<f64, String> {
    let seen = service(fleet, "payments")?;
    seen["instances"][0]["cpu_cores"].as_f64().ok_or_else(|| seen.to_string())
}

/// In how many periods the kernel held the payments back so far, by the group they are in.
fn throttled(fleet: &Fleet) -> u64 {
    let pid = fleet.pid("payments-0").to_string();
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = below(root).into_iter().chain([root.to_owned()]);
    let keepers = hierarchies.flat_map(|hierarchy| below(&hierarchy.join("homeostat")));
    let has_it = |group: &PathBuf| {
        let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        members.lines().any(|line| line == pid)
    };
    let groups = keepers.map(|keeper| keeper.join("payments-0")).filter(has_it);
    let stat = groups.filter_map(|group| std::fs::read_to_string(group.join("cpu.stat")).ok());
    let counts = stat
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse().ok()));
    counts.max().expect("it is in a group for its CPU limit")
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
