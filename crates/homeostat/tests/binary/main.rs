//! The real binary against real processes: its life, wrong input, repairs, the emergency stop, and kills at
//! random instants.
//!
//! Tests run one after the other, because they measure time on the same cores. `campaign` as first argument
//! runs many kills instead; that is what `cargo xtask crash` does.

mod access;
mod answers;
mod backup;
mod demo;
mod deployments;
mod emergency;
mod fleet;
mod kills;
mod life;
mod metrics;
mod objectives;
mod processes;
mod purge;
mod running;
mod secrets;
mod strategies;
mod support;
mod telemetry;
mod tls;
mod wrong_input;
mod wrong_state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub(crate) type Test = (&'static str, fn());

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "campaign") {
        return kills::campaign(arguments);
    }
    // What cargo passes to a harness (`--show-output`) means nothing here: everything is shown.
    let filter: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filter.is_empty() || filter.iter().any(|part| name.contains(part.as_str()));
    let tests = life::TESTS
        .iter()
        .chain(wrong_input::TESTS)
        .chain(wrong_state::TESTS)
        .chain(strategies::TESTS)
        .chain(answers::TESTS)
        .chain(demo::TESTS)
        .chain(deployments::TESTS)
        .chain(telemetry::TESTS)
        .chain(tls::TESTS)
        .chain(metrics::TESTS)
        .chain(objectives::TESTS)
        .chain(emergency::TESTS)
        .chain(backup::TESTS)
        .chain(purge::TESTS)
        .chain(secrets::TESTS)
        .chain(running::TESTS)
        .chain(support::TESTS)
        .chain(access::TESTS)
        .chain(kills::TESTS);
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in tests.filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
            println!("test {name} ... ok ({:.1} s)", began.elapsed().as_secs_f64());
        } else {
            failed.push(*name);
            println!("test {name} ... FAILED");
        }
    }
    conclude(passed, &failed)
}

/// Says at the end which tests failed, in the words of Rust's own harness, for people and programs that look there.
fn conclude(passed: usize, failed: &[&str]) -> ExitCode {
    if failed.is_empty() {
        println!("\ntest result: ok. {passed} passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("\nfailures:\n    {}\n", failed.join("\n    "));
    println!("test result: FAILED. {passed} passed; {} failed", failed.len());
    ExitCode::FAILURE
}
