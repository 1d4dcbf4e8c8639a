//! What the walks of both versions share: one series under way, and what has been made of the message so far.

use std::sync::Arc;

use promql::{Labels, Sample, Value};
use protowire::{Reader, fixed64, varint};

use super::super::histogram;
use super::super::known::Known;
use super::super::labels::{self, Pair};
use super::super::limits::{Halt, Used};
use super::super::{Cause, Decoded, Limits, Tally};
use crate::{Exemplar, Kind, Metadata};

/// A message under way.
pub(super) struct Walk<'d> {
    pub(super) known: &'d mut Known,
    pub(super) limits: &'d Limits,
    pub(super) decoded: Decoded,
    used: Used,
}

/// Samples of one series under way, of one kind.
#[derive(Debug, Default)]
pub(super) struct Samples {
    taken: Vec<Sample>,
    floats: u64,
    histograms: u64,
}

impl Samples {
    pub(super) fn tally(&self, exemplars: usize) -> Tally {
        let exemplars = exemplars as u64;
        Tally { samples: self.floats, histograms: self.histograms, exemplars, ..Tally::NONE }
    }
}

impl<'d> Walk<'d> {
    pub(super) fn new(known: &'d mut Known, limits: &'d Limits) -> Self {
        Self { known, limits, decoded: Decoded::default(), used: Used::default() }
    }

    /// Counts a series, and ends the walk where the message holds more than it may.
    #[inline]
    pub(super) fn begin_series(&mut self) -> Result<(), Halt> {
        self.used.series += 1;
        self.check()
    }

    /// The place of the series under way, for people.
    pub(super) fn place(&self, pairs: &[Pair<'_>]) -> String {
        format!("series {} {}", self.used.series - 1, labels::shown(pairs))
    }

    #[inline]
    fn check(&self) -> Result<(), Halt> {
        self.used.check(self.limits)
    }

    /// A `Sample` message. Both versions have the same; the start time is in the second only.
    #[inline]
    pub(super) fn sample(
        &mut self,
        message: &[u8],
        samples: &mut Samples,
        pairs: &[Pair<'_>],
    ) -> Result<(), Halt> {
        const VALUE: u32 = fixed64(1);
        const TIME: u32 = varint(2);
        const START: u32 = varint(3);
        let (mut value, mut at_ms) = (0.0, 0);
        let mut reader = Reader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag {
                VALUE => value = reader.double()?,
                TIME => at_ms = reader.varint()? as i64,
                START => {
                    reader.varint()?;
                }
                _ => reader.skip(tag)?,
            }
        }
        samples.floats += 1;
        self.push(Sample { at_ms, value: Value::Float(value) }, samples, pairs)
    }

    /// A `Histogram` message.
    pub(super) fn histogram(
        &mut self,
        message: &[u8],
        samples: &mut Samples,
        pairs: &[Pair<'_>],
    ) -> Result<(), Halt> {
        samples.histograms += 1;
        match histogram::read(message, self.limits)? {
            Ok(histogram::Timed { at_ms, histogram }) => {
                self.push(Sample { at_ms, value: Value::Histogram(Arc::new(histogram)) }, samples, pairs)
            }
            Err(contradiction) => {
                samples.histograms -= 1;
                let place = self.place(pairs);
                let say = || format!("{place}: the histogram is not consistent: {contradiction}");
                self.decoded.left.leave(Cause::BadHistogram, Tally::HISTOGRAM, say);
                Ok(())
            }
        }
    }

    #[inline]
    fn push(&mut self, sample: Sample, samples: &mut Samples, pairs: &[Pair<'_>]) -> Result<(), Halt> {
        self.used.samples += 1;
        if self.used.samples > self.limits.samples {
            return Err(Halt::TooMuch { what: "samples", limit: self.limits.samples });
        }
        match samples.taken.last() {
            None => samples.taken.reserve_exact(1),
            Some(last) if last.at_ms >= sample.at_ms => {
                if let Some(cause) = misplaced(last, &sample) {
                    self.leave_misplaced(cause, &sample, last.at_ms, samples, pairs);
                    return Ok(());
                }
            }
            Some(_) => {}
        }
        samples.taken.push(sample);
        Ok(())
    }

    #[cold]
    fn leave_misplaced(
        &mut self,
        cause: Cause,
        sample: &Sample,
        last_ms: i64,
        samples: &mut Samples,
        pairs: &[Pair<'_>],
    ) {
        let what = match sample.value {
            Value::Float(_) => {
                samples.floats -= 1;
                Tally::SAMPLE
            }
            Value::Histogram(_) => {
                samples.histograms -= 1;
                Tally::HISTOGRAM
            }
        };
        let place = self.place(pairs);
        let at_ms = sample.at_ms;
        self.decoded.left.leave(cause, what, || match cause {
            Cause::DuplicateTime => format!("{place}: two samples at {at_ms} differ"),
            _ => format!("{place}: the sample at {at_ms} comes after one at {last_ms}"),
        });
    }

    /// Ends a series whose labels were looked up. What was wrong with them is said once for all that was in it.
    #[inline]
    pub(super) fn end_series(
        &mut self,
        labels: Result<Labels, labels::Unfit>,
        samples: Samples,
        exemplars: usize,
        pairs: &[Pair<'_>],
    ) -> Option<Labels> {
        let labels = match labels {
            Ok(labels) => labels,
            Err(labels::Unfit { cause, say }) => {
                let at = self.used.series - 1;
                self.decoded.left.leave(cause, samples.tally(exemplars), || format!("series {at} {say}"));
                return None;
            }
        };
        if samples.floats > 0 && samples.histograms > 0 {
            let place = self.place(pairs);
            let say = || format!("{place}: floats and histograms are in one series; send them as two");
            self.decoded.left.leave(Cause::MixedKinds, samples.tally(0), say);
        } else if !samples.taken.is_empty() {
            self.decoded.batch.series.push((labels.clone(), samples.taken));
        }
        Some(labels)
    }

    /// Counts an exemplar, and ends the walk where the message holds more than it may.
    #[inline]
    pub(super) fn begin_exemplar(&mut self) -> Result<(), Halt> {
        self.used.exemplars += 1;
        self.check()
    }

    /// Takes an exemplar of a series.
    pub(super) fn exemplar(&mut self, series: &Labels, pairs: &mut Vec<Pair<'_>>, value: f64, at_ms: i64) {
        let at = self.used.series - 1;
        let left = &mut self.decoded.left;
        if at_ms == 0 {
            let say = || format!("series {at} {series:?}: an exemplar has no time");
            left.leave(Cause::ExemplarWithoutTime, Tally::EXEMPLAR, say);
            return;
        }
        match labels::exemplar(pairs, self.limits) {
            Ok(labels) => {
                let exemplar = Exemplar { labels, value, at_ms };
                self.decoded.batch.exemplars.push((series.clone(), exemplar));
            }
            Err(unfit) => self.leave_exemplar(series, unfit),
        }
    }

    /// Leaves an exemplar out.
    pub(super) fn leave_exemplar(&mut self, series: &Labels, labels::Unfit { cause, say }: labels::Unfit) {
        let at = self.used.series - 1;
        let say = || format!("series {at} {series:?}: exemplar {say}");
        self.decoded.left.leave(cause, Tally::EXEMPLAR, say);
    }

    /// Leaves metadata out.
    pub(super) fn leave_metadata(&mut self, labels::Unfit { cause, say }: labels::Unfit) {
        let at = self.used.series - 1;
        self.decoded.left.leave(cause, Tally::METADATA, || format!("series {at}: {say}"));
    }

    /// Takes what is said of a metric.
    pub(super) fn metadata(&mut self, kind: u64, name: &[u8], help: &[u8], unit: &[u8]) -> Result<(), Halt> {
        self.used.metadata += 1;
        self.check()?;
        let at = self.used.metadata - 1;
        let left = &mut self.decoded.left;
        let text = std::str::from_utf8;
        let (Ok(name), Ok(help), Ok(unit)) = (text(name), text(help), text(unit)) else {
            left.leave(Cause::NotUtf8, Tally::METADATA, || format!("metadata {at} is not UTF-8"));
            return Ok(());
        };
        let Some(kind) = kind_of(kind) else {
            let say = || format!("metadata {at} of {}: there is no kind {kind}", labels::short(name));
            left.leave(Cause::BadMetadata, Tally::METADATA, say);
            return Ok(());
        };
        if name.is_empty() || name.len() > self.limits.value_bytes || unit.len() > self.limits.value_bytes {
            let say = || {
                format!(
                    "metadata {at} of {:?}: no name, or a name or unit that is too long",
                    labels::short(name)
                )
            };
            left.leave(Cause::BadMetadata, Tally::METADATA, say);
            return Ok(());
        }
        let help = cut(help, self.limits.help_bytes, &mut left.helps_cut);
        let metadata = Metadata { kind, help: help.to_owned(), unit: unit.to_owned() };
        self.decoded.batch.metadata.push((family(name, kind).to_owned(), metadata));
        Ok(())
    }
}

/// Whether a sample that is not later than the last one is in the wrong place. The same sample once more is not.
fn misplaced(last: &Sample, sample: &Sample) -> Option<Cause> {
    if sample.at_ms < last.at_ms {
        return Some(Cause::OutOfOrder);
    }
    let same = match (&last.value, &sample.value) {
        (Value::Float(last), Value::Float(value)) => last.to_bits() == value.to_bits(),
        (last, value) => last == value,
    };
    (!same).then_some(Cause::DuplicateTime)
}

/// A help text within its limit, cut where a character begins.
fn cut<'t>(help: &'t str, limit: usize, cuts: &mut u64) -> &'t str {
    if help.len() <= limit {
        return help;
    }
    *cuts += 1;
    &help[..help.floor_char_boundary(limit)]
}

/// `MetricType` of both versions.
fn kind_of(number: u64) -> Option<Kind> {
    Some(match number {
        0 => Kind::Unknown,
        1 => Kind::Counter,
        2 => Kind::Gauge,
        3 => Kind::Histogram,
        4 => Kind::GaugeHistogram,
        5 => Kind::Summary,
        6 => Kind::Info,
        7 => Kind::StateSet,
        _ => return None,
    })
}

/// The metric a series belongs to: version 2 says what is known of it with each of its series.
fn family(name: &str, kind: Kind) -> &str {
    let suffixes: &[&str] = match kind {
        Kind::Histogram => &["_bucket", "_count", "_sum"],
        Kind::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        Kind::Summary => &["_count", "_sum"],
        _ => &[],
    };
    suffixes
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|family| !family.is_empty())
        .unwrap_or(name)
}
