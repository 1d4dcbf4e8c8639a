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
    // A configuration may name files that come later; who has some checked means some that are there.
    for file in files {
        if alerting::matching(file).map_err(|error| Failure::new(Exit::Usage, &error))?.is_empty() {
            let message = format!("no file is called {}; nothing was checked", file.display());
            return Err(Failure { exit: Exit::Usage, message });
        }
    }
    let read = alerting::load(files, &alerting::engine(Settings::default().interval))
        .map_err(|error| Failure::new(Exit::Usage, &error))?;
    for note in &read.notes {
        provider::say!("{note}");
    }
    let rules: usize = read.groups.iter().map(|group| group.rules.len()).sum();
    provider::say!("{} groups with {rules} rules are well", read.groups.len());
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_file_is_wrong_input_as_everywhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "groups: [{name: a, rules: [{alert: X, expr: 'sum('}]}]\n").unwrap();
        let refused = run(&RulesCommand::Check { files: vec![file.path().to_owned()] }).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
    }

    #[test]
    fn a_pattern_that_no_file_fits_is_wrong_input_and_not_well() {
        let dir = tempfile::tempdir().unwrap();
        let refused = run(&RulesCommand::Check { files: vec![dir.path().join("*.yaml")] }).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.message.ends_with("*.yaml; nothing was checked"), "{}", refused.message);
    }
}
