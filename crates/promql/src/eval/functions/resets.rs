//! `changes` and `resets`: samples of a range, each with the one before it.

use std::sync::Arc;

use super::rate::began_anew;
use crate::error::Fault;
use crate::eval::over_range::Window;
use crate::parse::ast::Boundary;
use crate::{Histogram, Value};

#[derive(Clone, Copy)]
struct Sampled<'w> {
    at: i64,
    start: i64,
    value: Point<'w>,
}

#[derive(Clone, Copy)]
enum Point<'w> {
    Float(f64),
    Histogram(&'w Arc<Histogram>),
}

pub(super) fn changes(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    Ok(pairs_that(window, |before, after| match (before.value, after.value) {
        (Point::Float(before), Point::Float(after)) => {
            before != after && !(before.is_nan() && after.is_nan())
        }
        (Point::Histogram(before), Point::Histogram(after)) => !after.is_same(before),
        _ => true,
    }))
}

pub(super) fn resets(window: &Window<'_>) -> Result<Option<Value>, Fault> {
    Ok(pairs_that(window, |before, after| {
        let anew = || began_anew(before.start, before.at, after.start, after.at);
        match (before.value, after.value) {
            (Point::Float(was), Point::Float(is)) => is < was || anew(),
            (Point::Histogram(was), Point::Histogram(is)) => anew() || is.is_reset_after(was),
            _ => true,
        }
    }))
}

/// How many neighbours are so.
fn pairs_that(window: &Window<'_>, so: impl Fn(Sampled<'_>, Sampled<'_>) -> bool) -> Option<Value> {
    let (floats, histograms) = (&window.floats, &window.histograms);
    let mut all: Vec<Sampled<'_>> = Vec::with_capacity(floats.len() + histograms.len());
    all.extend((0..floats.len()).map(|at| Sampled {
        at: floats.times[at],
        start: floats.start(at),
        value: Point::Float(floats.values[at]),
    }));
    all.extend((0..histograms.len()).map(|at| Sampled {
        at: histograms.times[at],
        start: histograms.start(at),
        value: Point::Histogram(&histograms.values[at]),
    }));
    if !floats.is_empty() && !histograms.is_empty() {
        all.sort_by_key(|sampled| sampled.at);
    }
    if window.boundary == Boundary::Anchored {
        // From the last sample before the range on.
        let inside = all.partition_point(|sampled| sampled.at <= window.from);
        if inside == all.len() {
            return None;
        }
        all.drain(..inside.saturating_sub(1));
    }
    let count = all.windows(2).filter(|pair| so(pair[0], pair[1])).count();
    (!all.is_empty()).then_some(Value::Float(count as f64))
}
