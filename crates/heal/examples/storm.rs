//! Runs the loop in seeded simulation and prints what came of it as JSON:
//! `cargo run --release -p heal --example storm -- --runs 100000 --from 0`. Every run is with its own fleet,
//! trouble and people; every other one with deaths of the control plane. Exit status 1 where a run violated
//! what must hold; its seed is in the output.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Instant;

use support::storm::{Deaths, run};

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().expect("a whole number"))
}

fn main() -> ExitCode {
    let (runs, from) = (argument("--runs", 1000), argument("--from", 0));
    let seconds = argument("--seconds", u64::MAX);
    let began = Instant::now();
    let mut sums = [0_u64; 7];
    let (mut done, mut virtual_seconds, mut violations) = (0, 0.0, Vec::new());
    for seed in from..from.saturating_add(runs) {
        if began.elapsed().as_secs() >= seconds {
            break;
        }
        let report = run(seed, if seed % 2 == 0 { Deaths::None } else { Deaths::Some });
        let counts = [
            report.turns,
            report.repairs,
            report.approved,
            report.faults,
            report.troubles,
            report.storms,
            report.crashes,
        ];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += u64::from(count);
        }
        done += 1;
        virtual_seconds += report.virtual_seconds;
        if !report.violations.is_empty() {
            eprintln!("seed {seed}: {}", report.violations.join("\n  "));
            violations.push(serde_json::json!({"seed": seed, "what": report.violations}));
        }
    }
    let [turns, repairs, approved, faults, troubles, storms, crashes] = sums;
    let failed = !violations.is_empty();
    let report = serde_json::json!({
        "runs": done, "from": from, "violating_runs": violations.len(), "violations": violations,
        "turns": turns, "repairs": repairs, "approved": approved, "faults": faults, "troubles": troubles,
        "storms": storms, "crashes": crashes, "virtual_seconds": virtual_seconds.round(),
        "seconds": began.elapsed().as_secs_f64(),
    });
    println!("{report:#}");
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
