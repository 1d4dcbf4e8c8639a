//! A clock that stands still but for a microsecond a look, and trails with a few records.
#![allow(dead_code, reason = "each test uses some of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use audit::{Action, Audit, NewRecord, Options, Outcome, Via};
use domain::{Clock, Time};
use tempfile::TempDir;

pub(crate) const START_US: i64 = 1_700_000_000_000_000;

#[derive(Debug)]
pub(crate) struct Steps(AtomicI64);

impl Clock for Steps {
    fn now(&self) -> Time {
        let step = self.0.fetch_add(1, Ordering::Relaxed);
        Time { boot_us: step as u64, wall_us: START_US + step }
    }

    fn wait(&self, duration: Duration) {
        self.0.fetch_add(duration.as_micros() as i64, Ordering::Relaxed);
    }
}

/// A directory that removes itself, in memory where that is to be had: these tests sync thousands of times.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Steps(AtomicI64::new(0)))
}

/// Small segments, checkpoints only where they are asked for and at the end.
pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 2000,
        checkpoint_records: u64::MAX,
        checkpoint_interval: Duration::from_secs(3600),
        ..Options::default()
    }
}

pub(crate) const APPROVE: Action = Action::new("remediation.approve");
pub(crate) const STOP: Action = Action::new("chaos.stop");

pub(crate) fn record(number: u64) -> NewRecord {
    let (action, outcome) = match number % 3 {
        0 => (APPROVE, Outcome::Done),
        1 => (APPROVE, Outcome::Refused),
        _ => (STOP, Outcome::Failed),
    };
    let who = ["alice", "bob"][number as usize % 2];
    NewRecord::new(who, Via::Session, action, format!("service-{}", number % 5), outcome)
        .why(format!("because of {number}"))
}

/// Appends records of these numbers.
pub(crate) fn fill(audit: &Audit, numbers: std::ops::Range<u64>) {
    for number in numbers {
        audit.append(record(number)).unwrap();
    }
}

/// A trail of `count` records, closed; a checkpoint after `checkpointed` of them and at the end.
pub(crate) fn closed(dir: &Path, count: u64, checkpointed: u64) {
    let audit = Audit::open_with(dir, clock(), options()).unwrap();
    for number in 0..count {
        assert_eq!(audit.append(record(number)).unwrap(), number);
        if number + 1 == checkpointed {
            assert_eq!(audit.checkpoint().unwrap().checkpoint.size, checkpointed);
        }
    }
}

pub(crate) fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("audit/log")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The same files once more.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
