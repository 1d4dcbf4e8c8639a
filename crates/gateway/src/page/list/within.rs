//! The filter by time that lists of what happened share.

use domain::Time;

use super::Filter;
use crate::api;
use crate::body::Query;
use crate::problem::Problem;

/// Names and seconds.
const SINCE: [(&str, i64); 4] = [("1 h", 3600), ("24 h", 86_400), ("7 d", 604_800), ("30 d", 2_592_000)];

/// Only what is not older; its source obeys it.
pub(in crate::page) fn filter<'a, R>() -> Filter<'a, R> {
    Filter::choice("within", "Within", SINCE.map(|(name, seconds)| (seconds, name)))
}

/// The time that the filter goes back to; `None`: all time.
pub(in crate::page) fn since(query: &Query, now: Time) -> Result<Option<Time>, Problem> {
    let seconds = query.read(
        "within",
        |text| text.parse::<i64>().ok().filter(|s| (1..=10_000_000_000).contains(s)),
        || "seconds".to_owned(),
    )?;
    Ok(seconds.map(|seconds| api::back(now, seconds)))
}
