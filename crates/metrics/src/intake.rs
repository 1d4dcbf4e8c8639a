//! The way in: a batch's series are looked up, or made within the limits, on the sender's thread; the committer does the
//! rest.
//!
//! In: a [`Batch`] and who sends it. Out: a [`Pending`] that resolves when the disk has it. What depends on the clock is
//! judged here, before the log: what the log holds is judged the same way whenever it is read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use promql::{Labels, Sample, Value};

use crate::admission::{Admission, Pending, Refusal, SourceName, Ticket};
use crate::batch::{Batch, Exemplar, Metadata};
use crate::codec::BUCKETS_MAX;
use crate::config::Limits;
use crate::head::{Series, SourceState, labels_hash};
use crate::lock;
use crate::shared::Shared;

/// How long a sender is asked to wait when too much is under way: a few group commits.
const OVERLOADED_RETRY: Duration = Duration::from_millis(200);

/// How long a sender is asked to wait when blocks are not written fast enough: about what one takes.
const BACKLOG_RETRY: Duration = Duration::from_secs(2);

/// A batch on its way to the disk.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Arc<SourceState>,
    pub(crate) series: Vec<(Arc<Series>, Vec<Sample>)>,
    pub(crate) exemplars: Vec<(Labels, Exemplar)>,
    pub(crate) metadata: Vec<(String, Metadata)>,
    /// What is known of it so far.
    pub(crate) admission: Admission,
    /// Bytes by which it counts among what waits.
    pub(crate) weight: u64,
    pub(crate) ticket: Arc<Ticket>,
}

impl Drop for Job {
    /// Nobody waits for ever: whoever was not told how it went by now is refused.
    fn drop(&mut self) {
        self.ticket.end(Err(Refusal::Closing));
    }
}

/// Takes a batch in.
pub(crate) fn submit(shared: &Shared, source: &SourceName, batch: Batch) -> Result<Pending, Refusal> {
    let head_bytes = shared.head_bytes.load(Ordering::Relaxed);
    if head_bytes >= 2 * shared.config.head_bytes {
        shared.counters.backlogged.add(1);
        let because = lock(&shared.flush_failure).clone();
        return Err(Refusal::Backlog { bytes: head_bytes, because, retry_after: BACKLOG_RETRY });
    }
    let source = source_state(shared, source)?;
    let weight = weight(&batch);
    // One batch alone is taken however large it is: else it could never be.
    let waiting = shared.waiting.fetch_add(weight, Ordering::Relaxed);
    if waiting > 0 && waiting + weight > shared.config.waiting_bytes_max {
        shared.waiting.fetch_sub(weight, Ordering::Relaxed);
        shared.counters.overloaded.add(1);
        return Err(Refusal::Overloaded { retry_after: OVERLOADED_RETRY });
    }
    let mut admission = Admission::default();
    let series = resolve(shared, &source, batch.series, &mut admission);
    let mut exemplars = batch.exemplars;
    let before = exemplars.len();
    exemplars.retain(|(series, exemplar)| {
        malformed(&shared.config.limits, series).is_none()
            && (exemplar.labels.is_empty() || malformed(&shared.config.limits, &exemplar.labels).is_none())
    });
    admission.refused_exemplars = (before - exemplars.len()) as u64;
    shared.counters.exemplars_refused.add(admission.refused_exemplars);
    let ticket = Arc::new(Ticket::default());
    let pending = Pending(Arc::clone(&ticket));
    let metadata = batch.metadata;
    let job = Job { source, series, exemplars, metadata, admission, weight, ticket };
    shared.queue(job).map_err(|job| {
        shared.waiting.fetch_sub(job.weight, Ordering::Relaxed);
        Refusal::Closing
    })?;
    Ok(pending)
}

fn source_state(shared: &Shared, name: &SourceName) -> Result<Arc<SourceState>, Refusal> {
    {
        let sources = shared.sources.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get(name) {
            return Ok(Arc::clone(source));
        }
    }
    let mut sources = shared.sources.write().unwrap_or_else(PoisonError::into_inner);
    let limit = shared.config.limits.sources_max;
    if sources.len() >= limit && !sources.contains_key(name) {
        return Err(Refusal::TooManySources { limit });
    }
    let source = sources.entry(name.clone()).or_insert_with(|| Arc::new(SourceState::new(name.clone())));
    Ok(Arc::clone(source))
}

/// About what a batch takes in memory while it waits.
fn weight(batch: &Batch) -> u64 {
    const SERIES: usize = 64;
    let samples: usize = batch.series.iter().map(|(_, samples)| samples.len()).sum();
    let rest = batch.exemplars.len() + batch.metadata.len();
    (samples * size_of::<Sample>() + (batch.series.len() + rest) * SERIES) as u64
}

/// Leaves out what is not taken, and finds or makes the series of the rest.
fn resolve(
    shared: &Shared,
    source: &Arc<SourceState>,
    batch: Vec<(Labels, Vec<Sample>)>,
    admission: &mut Admission,
) -> Vec<(Arc<Series>, Vec<Sample>)> {
    let bounds = Bounds::of(shared);
    let mut resolved = Vec::with_capacity(batch.len());
    let mut unknown = Vec::new();
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    for (labels, mut samples) in batch {
        bounds.hold(&labels, &mut samples, admission);
        if samples.is_empty() {
            continue;
        }
        let hash = labels_hash(&labels);
        match index.get(hash, &labels) {
            Some(series) => resolved.push((Arc::clone(series), samples)),
            None => unknown.push((hash, labels, samples)),
        }
    }
    drop(index);
    if unknown.is_empty() {
        return resolved;
    }
    let limits = &shared.config.limits;
    let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
    for (hash, labels, samples) in unknown {
        if let Some(series) = index.get(hash, &labels) {
            resolved.push((Arc::clone(series), samples));
            continue;
        }
        let count = samples.len() as u64;
        if let Some(why) = malformed(limits, &labels) {
            admission.refused.malformed += count;
            admission.count_histograms(&samples);
            admission.because(|| why);
            continue;
        }
        let own = source.series.load(Ordering::Relaxed);
        if own >= limits.source_series_max || index.len() as u64 >= limits.series_max {
            admission.refused.over_limit += count;
            admission.count_histograms(&samples);
            source.over_limit.add(count);
            admission.because(|| {
                let (who, limit) = if own >= limits.source_series_max {
                    (format!("source {}", source.name), limits.source_series_max)
                } else {
                    ("the store".to_owned(), limits.series_max)
                };
                format!("{labels:?}: {who} has {limit} active series already; raise the limit, or send fewer")
            });
            continue;
        }
        resolved.push((index.add(hash, &labels, source), samples));
    }
    resolved
}

/// Between which times samples are taken.
struct Bounds {
    oldest_ms: i64,
    newest_ms: i64,
}

impl Bounds {
    fn of(shared: &Shared) -> Self {
        let now_ms = shared.now_ms();
        Self {
            oldest_ms: now_ms.saturating_sub(millis(shared.config.raw.age)),
            newest_ms: now_ms.saturating_add(millis(shared.config.ahead)),
        }
    }

    fn hold(&self, labels: &Labels, samples: &mut Vec<Sample>, admission: &mut Admission) {
        let taken = |sample: &Sample| {
            (self.oldest_ms..=self.newest_ms).contains(&sample.at_ms) && has_few_buckets(&sample.value)
        };
        if samples.iter().all(taken) {
            return;
        }
        samples.retain(|sample| {
            if taken(sample) {
                return true;
            }
            admission.count_histograms(std::slice::from_ref(sample));
            let (oldest_ms, newest_ms) = (self.oldest_ms, self.newest_ms);
            let at_ms = sample.at_ms;
            if at_ms < oldest_ms {
                admission.refused.too_old += 1;
                admission.because(|| {
                    format!("{labels:?}: the sample of {at_ms} is older than what is kept ({oldest_ms})")
                });
            } else if at_ms > newest_ms {
                admission.refused.ahead += 1;
                admission.because(|| {
                    format!("{labels:?}: the sample of {at_ms} is too far ahead of our clock (at most {newest_ms})")
                });
            } else {
                admission.refused.malformed += 1;
                admission.because(|| {
                    format!("{labels:?}: the histogram of {at_ms} has more than {BUCKETS_MAX} buckets or spans")
                });
            }
            false
        });
    }
}

/// A time as milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn has_few_buckets(value: &Value) -> bool {
    match value {
        Value::Float(_) => true,
        Value::Histogram(histogram) => {
            let buckets = [&histogram.positive, &histogram.negative];
            let few = |len: usize| len <= BUCKETS_MAX;
            buckets.iter().all(|buckets| few(buckets.counts.len()) && few(buckets.spans.len()))
                && few(histogram.custom_values.len())
        }
    }
}

/// What is wrong with labels.
fn malformed(limits: &Limits, labels: &Labels) -> Option<String> {
    if labels.is_empty() {
        return Some("a series without labels; it needs a name at least".to_owned());
    }
    if labels.len() > limits.labels_max {
        return Some(format!("{labels:?}: {} labels; at most {} are taken", labels.len(), limits.labels_max));
    }
    let too_long = |(name, value): (&str, &str)| {
        if name.len() > limits.name_bytes_max {
            let most = limits.name_bytes_max;
            Some(format!("a label's name has {} bytes; at most {most} are taken: {name:.40}…", name.len()))
        } else if value.len() > limits.value_bytes_max {
            let most = limits.value_bytes_max;
            Some(format!("the value of label {name:?} has {} bytes; at most {most} are taken", value.len()))
        } else {
            None
        }
    };
    labels.iter().find_map(too_long)
}
