//! Alerts after a restart: they go on where `ALERTS_FOR_STATE` says they were.

use std::collections::HashMap;
use std::time::Duration;

use super::alert::{ALERT_NAME, Alerts, FOR_STATE, Phase, ms};
use super::group::World;
use crate::{Labels, METRIC_NAME, MatchOp, Matcher, Select, SourceError, Value};

/// A rule whose alerts are to go on.
pub(super) struct Restoring<'a> {
    pub(super) name: &'a str,
    pub(super) hold: Duration,
    pub(super) at_ms: i64,
    pub(super) world: &'a World<'a>,
}

/// When an alert was last seen, and since when it was active then.
struct Seen {
    at_ms: i64,
    since_ms: i64,
}

/// Sets since when alerts are active. The time nobody looked does not count as waiting, and what was about to fire waits
/// for the grace period, so that a condition that ended meanwhile is noticed first.
///
/// # Errors
/// Where the store does not answer.
pub(super) fn restore(restoring: &Restoring<'_>, alerts: &mut Alerts) -> Result<(), SourceError> {
    let Restoring { hold, at_ms, world, .. } = restoring;
    // It waits for less than the grace period anyway.
    if *hold < world.grace || alerts.is_empty() {
        return Ok(());
    }
    let seen = restoring.seen()?;
    for alert in alerts.values_mut().filter(|alert| alert.phase != Phase::Firing) {
        let Some(Seen { at_ms: down_ms, since_ms }) = seen.get(&alert.labels) else { continue };
        let remaining = ms(*hold).saturating_sub(down_ms.saturating_sub(*since_ms));
        alert.active_at_ms = if remaining <= 0 {
            // It fired.
            *since_ms
        } else if remaining < ms(world.grace) {
            at_ms.saturating_add(ms(world.grace)).saturating_sub(ms(*hold))
        } else {
            since_ms.saturating_add(at_ms.saturating_sub(*down_ms))
        };
    }
    Ok(())
}

impl Restoring<'_> {
    /// The alerts of the rule that were active when they were last recorded, not longer ago than an outage may last.
    fn seen(&self) -> Result<HashMap<Labels, Seen>, SourceError> {
        let matcher =
            |name: &str, value: &str| Matcher { name: name.into(), op: MatchOp::Equal, value: value.into() };
        let select = Select {
            matchers: vec![matcher(METRIC_NAME, FOR_STATE), matcher(ALERT_NAME, self.name)],
            from_ms: self.at_ms.saturating_sub(ms(self.world.outage_tolerance)),
            to_ms: self.at_ms,
            step_ms: 0,
        };
        let mut seen = HashMap::new();
        for series in self.world.source.select(&select)? {
            let Some(last) = series.samples.last() else { continue };
            if let Value::Float(since) = last.value
                && !last.value.is_stale()
            {
                let since_ms = (since as i64).saturating_mul(1000);
                seen.insert(series.labels.with(METRIC_NAME, ""), Seen { at_ms: last.at_ms, since_ms });
            }
        }
        Ok(seen)
    }
}
