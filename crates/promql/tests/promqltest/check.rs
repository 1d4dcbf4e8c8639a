//! Whether a query has the value and the annotations that are expected.

use promql::{
    Answer, Answered, Engine, Expression, Histogram, Labels, Limits, MetricNames, Point, QueryError, Sample,
    Series, Value, is_stale,
};

use crate::memory::Memory;
use crate::script::{Eval, Expected, ExpectedValue};
use crate::sequence::{Item, cells};

const LIMITS: Limits<'static> = Limits { samples: 10_000_000, points: 10_000_000, cancelled: &|| false };

/// Every way in which a case is looked at. Where names are removed at once, annotations do not know them, and it is looked at
/// as it is written only.
pub(crate) fn check(engine: &Engine, names: MetricNames, eval: &Eval, memory: &Memory) -> Result<(), String> {
    let expression = engine.parse(&eval.expression).map_err(|error| format!("not parsed: {error}"))?;
    if eval.is_range {
        let answer = engine.range(&expression, eval.from_ms, eval.to_ms, eval.step_ms, memory, &LIMITS);
        let Some(answer) = expected_answer(eval, answer, names)? else { return Ok(()) };
        return value(eval, &answer.value, (eval.from_ms, eval.step_ms));
    }
    instant(engine, names, eval, &expression, eval.from_ms, memory)?;
    if names == MetricNames::RemovedAtOnce {
        return Ok(());
    }
    // Pinned to its time, it has the same value at any other.
    if let Some(pinned) = expression.pinned(eval.from_ms) {
        let at = eval.from_ms;
        let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
        for time in times {
            instant(engine, names, eval, &pinned, time, memory)
                .map_err(|why| format!("pinned, at {time} ms: {why}"))?;
        }
    }
    Ok(())
}

/// None where it failed as it should.
fn expected_answer(
    eval: &Eval,
    answer: Result<Answer, QueryError>,
    names: MetricNames,
) -> Result<Option<Answer>, String> {
    let answer = match (answer, &eval.fails) {
        (Ok(_), Some(_)) => return Err("expected to fail, but did not".into()),
        (Err(error), Some(expected)) if expected.matches(&error.message) => return Ok(None),
        (Err(error), Some(expected)) => return Err(format!("expected failure {expected:?}, got {error}")),
        (Err(error), None) => return Err(format!("failed: {error}")),
        (Ok(answer), None) => answer,
    };
    said(&eval.warns, eval.no_warns, &answer.warnings, names)?;
    said(&eval.infos, eval.no_infos, &answer.infos, names)?;
    Ok(Some(answer))
}

/// Whether what is expected was said, and nothing else.
fn said(expected: &[Expected], nothing: bool, said: &[String], names: MetricNames) -> Result<(), String> {
    if nothing && !said.is_empty() {
        return Err(format!("nothing was to be said, but {said:?}"));
    }
    if expected.is_empty() {
        return Ok(());
    }
    let matches = |one: &Expected, said: &str| {
        one.matches(said) || (names == MetricNames::RemovedAtOnce && one.without_metric() == said)
    };
    for one in expected {
        if !said.iter().any(|said| matches(one, said)) {
            return Err(format!("{one:?} was to be said, but {said:?}"));
        }
    }
    match said.iter().find(|said| !expected.iter().any(|one| matches(one, said))) {
        Some(said) => Err(format!("was not to be said: {said}")),
        None => Ok(()),
    }
}

fn instant(
    engine: &Engine,
    names: MetricNames,
    eval: &Eval,
    expression: &Expression,
    at: i64,
    memory: &Memory,
) -> Result<(), String> {
    let Some(answer) = expected_answer(eval, engine.instant(expression, at, memory, &LIMITS), names)? else {
        return Ok(());
    };
    let (from, _, step) = eval.result_times.unwrap_or((at, at, 0));
    value(eval, &answer.value, (from, step))?;
    let depends_on_times =
        ["start()", "end()", "range()", "step()"].iter().any(|call| eval.expression.contains(call));
    if eval.instant_only || eval.ordered || depends_on_times {
        return Ok(());
    }
    // In the middle of a range it has the same value.
    let minute = 60_000;
    let ranged = engine
        .range(expression, at - minute, at + minute, minute, memory, &LIMITS)
        .map_err(|error| format!("failed in range mode: {error}"))?;
    let Answered::Matrix(series) = ranged.value else { return Err("a range query has no matrix".into()) };
    if !series.is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("series are not sorted by labels".into());
    }
    let middle = series.into_iter().filter_map(|series| {
        let sample = series.samples.into_iter().find(|sample| sample.at_ms == at)?;
        Some(Point { labels: series.labels, value: sample.value })
    });
    let middle: Vec<Point> = middle.collect();
    let middle = match (&answer.value, middle.first().map(|point| &point.value)) {
        (Answered::Scalar(_), Some(Value::Float(value))) => Answered::Scalar(*value),
        _ => Answered::Vector(middle),
    };
    value(eval, &middle, (from, step)).map_err(|why| format!("range mode: {why}"))
}

fn value(eval: &Eval, answered: &Answered, (from, step): (i64, i64)) -> Result<(), String> {
    match (answered, &eval.value) {
        (Answered::Scalar(value), ExpectedValue::Scalar(expected)) if equal(*value, *expected) => Ok(()),
        (Answered::String(value), ExpectedValue::String(expected)) if value == expected => Ok(()),
        (Answered::Vector(points), ExpectedValue::Series(expected)) => vector(points, expected, eval.ordered),
        (Answered::Matrix(series), ExpectedValue::Series(expected)) => matrix(series, expected, from, step),
        (answered, expected) => Err(format!("expected {expected:?}, got {answered:?}")),
    }
}

fn vector(points: &[Point], expected: &[(Labels, Vec<Item>)], ordered: bool) -> Result<(), String> {
    for (at, point) in points.iter().enumerate() {
        let place = expected.iter().position(|(labels, _)| *labels == point.labels);
        let Some(place) = place else {
            return Err(format!("unexpected {:?} {:?}", point.labels, point.value));
        };
        if ordered && place != at {
            return Err(format!("{:?} is at place {at}, expected at {place}", point.labels));
        }
        let item = &expected[place].1[0];
        if !item.value.as_ref().is_some_and(|value| same(value, &point.value, item.says_reset)) {
            return Err(format!("{:?}: expected {:?}, got {:?}", point.labels, item.value, point.value));
        }
    }
    match expected.iter().find(|(labels, _)| !points.iter().any(|point| point.labels == *labels)) {
        Some((labels, items)) => Err(format!("not there: {labels:?} {:?}; got {points:?}", items[0].value)),
        None => Ok(()),
    }
}

fn matrix(series: &[Series], expected: &[(Labels, Vec<Item>)], from: i64, step: i64) -> Result<(), String> {
    for Series { labels, samples } in series {
        let Some((_, items)) = expected.iter().find(|(known, _)| known == labels) else {
            return Err(format!("unexpected {labels:?} {samples:?}"));
        };
        let wanted: Vec<(i64, &Value, bool)> = items
            .iter()
            .enumerate()
            .filter_map(|(at, item)| Some((from + at as i64 * step, item.value.as_ref()?, item.says_reset)))
            .collect();
        let differs = |(sample, (at, value, says_reset)): (&Sample, &(i64, &Value, bool))| {
            sample.at_ms != *at || !same(value, &sample.value, *says_reset)
        };
        if samples.len() != wanted.len() || samples.iter().zip(&wanted).any(differs) {
            return Err(format!("{labels:?}: expected {wanted:?}, got {samples:?}"));
        }
    }
    match expected.iter().find(|(labels, _)| !series.iter().any(|series| series.labels == *labels)) {
        Some((labels, _)) => Err(format!("not there: {labels:?}")),
        None => Ok(()),
    }
}

fn same(expected: &Value, got: &Value, says_reset: bool) -> bool {
    match (expected, got) {
        (Value::Float(expected), Value::Float(got)) => equal(*expected, *got),
        (Value::Histogram(expected), Value::Histogram(got)) => {
            same_histogram(expected, got) && (!says_reset || expected.reset == got.reset)
        }
        _ => false,
    }
}

fn same_histogram(expected: &Histogram, got: &Histogram) -> bool {
    let buckets = |buckets| cells(buckets).into_iter().filter(|(_, count)| *count != 0.0).collect::<Vec<_>>();
    let same_buckets = |expected, got| {
        let (expected, got) = (buckets(expected), buckets(got));
        expected.len() == got.len()
            && expected
                .iter()
                .zip(&got)
                .all(|(expected, got)| expected.0 == got.0 && equal(expected.1, got.1))
    };
    expected.schema == got.schema
        && expected.zero_threshold == got.zero_threshold
        && equal(expected.count, got.count)
        && equal(expected.sum, got.sum)
        && equal(expected.zero_count, got.zero_count)
        && (!expected.uses_custom_buckets() || expected.custom_values == got.custom_values)
        && same_buckets(&expected.positive, &got.positive)
        && same_buckets(&expected.negative, &got.negative)
}

/// As exact as Prometheus' runner wants it: to a millionth. NaN equals NaN.
fn equal(a: f64, b: f64) -> bool {
    const SHARE: f64 = 0.000_001;
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < SHARE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < SHARE
}
