//! The keeper against real processes. This executable plays every part: run by cargo it is the test, run
//! by itself it is the keeper, the holder of volumes, a stress worker or a service.

mod any_instant;
mod cgroups;
mod faults;
mod fleet;
mod full_disk;
mod life;
mod links;
mod rollout;
mod service;
mod volumes;
mod whole;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = provider::role::run(&arguments) {
        return code;
    }
    if arguments.get(1).is_some_and(|word| word == "service") {
        return service::run(arguments.get(2).and_then(|word| word.to_str()).unwrap_or_default());
    }
    let filter: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let tests = life::TESTS
        .iter()
        .chain(volumes::TESTS)
        .chain(faults::TESTS)
        .chain(links::TESTS)
        .chain(rollout::TESTS)
        .chain(whole::TESTS)
        .chain(cgroups::TESTS)
        .chain(full_disk::TESTS)
        .chain(any_instant::TESTS);
    let chosen: Vec<_> = tests
        .filter(|(name, _)| filter.is_empty() || filter.iter().any(|part| name.contains(part)))
        .collect();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in chosen {
        let begun = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            passed += 1;
            println!("test {name} ... ok ({:.1} s)", begun.elapsed().as_secs_f64());
        } else {
            failed.push(*name);
            println!("test {name} ... FAILED");
        }
    }
    conclude(passed, &failed)
}

/// Says at the end which tests failed, in the words of Rust's own harness.
fn conclude(passed: usize, failed: &[&str]) -> ExitCode {
    if failed.is_empty() {
        println!("\ntest result: ok. {passed} passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    println!("\nfailures:\n    {}\n", failed.join("\n    "));
    println!("test result: FAILED. {passed} passed; {} failed", failed.len());
    ExitCode::FAILURE
}
