//! A harness for tests that measure time or stop the whole machine's part of something: one after the other, in this
//! process, told as Rust's own harness does.
//!
//! In: tests and the words of the command line. Out: a line a test, at the end what failed, and the status to exit with.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

/// Runs those whose names hold one of the words; all where there is none. What cargo passes to a harness
/// (`--show-output`) means nothing here: everything is shown.
pub(crate) fn run(tests: impl IntoIterator<Item = Test>, words: &[String]) -> ExitCode {
    let filter: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()));
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
            println!("test {name} ... ok ({:.1} s)", began.elapsed().as_secs_f64());
        } else {
            failed.push(name);
            println!("test {name} ... FAILED");
        }
    }
    conclude(passed, &failed)
}

/// Says at the end which tests failed, for people and programs that look there.
fn conclude(passed: usize, failed: &[&str]) -> ExitCode {
    if failed.is_empty() {
        println!("\ntest result: ok. {passed} passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("\nfailures:\n    {}\n", failed.join("\n    "));
    println!("test result: FAILED. {passed} passed; {} failed", failed.len());
    ExitCode::FAILURE
}
