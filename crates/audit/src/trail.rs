//! The trail as whoever writes to it has it: opened once, handed around, appended to by any thread.
//!
//! In: [`NewRecord`]s and [`Filter`]s. Out: sequences once a record is on the disk, and [`Page`]s of records.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Clock;

use crate::error::{AuditError, Problem, Result};
use crate::index::{Filter, Place, Wish};
use crate::layout::Layout;
use crate::note::{SignedCheckpoint, VerifyingKeys};
use crate::opening;
use crate::record::{NewRecord, Record};
use crate::shared::{Shared, Status};

/// So many records are looked through before others may have the index.
const SEARCH_RECORDS: u64 = 1 << 16;
/// Segments are not let grow beyond this: places in them have 32 bits.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// How a trail is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// A segment that has this many bytes is followed by another; a gibibyte at most. Default: 64 MiB.
    pub segment_bytes: u64,
    /// A checkpoint is signed when this many records came since the last one. Default: 10,000.
    pub checkpoint_records: u64,
    /// And this long after a record that none covers. Default: 10 min.
    pub checkpoint_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            checkpoint_records: 10_000,
            checkpoint_interval: Duration::from_secs(600),
        }
    }
}

/// The audit trail of a data directory. Cheap to clone; the last one dropped signs a checkpoint and closes it.
#[derive(Clone)]
pub struct Audit {
    writer: Arc<Writer>,
}

struct Writer {
    shared: Arc<Shared>,
    layout: Layout,
    keys: VerifyingKeys,
    clock: Arc<dyn Clock>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            // That it panicked was printed.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("dir", &self.writer.layout.data_dir()).finish_non_exhaustive()
    }
}

/// Records, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for.
    pub records: Vec<Record>,
    /// What [`Filter::before`] has to be for those that follow. `None`: there are no more.
    pub next: Option<u64>,
}

impl Audit {
    /// Opens the trail of a data directory; makes one, with its keys, where there is none. Reads and checks all of it:
    /// about a second for a million records. What a crash left that was never acknowledged is cut off, and a record of
    /// the action `audit.tail_cut` says so.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read or written, where another process appends to it, and where anything that was
    /// acknowledged is not as it was written.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(dir, clock, Options::default())
    }

    /// As [`Audit::open`], kept in another way.
    ///
    /// # Errors
    ///
    /// As [`Audit::open`].
    pub fn open_with(dir: &Path, clock: Arc<dyn Clock>, mut options: Options) -> Result<Self> {
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        options.checkpoint_records = options.checkpoint_records.max(1);
        let layout = Layout::new(dir);
        let (committer, cut) = opening::open(&layout, options)?;
        let (shared, keys) = (Arc::clone(&committer.shared), committer.keys.public().clone());
        let thread = committer.start().map_err(AuditError::file("start the writer of", dir))?;
        let audit = Self { writer: Arc::new(Writer { shared, layout, keys, clock, thread: Some(thread) }) };
        if let Some(cut) = cut {
            audit.append(cut)?;
        }
        Ok(audit)
    }

    /// Adds a record. Returns its sequence when it is on the disk and counted by the signed head. Any number of threads
    /// may append at once; they share waits for the disk.
    ///
    /// # Errors
    ///
    /// Where it is not durable. Then it is not in the trail (but see [`AuditError::Stopped`]), and what it is about must
    /// not be done.
    pub fn append(&self, record: NewRecord) -> Result<u64> {
        self.writer.shared.append(record, || self.writer.clock.now().wall_us)
    }

    /// The records that a filter wants, newest first.
    ///
    /// # Errors
    ///
    /// Where one cannot be read.
    pub fn query(&self, filter: &Filter) -> Result<Page> {
        let shared = &self.writer.shared;
        let wish = Wish::new(filter, &shared.names);
        let limit = filter.limit.clamp(1, Filter::LIMIT_MAX);
        let mut records = Vec::new();
        let mut before = filter.before.unwrap_or(u64::MAX);
        while records.len() < limit && before > 0 {
            let (places, next) = {
                let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
                index.search(&wish, before, SEARCH_RECORDS, limit - records.len())
            };
            for place in &places {
                records.extend(Some(self.read(place)?).filter(|record| filter.matches(record)));
            }
            before = next;
        }
        Ok(Page { records, next: Some(before).filter(|before| *before > 0) })
    }

    /// One record.
    ///
    /// # Errors
    ///
    /// Where there is none, or it cannot be read.
    pub fn record(&self, sequence: u64) -> Result<Record> {
        let (place, size) = {
            let index = self.writer.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.place(sequence), index.size())
        };
        self.read(&place.ok_or(AuditError::NoSuchRecord { sequence, size })?)
    }

    fn read(&self, place: &Place) -> Result<Record> {
        let log = self.writer.layout.log();
        let mut line = vec![0; place.len];
        place.file.read_exact_at(&mut line, place.offset).map_err(AuditError::file("read", &log))?;
        let wrong = |what: String| {
            let file = self.writer.layout.shown(&log);
            AuditError::Inconsistent(Problem { file, line: None, sequence: Some(place.sequence), what })
        };
        let record = Record::parse(&line).map_err(|error| wrong(error.to_string()))?;
        if record.sequence != place.sequence {
            return Err(wrong(format!("record {} lies in its place", record.sequence)));
        }
        Ok(record)
    }

    /// Signs everything so far with both keys, unless that was done. What comes of it is worth keeping elsewhere.
    ///
    /// # Errors
    ///
    /// Where it could not be written, or nothing was recorded yet.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.writer.shared.checkpoint()
    }

    /// By what its checkpoints are known.
    pub fn keys(&self) -> &VerifyingKeys {
        &self.writer.keys
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.writer.shared.status()
    }
}
