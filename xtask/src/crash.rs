//! `cargo xtask crash`: kills at random instants, as many as wanted, in as many parts as wanted.
//!
//! In: how many, from which number, with which seed. Out: one JSON line a kill in a file, a line a kill on
//! stderr, the summary over the whole file on stdout. The kills themselves are in the `binary` test of the
//! `homeostat` crate, where cargo knows the binary that belongs to them; this only starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// `crash`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrashArguments {
    /// How many kills.
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// The number of the first; with the same seed a campaign can be run in parts.
    #[arg(long, default_value_t = 0)]
    from: u32,
    /// Decides every kill, together with its number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the lines are appended; numbers of the same seed that are there already are left out.
    #[arg(long, default_value = "target/crash.jsonl")]
    out: PathBuf,
    /// Kill the release build.
    #[arg(long)]
    release: bool,
}

/// Builds the binary and runs the campaign on it; fails when a kill left something behind.
pub(crate) fn command(root: &Path, arguments: &CrashArguments) -> ExitCode {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["test", "--locked", "--package", "homeostat", "--test", "binary"]);
    if arguments.release {
        cargo.arg("--release");
    }
    cargo.args(["--", "campaign"]);
    for (name, value) in [("--count", u64::from(arguments.count)), ("--from", u64::from(arguments.from))] {
        cargo.args([name, &value.to_string()]);
    }
    // Cargo runs a test in the directory of its package.
    cargo.args(["--seed", &arguments.seed.to_string(), "--out"]).arg(root.join(&arguments.out));
    match cargo.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cannot run cargo: {error}");
            ExitCode::FAILURE
        }
    }
}
