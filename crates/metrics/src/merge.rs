//! Several parts of a tier become one: fewer files to ask, longer columns, one index.
//!
//! Series by series in the order of labels, so that no more than one series of each part is in memory, with the indexes.

use std::io;
use std::sync::Arc;

use promql::{Column, Labels, Sample, Samples};

use crate::bytes::Damaged;
use crate::catalogue::{Catalogue, Written};
use crate::part::{Between, ChunkKind, Columns, Part, PartError, PartIndex, PartWriter, Strings};
use crate::tier::{Nature, Tier, Windows, thin};

/// So many parts are worth being one.
const PARTS_MIN: usize = 4;

/// No more are made one at once: each has its index in memory meanwhile.
const PARTS_MAX: usize = 12;

/// All times.
const ALWAYS: Between = Between { from_ms: i64::MIN, to_ms: i64::MAX };

/// The longest time a merged part may span: retention lets go of whole parts.
fn span_max_ms(tier: Tier) -> i64 {
    const HOUR_MS: i64 = 3_600_000;
    match tier {
        Tier::Raw => 8 * HOUR_MS,
        Tier::Minute => 4 * 24 * HOUR_MS,
        Tier::Hour => 60 * 24 * HOUR_MS,
    }
}

/// Which parts are to become one: neighbours in time, of which none is larger than the others together, so that no
/// sample is written again and again, and which answer for the same tiers.
pub(crate) fn choose(parts: &[Arc<Part>], tier: Tier) -> Option<Vec<Arc<Part>>> {
    for from in 0..parts.len() {
        let (mut min_ms, mut max_ms) = (i64::MAX, i64::MIN);
        let mut best = None;
        for to in from..parts.len().min(from + PARTS_MAX) {
            min_ms = min_ms.min(parts[to].foot.min_ms);
            max_ms = max_ms.max(parts[to].foot.max_ms);
            let differs = parts[to].foot.through != parts[from].foot.through;
            if differs || max_ms.saturating_sub(min_ms) > span_max_ms(tier) {
                break;
            }
            let chosen = &parts[from..=to];
            let bytes: u64 = chosen.iter().map(|part| part.bytes).sum();
            let largest = chosen.iter().map(|part| part.bytes).max().unwrap_or(0);
            if chosen.len() >= PARTS_MIN && 2 * largest <= bytes {
                best = Some(chosen);
            }
        }
        if let Some(best) = best {
            return Some(best.to_vec());
        }
    }
    None
}

/// Why there is no merged part.
#[derive(Debug)]
pub(crate) enum MergeError {
    /// One of the parts cannot be read.
    Damaged { part: Arc<Part>, why: String },
    /// The system refused.
    Io(io::Error),
}

impl From<io::Error> for MergeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One of the parts, read series by series.
struct Input<'a> {
    part: &'a Arc<Part>,
    index: PartIndex,
    columns: Columns<'a>,
    strings: Strings,
    id: u32,
    /// Of the series that is next.
    labels: Option<Labels>,
}

impl<'a> Input<'a> {
    fn open(part: &'a Arc<Part>) -> Result<Self, PartError> {
        let index = part.index()?;
        let strings = Strings::default();
        let mut input = Self { part, index, columns: Columns::of(part), strings, id: 0, labels: None };
        input.labels = input.labels_now()?;
        Ok(input)
    }

    fn labels_now(&mut self) -> Result<Option<Labels>, PartError> {
        if self.id as usize >= self.index.len() {
            return Ok(None);
        }
        let labels = self.index.labels(self.id, &mut self.strings);
        labels.map(Some).map_err(|Damaged| self.part.damaged("its index makes no sense"))
    }

    /// Takes the series that is next: adds its samples, and what stands beside them.
    fn take(&mut self, samples: &mut Vec<Sample>, beside: &mut Vec<Beside>) -> Result<(), PartError> {
        let chunks = self.index.chunks(self.id);
        let (begin, mut windows) = (samples.len(), Vec::new());
        for chunk in chunks.map_err(|Damaged| self.part.damaged("its index makes no sense"))? {
            match chunk.kind {
                ChunkKind::Windows => windows.push(self.columns.windows(&chunk)?),
                ChunkKind::Floats | ChunkKind::Histograms => {
                    let mut read = Samples::default();
                    self.columns.samples(&chunk, ALWAYS, &mut read)?;
                    samples.append(&mut read.to_vec());
                }
            }
        }
        beside.push(if windows.is_empty() {
            Beside::Nothing(begin..samples.len())
        } else {
            Beside::Windows(windows)
        });
        self.id += 1;
        self.labels = self.labels_now()?;
        Ok(())
    }
}

/// What stands beside the samples of a series in a part.
enum Beside {
    /// Windows, since they are not all samples there were.
    Windows(Vec<Windows>),
    /// Nothing: these are all.
    Nothing(std::ops::Range<usize>),
}

/// What a tier keeps of a series that is in several parts, and what stands beside it.
fn kept(mut samples: Vec<Sample>, beside: Vec<Beside>, tier: Tier, nature: Nature) -> (Vec<Sample>, Windows) {
    let windows = if beside.iter().all(|beside| matches!(beside, Beside::Nothing(_))) {
        in_order(&mut samples);
        match crate::tier::beside(&samples, tier) {
            None => return (samples, Windows::default()),
            Some(windows) => windows,
        }
    } else {
        let of = |beside| match beside {
            Beside::Windows(windows) => windows,
            Beside::Nothing(range) => vec![Windows::of(&samples[range], tier)],
        };
        let windows: Vec<Windows> = beside.into_iter().flat_map(of).collect();
        in_order(&mut samples);
        Windows::merged(&windows)
    };
    thin(&mut samples, tier, nature);
    (samples, windows)
}

/// Makes one part of a tier, which answers for those up to another, of several, which are of that tier or finer; none where
/// nothing is in them.
pub(crate) fn merge(
    catalogue: &Catalogue,
    parts: &[Arc<Part>],
    (tier, through): (Tier, Tier),
    nature: impl Fn(&Labels) -> Nature,
) -> Result<Written, MergeError> {
    let blame = |part: &Arc<Part>, error: PartError| match error {
        PartError::Io { source, .. } => MergeError::Io(source),
        error => MergeError::Damaged { part: Arc::clone(part), why: error.to_string() },
    };
    let mut inputs = Vec::with_capacity(parts.len());
    for part in parts {
        inputs.push(Input::open(part).map_err(|error| blame(part, error))?);
    }
    let mut writer = PartWriter::create(&catalogue.parts_dir, catalogue.next_number(), tier, through)?;
    while let Some(labels) = inputs.iter().filter_map(|input| input.labels.as_ref()).min().cloned() {
        let (mut samples, mut beside) = (Vec::new(), Vec::new());
        for input in inputs.iter_mut().filter(|input| input.labels.as_ref() == Some(&labels)) {
            input.take(&mut samples, &mut beside).map_err(|error| blame(input.part, error))?;
        }
        let (samples, windows) = kept(samples, beside, tier, nature(&labels));
        writer.series(&labels, &samples, &windows)?;
    }
    let mut written = Written::default();
    if !writer.is_empty() {
        written.add(writer.finish()?);
    }
    Ok(written)
}

/// Sorts samples by time; of several of one time the first stays.
pub(crate) fn in_order(samples: &mut Vec<Sample>) {
    if !samples.is_sorted_by(|a, b| a.at_ms < b.at_ms) {
        samples.sort_by_key(|sample| sample.at_ms);
        samples.dedup_by_key(|sample| sample.at_ms);
    }
}

/// The same of samples in columns. Of a number and a histogram of one time the number stays.
pub(crate) fn columns_in_order(samples: &mut Samples) {
    column_in_order(&mut samples.floats);
    column_in_order(&mut samples.histograms);
    let floats = &samples.floats.times;
    let twice = |at_ms: &i64| floats.binary_search(at_ms).is_ok();
    if !floats.is_empty() && samples.histograms.times.iter().any(twice) {
        let Column { times, values } = std::mem::take(&mut samples.histograms);
        let both = times.into_iter().zip(values).filter(|(at_ms, _)| !twice(at_ms));
        (samples.histograms.times, samples.histograms.values) = both.unzip();
    }
}

fn column_in_order<T>(column: &mut Column<T>) {
    if column.times.is_sorted_by(|a, b| a < b) {
        return;
    }
    let Column { times, values } = std::mem::take(column);
    let mut both: Vec<(i64, T)> = times.into_iter().zip(values).collect();
    both.sort_by_key(|(at_ms, _)| *at_ms);
    both.dedup_by_key(|(at_ms, _)| *at_ms);
    (column.times, column.values) = both.into_iter().unzip();
}
