//! Series, as the PromQL engine answers.
//!
//! In: an expression and times. Out: series with their points. How much a query may read and how long it may take is
//! bounded here.

use std::time::{Duration, Instant};

use async_graphql::{ID, InputObject, SimpleObject};
use domain::Time;
use metrics::Metrics;
use promql::{Answered, Engine, ErrorKind, Expression, Labels, Limits, QueryError, Value};

use crate::graphql::scalars::DateTime;
use crate::problem::{Code, Problem};
use crate::prometheus::{NO_METRICS, options, shown};

/// Points of a series at most.
const POINTS_MAX: i64 = 1_000;

/// Samples that a query may read, and values that a part of it may have: a tenth of what Prometheus' API may.
const SAMPLES_MAX: u64 = 5_000_000;

/// The longest expression, in bytes.
const EXPRESSION_MAX: usize = 4_096;

/// The times of a range.
#[derive(InputObject)]
pub(in crate::graphql) struct MetricRange {
    /// Where it begins.
    from: DateTime,
    /// Where it ends.
    to: DateTime,
    /// The time between two points; at most 1,000 points are answered.
    step_seconds: f64,
}

/// One series.
#[derive(Debug, SimpleObject)]
pub(in crate::graphql) struct Metric {
    /// Its name and labels, as PromQL writes them.
    id: ID,
    /// Its name; empty where the expression made it.
    name: String,
    /// Its labels but the name.
    labels: Vec<Label>,
    /// Its values, oldest first.
    points: Vec<Point>,
}

/// A label of a series.
#[derive(Debug, SimpleObject)]
struct Label {
    /// Its name.
    name: String,
    /// Its value.
    value: String,
}

/// A value at a time.
#[derive(Debug, SimpleObject)]
struct Point {
    /// When.
    at: DateTime,
    /// The number; null where it is none that JSON can say (`NaN`, an infinity) or a histogram.
    value: Option<f64>,
    /// The same as PromQL writes it.
    text: String,
}

/// Reads an expression.
pub(in crate::graphql) fn parse(query: &str) -> Result<Expression, Problem> {
    if query.len() > EXPRESSION_MAX {
        let why = format!("`query` has {} bytes; give at most {EXPRESSION_MAX}", query.len());
        return Err(Problem::field("query", why));
    }
    Engine::new(options()).parse(query).map_err(|error| Problem::field("query", error.to_string()))
}

/// When a query is asked for.
pub(in crate::graphql) enum Times {
    /// At one time, in milliseconds since 1970.
    At(i64),
    /// From, to and step, in milliseconds.
    Range(i64, i64, i64),
}

impl Times {
    /// What the arguments of the field say.
    pub(in crate::graphql) fn read(
        at: Option<DateTime>,
        range: Option<MetricRange>,
        now: Time,
    ) -> Result<Self, Problem> {
        let ms = |time: DateTime| time.0.wall_us.div_euclid(1000);
        let Some(range) = range else { return Ok(Self::At(ms(at.unwrap_or(DateTime(now))))) };
        if at.is_some() {
            return Err(Problem::field("at", "give either `at` or `range`"));
        }
        let (from, to) = (ms(range.from), ms(range.to));
        if to < from {
            return Err(Problem::field("range.to", "is before `range.from`; give a later time"));
        }
        if !(0.001..=31_536_000.0).contains(&range.step_seconds) {
            return Err(Problem::field("range.stepSeconds", "give from 0.001 to 31536000"));
        }
        let step = (range.step_seconds * 1000.0) as i64;
        if (to - from) / step >= POINTS_MAX {
            let why = format!("makes more than {POINTS_MAX} points; give a longer step or a shorter range");
            return Err(Problem::field("range.stepSeconds", why));
        }
        Ok(Self::Range(from, to, step))
    }
}

/// Evaluates an expression.
pub(in crate::graphql) fn evaluate(
    metrics: Option<&Metrics>,
    expression: &Expression,
    times: &Times,
    is_given_up: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Metric>, Problem> {
    let metrics = metrics.ok_or_else(|| Problem::new(Code::NoTelemetry, NO_METRICS))?;
    let limits = Limits { samples: SAMPLES_MAX, points: SAMPLES_MAX, cancelled: is_given_up };
    let engine = Engine::new(options());
    let (answer, at) = match *times {
        Times::At(at) => (engine.instant(expression, at, metrics, &limits), at),
        Times::Range(from, to, step) => (engine.range(expression, from, to, step, metrics, &limits), from),
    };
    let alone = |point: Point| Metric {
        id: ID(String::new()),
        name: String::new(),
        labels: Vec::new(),
        points: vec![point],
    };
    Ok(match answer.map_err(refused)?.value {
        Answered::Scalar(value) => vec![alone(Point::of(at, &Value::Float(value)))],
        Answered::String(text) => vec![alone(Point { at: at_time(at), value: None, text })],
        Answered::Vector(points) => {
            points.iter().map(|point| Metric::of(&point.labels, vec![Point::of(at, &point.value)])).collect()
        }
        Answered::Matrix(series) => series
            .iter()
            .map(|series| {
                let points = series.samples.iter().map(|sample| Point::of(sample.at_ms, &sample.value));
                Metric::of(&series.labels, points.collect())
            })
            .collect(),
    })
}

/// Gives up a while after now.
pub(in crate::graphql) fn within(time: Duration) -> impl Fn() -> bool + Sync {
    let deadline = Instant::now() + time;
    move || Instant::now() >= deadline
}

fn refused(error: QueryError) -> Problem {
    match error.kind {
        ErrorKind::Syntax | ErrorKind::Execution => Problem::field("query", error.to_string()),
        ErrorKind::TooMuch => Problem::new(Code::QueryTooComplex, error.to_string()),
        ErrorKind::Cancelled => {
            Problem::new(Code::TooSlow, "the query was not answered in time; ask for less at a time")
        }
        ErrorKind::Source => Problem::internal(error.to_string()),
    }
}

fn at_time(ms: i64) -> DateTime {
    DateTime(Time { boot_us: 0, wall_us: ms * 1000 })
}

impl Metric {
    fn of(labels: &Labels, points: Vec<Point>) -> Self {
        let others = labels.iter().filter(|(name, _)| *name != promql::METRIC_NAME);
        Self {
            id: ID(format!("{labels:?}")),
            name: labels.get(promql::METRIC_NAME).to_owned(),
            labels: others
                .map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() })
                .collect(),
            points,
        }
    }
}

impl Point {
    fn of(at_ms: i64, value: &Value) -> Self {
        let (number, text) = match value {
            Value::Float(number) => (number.is_finite().then_some(*number), shown(*number)),
            Value::Histogram(histogram) => (None, histogram.to_string()),
        };
        Self { at: at_time(at_ms), value: number, text }
    }
}

/// The series of an expression, as a stream of them tells.
#[derive(Debug, SimpleObject)]
pub(in crate::graphql) struct MetricsUpdate {
    /// When it was evaluated.
    pub(in crate::graphql) at: DateTime,
    /// The series, at most 100.
    pub(in crate::graphql) series: Vec<Metric>,
    /// Whether there are more series than are told.
    pub(in crate::graphql) truncated: bool,
}
