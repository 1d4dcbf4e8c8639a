//! `cargo xtask`: the project's chores, one subcommand each.
//!
//! In: the source tree the command was compiled from. Out: findings or results on stdout, progress on
//! stderr, exit status 0 when all is well, 1 when not.
//!
//! Deliberately absent: anything a user of Homeostat needs. What ships is in `crates/`.

mod crash;
mod docs;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

/// One chore.
#[derive(Debug, Subcommand)]
enum Chore {
    /// Check the rules of the house that no compiler knows: floors, purity, file length, documents.
    Tidy,
    /// Write the reference in docs/reference anew, from the code.
    Docs,
    /// Kill control plane, keeper or both at random instants of a fleet under load; resumable.
    Crash(crash::CrashArguments),
}

fn main() -> ExitCode {
    match Arguments::parse().chore {
        Chore::Tidy => tidy::command(&project_root()),
        Chore::Docs => docs::command(&project_root()),
        Chore::Crash(arguments) => crash::command(&project_root(), &arguments),
    }
}

/// The directory of the workspace this was compiled from.
fn project_root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}
