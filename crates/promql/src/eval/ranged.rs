//! The samples of a range vector: of each kind a column of times and one of values, and the part of them in a range.

use std::sync::Arc;

use super::rows::Row;
use crate::{Column, CounterReset, Histogram, Labels, Sample, Samples, StartedSeries, Value, is_stale};

/// A series of a range vector: what lies in the ranges of all times together.
pub(super) struct Ranged {
    pub(super) labels: Labels,
    pub(super) drop_name: bool,
    pub(super) floats: Track<f64>,
    pub(super) histograms: Track<Arc<Histogram>>,
}

/// Samples of one kind, rising in time, without stale markers.
pub(super) struct Track<T> {
    pub(super) times: Vec<i64>,
    pub(super) values: Vec<T>,
    /// When the counter began; empty where it is not known, 0 where it is not of a sample.
    pub(super) starts: Vec<i64>,
}

/// Samples of one kind in a range.
#[derive(Debug)]
pub(super) struct Part<'t, T> {
    pub(super) times: &'t [i64],
    pub(super) values: &'t [T],
    starts: &'t [i64],
}

impl<T> Clone for Part<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Part<'_, T> {}

impl<T> Default for Track<T> {
    fn default() -> Self {
        Self { times: Vec::new(), values: Vec::new(), starts: Vec::new() }
    }
}

impl<T> Track<T> {
    /// Takes what is in a column.
    fn of(column: &mut Column<T>) -> Self {
        let Column { times, values } = std::mem::take(column);
        Self { times, values, starts: Vec::new() }
    }

    fn push(&mut self, time: i64, value: T, start: Option<i64>) {
        self.times.push(time);
        self.values.push(value);
        self.starts.extend(start);
    }

    /// What is behind the one time and up to the other. The cursor remembers where the last range was, since ranges rise.
    pub(super) fn part(&self, behind: i64, to: i64, cursor: &mut (usize, usize)) -> Part<'_, T> {
        let (from, end) = cursor;
        *from = later_than(&self.times, *from, behind);
        *end = later_than(&self.times, *end, to);
        let (from, end) = (*from, (*end).max(*from));
        let starts = if self.starts.is_empty() { &[][..] } else { &self.starts[from..end] };
        Part { times: &self.times[from..end], values: &self.values[from..end], starts }
    }
}

/// The first place, from one on, whose time is later.
pub(super) fn later_than(times: &[i64], mut from: usize, time: i64) -> usize {
    /// Places that are passed at once: ranges mostly move on by a few, or by very many.
    const LEAP: usize = 16;
    while times.get(from + LEAP - 1).is_some_and(|last| *last <= time) {
        from += LEAP;
    }
    while times.get(from).is_some_and(|at_ms| *at_ms <= time) {
        from += 1;
    }
    from
}

impl<'t, T> Part<'t, T> {
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When the counter of a sample began; 0 where it is not known.
    pub(super) fn start(&self, at: usize) -> i64 {
        self.starts.get(at).copied().unwrap_or(0)
    }

    pub(super) fn knows_starts(&self) -> bool {
        !self.starts.is_empty()
    }

    /// From one place to another, the latter not included.
    pub(super) fn slice(&self, from: usize, to: usize) -> Self {
        let starts = if self.starts.is_empty() { self.starts } else { &self.starts[from..to] };
        Self { times: &self.times[from..to], values: &self.values[from..to], starts }
    }
}

/// Takes stale markers out; mostly there are none.
fn without_stale<T>(column: &mut Column<T>, is_stale: impl Fn(&T) -> bool) {
    // All are looked at whatever the first are: so several are at once.
    let stale = column.values.iter().filter(|value| is_stale(value)).count();
    if stale == 0 {
        return;
    }
    let mut kept = column.values.iter().map(|value| !is_stale(value)).collect::<Vec<bool>>().into_iter();
    column.times.retain(|_| kept.next().unwrap_or(false));
    column.values.retain(|value| !is_stale(value));
}

impl Ranged {
    pub(super) fn of(started: StartedSeries) -> Self {
        let StartedSeries { series, starts_ms } = started;
        let mut floats = Track::default();
        let mut histograms = Track::default();
        if matches!(series.samples.first(), Some(Sample { value: Value::Float(_), .. })) {
            floats.times.reserve_exact(series.samples.len());
            floats.values.reserve_exact(series.samples.len());
        }
        for (at, sample) in series.samples.into_iter().enumerate() {
            let start = starts_ms.get(at).copied();
            match sample.value {
                Value::Float(value) if !is_stale(value) => floats.push(sample.at_ms, value, start),
                Value::Histogram(value) if !value.is_stale() => histograms.push(sample.at_ms, value, start),
                _ => {}
            }
        }
        Self { labels: series.labels, drop_name: false, floats, histograms }
    }

    /// Takes the samples of a series; stale markers are left out.
    pub(super) fn of_samples(labels: Labels, samples: &mut Samples) -> Self {
        without_stale(&mut samples.floats, |value| is_stale(*value));
        without_stale(&mut samples.histograms, |value| value.is_stale());
        let (floats, histograms) = (Track::of(&mut samples.floats), Track::of(&mut samples.histograms));
        Self { labels, drop_name: false, floats, histograms }
    }

    /// Gives the memory of what was taken back to where it came from.
    pub(super) fn give_back(self, samples: &mut Samples) {
        samples.floats = Column { times: self.floats.times, values: self.floats.values };
        samples.histograms = Column { times: self.histograms.times, values: self.histograms.values };
    }

    /// Of what a subquery yields. What histograms say of resets holds between samples that are next to each other, and of
    /// these some may have been left out or come twice.
    pub(super) fn of_row(row: Row, times: &[i64]) -> Self {
        let mut floats = Track::default();
        let mut histograms = Track::default();
        for (time, point) in times.iter().zip(row.points) {
            match point {
                Some(Value::Float(value)) => floats.push(*time, value, None),
                Some(Value::Histogram(mut value)) => {
                    if matches!(value.reset, CounterReset::Reset | CounterReset::NotReset) {
                        Arc::make_mut(&mut value).reset = CounterReset::Unknown;
                    }
                    histograms.push(*time, value, None);
                }
                None => {}
            }
        }
        Self { labels: row.labels, drop_name: row.drop_name, floats, histograms }
    }

    pub(super) fn samples(&self, behind: i64, to: i64) -> Vec<Sample> {
        let floats = self.floats.part(behind, to, &mut (0, 0));
        let histograms = self.histograms.part(behind, to, &mut (0, 0));
        let floats = floats
            .times
            .iter()
            .zip(floats.values)
            .map(|(at, value)| super::sample(*at, Value::Float(*value)));
        let histograms = histograms
            .times
            .iter()
            .zip(histograms.values)
            .map(|(at, value)| super::sample(*at, Value::Histogram(Arc::clone(value))));
        let mut all: Vec<Sample> = floats.chain(histograms).collect();
        all.sort_by_key(|sample| sample.at_ms);
        all
    }
}
