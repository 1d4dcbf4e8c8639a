//! How a store is opened, and why it did not open.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;

use crate::catalogue::DamagedFile;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How a store is opened.
#[derive(Clone)]
pub struct Config {
    /// Its directory, made where it is missing. One process at a time.
    pub dir: PathBuf,
    /// Tells the time by which samples are too old or too far ahead, and retention goes.
    pub clock: Arc<dyn Clock>,
    /// What a series may look like, and how many there may be.
    pub limits: Limits,
    /// A sample that is older than the newest of its series is taken where it is at most so much older.
    pub late: Duration,
    /// A sample is taken where it is at most so far ahead of the clock.
    pub ahead: Duration,
    /// Most bytes of samples that may wait for the disk; more are refused.
    pub waiting_bytes_max: u64,
    /// Samples in memory go to blocks on disk when they take so many bytes. Twice as many are never in memory: then
    /// nothing is taken in until blocks are written.
    pub head_bytes: u64,
    /// Samples in memory go to blocks on disk when the oldest has been there so long.
    pub head_age: Duration,
    /// A series that got no sample for so long is no longer active: it does not count against limits any more, and is
    /// found on disk only.
    pub idle: Duration,
    /// Most bytes of indexes of blocks that are held in memory for queries.
    pub index_bytes_max: u64,
    /// Most samples of one query.
    pub query_samples_max: u64,
    /// Most exemplars, the oldest go first. 0 keeps none.
    pub exemplars_max: usize,
    /// How long samples are kept, as they came.
    pub raw: Retention,
    /// How long what is left of each minute is kept.
    pub minute: Retention,
    /// How long what is left of each hour is kept.
    pub hour: Retention,
}

/// What a series may look like, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most active series of a source; samples of others are refused.
    pub source_series_max: u64,
    /// Most active series of all sources.
    pub series_max: u64,
    /// Most sources.
    pub sources_max: usize,
    /// Most labels of a series, the metric's name included.
    pub labels_max: usize,
    /// Most bytes of a label's name.
    pub name_bytes_max: usize,
    /// Most bytes of a label's value.
    pub value_bytes_max: usize,
    /// Most metrics of which kind, help and unit are known.
    pub metadata_max: usize,
}

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// What is older goes.
    pub age: Duration,
    /// When there is more than this on disk, the oldest goes.
    pub bytes: u64,
}

impl Config {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir: dir.into(),
            clock,
            limits: Limits::default(),
            late: Duration::from_secs(600),
            ahead: Duration::from_secs(600),
            waiting_bytes_max: 128 << 20,
            head_bytes: 512 << 20,
            head_age: Duration::from_secs(2 * 3600),
            idle: Duration::from_secs(3600),
            index_bytes_max: 256 << 20,
            query_samples_max: 50_000_000,
            exemplars_max: 100_000,
            raw: Retention { age: 7 * DAY, bytes: 20 << 30 },
            minute: Retention { age: 90 * DAY, bytes: 10 << 30 },
            hour: Retention { age: 730 * DAY, bytes: 5 << 30 },
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_series_max: 200_000,
            series_max: 2_000_000,
            sources_max: 10_000,
            labels_max: 64,
            name_bytes_max: 256,
            value_bytes_max: 4096,
            metadata_max: 50_000,
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
    /// A later version wrote it.
    #[error(
        "{} was written by a later version (format {found}, this one reads up to {known}); use that version, or another directory", path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that is understood.
        known: u32,
    },
    /// The file system refused.
    #[error("cannot open the store of series: {step} {} failed", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What could not be read was set aside first, and no later opening comes upon it.
    #[error(
        "damaged, and kept aside for you to look at, as *.damaged: {}; then the store did not open",
        told(damaged)
    )]
    SetAside {
        /// What that was.
        damaged: Vec<DamagedFile>,
        /// Why it did not open.
        source: Box<OpenError>,
    },
}

impl OpenError {
    /// With what the opening set aside before, if there is anything.
    pub(crate) fn told_with(self, damaged: Vec<DamagedFile>) -> Self {
        if damaged.is_empty() { self } else { Self::SetAside { damaged, source: Box::new(self) } }
    }
}

fn told(damaged: &[DamagedFile]) -> String {
    let each = damaged.iter().map(|one| format!("{} ({})", one.path.display(), one.why));
    each.collect::<Vec<_>>().join(", ")
}

/// Says which step failed on which file.
pub(crate) fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { step, path, source }
}
