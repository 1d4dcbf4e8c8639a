//! The pages of one target: each with the target's labels, and with what ended since the page before.
//!
//! In: pages and the times they were asked for. Out: a [`Decoded`] for each, with a stale marker for every series that
//! stood in the page before and does not any more; and, where a target is down or goes away, the markers of all.
//!
//! A series that comes again is known by its text in the page, so that its labels are put together once.
//!
//! Series that a target gives times of their own get no markers: they are not expected in every page (Prometheus'
//! `track_timestamps_staleness: false`).

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet, HashTable, hash_table};
use promql::{Labels, Sample, Value};

use super::super::labels;
use super::super::{Cause, Decoded, Limits, STALE_BITS, Tally};
use super::entries::{Entries, Entry, ExemplarLine, Line, Pair};
use super::{Format, PageError};
use crate::{Batch, Exemplar, Kind, Metadata};

/// What is done where a target exposes a label that is one of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HonorLabels {
    /// The exposed one counts.
    Yes,
    /// The target's counts, and the exposed one is renamed to `exported_…`.
    #[default]
    No,
}

/// Decodes the pages of one target.
#[derive(Debug)]
pub struct TargetDecoder {
    limits: Limits,
    labels: Vec<(Arc<str>, Arc<str>)>,
    honor: HonorLabels,
    hasher: RandomState,
    series: HashTable<Seen>,
    page: u64,
}

/// A series of this target.
#[derive(Debug)]
struct Seen {
    /// As it stands in the page.
    text: Box<str>,
    labels: Labels,
    /// The last page it stood in, counted from 1.
    page: u64,
    /// Where in that page's batch.
    at: usize,
    /// The page gave it a time of its own.
    timed: bool,
    /// It was stored and has not ended: it gets a marker when it is gone.
    alive: bool,
}

/// A page under way.
#[derive(Default)]
struct Building {
    decoded: Decoded,
    metadata: HashMap<String, Metadata, RandomState>,
    order: Vec<String>,
    samples: usize,
    exemplars: usize,
    /// Whether a series came that did not stand in the page before.
    new: bool,
}

impl TargetDecoder {
    /// A decoder for a target with these labels.
    pub fn new<'l>(
        limits: Limits,
        labels: impl IntoIterator<Item = (&'l str, &'l str)>,
        honor: HonorLabels,
    ) -> Self {
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
        Self {
            limits,
            labels: labels.map(|(name, value)| (name.into(), value.into())).collect(),
            honor,
            hasher: RandomState::default(),
            series: HashTable::new(),
            page: 0,
        }
    }

    /// Decodes a page that was asked for at `at_ms`, milliseconds since 1970: the time of the samples that bring none.
    ///
    /// # Errors
    /// [`PageError`]: nothing of the page is taken, and what stood in the page before has not ended by that. See
    /// [`Self::down`].
    pub fn decode(&mut self, format: Format, page: &[u8], at_ms: i64) -> Result<Decoded, PageError> {
        if page.len() > self.limits.message_bytes {
            let what = format!("the page has more than {} bytes", self.limits.message_bytes);
            return Err(PageError { line: 1, column: 1, what });
        }
        self.page += 1;
        let mut building = Building::default();
        let mut pairs = Vec::new();
        let mut entries = Entries::new(format, page)?;
        while let Some(entry) = entries.next(&mut pairs)? {
            match entry {
                Entry::Sample(line) => self.sample(line, &mut pairs, at_ms, &mut building)?,
                Entry::Kind { name, kind } => building.metadata(&name).kind = kind,
                Entry::Help { name, help } => {
                    let limit = self.limits.help_bytes;
                    let cut = help.len() > limit;
                    building.decoded.left.helps_cut += u64::from(cut);
                    building.metadata(&name).help = match cut {
                        true => help[..help.floor_char_boundary(limit)].to_owned(),
                        false => help,
                    };
                }
                Entry::Unit { name, unit } => building.metadata(&name).unit = unit.to_owned(),
            }
            if building.order.len() > self.limits.metadata {
                return Err(too_much("metrics", self.limits.metadata, entries.number()));
            }
        }
        self.end(&mut building, at_ms);
        Ok(building.finish())
    }

    /// The markers for all series of the target that have not ended: it is down, or goes away.
    pub fn down(&mut self, at_ms: i64) -> Batch {
        let alive = self.series.drain().filter(|seen| seen.alive);
        let series = alive.map(|seen| (seen.labels, vec![stale(at_ms)])).collect();
        Batch { series, ..Batch::default() }
    }

    /// The labels of the target itself, with this name of a metric: for what is told of it.
    pub fn own(&self, name: &str) -> Labels {
        let name: (Arc<str>, Arc<str>) = (promql::METRIC_NAME.into(), name.into());
        Labels::new(self.labels.iter().cloned().chain([name]))
    }

    fn sample<'p>(
        &mut self,
        line: Line<'p>,
        pairs: &mut Vec<Pair<'p>>,
        at_ms: i64,
        building: &mut Building,
    ) -> Result<(), PageError> {
        building.samples += 1;
        if building.samples > self.limits.samples {
            return Err(too_much("samples", self.limits.samples, line.number));
        }
        let Self { limits, labels, honor, hasher, series, page } = self;
        let hash = hash_text(hasher, line.series);
        let entry =
            series.entry(hash, |seen| &*seen.text == line.series, |seen| hash_text(hasher, &seen.text));
        let seen = match entry {
            hash_table::Entry::Occupied(entry) => entry.into_mut(),
            hash_table::Entry::Vacant(entry) => {
                building.new = true;
                let labels = labelled(labels, *honor, pairs, limits, line.number)?;
                let text = line.series.into();
                let seen = Seen { text, labels, page: 0, at: 0, timed: false, alive: false };
                entry.insert(seen).into_mut()
            }
        };
        let sample = Sample { at_ms: line.at_ms.unwrap_or(at_ms), value: Value::Float(line.value) };
        let taken = &mut building.decoded.batch.series;
        seen.timed = line.at_ms.is_some();
        if seen.page != *page {
            (seen.page, seen.at) = (*page, taken.len());
            taken.push((seen.labels.clone(), vec![sample]));
        } else if let Some(cause) = misplaced(taken[seen.at].1.last(), &sample) {
            let say = || {
                format!(
                    "line {}: {:?} stands in the page before, at the same time or later",
                    line.number, seen.labels
                )
            };
            building.decoded.left.leave(cause, Tally::SAMPLE, say);
        } else {
            taken[seen.at].1.push(sample);
        }
        match line.exemplar {
            Some(exemplar) => {
                building.exemplar(&seen.labels, exemplar, line.at_ms.unwrap_or(at_ms), limits, line.number)
            }
            None => Ok(()),
        }
    }

    /// Ends a page that was read to its end: what stood in the one before and not in this one gets a marker.
    fn end(&mut self, building: &mut Building, at_ms: i64) {
        let page = self.page;
        let mut gone = Vec::new();
        self.series.retain(|seen| {
            if seen.page == page {
                seen.alive = !seen.timed;
                return true;
            }
            if seen.alive {
                gone.push(seen.labels.clone());
            }
            false
        });
        if gone.is_empty() {
            return;
        }
        if building.new {
            // A series that is written in another way than before has not ended.
            let here: HashSet<&Labels, RandomState> = self.series.iter().map(|seen| &seen.labels).collect();
            gone.retain(|labels| !here.contains(labels));
        }
        building.decoded.batch.series.extend(gone.into_iter().map(|labels| (labels, vec![stale(at_ms)])));
    }
}

/// The labels of a series with those of the target.
fn labelled(
    target: &[(Arc<str>, Arc<str>)],
    honor: HonorLabels,
    pairs: &[Pair<'_>],
    limits: &Limits,
    number: usize,
) -> Result<Labels, PageError> {
    let mut all: Vec<(Cow<'_, str>, Cow<'_, str>)> = pairs.to_vec();
    for (name, value) in target {
        let exposed = all.iter().position(|(known, _)| **known == **name);
        match (exposed, honor) {
            (Some(_), HonorLabels::Yes) => continue,
            (Some(at), HonorLabels::No) => {
                let mut renamed = format!("exported_{name}");
                while all.iter().any(|(known, _)| *known == renamed) {
                    renamed.insert_str(0, "exported_");
                }
                all[at].0 = renamed.into();
            }
            (None, _) => {}
        }
        all.push(((&**name).into(), (&**value).into()));
    }
    let error = |what| PageError { line: number, column: 1, what };
    if all.len() > limits.labels {
        return Err(error(format!("the series has more than {} labels", limits.labels)));
    }
    let long = |pair: &&(Cow<'_, str>, Cow<'_, str>)| {
        pair.0.len() > limits.name_bytes || pair.1.len() > limits.value_bytes
    };
    if let Some((name, _)) = all.iter().find(long) {
        let (names, values) = (limits.name_bytes, limits.value_bytes);
        let name = labels::short(name);
        return Err(error(format!(
            "the label {name:?} has a name of more than {names} bytes or a value of more than {values}"
        )));
    }
    Ok(Labels::new(all.iter().map(|(name, value)| (&**name, &**value))))
}

impl Building {
    fn metadata(&mut self, name: &str) -> &mut Metadata {
        let Self { metadata, order, .. } = self;
        metadata.entry_ref(name).or_insert_with(|| {
            order.push(name.to_owned());
            Metadata { kind: Kind::Unknown, ..Metadata::default() }
        })
    }

    fn exemplar(
        &mut self,
        series: &Labels,
        exemplar: ExemplarLine<'_>,
        at_ms: i64,
        limits: &Limits,
        number: usize,
    ) -> Result<(), PageError> {
        self.exemplars += 1;
        if self.exemplars > limits.exemplars {
            return Err(too_much("exemplars", limits.exemplars, number));
        }
        let mut pairs: Vec<labels::Pair<'_>> =
            exemplar.labels.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        match labels::exemplar(&mut pairs, limits) {
            Ok(labels) => {
                let exemplar =
                    Exemplar { labels, value: exemplar.value, at_ms: exemplar.at_ms.unwrap_or(at_ms) };
                self.decoded.batch.exemplars.push((series.clone(), exemplar));
            }
            Err(labels::Unfit { cause, say }) => {
                self.decoded.left.leave(cause, Tally::EXEMPLAR, || format!("line {number}: {say}"));
            }
        }
        Ok(())
    }

    fn finish(self) -> Decoded {
        let Self { mut decoded, mut metadata, order, .. } = self;
        decoded.batch.metadata = order.iter().filter_map(|name| metadata.remove_entry(name)).collect();
        decoded
    }
}

/// Whether a sample may not stand behind the last one of its series in the page. The same once more may.
fn misplaced(last: Option<&Sample>, sample: &Sample) -> Option<Cause> {
    let last = last.filter(|last| last.at_ms >= sample.at_ms)?;
    if last.at_ms > sample.at_ms {
        return Some(Cause::OutOfOrder);
    }
    match (&last.value, &sample.value) {
        (Value::Float(last), Value::Float(value)) if last.to_bits() == value.to_bits() => None,
        _ => Some(Cause::DuplicateTime),
    }
}

fn stale(at_ms: i64) -> Sample {
    Sample { at_ms, value: Value::Float(f64::from_bits(STALE_BITS)) }
}

fn too_much(what: &str, limit: usize, line: usize) -> PageError {
    PageError { line, column: 1, what: format!("the page has more than {limit} {what}") }
}

fn hash_text(hasher: &RandomState, text: &str) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write(text.as_bytes());
    hasher.finish()
}
