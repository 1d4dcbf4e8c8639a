//! One active series: what it is, and its samples that are not in a block yet.
//!
//! Samples come in order, mostly: those are packed. What is late, and histograms, stand beside in order of time. When the
//! head is written to a block the samples are frozen: still read here, no longer added to, until the block is there.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use promql::{Histogram, Labels, Sample, Samples, Value};

use super::index::SourceState;
use super::open::Open;

/// An active series.
#[derive(Debug)]
pub(crate) struct Series {
    /// Its number in this process; none is given twice.
    pub(crate) id: u32,
    pub(crate) labels: Labels,
    pub(crate) hash: u64,
    /// Whose limit it counts against.
    pub(crate) source: Arc<SourceState>,
    /// The segment of the log that says what it is, last; 0 for none. The committer's alone.
    pub(crate) logged_in: AtomicU64,
    pub(crate) state: Mutex<State>,
}

/// What of a series changes.
#[derive(Debug)]
pub(crate) struct State {
    active: Active,
    frozen: Option<Arc<Active>>,
    /// Of all samples, wherever they are, as far as that is known; see `flushed`.
    newest_ms: i64,
    flushed: Flushed,
    /// It was taken out of the index: samples go to another that takes its place.
    pub(crate) retired: bool,
}

/// The newest sample that is in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    /// Blocks of earlier times were not asked yet.
    NotAsked,
    /// None is later; `i64::MIN` where there is none.
    UpTo(i64),
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    Accepted,
    Repeated,
    Duplicate,
    TooOld { newest_ms: i64 },
}

/// What blocks know of series.
pub(crate) trait OnDisk {
    /// No block has a sample later than this.
    fn horizon_ms(&self) -> i64;

    /// The newest sample of a series; `i64::MIN` where there is none.
    fn newest_ms(&self, labels: &Labels) -> i64;

    /// What a series has at a time.
    fn at(&self, labels: &Labels, at_ms: i64) -> Option<Value>;
}

impl Series {
    pub(crate) fn new(id: u32, labels: Labels, hash: u64, source: Arc<SourceState>) -> Self {
        let state = State {
            active: Active::default(),
            frozen: None,
            newest_ms: i64::MIN,
            flushed: Flushed::NotAsked,
            retired: false,
        };
        Self { id, labels, hash, source, logged_in: AtomicU64::new(0), state: Mutex::new(state) }
    }
}

impl State {
    /// Takes a sample, or says why not. Answers by how many bytes the head grew, too.
    pub(crate) fn take(
        &mut self,
        labels: &Labels,
        sample: Sample,
        late_ms: i64,
        on_disk: &impl OnDisk,
    ) -> (Judged, usize) {
        let at_ms = sample.at_ms;
        if self.flushed == Flushed::NotAsked && at_ms <= on_disk.horizon_ms() {
            let newest_ms = on_disk.newest_ms(labels);
            self.flushed = Flushed::UpTo(newest_ms);
            self.newest_ms = self.newest_ms.max(newest_ms);
        }
        if at_ms > self.newest_ms {
            self.newest_ms = at_ms;
            return (Judged::Accepted, self.active.append(sample));
        }
        if at_ms < self.newest_ms.saturating_sub(late_ms) {
            return (Judged::TooOld { newest_ms: self.newest_ms }, 0);
        }
        let there = self.active.at(at_ms);
        let there = there.or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.at(at_ms)));
        let there = there.or_else(|| match self.flushed {
            Flushed::UpTo(flushed_ms) if at_ms <= flushed_ms => on_disk.at(labels, at_ms),
            _ => None,
        });
        match there {
            Some(value) if same(&value, &sample.value) => (Judged::Repeated, 0),
            Some(_) => (Judged::Duplicate, 0),
            None => (Judged::Accepted, self.active.insert(sample)),
        }
    }

    /// Stops adding to what is here; answers whether there is something.
    pub(crate) fn freeze(&mut self) -> bool {
        if self.active.is_empty() {
            return false;
        }
        self.frozen = Some(Arc::new(std::mem::take(&mut self.active)));
        true
    }

    /// What is frozen.
    pub(crate) fn frozen(&self) -> Option<Arc<Active>> {
        self.frozen.clone()
    }

    /// Lets go of what is frozen: it is in a block.
    pub(crate) fn flushed(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            let newest_ms = frozen.newest_ms();
            self.flushed = match self.flushed {
                Flushed::UpTo(before) => Flushed::UpTo(before.max(newest_ms)),
                // All samples of before are older than what was just written, else blocks would have been asked.
                Flushed::NotAsked => Flushed::UpTo(newest_ms),
            };
        }
    }

    /// Whether there are no samples here, and none came since.
    pub(crate) fn is_idle_since(&self, since_ms: i64) -> bool {
        self.active.is_empty() && self.frozen.is_none() && self.newest_ms < since_ms
    }

    /// Whether there are samples here in a time, both ends included.
    pub(crate) fn has_between(&self, from_ms: i64, to_ms: i64) -> bool {
        self.active.has_between(from_ms, to_ms)
            || self.frozen.as_ref().is_some_and(|frozen| frozen.has_between(from_ms, to_ms))
    }

    /// Its samples as they are now, packed, where there are any in a time, both ends included.
    pub(crate) fn snapshot(&self, from_ms: i64, to_ms: i64) -> Option<Snapshot> {
        let active = self.active.has_between(from_ms, to_ms).then(|| self.active.clone());
        let frozen = self.frozen.as_ref().filter(|frozen| frozen.has_between(from_ms, to_ms)).cloned();
        (active.is_some() || frozen.is_some()).then_some(Snapshot { frozen, active })
    }
}

/// The samples of a series as they were at a time.
#[derive(Debug)]
pub(crate) struct Snapshot {
    frozen: Option<Arc<Active>>,
    active: Option<Active>,
}

impl Snapshot {
    /// Adds the samples in a time, both ends included. What came late does not stand where it belongs.
    pub(crate) fn read(&self, from_ms: i64, to_ms: i64, samples: &mut Samples) {
        let both = self.frozen.as_deref().into_iter().chain(&self.active);
        both.for_each(|active| active.columns(from_ms, to_ms, samples));
    }
}

/// Whether two values are the same, bit for bit where they are numbers.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Histogram(a), Value::Histogram(b)) => {
            a == b
                || (a.sum.is_nan()
                    && a.sum.to_bits() == b.sum.to_bits()
                    && a.count.to_bits() == b.count.to_bits())
        }
        _ => false,
    }
}

/// Samples of a series.
#[derive(Debug, Clone, Default)]
pub(crate) struct Active {
    open: Open,
    /// What came late, and histograms; sorted by time.
    others: Vec<Sample>,
}

impl Active {
    fn is_empty(&self) -> bool {
        self.open.len() == 0 && self.others.is_empty()
    }

    /// How many samples there are, and the times of the first and the last.
    pub(crate) fn extent(&self) -> (usize, i64, i64) {
        (self.open.len() + self.others.len(), self.oldest_ms(), self.newest_ms())
    }

    fn has_between(&self, from_ms: i64, to_ms: i64) -> bool {
        !self.is_empty() && self.oldest_ms() <= to_ms && self.newest_ms() >= from_ms
    }

    /// Takes a sample later than all others; answers by how many bytes it grew.
    fn append(&mut self, sample: Sample) -> usize {
        match sample.value {
            Value::Float(value) => {
                let before = self.open.bytes();
                self.open.append(sample.at_ms, value);
                self.open.bytes() - before
            }
            Value::Histogram(_) => {
                let bytes = weight(&sample);
                self.others.push(sample);
                bytes
            }
        }
    }

    /// Takes a sample of any time that has none yet; answers by how many bytes it grew.
    fn insert(&mut self, sample: Sample) -> usize {
        let bytes = weight(&sample);
        let at = self.others.partition_point(|other| other.at_ms < sample.at_ms);
        self.others.insert(at, sample);
        bytes
    }

    /// What there is at a time.
    fn at(&self, at_ms: i64) -> Option<Value> {
        if let Ok(at) = self.others.binary_search_by_key(&at_ms, |sample| sample.at_ms) {
            return Some(self.others[at].value.clone());
        }
        match self.open.last() {
            None => None,
            Some((last_ms, _)) if last_ms < at_ms => None,
            Some((last_ms, bits)) if last_ms == at_ms => Some(Value::Float(f64::from_bits(bits))),
            Some(_) => {
                let mut found = None;
                self.open.each(|time, value| {
                    if time == at_ms {
                        found = Some(Value::Float(value));
                    }
                    time < at_ms
                });
                found
            }
        }
    }

    fn newest_ms(&self) -> i64 {
        let open = self.open.last().map_or(i64::MIN, |(last_ms, _)| last_ms);
        open.max(self.others.last().map_or(i64::MIN, |sample| sample.at_ms))
    }

    fn oldest_ms(&self) -> i64 {
        let mut oldest_ms = self.others.first().map_or(i64::MAX, |sample| sample.at_ms);
        self.open.each(|time, _| {
            oldest_ms = oldest_ms.min(time);
            false
        });
        oldest_ms
    }

    /// Adds its samples in a time, both ends included; what came late, behind the others.
    fn columns(&self, from_ms: i64, to_ms: i64, samples: &mut Samples) {
        if self.open.last().is_some_and(|(last_ms, _)| last_ms >= from_ms) {
            samples.floats.times.reserve(self.open.len());
            samples.floats.values.reserve(self.open.len());
            self.open.each(|at_ms, value| {
                if (from_ms..=to_ms).contains(&at_ms) {
                    samples.floats.push(at_ms, value);
                }
                at_ms < to_ms
            });
        }
        let within = self.others.iter().filter(|sample| (from_ms..=to_ms).contains(&sample.at_ms));
        within.for_each(|sample| samples.push(sample.clone()));
    }

    /// Adds its samples in a time, both ends included; sorted by time where nothing came late.
    pub(crate) fn read(&self, from_ms: i64, to_ms: i64, samples: &mut Vec<Sample>) {
        let begin = samples.len();
        if self.open.last().is_some_and(|(last_ms, _)| last_ms >= from_ms) {
            self.open.each(|at_ms, value| {
                if (from_ms..=to_ms).contains(&at_ms) {
                    samples.push(Sample { at_ms, value: Value::Float(value) });
                }
                at_ms < to_ms
            });
        }
        if !self.others.is_empty() {
            let within = self.others.iter().filter(|sample| (from_ms..=to_ms).contains(&sample.at_ms));
            samples.extend(within.cloned());
            samples[begin..].sort_by_key(|sample| sample.at_ms);
        }
    }
}

/// Bytes that a sample takes that is not packed.
fn weight(sample: &Sample) -> usize {
    let beside = match &sample.value {
        Value::Float(_) => 0,
        Value::Histogram(histogram) => histogram_weight(histogram),
    };
    size_of::<Sample>() + beside
}

fn histogram_weight(histogram: &Histogram) -> usize {
    let buckets = [&histogram.positive, &histogram.negative];
    let buckets: usize = buckets.iter().map(|b| b.spans.len() * 8 + b.counts.len() * 8).sum();
    size_of::<Histogram>() + buckets
}
