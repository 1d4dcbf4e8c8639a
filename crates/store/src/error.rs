//! Why something could not be stored or read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::units::show_duration;
use domain::{PlanId, StepToken};

use crate::directory::HolderKind;
use crate::journal::EntryState;

/// The result of every method of [`crate::Store`], whose own text says which errors all of them share.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller works on this data directory.
    #[error(
        "the data directory {} is in use by {kind} with process id {holder}; stop it first, or choose another directory", dir.display()
    )]
    Locked {
        /// Which directory.
        dir: PathBuf,
        /// The process id in the lock file, `unknown` where it holds none.
        holder: String,
        /// What holds it.
        kind: HolderKind,
    },
    /// The data directory was written by a newer version.
    #[error(
        "{} has schema version {found}, this program knows versions up to {supported}; start the newer program", path.display()
    )]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version this program knows.
        supported: i64,
    },
    /// The disk, or the limit set for the database, is full. Nothing of the write was kept.
    #[error("the disk of the data directory is full; nothing was written. Free some space and try again")]
    Full,
    /// Records were to be removed that are too young for it.
    #[error(
        "records must be at least 30d old to be removed, not {}: the limits of repairs are counted over up to so long", show_duration(*age)
    )]
    TooYoung {
        /// How old they were to be.
        age: Duration,
    },
    /// The database is of a form whose room cannot be given back a little at a time.
    #[error(
        "the database was made before the first release, and keeps its room for new records; a backup that is restored \
         has the form of today, in which room is given back"
    )]
    RoomKept,
    /// A plan was named that is not there.
    #[error("there is no plan {0}")]
    UnknownPlan(PlanId),
    /// The journal does not allow this ending.
    #[error("the journal entry {token} is {state} and cannot become {ending}")]
    EndingRefused {
        /// Which entry.
        token: StepToken,
        /// What it is.
        state: EntryState,
        /// What it was to become.
        ending: EntryState,
    },
    /// What was read is not what this program writes.
    #[error("{what} in the database cannot be read: {why}; restore a backup, or report it with this text")]
    Corrupt {
        /// Which row.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the data directory could not be used.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The file is no database, or a broken one.
    #[error(
        "{} cannot be used ({why}); restore it from a backup, or move it away to begin with an empty one", path.display()
    )]
    Broken {
        /// The database.
        path: PathBuf,
        /// What the engine says.
        why: String,
    },
    /// The engine refused or failed.
    #[error("the state database failed")]
    Engine(#[source] rusqlite::Error),
}

impl StoreError {
    /// Names the file where an error met at opening says that it is what is wrong.
    pub(crate) fn at_opening(self, path: &Path) -> Self {
        use rusqlite::ErrorCode::{CannotOpen, DatabaseCorrupt, NotADatabase, PermissionDenied, ReadOnly};
        let broken = match &self {
            Self::Engine(error) => error.sqlite_error().map(|error| error.code),
            _ => None,
        };
        let why = match broken {
            Some(NotADatabase) => "it is no database",
            Some(DatabaseCorrupt) => "it is broken",
            Some(CannotOpen | PermissionDenied) => "it cannot be opened",
            Some(ReadOnly) => "it cannot be written",
            _ => return self,
        };
        Self::Broken { path: path.to_owned(), why: why.to_owned() }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        // A full disk shows as `SQLITE_FULL` on the log and the database, and as `SQLITE_IOERR_SHMSIZE`
        // where the log's index has to grow.
        match error.sqlite_error() {
            Some(e)
                if e.code == rusqlite::ErrorCode::DiskFull
                    || e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE =>
            {
                Self::Full
            }
            _ => Self::Engine(error),
        }
    }
}
