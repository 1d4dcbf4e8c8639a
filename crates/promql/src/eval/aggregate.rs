//! Aggregations that make one series of each group. One group after the other, at all times at once.
//!
//! In: rows, and by which labels they are grouped. Out: a row for each group, in the order in which groups come first. Sums
//! are compensated (Kahan and Neumaier), so that their order hardly shows.

use std::collections::HashMap;
use std::sync::Arc;

use super::Query;
use super::functions::over_time::{histogram_mean, quantile};
use super::grid::Grid;
use super::rows::{Row, float};
use crate::error::Fault;
use crate::go::{General, Plain};
use crate::histogram::{MixedSchemas, Precision, Tally};
use crate::kahan::{Kahan, Mean};
use crate::labels::is_metadata;
use crate::parse::ast::{Aggregate, AggregateOp, Expr, Grouping};
use crate::{CounterReset, Histogram, Labels, METRIC_NAME, Value};

/// Rows that belong together.
pub(super) struct Group {
    pub(super) labels: Labels,
    /// Their places.
    pub(super) rows: Vec<usize>,
}

/// The labels of the group that a series belongs to.
pub(super) fn group_labels(grouping: &Grouping, labels: &Labels) -> Labels {
    match grouping {
        Grouping::By(by) if by.is_empty() => Labels::default(),
        Grouping::By(by) => labels.filtered(|name| by.iter().any(|label| **label == *name)),
        Grouping::Without(without) => {
            labels.filtered(|name| !is_metadata(name) && !without.iter().any(|label| **label == *name))
        }
    }
}

/// In the order in which each comes first.
pub(super) fn groups(grouping: &Grouping, rows: &[Row]) -> Vec<Group> {
    let mut known: HashMap<Labels, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let labels = group_labels(grouping, &row.labels);
        let group = *known.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group { labels: labels.clone(), rows: Vec::new() });
            groups.len() - 1
        });
        groups[group].rows.push(at);
    }
    groups
}

impl Query<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vec<Row>, Fault> {
        let op = aggregate.op;
        if op == AggregateOp::CountValues {
            return self.count_values(aggregate, grid);
        }
        let param = match &aggregate.param {
            Some(param) => self.eval(param, grid)?.scalar(),
            None => Vec::new(),
        };
        let rows = self.eval(&aggregate.inner, grid)?.vector();
        if matches!(
            op,
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio
        ) {
            return self.choose(aggregate, &param, rows, expr, grid);
        }
        if op == AggregateOp::Quantile {
            let at = aggregate.param.as_ref().map_or(0, |param| param.place.start);
            for q in param.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
                self.warn(at, format!("quantile value should be between 0 and 1, got {}", General(*q)));
            }
        }
        let at = aggregate.inner.bare().place.start;
        let mut out = Vec::new();
        for group in groups(&aggregate.grouping, &rows) {
            self.go_on(at)?;
            let members: Vec<&Row> = group.rows.iter().map(|row| &rows[*row]).collect();
            let points = match op {
                AggregateOp::Sum | AggregateOp::Avg => self.sums(op, &members, grid, at),
                AggregateOp::Count | AggregateOp::Group => counts(op, &members, grid),
                _ => self.of_numbers(op, &members, &param, grid, at),
            };
            let drop_name = members.iter().any(|row| row.drop_name);
            let row = Row { labels: group.labels, drop_name, points };
            if !row.is_empty() {
                out.push(row);
            }
        }
        Ok(out)
    }

    fn sums(&self, op: AggregateOp, members: &[&Row], grid: Grid, at: usize) -> Vec<Option<Value>> {
        let mut sums: Vec<Option<Sum>> = (0..grid.steps()).map(|_| None).collect();
        for row in members {
            for (sum, point) in sums.iter_mut().zip(&row.points) {
                let Some(value) = point else { continue };
                match sum {
                    None => *sum = Some(Sum::of(op, value)),
                    Some(sum) => sum.add(value, self, row, at),
                }
            }
        }
        let finished =
            sums.into_iter().enumerate().map(|(step, sum)| sum?.finish(op, self, members, step, at));
        finished.collect()
    }

    /// Aggregations that know numbers only.
    fn of_numbers(
        &self,
        op: AggregateOp,
        members: &[&Row],
        param: &[f64],
        grid: Grid,
        at: usize,
    ) -> Vec<Option<Value>> {
        if members.iter().flat_map(|row| &row.points).any(|point| matches!(point, Some(Value::Histogram(_))))
        {
            self.info(at, format!("ignored histogram in {} aggregation", op.name()));
        }
        let mut values = Vec::with_capacity(members.len());
        (0..grid.steps())
            .map(|step| {
                values.clear();
                values.extend(members.iter().filter_map(|row| float(&row.points[step])));
                let first = *values.first()?;
                let value = match op {
                    AggregateOp::Min => {
                        values.iter().fold(first, |a, b| if a > *b || a.is_nan() { *b } else { a })
                    }
                    AggregateOp::Max => {
                        values.iter().fold(first, |a, b| if a < *b || a.is_nan() { *b } else { a })
                    }
                    AggregateOp::Stddev => variance(&values).sqrt(),
                    AggregateOp::Stdvar => variance(&values),
                    _ => quantile(param.get(step).copied().unwrap_or(f64::NAN), &mut values),
                };
                Some(Value::Float(value))
            })
            .collect()
    }

    fn count_values(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vec<Row>, Fault> {
        let Some(param) = &aggregate.param else { return Ok(Vec::new()) };
        let label = match self.text(param) {
            Ok(label) if !label.is_empty() => label,
            Ok(label) => {
                return Err(Fault::execution(param.place.start, format!("invalid label name {label:?}")));
            }
            Err(written) => {
                return Err(Fault::execution(param.place.start, format!("invalid label name {written}")));
            }
        };
        let grouping = match &aggregate.grouping {
            Grouping::By(by) => Grouping::By(by.iter().cloned().chain([label.into()]).collect()),
            without @ Grouping::Without(_) => without.clone(),
        };
        let rows = self.eval(&aggregate.inner, grid)?.vector();
        let at = aggregate.inner.place.start;
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut counted: Vec<(Labels, Vec<u64>)> = Vec::new();
        for row in &rows {
            self.go_on(at)?;
            for (step, point) in row.points.iter().enumerate() {
                let shown = match point {
                    None => continue,
                    Some(Value::Float(value)) => Plain(*value).to_string(),
                    Some(Value::Histogram(histogram)) => histogram.to_string(),
                };
                let labels = group_labels(&grouping, &row.labels.with(label, &shown));
                let place = match known.get(&labels) {
                    Some(place) => *place,
                    None => {
                        self.may_hold(counted.len() + 1, grid, at)?;
                        counted.push((labels.clone(), vec![0; grid.steps()]));
                        known.insert(labels, counted.len() - 1);
                        counted.len() - 1
                    }
                };
                counted[place].1[step] += 1;
            }
        }
        let rows = counted.into_iter().map(|(labels, counts)| {
            let points = counts.into_iter().map(|count| (count > 0).then_some(Value::Float(count as f64)));
            Row { labels, drop_name: false, points: points.collect() }
        });
        Ok(rows.collect())
    }
}

fn counts(op: AggregateOp, members: &[&Row], grid: Grid) -> Vec<Option<Value>> {
    let mut counts = vec![0u64; grid.steps()];
    for row in members {
        for (count, point) in counts.iter_mut().zip(&row.points) {
            *count += u64::from(point.is_some());
        }
    }
    let value = |count: u64| if op == AggregateOp::Group { 1.0 } else { count as f64 };
    counts.into_iter().map(|count| (count > 0).then(|| Value::Float(value(count)))).collect()
}

/// Welford's, <https://en.wikipedia.org/wiki/Algorithms_for_calculating_variance>.
fn variance(values: &[f64]) -> f64 {
    if !values[0].is_finite() {
        return f64::NAN;
    }
    let (mut mean, mut squares) = (values[0], 0.0);
    for (at, value) in values.iter().enumerate().skip(1) {
        let delta = value - mean;
        mean += delta / (at + 1) as f64;
        squares += delta * (value - mean);
    }
    squares / values.len() as f64
}

/// The sum or mean of a group at one time.
enum Sum {
    Floats(Kahan),
    Mean(Mean),
    Histograms(Box<Histograms>),
    /// Numbers and histograms, which cannot be added.
    Mixed,
    /// Exponential and custom buckets, neither.
    MixedSchemas,
}

struct Histograms {
    tally: Tally,
    count: f64,
    reset: bool,
    not_reset: bool,
}

impl Sum {
    fn of(op: AggregateOp, value: &Value) -> Self {
        match value {
            Value::Float(value) if op == AggregateOp::Sum => Self::Floats(Kahan::of(*value)),
            Value::Float(value) => Self::Mean(Mean::of(*value)),
            Value::Histogram(h) => Self::Histograms(Box::new(Histograms {
                tally: Tally::of(h),
                count: 1.0,
                reset: h.reset == CounterReset::Reset,
                not_reset: h.reset == CounterReset::NotReset,
            })),
        }
    }

    fn add(&mut self, value: &Value, query: &Query<'_>, row: &Row, at: usize) {
        match (&mut *self, value) {
            (Self::Floats(sum), Value::Float(value)) => sum.add(*value),
            (Self::Mean(mean), Value::Float(value)) => mean.add(*value),
            (Self::Histograms(sum), Value::Histogram(h)) => {
                if sum.add(h, query, &row.labels, at).is_err() {
                    *self = Self::MixedSchemas;
                }
            }
            (Self::Mixed | Self::MixedSchemas, _) => {}
            _ => *self = Self::Mixed,
        }
    }

    fn finish(
        self,
        op: AggregateOp,
        query: &Query<'_>,
        members: &[&Row],
        step: usize,
        at: usize,
    ) -> Option<Value> {
        match self {
            Self::Floats(sum) => Some(Value::Float(sum.sum + sum.lost)),
            Self::Mean(mean) => Some(Value::Float(mean.get())),
            Self::Mixed => {
                query.warn(at, "encountered a mix of histograms and floats for aggregation");
                None
            }
            Self::MixedSchemas => None,
            Self::Histograms(sum) => {
                if sum.reset && sum.not_reset {
                    query.warn(at, "conflicting counter resets during histogram aggregation");
                }
                let mut tally = sum.tally;
                if op == AggregateOp::Avg {
                    if tally.overflows() {
                        let values = members.iter().filter_map(|row| match &row.points[step] {
                            Some(Value::Histogram(h)) => Some(Arc::clone(h)),
                            _ => None,
                        });
                        tally = histogram_mean(&values.collect::<Vec<_>>())?;
                    } else {
                        tally.divide(sum.count);
                    }
                }
                Some(Value::Histogram(tally.finish().into()))
            }
        }
    }
}

impl Histograms {
    fn add(
        &mut self,
        h: &Histogram,
        query: &Query<'_>,
        labels: &Labels,
        at: usize,
    ) -> Result<(), MixedSchemas> {
        self.count += 1.0;
        self.reset |= h.reset == CounterReset::Reset;
        self.not_reset |= h.reset == CounterReset::NotReset;
        match self.tally.add(h, Precision::Kahan) {
            Ok(added) => {
                if added.bounds_reconciled {
                    query.info(at, "mismatched custom buckets were reconciled during aggregation");
                }
                Ok(())
            }
            Err(mixed) => {
                let text = "vector contains a mix of histograms with exponential and custom buckets schemas for metric name";
                query.warn(at, format!("{text} {:?}", labels.get(METRIC_NAME)));
                Err(mixed)
            }
        }
    }
}
