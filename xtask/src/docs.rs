//! Writes the reference in `docs/reference` anew.
//!
//! In: nothing. Out: the pages, written by the tests that otherwise hold them against the code: what makes a page and what
//! checks it is the same, and nothing of it is in the program.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Set, those tests write.
const WRITE: &str = "HOMEOSTAT_WRITE_REFERENCE";

/// The tests, as cargo names them.
const TESTS: [&[&str]; 3] = [
    &["--package", "gateway", "--lib", "--", "reference::"],
    &["--package", "gateway", "--test", "metrics_reference"],
    &["--package", "homeostat", "--lib", "--", "reference::c"],
];

/// Runs them; fails with the first that fails.
pub(crate) fn command(root: &Path) -> ExitCode {
    for test in TESTS {
        let status = Command::new("cargo")
            .arg("test")
            .arg("--quiet")
            .args(test)
            .env(WRITE, "1")
            .current_dir(root)
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => return ExitCode::FAILURE,
            Err(error) => {
                eprintln!("cannot run cargo: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    eprintln!("docs/reference is written; `git diff docs/reference` shows what changed");
    ExitCode::SUCCESS
}
