//! `homeostat completions` and `homeostat man`: what shells and manual readers need, made from the command line itself.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, Failure, print};

/// The command line. Where the data directory lies depends on who asks, so that what is made does not name it.
pub(crate) fn command() -> Command {
    Cli::command().mut_arg("dir", |dir| dir.hide_default_value(true))
}

pub(super) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "homeostat", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Why no manual pages were written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write manual pages to {}; name a directory that can be written to", dir.display())]
struct ManualError {
    dir: PathBuf,
    #[source]
    source: std::io::Error,
}

/// A page for each command, `homeostat-chaos-inject.1` and so on.
pub(super) fn pages(dir: &Path) -> Result<Exit, Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command(), dir));
    written.map_err(|source| Failure::failed(&ManualError { dir: dir.to_owned(), source }))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_no_page_names_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        let of = |name: &str| std::fs::read_to_string(dir.path().join(name));
        assert!(of("homeostat-chaos-inject.1").unwrap().contains("network_latency"));
        assert!(of("homeostat-bench-server.1").is_err() && of("homeostat-demo-load.1").is_err());
        let first = of("homeostat.1").unwrap();
        assert!(first.contains("Exit codes") && !first.contains(".local/state"), "{first}");
    }

    /// Every command's help at a width of so many columns.
    fn help(command: &mut Command, columns: usize, all: &mut Vec<String>) {
        *command = std::mem::take(command).term_width(columns);
        all.extend([command.render_help().to_string(), command.render_long_help().to_string()]);
        command.get_subcommands_mut().for_each(|sub| help(sub, columns, all));
    }

    /// Words that are longer than a line, such as usages, paths and lists of values, are not broken either.
    #[test]
    fn help_is_broken_between_words_where_the_terminal_is_narrow() {
        let mut all = Vec::new();
        let mut whole = command();
        whole.build();
        help(&mut whole, 60, &mut all);
        assert!(all.len() > 100, "{}", all.len());
        for text in all {
            for line in text.lines().filter(|line| line.chars().count() > 60) {
                let words = line.trim_start();
                let usage = words.starts_with("Usage:") || words.starts_with("homeostat ");
                let single = !words.contains(' ') || words.starts_with('[') || words.starts_with('-');
                assert!(usage || single, "{line:?} in {text}");
            }
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = pages(&file.path().join("man")).unwrap_err();
        assert!(failure.message.contains(&file.path().display().to_string()), "{}", failure.message);
    }
}
