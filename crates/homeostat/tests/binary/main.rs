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
#[path = "../../../provider/tests/shared/harness.rs"]
mod harness;
mod kills;
mod life;
mod metrics;
mod named_files;
mod objectives;
#[path = "../../../provider/tests/shared/port.rs"]
mod port;
mod power_cut;
mod processes;
mod programs;
mod purge;
mod recorded;
mod running;
mod secrets;
mod strategies;
mod support;
mod surroundings;
mod telemetry;
mod tls;
mod wrong_input;
mod wrong_state;

use std::process::ExitCode;

pub(crate) use harness::Test;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == "campaign") {
        return kills::campaign(arguments);
    }
    let tests = life::TESTS
        .iter()
        .chain(wrong_input::TESTS)
        .chain(wrong_state::TESTS)
        .chain(named_files::TESTS)
        .chain(surroundings::TESTS)
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
        .chain(power_cut::TESTS)
        .chain(purge::TESTS)
        .chain(recorded::TESTS)
        .chain(secrets::TESTS)
        .chain(running::TESTS)
        .chain(programs::TESTS)
        .chain(support::TESTS)
        .chain(access::TESTS)
        .chain(kills::TESTS);
    harness::run(tests.copied(), &arguments)
}
