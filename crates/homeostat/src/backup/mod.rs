//! Backup and restore: the data directory as one file.
//!
//! ```text
//! DIR ─ stage: hard links and copies, consistent while everything runs ─► archive: tar in zstd, the manifest first
//! archive ─► a directory beside DIR, every checksum held against the manifest ─► swapped with DIR in one step
//! ```
//!
//! In: a data directory and a file. Out: the other one. What was acknowledged before a backup began is in it. It needs
//! nobody's help: it reads what is on the disk, whether a control plane runs or not, and changes nothing there.
//!
//! Deliberately absent: what runs (processes, their ports, faults in force), the volumes and captured output of services,
//! own logs, what could not be read (`.damaged`), locks and sockets; the guide names each with its reason. A restored directory brings its services up anew.

mod archive;
mod manifest;
mod restore;
mod stage;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use archive::write;
pub(crate) use manifest::{Manifest, formats};
pub(crate) use restore::{Found, Restored, restore};

/// Whether spans, logs and series go into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telemetry {
    /// They do.
    Included,
    /// They do not: issues, plans, the journal and what was declared alone.
    LeftOut,
}

/// Why a backup or a restore came to nothing. Whatever it was, but for [`Unconfirmed`](Self::Unconfirmed), the data directory
/// is as it was before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// There is nothing to copy.
    #[error("{} holds no data of homeostat; name the data directory with --dir", dir.display())]
    NoData {
        /// Which directory.
        dir: PathBuf,
    },
    /// A file could not be used.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is something where the archive should be written.
    #[error("{} is there already, and a backup is written over nothing; name another file, or remove this one", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// There is no archive to restore.
    #[error("cannot read the backup {}; name a file that `homeostat backup` wrote", path.display())]
    NoArchive {
        /// What was named.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database could not be copied, or the copy is not one.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// It is not known whether second factors can be checked.
    #[error(transparent)]
    SecondFactors(#[from] crate::second_factors::UnreadError),
    /// The audit trail could not be copied, or what is left of it is none.
    #[error("the audit trail cannot be copied; `homeostat audit verify` says more")]
    Audit(#[from] audit::AuditError),
    /// A file was written to in a way that no copy can follow.
    #[error("{} changed while it was copied; try again", path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
    },
    /// The archive is none of ours, or not whole.
    #[error("{} is no whole backup: {why}; nothing was restored", file.display())]
    Damaged {
        /// The archive.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer program wrote it.
    #[error(
        "{} was written by homeostat {version}: its format of {what} is {found}, this one knows {known}; use the newer homeostat; nothing was restored", file.display()
    )]
    Newer {
        /// The archive.
        file: PathBuf,
        /// Who wrote it.
        version: String,
        /// Which format.
        what: String,
        /// Its number.
        found: u32,
        /// The newest this program knows; 0 for none.
        known: u32,
    },
    /// There is something where it should go.
    #[error(
        "{} is not empty; name another directory with --dir, or pass --replace, which removes what is there", dir.display()
    )]
    NotEmpty {
        /// Which directory.
        dir: PathBuf,
    },
    /// It is restored, and the disk did not say that it keeps that.
    #[error(
        "{} is restored, but the disk did not confirm it: after a power cut it may be as it was before{}", dir.display(),
        before.as_ref().map_or_else(String::new, |kept| {
            format!("; what it was is kept as {}: remove that once the disk can be trusted", kept.display())
        })
    )]
    Unconfirmed {
        /// Which directory.
        dir: PathBuf,
        /// Where what was there before is now.
        before: Option<PathBuf>,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Somebody works there.
    #[error("{} is in use by {by}; `homeostat down` stops it, its services included", dir.display())]
    InUse {
        /// Which directory.
        dir: PathBuf,
        /// Who uses it.
        by: &'static str,
    },
}

/// Removes what a backup of the data directory `data` left there that was killed: it holds room that retention freed since.
pub(crate) fn remove_left_over(data: &Path) {
    remove_of_the_dead(data, stage::PREFIX);
}

/// Removes the directories in `dir` named by `prefix` and a process, where there is no such process any more. What cannot be
/// removed the next one tries again.
fn remove_of_the_dead(dir: &Path, prefix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl BackupError {
    /// A file that could not be used.
    fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}
