//! `homeostat config`: write the configuration with every default, or check one.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use gateway::Tls;
use provider::clock::SystemClock;

use super::{Exit, Failure, Global};
use crate::config::{Config, unfollowed};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration file with every default.
    Init,
    /// Read the configuration, the environment and the files that are named there (certificate, rules, objectives), and say
    /// what is wrong.
    Check,
}

pub(super) fn run(global: &Global, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Init => {
            print(&Config::written_out())?;
            Ok(Exit::Done)
        }
        ConfigCommand::Check => {
            check_files(&load(global)?)?;
            unfollowed(|name| std::env::var_os(name).is_some())
                .iter()
                .for_each(|said| provider::say!("{said}"));
            provider::say!("the configuration is well");
            Ok(Exit::Done)
        }
    }
}

/// What a start would find wrong in the files that a configuration names.
fn check_files(config: &Config) -> Result<(), Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::new(Exit::Usage, error);
    if let Some(files) = config.tls.files() {
        let tls = Tls::open(files, Arc::new(SystemClock)).map_err(|error| wrong(&error))?;
        if let Some(concern) = tls.concern() {
            provider::say!("{concern}");
        }
    }
    if !config.rules.files.is_empty() {
        let interval = Duration::from_secs(config.rules.evaluation_interval_seconds);
        let read = alerting::load(&config.rules.files, &alerting::engine(interval));
        drop(read.map_err(|error| wrong(&error))?);
    }
    config.slo.objectives().map(drop).map_err(|error| wrong(&error))
}

/// The configuration of a command.
pub(crate) fn load(global: &Global) -> Result<Config, Failure> {
    Config::load(global.config.as_deref()).map_err(|error| Failure::new(Exit::Usage, &error))
}

/// The same for what reads it again later, or has another process read it.
pub(crate) fn load_lasting(global: &Global) -> Result<Config, Failure> {
    check_lasting(global).and_then(|()| load(global))
}

/// Refuses a configuration that can be read but once.
pub(super) fn check_lasting(global: &Global) -> Result<(), Failure> {
    let Some(path) = &global.config else { return Ok(()) };
    input::check_lasting(path).map_err(|error| Failure {
        exit: Exit::Usage,
        message: format!("cannot use the configuration {}: {error}", path.display()),
    })
}

/// Prints to stdout. A reader that went away (`| head`) is no failure of ours, but the end of the work.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure { exit: Exit::Failed, message: format!("cannot write the output: {error}") })
        }
        _ => Ok(()),
    }
}
