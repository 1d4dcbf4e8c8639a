//! The trail as whoever writes to it has it: opened once, handed around, appended to by any thread.
//!
//! In: [`NewRecord`]s and [`Filter`]s. Out: sequences once a record is on the disk, and [`Page`]s of records.

use std::fmt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use domain::Clock;

use crate::commit::Asked;
use crate::error::{AuditError, Problem, Result};
use crate::index::{Filter, Place, Wish, seconds};
use crate::layout::Layout;
use crate::merkle::Hash;
use crate::note::SignedCheckpoint;
use crate::opening;
use crate::record::{Action, NewRecord, Outcome, Record, Via, shown_time};
use crate::retained::Beginning;
use crate::shared::{Shared, Status, lock};
use crate::verifying::VerifyingKeys;

const REMOVED: Action = Action::new("audit.removed");

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
    /// A segment whose first record is this old is followed by another, so that what is too old can be removed. Default:
    /// 30 days.
    pub segment_age: Duration,
    /// The note of a head that was kept apart ([`Audit::head`]): the log has to go on where that ended.
    pub anchor: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            checkpoint_records: 10_000,
            checkpoint_interval: Duration::from_secs(600),
            segment_age: Duration::from_secs(30 * 86_400),
            anchor: None,
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

/// What was removed because its time had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The first record of it.
    pub first: u64,
    /// The record that the log begins with now.
    pub until: u64,
    /// The root over every record before that one.
    pub root: Hash,
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
        let shared = Arc::clone(&committer.shared);
        let thread = committer.start().map_err(AuditError::file("start the writer of", dir))?;
        let audit = Self { writer: Arc::new(Writer { shared, layout, clock, thread: Some(thread) }) };
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
        let (place, first, size) = {
            let index = self.writer.shared.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.place(sequence), index.first(), index.size())
        };
        if sequence < first {
            return Err(AuditError::Removed { sequence, first });
        }
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
        self.writer.shared.ask(Asked::Checkpoint)
    }

    /// The newest checkpoint that was signed; signs none.
    pub fn newest_checkpoint(&self) -> Option<SignedCheckpoint> {
        lock(&self.writer.shared.signed).checkpoint.clone()
    }

    /// The newest head: how much is acknowledged, signed by Ed25519. Kept apart, it shows a log that was put back to an
    /// older state ([`Options::anchor`], [`crate::Trusted::anchor`]).
    pub fn head(&self) -> Option<SignedCheckpoint> {
        lock(&self.writer.shared.signed).head.clone()
    }

    /// Signs with new keys from now on. The old ones sign everything so far and hand over to the new ones; then they are
    /// gone. Returns the public keys, a copy of which is worth keeping elsewhere.
    ///
    /// # Errors
    ///
    /// Where it could not be written. [`AuditError::Stopped`] follows where nobody knows how far it came; a start does.
    pub fn rotate_keys(&self) -> Result<VerifyingKeys> {
        self.writer.shared.ask(Asked::Keys)
    }

    /// Removes the segments in which every record was made before `before_us`, in microseconds since 1970-01-01 UTC, the
    /// one written to excepted. A checkpoint covers them first; what they were is recorded, and the log begins behind them
    /// by a signed note. `None`: there are none.
    ///
    /// # Errors
    ///
    /// Where what was to be removed is not as it was written, or the disk refused. What an earlier call could not finish is
    /// finished by the next.
    pub fn remove_before(&self, before_us: i64) -> Result<Option<Removed>> {
        self.finish_removal()?;
        let shared = &self.writer.shared;
        let (first, until) = {
            let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.first(), index.removable_before(seconds(before_us)))
        };
        if until == first {
            return Ok(None);
        }
        self.checkpoint()?;
        let beginning = Beginning::at(&self.writer.layout, until)?;
        let removed = Removed { first, until, root: beginning.frontier.root() };
        let record = |outcome| {
            NewRecord::new("homeostat", Via::Server, REMOVED, "audit/log", outcome)
                .why(format!("every one was made before {}", shown_time(before_us)))
        };
        let what =
            format!("records {first} to {}; the root over all up to there is {}", until - 1, removed.root);
        self.append(record(Outcome::Done).detail(what))?;
        if let Err(error) = shared.ask(|answer| Asked::Beginning(beginning, answer)) {
            self.append(record(Outcome::Failed).detail(error.to_string()))?;
            return Err(error);
        }
        Ok(Some(removed))
    }

    /// Removes what an earlier [`remove_before`](Self::remove_before) could not, whatever may be kept by now: those records
    /// are no part of the log any more. It is recorded; whether there was something.
    ///
    /// # Errors
    ///
    /// Where the disk refused again; the next call, or start, tries it once more.
    pub fn finish_removal(&self) -> Result<bool> {
        if !self.writer.shared.ask(Asked::Leftover)? {
            return Ok(false);
        }
        let record = NewRecord::new("homeostat", Via::Server, REMOVED, "audit/log", Outcome::Done);
        self.append(record.detail("what an earlier removal had left is gone as well"))?;
        Ok(true)
    }

    /// From now on a segment whose first record is this old is followed by another ([`Options::segment_age`]).
    pub fn set_segment_age(&self, age: Duration) {
        self.writer.shared.segment_age.store(age.as_secs(), Ordering::Relaxed);
    }

    /// By what its checkpoints are known.
    pub fn keys(&self) -> VerifyingKeys {
        lock(&self.writer.shared.signed).keys.clone()
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.writer.shared.status()
    }
}
