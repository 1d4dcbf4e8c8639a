//! `homeostat config`: write the configuration with every default, or check one.

use std::io::Write;

use clap::Subcommand;

use super::{Exit, Failure, Global};
use crate::config::{Config, unfollowed};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a configuration file with every default.
    Init,
    /// Read the configuration and the environment, and say what is wrong.
    Check,
}

pub(super) fn run(global: &Global, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Init => {
            print(&Config::written_out())?;
            Ok(Exit::Done)
        }
        ConfigCommand::Check => {
            load(global)?;
            unfollowed(|name| std::env::var_os(name).is_some())
                .iter()
                .for_each(|said| provider::say!("{said}"));
            provider::say!("the configuration is well");
            Ok(Exit::Done)
        }
    }
}

/// The configuration of a command.
pub(crate) fn load(global: &Global) -> Result<Config, Failure> {
    Config::load(global.config.as_deref()).map_err(|error| Failure::new(Exit::Usage, &error))
}

/// Prints to stdout. A reader that went away (`| head`) is no failure of ours, but the end of the work.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(&error)),
        _ => Ok(()),
    }
}
