//! The store as a whole: opened on a directory, asked from any thread, closed once.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use durable::Access;

use crate::archive::{ARCHIVE, Archive, DamagedTrace};
use crate::backlog::{BACKLOG_BYTES_MIN, Backlog, Gate, SEGMENT_BYTES};
use crate::batch::Batch;
use crate::cold::{self, Compactor, DamagedFiles, Policy, Restored, Take, Work};
use crate::commit::{Committer, Observer, Roll};
use crate::counters::Counters;
use crate::derive::Derived;
use crate::intake::{Intake, Shared, lock};
use crate::objects::{Bucket, ObjectStorage, ObjectStorageError};
use crate::otlp::Limits;
use crate::segment::{Recovered, Segment};
use crate::tally::Tally;
use crate::tiers::Tiers;

mod bucket;
mod questions;

/// Most bytes on disk where nothing else is said.
const RETENTION_BYTES: u64 = 10 << 30;

/// The backlog allowed where nothing else is said: half of what may be on disk, so that retention never lets go of
/// something only because compaction, which would have made it smaller, was behind. [`BACKLOG_BYTES_MIN`] at least.
pub const fn backlog_bytes_max(retention_bytes: u64) -> u64 {
    let half = retention_bytes / 2;
    if half < BACKLOG_BYTES_MIN { BACKLOG_BYTES_MIN } else { half }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its directory, made where it is missing. One process at a time.
    pub dir: PathBuf,
    /// How much of a span or record is kept.
    pub limits: Limits,
    /// Most bytes of requests that may wait for the disk; more are refused. 64 MiB hold what a disk of 200 MB/s takes
    /// in a second.
    pub waiting_bytes_max: u64,
    /// A segment is closed at this size: about a million spans.
    pub segment_bytes: u64,
    /// A segment is closed at this age.
    pub segment_age: Duration,
    /// A closed segment is compacted when it was last written to so long ago; never where there is none.
    pub compact_after: Option<Duration>,
    /// More bytes of closed segments than this are compacted at once, oldest first.
    pub hot_bytes_max: u64,
    /// With more bytes of closed segments than this nothing is taken in until compaction has caught up by a quarter, or
    /// by 256 MiB; senders are told when to come back. What is written to is not counted: a segment more can be on
    /// disk. Where nothing is ever compacted, this bounds nothing: retention does.
    pub backlog_bytes_max: u64,
    /// How many percent of unremarkable traces compaction keeps. Traces with errors and with spans slower than their
    /// operation's 99th percentile are kept in any case, as far as the segments compacted together show: a part of a
    /// trace that is compacted apart, because it came much earlier or later, is judged by its own spans.
    pub keep_percent: f64,
    /// What was written longer ago goes, once its newest span is older, too.
    pub retention_age: Duration,
    /// When there is more than this on disk, the oldest goes; so it does when the disk is full, and more than half of
    /// what is on it is the store's. What was moved to a bucket counts with its indexes, which may take half of this.
    pub retention_bytes: u64,
    /// Most bytes of archived traces, beside what retention bounds; [`crate::ARCHIVE_BYTES_MIN`] at least.
    /// Those that were asked for may have three quarters.
    pub archive_bytes: u64,
    /// Where the rows of old units are moved, with the feature `object-storage`; nowhere where there is none. Where
    /// nothing is ever compacted, nothing is moved by itself.
    pub objects: Option<ObjectStorage>,
}

impl Config {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limits: Limits::default(),
            waiting_bytes_max: 64 << 20,
            segment_bytes: SEGMENT_BYTES,
            segment_age: Duration::from_secs(300),
            compact_after: Some(Duration::from_secs(600)),
            hot_bytes_max: 1 << 30,
            backlog_bytes_max: backlog_bytes_max(RETENTION_BYTES),
            keep_percent: 100.0,
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: RETENTION_BYTES,
            archive_bytes: 256 << 20,
            objects: None,
        }
    }
}

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use by another process; stop it, or use another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A bucket cannot be used as it is described.
    #[error("object storage cannot be used as `telemetry.objects` describes it")]
    ObjectStorage(#[from] ObjectStorageError),
    /// A directory that never used its bucket has to hear from it first: it may be another store's, or have spans that
    /// belong here.
    #[error("object storage has to answer when a directory first uses it, and did not: {why}")]
    FirstMeeting {
        /// What went wrong.
        why: String,
    },
    /// Spans were moved to a bucket that is not configured.
    #[error(
        "spans of {} were moved to {url}, {}; name that bucket, or remove the files *.moved with their *.index, and *.gone, \
         to give up what is there",
        dir.display(),
        configured.as_ref().map_or("and no bucket is configured".to_owned(), |other| format!("and {other} is configured"))
    )]
    MovedElsewhere {
        /// The directory.
        dir: PathBuf,
        /// Where its spans are.
        url: String,
        /// The bucket that is configured.
        configured: Option<String>,
    },
    /// The file system refused, or holds what this version cannot read.
    #[error("cannot open the telemetry store: {step} {} failed", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What could not be read was set aside first, and no later opening comes upon it.
    #[error("{set_aside}; then the store did not open")]
    SetAside {
        /// What that was.
        set_aside: SetAside,
        /// Why it did not open.
        source: Box<OpenError>,
    },
}

/// What an opening could not read: its files have `.damaged` behind their names from then on.
#[derive(Debug, Clone, Default)]
pub struct SetAside {
    /// Compacted spans and log records.
    pub units: Vec<DamagedFiles>,
    /// Archived traces.
    pub traces: Vec<DamagedTrace>,
}

impl SetAside {
    /// An error of the opening that set these aside: with them, if there are any.
    pub(crate) fn told_with(self, source: OpenError) -> OpenError {
        match self.units.is_empty() && self.traces.is_empty() {
            true => source,
            false => OpenError::SetAside { set_aside: self, source: Box::new(source) },
        }
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = self.units.iter().map(|one| (one.index.with_extension("*.damaged"), &one.why));
        let traces = self.traces.iter().map(|one| (one.path.clone(), &one.why));
        f.write_str("damaged, and kept aside for you to look at:")?;
        for (nth, (path, why)) in units.chain(traces).enumerate() {
            write!(f, "{} {} ({why})", if nth == 0 { "" } else { "," }, path.display())?;
        }
        Ok(())
    }
}

/// What opening found of earlier processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Blocks that read well.
    pub blocks: u64,
    /// Bytes behind the last block of a segment: torn by a crash, never acknowledged, cut off.
    pub torn_bytes: u64,
    /// Bytes amid blocks that make no sense: the disk lost something that was acknowledged.
    pub damaged_bytes: u64,
}

/// Spans and log records: durable before they are acknowledged, found as soon as they are.
///
/// Clones share the store. The last one to go closes it.
#[derive(Debug, Clone)]
pub struct Telemetry {
    pub(crate) open: Arc<Open>,
}

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tiers: Arc<Tiers>,
    derived: Arc<Derived>,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) archive: Arc<Archive>,
    recovery: Recovery,
    damaged: SetAside,
    committer: Mutex<Option<JoinHandle<()>>>,
    pub(crate) work: Arc<Work>,
    compactor: Mutex<Option<Compactor>>,
    bucket: Option<Arc<Bucket>>,
    #[cfg(feature = "object-storage")]
    pub(crate) moving: Option<Arc<cold::Moving>>,
    #[cfg(feature = "object-storage")]
    mover: Mutex<Option<cold::Mover>>,
    /// Held while the store is open.
    _lock: File,
}

impl Telemetry {
    /// Opens the store in a directory: takes what earlier processes left, cuts off what a crash tore, and is ready.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: another process has the directory, its files cannot be used, or its bucket is another one.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let mut set_aside = SetAside::default();
        Self::open_telling(config, &mut set_aside).map_err(|error| set_aside.told_with(error))
    }

    /// The same; what was set aside is told also where it fails.
    fn open_telling(config: Config, set_aside: &mut SetAside) -> Result<Self, OpenError> {
        let hot = config.dir.join("hot");
        durable::make_dir(&hot, Access::Owner).map_err(failed("making", &hot))?;
        let lock = take_lock(&config.dir)?;
        let gate = config.compact_after.map_or_else(Gate::default, |_| Gate::new(config.backlog_bytes_max));
        let tiers = Arc::new(Tiers::new(gate));
        let (derived, tally) = (Arc::new(Derived::new()), Arc::new(Mutex::new(Tally::default())));
        let cold = config.dir.join("cold");
        durable::make_dir(&cold, Access::Owner).map_err(failed("making", &cold))?;
        let bucket = bucket::meet(&config, &cold, &hot)?;
        let restored = cold::restore(&cold, bucket.as_ref(), &mut set_aside.units);
        let restored = restored.map_err(failed("reading", &cold))?;
        let last_number = restored.last_number;
        let covered = take_units(restored, &tiers, &derived);
        let (recovery, next_number) = recover(&hot, &covered, last_number, &tiers, &derived)?;
        let archive = config.dir.join(ARCHIVE);
        let learn = |batch: &Batch| derived.learn(batch);
        let archive = Archive::open(&archive, config.archive_bytes, learn, &mut set_aside.traces)
            .map_err(failed("reading", &archive))?;
        let shared = Arc::new(Shared::new(config.limits, config.waiting_bytes_max, Arc::clone(&tiers)));
        shared.counters.damaged_units.add(set_aside.units.len() as u64);
        let observe: Observer = {
            let (derived, tally) = (Arc::clone(&derived), Arc::clone(&tally));
            Box::new(move |batch: &Batch, place| {
                derived.observe(batch);
                crate::intake::lock(&tally).observe(batch, place);
            })
        };
        let roll = Roll { bytes: config.segment_bytes, age: config.segment_age };
        let committer =
            Committer::new(Arc::clone(&shared), Arc::clone(&tiers), hot.clone(), next_number, roll, observe);
        let thread = committer.start().map_err(failed("starting the thread for", &hot))?;
        shared.attach(thread.thread().clone());
        let committer = Mutex::new(Some(thread));
        let policy = Policy {
            after: config.compact_after,
            hot_bytes_max: config.hot_bytes_max,
            keep_percent: config.keep_percent,
            retention_age: config.retention_age,
            retention_bytes: config.retention_bytes,
        };
        let work = Work::new(Arc::clone(&tiers), Arc::clone(&shared), cold.clone(), policy);
        let work = Arc::new(work);
        #[cfg(feature = "object-storage")]
        let moving = config.objects.zip(bucket.clone()).map(|(objects, bucket)| {
            let (work, derived) = (Arc::clone(&work), Arc::clone(&derived));
            Arc::new(cold::Moving::new(work, derived, bucket, objects.after))
        });
        let open = Open {
            shared,
            tiers,
            derived,
            tally,
            archive: Arc::new(archive),
            recovery,
            damaged: set_aside.clone(),
            committer,
            work,
            compactor: Mutex::default(),
            bucket,
            #[cfg(feature = "object-storage")]
            moving,
            #[cfg(feature = "object-storage")]
            mover: Mutex::default(),
            _lock: lock,
        };
        open.start(config.compact_after.is_some()).map_err(failed("starting a thread for", &cold))?;
        Ok(Self { open: Arc::new(open) })
    }

    /// What was derived from the spans.
    pub(crate) fn derived(&self) -> &Derived {
        &self.open.derived
    }

    /// An entry for one more receiver.
    pub fn intake(&self) -> Intake {
        Intake::new(Arc::clone(&self.open.shared))
    }

    /// Writes what was taken in, refuses what comes after, and ends the threads. Asking goes on working.
    pub fn close(&self) {
        self.open.close();
    }

    /// Compacts everything that is on disk now, due or not. What is under way to the disk stays hot.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read or written; what was compacted before stays so.
    pub fn compact(&self) -> io::Result<()> {
        self.open.shared.seal();
        while self.open.work.compact(Take::All)? {}
        Ok(())
    }

    /// What opening found.
    pub fn recovery(&self) -> Recovery {
        self.open.recovery
    }

    /// Compacted files that opening could not read, set aside and left out.
    pub fn damaged(&self) -> &[DamagedFiles] {
        &self.open.damaged.units
    }

    /// Files of archived traces that opening could not read as a whole, set aside and left out.
    pub fn damaged_traces(&self) -> &[DamagedTrace] {
        &self.open.damaged.traces
    }

    /// What waits for compaction, and whether intake waits for it.
    pub fn backlog(&self) -> Backlog {
        self.open.tiers.gate.now()
    }

    /// Files of compacted spans and log records (two and an index count as one), and their bytes on the local disk.
    pub fn compacted(&self) -> (u64, u64) {
        let units = self.open.tiers.units();
        (units.len() as u64, units.iter().map(|unit| unit.bytes()).sum())
    }

    /// What came in and what was refused since opening.
    pub fn counters(&self) -> &Counters {
        &self.open.shared.counters
    }
}

impl Open {
    /// Starts the threads that work on units; one that moves them where they are to be moved by themselves.
    fn start(&self, moves: bool) -> io::Result<()> {
        *lock(&self.compactor) = Some(Compactor::start(Arc::clone(&self.work))?);
        #[cfg(feature = "object-storage")]
        if let Some(moving) = self.moving.as_ref().filter(|_| moves) {
            *lock(&self.mover) = Some(cold::Mover::start(Arc::clone(moving))?);
        }
        #[cfg(not(feature = "object-storage"))]
        let _ = moves;
        Ok(())
    }

    /// Why nothing is moved to the bucket at present.
    fn trouble_with_bucket(&self) -> Option<String> {
        #[cfg(feature = "object-storage")]
        return self.moving.as_ref().and_then(|moving| moving.trouble());
        #[cfg(not(feature = "object-storage"))]
        None
    }

    fn close(&self) {
        #[cfg(feature = "object-storage")]
        if let Some(mover) = lock(&self.mover).take() {
            mover.stop();
        }
        if let Some(compactor) = lock(&self.compactor).take() {
            compactor.stop();
        }
        self.shared.closing.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = lock(&self.committer).take() {
            thread.thread().unpark();
            // A panic of the thread was printed when it happened; there is nothing left to write.
            let _ = thread.join();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(failed("making", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(failed("locking", &path)(source)),
    }
}

/// Takes in the units of earlier processes; answers the numbers of the segments they were made from.
fn take_units(restored: Restored, tiers: &Tiers, derived: &Derived) -> Vec<u64> {
    let mut covered = Vec::new();
    for (unit, minutes) in restored.units {
        unit.tell(&minutes, derived);
        covered.extend_from_slice(unit.segments());
        tiers.restore_unit(Arc::new(unit));
    }
    covered
}

/// Takes in the segments of earlier processes; answers what was found, and the number for the next segment.
fn recover(
    hot: &Path,
    covered: &[u64],
    last_number: u64,
    tiers: &Tiers,
    derived: &Derived,
) -> Result<(Recovery, u64), OpenError> {
    let mut recovery = Recovery::default();
    // A number in the name of a unit must not be given again.
    let mut next_number = last_number.max(covered.iter().max().copied().unwrap_or(0)) + 1;
    for (number, path) in Segment::list(hot).map_err(failed("listing", hot))? {
        next_number = next_number.max(number + 1);
        if covered.contains(&number) {
            fs::remove_file(&path).map_err(failed("removing", &path))?;
            continue;
        }
        let (segment, found) = Segment::recover(number, path.clone(), |batch| derived.observe(batch))
            .map_err(failed("reading", &path))?;
        let Recovered { blocks, torn_bytes, damaged_bytes } = found;
        recovery.blocks += blocks;
        recovery.torn_bytes += torn_bytes;
        recovery.damaged_bytes += damaged_bytes;
        if blocks == 0 {
            fs::remove_file(&path).map_err(failed("removing", &path))?;
        } else {
            tiers.restore(segment);
        }
    }
    Ok((recovery, next_number))
}

pub(crate) fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { step, path, source }
}

#[cfg(test)]
mod tests;
