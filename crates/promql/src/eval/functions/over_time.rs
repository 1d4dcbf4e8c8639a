//! `…_over_time` and other functions of a range that need no neighbours.

use std::sync::Arc;

use super::{rate, resets};
use crate::error::Fault;
use crate::eval::over_range::{OverRange, Window};
use crate::eval::ranged::Part;
use crate::go::General;
use crate::histogram::{MixedSchemas, Precision, Tally};
use crate::kahan::{Kahan, Mean};
use crate::{CounterReset, Histogram, Value};

pub(in crate::eval) fn function(name: &str) -> Option<OverRange> {
    Some(match name {
        "absent_over_time" | "present_over_time" => |_| Ok(Some(Value::Float(1.0))),
        "avg_over_time" => avg,
        "changes" => resets::changes,
        "count_over_time" => |window| float((window.floats.len() + window.histograms.len()) as f64),
        "delta" => rate::delta,
        "deriv" => deriv,
        "double_exponential_smoothing" => double_exponential_smoothing,
        "first_over_time" => first,
        "idelta" => rate::idelta,
        "increase" => rate::increase,
        "integral" => integral,
        "irate" => rate::irate,
        "last_over_time" => last,
        "mad_over_time" => mad,
        "max_over_time" => {
            |window| Ok(extreme(window, |new, best| new > best).map(|(_, value)| Value::Float(value)))
        }
        "min_over_time" => {
            |window| Ok(extreme(window, |new, best| new < best).map(|(_, value)| Value::Float(value)))
        }
        "predict_linear" => predict_linear,
        "quantile_over_time" => quantile_over_time,
        "rate" => rate::rate,
        "resets" => resets::resets,
        "stddev_over_time" => |window| Ok(variance(window).map(|variance| Value::Float(variance.sqrt()))),
        "stdvar_over_time" => |window| Ok(variance(window).map(Value::Float)),
        "sum_over_time" => sum,
        "ts_of_first_over_time" => |window| {
            let first = window.floats.times.first().into_iter().chain(window.histograms.times.first()).min();
            Ok(first.map(|at| seconds(*at)))
        },
        "ts_of_last_over_time" => |window| {
            let last = window.floats.times.last().into_iter().chain(window.histograms.times.last()).max();
            Ok(last.map(|at| seconds(*at)))
        },
        "ts_of_max_over_time" => {
            |window| Ok(extreme(window, |new, best| new >= best).map(|(at, _)| seconds(at)))
        }
        "ts_of_min_over_time" => {
            |window| Ok(extreme(window, |new, best| new <= best).map(|(at, _)| seconds(at)))
        }
        _ => return None,
    })
}

fn float(value: f64) -> Result<Option<Value>, Fault> {
    Ok(Some(Value::Float(value)))
}

fn seconds(ms: i64) -> Value {
    Value::Float(ms as f64 / 1000.0)
}

/// The numbers of a range. Histograms among them are left out, and that is said; without numbers there is no result.
fn numbers<'w>(window: &Window<'w>) -> Option<Part<'w, f64>> {
    if window.floats.is_empty() {
        return None;
    }
    if !window.histograms.is_empty() {
        ignored_histograms(window);
    }
    Some(window.floats)
}

fn ignored_histograms(window: &Window<'_>) {
    let text = "ignored histograms in a range containing both floats and histograms for metric name";
    window.info(format!("{text} {:?}", window.metric()));
}

/// At least two numbers.
fn two_numbers<'w>(window: &Window<'w>) -> Option<Part<'w, f64>> {
    numbers(window).filter(|part| part.len() >= 2)
}

fn first(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let float = floats.times.first().map(|at| (*at, Value::Float(floats.values[0])));
    let histogram =
        histograms.times.first().map(|at| (*at, Value::Histogram(Arc::clone(&histograms.values[0]))));
    Ok(match (float, histogram) {
        (Some((float_at, float)), Some((at, histogram))) => {
            Some(if float_at < at { float } else { histogram })
        }
        (float, histogram) => float.or(histogram).map(|(_, value)| value),
    })
}

fn last(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let float = floats.times.last().map(|at| (*at, Value::Float(floats.values[floats.len() - 1])));
    let histogram = histograms
        .times
        .last()
        .map(|at| (*at, Value::Histogram(Arc::clone(&histograms.values[histograms.len() - 1]))));
    Ok(match (float, histogram) {
        (Some((float_at, float)), Some((at, histogram))) => {
            Some(if at < float_at { float } else { histogram })
        }
        (float, histogram) => float.or(histogram).map(|(_, value)| value),
    })
}

/// The highest or lowest number, with its time. NaN is neither, where there is another.
fn extreme(window: &Window<'_>, better: impl Fn(f64, f64) -> bool) -> Option<(i64, f64)> {
    let part = numbers(window)?;
    let mut best = (part.times[0], part.values[0]);
    for (at, value) in part.times.iter().zip(part.values) {
        if better(*value, best.1) || best.1.is_nan() {
            best = (*at, *value);
        }
    }
    Some(best)
}

fn sum(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        rate::mixed_kinds(window);
        return Ok(None);
    }
    if window.histograms.is_empty() {
        let mut sum = Kahan::default();
        window.floats.values.iter().for_each(|value| sum.add(*value));
        return float(sum.total());
    }
    Ok(sum_of_histograms(window).map(|sum| Value::Histogram(sum.finish().into())))
}

/// Says what resets of the histograms contradict each other.
fn note_collision(window: &Window<'_>) {
    let says = |hint: CounterReset| window.histograms.values.iter().any(|h| h.reset == hint);
    if says(CounterReset::Reset) && says(CounterReset::NotReset) {
        window.warn("conflicting counter resets during histogram aggregation");
    }
}

fn sum_of_histograms(window: &Window<'_>) -> Option<Tally> {
    let values = window.histograms.values;
    let mut tally = Tally::of(&values[0]);
    let mut reconciled = false;
    for h in &values[1..] {
        match tally.add(h, Precision::Kahan) {
            Ok(added) => reconciled |= added.bounds_reconciled,
            Err(MixedSchemas) => {
                rate::mixed_schemas(window);
                return None;
            }
        }
    }
    note_collision(window);
    if reconciled {
        window.info("mismatched custom buckets were reconciled during aggregation");
    }
    Some(tally)
}

fn avg(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        rate::mixed_kinds(window);
        return Ok(None);
    }
    if let [first, rest @ ..] = window.floats.values {
        let mut mean = Mean::of(*first);
        rest.iter().for_each(|value| mean.add(*value));
        return float(mean.get());
    }
    let Some(mut tally) = sum_of_histograms(window) else { return Ok(None) };
    let count = window.histograms.len() as f64;
    if tally.overflows() {
        let Some(mean) = histogram_mean(window.histograms.values) else { return Ok(None) };
        return Ok(Some(Value::Histogram(mean.finish().into())));
    }
    tally.divide(count);
    Ok(Some(Value::Histogram(tally.finish().into())))
}

/// The mean of histograms whose sum does not fit into numbers: each is divided before it is added. None where their schemas
/// are mixed.
pub(in crate::eval) fn histogram_mean(values: &[Arc<Histogram>]) -> Option<Tally> {
    let mut mean = Tally::of(values.first()?);
    for (at, h) in values.iter().enumerate().skip(1) {
        let count = (at + 1) as f64;
        mean.scale((count - 1.0) / count);
        mean.add(&h.divided_by(count), Precision::Kahan).ok()?;
    }
    Some(mean)
}

fn variance(window: &Window<'_>) -> Option<f64> {
    let part = numbers(window)?;
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for (at, value) in part.values.iter().enumerate() {
        let delta = value - (mean.sum + mean.lost);
        mean.add(delta / (at + 1) as f64);
        squares.add(delta * (value - (mean.sum + mean.lost)));
    }
    Some((squares.sum + squares.lost) / part.len() as f64)
}

/// The value that this share of the numbers is not above; between two of them, on the line between. Sorts them.
pub(in crate::eval) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    // NaN is below all numbers.
    values.sort_by(|a, b| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    });
    let last = (values.len() - 1) as f64;
    let rank = q * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    if weight == 0.0 {
        return values[lower as usize];
    }
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

fn quantile_over_time(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    if window.floats.is_empty() {
        return Ok(None);
    }
    let q = window.scalars[0];
    if !(0.0..=1.0).contains(&q) {
        window.warn(format!("quantile value should be between 0 and 1, got {}", General(q)));
    }
    Ok(numbers(window).map(|part| Value::Float(quantile(q, &mut part.values.to_vec()))))
}

/// The median of the distances from the median.
fn mad(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let Some(part) = numbers(window) else { return Ok(None) };
    if part.values.iter().any(|value| value.is_nan()) {
        return float(f64::NAN);
    }
    let mut values = part.values.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    float(quantile(0.5, &mut values))
}

/// Slope in units a second, and the value at a time, of the line that is nearest to all points.
fn regression(part: &Part<'_, f64>, at_ms: i64) -> (f64, f64) {
    let first = part.values[0];
    if part.values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut xx) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for (time, value) in part.times.iter().zip(part.values) {
        let since = (time - at_ms) as f64 / 1e3;
        x.add(since);
        y.add(*value);
        xy.add(since * value);
        xx.add(since * since);
    }
    let count = part.len() as f64;
    let plain = |sum: Kahan| sum.sum + sum.lost;
    let (x, y, xy, xx) = (plain(x), plain(y), plain(xy), plain(xx));
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

fn deriv(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    Ok(two_numbers(window).map(|part| Value::Float(regression(&part, part.times[0]).0)))
}

fn predict_linear(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let ahead_s = window.scalars[0];
    Ok(two_numbers(window).map(|part| {
        let (slope, now) = regression(&part, window.at);
        Value::Float(slope * ahead_s + now)
    }))
}

/// Holt's linear method, <https://en.wikipedia.org/wiki/Exponential_smoothing>.
fn double_exponential_smoothing(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let [smoothing, trending] = window.scalars else { return Ok(None) };
    for (name, factor, at) in [("smoothing", *smoothing, 1), ("trend", *trending, 2)] {
        if factor <= 0.0 || factor >= 1.0 {
            let short = &name[..1];
            let message = format!("invalid {name} factor. Expected: 0 < {short}f < 1, got: {factor:.6}");
            return Err(Fault::execution(window.place(at), message));
        }
    }
    let Some(part) = two_numbers(window) else { return Ok(None) };
    let (mut before, mut level) = (0.0, part.values[0]);
    let mut trend = part.values[1] - part.values[0];
    for (at, value) in part.values.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trending * (level - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    float(level)
}

/// The area under the samples, NaN taken for zero: by the value to the left of each gap (0), to the right (1), or the mean of
/// both (2).
fn integral(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    let Some(part) = numbers(window) else { return Ok(None) };
    let mut strategy = 2.0;
    if let Some(chosen) = window.scalars.first() {
        if [0.0, 1.0, 2.0].contains(chosen) {
            strategy = *chosen;
        } else {
            let text = format!("strategy should be 0, 1, or 2 (default), using 2, got {}", General(*chosen));
            window.notes.borrow_mut().warn(window.place(1), text);
        }
    }
    let or_zero = |value: f64| if value.is_nan() { 0.0 } else { value };
    let mut area = Kahan::default();
    for at in 1..part.len() {
        let (left, right) = (or_zero(part.values[at - 1]), or_zero(part.values[at]));
        let height = if strategy == 0.0 {
            Kahan::of(left)
        } else if strategy == 1.0 {
            Kahan::of(right)
        } else {
            let mut both = Kahan::of(left);
            both.add(right);
            if both.sum.is_infinite() && left.is_finite() && right.is_finite() {
                both = Kahan::of(left / 2.0);
                both.add(right / 2.0);
            } else {
                both.divide(2.0);
            }
            both
        };
        if height.sum != 0.0 || height.lost != 0.0 {
            let width = (part.times[at] - part.times[at - 1]) as f64 / 1000.0;
            area.lost += height.lost * width;
            area.add(height.sum * width);
        }
    }
    float(area.total())
}
