//! How one service is, in one document (SPEC O6).
//!
//! In: what was counted and seen of it. Out: figures and one word, with the rule that gave it. What was not measured
//! is `None`, never a figure that looks well.
//!
//! | figure | formula |
//! |---|---|
//! | error rate | 100 · failed ÷ calls, over the recent minutes |
//! | average latency | sum of the times of calls ÷ calls, over the recent minutes |
//! | requests per minute | 60 · calls ÷ seconds, over the recent minutes |
//! | availability | 100 · (1 − failed ÷ calls), over the day |
//!
//! down: no instance is ready where some should be, or at least half of [`CALLS_MIN`] or more recent calls failed.
//! degraded: instances are missing, an issue or an alert is open, or more than [`ERRORS_PERCENT`] of [`CALLS_MIN`] or
//! more recent calls failed. healthy: none of these, and instances or calls were seen. Else nothing is known.

use std::fmt;

use serde::Serialize;

use crate::correlate::count;

/// Fewer calls say nothing of a share: detection judges links by the same number.
pub const CALLS_MIN: f64 = 5.0;

/// Above this share of failed calls a service is degraded: detection's own limit of `error_rate`.
pub const ERRORS_PERCENT: f64 = 1.0;

/// From this share of failed calls on a service is down.
pub const DOWN_PERCENT: f64 = 50.0;

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceStatus {
    /// It does its work.
    Healthy,
    /// It does its work, but something is wrong.
    Degraded,
    /// It does not do its work.
    Down,
}

/// Calls over some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calls {
    /// How long, in seconds.
    pub seconds: f64,
    /// How many.
    pub calls: f64,
    /// Of these, failed.
    pub errors: f64,
    /// Mean time in milliseconds; `None` without calls, or where it was not measured.
    pub mean_ms: Option<f64>,
}

/// What is known of a service.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ServiceFacts {
    /// Instances that are ready, and how many there should be; `None` where it is no service of ours, or the last look
    /// is too old.
    pub instances: Option<(u32, u32)>,
    /// The recent minutes; `None` where nobody counts.
    pub recent: Option<Calls>,
    /// The day; `None` where nobody counts.
    pub day: Option<Calls>,
    /// Open issues on it.
    pub open_issues: usize,
    /// Alerts about it that are active.
    pub active_alerts: usize,
}

/// How it is.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceHealth {
    /// In one word; `None` where nothing is known.
    pub status: Option<ServiceStatus>,
    /// Which rule gave the word.
    pub reason: String,
    /// 0 to 100, over the day.
    pub availability_percent: Option<f64>,
    /// Over the recent minutes.
    pub average_latency_ms: Option<f64>,
    /// 0 to 100, over the recent minutes.
    pub error_rate_percent: Option<f64>,
    /// Over the recent minutes; 0 where calls are counted and none came.
    pub requests_per_minute: Option<f64>,
}

impl ServiceStatus {
    /// The name in the API and the CLI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Calls {
    fn error_percent(&self) -> Option<f64> {
        (self.calls > 0.0).then(|| (100.0 * self.errors / self.calls).clamp(0.0, 100.0))
    }
}

/// How a service is, from what is known of it.
pub fn service_health(facts: &ServiceFacts) -> ServiceHealth {
    let (status, reason) = status(facts);
    ServiceHealth {
        status,
        reason,
        availability_percent: facts.day.and_then(|day| day.error_percent()).map(|percent| 100.0 - percent),
        average_latency_ms: facts
            .recent
            .filter(|recent| recent.calls > 0.0)
            .and_then(|recent| recent.mean_ms),
        error_rate_percent: facts.recent.and_then(|recent| recent.error_percent()),
        requests_per_minute: facts
            .recent
            .filter(|recent| recent.seconds > 0.0)
            .map(|recent| 60.0 * recent.calls / recent.seconds),
    }
}

fn status(facts: &ServiceFacts) -> (Option<ServiceStatus>, String) {
    use ServiceStatus::{Degraded, Down, Healthy};
    let judged = facts.recent.filter(|recent| recent.calls >= CALLS_MIN);
    let errors = judged.and_then(|recent| recent.error_percent());
    if let Some((0, wanted @ 1..)) = facts.instances {
        return (Some(Down), format!("none of {} is ready", count(wanted as usize, "instance", "instances")));
    }
    match errors {
        Some(percent) if percent >= DOWN_PERCENT => {
            return (
                Some(Down),
                format!("{percent:.0} % of the recent calls failed, limit {DOWN_PERCENT} %"),
            );
        }
        Some(percent) if percent > ERRORS_PERCENT => {
            let text = format!("{percent:.1} % of the recent calls failed, limit {ERRORS_PERCENT} %");
            return (Some(Degraded), text);
        }
        _ => {}
    }
    if let Some((ready, wanted)) = facts.instances.filter(|(ready, wanted)| ready < wanted) {
        return (Some(Degraded), format!("{ready} of {wanted} instances are ready"));
    }
    if facts.open_issues > 0 {
        return (Some(Degraded), format!("{} open", count(facts.open_issues, "issue is", "issues are")));
    }
    if facts.active_alerts > 0 {
        return (Some(Degraded), format!("{} active", count(facts.active_alerts, "alert is", "alerts are")));
    }
    match (facts.instances, judged) {
        (None, None) => (None, "neither instances nor enough calls were seen".to_owned()),
        (Some((ready, _)), None) => (
            Some(Healthy),
            format!("{} ready, nothing is open", count(ready as usize, "instance is", "instances are")),
        ),
        (_, Some(recent)) => (
            Some(Healthy),
            format!(
                "{:.0} recent calls within {ERRORS_PERCENT} % of failures, nothing is open",
                recent.calls
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn calls(calls: f64, errors: f64) -> Option<Calls> {
        Some(Calls { seconds: 300.0, calls, errors, mean_ms: Some(12.0) })
    }

    #[test]
    fn each_rule_has_its_word_and_says_so() {
        let well =
            ServiceFacts { instances: Some((2, 2)), recent: calls(1000.0, 10.0), ..Default::default() };
        let table = [
            (well, Some("healthy"), "1000 recent calls"),
            (ServiceFacts { recent: calls(1000.0, 11.0), ..well }, Some("degraded"), "1.1 %"),
            (ServiceFacts { recent: calls(1000.0, 500.0), ..well }, Some("down"), "50 %"),
            (ServiceFacts { recent: calls(4.0, 4.0), ..well }, Some("healthy"), "2 instances are ready"),
            (ServiceFacts { instances: Some((0, 2)), ..well }, Some("down"), "none of 2 instances"),
            (ServiceFacts { instances: Some((1, 2)), ..well }, Some("degraded"), "1 of 2"),
            (ServiceFacts { open_issues: 1, ..well }, Some("degraded"), "1 issue is open"),
            (ServiceFacts { active_alerts: 2, ..well }, Some("degraded"), "2 alerts are active"),
            (ServiceFacts { instances: None, ..well }, Some("healthy"), "recent calls"),
            (ServiceFacts::default(), None, "neither"),
        ];
        for (facts, word, reason) in table {
            let health = service_health(&facts);
            assert_eq!(health.status.map(ServiceStatus::name), word, "{facts:?}");
            assert!(health.reason.contains(reason), "{}", health.reason);
        }
    }

    #[test]
    fn what_was_not_measured_is_not_known() {
        let health = service_health(&ServiceFacts { instances: Some((1, 1)), ..Default::default() });
        let figures = [
            health.availability_percent,
            health.average_latency_ms,
            health.error_rate_percent,
            health.requests_per_minute,
        ];
        assert_eq!(figures, [None; 4]);
        let idle = service_health(&ServiceFacts { recent: calls(0.0, 0.0), ..Default::default() });
        assert_eq!(idle.requests_per_minute, Some(0.0), "counted, and none came");
        assert_eq!((idle.error_rate_percent, idle.average_latency_ms), (None, None));
    }

    #[test]
    fn figures_are_those_of_their_formulas() {
        let day = Some(Calls { seconds: 86_400.0, calls: 10_000.0, errors: 25.0, mean_ms: None });
        let health = service_health(&ServiceFacts { recent: calls(600.0, 3.0), day, ..Default::default() });
        assert_eq!(health.availability_percent, Some(99.75));
        assert_eq!(health.error_rate_percent, Some(0.5));
        assert_eq!(health.requests_per_minute, Some(120.0));
        assert_eq!(health.average_latency_ms, Some(12.0));
    }

    proptest! {
        /// One more failed call, issue or missing instance never makes a service look better.
        #[test]
        fn more_trouble_never_looks_better(
            ready in 0..4_u32, wanted in 0..4_u32, all in 0.0..100.0_f64, failed in 0.0..1.0_f64,
            open_issues in 0..2_usize, active_alerts in 0..2_usize,
        ) {
            let facts = ServiceFacts {
                instances: Some((ready.min(wanted), wanted)), recent: calls(all, all * failed), day: None,
                open_issues, active_alerts,
            };
            let word = |facts: &ServiceFacts| service_health(facts).status;
            let now = word(&facts);
            let worse = [
                ServiceFacts { open_issues: open_issues + 1, ..facts },
                ServiceFacts { active_alerts: active_alerts + 1, ..facts },
                ServiceFacts { recent: calls(all, all), ..facts },
                ServiceFacts { instances: Some((ready.min(wanted).saturating_sub(1), wanted)), ..facts },
            ];
            for worse in worse {
                prop_assert!(word(&worse) >= now, "{:?} {:?}", facts, worse);
            }
        }
    }
}
