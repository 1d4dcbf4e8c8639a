//! Samples from the source: as instant vectors, and as ranges.
//!
//! In: a selector and the times it is asked for. Out: rows with the latest sample that is no older than the lookback, or the
//! samples of a range for each series. Every sample that is loaded counts against the query's limit; above it, and where the
//! source fails, the query ends with a [`Fault`].

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Query;
use super::functions::boundary;
use super::grid::{Grid, Shift};
use super::ranged::{Ranged, later_than};
use super::rows::Row;
use crate::annotations::Annotations;
use crate::error::Fault;
use crate::parse::ast::{Boundary, Matrix, Needs, Selector, Subquery};
use crate::{
    Buckets, Column, CounterReset, Histogram, Labels, Sample, Samples, Select, Series, StartTimes,
    StartedSeries, Value, is_stale,
};

/// Which samples of a window of time have to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apart {
    /// All of them.
    All,
    /// So many that what lies before the first and behind the last hardly counts: what is asked is how far it came
    /// between them.
    Sparse,
    /// So many that the last is no older than a sample may be.
    Last,
}

impl Apart {
    /// How far samples may lie apart that are looked at through windows so long, as [`Select::step_ms`] has it. A single
    /// time is answered exactly: alerts hang on it.
    pub(super) fn step(self, grid: Grid, window_ms: i64) -> i64 {
        let parts = match self {
            Self::All => return 0,
            // With a fifth of the window, rates were seen to be off by a fifth; with a twentieth by a twentieth at most.
            Self::Sparse => 20,
            Self::Last => 5,
        };
        if grid.steps() > 1 { grid.step.min(window_ms / parts) } else { 0 }
    }
}

impl Query<'_> {
    /// Everything a selector needs, read at once.
    fn load(&self, selector: &Selector, select: &Select, at: usize) -> Result<Vec<StartedSeries>, Fault> {
        let mut series = self.select(select, at)?;
        if selector.needs == Needs::CountAndSum {
            let values = |started: &'_ mut StartedSeries| {
                let values = started.series.samples.iter_mut().map(|sample| &mut sample.value);
                without_buckets(values.filter_map(|value| match value {
                    Value::Histogram(histogram) => Some(histogram),
                    Value::Float(_) => None,
                }));
            };
            series.iter_mut().for_each(values);
        }
        Ok(series)
    }

    pub(super) fn select(&self, select: &Select, at: usize) -> Result<Vec<StartedSeries>, Fault> {
        if select.from_ms > select.to_ms {
            return Ok(Vec::new());
        }
        self.go_on(at)?;
        let series = match self.options.start_times {
            StartTimes::Used => self.source.select_started(select),
            StartTimes::Ignored => self.source.select(select).map(|all| {
                all.into_iter().map(|series| StartedSeries { series, starts_ms: Vec::new() }).collect()
            }),
        };
        let series = series.map_err(|error| Fault::source(at, &error))?;
        let weights = series.iter().flat_map(|started| &started.series.samples).map(weight);
        self.have_loaded(self.loaded.get() + weights.sum::<u64>(), at)?;
        Ok(series)
    }

    /// Remembers how many samples were read so far.
    ///
    /// # Errors
    /// Where it is too many.
    fn have_loaded(&self, loaded: u64, at: usize) -> Result<(), Fault> {
        self.loaded.set(loaded);
        let limit = self.limits.samples;
        if loaded <= limit {
            return Ok(());
        }
        let message =
            format!("the query needs more than {limit} samples; ask for fewer series or a shorter time");
        Err(Fault::too_much(at, message))
    }

    /// What `make` makes of each series that is read, by labels. It is made on the threads that read, as soon as a series
    /// is there, so that no more than what is made is held; not asked for the times at which counters began.
    fn of_each<R: Send>(
        &self,
        selector: &Selector,
        select: &Select,
        grid: Grid,
        at: usize,
        make: impl Fn(&Labels, &mut Samples, &RefCell<Annotations>) -> Option<R> + Sync,
    ) -> Result<Vec<R>, Fault> {
        if select.from_ms > select.to_ms {
            return Ok(Vec::new());
        }
        self.go_on(at)?;
        let (limits, steps) = (self.limits, grid.step_count());
        let (loaded, rows) = (AtomicU64::new(self.loaded.get()), AtomicUsize::new(0));
        let made: Mutex<Vec<(Labels, R, Annotations)>> = Mutex::default();
        let take = |labels: &Labels, samples: &mut Samples| {
            let weight = samples_weight(samples);
            let loaded = loaded.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
            if loaded > limits.samples || (limits.cancelled)() {
                return ControlFlow::Break(());
            }
            let rows = rows.fetch_add(1, Ordering::Relaxed) as u64 + 1;
            // What is too much is only counted, to say how much it is.
            if rows.saturating_mul(steps) > limits.points {
                return ControlFlow::Continue(());
            }
            if selector.needs == Needs::CountAndSum {
                without_buckets(samples.histograms.values.iter_mut());
            }
            let notes = RefCell::default();
            if let Some(row) = make(labels, samples, &notes) {
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                made.push((labels.clone(), row, notes.into_inner()));
            }
            ControlFlow::Continue(())
        };
        self.source.each(select, &take).map_err(|error| Fault::source(at, &error))?;
        self.have_loaded(loaded.into_inner(), at)?;
        self.go_on(at)?;
        self.may_hold(rows.into_inner(), grid, at)?;
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.sort_unstable_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut all = self.notes.borrow_mut();
        let each = made.into_iter().map(|(_, row, notes)| {
            all.extend(notes);
            row
        });
        Ok(each.collect())
    }

    /// What `make` makes of each series of a range vector, with what lies in the ranges of all times; by labels.
    pub(super) fn of_ranged<R: Send>(
        &self,
        matrix: &Matrix,
        apart: Apart,
        grid: Grid,
        at: usize,
        make: impl Fn(&mut Ranged, &RefCell<Annotations>) -> Option<R> + Sync,
    ) -> Result<Vec<R>, Fault> {
        if self.options.start_times == StartTimes::Used {
            let (all, _, _) = self.ranged(matrix, apart, grid, at)?;
            self.may_hold(all.len(), grid, at)?;
            let made = all.into_iter().filter_map(|mut ranged| make(&mut ranged, &self.notes));
            return Ok(made.collect());
        }
        let Some((select, _, _)) = self.ranged_select(matrix, apart, grid)? else { return Ok(Vec::new()) };
        self.of_each(&matrix.selector, &select, grid, at, |labels, samples, notes| {
            let mut ranged = Ranged::of_samples(labels.clone(), samples);
            let made = make(&mut ranged, notes);
            ranged.give_back(samples);
            made
        })
    }

    /// At each time the last sample of each series, unless it is older than the lookback or says that the series ended.
    pub(super) fn instant_vector(
        &self,
        selector: &Selector,
        grid: Grid,
        at: usize,
    ) -> Result<Vec<Row>, Fault> {
        let shift = self.shift(selector.pin, selector.offset.as_ref())?;
        if selector.boundary == Boundary::Smoothed {
            let series = self.instant_samples(selector, shift, grid, at)?;
            return boundary::smoothed(self, series, shift, grid, at);
        }
        if grid.steps() == 0 {
            return Ok(Vec::new());
        }
        let lookback = self.options.lookback_ms;
        let select = self.instant_select(selector, shift, grid);
        self.of_each(selector, &select, grid, at, |labels, samples, _| {
            let points = latest_of(samples, grid, shift, lookback);
            let row = Row { labels: labels.clone(), drop_name: false, points };
            (!row.is_empty()).then_some(row)
        })
    }

    /// What has to be read for an instant vector.
    fn instant_select(&self, selector: &Selector, shift: Shift, grid: Grid) -> Select {
        let (first, last) = shift.bounds(grid);
        let lookback = self.options.lookback_ms;
        let smoothed = selector.boundary == Boundary::Smoothed;
        let (beyond, apart) = if smoothed { (lookback, Apart::All) } else { (0, Apart::Last) };
        Select {
            matchers: selector.matchers.clone(),
            from_ms: first.saturating_sub(lookback).saturating_add(1),
            to_ms: last.saturating_add(beyond),
            step_ms: apart.step(grid, lookback),
        }
    }

    pub(super) fn instant_samples(
        &self,
        selector: &Selector,
        shift: Shift,
        grid: Grid,
        at: usize,
    ) -> Result<Vec<StartedSeries>, Fault> {
        if grid.steps() == 0 {
            return Ok(Vec::new());
        }
        self.load(selector, &self.instant_select(selector, shift, grid), at)
    }

    /// What lies in the ranges of all times, by series.
    pub(super) fn ranged(
        &self,
        matrix: &Matrix,
        apart: Apart,
        grid: Grid,
        at: usize,
    ) -> Result<(Vec<Ranged>, Shift, i64), Fault> {
        let Some((select, shift, range)) = self.ranged_select(matrix, apart, grid)? else {
            return Ok((Vec::new(), Shift::new(None, 0), 0));
        };
        let series = self.load(&matrix.selector, &select, at)?;
        Ok((series.into_iter().map(Ranged::of).collect(), shift, range))
    }

    /// What has to be read for a range vector, with how it moves times and its range; none where there are no times.
    fn ranged_select(
        &self,
        matrix: &Matrix,
        apart: Apart,
        grid: Grid,
    ) -> Result<Option<(Select, Shift, i64)>, Fault> {
        let range = self.positive_ms(&matrix.range)?;
        let shift = self.shift(matrix.selector.pin, matrix.selector.offset.as_ref())?;
        if grid.steps() == 0 {
            return Ok(None);
        }
        let (first, last) = shift.bounds(grid);
        let lookback = self.options.lookback_ms;
        let (before, beyond) = match matrix.selector.boundary {
            Boundary::Plain => (0, 0),
            Boundary::Anchored => (lookback, 0),
            Boundary::Smoothed => (lookback, lookback),
        };
        let apart = if matrix.selector.boundary == Boundary::Plain { apart } else { Apart::All };
        let select = Select {
            matchers: matrix.selector.matchers.clone(),
            from_ms: first.saturating_sub(range).saturating_sub(before).saturating_add(1),
            to_ms: last.saturating_add(beyond),
            step_ms: apart.step(grid, range),
        };
        Ok(Some((select, shift, range)))
    }

    /// A range vector as it is, at one time.
    pub(super) fn raw_range(&self, matrix: &Matrix, grid: Grid, at: usize) -> Result<Vec<Series>, Fault> {
        let (all, shift, range) = self.ranged(matrix, Apart::All, grid, at)?;
        let to = shift.of(grid.from);
        let from = to.saturating_sub(range);
        let mut out = Vec::new();
        for ranged in all {
            let samples = match matrix.selector.boundary {
                Boundary::Plain => ranged.samples(from, to),
                boundary => {
                    let word = if boundary == Boundary::Anchored { "anchored" } else { "smoothed" };
                    if !ranged.histograms.times.is_empty() {
                        let message = format!("{word} modifier is not supported with histograms");
                        return Err(Fault::execution(at, message));
                    }
                    boundary::extended(&ranged.floats, from, to, self.options.lookback_ms, boundary)
                }
            };
            if !samples.is_empty() {
                out.push(Series { labels: ranged.labels, samples });
            }
        }
        Ok(out)
    }

    /// What is inside of a subquery, at its own times.
    pub(super) fn subquery(
        &self,
        subquery: &Subquery,
        grid: Grid,
        at: usize,
    ) -> Result<(Grid, Vec<Row>), Fault> {
        let (inner, _, _) = self.subquery_grid(subquery, grid)?;
        if grid.steps() == 0 {
            return Ok((Grid::new(0, -1, 1), Vec::new()));
        }
        self.may_hold(1, inner, at)?;
        Ok((inner, self.eval(&subquery.inner, inner)?.vector()))
    }

    pub(super) fn ranged_subquery(
        &self,
        subquery: &Subquery,
        grid: Grid,
        at: usize,
    ) -> Result<(Vec<Ranged>, Shift, i64), Fault> {
        let (_, shift, range) = self.subquery_grid(subquery, grid)?;
        let (inner, rows) = self.subquery(subquery, grid, at)?;
        let times: Vec<i64> = inner.times().collect();
        Ok((rows.into_iter().map(|row| Ranged::of_row(row, &times)).collect(), shift, range))
    }
}

/// Finds out of every histogram but the first whether it was reset, and leaves its buckets out.
fn without_buckets<'h>(histograms: impl Iterator<Item = &'h mut Arc<Histogram>>) {
    let mut before: Option<Arc<Histogram>> = None;
    for value in histograms {
        let h = Arc::clone(value);
        let mut reset = h.reset;
        if let (CounterReset::Unknown, Some(before), false) = (reset, &before, h.is_stale()) {
            reset = if h.is_reset_after(before) { CounterReset::Reset } else { CounterReset::NotReset };
        }
        let bare = Histogram {
            schema: h.schema,
            count: h.count,
            sum: h.sum,
            zero_threshold: 0.0,
            zero_count: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            custom_values: [].into(),
            reset,
        };
        if !h.is_stale() {
            before = Some(h);
        }
        *value = bare.into();
    }
}

/// Each bucket of a histogram counts as a sample.
fn weight(sample: &Sample) -> u64 {
    match &sample.value {
        Value::Float(_) => 1,
        Value::Histogram(h) => histogram_weight(h),
    }
}

fn histogram_weight(h: &Histogram) -> u64 {
    1 + (h.positive.counts.len() + h.negative.counts.len()) as u64
}

fn samples_weight(samples: &Samples) -> u64 {
    let histograms = samples.histograms.values.iter().map(|h| histogram_weight(h));
    samples.floats.len() as u64 + histograms.sum::<u64>()
}

/// The last samples of a series at rising times.
pub(super) struct Latest<'s> {
    samples: &'s [Sample],
    behind: usize,
    lookback: i64,
}

impl<'s> Latest<'s> {
    pub(super) fn new(samples: &'s [Sample], lookback: i64) -> Self {
        Self { samples, behind: 0, lookback }
    }

    /// With its place among the samples.
    pub(super) fn at(&mut self, time: i64) -> Option<(usize, &'s Sample)> {
        while self.samples.get(self.behind).is_some_and(|sample| sample.at_ms <= time) {
            self.behind += 1;
        }
        let at = self.behind.checked_sub(1)?;
        let sample = &self.samples[at];
        let fresh = sample.at_ms > time.saturating_sub(self.lookback);
        (fresh && !sample.value.is_stale()).then_some((at, sample))
    }
}

/// The last value of a series at each time.
fn latest_of(samples: &Samples, grid: Grid, shift: Shift, lookback: i64) -> Vec<Option<Value>> {
    if !samples.histograms.is_empty() {
        let samples = samples.to_vec();
        let mut latest = Latest::new(&samples, lookback);
        let points = grid.times().map(|time| Some(latest.at(shift.of(time))?.1.value.clone()));
        return points.collect();
    }
    let Column { times, values } = &samples.floats;
    let mut behind = 0;
    let points = grid.times().map(|time| {
        let time = shift.of(time);
        behind = later_than(times, behind, time);
        let at = behind.checked_sub(1)?;
        let fresh = times[at] > time.saturating_sub(lookback);
        (fresh && !is_stale(values[at])).then_some(Value::Float(values[at]))
    });
    points.collect()
}
