//! When each target is due, and one scrape of it.
//!
//! In: the targets as they are set. Out: for each turn a batch to the sink, with `up` and what else is told of a scrape, and
//! the state that is shown of the target. A target that is removed gets one last turn, which ends its series.
//! Deliberately absent: threads; the pool around it takes what is due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{Clock, Time};
use outbound::Trust;
use promql::{Labels, Sample, Value};

use super::fetch::{Failed, fetch};
use super::target::{Health, Target, TargetError, TargetState, labels};
use crate::wire::text::{Format, TargetDecoder};
use crate::wire::{Decoded, Limits, STALE_BITS};
use crate::{Batch, MetricSink, Refusal, wait};

/// A target under way.
#[derive(Debug)]
pub(super) struct Entry {
    target: Target,
    labels: BTreeMap<String, String>,
    /// `scrape/` and its job.
    source: String,
    work: Mutex<Work>,
    state: Mutex<Last>,
    /// It is a target no more: the next turn is its last.
    removed: AtomicBool,
}

#[derive(Debug)]
struct Work {
    decoder: TargetDecoder,
    /// Where certificates are believed that a file names: made with the first page, and again after one that was not.
    agent: Option<ureq::Agent>,
    up: Labels,
    duration: Labels,
    samples: Labels,
    /// Something of it was told: it has to end.
    told: bool,
}

/// What came of the last scrape.
#[derive(Debug, Clone, Default)]
struct Last {
    health: Health,
    error: Option<String>,
    asked_ms: Option<i64>,
    took: Duration,
    samples: usize,
}

/// Targets by the times they are due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    entries: HashMap<u64, Arc<Entry>>,
    /// Of the entry that comes next.
    id: u64,
    /// When an entry that is under way was due.
    under_way: HashMap<u64, Instant>,
    over: bool,
}

impl Schedule {
    /// Goes on with the entries that are among these, begins the others, and ends those that are not.
    pub(super) fn set(&mut self, entries: Vec<Entry>, now: (Instant, Time)) {
        let mut gone: HashMap<u64, Arc<Entry>> = self
            .entries
            .iter()
            .filter(|(_, entry)| !entry.is_removed())
            .map(|(id, entry)| (*id, Arc::clone(entry)))
            .collect();
        for entry in entries {
            let known = gone.iter().find(|(_, known)| known.target == entry.target).map(|(id, _)| *id);
            match known {
                Some(id) => drop(gone.remove(&id)),
                None => {
                    self.id += 1;
                    self.due.push(Reverse((now.0 + entry.first_wait(now.1), self.id)));
                    self.entries.insert(self.id, Arc::new(entry));
                }
            }
        }
        for (id, entry) in gone {
            entry.removed.store(true, Ordering::Release);
            // One that is under way ends when it is done.
            if !self.under_way.contains_key(&id) {
                self.due.push(Reverse((now.0, id)));
            }
        }
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<Entry>> {
        while let Some(&Reverse((due, id))) = self.due.peek() {
            if due > now {
                return None;
            }
            self.due.pop();
            // One that was removed had another time before, or is gone already.
            if let Some(entry) = self.entries.get(&id)
                && !self.under_way.contains_key(&id)
            {
                self.under_way.insert(id, due);
                return Some(Arc::clone(entry));
            }
        }
        None
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Puts an entry back that was under way, or ends it.
    pub(super) fn done(&mut self, entry: Arc<Entry>, now: Instant) {
        let Some(id) = self.entries.iter().find(|(_, known)| Arc::ptr_eq(known, &entry)).map(|(id, _)| *id)
        else {
            return;
        };
        let due = self.under_way.remove(&id).unwrap_or(now);
        if entry.ended() {
            self.entries.remove(&id);
            return;
        }
        if entry.is_removed() {
            self.due.push(Reverse((now, id)));
            return;
        }
        let interval = entry.target.interval;
        let mut next = due + interval;
        if next <= now {
            // Times that passed are left out, and the place within the interval is kept.
            let late = now.duration_since(due).as_nanos() / interval.as_nanos().max(1);
            let skipped = u32::try_from(late).unwrap_or(u32::MAX).saturating_add(1);
            next = interval
                .checked_mul(skipped)
                .and_then(|after| due.checked_add(after))
                .unwrap_or(now + interval);
        }
        self.due.push(Reverse((next, id)));
    }

    pub(super) fn states(&self) -> Vec<TargetState> {
        let here = self.entries.values().filter(|entry| !entry.is_removed());
        let mut states: Vec<TargetState> = here.map(|entry| entry.state()).collect();
        states.sort_by(|one, other| {
            (&one.target.job, &one.target.url, &one.labels).cmp(&(
                &other.target.job,
                &other.target.url,
                &other.labels,
            ))
        });
        states
    }

    pub(super) fn stop(&mut self) {
        self.over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

impl Entry {
    /// An entry for a target.
    pub(super) fn new(target: Target, limits: &Limits) -> Result<Self, TargetError> {
        let labels = labels(&target)?;
        let limits = Limits { samples: target.samples_max, message_bytes: target.page_bytes_max, ..*limits };
        let pairs = labels.iter().map(|(name, value)| (&**name, &**value));
        let decoder = TargetDecoder::new(limits, pairs, target.honor_labels);
        let own = |name| decoder.own(name);
        let (up, duration) = (own("up"), own("scrape_duration_seconds"));
        let samples = own("scrape_samples_scraped");
        Ok(Self {
            source: format!("scrape/{}", target.job),
            work: Mutex::new(Work { decoder, agent: None, up, duration, samples, told: false }),
            state: Mutex::default(),
            removed: AtomicBool::new(false),
            target,
            labels,
        })
    }

    pub(super) fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    pub(super) fn url(&self) -> &str {
        &self.target.url
    }

    fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Whether its series have ended after it was removed.
    fn ended(&self) -> bool {
        self.is_removed() && lock(&self.state).health == Health::Unknown
    }

    fn state(&self) -> TargetState {
        let Last { health, error, asked_ms, took, samples } = lock(&self.state).clone();
        TargetState {
            target: self.target.clone(),
            labels: self.labels.clone(),
            health,
            error,
            asked_ms,
            took,
            samples,
        }
    }

    /// How long it waits for its first turn: its place within the interval is made of what it is, and counted from the
    /// wall clock, so that it is the same after a restart.
    fn first_wait(&self, now: Time) -> Duration {
        let mut hasher = DefaultHasher::new();
        (&self.labels, &self.target.url).hash(&mut hasher);
        let interval = u64::try_from(self.target.interval.as_micros()).unwrap_or(u64::MAX).max(1);
        let place = hasher.finish() % interval;
        let phase = now.wall_us.rem_euclid(i64::try_from(interval).unwrap_or(i64::MAX)) as u64;
        Duration::from_micros((place + interval - phase) % interval)
    }

    /// One turn: asks, decodes, tells of it; or, where it was removed, ends all its series.
    pub(super) fn scrape(&self, agent: &ureq::Agent, sink: &dyn MetricSink, clock: &dyn Clock) {
        let mut work = lock(&self.work);
        let asked = clock.now();
        let at_ms = asked.wall_us.div_euclid(1000);
        if self.is_removed() {
            let batch = work.end(at_ms);
            // It is gone: there is nobody to tell that its end was not stored.
            let _ = wait(sink.append(&self.source, batch));
            *lock(&self.state) = Last::default();
            return;
        }
        let page = work.page(agent, &self.target);
        let decoded = page.and_then(|(format, page)| Ok(work.decoder.decode(format, &page, at_ms)?));
        let took = clock.now().since(asked);
        let mut last = Last { asked_ms: Some(at_ms), took, ..Last::default() };
        let batch = work.report(decoded, at_ms, &mut last);
        drop(work);
        match wait(sink.append(&self.source, batch)) {
            Ok(appended) => last.complain(appended.reason),
            Err(refused) => last.complain(Some(not_stored(&refused))),
        }
        *lock(&self.state) = last;
    }
}

fn not_stored(refused: &Refusal) -> String {
    format!("the page was not stored: {refused}")
}

impl Last {
    /// Keeps the first complaint: what was wrong with the page comes before what became of it.
    fn complain(&mut self, complaint: Option<String>) {
        if self.error.is_none() {
            self.error = complaint;
        }
    }
}

impl Work {
    /// The page of the target; `agent` believes the authorities of this machine.
    fn page(&mut self, agent: &ureq::Agent, target: &Target) -> Result<(Format, Vec<u8>), Failed> {
        if target.peer.trust == Trust::Authorities {
            return fetch(agent, target);
        }
        let own = match self.agent.take() {
            Some(own) => own,
            None => super::fetch::agent(target.peer.trust.config()?),
        };
        let page = fetch(&own, target);
        if !matches!(&page, Err(failed) if failed.is_untrusted()) {
            self.agent = Some(own);
        }
        page
    }

    /// A page with what is told of it, or the end of what stood in the one before.
    fn report(&mut self, decoded: Result<Decoded, Failed>, at_ms: i64, last: &mut Last) -> Batch {
        let mut batch = match decoded {
            Ok(Decoded { batch, left, .. }) => {
                last.health = Health::Up;
                last.samples = batch
                    .series
                    .iter()
                    .flat_map(|(_, samples)| samples)
                    .filter(|sample| !is_stale(sample))
                    .count();
                last.complain((!left.is_empty()).then(|| left.to_string()));
                batch
            }
            Err(failed) => {
                last.health = Health::Down;
                last.complain(Some(failed.to_string()));
                self.decoder.down(at_ms)
            }
        };
        self.told = true;
        let up = if last.health == Health::Up { 1.0 } else { 0.0 };
        for (labels, value) in
            [(&self.up, up), (&self.duration, last.took.as_secs_f64()), (&self.samples, last.samples as f64)]
        {
            batch.series.push((labels.clone(), vec![Sample { at_ms, value: Value::Float(value) }]));
        }
        batch
    }

    /// The end of all series, of those about the target too.
    fn end(&mut self, at_ms: i64) -> Batch {
        let mut batch = self.decoder.down(at_ms);
        if self.told {
            let stale = || Sample { at_ms, value: Value::Float(f64::from_bits(STALE_BITS)) };
            let own = [&self.up, &self.duration, &self.samples].into_iter().cloned();
            batch.series.extend(own.map(|labels| (labels, vec![stale()])));
        }
        batch
    }
}

fn is_stale(sample: &Sample) -> bool {
    matches!(sample.value, Value::Float(value) if value.to_bits() == STALE_BITS)
}

/// What is behind these locks is complete before something can panic, or is begun anew with the next page.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
