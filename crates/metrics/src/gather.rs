//! The series that match, wherever their samples are: in the head and in parts. They are found first, and then read one
//! after the other, each from all its places, by as many threads as there are processors.
//!
//! The head is looked at first, then the list of parts: what goes from one to the other meanwhile is seen twice, never not
//! at all. What the head has is kept as it is packed until its series is read.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::{Labels, Samples, SourceError};

use crate::bytes::Damaged;
use crate::catalogue::Live;
use crate::head::Snapshot;
use crate::lock;
use crate::matching::{Condition, find};
use crate::part::{Between, Chunk, Columns, Part, PartError, PartIndex, Strings};
use crate::shared::Shared;
use crate::tier::Tier;

/// Series that one thread takes at a time.
const TASK_SERIES: usize = 32;

/// Threads of one query at most: it is not alone.
const THREADS_MAX: usize = 8;

/// A time, and the tier that answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) tier: Tier,
    pub(crate) within: Between,
}

/// The tiers that answer for a time: the one that serves, and for what it no longer has the coarser ones.
pub(crate) fn pieces(live: &Live, tier: Tier, within: Between) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut to_ms = within.to_ms;
    for tier in Tier::ALL.into_iter().filter(|other| *other >= tier) {
        let from_ms = within.from_ms.max(live.floors[tier.place()].saturating_add(1));
        if from_ms <= to_ms {
            pieces.push(Piece { tier, within: Between { from_ms, to_ms } });
            to_ms = from_ms.saturating_sub(1);
        }
        if to_ms < within.from_ms {
            break;
        }
    }
    pieces
}

/// A part that is asked.
pub(crate) struct Asked {
    pub(crate) part: Arc<Part>,
    index: Arc<PartIndex>,
    within: Between,
}

/// A series that matches, and where its samples are.
pub(crate) struct Found {
    pub(crate) labels: Labels,
    /// Parts by their places among those asked, older ones first, and its number in each.
    places: Vec<(u32, u32)>,
    head: Option<Snapshot>,
}

/// The series that match.
pub(crate) struct Gathered {
    asked: Vec<Asked>,
    series: Vec<Found>,
    within: Between,
    limit: u64,
}

/// Finds the series that match. Those of parts need not have samples in the time.
pub(crate) fn gather(
    shared: &Shared,
    conditions: &[Condition],
    within: Between,
    tier: Tier,
) -> Result<Gathered, SourceError> {
    let active = active(shared, conditions);
    let heads: Vec<&[Arc<crate::head::Series>]> = active.chunks(TASK_SERIES).collect();
    let of_head = in_parallel(&heads, |series| {
        let one = |series: &Arc<crate::head::Series>| {
            let snapshot = lock(&series.state).snapshot(within.from_ms, within.to_ms)?;
            Some((series.labels.clone(), snapshot))
        };
        Ok(series.iter().filter_map(one).collect::<Vec<_>>())
    })?;
    let live = shared.catalogue.live();
    let asked = asked(shared, &live, within, tier)?;
    let mut tasks = Vec::new();
    for (place, Asked { part, index, .. }) in asked.iter().enumerate() {
        let ids = find(&**index, conditions).map_err(|Damaged| nonsense(part))?;
        tasks.extend(ids.chunks(TASK_SERIES).map(|ids| (place, ids.to_vec())));
    }
    let of_parts = in_parallel(&tasks, |(place, ids)| {
        let Asked { part, index, .. } = &asked[*place];
        let mut strings = Strings::default();
        let mut series = Vec::with_capacity(ids.len());
        for id in ids {
            let labels = index.labels(*id, &mut strings).map_err(|Damaged| nonsense(part))?;
            series.push((labels, (*place as u32, *id)));
        }
        Ok(series)
    })?;
    let mut by_labels: HashMap<Labels, usize, RandomState> = HashMap::default();
    let mut series: Vec<Found> = Vec::new();
    let mut of = |labels: Labels, series: &mut Vec<Found>| {
        *by_labels.entry(labels).or_insert_with_key(|labels| {
            series.push(Found { labels: labels.clone(), places: Vec::new(), head: None });
            series.len() - 1
        })
    };
    for (labels, place) in of_parts.into_iter().flatten() {
        let at = of(labels, &mut series);
        series[at].places.push(place);
    }
    for (labels, snapshot) in of_head.into_iter().flatten() {
        let at = of(labels, &mut series);
        series[at].head = Some(snapshot);
    }
    Ok(Gathered { asked, series, within, limit: shared.config.query_samples_max })
}

/// The parts that answer for a time, those with older samples first.
fn asked(shared: &Shared, live: &Live, within: Between, tier: Tier) -> Result<Vec<Asked>, PartError> {
    let mut asked = Vec::new();
    for Piece { tier, within } in pieces(live, tier, within) {
        for part in live.answering(tier).filter(|part| part.overlaps(within.from_ms, within.to_ms)) {
            let index = shared.catalogue.indexes.get(part)?;
            asked.push(Asked { part: Arc::clone(part), index, within });
        }
    }
    asked.sort_by_key(|asked| (asked.part.foot.min_ms, asked.part.foot.number));
    Ok(asked)
}

fn nonsense(part: &Part) -> PartError {
    part.damaged("its index makes no sense")
}

impl Gathered {
    /// Does something with each series, on as many threads as there are processors, until all are done or it is enough;
    /// answers what came of it, where something did.
    ///
    /// # Errors
    /// Where something cannot be read, or more samples are read than the limit lets.
    pub(crate) fn each<A: Send>(
        &self,
        make: impl Fn(&Found, &mut Readers<'_>) -> Result<ControlFlow<(), Option<A>>, SourceError> + Sync,
    ) -> Result<Vec<A>, SourceError> {
        let (read, enough) = (AtomicU64::new(0), AtomicBool::new(false));
        let tasks: Vec<&[Found]> = self.series.chunks(TASK_SERIES).collect();
        let made = in_parallel(&tasks, |series| {
            let mut readers = Readers::of(self, &read);
            let mut made = Vec::with_capacity(series.len());
            for found in *series {
                if enough.load(Ordering::Relaxed) {
                    break;
                }
                match make(found, &mut readers)? {
                    ControlFlow::Continue(one) => made.extend(one),
                    ControlFlow::Break(()) => enough.store(true, Ordering::Relaxed),
                }
            }
            Ok(made)
        })?;
        Ok(made.into_iter().flatten().collect())
    }
}

/// Reads series from the parts that are asked; one for each thread.
pub(crate) struct Readers<'g> {
    gathered: &'g Gathered,
    /// One for each part.
    columns: Vec<Columns<'g>>,
    read: &'g AtomicU64,
    /// What a series has, for one after the other.
    pub(crate) samples: Samples,
}

impl<'g> Readers<'g> {
    fn of(gathered: &'g Gathered, read: &'g AtomicU64) -> Self {
        let columns = gathered.asked.iter().map(|asked| Columns::of(&asked.part)).collect();
        Self { gathered, columns, read, samples: Samples::default() }
    }

    /// Shows the chunks that a series has in each part, in the order of parts, with how to read them. Those of another
    /// time are among them.
    pub(crate) fn each_part(
        &mut self,
        found: &Found,
        mut show: impl FnMut(&mut Columns<'g>, &[Chunk], Between, &mut Samples) -> Result<(), PartError>,
    ) -> Result<(), SourceError> {
        for (place, id) in &found.places {
            let Asked { part, index, within } = &self.gathered.asked[*place as usize];
            let chunks = index.chunks(*id).map_err(|Damaged| nonsense(part))?;
            show(&mut self.columns[*place as usize], &chunks, *within, &mut self.samples)?;
        }
        Ok(())
    }

    /// Adds what the head has; what came late is not where it belongs.
    pub(crate) fn head(&mut self, found: &Found) {
        let Between { from_ms, to_ms } = self.gathered.within;
        if let Some(head) = &found.head {
            head.read(from_ms, to_ms, &mut self.samples);
        }
    }

    /// Counts what was read.
    ///
    /// # Errors
    /// Where it is more than the limit lets.
    pub(crate) fn count(&self, read: u64) -> Result<(), SourceError> {
        let limit = self.gathered.limit;
        if self.read.fetch_add(read, Ordering::Relaxed).saturating_add(read) > limit {
            return Err(SourceError::TooMuch { limit });
        }
        Ok(())
    }
}

/// Answers of all tasks in their order, or the first error.
fn in_parallel<T: Sync, A: Send>(
    tasks: &[T],
    run: impl Fn(&T) -> Result<A, SourceError> + Sync,
) -> Result<Vec<A>, SourceError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(THREADS_MAX).min(tasks.len());
    if threads <= 1 {
        return tasks.iter().map(run).collect();
    }
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answers: Mutex<Vec<(usize, Result<A, SourceError>)>> = Mutex::new(Vec::with_capacity(tasks.len()));
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(at) else { break };
            let answer = run(task);
            failed.fetch_or(answer.is_err(), Ordering::Relaxed);
            lock(&answers).push((at, answer));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_unstable_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

/// Active series that match.
pub(crate) fn active(shared: &Shared, conditions: &[Condition]) -> Vec<Arc<crate::head::Series>> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let ids = find(&*index, conditions).unwrap_or_else(|never: Infallible| match never {});
    ids.into_iter().filter_map(|id| index.by_id(id).cloned()).collect()
}
