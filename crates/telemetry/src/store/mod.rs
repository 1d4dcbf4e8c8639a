//! The store as a whole: opened on a directory, asked from any thread, closed once.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::batch::Batch;
use crate::catalogue::Operation;
use crate::commit::{Committer, Observer, Roll};
use crate::counters::Counters;
use crate::derive::Derived;
use crate::intake::{Intake, Shared, lock};
use crate::model::{LogRecord, Span, SpanId, TraceId};
use crate::otlp::Limits;
use crate::query::{self, Found, LogFilter, ReadError, TraceFilter};
use crate::segment::{Recovered, Segment};
use crate::tiers::Tiers;

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
}

impl Config {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limits: Limits::default(),
            waiting_bytes_max: 64 << 20,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(300),
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
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    tiers: Arc<Tiers>,
    derived: Arc<Derived>,
    recovery: Recovery,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held while the store is open.
    _lock: File,
}

impl Telemetry {
    /// Opens the store in a directory: takes what earlier processes left, cuts off what a crash tore, and is ready.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let hot = config.dir.join("hot");
        fs::create_dir_all(&hot).map_err(failed("making", &hot))?;
        let lock = take_lock(&config.dir)?;
        let tiers = Arc::new(Tiers::default());
        let derived = Arc::new(Derived::new());
        let (recovery, next_number) = recover(&hot, &tiers, &derived)?;
        let shared = Arc::new(Shared::new(config.limits, config.waiting_bytes_max));
        let observe: Observer = {
            let derived = Arc::clone(&derived);
            Box::new(move |batch: &Batch| derived.observe(batch))
        };
        let roll = Roll { bytes: config.segment_bytes, age: config.segment_age };
        let committer =
            Committer::new(Arc::clone(&shared), Arc::clone(&tiers), hot.clone(), next_number, roll, observe);
        let thread = thread::Builder::new()
            .name("telemetry-commit".to_owned())
            .spawn(move || committer.run())
            .map_err(failed("starting the thread for", &hot))?;
        shared.attach(thread.thread().clone());
        let committer = Mutex::new(Some(thread));
        let open = Open { shared, tiers, derived, recovery, committer, _lock: lock };
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

    /// What opening found.
    pub fn recovery(&self) -> Recovery {
        self.open.recovery
    }

    /// What came in and what was refused since opening.
    pub fn counters(&self) -> &Counters {
        &self.open.shared.counters
    }

    /// The spans of a trace by start, a span that was sent twice once; empty where there is no such trace.
    pub fn trace(&self, id: TraceId) -> Result<Vec<Span>, ReadError> {
        let view = self.open.tiers.view();
        let mut spans = Vec::new();
        for segment in &view.hot {
            query::spans_in_segment(segment, id, &mut spans)?;
        }
        spans.sort_by_key(|span| (span.start_unix_nano, span.span_id));
        // A sender that did not hear the answer sends again.
        spans.dedup_by(|a, b| a.span_id == b.span_id && a == b);
        Ok(spans)
    }

    /// The traces with the newest matching spans, newest first, each with the start of that span (nanoseconds since
    /// 1970).
    pub fn search(&self, filter: &TraceFilter) -> Result<Vec<(TraceId, u64)>, ReadError> {
        let view = self.open.tiers.view();
        let mut found = Found::new(filter.limit);
        for segment in view.hot.iter().rev() {
            query::search_segment(segment, filter, &mut found)?;
        }
        Ok(found.newest_first())
    }

    /// Reads every span's ids back from the disk, in the order of their blocks, a span that was sent twice twice: what
    /// an audit of acknowledged spans compares against.
    pub fn each_span(&self, mut each: impl FnMut(TraceId, SpanId)) -> Result<(), ReadError> {
        let view = self.open.tiers.view();
        for segment in &view.hot {
            query::ids_in_segment(segment, &mut each)?;
        }
        Ok(())
    }

    /// The newest matching log records, newest first.
    pub fn logs(&self, filter: &LogFilter) -> Result<Vec<LogRecord>, ReadError> {
        let view = self.open.tiers.view();
        let mut records = Vec::new();
        for segment in view.hot.iter().rev() {
            query::search_logs(segment, filter, &mut records)?;
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.time_unix_nano));
        records.truncate(filter.limit);
        Ok(records)
    }

    /// All services that sent spans, sorted.
    pub fn services(&self) -> Vec<String> {
        self.open.derived.catalogue.services()
    }

    /// The operations of a service, sorted by name.
    pub fn operations(&self, service: &str) -> Vec<Operation> {
        self.open.derived.catalogue.operations(service)
    }
}

impl Open {
    fn close(&self) {
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

/// Takes in the segments of earlier processes; answers what was found, and the number for the next segment.
fn recover(hot: &Path, tiers: &Tiers, derived: &Derived) -> Result<(Recovery, u64), OpenError> {
    let mut recovery = Recovery::default();
    let mut next_number = 1;
    for (number, path) in Segment::list(hot).map_err(failed("listing", hot))? {
        next_number = number + 1;
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

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { step, path, source }
}

#[cfg(test)]
mod tests;
