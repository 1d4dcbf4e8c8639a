//! Runs the loop in seeded simulation and prints what came of it as JSON:
//! `cargo run --release -p heal --example storm -- --runs 100000 --from 0`. Every run is with its own fleet,
//! trouble and people; every other one with deaths of the control plane. `--seconds` ends earlier. Exit
//! status 1 where a run violated what must hold; its seed is in the output.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().expect("a whole number"))
}

fn main() -> ExitCode {
    let (runs, from) = (argument("--runs", 1000), argument("--from", 0));
    let report = support::many::many(runs, from, argument("--seconds", u64::MAX));
    println!("{report:#}");
    if report["violating_runs"] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
