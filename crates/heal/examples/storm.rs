//! Runs the loop in seeded simulation and says what came of it as JSON:
//! `cargo run --release -p heal --example storm -- --runs 100000 --json storm.json`.
//!
//! Every run is with its own fleet, trouble and people; every odd one with deaths of the control plane. A run
//! depends on its seed alone, so a batch is continued with `--from` the number of runs that were done, and
//! `--from SEED --runs 1` runs one again. `--threads` is as many as the machine has processors, `--seconds`
//! ends earlier. Exit status 1 where a run violated what must hold; its seed is in the output.

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use support::many::{Many, many};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

const USAGE: &str = "usage: storm [--from SEED] [--runs N] [--threads N] [--seconds N] [--json FILE]";

fn main() -> ExitCode {
    let (asked, file) = match read(std::env::args().skip(1)) {
        Ok(read) => read,
        Err(why) => {
            eprintln!("{why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let report = many(asked);
    let text = format!("{report:#}\n");
    print!("{text}");
    if let Some(file) = file
        && let Err(error) = std::fs::write(&file, text)
    {
        eprintln!("cannot write {file}: {error}");
        return ExitCode::from(2);
    }
    if report["violating_runs"] == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<(Many, Option<String>), String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut from, mut runs, mut seconds, mut file) = (0, 1000, u64::MAX, None);
    let mut threads = threads as u64;
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{name} {value}: {error}"));
        match name.as_str() {
            "--from" => from = number()?,
            "--runs" => runs = number()?,
            "--threads" => threads = number()?.max(1),
            "--seconds" => seconds = number()?,
            "--json" => file = Some(value),
            other => return Err(format!("there is no option {other}")),
        }
    }
    let threads = usize::try_from(threads).unwrap_or(1);
    let time = Duration::from_secs(seconds);
    Ok((Many { from, runs, threads, time, progress: Some(PROGRESS) }, file))
}
