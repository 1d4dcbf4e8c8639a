//! `/api/v1/query` and `/api/v1/query_range`.

use axum::response::Response;
use promql::{Answered, Expression, Limits, Series};
use serde_json::json;

use super::answer::{self, PointAt, cut};
use super::number::{shown, write_time};
use super::parameter;
use super::refused::Refused;
use super::{Answer, Asked, SAMPLES_MAX};

/// Times of a range at most: Prometheus' number.
pub(crate) const POINTS_MAX: i64 = 11_000;

/// `GET` and `POST /api/v1/query`
pub(crate) fn instant(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let at_ms = parameter::time(&asked.form, "time")?.unwrap_or_else(|| asked.now_ms());
    let limit = parameter::limit(&asked.form, "limit")?;
    let engine = asked.engine()?;
    let expression = expression(asked, &engine)?;
    let is_given_up = || asked.is_given_up();
    let answered = engine.instant(&expression, at_ms, metrics, &limits(&is_given_up));
    let mut answered = answered.map_err(|error| refused(asked, &error))?;
    Ok(match answered.value {
        Answered::Scalar(value) => one("scalar", at_ms, &shown(value), &answered.warnings, &answered.infos),
        Answered::String(text) => one("string", at_ms, &text, &answered.warnings, &answered.infos),
        Answered::Vector(mut points) => {
            answered.warnings.extend(cut(&mut points, limit));
            let points = points.into_iter().map(|point| PointAt(at_ms, point)).collect();
            answer::result("vector", points, &answered.warnings, &answered.infos)
        }
        Answered::Matrix(series) => matrix(series, limit, answered.warnings, &answered.infos),
    })
}

/// `GET` and `POST /api/v1/query_range`
pub(crate) fn range(asked: &Asked<'_>) -> Answer {
    let metrics = asked.metrics()?;
    let from_ms = parameter::time_wanted(&asked.form, "start")?;
    let to_ms = parameter::time_wanted(&asked.form, "end")?;
    if to_ms < from_ms {
        return Err(Refused::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = parameter::step_ms(&asked.form)?;
    if to_ms.abs_diff(from_ms) / step_ms.unsigned_abs() > POINTS_MAX.unsigned_abs() {
        return Err(Refused::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let limit = parameter::limit(&asked.form, "limit")?;
    let engine = asked.engine()?;
    let expression = expression(asked, &engine)?;
    let is_given_up = || asked.is_given_up();
    let limits = limits(&is_given_up);
    let answered = engine.range(&expression, from_ms, to_ms, step_ms, metrics, &limits);
    let answered = answered.map_err(|error| refused(asked, &error))?;
    match answered.value {
        Answered::Matrix(series) => Ok(matrix(series, limit, answered.warnings, &answered.infos)),
        _ => Err(Refused::internal("a query of a range answered with what is no range")),
    }
}

fn expression(asked: &Asked<'_>, engine: &promql::Engine) -> Result<Expression, Refused> {
    let text = asked.form.text("query").unwrap_or_default();
    engine.parse(text).map_err(|error| Refused::expression("query", &error))
}

fn limits<'a>(cancelled: &'a (dyn Fn() -> bool + Sync)) -> Limits<'a> {
    Limits { samples: SAMPLES_MAX, points: SAMPLES_MAX, cancelled }
}

fn refused(asked: &Asked<'_>, error: &promql::QueryError) -> Refused {
    Refused::evaluation(error, asked.has_left())
}

fn matrix(
    mut series: Vec<Series>,
    limit: Option<usize>,
    mut warnings: Vec<String>,
    infos: &[String],
) -> Response {
    warnings.extend(cut(&mut series, limit));
    answer::result("matrix", series, &warnings, infos)
}

/// A value without a series: `[time, "text"]`.
fn one(kind: &str, at_ms: i64, text: &str, warnings: &[String], infos: &[String]) -> Response {
    let mut time = Vec::new();
    write_time(at_ms, &mut time);
    let time = String::from_utf8(time).unwrap_or_default();
    answer::single(kind, &format!("[{time},{}]", json!(text)), warnings, infos)
}
