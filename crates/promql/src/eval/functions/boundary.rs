//! `anchored` and `smoothed`: ranges that reach exactly from their beginning to their end.
//!
//! Anchored, the value at a boundary is that of the last sample before it; smoothed, it lies on the line between the samples
//! around it. Samples are looked for one lookback beyond the range.

use std::sync::Arc;

use super::rate::{Kind, Per, began_anew, mixed_schemas, not_counter, not_gauge, noted};
use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::{Grid, Shift};
use crate::eval::over_range::Window;
use crate::eval::ranged::{Part, Ranged, Track};
use crate::eval::rows::Row;
use crate::histogram::{MixedSchemas, Precision, Tally};
use crate::parse::ast::Boundary;
use crate::{CounterReset, Histogram, METRIC_NAME, Sample, StartedSeries, Value};

/// A value at a time, with when its counter began: at a boundary there need not be a sample.
#[derive(Debug, Clone, Copy)]
struct Edge {
    value: f64,
    start: i64,
}

/// Samples around a range.
struct Around<'w> {
    part: Part<'w, f64>,
    from: i64,
    to: i64,
    /// From where on samples were looked for.
    sought_from: i64,
    smoothed: bool,
    kind: Kind,
}

/// The last sample at or before the beginning, or the first there is; and the last that matters for the end.
fn ends(times: &[i64], from: i64, to: i64, smoothed: bool) -> (usize, usize) {
    let last = times.len() - 1;
    let first = times[..last].partition_point(|time| *time <= from).saturating_sub(1);
    let last = if smoothed { times[..last].partition_point(|time| *time < to) } else { last };
    (first, last)
}

/// Whether a counter began after a time.
fn began_after(time: i64, start: i64, at: i64) -> bool {
    start > time && at > time && began_anew(time, time, start, at)
}

fn on_line((t1, y1): (i64, f64), (t2, y2): (i64, f64), t: i64, kind: Kind) -> f64 {
    // A counter that fell began anew, at zero.
    let y1 = if kind == Kind::Counter && y2 < y1 { 0.0 } else { y1 };
    y1 + (y2 - y1) * (t - t1) as f64 / (t2 - t1) as f64
}

impl Around<'_> {
    fn at(&self, place: usize) -> (i64, f64) {
        (self.part.times[place], self.part.values[place])
    }

    fn left(&self, first: usize) -> Edge {
        let (at, value) = self.at(first);
        let first_start = self.part.start(first);
        let start = if first_start > self.from { 0 } else { first_start };
        if at == self.from {
            return Edge { value, start: first_start };
        }
        if at > self.from {
            return Edge { value: self.alone(first, self.from), start };
        }
        let (mut before, mut after, mut start) = ((at, value), self.at(first + 1), start);
        let next_start = self.part.start(first + 1);
        if self.kind == Kind::Counter {
            if began_after(self.from, next_start, after.0) {
                after = (next_start, 0.0);
            } else if began_anew(first_start, before.0, next_start, after.0) {
                before = (next_start, 0.0);
                start = next_start;
            }
        }
        let value = if self.smoothed { on_line(before, after, self.from, self.kind) } else { before.1 };
        Edge { value, start }
    }

    fn right(&self, last: usize) -> Edge {
        let (at, value) = self.at(last);
        let last_start = self.part.start(last);
        let start = if last_start > self.to { 0 } else { last_start };
        if at <= self.to {
            return Edge { value, start };
        }
        if last == 0 {
            return Edge { value: self.alone(last, self.to), start };
        }
        let (mut before, mut after, mut start) = (self.at(last - 1), (at, value), start);
        let start_before = self.part.start(last - 1);
        if self.kind == Kind::Counter {
            if began_after(self.to, last_start, after.0) {
                after = (last_start, 0.0);
                start = start_before;
            } else if began_anew(start_before, before.0, last_start, after.0) {
                before = (last_start, 0.0);
            }
        }
        let value = if self.smoothed { on_line(before, after, self.to, self.kind) } else { before.1 };
        Edge { value, start }
    }

    /// The value at a boundary before the first sample there is.
    fn alone(&self, place: usize, boundary: i64) -> f64 {
        let (at, value) = self.at(place);
        let start = self.part.start(place);
        if self.kind == Kind::Gauge || !began_after(self.sought_from, start, at) {
            return value;
        }
        // It began in between: before that it was zero, and since then it rose.
        if began_after(boundary, start, at) || !self.smoothed {
            return 0.0;
        }
        on_line((start, 0.0), (at, value), boundary, self.kind)
    }
}

/// The change between the boundaries of a range.
pub(super) fn change(window: &Window<'_>, kind: Kind, per: Per) -> Option<Value> {
    let part = window.floats;
    let smoothed = window.boundary == Boundary::Smoothed;
    let sought_from = window.from.saturating_sub(window.lookback);
    let around = Around { part, from: window.from, to: window.to, sought_from, smoothed, kind };
    let (mut first, mut last) = ends(part.times, window.from, window.to, smoothed);
    if part.times[last] <= window.from {
        return None;
    }
    let (first_at, first_start) = (part.times[first], part.start(first));
    if smoothed && first_at > window.to {
        let began = kind == Kind::Counter && began_after(sought_from, first_start, first_at);
        if !began || began_after(window.to, first_start, first_at) {
            return None;
        }
    }
    let (left, right) = (around.left(first), around.right(last));
    let mut changed = right.value - left.value;
    if kind == Kind::Counter {
        if part.times[first] <= window.from {
            first += 1;
        }
        let end = if part.times[last] >= window.to { last } else { last + 1 };
        last = end.max(first);
        changed += corrections(left, right, &part.slice(first, last), window.from, window.to);
    }
    if per == Per::Second {
        changed /= window.range_s;
    }
    Some(Value::Float(changed))
}

/// What counters lost when they began anew.
fn corrections(left: Edge, right: Edge, inside: &Part<'_, f64>, from: i64, to: i64) -> f64 {
    let mut lost = 0.0;
    let mut before = (left, from);
    let samples = (0..inside.len())
        .map(|at| (Edge { value: inside.values[at], start: inside.start(at) }, inside.times[at]))
        .chain([(right, to)]);
    for (edge, at) in samples {
        if edge.value < before.0.value || began_anew(before.0.start, before.1, edge.start, at) {
            lost += before.0.value;
        }
        before = (edge, at);
    }
    lost
}

/// A range vector with a value at both of its boundaries.
pub(in crate::eval) fn extended(
    track: &Track<f64>,
    from: i64,
    to: i64,
    lookback: i64,
    boundary: Boundary,
) -> Vec<Sample> {
    let smoothed = boundary == Boundary::Smoothed;
    let beyond = if smoothed { lookback } else { 0 };
    let sought_from = from.saturating_sub(lookback);
    let part = track.part(sought_from, to.saturating_add(beyond), &mut (0, 0));
    if part.is_empty() {
        return Vec::new();
    }
    let (mut first, last) = ends(part.times, from, to, smoothed);
    if part.times[last] <= from {
        return Vec::new();
    }
    let around = Around { part, from, to, sought_from, smoothed, kind: Kind::Gauge };
    let sample = |at_ms: i64, value: f64| Sample { at_ms, value: Value::Float(value) };
    let mut out = vec![sample(from, around.left(first).value)];
    let right = around.right(last).value;
    if part.times[first] <= from {
        first += 1;
    }
    let end = if part.times[last] >= to { last } else { last + 1 };
    out.extend((first..end.max(first)).map(|at| sample(part.times[at], part.values[at])));
    out.push(sample(to, right));
    out
}

/// Between two histograms, at a time between theirs.
fn histogram_on_line(
    before: (i64, &Histogram),
    after: (i64, &Histogram),
    at: i64,
    kind: Kind,
    reconciled: &mut dyn FnMut(&str),
) -> Result<Histogram, MixedSchemas> {
    if at == before.0 {
        return Ok(before.1.clone());
    }
    if at == after.0 {
        return Ok(after.1.clone());
    }
    let share = (at - before.0) as f64 / (after.0 - before.0) as f64;
    if kind == Kind::Counter && after.1.is_reset_after(before.1) {
        return Ok(after.1.times(share));
    }
    let mut tally = Tally::of(after.1);
    if tally.subtract(before.1)?.bounds_reconciled {
        reconciled("subtraction");
    }
    tally.scale(share);
    if tally.add(before.1, Precision::Plain)?.bounds_reconciled {
        reconciled("addition");
    }
    Ok(tally.finish())
}

/// The change of histograms between the boundaries of a range.
pub(super) fn histogram_change(window: &Window<'_>, kind: Kind, per: Per) -> Option<Value> {
    let part = window.histograms;
    let smoothed = window.boundary == Boundary::Smoothed;
    let (first, last) = ends(part.times, window.from, window.to, smoothed);
    if part.times[last] <= window.from || (smoothed && part.times[first] > window.to) {
        return None;
    }
    let custom = part.values[first].uses_custom_buckets();
    for h in &part.values[first..=last.max(first)] {
        if h.uses_custom_buckets() != custom {
            mixed_schemas(window);
            return None;
        }
        if kind == Kind::Counter && h.reset == CounterReset::Gauge {
            not_counter(window);
        }
    }
    let between = |before: usize, at: i64| {
        let pair = |at: usize| (part.times[at], &*part.values[at]);
        let mut said = |operation: &str| {
            window.info(format!("mismatched custom buckets were reconciled during {operation}"));
        };
        histogram_on_line(pair(before), pair(before + 1), at, kind, &mut said)
    };
    let left = if smoothed && part.times[first] < window.from {
        between(first, window.from)
    } else {
        Ok((*part.values[first]).clone())
    };
    let right = if smoothed && last > 0 && part.times[last] > window.to {
        between(last - 1, window.to)
    } else {
        Ok((*part.values[last]).clone())
    };
    let (Ok(left), Ok(right)) = (left, right) else {
        mixed_schemas(window);
        return None;
    };
    if kind == Kind::Gauge && (left.reset != CounterReset::Gauge || right.reset != CounterReset::Gauge) {
        not_gauge(window);
    }
    let mut tally = Tally::of(&right);
    noted(window, tally.subtract(&left), "subtraction")?;
    if kind == Kind::Counter {
        add_lost(window, &mut tally, (first, last), &left, &right, smoothed)?;
    }
    let mut changed = tally.finish();
    changed.reset = CounterReset::Gauge;
    if per == Per::Second {
        changed = changed.divided_by(window.range_s);
    }
    Some(Value::Histogram(changed.into()))
}

/// Adds what counters lost when they began anew between the boundaries.
fn add_lost(
    window: &Window<'_>,
    tally: &mut Tally,
    (first, last): (usize, usize),
    left: &Histogram,
    right: &Histogram,
    smoothed: bool,
) -> Option<()> {
    let part = window.histograms;
    let mut before = left;
    let mut next = first + 1;
    if smoothed
        && part.times[first] < window.from
        && part.values[first + 1].is_reset_after(&part.values[first])
    {
        // The left boundary lies between a sample and its reset, and knows of it.
        before = &part.values[first + 1];
        next += 1;
    }
    if next > last {
        return Some(());
    }
    for h in part.values[next..last].iter().map(|h| &**h).chain([right]) {
        if h.is_reset_after(before) {
            noted(window, tally.add(before, Precision::Plain), "addition")?;
        }
        before = h;
    }
    Some(())
}

/// An instant vector whose values lie on the line between the samples around each time.
pub(in crate::eval) fn smoothed(
    query: &Query<'_>,
    series: Vec<StartedSeries>,
    shift: Shift,
    grid: Grid,
    at: usize,
) -> Result<Vec<Row>, Fault> {
    query.may_hold(series.len(), grid, at)?;
    let lookback = query.options.lookback_ms;
    let mut rows = Vec::new();
    for ranged in series.into_iter().map(Ranged::of) {
        let (mut floats_at, mut histograms_at) = ((0, 0), (0, 0));
        let mut points = Vec::with_capacity(grid.steps());
        for time in grid.times() {
            let time = shift.of(time);
            let (from, to) = (time.saturating_sub(lookback), time.saturating_add(lookback));
            let floats = ranged.floats.part(from, to, &mut floats_at);
            let histograms = ranged.histograms.part(from, to, &mut histograms_at);
            points.push(match (floats.is_empty(), histograms.is_empty()) {
                (true, true) => None,
                (false, true) => smoothed_float(&floats, time),
                (true, false) => {
                    smoothed_histogram(query, &histograms, time, ranged.labels.get(METRIC_NAME), at)
                }
                (false, false) => {
                    let metric = ranged.labels.get(METRIC_NAME);
                    query.warn(
                        at,
                        format!("encountered a mix of histograms and floats for metric name {metric:?}"),
                    );
                    None
                }
            });
        }
        let row = Row { labels: ranged.labels, drop_name: false, points };
        if !row.is_empty() {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn smoothed_float(part: &Part<'_, f64>, time: i64) -> Option<Value> {
    let next = part.times.partition_point(|at| *at < time);
    if part.times.get(next) == Some(&time) {
        return Some(Value::Float(part.values[next]));
    }
    let before = next.checked_sub(1)?;
    let pair = |at: usize| (part.times[at], part.values[at]);
    // No sample beyond: the last one stays.
    let value = if next < part.len() {
        on_line(pair(before), pair(next), time, Kind::Gauge)
    } else {
        part.values[before]
    };
    Some(Value::Float(value))
}

fn smoothed_histogram(
    query: &Query<'_>,
    part: &Part<'_, Arc<Histogram>>,
    time: i64,
    metric: &str,
    at: usize,
) -> Option<Value> {
    let next = part.times.partition_point(|at| *at < time);
    if part.times.get(next) == Some(&time) {
        return Some(Value::Histogram(Arc::clone(&part.values[next])));
    }
    let before = next.checked_sub(1)?;
    let pair = |at: usize| (part.times[at], &*part.values[at]);
    if next == part.len() {
        let mut last = (*part.values[before]).clone();
        last.reset = CounterReset::Unknown;
        return Some(Value::Histogram(last.into()));
    }
    let mixed = || {
        let text =
            "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
        query.warn(at, format!("{text} {metric:?}"));
    };
    let gauges = [before, next].iter().all(|at| part.values[*at].reset == CounterReset::Gauge);
    let kind = if gauges { Kind::Gauge } else { Kind::Counter };
    let mut said = |operation: &str| {
        query.info(at, format!("mismatched custom buckets were reconciled during {operation}"));
    };
    if pair(before).1.uses_custom_buckets() != pair(next).1.uses_custom_buckets() {
        mixed();
        return None;
    }
    match histogram_on_line(pair(before), pair(next), time, kind, &mut said) {
        Ok(value) => Some(Value::Histogram(value.into())),
        Err(MixedSchemas) => {
            mixed();
            None
        }
    }
}
