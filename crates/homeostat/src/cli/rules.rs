//! `homeostat rules`: check rule files before they are used.

use std::path::PathBuf;

use alerting::Settings;
use clap::Subcommand;

use super::{Exit, Failure};

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Read rule files in Prometheus' format, and say all that is wrong with them.
    Check {
        /// The files; a `*` in the last part of a path stands for anything.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) fn run(command: &RulesCommand) -> Result<Exit, Failure> {
    let RulesCommand::Check { files } = command;
    let read = alerting::load(files, &alerting::engine(Settings::default().interval)).map_err(|error| {
        let exit = match error {
            alerting::LoadError::Unreadable { .. } => Exit::Usage,
            alerting::LoadError::Wrong(_) => Exit::Failed,
        };
        Failure::new(exit, &error)
    })?;
    for note in &read.notes {
        provider::say!("{note}");
    }
    let rules: usize = read.groups.iter().map(|group| group.rules.len()).sum();
    provider::say!("{} groups with {rules} rules are well", read.groups.len());
    Ok(Exit::Done)
}
