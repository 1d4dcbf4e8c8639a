//! When a bound will be crossed, as things go (SPEC H5, proactive mode).
//!
//! In: what is used now, its bound, and its [`Growth`] as it was watched. Out: a forecast, where the bound is crossed within
//! the time the growth may be carried on, at the slowest pace it may have. The issue that is raised is that of the bound
//! itself; once it is crossed, nothing of it is foretold any more.
//!
//! What grows may stop by itself, so that the further ahead the less it is worth a repair: until [`NEAR`] it is an issue for
//! people, whose severity is as low as its dependents let it be. From then on it is as urgent as it is when it is crossed.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Bytes, Growth, Issue, units};

use super::severity::Urgency;

/// A bound that is crossed within this time, in seconds, is near: who is called now comes too late.
const NEAR: f64 = 300.0;

/// When a bound is crossed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Forecast {
    /// Most likely, in seconds from now.
    seconds: f64,
    /// At the earliest.
    seconds_min: f64,
    /// At the latest.
    seconds_max: f64,
    growth: Growth,
}

/// When `bound` bytes are crossed; `None` where that is not certain, or they are crossed already.
pub(super) fn forecast(used: Bytes, bound: f64, growth: Option<Growth>) -> Option<Forecast> {
    let growth = growth?;
    let missing = bound - used.0 as f64;
    (missing >= 0.0 && missing <= growth.reach()).then(|| Forecast {
        seconds: missing / growth.per_second,
        seconds_min: missing / growth.per_second_max,
        seconds_max: missing / growth.per_second_min,
        growth,
    })
}

impl Forecast {
    /// Half a sentence: by when, and how that is known.
    pub(super) fn words(&self) -> String {
        let shown = |seconds: f64| units::show_duration(Duration::from_secs(seconds.round() as u64));
        format!(
            "in about {} ({} to {}): it grows by {} a minute, watched for {}",
            shown(self.seconds),
            shown(self.seconds_min.floor()),
            shown(self.seconds_max.ceil()),
            Bytes((self.growth.per_second * 60.0) as u64),
            shown(self.growth.watched.as_secs_f64())
        )
    }

    /// How soon something has to be done.
    pub(super) fn urgency(&self) -> Urgency {
        if self.seconds <= NEAR { Urgency::Now } else { Urgency::Later }
    }

    /// The evidence, as metrics of the issue.
    pub(super) fn metrics(&self) -> BTreeMap<String, f64> {
        super::metrics([
            (Issue::FORECAST, self.seconds),
            ("forecast_seconds_min", self.seconds_min),
            ("forecast_seconds_max", self.seconds_max),
            ("growth_bytes_per_second", self.growth.per_second),
            ("watched_seconds", self.growth.watched.as_secs_f64()),
        ])
    }
}
