//! Functions over ranges, for one series after the other, at each time.
//!
//! In: a call one of whose arguments is a range vector or a subquery. For each time the function is given a [`Window`]: the
//! samples of one series, found by moving on from the time before. Out: rows, without the times at which there is no value.

use std::cell::RefCell;

use super::functions::{over_time, rate};
use super::grid::{Grid, Shift};
use super::ranged::{Part, Ranged};
use super::rows::{Row, merged};
use super::selector::Apart;
use super::sliding::Sliding;
use super::{Evaluated, Query};
use crate::annotations::Annotations;
use crate::error::Fault;
use crate::parse::ast::{Boundary, Call, Expr, Kind};
use crate::{Histogram, Labels, METRIC_NAME, MatchOp, Matcher, MetricNames, Options, StartTimes, Value};
use std::sync::Arc;

/// What a function over a range is given: the samples of one series in the range of one time.
pub(super) struct Window<'w> {
    pub(super) labels: &'w Labels,
    pub(super) floats: Part<'w, f64>,
    pub(super) histograms: Part<'w, Arc<Histogram>>,
    /// The range, milliseconds: behind the one, up to the other. What lies before or beyond is there for the boundaries.
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) range_s: f64,
    /// The time of evaluation.
    pub(super) at: i64,
    pub(super) boundary: Boundary,
    pub(super) lookback: i64,
    /// Of the values those that are less than the one before them, as far as that was looked for.
    pub(super) falls: Option<Falls<'w>>,
    /// The other arguments at this time.
    pub(super) scalars: &'w [f64],
    /// Where each argument begins in the text.
    pub(super) places: &'w [usize],
    pub(super) notes: &'w RefCell<Annotations>,
}

/// Where the numbers of a window are less than the one before them, which is in the window as well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Falls<'w> {
    /// Among all numbers of the series.
    places: &'w [usize],
    /// The place of the window's first.
    first: usize,
}

impl Falls<'_> {
    /// Places in the window.
    pub(super) fn places(self) -> impl Iterator<Item = usize> {
        self.places.iter().map(move |place| place - self.first)
    }
}

impl Window<'_> {
    pub(super) fn metric(&self) -> &str {
        self.labels.get(METRIC_NAME)
    }

    pub(super) fn place(&self, argument: usize) -> usize {
        self.places.get(argument).copied().unwrap_or(0)
    }

    pub(super) fn warn(&self, text: impl Into<String>) {
        self.notes.borrow_mut().warn(self.place(0), text);
    }

    pub(super) fn info(&self, text: impl Into<String>) {
        self.notes.borrow_mut().info(self.place(0), text);
    }
}

/// None where there is no value at this time.
pub(super) type OverRange = fn(&Window<'_>) -> Result<Option<Value>, Fault>;

impl Query<'_> {
    /// A function one of whose arguments is a range vector.
    pub(super) fn call_over_range(
        &self,
        call: &Call,
        expr: &Expr,
        matrix_at: usize,
        grid: Grid,
    ) -> Result<Evaluated, Fault> {
        let name = call.function.name;
        let Some(function) = over_time::function(name) else {
            return Err(Fault::execution(expr.place.start, format!("{name} takes no range vector")));
        };
        let argument = call.args[matrix_at].bare();
        let at = argument.place.start;
        let mut scalars = Vec::new();
        for (place, arg) in call.args.iter().enumerate() {
            if place != matrix_at {
                scalars.push(self.eval(arg, grid)?.scalar());
            }
        }
        let boundary = boundary_of(argument);
        allowed_at_boundary(name, boundary, expr.place.start)?;
        let looks = |shift: Shift, range: i64, range_s: f64| Looks {
            function,
            name,
            options: self.options,
            grid,
            shift,
            range,
            range_s,
            boundary,
            scalars,
            places: call.args.iter().map(|arg| arg.bare().place.start).collect(),
        };
        let rows = match &argument.kind {
            Kind::Matrix(matrix) => {
                let range_s = self.seconds(&matrix.range)?;
                let range = self.positive_ms(&matrix.range)?;
                let shift = self.shift(matrix.selector.pin, matrix.selector.offset.as_ref())?;
                let looks = looks(shift, range, range_s);
                let row = |ranged: &mut Ranged, notes: &RefCell<Annotations>| {
                    let row = looks.row(ranged, notes);
                    (!row.as_ref().is_ok_and(Row::is_empty)).then_some(row)
                };
                let rows = self.of_ranged(matrix, apart(name), grid, at, row)?;
                rows.into_iter().collect::<Result<Vec<Row>, Fault>>()?
            }
            Kind::Subquery(subquery) => {
                let range_s = self.seconds(&subquery.range)?;
                let (all, shift, range) = self.ranged_subquery(subquery, grid, at)?;
                self.may_hold(all.len(), grid, at)?;
                let looks = looks(shift, range, range_s);
                let mut rows = Vec::with_capacity(all.len());
                for mut ranged in all {
                    self.go_on(at)?;
                    let row = looks.row(&mut ranged, &self.notes)?;
                    if !row.is_empty() {
                        rows.push(row);
                    }
                }
                rows
            }
            _ => return Err(Fault::execution(at, "this is no range vector")),
        };
        if name == "absent_over_time" {
            return Ok(Evaluated::Vector(absent(&rows, argument, grid)));
        }
        merged(rows, expr.place.start).map(Evaluated::Vector)
    }
}

/// A function over ranges, and where it looks.
struct Looks<'q> {
    function: OverRange,
    name: &'q str,
    options: &'q Options,
    grid: Grid,
    shift: Shift,
    range: i64,
    range_s: f64,
    boundary: Boundary,
    /// The other arguments at all times.
    scalars: Vec<Vec<f64>>,
    places: Vec<usize>,
}

impl Looks<'_> {
    /// Whether it asks by how much a counter rose.
    fn counts(&self) -> bool {
        matches!(self.name, "rate" | "increase")
    }

    /// What the function makes of a series.
    fn row(&self, ranged: &mut Ranged, notes: &RefCell<Annotations>) -> Result<Row, Fault> {
        let uses_starts = self.counts() || matches!(self.name, "irate" | "resets");
        if self.options.start_times == StartTimes::Ignored || !uses_starts {
            ranged.floats.starts.clear();
            ranged.histograms.starts.clear();
        }
        let points = self.points(ranged, notes)?;
        if self.counts() {
            let metric = ranged.labels.get(METRIC_NAME);
            rate::note_counter(metric, &points, self.places[0], notes);
        }
        // These two act like an offset: it is still the metric.
        let keeps_name = matches!(self.name, "last_over_time" | "first_over_time");
        let drop_name = !keeps_name || ranged.drop_name;
        let mut row = Row { labels: ranged.labels.clone(), drop_name, points };
        if drop_name && self.options.metric_names == MetricNames::RemovedAtOnce {
            row.labels = row.labels.without_metadata();
        }
        Ok(row)
    }

    fn points(&self, ranged: &Ranged, notes: &RefCell<Annotations>) -> Result<Vec<Option<Value>>, Fault> {
        let lookback = self.options.lookback_ms;
        let (before, beyond) = match self.boundary {
            Boundary::Plain => (0, 0),
            Boundary::Anchored => (lookback, 0),
            Boundary::Smoothed => (lookback, lookback),
        };
        let values = &ranged.floats.values;
        // Ranges that hardly overlap are looked at as fast.
        let overlap = self.range / 2 >= self.grid.step && self.boundary == Boundary::Plain;
        let slides = overlap && ranged.histograms.times.is_empty();
        let mut sliding = slides.then(|| Sliding::new(self.name, values)).flatten();
        let counts = self.counts() && self.boundary == Boundary::Plain && ranged.floats.starts.is_empty();
        let falls = counts.then(|| falls(values));
        let mut points = Vec::with_capacity(self.grid.steps());
        let (mut float_cursor, mut histogram_cursor) = ((0, 0), (0, 0));
        let mut scalars = vec![0.0; self.scalars.len()];
        for (step, time) in self.grid.times().enumerate() {
            let to = self.shift.of(time);
            let from = to.saturating_sub(self.range);
            let (behind, until) = (from.saturating_sub(before), to.saturating_add(beyond));
            let floats = ranged.floats.part(behind, until, &mut float_cursor);
            let histograms = ranged.histograms.part(behind, until, &mut histogram_cursor);
            if floats.is_empty() && histograms.is_empty() {
                points.push(None);
                continue;
            }
            let first = float_cursor.0;
            if let Some(sliding) = &mut sliding {
                let value = sliding.at(values, first, first + floats.len());
                points.push(Some(Value::Float(value)));
                continue;
            }
            for (scalar, values) in scalars.iter_mut().zip(&self.scalars) {
                *scalar = values.get(step).copied().unwrap_or(f64::NAN);
            }
            let falls = falls.as_deref().map(|places| falls_within(places, first, first + floats.len()));
            let window = Window {
                labels: &ranged.labels,
                floats,
                histograms,
                from,
                to,
                range_s: self.range_s,
                at: time,
                boundary: self.boundary,
                lookback,
                falls,
                scalars: &scalars,
                places: &self.places,
                notes,
            };
            points.push((self.function)(&window)?);
        }
        Ok(points)
    }
}

/// Places of values that are less than the one before: found once, not again for each range.
fn falls(values: &[f64]) -> Vec<usize> {
    /// Pairs that are looked at together, whatever the first of them are: mostly none falls.
    const TOGETHER: usize = 64;
    let mut places = Vec::new();
    for from in (1..values.len()).step_by(TOGETHER) {
        let to = values.len().min(from + TOGETHER);
        let pairs = values[from - 1..to - 1].iter().zip(&values[from..to]);
        if pairs.clone().fold(false, |any, (before, after)| any | (after < before)) {
            let falling = pairs.enumerate().filter(|(_, (before, after))| after < before);
            places.extend(falling.map(|(at, _)| from + at));
        }
    }
    places
}

/// Those of a window from one place to another, the latter not included; what fell to the first is not in the window.
fn falls_within(places: &[usize], first: usize, end: usize) -> Falls<'_> {
    let from = places.partition_point(|place| *place <= first);
    let to = places.partition_point(|place| *place < end);
    Falls { places: &places[from..to.max(from)], first }
}

/// Which samples of its range a function has to see. Of a counter a coarser tier keeps what it rose by, of everything the
/// last of each of its windows; what is greatest, least, how many there are and how they are spread it does not keep.
fn apart(name: &str) -> Apart {
    match name {
        "rate" | "increase" | "delta" | "deriv" | "predict_linear" | "last_over_time"
        | "present_over_time" | "absent_over_time" => Apart::Sparse,
        _ => Apart::All,
    }
}

fn boundary_of(argument: &Expr) -> Boundary {
    match &argument.kind {
        Kind::Matrix(matrix) => matrix.selector.boundary,
        _ => Boundary::Plain,
    }
}

/// At these boundaries a range has samples outside of it, which not every function may see.
fn allowed_at_boundary(name: &str, boundary: Boundary, at: usize) -> Result<(), Fault> {
    let (word, allowed): (&str, &[&str]) = match boundary {
        Boundary::Plain => return Ok(()),
        Boundary::Anchored => ("anchored", &["changes", "delta", "increase", "rate", "resets"]),
        Boundary::Smoothed => ("smoothed", &["delta", "increase", "rate"]),
    };
    if allowed.contains(&name) {
        return Ok(());
    }
    let message = format!("{word} modifier can only be used with: {} - not with {name}", allowed.join(", "));
    Err(Fault::execution(at, message))
}

/// 1 at every time at which no row has a value.
fn absent(rows: &[Row], argument: &Expr, grid: Grid) -> Vec<Row> {
    let points: Vec<Option<Value>> = (0..grid.steps())
        .map(|step| rows.iter().all(|row| row.points[step].is_none()).then_some(Value::Float(1.0)))
        .collect();
    let row = Row { labels: absent_labels(argument), drop_name: true, points };
    if row.is_empty() { Vec::new() } else { vec![row] }
}

/// The labels that a selector says the value of: what is absent would have them.
pub(super) fn absent_labels(argument: &Expr) -> Labels {
    let matchers: &[Matcher] = match &argument.bare().kind {
        Kind::Selector(selector) => &selector.matchers,
        Kind::Matrix(matrix) => &matrix.selector.matchers,
        _ => &[],
    };
    let mut said: Vec<&Matcher> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in matchers.iter().filter(|matcher| !crate::labels::is_metadata(&matcher.name)) {
        if matcher.op == MatchOp::Equal && !seen.contains(&&*matcher.name) {
            said.push(matcher);
            seen.push(&matcher.name);
        } else {
            // Said in another way too: nothing is known.
            said.retain(|known| known.name != matcher.name);
        }
    }
    Labels::new(said.into_iter().map(|matcher| (Arc::clone(&matcher.name), Arc::clone(&matcher.value))))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::{falls, falls_within};

    proptest! {
        #[test]
        fn falls_of_a_window_are_those_between_its_neighbours(
            values in vec(prop_oneof![8 => (0u8..4).prop_map(f64::from), 1 => Just(f64::NAN)], 0..300),
            first in any::<prop::sample::Index>(),
            len in 0usize..150,
        ) {
            let first = if values.is_empty() { 0 } else { first.index(values.len()) };
            let end = values.len().min(first + len);
            let window = &values[first..end];
            let wanted: Vec<usize> = (1..window.len()).filter(|at| window[*at] < window[at - 1]).collect();
            let all = falls(&values);
            prop_assert_eq!(falls_within(&all, first, end).places().collect::<Vec<_>>(), wanted);
        }
    }
}
