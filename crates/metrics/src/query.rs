//! The way out: series with their samples, from the head and from parts of the tiers that serve.
//!
//! In: a [`Select`]: matchers, a span of time, and how far apart samples may lie. Out: each series that matches and has samples,
//! in the order of time, one value for each time; an error where a part cannot be read, never a part of the answer.

use std::ops::ControlFlow;
use std::sync::PoisonError;

use promql::{Labels, Matcher, Sample, Select, Series, SourceError, Take, Value};

use crate::bytes::Damaged;
use crate::gather::{Found, Readers, active, gather, pieces};
use crate::lock;
use crate::matching::{Condition, find};
use crate::merge::columns_in_order;
use crate::part::{Between, Chunk, ChunkKind, PartError, PartIndex, Strings};
use crate::shared::Shared;
use crate::tier::{Aggregate, Nature, Tier, Windows, nature, thin_columns};

impl From<PartError> for SourceError {
    fn from(error: PartError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// Hands over the series that match, with their samples; by several threads at once, in any order.
pub(crate) fn each(shared: &Shared, select: &Select, take: &Take<'_>) -> Result<(), SourceError> {
    let handed = each_found(shared, select, |found, readers| {
        take(&found.labels, &mut readers.samples).map_continue(|()| None::<()>)
    });
    handed.map(|_| ())
}

/// The series that match, with their samples.
pub(crate) fn select(shared: &Shared, select: &Select) -> Result<Vec<Series>, SourceError> {
    let series = each_found(shared, select, |found, readers| {
        ControlFlow::Continue(Some(Series {
            labels: found.labels.clone(),
            samples: readers.samples.to_vec(),
        }))
    })?;
    Ok(sorted(series))
}

/// Reads the series that match, and does something with each that has samples.
fn each_found<A: Send>(
    shared: &Shared,
    select: &Select,
    make: impl Fn(&Found, &mut Readers<'_>) -> ControlFlow<(), Option<A>> + Sync,
) -> Result<Vec<A>, SourceError> {
    let tier = Tier::for_step(select.step_ms);
    let conditions = Condition::all_of(&select.matchers)?;
    let within = Between { from_ms: select.from_ms, to_ms: select.to_ms };
    let gathered = gather(shared, &conditions, within, tier)?;
    gathered.each(|found, readers| {
        read(found, readers, tier, |labels| known_nature(shared, labels))?;
        if readers.samples.is_empty() {
            return Ok(ControlFlow::Continue(None));
        }
        Ok(make(found, readers))
    })
}

fn known_nature(shared: &Shared, labels: &Labels) -> Nature {
    let metadata = shared.catalogue.metadata.read().unwrap_or_else(PoisonError::into_inner);
    nature(labels, |name| metadata.get(name).cloned())
}

/// Reads the samples of a series from all its places.
fn read(
    found: &Found,
    readers: &mut Readers<'_>,
    tier: Tier,
    nature: impl Fn(&Labels) -> Nature,
) -> Result<(), SourceError> {
    readers.samples.clear();
    readers.each_part(found, |columns, chunks, within, samples| {
        chunks
            .iter()
            .filter(|chunk| holds_samples(chunk, within))
            .try_for_each(|chunk| columns.samples(chunk, within, samples))
    })?;
    readers.head(found);
    columns_in_order(&mut readers.samples);
    if tier != Tier::Raw {
        // What the head has, and what is kept as it came because there is little of it.
        thin_columns(&mut readers.samples, tier, nature(&found.labels));
    }
    readers.count(readers.samples.len() as u64)
}

fn holds_samples(chunk: &Chunk, within: Between) -> bool {
    chunk.kind != ChunkKind::Windows && overlaps(chunk, within)
}

fn overlaps(chunk: &Chunk, within: Between) -> bool {
    chunk.min_ms <= within.to_ms && chunk.max_ms >= within.from_ms
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
    // Windows as a whole: one that begins before the first time is there with its beginning, the last with its end.
    let begin_of = |at_ms: i64| at_ms.div_euclid(tier.width_ms()).saturating_mul(tier.width_ms());
    let from_ms = begin_of(select.from_ms);
    let to_ms = begin_of(select.to_ms).saturating_add(tier.width_ms() - 1);
    let within = Between { from_ms, to_ms };
    let conditions = Condition::all_of(&select.matchers)?;
    let gathered = gather(shared, &conditions, within, tier)?;
    let series = gathered.each(|found, readers| {
        let windows = windows(found, readers, tier)?;
        let both = windows.times.iter().zip(windows.column(aggregate));
        let inside = both.filter(|(at_ms, _)| (from_ms..=select.to_ms).contains(*at_ms));
        let samples: Vec<Sample> =
            inside.map(|(at_ms, value)| Sample { at_ms: *at_ms, value: Value::Float(*value) }).collect();
        let series = (!samples.is_empty()).then(|| Series { labels: found.labels.clone(), samples });
        Ok(ControlFlow::Continue(series))
    })?;
    Ok(sorted(series))
}

/// What is kept of the windows of a series beside samples.
fn windows(found: &Found, readers: &mut Readers<'_>, tier: Tier) -> Result<Windows, SourceError> {
    let mut parts = Vec::new();
    readers.each_part(found, |columns, chunks, within, samples| {
        let mut kept = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Windows).peekable();
        if kept.peek().is_some() {
            for chunk in kept.filter(|chunk| overlaps(chunk, within)) {
                parts.push(columns.windows(chunk)?);
            }
            return Ok(());
        }
        // All samples are there.
        samples.clear();
        for chunk in chunks.iter().filter(|chunk| holds_samples(chunk, within)) {
            columns.samples(chunk, within, samples)?;
        }
        parts.push(Windows::of_floats(&samples.floats, tier));
        Ok(())
    })?;
    readers.samples.clear();
    readers.head(found);
    columns_in_order(&mut readers.samples);
    parts.push(Windows::of_floats(&readers.samples.floats, tier));
    readers.count(parts.iter().map(|windows| windows.times.len() as u64).sum())?;
    Ok(Windows::merged(&parts))
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
        for part in live.answering(piece.tier).filter(|part| part.overlaps(from_ms, to_ms)) {
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
        for part in live.answering(piece.tier).filter(|part| part.overlaps(from_ms, to_ms)) {
            let index = shared.catalogue.indexes.get(part)?;
            each(&index).map_err(|Damaged| part.damaged("its index makes no sense"))?;
        }
    }
    Ok(())
}
