//! Who changes something beside the API and the loop: a user of this machine, or whoever sent a signal.
//!
//! In: what the kernel says of them. Out: their record in the audit trail.

use std::os::unix::fs::MetadataExt;

use audit::{Action, Audit, NewRecord, Outcome, Via};

/// Who changes something beside the API and the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    who: String,
    via: Via,
}

impl Asker {
    /// A user of this machine, by a command.
    pub(crate) fn user(uid: rustix::process::Uid) -> Self {
        Self { who: format!("uid {}", uid.as_raw()), via: Via::CommandLine }
    }

    /// The owner of a file whose presence asks for it.
    pub(crate) fn owner(file: &std::fs::Metadata) -> Self {
        Self { who: format!("uid {}", file.uid()), via: Via::Signal }
    }

    /// Whoever sent a signal, which does not say who that is.
    pub(crate) fn signal(name: &str) -> Self {
        Self { who: format!("sender of {name}"), via: Via::Signal }
    }

    /// As the trail calls them.
    pub(crate) fn name(&self) -> &str {
        &self.who
    }

    /// What they did.
    pub(crate) fn did(&self, action: Action, target: impl Into<String>, outcome: Outcome) -> NewRecord {
        NewRecord::new(self.who.as_str(), self.via, action, target, outcome)
    }
}

/// Who a command is given by that works on a data directory itself.
pub(crate) fn command_line() -> Asker {
    Asker::user(rustix::process::getuid())
}

/// Appends what was done already: where it cannot be, the log says so.
pub(crate) fn record(trail: &Audit, record: NewRecord) {
    if let Err(error) = trail.append(record) {
        log::error!("what was done is not in the audit trail: {}", act::in_full(&error));
    }
}
