//! What expressions mean.
//!
//! A query is evaluated for all its times at once: every part of the expression becomes [`Row`]s, one for each series, with
//! a value or none for each time of a [`Grid`]. Subqueries and what is inside of them have a grid of their own.

mod aggregate;
mod binary;
mod call;
mod functions;
mod grid;
mod over_range;
mod ranged;
mod rows;
mod selector;
mod sliding;
mod topk;

use std::cell::{Cell, RefCell};

use grid::Grid;
use rows::{Row, merged};

use crate::annotations::Annotations;
use crate::error::{ErrorKind, Fault, QueryError};
use crate::parse::Expression;
use crate::parse::ast::{Expr, Kind, Sign, Text, Type};
use crate::{Labels, Limits, MetricNames, Options, Sample, Series, Source, Value};

/// Evaluates expressions.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: Options,
}

/// The value of a query, and what there is to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Answered,
    /// What is probably wrong, in Prometheus' words, each with line and column of the expression.
    pub warnings: Vec<String>,
    /// What may be wrong.
    pub infos: Vec<String>,
}

/// The value of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Answered {
    /// A number, at the time asked for.
    Scalar(f64),
    /// A string.
    String(String),
    /// A value of each series at the time asked for, in the expression's order.
    Vector(Vec<Point>),
    /// Series over a range of times, sorted by labels.
    Matrix(Vec<Series>),
}

/// A value of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Which series.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

impl Engine {
    /// With these options.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is no PromQL.
    pub fn parse(&self, text: &str) -> Result<Expression, QueryError> {
        Expression::parse(text, &self.options)
    }

    /// The value of an expression at a time (milliseconds since 1970).
    ///
    /// # Errors
    /// Where it has none, the source does not answer, or a limit is reached.
    pub fn instant(
        &self,
        expression: &Expression,
        at_ms: i64,
        source: &dyn Source,
        limits: &Limits<'_>,
    ) -> Result<Answer, QueryError> {
        let grid = Grid::at(at_ms);
        let query = self.query(grid, 0, source, limits);
        let answered = query.answer_instant(&expression.root, grid);
        query.finish(expression, answered)
    }

    /// The value of an expression at every `step_ms` from a time to another, both inclusive (milliseconds since 1970).
    ///
    /// # Errors
    /// Where it has none, the times are not in order, the source does not answer, or a limit is reached.
    pub fn range(
        &self,
        expression: &Expression,
        from_ms: i64,
        to_ms: i64,
        step_ms: i64,
        source: &dyn Source,
        limits: &Limits<'_>,
    ) -> Result<Answer, QueryError> {
        let wrong = |message: &str| Fault::syntax(0, message).in_text(expression.text());
        if step_ms <= 0 {
            return Err(wrong("the step must be greater than 0"));
        }
        if to_ms < from_ms {
            return Err(wrong("the end of the range must not be before its start"));
        }
        let grid = Grid::new(from_ms, to_ms, step_ms);
        let query = self.query(grid, step_ms, source, limits);
        let answered = query.answer_range(&expression.root, grid);
        query.finish(expression, answered)
    }

    fn query<'a>(
        &'a self,
        grid: Grid,
        step_ms: i64,
        source: &'a dyn Source,
        limits: &'a Limits<'a>,
    ) -> Query<'a> {
        Query {
            options: &self.options,
            source,
            limits,
            from_ms: grid.from,
            to_ms: grid.to,
            step_ms,
            notes: RefCell::default(),
            loaded: Cell::new(0),
        }
    }
}

/// One query while it is evaluated.
struct Query<'a> {
    options: &'a Options,
    source: &'a dyn Source,
    limits: &'a Limits<'a>,
    from_ms: i64,
    to_ms: i64,
    /// 0 of an instant query.
    step_ms: i64,
    notes: RefCell<Annotations>,
    /// Samples read so far.
    loaded: Cell<u64>,
}

/// The value of a part of an expression at every time of a grid.
enum Evaluated {
    Scalar(Vec<f64>),
    Vector(Vec<Row>),
}

impl Evaluated {
    /// Types are checked while parsing.
    fn scalar(self) -> Vec<f64> {
        match self {
            Self::Scalar(values) => values,
            Self::Vector(_) => Vec::new(),
        }
    }

    fn vector(self) -> Vec<Row> {
        match self {
            Self::Vector(rows) => rows,
            Self::Scalar(_) => Vec::new(),
        }
    }
}

impl Query<'_> {
    fn finish(
        self,
        expression: &Expression,
        answered: Result<Answered, Fault>,
    ) -> Result<Answer, QueryError> {
        let value = answered.map_err(|fault| fault.in_text(expression.text()))?;
        let (warnings, infos) = self.notes.into_inner().shown(expression.text());
        Ok(Answer { value, warnings, infos })
    }

    fn answer_instant(&self, root: &Expr, grid: Grid) -> Result<Answered, Fault> {
        match root.kind_of_value() {
            Type::Text => match &root.bare().kind {
                Kind::Text(Text::Utf8(text)) => Ok(Answered::String(text.to_string())),
                _ => Err(Fault::execution(root.place.start, "the string is no UTF-8")),
            },
            Type::Scalar => {
                Ok(Answered::Scalar(self.eval(root, grid)?.scalar().first().copied().unwrap_or(f64::NAN)))
            }
            Type::Vector => {
                let rows = self.named_last(self.eval(root, grid)?.vector(), root)?;
                let points = rows.into_iter().filter_map(|row| {
                    let value = row.points.into_iter().next()??;
                    Some(Point { labels: row.labels, value })
                });
                Ok(Answered::Vector(points.collect()))
            }
            Type::Matrix => {
                let mut series = self.range_vector(root.bare(), grid)?;
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                Ok(Answered::Matrix(series))
            }
        }
    }

    fn answer_range(&self, root: &Expr, grid: Grid) -> Result<Answered, Fault> {
        let rows = match root.kind_of_value() {
            Type::Scalar => {
                let points =
                    self.eval(root, grid)?.scalar().into_iter().map(|value| Some(Value::Float(value)));
                vec![Row { labels: Labels::default(), drop_name: false, points: points.collect() }]
            }
            Type::Vector => self.named_last(self.eval(root, grid)?.vector(), root)?,
            other => {
                let message = format!(
                    "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    other.name()
                );
                return Err(Fault::syntax(root.place.start, message));
            }
        };
        let mut series: Vec<Series> = rows.into_iter().filter_map(|row| row.into_series(grid)).collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Answered::Matrix(series))
    }

    /// Takes the names that had to go.
    fn named_last(&self, mut rows: Vec<Row>, root: &Expr) -> Result<Vec<Row>, Fault> {
        for row in &mut rows {
            if row.drop_name {
                row.labels = row.labels.without_metadata();
            }
        }
        merged(rows, root.place.start)
    }

    /// Every part of an expression comes through here.
    fn eval(&self, expr: &Expr, grid: Grid) -> Result<Evaluated, Fault> {
        self.go_on(expr.place.start)?;
        let at = expr.place.start;
        match &expr.kind {
            Kind::Number(value) => {
                self.may_hold(1, grid, at)?;
                Ok(Evaluated::Scalar(vec![*value; grid.steps()]))
            }
            Kind::Selector(selector) => self.instant_vector(selector, grid, at).map(Evaluated::Vector),
            Kind::Aggregate(aggregate) => self.aggregate(aggregate, expr, grid).map(Evaluated::Vector),
            Kind::Call(call) => self.call(call, expr, grid),
            Kind::Binary(_) => self.binary_chain(expr, grid),
            Kind::Paren(inner) => self.eval(inner, grid),
            Kind::Unary(Sign::Plus, inner) => self.eval(inner, grid),
            Kind::Unary(Sign::Minus, inner) => self.negated(inner, grid),
            Kind::Constant(inner) => self.constant(inner, grid),
            Kind::Text(_) | Kind::Matrix(_) | Kind::Subquery(_) => Err(Fault::execution(
                at,
                format!("a {} has no value of its own here", expr.kind_of_value().name()),
            )),
        }
    }

    fn negated(&self, inner: &Expr, grid: Grid) -> Result<Evaluated, Fault> {
        match self.eval(inner, grid)? {
            Evaluated::Scalar(mut values) => {
                values.iter_mut().for_each(|value| *value = -*value);
                Ok(Evaluated::Scalar(values))
            }
            Evaluated::Vector(mut rows) => {
                for row in &mut rows {
                    for point in row.points.iter_mut().flatten() {
                        *point = match point {
                            Value::Float(value) => Value::Float(-*value),
                            Value::Histogram(histogram) => Value::Histogram(histogram.times(-1.0).into()),
                        };
                    }
                    self.unname(row);
                }
                merged(rows, inner.place.start).map(Evaluated::Vector)
            }
        }
    }

    /// Evaluated once, at the first time, for all of them.
    fn constant(&self, inner: &Expr, grid: Grid) -> Result<Evaluated, Fault> {
        let steps = grid.steps();
        Ok(match self.eval(inner, grid.first())? {
            Evaluated::Scalar(values) => {
                self.may_hold(1, grid, inner.place.start)?;
                Evaluated::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps])
            }
            Evaluated::Vector(mut rows) => {
                self.may_hold(rows.len(), grid, inner.place.start)?;
                for row in &mut rows {
                    let point = row.points.first().cloned().flatten();
                    row.points.resize(steps, point);
                }
                Evaluated::Vector(rows)
            }
        })
    }

    /// A series that is no longer the metric it was.
    fn unname(&self, row: &mut Row) {
        row.drop_name = true;
        if self.options.metric_names == MetricNames::RemovedAtOnce {
            row.labels = row.labels.without_metadata();
        }
    }

    /// Whether the query was given up.
    fn go_on(&self, at: usize) -> Result<(), Fault> {
        if (self.limits.cancelled)() {
            return Err(Fault { kind: ErrorKind::Cancelled, at, message: "the query was given up".into() });
        }
        Ok(())
    }

    /// Whether so many rows may be held at once.
    fn may_hold(&self, rows: usize, grid: Grid, at: usize) -> Result<(), Fault> {
        let limit = self.limits.points;
        let points = (rows.max(1) as u64).saturating_mul(grid.step_count());
        if points > limit {
            let message = format!(
                "this needs {points} values at once, more than {limit}; ask for fewer series, a shorter time or a longer step"
            );
            return Err(Fault::too_much(at, message));
        }
        Ok(())
    }

    fn warn(&self, at: usize, text: impl Into<String>) {
        self.notes.borrow_mut().warn(at, text);
    }

    fn info(&self, at: usize, text: impl Into<String>) {
        self.notes.borrow_mut().info(at, text);
    }

    /// A range vector that is itself what is asked for.
    fn range_vector(&self, expr: &Expr, grid: Grid) -> Result<Vec<Series>, Fault> {
        match &expr.kind {
            Kind::Matrix(matrix) => self.raw_range(matrix, grid, expr.place.start),
            Kind::Subquery(subquery) => {
                let (inner_grid, rows) = self.subquery(subquery, grid, expr.place.start)?;
                let rows = self.named_last(rows, expr)?;
                Ok(rows.into_iter().filter_map(|row| row.into_series(inner_grid)).collect())
            }
            _ => Err(Fault::execution(expr.place.start, "this is no range vector")),
        }
    }
}

/// A sample of a row at a time.
fn sample(at_ms: i64, value: Value) -> Sample {
    Sample { at_ms, value }
}
