//! Functions over ranges, for one series after the other, at each time.

use std::cell::RefCell;

use super::functions::{over_time, rate};
use super::grid::Grid;
use super::rows::{Row, merged};
use super::selector::{Apart, Part, Ranged};
use super::sliding::Sliding;
use super::{Evaluated, Query};
use crate::annotations::Annotations;
use crate::error::Fault;
use crate::parse::ast::{Boundary, Call, Expr, Kind};
use crate::{Histogram, Labels, METRIC_NAME, MatchOp, Matcher, MetricNames, StartTimes, Value};
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
    /// The other arguments at this time.
    pub(super) scalars: &'w [f64],
    /// Where each argument begins in the text.
    pub(super) places: &'w [usize],
    pub(super) notes: &'w RefCell<Annotations>,
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
        let (all, shift, range) = match &argument.kind {
            Kind::Matrix(matrix) => self.ranged(matrix, apart(name), grid, at)?,
            Kind::Subquery(subquery) => self.ranged_subquery(subquery, grid, at)?,
            _ => return Err(Fault::execution(at, "this is no range vector")),
        };
        let boundary = boundary_of(argument);
        allowed_at_boundary(name, boundary, expr.place.start)?;
        let range_s = match &argument.kind {
            Kind::Matrix(matrix) => self.seconds(&matrix.range)?,
            Kind::Subquery(subquery) => self.seconds(&subquery.range)?,
            _ => 0.0,
        };
        let looks = Looks {
            shift,
            range,
            range_s,
            boundary,
            scalars,
            places: call.args.iter().map(|arg| arg.bare().place.start).collect(),
        };
        self.may_hold(all.len(), grid, at)?;
        let mut rows = Vec::with_capacity(all.len());
        for ranged in all {
            self.go_on(at)?;
            let row = self.row_over_range(function, name, ranged, grid, &looks)?;
            if !row.is_empty() {
                rows.push(row);
            }
        }
        if name == "absent_over_time" {
            return Ok(Evaluated::Vector(absent(&rows, argument, grid)));
        }
        merged(rows, expr.place.start).map(Evaluated::Vector)
    }

    fn row_over_range(
        &self,
        function: OverRange,
        name: &str,
        mut ranged: Ranged,
        grid: Grid,
        looks: &Looks,
    ) -> Result<Row, Fault> {
        let uses_starts = matches!(name, "rate" | "irate" | "increase" | "resets");
        if self.options.start_times == StartTimes::Ignored || !uses_starts {
            ranged.floats.starts.clear();
            ranged.histograms.starts.clear();
        }
        let lookback = self.options.lookback_ms;
        let (before, beyond) = match looks.boundary {
            Boundary::Plain => (0, 0),
            Boundary::Anchored => (lookback, 0),
            Boundary::Smoothed => (lookback, lookback),
        };
        // Ranges that hardly overlap are looked at as fast.
        let overlap = looks.range / 2 >= grid.step && looks.boundary == Boundary::Plain;
        let slides = overlap && ranged.histograms.times.is_empty();
        let mut sliding = slides.then(|| Sliding::new(name, &ranged.floats.values)).flatten();
        let mut points = Vec::with_capacity(grid.steps());
        let (mut float_cursor, mut histogram_cursor) = ((0, 0), (0, 0));
        let mut scalars = vec![0.0; looks.scalars.len()];
        for (step, time) in grid.times().enumerate() {
            let to = looks.shift.of(time);
            let from = to.saturating_sub(looks.range);
            let (behind, until) = (from.saturating_sub(before), to.saturating_add(beyond));
            let floats = ranged.floats.part(behind, until, &mut float_cursor);
            let histograms = ranged.histograms.part(behind, until, &mut histogram_cursor);
            if floats.is_empty() && histograms.is_empty() {
                points.push(None);
                continue;
            }
            if let Some(sliding) = &mut sliding {
                let first = float_cursor.0;
                let value = sliding.at(&ranged.floats.values, first, first + floats.len());
                points.push(Some(Value::Float(value)));
                continue;
            }
            for (scalar, values) in scalars.iter_mut().zip(&looks.scalars) {
                *scalar = values.get(step).copied().unwrap_or(f64::NAN);
            }
            let window = Window {
                labels: &ranged.labels,
                floats,
                histograms,
                from,
                to,
                range_s: looks.range_s,
                at: time,
                boundary: looks.boundary,
                lookback,
                scalars: &scalars,
                places: &looks.places,
                notes: &self.notes,
            };
            points.push(function(&window)?);
        }
        if matches!(name, "rate" | "increase") {
            let metric = ranged.labels.get(METRIC_NAME);
            rate::note_counter(metric, &points, looks.places[0], &self.notes);
        }
        // These two act like an offset: it is still the metric.
        let keeps_name = matches!(name, "last_over_time" | "first_over_time");
        let drop_name = !keeps_name || ranged.drop_name;
        let mut row = Row { labels: ranged.labels, drop_name, points };
        if drop_name && self.options.metric_names == MetricNames::RemovedAtOnce {
            row.labels = row.labels.without_metadata();
        }
        Ok(row)
    }
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

/// Where a function over ranges looks.
struct Looks {
    shift: super::grid::Shift,
    range: i64,
    range_s: f64,
    boundary: Boundary,
    scalars: Vec<Vec<f64>>,
    places: Vec<usize>,
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
