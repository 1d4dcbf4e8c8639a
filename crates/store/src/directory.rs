//! The data directory: its lock and the reserve for a full disk.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Result, StoreError};

/// What kind of process holds a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderKind {
    /// A control plane, until it is asked to end.
    ControlPlane,
    /// A command that works on the directory while no control plane can, and ends by itself.
    Command,
}

/// Follows the process id in the lock file of a command. A control plane's stands alone, as it did before there were kinds: an
/// older program finds it, and no process where a command holds the directory.
const COMMAND: &str = "command";

impl fmt::Display for HolderKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ControlPlane => "the controller",
            Self::Command => "another command",
        })
    }
}

/// Who holds a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it is.
    pub kind: HolderKind,
}

impl Holder {
    /// Reads what a lock file says.
    fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let pid = words.next()?.parse().ok()?;
        let kind = match words.next() {
            None => HolderKind::ControlPlane,
            Some(_) => HolderKind::Command,
        };
        Some(Self { pid, kind })
    }
}

/// Holds the controller lock as long as it lives. The kernel drops it with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path, kind: HolderKind) -> Result<Self> {
        let path = dir.join("lock");
        let failed = |what| move |source| StoreError::File { what, path: dir.join("lock"), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let found = Holder::read(&text);
                let holder = found.map_or_else(|| "unknown".to_owned(), |found| found.pid.to_string());
                let kind = found.map_or(HolderKind::ControlPlane, |found| found.kind);
                return Err(StoreError::Locked { dir: dir.to_owned(), holder, kind });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        file.set_len(0).map_err(failed("write"))?;
        file.rewind().map_err(failed("write"))?;
        // On a full disk the pid cannot be written; the lock holds without it, and a start on a full disk
        // must succeed.
        let pid = std::process::id();
        let _ = match kind {
            HolderKind::ControlPlane => writeln!(file, "{pid}"),
            HolderKind::Command => writeln!(file, "{pid} {COMMAND}"),
        };
        Ok(Self { _file: file })
    }
}

/// A data directory that no control plane can start on, as long as this lives.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held, not read")] Lock);

/// Takes the controller lock of `dir` without opening its database.
///
/// # Errors
/// [`StoreError::Locked`] where a control plane runs on it.
pub fn hold(dir: &Path) -> Result<Held> {
    Lock::take(dir, HolderKind::Command).map(Held)
}

/// Who holds the controller lock of `dir`, a control plane or a command; `None` where nobody does. A lock whose holder could
/// not write its number (a full disk) is held by nobody that can be named.
///
/// # Errors
///
/// Where the lock file is there and cannot be read.
pub fn holder(dir: &Path) -> Result<Option<Holder>> {
    let path = dir.join("lock");
    let failed = |what| move |source| StoreError::File { what, path: dir.join("lock"), source };
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(failed("read"))?;
            Ok(Holder::read(&text))
        }
        Err(TryLockError::Error(source)) => Err(failed("lock")(source)),
    }
}

/// Room kept free for the day the disk is full: a file that is removed when a write of the repair path
/// (issues, plans, journal, timers, switches) finds no space, so that `disk_full` can be repaired. Until it
/// could be made again, writes outside that path are refused with [`StoreError::Full`].
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// 4 MiB: 1 MiB of log and room for about 1,700 plans of one step with their journals (measured on a
    /// full tmpfs). At the 100 repairs an hour of the specification that is most of a day.
    pub const SIZE: u64 = 4 * 1024 * 1024;

    pub(crate) fn new(dir: &Path) -> Self {
        Self { path: dir.join("reserve") }
    }

    /// Whether it is there in full.
    pub(crate) fn is_kept(&self) -> bool {
        self.path.metadata().is_ok_and(|found| found.len() == Self::SIZE)
    }

    /// Gives its room back to the disk. `false`: there was nothing to give.
    pub(crate) fn free(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Makes it where it is missing. `false`: there is no room.
    pub(crate) fn keep(&self) -> bool {
        if self.is_kept() {
            return true;
        }
        let kept = self.write().is_ok();
        if !kept {
            self.free();
        }
        kept
    }

    /// Real blocks of data no file system can compress away: a sparse file or zeros would reserve nothing.
    fn write(&self) -> std::io::Result<()> {
        let mut file = File::create(&self.path)?;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut block = Vec::with_capacity(64 * 1024);
        for _ in 0..Self::SIZE / (64 * 1024) {
            block.clear();
            while block.len() < 64 * 1024 {
                // Xorshift64 (Marsaglia 2003).
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                block.extend_from_slice(&state.to_le_bytes());
            }
            file.write_all(&block)?;
        }
        file.sync_all()
    }
}
