//! `rate`, `increase`, `delta`, `irate` and `idelta`.
//!
//! In: the samples of one series in a range, its ends in milliseconds. Out: the change, by the second for `rate` and `irate`;
//! none where there are too few samples. Formulas and extrapolation are Prometheus' (`promql/functions.go`); what makes an
//! answer doubtful, such as numbers among histograms, is noted.

use std::cell::RefCell;
use std::sync::Arc;

use super::boundary;
use crate::annotations::Annotations;
use crate::error::Fault;
use crate::eval::over_range::Window;
use crate::eval::ranged::Part;
use crate::histogram::{Added, MixedSchemas, Tally};
use crate::parse::ast::Boundary;
use crate::{CounterReset, Histogram, Value};

/// What is measured: a counter's resets are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// Whether the change is divided by the time it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    Second,
    Range,
}

pub(super) fn rate(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    change(window, Kind::Counter, Per::Second)
}

pub(super) fn increase(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    change(window, Kind::Counter, Per::Range)
}

pub(super) fn delta(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    change(window, Kind::Gauge, Per::Range)
}

/// Says that a metric whose name does not end as counters' names do may be none.
pub(in crate::eval) fn note_counter(
    metric: &str,
    points: &[Option<Value>],
    at: usize,
    notes: &RefCell<Annotations>,
) {
    let named = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
    if metric.is_empty() || named || !points.iter().any(|point| matches!(point, Some(Value::Float(_)))) {
        return;
    }
    let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
    notes.borrow_mut().info(at, format!("{text} {metric:?}"));
}

/// The change over the range: what the samples say, extrapolated to the ends of the range where they come close to them.
fn change(window: &Window<'_>, kind: Kind, per: Per) -> Result<Option<Value>, Fault> {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        mixed_kinds(window);
        return Ok(None);
    }
    if window.boundary != Boundary::Plain {
        return Ok(if window.histograms.is_empty() {
            boundary::change(window, kind, per)
        } else {
            boundary::histogram_change(window, kind, per)
        });
    }
    Ok(if window.histograms.is_empty() {
        float_change(window, kind).and_then(|mut changed| {
            let first = window.floats.values[0];
            if let Some(began) = began_inside(&window.floats, window.from, kind) {
                changed += first;
                return Some(Value::Float(changed * factor(window, &window.floats, began, per, None)?));
            }
            let to_zero = (changed > 0.0 && first >= 0.0).then_some(first / changed);
            Some(Value::Float(changed * factor(window, &window.floats, Began::Unknown(kind), per, to_zero)?))
        })
    } else {
        histogram_change(window, kind, per)
    })
}

/// When the counter of the first sample began.
#[derive(Debug, Clone, Copy)]
enum Began {
    /// At this time, inside of the range: nothing has to be guessed.
    At(i64),
    Unknown(Kind),
}

fn began_inside<T>(part: &Part<'_, T>, from: i64, kind: Kind) -> Option<Began> {
    let start = part.start(0);
    let inside = kind == Kind::Counter && start != 0 && start > from && start < part.times[0];
    inside.then_some(Began::At(start))
}

/// What the change between the samples has to be multiplied by. None where there are too few of them.
fn factor<T>(
    window: &Window<'_>,
    part: &Part<'_, T>,
    began: Began,
    per: Per,
    to_zero: Option<f64>,
) -> Option<f64> {
    let (first, last) = (*part.times.first()?, *part.times.last()?);
    let gaps = (part.len() - 1) as f64;
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let mut to_start = seconds(first - window.from);
    let mut to_end = seconds(window.to - last);
    let mut sampled = seconds(last - first);
    let average = if gaps > 0.0 { sampled / gaps } else { 0.0 };
    // Farther from the end of the range than a sample could be late: the series begins or ends inside of it.
    let far = average * 1.1;
    match began {
        Began::At(start) => {
            to_start = 0.0;
            sampled = seconds(last - start);
        }
        Began::Unknown(_) if gaps == 0.0 => return None,
        Began::Unknown(kind) => {
            if to_start >= far {
                to_start = average / 2.0;
            }
            // A counter is not below zero: it cannot have begun before it was.
            if let (Kind::Counter, Some(share)) = (kind, to_zero) {
                to_start = to_start.min(sampled * share);
            }
        }
    }
    if to_end >= far {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if per == Per::Second {
        factor /= window.range_s;
    }
    Some(factor)
}

fn float_change(window: &Window<'_>, kind: Kind) -> Option<f64> {
    let part = &window.floats;
    let (first, last) = (part.values.first()?, part.values.last()?);
    let mut changed = last - first;
    if kind == Kind::Gauge {
        return Some(changed);
    }
    if let Some(falls) = window.falls {
        falls.places().for_each(|at| changed += part.values[at - 1]);
        return Some(changed);
    }
    note_overlap(window, part);
    for at in 1..part.len() {
        if part.values[at] < part.values[at - 1] || restarted(part, at) {
            changed += part.values[at - 1];
        }
    }
    Some(changed)
}

fn histogram_change(window: &Window<'_>, kind: Kind, per: Per) -> Option<Value> {
    let part = &window.histograms;
    let first = &part.values[0];
    let changed = if part.len() > 1 { Some(histogram_difference(window, kind)?) } else { None };
    let began = began_inside(part, window.from, kind);
    let (changed, factor) = match (changed, began) {
        (None, None) => return None,
        (None, Some(began)) => ((**first).clone(), factor(window, part, began, per, None)?),
        (Some(changed), Some(began)) => {
            let mut tally = Tally::of(&changed);
            noted(window, tally.add(first, crate::histogram::Precision::Plain), "addition")?;
            (tally.finish(), factor(window, part, began, per, None)?)
        }
        (Some(changed), None) => {
            let to_zero = (changed.count > 0.0 && first.count >= 0.0).then_some(first.count / changed.count);
            let factor = factor(window, part, Began::Unknown(kind), per, to_zero)?;
            (changed, factor)
        }
    };
    Some(Value::Histogram(changed.times(factor).into()))
}

/// From the first to the last of at least two histograms. None where they cannot be compared.
fn histogram_difference(window: &Window<'_>, kind: Kind) -> Option<Histogram> {
    let part = &window.histograms;
    let (first, last) = (&part.values[0], &part.values[part.len() - 1]);
    let counter = kind == Kind::Counter;
    let gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
    if counter && part.values.iter().any(|h| gauge(h)) {
        not_counter(window);
    }
    // Nothing of the first is counted where the second begins anew: its buckets do not matter.
    let anew = counter && (restarted(part, 1) || part.values[1].is_reset_after(first));
    let custom = if anew { &part.values[1] } else { first }.uses_custom_buckets();
    let same = |h: &Arc<Histogram>| h.uses_custom_buckets() == custom;
    if !same(last) || (counter && !part.values[1..part.len() - 1].iter().all(same)) {
        mixed_schemas(window);
        return None;
    }
    let mut tally = Tally::of(last);
    if counter {
        // Coarsest first, so that nothing is brought to a coarser schema twice.
        for h in &part.values[usize::from(anew)..part.len() - 1] {
            tally.coarsen(h.schema);
        }
    }
    if !anew {
        noted(window, tally.subtract(first), "subtraction")?;
    }
    if counter {
        note_overlap(window, part);
        let from = if anew { 2 } else { 1 };
        for at in from..part.len() {
            let before = &part.values[at - 1];
            if restarted(part, at) || part.values[at].is_reset_after(before) {
                noted(window, tally.add(before, crate::histogram::Precision::Plain), "addition")?;
            }
        }
    } else if !gauge(first) || !gauge(last) {
        not_gauge(window);
    }
    let mut changed = tally.finish();
    changed.reset = CounterReset::Gauge;
    Some(changed)
}

/// Says what happened while histograms were added. None where they could not be.
pub(super) fn noted(window: &Window<'_>, added: Result<Added, MixedSchemas>, operation: &str) -> Option<()> {
    match added {
        Ok(added) => {
            if added.bounds_reconciled {
                window.info(format!("mismatched custom buckets were reconciled during {operation}"));
            }
            Some(())
        }
        Err(MixedSchemas) => {
            mixed_schemas(window);
            None
        }
    }
}

pub(super) fn mixed_schemas(window: &Window<'_>) {
    let text =
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
    window.warn(format!("{text} {:?}", window.metric()));
}

pub(super) fn mixed_kinds(window: &Window<'_>) {
    window.warn(format!("encountered a mix of histograms and floats for metric name {:?}", window.metric()));
}

pub(super) fn not_counter(window: &Window<'_>) {
    window.warn(format!("this native histogram metric is not a counter: {:?}", window.metric()));
}

pub(super) fn not_gauge(window: &Window<'_>) {
    window.warn(format!("this native histogram metric is not a gauge: {:?}", window.metric()));
}

/// Whether the counter of a sample began after the sample before it.
pub(super) fn restarted<T>(part: &Part<'_, T>, at: usize) -> bool {
    part.knows_starts() && began_anew(part.start(at - 1), part.times[at - 1], part.start(at), part.times[at])
}

/// Whether a counter began anew between two samples, by the times at which their counters began.
pub(super) fn began_anew(start_before: i64, before: i64, start: i64, at: i64) -> bool {
    // The same, not known, or not before the sample, which OpenTelemetry means as not known.
    if start_before == start || start == 0 || start >= at || start < before {
        return false;
    }
    // Right at the sample before: the next of deltas, or a counter whose beginning is not known.
    start > before || (start_before <= before && start_before != 0 && start_before != before)
}

/// Says once for each range where a counter began before the sample before it.
fn note_overlap<T>(window: &Window<'_>, part: &Part<'_, T>) {
    let overlaps = |at: usize| {
        let start = part.start(at);
        start != 0 && start < part.times[at - 1] && start != part.start(at - 1)
    };
    if part.knows_starts() && (1..part.len()).any(overlaps) {
        window.notes.borrow_mut().overlap(window.place(0), window.metric());
    }
}

pub(super) fn irate(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    Ok(last_change(window, Kind::Counter))
}

pub(super) fn idelta(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    Ok(last_change(window, Kind::Gauge))
}

/// A sample, with when its counter began.
struct Sampled<'w> {
    at: i64,
    start: i64,
    value: Point<'w>,
}

enum Point<'w> {
    Float(f64),
    Histogram(&'w Arc<Histogram>),
}

/// From the last sample but one to the last.
fn last_change(window: &Window<'_>, kind: Kind) -> Option<Value> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let mut last: Vec<Sampled<'_>> = (floats.len().saturating_sub(2)..floats.len())
        .map(|at| Sampled {
            at: floats.times[at],
            start: floats.start(at),
            value: Point::Float(floats.values[at]),
        })
        .collect();
    last.extend((histograms.len().saturating_sub(2)..histograms.len()).map(|at| Sampled {
        at: histograms.times[at],
        start: histograms.start(at),
        value: Point::Histogram(&histograms.values[at]),
    }));
    last.sort_by_key(|sampled| sampled.at);
    let [.., before, after] = last.as_slice() else { return None };
    let seconds = (after.at - before.at) as f64 / 1000.0;
    if seconds == 0.0 {
        return None;
    }
    let counter = kind == Kind::Counter;
    let anew = counter && began_anew(before.start, before.at, after.start, after.at);
    let per = if counter { seconds } else { 1.0 };
    match (&before.value, &after.value) {
        (Point::Float(before), Point::Float(after)) => {
            let reset = counter && (after < before || anew);
            let changed = if reset { *after } else { after - before };
            Some(Value::Float(changed / per))
        }
        (Point::Histogram(before), Point::Histogram(after)) => {
            let gauges = [before, after].iter().filter(|h| h.reset == CounterReset::Gauge).count();
            if counter && gauges > 0 {
                not_counter(window);
            }
            if !counter && gauges < 2 {
                not_gauge(window);
            }
            let mut tally = Tally::of(after);
            if !counter || !(anew || after.is_reset_after(before)) {
                noted(window, tally.subtract(before), "subtraction")?;
            }
            tally.reset = CounterReset::Gauge;
            Some(Value::Histogram(tally.finish().divided_by(per).into()))
        }
        _ => {
            mixed_kinds(window);
            None
        }
    }
}
