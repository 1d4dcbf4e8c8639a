//! The `homeostat` binary: the provider's own processes first, then what a person typed.

use std::ffi::OsString;
use std::process::ExitCode;

use homeostat::cli::{Cli, Parser, run};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = provider::role::run(&arguments) {
        return code;
    }
    gateway::choose_provider();
    let cli = Cli::parse();
    homeostat::cli::begin_log();
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            provider::say!("homeostat: {}", failure.message);
            failure.exit.into()
        }
    }
}
