//! Functions of times, UTC.

use crate::calendar::Civil;
use crate::error::Fault;
use crate::eval::Query;
use crate::eval::grid::Grid;
use crate::eval::rows::Row;
use crate::parse::ast::Call;
use crate::{Labels, Value};

type OfDate = fn(Civil) -> f64;

pub(in crate::eval) fn function(name: &str) -> Option<OfDate> {
    Some(match name {
        "day_of_month" => |date| f64::from(date.day),
        "day_of_week" => |date| f64::from(date.weekday),
        "day_of_year" => |date| f64::from(date.day_of_year),
        "days_in_month" => |date| f64::from(date.days_in_month()),
        "hour" => |date| f64::from(date.hour),
        "minute" => |date| f64::from(date.minute),
        "month" => |date| f64::from(date.month),
        "year" => |date| date.year as f64,
        _ => return None,
    })
}

/// Of seconds since 1970; without an argument, of the time of evaluation.
pub(in crate::eval) fn rows(
    query: &Query<'_>,
    call: &Call,
    grid: Grid,
    of: OfDate,
) -> Result<Vec<Row>, Fault> {
    if call.args.is_empty() {
        let points = grid.times().map(|ms| Some(Value::Float(of(Civil::of(ms / 1000))))).collect();
        return Ok(vec![Row { labels: Labels::default(), drop_name: false, points }]);
    }
    query.each(call, grid, |value| match value {
        Value::Float(seconds) => Some(of(Civil::of(*seconds as i64))),
        Value::Histogram(_) => None,
    })
}
