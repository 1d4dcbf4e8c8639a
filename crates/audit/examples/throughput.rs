//! Measures a trail: appending from many threads, opening, querying, verifying. Prints JSON.
//!
//! `cargo run --release -p audit --example throughput [RECORDS] [THREADS] [DIR]`; by default 1,000,000 records are
//! verified, the first fifth of them appended one by one by 64 threads.

#[path = "support/running.rs"]
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use audit::{Action, Audit, Filter, NewRecord, Outcome, Trusted, Via, verify};
use domain::Clock;
use running::Running;

const ACTIONS: [Action; 3] =
    [Action::new("remediation.approve"), Action::new("chaos.experiment.start"), Action::new("token.create")];

fn record(number: u64) -> NewRecord {
    let outcome = [Outcome::Done, Outcome::Refused, Outcome::Failed][number as usize % 3];
    let action = ACTIONS[number as usize / 3 % 3].clone();
    NewRecord::new(
        format!("user-{}", number % 50),
        Via::Token,
        action,
        format!("service-{}", number % 1000),
        outcome,
    )
    .why("latency of checkout rises after the deployment of 14:02")
    .request(format!("{number:032x}"))
}

/// Records a second.
fn append(audit: &Audit, from: u64, to: u64, threads: u64) -> f64 {
    let begin = Instant::now();
    thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                for number in (from + thread..to).step_by(threads as usize) {
                    audit.append(record(number)).expect("the disk has room");
                }
            });
        }
    });
    (to - from) as f64 / begin.elapsed().as_secs_f64()
}

/// The 95th percentile of a query, in milliseconds.
fn query_p95(audit: &Audit, filter: impl Fn(u64) -> Filter) -> f64 {
    let mut times: Vec<f64> = (0..200)
        .map(|number| {
            let filter = filter(number);
            let begin = Instant::now();
            let page = audit.query(&filter).expect("it was written");
            assert!(page.records.len() <= filter.limit);
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() * 95 / 100]
}

fn queries(audit: &Audit) -> serde_json::Value {
    serde_json::json!({
        "newest_p95_ms": query_p95(audit, |_| Filter::default()),
        "who_and_outcome_p95_ms": query_p95(audit, |number| Filter {
            who: Some(format!("user-{}", number % 50)),
            outcome: Some(Outcome::Refused),
            ..Filter::default()
        }),
        "action_and_target_p95_ms": query_p95(audit, |number| Filter {
            action: Some("chaos.".to_owned()),
            target: Some(format!("service-{number}")),
            ..Filter::default()
        }),
        "nothing_found_p95_ms": query_p95(audit, |number| Filter {
            target: Some(format!("nobody-{number}")),
            ..Filter::default()
        }),
    })
}

fn open(dir: &Path, clock: &Arc<dyn Clock>) -> (Audit, f64) {
    let begin = Instant::now();
    let audit = Audit::open(dir, Arc::clone(clock)).expect("nobody else has it");
    (audit, begin.elapsed().as_secs_f64())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (records, threads) = (number(0, 1_000_000), number(1, 64));
    let dir = arguments.get(2).map_or_else(|| PathBuf::from("target/audit-throughput"), PathBuf::from);
    std::fs::create_dir_all(&dir).expect("the directory can be made");
    assert!(
        !dir.join("audit").exists(),
        "{} holds a trail: remove it, or name another directory",
        dir.display()
    );
    let clock: Arc<dyn Clock> = Arc::new(Running(Instant::now()));
    let (audit, _) = open(&dir, &clock);
    let measured = (records / 5).max(1);
    let rate = append(&audit, 0, measured, threads);
    let commits = audit.status().commits;
    let queries_then = queries(&audit);
    // The rest with many more threads: only that it is there matters.
    append(&audit, measured, records, 256);
    let queries_now = queries(&audit);
    drop(audit);
    let (audit, open_s) = open(&dir, &clock);
    drop(audit);
    let begin = Instant::now();
    let report = verify(&dir, &Trusted::default()).expect("it can be read");
    let verify_s = begin.elapsed().as_secs_f64();
    assert!(report.holds(), "{:?}", report.problems);
    let line = serde_json::json!({
        "append": { "threads": threads, "records": measured, "per_second": rate, "commits": commits },
        "queries": { "records": measured, "result": queries_then },
        "queries_all": { "records": records, "result": queries_now },
        "open_s": open_s,
        "verify": { "records": report.records, "bytes": report.bytes, "seconds": verify_s,
                    "checkpoints": report.checkpoints },
    });
    println!("{line:#}");
    std::fs::remove_dir_all(&dir).expect("it was made here");
}
