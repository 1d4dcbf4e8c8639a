//! What senders, committer, compactor and queries share.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::{Sample, Value};

use crate::admission::{Admission, SourceName};
use crate::batch::Metadata;
use crate::catalogue::Catalogue;
use crate::config::Config;
use crate::counters::Counters;
use crate::exemplars::Exemplars;
use crate::head::{Index, Judged, Series, SourceState};
use crate::intake::{Job, millis};
use crate::lock;

/// No samples are in memory.
const NONE: i64 = i64::MIN;

/// What senders, committer, compactor and queries share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) sources: RwLock<HashMap<SourceName, Arc<SourceState>, RandomState>>,
    pub(crate) index: RwLock<Index>,
    pub(crate) exemplars: Mutex<Exemplars>,
    pub(crate) catalogue: Catalogue,
    /// Bytes of what waits for the disk.
    pub(crate) waiting: AtomicU64,
    /// Bytes of samples in memory, frozen or not.
    pub(crate) head_bytes: AtomicU64,
    /// Those of them that are frozen.
    frozen_bytes: AtomicU64,
    /// When the oldest samples in memory that are not frozen came, milliseconds by the machine's boot clock.
    head_since_ms: AtomicI64,
    /// Why the head was not written to blocks the last time, where it was not.
    pub(crate) flush_failure: Mutex<Option<String>>,
    queue: Mutex<Queue>,
    work: Condvar,
    chores: Mutex<Chores>,
    chore: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    /// The head shall be frozen, and this be told through which segment of the log it lies.
    freeze: Option<SyncSender<u64>>,
    closing: bool,
}

/// What the compactor is told.
#[derive(Debug, Default, Clone, Copy)]
struct Chores {
    wanted: bool,
    closing: bool,
}

/// What the committer is to do next.
pub(crate) struct Work {
    pub(crate) jobs: Vec<Job>,
    pub(crate) freeze: Option<SyncSender<u64>>,
    /// Nothing will come after this.
    pub(crate) last: bool,
}

impl Shared {
    pub(crate) fn new(config: Config, catalogue: Catalogue) -> Self {
        let exemplars = Mutex::new(Exemplars::new(config.exemplars_max));
        let (counters, sources, index, waiting, head_bytes, frozen_bytes) = Default::default();
        let (flush_failure, queue, work, chores, chore) = Default::default();
        let head_since_ms = AtomicI64::new(NONE);
        Self {
            config,
            counters,
            sources,
            index,
            exemplars,
            catalogue,
            waiting,
            head_bytes,
            frozen_bytes,
            head_since_ms,
            flush_failure,
            queue,
            work,
            chores,
            chore,
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.config.clock.now().wall_us.div_euclid(1000)
    }

    fn boot_ms(&self) -> i64 {
        (self.config.clock.now().boot_us / 1000) as i64
    }

    /// Hands a batch to the committer, or back where it ended.
    pub(crate) fn queue(&self, job: Job) -> Result<(), Box<Job>> {
        let mut queue = lock(&self.queue);
        if queue.closing {
            return Err(Box::new(job));
        }
        queue.jobs.push(job);
        drop(queue);
        self.work.notify_one();
        Ok(())
    }

    /// Has the head frozen; says nothing where the committer ended.
    pub(crate) fn ask_to_freeze(&self, tell: SyncSender<u64>) {
        let mut queue = lock(&self.queue);
        if !queue.closing {
            queue.freeze = Some(tell);
            drop(queue);
            self.work.notify_one();
        }
    }

    /// Waits for work; the committer's alone.
    pub(crate) fn wait_for_work(&self) -> Work {
        let mut queue = lock(&self.queue);
        while queue.jobs.is_empty() && queue.freeze.is_none() && !queue.closing {
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        Work { jobs: std::mem::take(&mut queue.jobs), freeze: queue.freeze.take(), last: queue.closing }
    }

    /// Refuses everything from now on; the committer writes what it has and ends.
    pub(crate) fn close_intake(&self) {
        lock(&self.queue).closing = true;
        self.work.notify_all();
    }

    /// Refuses everything from now on, and whoever waits: the committer ended.
    pub(crate) fn refuse_all(&self) {
        let mut queue = lock(&self.queue);
        queue.closing = true;
        queue.freeze = None;
        let jobs = std::mem::take(&mut queue.jobs);
        drop(queue);
        drop(jobs);
    }

    /// Applies samples that are in the log to their series.
    pub(crate) fn apply(&self, series: Arc<Series>, samples: Vec<Sample>, admission: &mut Admission) {
        let late_ms = millis(self.config.late);
        let mut series = series;
        let mut state = lock(&series.state);
        while state.retired {
            drop(state);
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            let successor = match index.get(series.hash, &series.labels) {
                Some(series) => Arc::clone(series),
                None => index.add(series.hash, &series.labels, &series.source),
            };
            drop(index);
            series = successor;
            state = lock(&series.state);
        }
        let (mut accepted, mut grown, mut refused) = (0, 0, 0);
        for sample in samples {
            let at_ms = sample.at_ms;
            let histogram = u64::from(matches!(sample.value, Value::Histogram(_)));
            let (judged, bytes) = state.take(&series.labels, sample, late_ms, &self.catalogue);
            grown += bytes;
            let labels = &series.labels;
            match judged {
                Judged::Accepted => accepted += 1,
                Judged::Repeated => {
                    admission.refused.repeated += 1;
                    refused += 1;
                }
                Judged::Duplicate => {
                    admission.refused.duplicate += 1;
                    admission.refused_histograms += histogram;
                    refused += 1;
                    admission.because(|| format!("{labels:?}: there is another value of {at_ms} already"));
                }
                Judged::TooOld { newest_ms } => {
                    admission.refused.too_old += 1;
                    admission.refused_histograms += histogram;
                    refused += 1;
                    admission.because(|| {
                        format!(
                            "{labels:?}: the sample of {at_ms} is more than {} s older than the newest ({newest_ms})",
                            late_ms / 1000
                        )
                    });
                }
            }
        }
        drop(state);
        admission.accepted += accepted;
        series.source.accepted.add(accepted);
        series.source.refused.add(refused);
        self.head_bytes.fetch_add(grown as u64, Ordering::Relaxed);
    }

    /// Learns what is known of metrics.
    pub(crate) fn learn(&self, metadata: &mut Vec<(String, Metadata)>) {
        if metadata.is_empty() {
            return;
        }
        let mut known = self.catalogue.metadata.write().unwrap_or_else(PoisonError::into_inner);
        for (name, metadata) in metadata.drain(..) {
            if known.len() >= self.config.limits.metadata_max && !known.contains_key(&name) {
                self.counters.metadata_refused.add(1);
                continue;
            }
            known.insert(name, metadata);
        }
    }

    /// Says that samples are in memory; wakes the compactor when there are many.
    pub(crate) fn head_grew(&self) {
        if self.head_since_ms.load(Ordering::Relaxed) == NONE {
            self.head_since_ms.store(self.boot_ms(), Ordering::Relaxed);
        }
        if self.head_bytes.load(Ordering::Relaxed) >= self.config.head_bytes {
            self.want_chores();
        }
    }

    /// Says that all samples in memory are frozen.
    pub(crate) fn head_frozen(&self) {
        self.frozen_bytes.store(self.head_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.head_since_ms.store(NONE, Ordering::Relaxed);
    }

    /// Says that what was frozen is in blocks.
    pub(crate) fn head_flushed(&self) {
        self.head_bytes.fetch_sub(self.frozen_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether the head is to be written to blocks.
    pub(crate) fn head_is_due(&self) -> bool {
        let since_ms = self.head_since_ms.load(Ordering::Relaxed);
        let old = since_ms != NONE && self.boot_ms() - since_ms >= millis(self.config.head_age);
        old || self.head_bytes.load(Ordering::Relaxed) >= self.config.head_bytes
    }

    /// Wakes the compactor.
    pub(crate) fn want_chores(&self) {
        lock(&self.chores).wanted = true;
        self.chore.notify_all();
    }

    /// Ends the compactor when it is done with what it does.
    pub(crate) fn end_chores(&self) {
        lock(&self.chores).closing = true;
        self.chore.notify_all();
    }

    /// Waits until there may be something to do, `at_most` so long; answers whether to go on at all.
    pub(crate) fn wait_for_chores(&self, at_most: Duration) -> bool {
        let mut chores = lock(&self.chores);
        if !chores.wanted && !chores.closing {
            let waited = self.chore.wait_timeout(chores, at_most);
            chores = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        chores.wanted = false;
        !chores.closing
    }

    /// Whether the store closes.
    pub(crate) fn is_closing(&self) -> bool {
        lock(&self.chores).closing
    }
}
