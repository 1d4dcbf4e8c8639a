//! A log file in the volume: appended to line by line, rotated by itself or by anyone else.
//!
//! In: lines. Out: a file. Survives being truncated under it (it appends), renamed or removed (it looks
//! once a second whether its path still leads to its file), and a full volume. Deliberately absent:
//! buffering (a line of an answered request is there for who looks) and compression (the log rotation of a
//! repair does that).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::locked;

/// A file larger than this becomes `NAME.1.log`, replacing the one before: two of them are an eighth of the
/// smallest volume of the fleet, so that logs alone never fill it.
const ROTATE_AT: u64 = 1024 * 1024;
/// How often path and size are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One log file.
#[derive(Debug)]
pub(super) struct AppendLog {
    path: PathBuf,
    open: Mutex<Option<Open>>,
    lost: AtomicU64,
}

#[derive(Debug)]
struct Open {
    file: File,
    looked: Instant,
}

impl AppendLog {
    /// The log at `path`, which should end in `.log`. Opened with the first line.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::new(None), lost: AtomicU64::new(0) }
    }

    /// Appends a line. Where that fails the line is lost and counted: serving matters more than its log.
    pub(super) fn note(&self, line: &str) {
        if self.write(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Appends a line, whole or not at all.
    pub(super) fn write(&self, line: &str) -> io::Result<()> {
        let mut open = locked(&self.open);
        if open
            .as_ref()
            .is_some_and(|open| open.looked.elapsed() >= LOOK_EVERY && !still_good(open, &self.path))
        {
            *open = None;
        }
        let state = match &mut *open {
            Some(state) => state,
            none => none.insert(Open { file: opened(&self.path)?, looked: Instant::now() }),
        };
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
        }
        append_whole(&mut state.file, format!("{line}\n").as_bytes())
    }

    /// How many lines could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Appends all of `bytes`, or takes back what a full volume let through of them.
pub(super) fn append_whole(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    file.write_all(bytes).inspect_err(|_| {
        // Somebody may have truncated the file meanwhile: never make it longer.
        if file.metadata().is_ok_and(|now| now.len() > before) {
            let _ = file.set_len(before);
        }
    })
}

fn opened(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether the path still leads to the open file and the file is not due for rotation; rotates it if it is.
fn still_good(open: &Open, path: &Path) -> bool {
    let (Ok(mine), Ok(there)) = (open.file.metadata(), std::fs::metadata(path)) else { return false };
    if mine.ino() != there.ino() || mine.dev() != there.dev() {
        return false;
    }
    if mine.len() > ROTATE_AT {
        return std::fs::rename(path, path.with_extension("1.log")).is_err();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, AppendLog) {
        let directory = tempfile::tempdir().unwrap();
        let log = AppendLog::new(directory.path().join("logs/access.log"));
        (directory, log)
    }

    #[test]
    fn goes_on_at_the_start_of_a_file_that_was_truncated_under_it() {
        let (_directory, log) = log();
        log.write("first").unwrap();
        std::fs::write(&log.path, "").unwrap();
        log.write("second").unwrap();
        assert_eq!(std::fs::read_to_string(&log.path).unwrap(), "second\n");
    }

    #[test]
    fn begins_a_new_file_when_its_own_was_moved_away() {
        let (_directory, log) = log();
        log.write("first").unwrap();
        std::fs::rename(&log.path, log.path.with_extension("moved")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !log.path.exists() {
            assert!(Instant::now() < deadline, "no new log file within 60 s");
            log.write("again").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[test]
    fn a_log_that_grew_large_is_rotated() {
        let (_directory, log) = log();
        let line = "x".repeat(64 * 1024);
        let deadline = Instant::now() + Duration::from_secs(60);
        let rotated = log.path.with_extension("1.log");
        while !rotated.exists() {
            assert!(Instant::now() < deadline, "no rotation within 60 s");
            log.write(&line).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(rotated.ends_with("logs/access.1.log"));
    }
}
