//! Where what lies, below the data directory.
//!
//! ```text
//! audit/log/00000000000000000000.jsonl   records, a line each; the name is the sequence of the first one
//! audit/checkpoints                      signed checkpoints behind each other, an empty line after each
//! audit/head                             size and root after the last commit, signed, in two places by turns
//! audit/retained                         where the log begins, signed, once its first segments were removed
//! audit/format                           the number of all this
//! audit/keys/audit.key, audit.pub        what checkpoints are signed with, and known by
//! audit/keys/audit.key.next              what signs next, while keys are rotated
//! ```

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use durable::Access;

use crate::error::{AuditError, Problem, Result};

/// The format of what lies there; a newer one is refused. A directory that says nothing has the first one.
pub(crate) const FORMAT: u32 = 1;

/// Digits of the name of a segment: those of the largest sequence.
const NAME_DIGITS: usize = 20;

/// The paths of one trail.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    data: PathBuf,
    audit: PathBuf,
}

/// A file of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) path: PathBuf,
    /// The sequence of its first record.
    pub(crate) first: u64,
    pub(crate) len: u64,
}

impl Layout {
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), audit: data.join("audit") }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.audit.clone()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.audit.join("log")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.audit.join("keys")
    }

    pub(crate) fn private_key(&self) -> PathBuf {
        self.keys().join("audit.key")
    }

    pub(crate) fn public_keys(&self) -> PathBuf {
        self.keys().join("audit.pub")
    }

    pub(crate) fn next_private_key(&self) -> PathBuf {
        self.keys().join("audit.key.next")
    }

    pub(crate) fn retained(&self) -> PathBuf {
        self.audit.join("retained")
    }

    pub(crate) fn format(&self) -> PathBuf {
        self.audit.join("format")
    }

    /// Refuses what a newer program wrote.
    pub(crate) fn check_format(&self) -> Result<()> {
        let path = self.format();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(AuditError::file("read", &path)(error)),
        };
        let broken = || {
            let what = "it is no number of a format";
            AuditError::Inconsistent(Problem::of_file(self.shown(&path), what))
        };
        let found: u32 = text.trim_end().parse().map_err(|_| broken())?;
        match found {
            FORMAT => Ok(()),
            found if found > FORMAT => {
                Err(AuditError::Newer { dir: self.data.clone(), found, known: FORMAT })
            }
            _ => Err(broken()),
        }
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.audit.join("head")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.audit.join("checkpoints")
    }

    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.log().join(format!("{first:0NAME_DIGITS$}.jsonl"))
    }

    /// As it is named to people: below the data directory.
    pub(crate) fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.data).unwrap_or(path).to_owned()
    }

    /// Makes the directories that are missing, for their owner alone, and says their format.
    pub(crate) fn make(&self) -> Result<()> {
        self.check_format()?;
        for dir in [self.log(), self.keys()] {
            durable::make_dir(&dir, Access::Owner).map_err(AuditError::file("make", &dir))?;
        }
        if !self.format().exists() {
            write_file(&self.format(), format!("{FORMAT}\n").as_bytes(), 0o600)?;
        }
        self.sync(&self.audit)
    }

    /// Makes names in a directory durable.
    pub(crate) fn sync(&self, dir: &Path) -> Result<()> {
        durable::sync_dir(dir).map_err(AuditError::file("sync", dir))
    }

    /// The segments in their order, and what lies among them and is none.
    pub(crate) fn segments(&self) -> Result<(Vec<SegmentFile>, Vec<Problem>)> {
        let dir = self.log();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(error) => return Err(AuditError::file("list", &dir)(error)),
        };
        let (mut segments, mut problems) = (Vec::new(), Vec::new());
        for entry in entries {
            let path = entry.map_err(AuditError::file("list", &dir))?.path();
            match first_of(&path) {
                Some(first) => {
                    let len = match fs::metadata(&path) {
                        // Retention removed it since it was listed.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        found => found.map_err(AuditError::file("read", &path))?.len(),
                    };
                    segments.push(SegmentFile { path, first, len });
                }
                None => problems.push(Problem::of_file(self.shown(&path), "it is no file of records")),
            }
        }
        segments.sort_by_key(|segment| segment.first);
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        Ok((segments, problems))
    }
}

/// The sequence in the name of a segment.
fn first_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    (name.len() == NAME_DIGITS && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())?
}

/// Writes a file that is there whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let new = path.with_added_extension("new");
    // What an earlier start left behind may have another mode.
    let _ = fs::remove_file(&new);
    let failed = || AuditError::file("write", path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new).map_err(failed())?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed())?;
    fs::rename(&new, path).map_err(failed())
}
