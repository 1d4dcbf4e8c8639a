//! The `homeostat` binary: reads the command line and hands over to the module that does the work.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use homeostat::{demo_load, demo_service};

/// Keeps a fleet of processes in balance.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one instance of a service of the demo shop; its settings come from the environment.
    #[command(hide = true)]
    DemoService {
        /// Which service.
        name: demo_service::Role,
    },
    /// Sends the demo shop the requests of its visitors and logs how each went.
    #[command(hide = true)]
    DemoLoad(demo_load::LoadArgs),
}

fn main() -> ExitCode {
    let done: Result<(), Box<dyn std::error::Error>> = match Cli::parse().command {
        Command::DemoService { name } => demo_service::run(name).map_err(Into::into),
        Command::DemoLoad(args) => demo_load::run(&args).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeostat: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, outermost first.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
