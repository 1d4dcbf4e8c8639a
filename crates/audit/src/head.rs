//! The head: how many records are acknowledged, and the root over them, signed.
//!
//! In: a checkpoint after every commit. Out: the last one. Two places in one file are written by turns, each within a
//! sector and synced, so that a crash can spoil the one being written, never the one before. A record is acknowledged
//! when the head that counts it is on the disk: what the log holds beyond the head, nobody was promised.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use crate::error::{AuditError, NoteError, Problem, Result};
use crate::layout::Layout;
use crate::note::SignedCheckpoint;
use crate::verifying::{Need, VerifyingKeys};

/// What is written at once: a sector of every disk.
const NOTE_BYTES: usize = 512;
/// How far apart the places are: blocks of every file system.
const PLACE_BYTES: usize = 4096;
/// How often a reader looks again where a head is being written.
const TRIES: usize = 8;
/// How often, and with which pause, the lock is asked for.
const LOCK_TRIES: usize = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The head of a log that is written to. Holds its lock.
#[derive(Debug)]
pub(crate) struct Head {
    file: File,
    /// Where the next one goes.
    next: usize,
}

/// What a head file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeadRead {
    pub(crate) newest: SignedCheckpoint,
    place: usize,
    /// Why the other place cannot be read.
    pub(crate) damaged: Option<String>,
}

impl HeadRead {
    /// That of a log that was just begun.
    pub(crate) fn of(newest: SignedCheckpoint) -> Self {
        Self { newest, place: 0, damaged: None }
    }
}

impl Head {
    /// Opens the head file and locks it. `None` beside it: it was never written whole, and `unused` says that there is
    /// nothing it could count.
    pub(crate) fn open(
        layout: &Layout,
        keys: &VerifyingKeys,
        unused: bool,
    ) -> Result<(Self, Option<HeadRead>)> {
        let path = layout.head();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(AuditError::file("open", &path))?;
        lock(&file, layout)?;
        let len = file.metadata().map_err(AuditError::file("read", &path))?.len();
        if unused && len < 2 * PLACE_BYTES as u64 {
            return Ok((Self { file, next: 0 }, None));
        }
        let read = read_places(layout, keys)?;
        // A process that was killed may have left it in memory alone. What is built on it from here on, the head in the
        // database first, must not count more than a power cut would leave of it.
        file.sync_all().map_err(AuditError::file("sync", &path))?;
        Ok((Self { file, next: 1 - read.place }, Some(read)))
    }

    /// Fills both places of an empty file.
    pub(crate) fn fill(&mut self, note: &str) -> Result<(), AuditError> {
        let path = std::path::Path::new("audit/head");
        let mut place = vec![b'\n'; PLACE_BYTES];
        place[..note.len()].copy_from_slice(note.as_bytes());
        self.file
            .write_all_at(&[place.as_slice(), place.as_slice()].concat(), 0)
            .and_then(|()| self.file.sync_all())
            .map_err(AuditError::file("write", path))
    }

    /// Writes the next one and waits for the disk.
    pub(crate) fn write(&mut self, note: &str) -> io::Result<()> {
        let mut bytes = [b'\n'; NOTE_BYTES];
        let text = bytes.get_mut(..note.len()).ok_or_else(|| io::Error::other("the head is too long"))?;
        text.copy_from_slice(note.as_bytes());
        self.file.write_all_at(&bytes, (self.next * PLACE_BYTES) as u64)?;
        self.file.sync_data()?;
        self.next = 1 - self.next;
        Ok(())
    }
}

/// Takes the lock. Who verifies asks for it as well, for a moment.
fn lock(file: &File, layout: &Layout) -> Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(AuditError::file("lock", &layout.head())(error)),
        }
    }
    Err(AuditError::Locked { dir: layout.data_dir().to_owned() })
}

/// What the head of a log says, which may be written to meanwhile.
pub(crate) fn read(layout: &Layout, keys: &VerifyingKeys) -> Result<HeadRead> {
    let mut read = read_places(layout, keys);
    for _ in 0..TRIES {
        if read.as_ref().is_ok_and(|read| read.damaged.is_none()) {
            break;
        }
        std::thread::yield_now();
        read = read_places(layout, keys);
    }
    read
}

/// Whether a process appends to the log.
pub(crate) fn is_written(layout: &Layout) -> bool {
    File::open(layout.head())
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn read_places(layout: &Layout, keys: &VerifyingKeys) -> Result<HeadRead> {
    let path = layout.head();
    let broken = |what: String| AuditError::Inconsistent(Problem::of_file(layout.shown(&path), what));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(broken("it is gone".to_owned())),
        Err(error) => return Err(AuditError::file("read", &path)(error)),
    };
    parse(&bytes, layout, keys)
}

/// What the bytes of a head say.
pub(crate) fn parse(bytes: &[u8], layout: &Layout, keys: &VerifyingKeys) -> Result<HeadRead> {
    let path = layout.head();
    let broken = |what: String| AuditError::Inconsistent(Problem::of_file(layout.shown(&path), what));
    if bytes.len() != 2 * PLACE_BYTES {
        return Err(broken(format!("it has {} bytes instead of {}", bytes.len(), 2 * PLACE_BYTES)));
    }
    let places = [0, 1].map(|at| read_place(&bytes[at * PLACE_BYTES..][..PLACE_BYTES], keys));
    match places {
        [Ok(a), Ok(b)] => {
            let (newest, place) = if b.checkpoint.size > a.checkpoint.size { (b, 1) } else { (a, 0) };
            Ok(HeadRead { newest, place, damaged: None })
        }
        [Ok(newest), Err(error)] => {
            Ok(HeadRead { newest, place: 0, damaged: Some(format!("its second place: {error}")) })
        }
        [Err(error), Ok(newest)] => {
            Ok(HeadRead { newest, place: 1, damaged: Some(format!("its first place: {error}")) })
        }
        [Err(first), Err(_)] => Err(broken(format!("neither of its places can be trusted: {first}"))),
    }
}

fn read_place(bytes: &[u8], keys: &VerifyingKeys) -> Result<SignedCheckpoint, NoteError> {
    let form = NoteError::Form("it is not written as heads are");
    let text = std::str::from_utf8(bytes).map_err(|_| form.clone())?;
    let note = text.trim_end_matches('\n');
    let note = &text[..(note.len() + 1).min(text.len())];
    Ok(SignedCheckpoint { checkpoint: keys.checked(note, Need::Ed25519)?, note: note.to_owned() })
}
