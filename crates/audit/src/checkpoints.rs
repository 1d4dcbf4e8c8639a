//! The file of checkpoints: every one that was signed, oldest first.
//!
//! In: notes. Out: notes, once their signatures fit. Each is six lines and an empty one; a write that a crash cut short
//! leaves less than that at the end, which the next start cuts off.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread;

use crate::error::{AuditError, Problem, Result};
use crate::layout::{Layout, write_file};
use crate::note::SignedCheckpoint;
use crate::scan::Signed;
use crate::verifying::VerifyingKeys;

/// Lines of a checkpoint in the file.
const LINES: usize = 7;

/// What the file says.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// Oldest first.
    pub(crate) all: Vec<SignedCheckpoint>,
    /// Bytes of those.
    pub(crate) len: u64,
    /// Bytes at the end that are no whole checkpoint.
    pub(crate) torn: u64,
}

impl Checkpoints {
    /// Reads the file and checks every signature.
    pub(crate) fn read(layout: &Layout, keys: &VerifyingKeys) -> Result<Self> {
        let path = layout.checkpoints();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(AuditError::file("read", &path)(error)),
        };
        let wrong = |number: usize, what: String| {
            let line = Some((number * LINES + 1) as u64);
            AuditError::Inconsistent(Problem { file: layout.shown(&path), line, sequence: None, what })
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| wrong(0, error.to_string()))?;
        let notes = notes(text);
        let len = notes.iter().map(|note| note.len() as u64).sum();
        let mut all: Vec<SignedCheckpoint> = Vec::with_capacity(notes.len());
        for (number, checkpoint) in checked(&notes, keys).into_iter().enumerate() {
            let checkpoint = checkpoint.map_err(|what| wrong(number, what))?;
            let before = all.last().map_or(0, |last| last.checkpoint.size);
            if number > 0 && checkpoint.checkpoint.size <= before {
                return Err(wrong(
                    number,
                    format!("it is of {before} records or fewer, as the one before it"),
                ));
            }
            all.push(checkpoint);
        }
        Ok(Self { all, len, torn: bytes.len() as u64 - len })
    }

    /// What they say of the log.
    pub(crate) fn signed(&self) -> Vec<Signed> {
        let signed = |one: &SignedCheckpoint| Signed {
            checkpoint: one.checkpoint.clone(),
            by: format!("the checkpoint at {}", one.checkpoint.size),
        };
        self.all.iter().map(signed).collect()
    }
}

/// The whole ones, each with its empty line.
fn notes(text: &str) -> Vec<&str> {
    let (mut notes, mut start, mut lines) = (Vec::new(), 0, 0);
    for (at, _) in text.match_indices('\n') {
        lines += 1;
        if lines == LINES {
            notes.push(&text[start..=at]);
            (start, lines) = (at + 1, 0);
        }
    }
    notes
}

/// Checks signatures on several threads: each takes a tenth of a millisecond.
fn checked(notes: &[&str], keys: &VerifyingKeys) -> Vec<Result<SignedCheckpoint, String>> {
    let check = |note: &&str| {
        let note = note.strip_suffix("\n\n").map(|text| &note[..=text.len()]);
        let note = note.ok_or("no empty line follows it")?;
        keys.checkpoint(note).map_err(|error| error.to_string())
    };
    let threads = thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    let share = notes.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = notes
            .chunks(share)
            .map(|notes| scope.spawn(move || notes.iter().map(check).collect::<Vec<_>>()))
            .collect();
        // A thread that panicked is a defect, and one here as well.
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn open_file(layout: &Layout) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(layout.checkpoints())
}

/// The file of a log that is written to.
#[derive(Debug)]
pub(crate) struct CheckpointFile {
    file: File,
    len: u64,
    /// Whether another file has its name since, and is not open yet.
    replaced: bool,
}

impl CheckpointFile {
    /// Opens it, and cuts off what is no whole checkpoint.
    pub(crate) fn open(layout: &Layout, read: &Checkpoints) -> Result<Self> {
        let path = layout.checkpoints();
        let file = open_file(layout).map_err(AuditError::file("open", &path))?;
        if read.torn > 0 {
            file.set_len(read.len).and_then(|()| file.sync_all()).map_err(AuditError::file("cut", &path))?;
        }
        Ok(Self { file, len: read.len, replaced: false })
    }

    /// Removes those of fewer records than the log begins with: nothing is left that they could be compared with.
    pub(crate) fn begin_with(&mut self, layout: &Layout, keys: &VerifyingKeys, first: u64) -> Result<()> {
        let mut read = Checkpoints::read(layout, keys)?;
        read.all.retain(|one| one.checkpoint.size >= first);
        let text: String = read.all.iter().map(|one| format!("{}\n", one.note)).collect();
        write_file(&layout.checkpoints(), text.as_bytes(), 0o600)?;
        // What is written from now on must not go into the file that was.
        self.replaced = true;
        let path = layout.checkpoints();
        self.reopen(layout).map_err(AuditError::file("open", &path))
    }

    /// Opens the file that has its name since. It was written whole, so nothing of it is torn.
    fn reopen(&mut self, layout: &Layout) -> io::Result<()> {
        let file = open_file(layout)?;
        // It must have its name after a crash as well, before anything is added to it.
        File::open(layout.audit())?.sync_all()?;
        *self = Self { len: file.metadata()?.len(), file, replaced: false };
        Ok(())
    }

    /// Adds one and waits for the disk. What was written of one that failed does not stay. Where another file has the name
    /// and could not be opened so far, it is opened first: nobody else may come to do it.
    pub(crate) fn add(&mut self, layout: &Layout, note: &str) -> io::Result<()> {
        if self.replaced {
            self.reopen(layout)?;
        }
        let text = format!("{note}\n");
        let written = self.file.write_all_at(text.as_bytes(), self.len).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(self.len)?;
            return written;
        }
        self.len += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_opened_when_it_was_replaced_is_opened_when_something_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::create_dir_all(layout.audit()).unwrap();
        let mut file = CheckpointFile::open(&layout, &Checkpoints::default()).unwrap();
        file.add(&layout, "one").unwrap();
        file.add(&layout, "two").unwrap();
        write_file(&layout.checkpoints(), b"two\n", 0o600).unwrap();
        file.replaced = true;
        // A directory of its name cannot be opened as a file.
        let aside = layout.audit().join("aside");
        fs::rename(layout.checkpoints(), &aside).unwrap();
        fs::create_dir(layout.checkpoints()).unwrap();
        assert!(file.add(&layout, "three").is_err());
        fs::remove_dir(layout.checkpoints()).unwrap();
        fs::rename(&aside, layout.checkpoints()).unwrap();
        file.add(&layout, "three").unwrap();
        file.add(&layout, "four").unwrap();
        assert_eq!(fs::read_to_string(layout.checkpoints()).unwrap(), "two\nthree\nfour\n");
    }
}
