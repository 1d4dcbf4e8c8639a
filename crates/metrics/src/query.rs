//! The way out: series with their samples, from the head and from parts of the tiers that serve.
//!
//! The head is looked at first, then the list of parts: what goes from one to the other meanwhile is seen twice, never not
//! at all, and of two samples of one time one is shown. Both are decoded by as many threads as there are processors.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::{Labels, Matcher, Sample, Select, Series, SourceError, Value};

use crate::bytes::Damaged;
use crate::catalogue::Live;
use crate::lock;
use crate::matching::{Condition, find};
use crate::merge::in_order;
use crate::part::{Between, ChunkKind, Columns, Part, PartError, PartIndex, Strings};
use crate::shared::Shared;
use crate::tier::{Aggregate, Nature, Tier, Windows, nature, thin};

/// Series that one thread takes at a time.
const TASK_SERIES: usize = 32;

/// Threads of one query at most: it is not alone.
const THREADS_MAX: usize = 8;

impl From<PartError> for SourceError {
    fn from(error: PartError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A time, and the tier that answers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    tier: Tier,
    within: Between,
}

/// The tiers that answer for a time: the one that serves, and for what it no longer has the coarser ones.
fn pieces(live: &Live, tier: Tier, within: Between) -> Vec<Piece> {
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

/// What is asked of the samples that match.
trait Ask: Sync {
    /// What becomes of the samples of a series in one place.
    type Found: Send;

    /// Which chunks tell.
    fn wants(&self, kind: ChunkKind) -> bool;

    /// From a chunk of a part.
    fn read(
        &self,
        columns: &mut Columns<'_>,
        chunks: &[crate::part::Chunk],
        within: Between,
    ) -> Result<Option<Self::Found>, PartError>;

    /// From the head.
    fn of_head(&self, labels: &Labels, samples: Vec<Sample>) -> Option<Self::Found>;

    /// How many samples count against the limit.
    fn weight(found: &Self::Found) -> u64;
}

/// Samples.
struct Samples<F: Fn(&Labels) -> Nature + Sync> {
    tier: Tier,
    nature: F,
}

impl<F: Fn(&Labels) -> Nature + Sync> Ask for Samples<F> {
    type Found = Vec<Sample>;

    fn wants(&self, kind: ChunkKind) -> bool {
        kind != ChunkKind::Windows
    }

    fn read(
        &self,
        columns: &mut Columns<'_>,
        chunks: &[crate::part::Chunk],
        within: Between,
    ) -> Result<Option<Vec<Sample>>, PartError> {
        let mut samples = Vec::with_capacity(chunks.iter().map(|chunk| chunk.count as usize).sum());
        for chunk in chunks {
            columns.samples(chunk, within, &mut samples)?;
        }
        Ok((!samples.is_empty()).then_some(samples))
    }

    fn of_head(&self, labels: &Labels, mut samples: Vec<Sample>) -> Option<Vec<Sample>> {
        if self.tier != Tier::Raw {
            thin(&mut samples, self.tier, (self.nature)(labels));
        }
        (!samples.is_empty()).then_some(samples)
    }

    fn weight(found: &Vec<Sample>) -> u64 {
        found.len() as u64
    }
}

/// What is kept of windows beside samples.
struct OfWindows(Tier);

impl Ask for OfWindows {
    type Found = Vec<Windows>;

    fn wants(&self, kind: ChunkKind) -> bool {
        kind == ChunkKind::Windows
    }

    fn read(
        &self,
        columns: &mut Columns<'_>,
        chunks: &[crate::part::Chunk],
        _: Between,
    ) -> Result<Option<Vec<Windows>>, PartError> {
        let windows: Result<Vec<Windows>, PartError> =
            chunks.iter().map(|chunk| columns.windows(chunk)).collect();
        windows.map(|windows| (!windows.is_empty()).then_some(windows))
    }

    fn of_head(&self, _: &Labels, samples: Vec<Sample>) -> Option<Vec<Windows>> {
        let windows = Windows::of(&samples, self.0);
        (!windows.times.is_empty()).then(|| vec![windows])
    }

    fn weight(found: &Vec<Windows>) -> u64 {
        found.iter().map(|windows| windows.times.len() as u64).sum()
    }
}

/// The series that match, with their samples.
pub(crate) fn select(shared: &Shared, select: &Select) -> Result<Vec<Series>, SourceError> {
    let tier = Tier::for_step(select.step_ms);
    let metadata = &shared.catalogue.metadata;
    let nature = |labels: &Labels| {
        let metadata = metadata.read().unwrap_or_else(PoisonError::into_inner);
        nature(labels, |name| metadata.get(name).cloned())
    };
    let within = Between { from_ms: select.from_ms, to_ms: select.to_ms };
    let found = ask(shared, &select.matchers, within, tier, &Samples { tier, nature })?;
    let series = found.into_iter().map(|(labels, mut runs)| {
        let mut samples = if runs.len() == 1 { runs.remove(0) } else { joined(runs) };
        in_order(&mut samples);
        Series { labels, samples }
    });
    Ok(sorted(series.collect()))
}

fn joined(runs: Vec<Vec<Sample>>) -> Vec<Sample> {
    let mut samples = Vec::with_capacity(runs.iter().map(Vec::len).sum());
    runs.into_iter().for_each(|run| samples.extend(run));
    samples
}

fn sorted(mut series: Vec<Series>) -> Vec<Series> {
    series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// An aggregate of each window, at the time when the window begins.
pub(crate) fn aggregates(
    shared: &Shared,
    select: &Select,
    aggregate: Aggregate,
) -> Result<Vec<Series>, SourceError> {
    let tier = Tier::for_step(select.step_ms);
    if tier == Tier::Raw {
        let least = Tier::Minute.width_ms();
        return Err(SourceError::Unreadable(format!(
            "aggregates are kept of minutes and hours; ask with a step of at least {least} ms, or for samples"
        )));
    }
    // Windows as a whole: one that begins before the first time is there with its beginning.
    let from_ms = select.from_ms.div_euclid(tier.width_ms()).saturating_mul(tier.width_ms());
    let within = Between { from_ms, to_ms: select.to_ms };
    let found = ask(shared, &select.matchers, within, tier, &OfWindows(tier))?;
    let series = found.into_iter().filter_map(|(labels, parts)| {
        let parts: Vec<Windows> = parts.into_iter().flatten().collect();
        let windows = Windows::merged(&parts);
        let both = windows.times.iter().zip(windows.column(aggregate));
        let inside = both.filter(|(at_ms, _)| (from_ms..=select.to_ms).contains(*at_ms));
        let samples: Vec<Sample> =
            inside.map(|(at_ms, value)| Sample { at_ms: *at_ms, value: Value::Float(*value) }).collect();
        (!samples.is_empty()).then_some(Series { labels, samples })
    });
    Ok(sorted(series.collect()))
}

/// Series of a part that one thread reads.
struct Task<'a> {
    part: &'a Arc<Part>,
    index: Arc<PartIndex>,
    ids: Vec<u32>,
    within: Between,
}

/// Asks the head and all parts that serve; answers by series what each place had, older parts first, the head last.
fn ask<A: Ask>(
    shared: &Shared,
    matchers: &[Matcher],
    within: Between,
    tier: Tier,
    asked: &A,
) -> Result<HashMap<Labels, Vec<A::Found>, RandomState>, SourceError> {
    let conditions = Condition::all_of(matchers)?;
    let active = active(shared, &conditions);
    let heads: Vec<&[Arc<crate::head::Series>]> = active.chunks(TASK_SERIES).collect();
    let of_head = in_parallel(&heads, |series| {
        let one = |series: &Arc<crate::head::Series>| {
            let samples = lock(&series.state).read(within.from_ms, within.to_ms);
            Some((series.labels.clone(), asked.of_head(&series.labels, samples)?))
        };
        Ok(series.iter().filter_map(one).collect::<Vec<_>>())
    })?;
    let of_head: Vec<(Labels, A::Found)> = of_head.into_iter().flatten().collect();
    let live = shared.catalogue.live();
    let mut tasks = Vec::new();
    for piece in pieces(&live, tier, within) {
        let Between { from_ms, to_ms } = piece.within;
        for part in live.parts[piece.tier.place()].iter().filter(|part| part.overlaps(from_ms, to_ms)) {
            let index = shared.catalogue.indexes.get(part)?;
            let ids =
                find(&*index, &conditions).map_err(|Damaged| part.damaged("its index makes no sense"))?;
            for ids in ids.chunks(TASK_SERIES) {
                let (index, ids) = (Arc::clone(&index), ids.to_vec());
                tasks.push(Task { part, index, ids, within: piece.within });
            }
        }
    }
    let read = AtomicU64::new(of_head.iter().map(|(_, found)| A::weight(found)).sum());
    let limit = shared.config.query_samples_max;
    let answers = in_parallel(&tasks, |task| run(task, asked, &read, limit))?;
    if read.load(Ordering::Relaxed) > limit {
        return Err(SourceError::TooMuch { limit });
    }
    let mut found: HashMap<Labels, Vec<A::Found>, RandomState> = HashMap::default();
    for (labels, run) in answers.into_iter().flatten().chain(of_head) {
        found.entry(labels).or_default().push(run);
    }
    Ok(found)
}

fn run<A: Ask>(
    task: &Task<'_>,
    asked: &A,
    read: &AtomicU64,
    limit: u64,
) -> Result<Vec<(Labels, A::Found)>, SourceError> {
    let mut columns = Columns::of(task.part);
    let mut strings = Strings::default();
    let mut answers = Vec::with_capacity(task.ids.len());
    let Between { from_ms, to_ms } = task.within;
    for id in &task.ids {
        let damaged = |_| task.part.damaged("its index makes no sense");
        let mut chunks = task.index.chunks(*id).map_err(damaged)?;
        chunks.retain(|chunk| asked.wants(chunk.kind) && chunk.min_ms <= to_ms && chunk.max_ms >= from_ms);
        if chunks.is_empty() {
            continue;
        }
        let Some(found) = asked.read(&mut columns, &chunks, task.within)? else { continue };
        if read.fetch_add(A::weight(&found), Ordering::Relaxed) > limit {
            return Err(SourceError::TooMuch { limit });
        }
        answers.push((task.index.labels(*id, &mut strings).map_err(damaged)?, found));
    }
    Ok(answers)
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
fn active(shared: &Shared, conditions: &[Condition]) -> Vec<Arc<crate::head::Series>> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let ids = find(&*index, conditions).unwrap_or_else(|never: Infallible| match never {});
    ids.into_iter().filter_map(|id| index.by_id(id).cloned()).collect()
}

/// Labels of the series that match and have samples in a time, sorted.
pub(crate) fn series(
    shared: &Shared,
    matchers: &[Matcher],
    within: Between,
) -> Result<Vec<Labels>, SourceError> {
    let conditions = Condition::all_of(matchers)?;
    let mut found: Vec<Labels> = Vec::new();
    for series in active(shared, &conditions) {
        if lock(&series.state).has_between(within.from_ms, within.to_ms) {
            found.push(series.labels.clone());
        }
    }
    let live = shared.catalogue.live();
    for piece in pieces(&live, Tier::Raw, within) {
        let Between { from_ms, to_ms } = piece.within;
        for part in live.parts[piece.tier.place()].iter().filter(|part| part.overlaps(from_ms, to_ms)) {
            let index = shared.catalogue.indexes.get(part)?;
            let damaged = |Damaged| part.damaged("its index makes no sense");
            let mut strings = Strings::default();
            for id in find(&*index, &conditions).map_err(damaged)? {
                let chunks = index.chunks(id).map_err(damaged)?;
                if chunks.iter().any(|chunk| chunk.min_ms <= to_ms && chunk.max_ms >= from_ms) {
                    found.push(index.labels(id, &mut strings).map_err(damaged)?);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Names of labels of the series that match, sorted. Without conditions those of all blocks that reach into the time.
pub(crate) fn label_names(
    shared: &Shared,
    matchers: &[Matcher],
    within: Between,
) -> Result<Vec<String>, SourceError> {
    let mut names: Vec<String> = Vec::new();
    if matchers.is_empty() {
        let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
        names.extend(index.names().map(|name| name.to_string()));
        drop(index);
        each_index(shared, within, |index| {
            names.extend(index.names()?.into_iter().map(str::to_owned));
            Ok(())
        })?;
    } else {
        for labels in series(shared, matchers, within)? {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
    }
    Ok(unique(names))
}

/// Values of a label of the series that match, sorted. Without conditions those of all blocks that reach into the time.
pub(crate) fn label_values(
    shared: &Shared,
    name: &str,
    matchers: &[Matcher],
    within: Between,
) -> Result<Vec<String>, SourceError> {
    let mut values: Vec<String> = Vec::new();
    if matchers.is_empty() {
        let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
        values.extend(index.values(name).map(|value| value.to_string()));
        drop(index);
        each_index(shared, within, |index| {
            values.extend(index.values(name)?.into_iter().map(str::to_owned));
            Ok(())
        })?;
    } else {
        let found = series(shared, matchers, within)?;
        let found = found.iter().map(|labels| labels.get(name)).filter(|value| !value.is_empty());
        values.extend(found.map(str::to_owned));
    }
    Ok(unique(values))
}

fn unique(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn each_index(
    shared: &Shared,
    within: Between,
    mut each: impl FnMut(&PartIndex) -> Result<(), Damaged>,
) -> Result<(), SourceError> {
    let live = shared.catalogue.live();
    for piece in pieces(&live, Tier::Raw, within) {
        let Between { from_ms, to_ms } = piece.within;
        for part in live.parts[piece.tier.place()].iter().filter(|part| part.overlaps(from_ms, to_ms)) {
            let index = shared.catalogue.indexes.get(part)?;
            each(&index).map_err(|Damaged| part.damaged("its index makes no sense"))?;
        }
    }
    Ok(())
}
