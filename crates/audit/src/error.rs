//! What can be wrong with an audit trail, and with what was asked of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Short for results of this crate.
pub type Result<T, E = AuditError> = std::result::Result<T, E>;

/// Why something could not be done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// A file could not be read or written.
    #[error("cannot {what} {path}", path = path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// There is no audit trail.
    #[error("{dir} holds no audit trail; name the data directory of a control plane", dir = dir.display())]
    Absent {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// What is on the disk is not what was written.
    #[error(
        "the audit trail was changed or damaged: {0}; nothing was repaired: put back a backup and keep what is there as evidence"
    )]
    Inconsistent(Problem),
    /// A newer program wrote it.
    #[error(
        "the audit trail of {dir} was written by a newer homeostat: its format is {found}, this one knows {known}; use the newer homeostat",
        dir = dir.display()
    )]
    Newer {
        /// The data directory.
        dir: PathBuf,
        /// The format that was found.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// A head that was kept apart is none of this log.
    #[error("the head of the audit trail that was kept apart, in the database, is none of this log: {0}")]
    Anchor(#[source] NoteError),
    /// Another process appends to it.
    #[error("another process appends to {dir}; there is one control plane to a directory", dir = dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A key file is not what it should be.
    #[error("the key file {path} is of no use: {why}", path = path.display())]
    Key {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        why: String,
    },
    /// The cryptographic library refused.
    #[error("the cryptographic library cannot {0}")]
    Crypto(&'static str),
    /// A checkpoint cannot be read, or is not signed as it should be.
    #[error("the checkpoint {path} is not to be trusted", path = path.display())]
    Checkpoint {
        /// Where it was read.
        path: PathBuf,
        /// Why not.
        source: NoteError,
    },
    /// A record could not be made durable; it is not in the log.
    #[error("the audit record was not written, and what it is about must not be done")]
    Append(#[source] Arc<io::Error>),
    /// Appending has stopped for good.
    #[error("the audit trail takes no more records until the control plane is started again: {0}")]
    Stopped(Arc<str>),
    /// What was asked for is not there.
    #[error("there is no record {sequence}: the log has {size}, counted from 0")]
    NoSuchRecord {
        /// The sequence asked for.
        sequence: u64,
        /// How many records there are.
        size: u64,
    },
    /// What was asked for is there no more.
    #[error(
        "record {sequence} was removed when its time had come (retention.audit_days): the log begins with record {first}"
    )]
    Removed {
        /// The sequence asked for.
        sequence: u64,
        /// The first record that is there.
        first: u64,
    },
    /// No checkpoint is signed that covers what was asked for.
    #[error(
        "no signed checkpoint covers record {sequence} yet; one is written ten minutes after the first record that none covers, and when the control plane ends"
    )]
    NotCovered {
        /// The sequence asked for.
        sequence: u64,
    },
}

impl AuditError {
    /// A function that says what was tried on which file.
    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source: Arc::new(source) }
    }
}

/// One thing that is wrong with what is on the disk, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which file, below the data directory.
    pub file: PathBuf,
    /// Which line of it, counted from 1, where there is one.
    pub line: Option<u64>,
    /// Which record, where there is one.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl Problem {
    pub(crate) fn of_file(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, sequence: None, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        if let Some(sequence) = self.sequence {
            write!(f, ", record {sequence}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Why a signed note is none, or is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It does not have the form.
    #[error("it is no signed note: {0}")]
    Form(&'static str),
    /// A signature that has to be there is not.
    #[error("it has no {algorithm} signature by key {id:08x} of {origin}")]
    Unsigned {
        /// Ed25519 or ML-DSA-65.
        algorithm: &'static str,
        /// The short id of the key.
        id: u32,
        /// The name of the key.
        origin: String,
    },
    /// A signature does not fit the text.
    #[error("its {0} signature does not fit: it was changed, or signed with another key")]
    Forged(&'static str),
    /// It is of another log.
    #[error("it is of the log {found}, not of {expected}")]
    Origin {
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_record() {
        let problem = Problem {
            file: "audit/log/0.jsonl".into(),
            line: Some(3),
            sequence: Some(2),
            what: "gone".into(),
        };
        assert_eq!(problem.to_string(), "audit/log/0.jsonl line 3, record 2: gone");
    }
}
