//! Calls of functions, except those over ranges ([`over_range`](super::over_range)).
//!
//! In: a call whose arguments the parser found to be of the right kinds, and the times. Out: a scalar or rows at each time.
//! Times go in as milliseconds and are yielded in seconds, as PromQL has them.

use super::functions::{dates, histograms, labels, numbers, sort};
use super::grid::Grid;
use super::over_range::absent_labels;
use super::rows::{Row, float, merged};
use super::selector::Latest;
use super::{Evaluated, Query};
use crate::error::Fault;
use crate::parse::ast::{Call, Expr, Kind, Selector, Text};
use crate::{Labels, StartTimes, Value};

/// The times that `timestamp` and `start_timestamp` yield.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TimeOf {
    Sample,
    Start,
}

impl Query<'_> {
    pub(super) fn call(&self, call: &Call, expr: &Expr, grid: Grid) -> Result<Evaluated, Fault> {
        let is_range = |arg: &Expr| matches!(arg.bare().kind, Kind::Matrix(_) | Kind::Subquery(_));
        if let Some(at) = call.args.iter().position(is_range) {
            return self.call_over_range(call, expr, at, grid);
        }
        self.may_hold(1, grid, expr.place.start)?;
        let ms = |ms: i64| ms as f64 / 1000.0;
        let same = |value: f64| Ok(Evaluated::Scalar(vec![value; grid.steps()]));
        match call.function.name {
            "time" => Ok(Evaluated::Scalar(grid.times().map(ms).collect())),
            "pi" => same(std::f64::consts::PI),
            "start" => same(ms(self.from_ms)),
            "end" => same(ms(self.to_ms)),
            "range" => same(ms(self.to_ms.saturating_sub(self.from_ms))),
            "step" => same(if self.from_ms == self.to_ms { 0.0 } else { ms(self.step_ms) }),
            "max_of" => self.of_two_scalars(call, grid, numbers::max).map(Evaluated::Scalar),
            "min_of" => self.of_two_scalars(call, grid, numbers::min).map(Evaluated::Scalar),
            "scalar" => self.scalar(call, grid).map(Evaluated::Scalar),
            _ => self.vector_call(call, expr, grid).map(Evaluated::Vector),
        }
    }

    fn of_two_scalars(&self, call: &Call, grid: Grid, of: fn(f64, f64) -> f64) -> Result<Vec<f64>, Fault> {
        let first = self.eval(&call.args[0], grid)?.scalar();
        let second = self.eval(&call.args[1], grid)?.scalar();
        Ok(first.into_iter().zip(second).map(|(a, b)| of(a, b)).collect())
    }

    /// The only number of a vector; NaN where there is none or more than one.
    fn scalar(&self, call: &Call, grid: Grid) -> Result<Vec<f64>, Fault> {
        let rows = self.eval(&call.args[0], grid)?.vector();
        Ok((0..grid.steps())
            .map(|step| {
                let mut found = rows.iter().filter_map(|row| float(&row.points[step]));
                match (found.next(), found.next()) {
                    (Some(value), None) => value,
                    _ => f64::NAN,
                }
            })
            .collect())
    }

    fn vector_call(&self, call: &Call, expr: &Expr, grid: Grid) -> Result<Vec<Row>, Fault> {
        let name = call.function.name;
        let rows = match name {
            "vector" => {
                let points =
                    self.eval(&call.args[0], grid)?.scalar().into_iter().map(|v| Some(Value::Float(v)));
                vec![Row { labels: Labels::default(), drop_name: false, points: points.collect() }]
            }
            "label_replace" => return labels::replace(self, call, expr, grid),
            "label_join" => return labels::join(self, call, expr, grid),
            "info" => return self.info_labels(call, expr, grid),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                return sort::sort(self, call, expr, grid);
            }
            "absent" => self.absent(call, grid)?,
            "timestamp" => self.timestamp(call, grid, TimeOf::Sample)?,
            "start_timestamp" => self.timestamp(call, grid, TimeOf::Start)?,
            "histogram_quantile" | "histogram_fraction" | "histogram_quantiles" => {
                histograms::of_buckets(self, call, expr, grid)?
            }
            _ => {
                if let Some(of) = histograms::simple(name) {
                    self.each(call, grid, |value| match value {
                        Value::Histogram(histogram) => Some(of(histogram)),
                        Value::Float(_) => None,
                    })?
                } else if let Some(of) = dates::function(name) {
                    dates::rows(self, call, grid, of)?
                } else {
                    numbers::rows(self, call, expr, grid)?
                }
            }
        };
        merged(rows, expr.place.start)
    }

    /// A function of each value of a vector; values it has no result for are left out.
    pub(super) fn each(
        &self,
        call: &Call,
        grid: Grid,
        of: impl Fn(&Value) -> Option<f64>,
    ) -> Result<Vec<Row>, Fault> {
        let mut rows = self.eval(&call.args[0], grid)?.vector();
        for row in &mut rows {
            for point in &mut row.points {
                *point = point.as_ref().and_then(&of).map(Value::Float);
            }
            self.unname(row);
        }
        rows.retain(|row| !row.is_empty());
        Ok(rows)
    }

    fn absent(&self, call: &Call, grid: Grid) -> Result<Vec<Row>, Fault> {
        let rows = self.eval(&call.args[0], grid)?.vector();
        let absent = |step: usize| rows.iter().all(|row| row.points[step].is_none());
        let points = (0..grid.steps()).map(|step| absent(step).then_some(Value::Float(1.0))).collect();
        let row = Row { labels: absent_labels(&call.args[0]), drop_name: false, points };
        Ok(if row.is_empty() { Vec::new() } else { vec![row] })
    }

    /// Of a selector, the time of its sample; of anything else, the time of evaluation.
    fn timestamp(&self, call: &Call, grid: Grid, time_of: TimeOf) -> Result<Vec<Row>, Fault> {
        let argument = call.args[0].bare();
        if let Kind::Selector(selector) = &argument.kind {
            return self.times_of_samples(selector, argument, grid, time_of);
        }
        let mut rows = self.eval(&call.args[0], grid)?.vector();
        if time_of == TimeOf::Start {
            return Ok(Vec::new());
        }
        for row in &mut rows {
            for (point, time) in row.points.iter_mut().zip(grid.times()) {
                *point = point.take().map(|_| Value::Float(time as f64 / 1000.0));
            }
            self.unname(row);
        }
        Ok(rows)
    }

    fn times_of_samples(
        &self,
        selector: &Selector,
        argument: &Expr,
        grid: Grid,
        time_of: TimeOf,
    ) -> Result<Vec<Row>, Fault> {
        if time_of == TimeOf::Start && self.options.start_times == StartTimes::Ignored {
            return Ok(Vec::new());
        }
        let at = argument.place.start;
        let shift = self.shift(selector.pin, selector.offset.as_ref())?;
        let all = self.instant_samples(selector, shift, grid, at)?;
        self.may_hold(all.len(), grid, at)?;
        let mut rows = Vec::with_capacity(all.len());
        for started in all {
            let mut latest = Latest::new(&started.series.samples, self.options.lookback_ms);
            let points = grid.times().map(|time| {
                let (place, sample) = latest.at(shift.of(time))?;
                let ms = match time_of {
                    TimeOf::Sample => sample.at_ms,
                    TimeOf::Start => started.starts_ms.get(place).copied().unwrap_or(0),
                };
                Some(Value::Float(ms as f64 / 1000.0))
            });
            let points = points.collect();
            let mut row = Row { labels: started.series.labels, drop_name: true, points };
            self.unname(&mut row);
            if !row.is_empty() {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// A string; as it was written, where it is no UTF-8.
    pub(super) fn text<'e>(&self, arg: &'e Expr) -> Result<&'e str, &'e str> {
        match &arg.bare().kind {
            Kind::Text(Text::Utf8(text)) => Ok(text),
            Kind::Text(Text::NotUtf8(written)) => Err(written),
            _ => Err(""),
        }
    }
}
