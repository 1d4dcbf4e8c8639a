//! The store as a whole: opened on a directory, sent to and asked from any thread, closed once.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use durable::Access;
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use promql::{Labels, Matcher, Sample, Select, Source, SourceError, Take};

use crate::admission::{Outcome, Pending, Refusal, SourceName};
use crate::batch::{Batch, Exemplar, Metadata};
use crate::catalogue::{Catalogue, DamagedFile};
use crate::commit::Committer;
use crate::compact::Chores;
use crate::config::{Config, OpenError, failed};
use crate::counters::Counters;
use crate::head::{Series, SourceState, labels_hash};
use crate::matching::Condition;
use crate::part::Between;
use crate::shared::Shared;
use crate::status::{Status, status};
use crate::tier::Aggregate;
use crate::wal::{Record, Recovered, Segment, recover};
use crate::{Admission, intake, lock, query};

/// Series of numbers: durable before they are acknowledged, found as soon as they are.
///
/// Clones share the store. The last one to go closes it.
#[derive(Clone)]
pub struct Metrics {
    open: Arc<Open>,
}

struct Open {
    shared: Arc<Shared>,
    chores: Arc<Chores>,
    recovered: Recovered,
    compactor: Mutex<Option<JoinHandle<()>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held while the store is open.
    _lock: File,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("dir", &self.open.shared.config.dir).finish_non_exhaustive()
    }
}

impl Metrics {
    /// Opens the store in a directory: takes what earlier processes left, leaves out what a crash tore, and is ready.
    ///
    /// # Errors
    /// Where another process has it, a later version wrote it, or the file system refuses. A damaged file is none: it is
    /// set aside, and told of in [`Status::damaged`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let mut damaged = Vec::new();
        Self::open_telling(config, &mut damaged).map_err(|error| error.told_with(damaged))
    }

    /// The same; what was set aside is in `damaged`, also where it fails.
    fn open_telling(config: Config, damaged: &mut Vec<DamagedFile>) -> Result<Self, OpenError> {
        let dir = config.dir.clone();
        let log_dir = dir.join("log");
        durable::make_dir(&log_dir, Access::Owner).map_err(failed("making", &log_dir))?;
        let lock = take_lock(&dir)?;
        let catalogue = Catalogue::open(&dir, config.index_bytes_max, damaged)?;
        let through = catalogue.live().through;
        let shared = Arc::new(Shared::new(config, catalogue));
        let (recovered, next_number) = read_log(&shared, &log_dir, through)?;
        let chores = Chores::new(Arc::clone(&shared), log_dir.clone());
        let committer = Committer::new(Arc::clone(&shared), log_dir.clone(), next_number).start();
        let committer = committer.map_err(failed("starting the thread for", &log_dir))?;
        let (compactor, committer) = (Mutex::default(), Mutex::new(Some(committer)));
        let open = Open { shared, chores, recovered, compactor, committer, _lock: lock };
        let compactor = open.chores.start().map_err(failed("starting the thread for", &dir))?;
        *crate::lock(&open.compactor) = Some(compactor);
        Ok(Self { open: Arc::new(open) })
    }

    /// Hands a batch in; what comes back resolves when the disk has it.
    ///
    /// # Errors
    /// Where nothing of it is taken, now.
    pub fn submit(&self, source: &SourceName, batch: Batch) -> Result<Pending, Refusal> {
        intake::submit(&self.open.shared, source, batch)
    }

    /// Hands a batch in and waits until the disk has it: what is answered as accepted survives a crash, and is found.
    ///
    /// # Errors
    /// Where nothing of it was taken in.
    pub fn append(&self, source: &SourceName, batch: Batch) -> Outcome {
        self.submit(source, batch)?.wait()
    }

    /// An aggregate of each minute or hour, at the time when that begins, of the series that match. Which, the step says:
    /// at least 60,000 ms.
    ///
    /// # Errors
    /// Where it cannot be read, is too much, or the step is shorter.
    pub fn aggregates(
        &self,
        select: &Select,
        aggregate: Aggregate,
    ) -> Result<Vec<promql::Series>, SourceError> {
        query::aggregates(&self.open.shared, select, aggregate)
    }

    /// Labels of the series that match and have samples between two times (milliseconds since 1970, both included),
    /// sorted.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn series(&self, matchers: &[Matcher], from_ms: i64, to_ms: i64) -> Result<Vec<Labels>, SourceError> {
        query::series(&self.open.shared, matchers, Between { from_ms, to_ms })
    }

    /// Names of labels of the series that match, sorted. Without matchers those of all active series, and of blocks that
    /// reach into the time.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn label_names(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<String>, SourceError> {
        query::label_names(&self.open.shared, matchers, Between { from_ms, to_ms })
    }

    /// Values of a label of the series that match, sorted. Without matchers those of all active series, and of blocks
    /// that reach into the time.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<String>, SourceError> {
        query::label_values(&self.open.shared, name, matchers, Between { from_ms, to_ms })
    }

    /// What is known of metrics, by name; of one, where it is given.
    pub fn metadata(&self, name: Option<&str>) -> Vec<(String, Metadata)> {
        let known = self.open.shared.catalogue.metadata.read().unwrap_or_else(PoisonError::into_inner);
        let wanted = known.iter().filter(|(known, _)| name.is_none_or(|name| name == *known));
        wanted.map(|(name, metadata)| (name.clone(), metadata.clone())).collect()
    }

    /// Exemplars between two times (milliseconds since 1970, both included) of the series that match, by series and
    /// time; as far back as the ring reaches, see [`Config::exemplars_max`].
    ///
    /// # Errors
    /// Where a matcher cannot be understood.
    pub fn exemplars(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, SourceError> {
        let conditions = Condition::all_of(matchers)?;
        let wanted =
            |series: &Labels| conditions.iter().all(|condition| condition.holds(series.get(&condition.name)));
        Ok(lock(&self.open.shared.exemplars).between(from_ms, to_ms, wanted))
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        status(&self.open.shared)
    }

    /// What came in and what was left out since opening.
    pub fn counters(&self) -> &Counters {
        &self.open.shared.counters
    }

    /// What opening found in the log.
    pub fn recovered(&self) -> Recovered {
        self.open.recovered
    }

    /// Writes what is in memory to blocks, due or not.
    ///
    /// # Errors
    /// Where the disk does not take them; everything stays in memory and in the log then.
    pub fn flush(&self) -> io::Result<()> {
        self.open.chores.flush()
    }

    /// Lets go of what is too old or too much, and merges the blocks that are to be merged.
    ///
    /// # Errors
    /// Where the disk does not take them; the blocks stay as they are then.
    pub fn compact(&self) -> io::Result<()> {
        self.open.chores.retire()?;
        while self.open.chores.merge()? {}
        Ok(())
    }

    /// Writes what was taken in to the log, refuses what comes after, and ends the threads. Asking goes on working.
    pub fn close(&self) {
        self.open.close();
    }
}

impl Source for Metrics {
    /// See [`crate::Tier`] for which tier answers.
    fn select(&self, select: &Select) -> Result<Vec<promql::Series>, SourceError> {
        query::select(&self.open.shared, select)
    }

    fn each(&self, select: &Select, take: &Take<'_>) -> Result<(), SourceError> {
        query::each(&self.open.shared, select, take)
    }
}

impl Open {
    fn close(&self) {
        // The compactor first: it asks the committer. Panics were printed when they happened.
        self.shared.end_chores();
        if let Some(thread) = lock(&self.compactor).take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        self.shared.close_intake();
        if let Some(thread) = lock(&self.committer).take() {
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

/// Reads the log behind what is in blocks; answers what was found, and the number for the next segment.
fn read_log(shared: &Shared, dir: &Path, through: u64) -> Result<(Recovered, u64), OpenError> {
    Segment::remove_through(dir, through).map_err(failed("removing old files of", dir))?;
    let segments: Vec<(u64, PathBuf)> = Segment::list(dir).map_err(failed("listing", dir))?;
    let mut recovered = Recovered::default();
    let mut reading = Reading::new(shared);
    let mut next_number = through + 1;
    for (number, path) in segments {
        next_number = next_number.max(number + 1);
        recover(&path, &mut recovered, |generation, record| reading.take(generation, record))?;
    }
    reading.apply();
    recovered.nameless_samples = reading.nameless;
    shared.head_grew();
    Ok((recovered, next_number))
}

/// What the log said so far.
struct Reading<'a> {
    shared: &'a Shared,
    generation: u64,
    /// What numbers mean in this generation.
    series: HashMap<u64, Arc<Series>, RandomState>,
    /// Texts of labels that were read: each is held once.
    texts: HashSet<Arc<str>, RandomState>,
    /// Samples of a series that are not applied yet.
    waiting: (u64, Vec<Sample>),
    nameless: u64,
}

impl<'a> Reading<'a> {
    fn new(shared: &'a Shared) -> Self {
        let (series, texts) = Default::default();
        Self { shared, generation: 0, series, texts, waiting: (0, Vec::new()), nameless: 0 }
    }

    fn take(&mut self, generation: u64, record: Record) {
        if generation != self.generation {
            self.apply();
            self.series.clear();
            self.generation = generation;
        }
        match record {
            Record::Series { id, source, labels } => {
                self.apply();
                let series = self.named(source, &labels);
                self.series.insert(id, series);
            }
            Record::Sample { id, sample } => {
                if self.waiting.0 != id {
                    self.apply();
                    self.waiting.0 = id;
                }
                self.waiting.1.push(sample);
            }
            Record::Metadata { name, metadata } => self.shared.learn(&mut vec![(name, metadata)]),
            Record::Exemplar { series, exemplar } => {
                lock(&self.shared.exemplars).extend([(series, exemplar)])
            }
        }
    }

    fn named(&mut self, source: String, labels: &Labels) -> Arc<Series> {
        let name = SourceName::new(source);
        let mut sources = self.shared.sources.write().unwrap_or_else(PoisonError::into_inner);
        let source = sources.entry(name.clone()).or_insert_with(|| Arc::new(SourceState::new(name)));
        let hash = labels_hash(labels);
        let mut index = self.shared.index.write().unwrap_or_else(PoisonError::into_inner);
        match index.get(hash, labels) {
            Some(series) => Arc::clone(series),
            None => {
                let mut text =
                    |text: &str| Arc::clone(self.texts.get_or_insert_with(text, |text| text.into()));
                let pairs: Vec<_> = labels.iter().map(|(name, value)| (text(name), text(value))).collect();
                index.add(hash, &Labels::new(pairs), source)
            }
        }
    }

    fn apply(&mut self) {
        let (id, samples) = (self.waiting.0, std::mem::take(&mut self.waiting.1));
        match self.series.get(&id) {
            _ if samples.is_empty() => {}
            Some(series) => {
                // It was judged before, the same way; and told.
                let mut told = Admission::default();
                self.shared.apply(Arc::clone(series), samples, &mut told);
            }
            None => self.nameless += samples.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests;
