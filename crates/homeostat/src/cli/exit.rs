//! How a command ends.
//!
//! In: what was done, or an error with its causes. Out: the exit code, and the sentence for people.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It was tried and failed, or begun and not watched to its end, or a check found something wrong.
    Failed,
    /// Wrong arguments or a wrong file; nothing was done.
    Usage,
    /// No control plane is running.
    NotRunning,
    /// Refused by the guard, or waits for approval.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotRunning => 3,
            Exit::Refused => 4,
        })
    }
}

/// Why a command came to nothing: the sentence for people, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// How the command ends.
    pub exit: Exit,
    /// What was wrong and what to do; causes follow after colons.
    pub message: String,
}

impl Failure {
    /// A failure with its whole chain of causes.
    pub(crate) fn new(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self { exit, message }
    }

    /// It was tried and failed.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

impl From<crate::client::ClientError> for Failure {
    fn from(error: crate::client::ClientError) -> Self {
        use crate::client::ClientError;
        let exit = match &error {
            ClientError::NotRunning { .. } | ClientError::Unreachable { .. } => Exit::NotRunning,
            ClientError::Refused { status: 409, .. } => Exit::Refused,
            ClientError::Refused { status: 400..=499, .. } => Exit::Usage,
            ClientError::Closed { .. } => Exit::Usage,
            ClientError::Refused { .. }
            | ClientError::OtherVersion { .. }
            | ClientError::Unreadable { .. } => Exit::Failed,
        };
        Self::new(exit, &error)
    }
}
