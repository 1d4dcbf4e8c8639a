//! Passwords from people: typed without echo, or read from a file or a pipe. Never from an argument, which everybody on the
//! machine can read.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Exit, Failure};

/// The longest line or file with a password, in bytes.
const LONGEST: u64 = 64 << 10;

/// Where a password comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordSource {
    /// Read the password from the first line of this file. Default: asked for at a terminal, else the first line of stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// The password that somebody has.
    pub(crate) fn present(&self, prompt: &str) -> Result<String, Failure> {
        match &self.password_file {
            Some(path) => of_file(path),
            None => line(prompt),
        }
    }

    /// A password that is to be: asked for twice at a terminal.
    pub(crate) fn chosen(&self, prompt: &str) -> Result<String, Failure> {
        let given = self.present(prompt)?;
        let is_typed = self.password_file.is_none() && io::stdin().is_terminal();
        if is_typed && line("the same again: ")? != given {
            return Err(usage("the two are not the same; nothing was done".to_owned()));
        }
        Ok(given)
    }
}

fn usage(message: String) -> Failure {
    Failure { exit: Exit::Usage, message }
}

fn of_file(path: &Path) -> Result<String, Failure> {
    let text = input::read_to_string(path, LONGEST)
        .map_err(|error| usage(format!("cannot read the password from {}: {error}", path.display())))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A line that is not shown while it is typed; without a terminal the next one of stdin.
pub(super) fn line(prompt: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let hidden = match stdin.is_terminal() {
        true => Some(Hidden::begin().map_err(|error| Failure::failed(&error))?),
        false => None,
    };
    if hidden.is_some() {
        let mut err = io::stderr().lock();
        let _ = err.write_all(prompt.as_bytes()).and_then(|()| err.flush());
    }
    let mut text = String::new();
    // Something that has no lines would be read for ever.
    let read = stdin.lock().take(LONGEST).read_line(&mut text);
    if hidden.is_some() {
        let _ = io::stderr().lock().write_all(b"\n");
    }
    drop(hidden);
    match read {
        Err(error) => Err(Failure::failed(&error)),
        Ok(0) => Err(usage("nothing was typed; nothing was done".to_owned())),
        Ok(read) if read as u64 == LONGEST => {
            Err(usage(format!("what was given has no end within {}", input::Size(LONGEST))))
        }
        Ok(_) => Ok(text.trim_end_matches(['\n', '\r']).to_owned()),
    }
}

/// A terminal that shows nothing of what is typed, as long as this lives.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.before);
    }
}
