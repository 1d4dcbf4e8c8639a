//! Objectives, evaluated every second from exact counts.
//!
//! ```text
//! spans (telemetry)  link seconds (keeper)  own repairs (store)  own answers (gateway)  counters (metrics)
//!        └──────────────────┴──────── events of a minute, good and all ──┴──────────────────┘
//!                                              │
//!                            slo::Tracker, one an objective ──► Snapshot.objectives, the API
//! ```
//!
//! In: objectives, and where events are counted. Out: how each stands, once a second; alerts as part of that.
//!
//! # Which events
//!
//! - *Spans* are counted by the store of spans as they are committed, each by its own duration; see [`telemetry::Watched`].
//! - An objective of server spans of which none ever came is counted from the keeper's links instead, those to its service
//!   or all: latencies are then known in buckets of 9 %, and what may have taken longer than the limit counts as bad. With
//!   the first span that matches it goes over to spans for good; what ended before is the links', what ended since the
//!   spans', so that nothing counts twice.
//! - *Requests* are those of the keeper's links, by the second they ended in, those an open breaker turned away among the
//!   bad.
//! - *Remediations* count when they have an outcome: healed and mitigated are good.
//! - *Gateway*: our own answers; those of the last seconds before a kill are lost with the process.
//! - *PromQL*: as the module `series` says.
//!
//! # What is measured
//!
//! A second of the links is, requests or not, as long as the keeper answers. Spans prove only what they tell: a minute
//! without any is not covered. The same goes for minutes in which Homeostat did not run, where its sources did not keep them.
//!
//! Deliberately absent: files (the binary's), budgets and alerts (crate `slo`), and what is done about a burning one.

mod keep;
mod links;
mod one;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{ObjectiveSource, OutcomeKind, ServiceName, SloAlert, Time};
use metrics::Metrics;
use provider::sample::Sample;
use slo::{BurnRate, Counts, Forecast, Indicator, Objective, Promql, Standing};
use store::{ObjectiveSave, Store};
use telemetry::Telemetry;

use keep::{Keeping, LinkPosition};
use one::{Followed, Source};
use series::Counters;

/// Between two saves: what is counted again after a crash is at most this old where its source keeps it.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// So many objectives more make that a second longer, since each has a block to be written.
const OBJECTIVES_A_SECOND: usize = 200;

/// Series are asked once in so many seconds, a share of the objectives in each.
const SERIES_EVERY: u64 = 5;

/// What our own gateway answered since the process began; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Answers(Arc<[AtomicU64; 2]>);

impl Answers {
    /// Counts an answer.
    pub fn count(&self, failed: bool) {
        self.0[0].fetch_add(1, Ordering::Relaxed);
        self.0[1].fetch_add(u64::from(failed), Ordering::Relaxed);
    }

    /// All, and how many of them failed; taken in an order that never tells more failed than there were.
    fn totals(&self) -> (u64, u64) {
        let failed = self.0[1].load(Ordering::Relaxed);
        (self.0[0].load(Ordering::Relaxed), failed)
    }
}

/// Where events come from.
pub struct Sources {
    /// Repairs, and where counts are kept.
    pub store: Store,
    /// Spans; `None` where none are received.
    pub spans: Option<Telemetry>,
    /// Series; `None` where none are stored.
    pub metrics: Option<Metrics>,
    /// Our own answers.
    pub answers: Answers,
}

/// Why objectives cannot be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum ObjectivesError {
    /// State cannot be read or written.
    #[error("cannot read or write what objectives counted")]
    Store(#[from] store::StoreError),
    /// The spans that were not counted yet cannot be read.
    #[error("cannot read the spans that objectives have not counted yet")]
    Spans(#[source] std::io::Error),
}

/// How one objective stands, in full.
#[derive(Debug, Clone)]
pub struct Detail {
    /// What is promised.
    pub objective: Arc<Objective>,
    /// How it stands; `None` before the first evaluation.
    pub standing: Option<Standing>,
    /// How fast its budget burns by window.
    pub burn_rates: Vec<BurnRate>,
    /// The alerts that fire.
    pub firing: Vec<SloAlert>,
    /// Where its events are counted, in words.
    pub counted_from: &'static str,
}

/// Every objective with its counts. One for each control plane.
pub struct Objectives {
    sources: Sources,
    inner: Mutex<Inner>,
    published: Mutex<domain::Objectives>,
}

struct Inner {
    followed: Vec<Followed>,
    keeping: Keeping,
    /// The last second of the links that was counted.
    links: Option<LinkPosition>,
    boot: String,
    services: Vec<ServiceName>,
    answers: (u64, u64),
    /// Changes of the store when remediations were last asked for.
    changes: Option<u64>,
    rounds: u64,
}

impl Objectives {
    /// Takes up what was counted before, and begins to count. `boot` names the boot the clock counts from. Says in
    /// sentences what could not be taken up.
    ///
    /// # Errors
    ///
    /// [`ObjectivesError`].
    pub fn open(
        objectives: Vec<Objective>,
        sources: Sources,
        boot: String,
        now: Time,
    ) -> Result<(Self, Vec<String>), ObjectivesError> {
        let (followed, mut said) = keep::take_up(objectives, &sources, now)?;
        let positions = keep::Positions::read(&sources.store)?;
        let mut inner = Inner {
            followed,
            keeping: Keeping::new(now),
            links: positions.links.filter(|position| position.boot == boot),
            boot,
            services: Vec::new(),
            answers: sources.answers.totals(),
            changes: None,
            rounds: 0,
        };
        if let Some(spans) = &sources.spans {
            let watched = inner.followed.iter().filter_map(|one| one.watched.clone()).collect();
            let caught = spans.tally(watched, positions.spans).map_err(ObjectivesError::Spans)?;
            if caught.incomplete {
                said.push("some spans were compacted before objectives had counted them".to_owned());
            }
        }
        inner.number_watches();
        let objectives = Self { sources, inner: Mutex::new(inner), published: Mutex::default() };
        objectives.tick(now);
        Ok((objectives, said))
    }

    /// Counts the seconds of the links that were not counted yet.
    pub fn links(&self, sample: &Sample) {
        self.lock().count_links(sample);
    }

    /// Counts what came since, evaluates every objective, and keeps both every few seconds. Once a second.
    ///
    /// Answers what could not be kept or read, in sentences; it is tried again.
    pub fn tick(&self, now: Time) -> Vec<String> {
        let mut troubles = self.count_series(now);
        let save = {
            let mut inner = self.lock();
            inner.count_spans(&self.sources, now);
            inner.count_answers(&self.sources.answers, now);
            if let Err(error) = inner.count_remediations(&self.sources.store) {
                troubles.push(format!("objectives cannot count repairs: {error}"));
            }
            let states: BTreeMap<_, _> =
                inner.followed.iter_mut().map(|one| (one.id().to_owned(), one.evaluate(now))).collect();
            *self.published.lock().unwrap_or_else(PoisonError::into_inner) = states.into();
            let pause = SAVE_EVERY + Duration::from_secs((inner.followed.len() / OBJECTIVES_A_SECOND) as u64);
            inner.keeping.due(now, pause).then(|| inner.take_changes(now))
        };
        if let Some(Err(error)) = save.map(|save| self.save(&save)) {
            troubles.push(format!("what objectives counted cannot be kept: {error}"));
        }
        troubles
    }

    /// Writes what changed. Nobody waits for the disk meanwhile: what is counted while it is written is written next.
    fn save(&self, save: &ObjectiveSave) -> store::Result<()> {
        let saved = self.sources.store.save_objectives(save);
        let mut inner = self.lock();
        let Inner { followed, keeping, .. } = &mut *inner;
        keeping.saved(save, saved.is_ok(), followed);
        saved
    }

    /// Asks the stored series of some of the objectives. Nobody waits for the answers.
    fn count_series(&self, now: Time) -> Vec<String> {
        let Some(metrics) = &self.sources.metrics else { return Vec::new() };
        let asked = self.lock().series_to_ask();
        let mut troubles = Vec::new();
        for (at, promql, mut counters) in asked {
            let measured = counters.measure(&promql, metrics, now);
            let mut inner = self.lock();
            let one = &mut inner.followed[at];
            match measured {
                Ok(counts) => {
                    one.counters = counters;
                    counts.into_iter().for_each(|(second, counts)| one.count(second, counts, None));
                }
                Err(why) => troubles.push(format!("objective {} cannot be measured: {why}", one.id())),
            }
        }
        troubles
    }

    /// Counts and keeps what came until now.
    ///
    /// # Errors
    ///
    /// The store's; what was not kept is counted again by the next start, as far as its source keeps it.
    pub fn close(&self, now: Time) -> Result<(), ObjectivesError> {
        let save = {
            let mut inner = self.lock();
            inner.count_spans(&self.sources, now);
            inner.count_answers(&self.sources.answers, now);
            inner.count_remediations(&self.sources.store)?;
            inner.take_changes(now)
        };
        Ok(self.save(&save)?)
    }

    /// How every objective stands, as of the last evaluation, by id.
    pub fn details(&self) -> Vec<Detail> {
        let mut all: Vec<Detail> = self.lock().followed.iter().map(Followed::detail).collect();
        all.sort_by(|a, b| a.objective.id.cmp(&b.objective.id));
        all
    }

    /// How one stands; `None` where there is none of that id.
    pub fn detail(&self, id: &str) -> Option<Detail> {
        self.lock().followed.iter().find(|one| one.id() == id).map(Followed::detail)
    }

    /// When an objective's budget will be used up if what comes is as lately. Reads every count of its period.
    pub fn forecast(&self, id: &str) -> Option<Forecast> {
        self.lock().followed.iter().find(|one| one.id() == id).map(|one| one.tracker.forecast())
    }

    /// What was counted in a range of minutes since 1970-01-01 UTC, by the first minute of each measured minute or slice;
    /// `None` where there is no such objective.
    pub fn counts(&self, id: &str, minutes: Range<i64>) -> Option<Vec<(i64, Counts)>> {
        self.lock().followed.iter().find(|one| one.id() == id).map(|one| one.tracker.counts(minutes))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectiveSource for Objectives {
    fn objectives(&self) -> domain::Objectives {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inner {
    /// Gives each objective of spans the number under which its spans are told.
    fn number_watches(&mut self) {
        let watching = self.followed.iter_mut().filter(|one| one.watched.is_some());
        watching.enumerate().for_each(|(number, one)| one.watch = Some(number));
    }

    fn count_spans(&mut self, sources: &Sources, now: Time) {
        let Some(spans) = &sources.spans else { return };
        let (told, place) = spans.take_tally();
        self.keeping.spans = Some(place);
        let by_watch: BTreeMap<usize, usize> =
            self.followed.iter().enumerate().filter_map(|(at, one)| Some((one.watch?, at))).collect();
        for tallied in told {
            if let Some(at) = by_watch.get(&tallied.watch) {
                self.followed[*at].take_spans(&tallied, now, &self.services);
            }
        }
    }

    fn count_answers(&mut self, answers: &Answers, now: Time) {
        let (total, failed) = answers.totals();
        let counts = Counts::of_bad(failed - self.answers.1, total - self.answers.0);
        self.answers = (total, failed);
        let second = now.wall_us.div_euclid(1_000_000);
        for one in self.followed.iter_mut().filter(|one| one.source == Source::Gateway) {
            one.count(second, counts, None);
        }
    }

    fn count_remediations(&mut self, store: &Store) -> store::Result<()> {
        let changes = store.changes();
        if self.changes == Some(changes) {
            return Ok(());
        }
        let waiting = &self.keeping.remediations;
        let ended = store.remediations_to_count()?;
        let fresh: Vec<_> = ended.into_iter().filter(|one| !waiting.contains(&one.plan)).collect();
        for ended in fresh {
            let good = matches!(ended.outcome, OutcomeKind::Healed | OutcomeKind::Mitigated);
            self.keeping.remediations.push(ended.plan);
            // Nothing was tried, or what was tried was not needed.
            if matches!(ended.outcome, OutcomeKind::Refused | OutcomeKind::SelfRecovered) {
                continue;
            }
            let second = ended.decided_at.wall_us.div_euclid(1_000_000);
            for one in self.followed.iter_mut().filter(|one| one.source == Source::Remediations) {
                one.count(second, Counts::of_bad(u64::from(!good), 1), None);
            }
        }
        self.changes = Some(changes);
        Ok(())
    }

    /// The objectives of series whose turn it is.
    fn series_to_ask(&mut self) -> Vec<(usize, Promql, Counters)> {
        self.rounds += 1;
        let share = (self.rounds % SERIES_EVERY) as usize;
        let due = self.followed.iter().enumerate().skip(share).step_by(SERIES_EVERY as usize);
        due.filter_map(|(at, one)| match &one.objective.indicator {
            Indicator::Promql(promql) => Some((at, promql.clone(), one.counters.clone())),
            Indicator::Exact(_) => None,
        })
        .collect()
    }

    fn count_links(&mut self, sample: &Sample) {
        let now = sample.taken;
        self.services = sample.services.keys().cloned().collect();
        let end = now.boot_us / 1_000_000;
        // The keeper keeps a minute; what is older was not measured.
        let kept = end.saturating_sub(60);
        let from = self.links.as_ref().map_or(kept, |position| (position.second + 1).max(kept));
        // Wall seconds less boot seconds: where a boot second is on the wall clock as it is set now.
        let offset = now.wall_us.div_euclid(1_000_000) - end as i64;
        for one in &mut self.followed {
            one.count_links(&sample.links, from..end, offset);
            one.settle(&self.services);
        }
        if end > from {
            self.links = Some(LinkPosition { boot: self.boot.clone(), second: end - 1 });
        }
    }

    fn take_changes(&mut self, now: Time) -> ObjectiveSave {
        self.keeping.collect(&mut self.followed, self.links.as_ref(), now)
    }
}
