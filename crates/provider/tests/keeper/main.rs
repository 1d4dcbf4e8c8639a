//! The keeper against real processes. This executable plays every part: run by cargo it is the test, run
//! by itself it is the keeper, the holder of volumes, a stress worker or a service.

mod any_instant;
mod cgroups;
mod faults;
mod fleet;
mod full_disk;
#[path = "../shared/harness.rs"]
mod harness;
mod life;
mod links;
#[path = "../shared/port.rs"]
mod port;
mod rollout;
mod service;
mod volumes;
mod whole;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = provider::role::run(&arguments) {
        return code;
    }
    if arguments.get(1).is_some_and(|word| word == "service") {
        return service::run(arguments.get(2).and_then(|word| word.to_str()).unwrap_or_default());
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
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
    harness::run(tests.copied(), &words)
}
