//! When segments become units, and when units go.
//!
//! One thread, oldest segments first. What cannot be done now (no room on the disk, say) is counted, leaves everything
//! as it was, and is tried again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::build::{Sampling, Watch, build};
use super::unit::{Files, Unit};
use crate::intake::{Shared, lock};
use crate::model::TraceId;
use crate::segment::Segment;
use crate::tiers::Tiers;

/// How often it is looked whether there is something to do.
const TICK: Duration = Duration::from_secs(1);

/// After a failure it is waited so long: room on a disk does not come back in a second.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Segments of fewer bytes together wait for more, so that a quiet system does not get a unit every few minutes …
const UNIT_BYTES_MIN: u64 = 128 << 20;

/// … but no longer than this.
const GATHER_MAX: Duration = Duration::from_secs(3600);

/// No unit is made of more bytes of segments than this, but for a single segment.
const UNIT_BYTES_MAX: u64 = 512 << 20;

/// When to compact, what to keep, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) after: Option<Duration>,
    pub(crate) hot_bytes_max: u64,
    pub(crate) keep_percent: f64,
    pub(crate) retention_age: Duration,
    pub(crate) retention_bytes: u64,
}

/// What compaction and retention do, one thing at a time.
#[derive(Debug)]
pub(crate) struct Work {
    tiers: Arc<Tiers>,
    shared: Arc<Shared>,
    dir: PathBuf,
    policy: Policy,
    pinned: Mutex<HashSet<[u8; 16]>>,
    one_at_a_time: Mutex<()>,
}

/// Which segments are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Those whose time has come.
    Due,
    /// All that are sealed.
    All,
}

impl Work {
    /// Prepares work on the units in `dir`; the pinned traces are those of earlier processes.
    pub(crate) fn new(
        tiers: Arc<Tiers>,
        shared: Arc<Shared>,
        dir: PathBuf,
        policy: Policy,
    ) -> io::Result<Self> {
        let pinned = match fs::read(dir.join("pinned")) {
            Ok(bytes) => bytes.as_chunks::<16>().0.iter().copied().collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashSet::new(),
            Err(error) => return Err(error),
        };
        let one_at_a_time = Mutex::default();
        Ok(Self { tiers, shared, dir, policy, pinned: Mutex::new(pinned), one_at_a_time })
    }

    /// Keeps a trace whatever is sampled out, from the next compaction on; known after a restart.
    pub(crate) fn pin(&self, trace: TraceId) -> io::Result<()> {
        let mut pinned = lock(&self.pinned);
        if !pinned.contains(&trace.0) {
            let mut file = OpenOptions::new().create(true).append(true).open(self.dir.join("pinned"))?;
            file.write_all(&trace.0)?;
            file.sync_all()?;
            pinned.insert(trace.0);
        }
        Ok(())
    }

    /// Makes one unit of the oldest segments that may be taken; whether there was something to do.
    pub(crate) fn compact(&self, take: Take) -> io::Result<bool> {
        self.compact_watched(take, &|_| Ok(()))
    }

    pub(super) fn compact_watched(&self, take: Take, watch: Watch<'_>) -> io::Result<bool> {
        let _alone = lock(&self.one_at_a_time);
        let segments = self.next(take);
        if segments.is_empty() {
            return Ok(false);
        }
        let pinned = lock(&self.pinned).clone();
        let sampling = Sampling { keep_percent: self.policy.keep_percent, pinned: &pinned };
        let counters = &self.shared.counters;
        match build(&self.dir, &segments, &sampling, watch) {
            Ok(unit) => {
                let (kept, all) = unit.spans();
                counters.compacted_spans.add(all);
                counters.sampled_out_spans.add(all - kept);
                counters.units_written.add(1);
                counters.unit_bytes_written.add(unit.bytes);
                self.tiers.replace(Arc::new(unit));
                // What cannot be removed now is covered by the unit, and removed by the next start.
                segments.iter().for_each(|segment| drop(fs::remove_file(&segment.path)));
                Ok(true)
            }
            Err(error) => {
                counters.compaction_failures.add(1);
                if error.kind() == io::ErrorKind::InvalidData {
                    self.tiers.set_aside(&segments);
                }
                Err(error)
            }
        }
    }

    /// The oldest segments that may be taken together.
    fn next(&self, take: Take) -> Vec<Arc<Segment>> {
        let Some(after) = (match take {
            Take::All => Some(Duration::ZERO),
            Take::Due => self.policy.after,
        }) else {
            return Vec::new();
        };
        let sealed = self.tiers.sealed();
        let hot: u64 = sealed.iter().map(|segment| segment.bytes()).sum();
        let crowded = hot > self.policy.hot_bytes_max.min(self.tiers.gate.crowded_above());
        let mut taken: Vec<Arc<Segment>> = Vec::new();
        let (mut bytes, mut oldest) = (0, Duration::ZERO);
        for segment in sealed {
            let age = age_of(&segment.path);
            if !crowded && age < after || !taken.is_empty() && bytes + segment.bytes() > UNIT_BYTES_MAX {
                break;
            }
            oldest = oldest.max(age);
            bytes += segment.bytes();
            taken.push(segment);
        }
        let enough = crowded || after.is_zero() || bytes >= UNIT_BYTES_MIN || oldest >= after + GATHER_MAX;
        if enough { taken } else { Vec::new() }
    }

    /// Drops what is older than may be kept, and the oldest of what is more than may be kept.
    pub(crate) fn retain(&self) {
        let _alone = lock(&self.one_at_a_time);
        let too_old = |age: Duration| age > self.policy.retention_age;
        let units = self.tiers.units();
        let complete = self.tiers.complete();
        let mut bytes = units.iter().map(|unit| unit.bytes).sum::<u64>();
        bytes += complete.iter().map(|segment| segment.bytes()).sum::<u64>();
        for unit in units {
            let age = unit.written.elapsed().unwrap_or_default();
            if !too_old(age) && bytes <= self.policy.retention_bytes {
                continue;
            }
            bytes -= unit.bytes;
            self.tiers.remove_unit(&unit);
            remove(&unit.files);
            self.shared.counters.retention_removed.add(1);
        }
        for segment in complete {
            if !too_old(age_of(&segment.path)) && bytes <= self.policy.retention_bytes {
                continue;
            }
            bytes -= segment.bytes();
            self.tiers.remove_segment(&segment);
            let _ = fs::remove_file(&segment.path);
            self.shared.counters.retention_removed.add(1);
        }
    }
}

/// How long ago a file was written to.
fn age_of(path: &Path) -> Duration {
    let written = fs::metadata(path).and_then(|file| file.modified());
    written.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Removes the files of a unit: its index first, so that what a crash leaves of the others is known to be nothing.
fn remove(files: &Files) {
    for path in [&files.index, &files.spans, &files.logs] {
        let _ = fs::remove_file(path);
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct Compactor {
    thread: thread::JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Compactor {
    /// Starts it.
    pub(crate) fn start(work: Arc<Work>) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stop);
        let run = move || {
            while !stopping.load(Ordering::Acquire) {
                work.retain();
                match work.compact(Take::Due) {
                    Ok(true) => {}
                    Ok(false) => thread::park_timeout(TICK),
                    Err(_) => thread::park_timeout(AFTER_FAILURE),
                }
            }
        };
        let thread = thread::Builder::new().name("telemetry-compact".to_owned()).spawn(run)?;
        Ok(Self { thread, stop })
    }

    /// Ends it, after what it is doing.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        // A panic of the thread was printed when it happened; segments are still there.
        let _ = self.thread.join();
    }
}

/// Opens the units earlier processes left, oldest first, and removes what a crash left of others.
pub(crate) fn restore(dir: &Path) -> io::Result<Vec<Unit>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in dir.read_dir()? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut units = Vec::new();
    for path in &paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some((stem, ending)) = name.split_once('.') else { continue };
        let files = Files::new(dir, stem);
        match ending {
            "index" => units.push(
                Unit::open(files)
                    .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?,
            ),
            "unfinished" => fs::remove_file(path)?,
            "spans.parquet" | "logs.parquet" if !paths.contains(&files.index) => fs::remove_file(path)?,
            _ => {}
        }
    }
    File::open(dir)?.sync_all()?;
    Ok(units)
}
