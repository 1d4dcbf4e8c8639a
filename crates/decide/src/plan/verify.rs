//! Verification: did the plan's signal come back, and did it hold?
//!
//! In: when the steps were done, and one observation after another of the plan's signal and of the callers'
//! side. Out: pending, passing, healed or not healed. A pure state machine; the caller brings the time with
//! every observation. Deliberately absent: what the signal is measured by (detection's), and rolling back.
//!
//! ```text
//!            in bounds, callers no worse          held for `hold`, callers no worse
//!  Pending ───────────────────────────▶ Passing ───────────────────────────────────▶ Healed
//!     │ deadline passed                    │ out of bounds: the credit is taken back
//!     └──────────────▶ NotHealed ◀─────────┘ or not seen well by hold + deadline
//! ```
//!
//! "No SLO got worse" means that the error budget of no objective about the service, or about one that calls it, burns
//! faster than at detection and faster than it lasts. Where there is no such objective of failures, or of latency, the
//! callers' error ratio, or p95, must not be above its value at detection. Values within the built-in bounds (1 % and
//! 200 ms) are never worse, and fewer than five requests tell nothing: one failed request more under a light load is
//! noise. For the same reason a snapshot for an observation should count only requests that ended after the steps (see
//! `observe::Sighting::since`): the slow requests of before the repair are not its doing. Objectives look back ten seconds,
//! so that they are asked of a repair from then on.

use std::fmt;
use std::time::Duration;

use domain::units::{duration_ms, show_duration};
use domain::{BadEvents, OutcomeKind, Plan, ResourceId, Signal, Snapshot, Strategy, Time};
use serde::{Deserialize, Serialize};

use super::need::bad_backends;
use crate::detect::Thresholds;
use crate::detect::traffic::REQUESTS_MIN;

/// Up to this error ratio callers are well (O4).
const ERROR_RATIO_OBJECTIVE: f64 = 0.01;
/// Up to this p95 callers are well (H1), in milliseconds.
const P95_OBJECTIVE_MS: f64 = 200.0;
/// Up to this burn an error budget lasts.
const AFFORDABLE: f64 = 1.0;

/// What was seen of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// In bounds.
    InBounds,
    /// Out of bounds.
    OutOfBounds,
    /// Not measured. Absence is neither recovery nor recurrence.
    Unknown,
}

/// The callers' side at one time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Baseline {
    /// Failed ÷ all requests; `None` with fewer than five requests.
    pub error_ratio: Option<f64>,
    /// 95th percentile of latency in milliseconds; `None` with fewer than five requests on every link.
    pub p95_ms: Option<f64>,
    /// How fast the budgets of objectives of failures burn, the fastest; 1 is just affordable. `None` without one that
    /// saw five events.
    #[serde(default)]
    pub failures_burn: Option<f64>,
    /// The same of objectives of latency.
    #[serde(default)]
    pub slowness_burn: Option<f64>,
}

impl Baseline {
    /// The callers of whatever `resource` is part of, as one: the worst p95 and the common error ratio of
    /// the links into its service; of a link, of itself.
    pub fn of(resource: &ResourceId, snapshot: &Snapshot) -> Self {
        let links: Vec<_> = match resource {
            ResourceId::Link(name) => snapshot.links.get(name).into_iter().collect(),
            other => match other.service() {
                Some(service) => snapshot.links_to(service).map(|(_, link)| link).collect(),
                None => Vec::new(),
            },
        };
        let requests: u64 = links.iter().map(|link| link.recent.requests).sum();
        let errors: u64 = links.iter().map(|link| link.recent.errors).sum();
        let enough = links.iter().filter(|link| link.recent.requests >= REQUESTS_MIN);
        Self {
            error_ratio: (requests >= REQUESTS_MIN).then(|| errors as f64 / requests as f64),
            p95_ms: enough.filter_map(|link| link.recent.p95_ms).reduce(f64::max),
            failures_burn: fastest_burn(resource, snapshot, BadEvents::Failed),
            slowness_burn: fastest_burn(resource, snapshot, BadEvents::Slow),
        }
    }

    /// Whether `now` is worse than this: above it and above the objective. What is not known is not worse.
    pub(crate) fn got_worse(&self, now: &Self) -> bool {
        let worse = |then: Option<f64>, now: Option<f64>, objective: f64| match (then, now) {
            (Some(then), Some(now)) => now > then && now > objective,
            _ => false,
        };
        let either = |budget: [Option<f64>; 2], callers: [Option<f64>; 2], bound: f64| match budget {
            [Some(_), Some(_)] => worse(budget[0], budget[1], AFFORDABLE),
            _ => worse(callers[0], callers[1], bound),
        };
        let failures = [self.failures_burn, now.failures_burn];
        let slowness = [self.slowness_burn, now.slowness_burn];
        either(failures, [self.error_ratio, now.error_ratio], ERROR_RATIO_OBJECTIVE)
            || either(slowness, [self.p95_ms, now.p95_ms], P95_OBJECTIVE_MS)
    }
}

/// The fastest burn of the last seconds among the objectives about a resource's service, or about one that calls it.
fn fastest_burn(resource: &ResourceId, snapshot: &Snapshot, bad: BadEvents) -> Option<f64> {
    let service = resource.service()?;
    let concerned = [service].into_iter().chain(snapshot.dependents(service));
    let about = concerned.flat_map(|service| snapshot.objectives.about(service));
    about.filter(|state| state.bad == bad).filter_map(|state| state.lately).reduce(f64::max)
}

/// One look at the signal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// When.
    pub at: Time,
    /// The signal.
    pub seen: Seen,
    /// The callers' side.
    pub callers: Baseline,
}

/// Where verification stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verification {
    /// The signal did not pass yet.
    Pending,
    /// It passes; the hold window runs.
    Passing {
        /// Since the first passing observation.
        since: Time,
    },
    /// It passed and held.
    Healed {
        /// The first passing observation.
        verified_at: Time,
    },
    /// It did not.
    NotHealed {
        /// Why.
        why: Unverified,
    },
}

/// Why a repair was not verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unverified {
    /// The signal stayed out of bounds until the deadline.
    StillOutOfBounds {
        /// How long it had.
        #[serde(with = "duration_ms")]
        deadline: Duration,
    },
    /// The signal was not measured until the deadline.
    NeverSeen {
        /// How long it had.
        #[serde(with = "duration_ms")]
        deadline: Duration,
    },
    /// It came back and went again within the hold window.
    Recurred {
        /// When.
        at: Time,
    },
    /// It passed, then was not measured until long after the hold window.
    LostSight,
    /// It came back, but the callers are worse off than at detection.
    CallersWorse {
        /// Their side at detection.
        then: Baseline,
        /// Their side at the end.
        now: Baseline,
    },
}

/// Follows one signal from the end of a plan's steps to a verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verifier {
    signal: Signal,
    finished_at: Time,
    then: Baseline,
    state: Verification,
    last: Option<Observation>,
    /// Since when it is watched again, where nobody watched for a while.
    resumed: Option<Time>,
}

impl Verifier {
    /// Begins when the last step was proven, with the callers' side at detection.
    pub fn new(signal: Signal, finished_at: Time, then: Baseline) -> Self {
        Self { signal, finished_at, then, state: Verification::Pending, last: None, resumed: None }
    }

    /// Goes on at `now` with one whose signal passed `since` then, after a time in which nobody watched. That
    /// nobody did is neither recovery nor recurrence: the first look decides, and one that sees nothing is
    /// followed by as much patience as there is at the end of every hold window.
    pub fn resumed(signal: Signal, finished_at: Time, then: Baseline, since: Time, now: Time) -> Self {
        let state = Verification::Passing { since };
        Self { state, resumed: Some(now), ..Self::new(signal, finished_at, then) }
    }

    /// Where it stands.
    pub fn state(&self) -> &Verification {
        &self.state
    }

    /// What is watched.
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Whether a verdict was given; later observations change nothing.
    pub fn decided(&self) -> bool {
        matches!(self.state, Verification::Healed { .. } | Verification::NotHealed { .. })
    }

    /// Takes one observation in. One from before the end of the steps, or older than the last, says nothing
    /// about what they did.
    pub fn observe(&mut self, observation: Observation) -> &Verification {
        let stale = !observation.at.reached(self.finished_at)
            || self.last.is_some_and(|last| !observation.at.reached(last.at));
        if self.decided() || stale {
            return &self.state;
        }
        let worse = self.then.got_worse(&observation.callers);
        self.state = match (&self.state, observation.seen) {
            (Verification::Passing { .. }, Seen::OutOfBounds) => {
                Verification::NotHealed { why: Unverified::Recurred { at: observation.at } }
            }
            (Verification::Passing { since }, seen) => self.passing(*since, seen, worse, &observation),
            // Also at the first look past the deadline: nobody may have looked before (a restart of the
            // controller), and a repair that works is not taken back for that.
            (_, Seen::InBounds) if !worse => Verification::Passing { since: observation.at },
            (_, seen) => self.pending(seen, worse, &observation),
        };
        self.last = Some(observation);
        &self.state
    }

    fn passing(&self, since: Time, seen: Seen, worse: bool, now: &Observation) -> Verification {
        let held = now.at.since(since);
        if held < self.signal.hold {
            return Verification::Passing { since };
        }
        if seen == Seen::InBounds && !worse {
            return Verification::Healed { verified_at: since };
        }
        let hold = self.signal.hold;
        let waited = self.resumed.map_or(held, |at| held.min(hold.saturating_add(now.at.since(at))));
        if waited < hold.saturating_add(self.signal.deadline) {
            return Verification::Passing { since };
        }
        let why = if worse {
            Unverified::CallersWorse { then: self.then, now: now.callers }
        } else {
            Unverified::LostSight
        };
        Verification::NotHealed { why }
    }

    fn pending(&self, seen: Seen, worse: bool, now: &Observation) -> Verification {
        let deadline = self.signal.deadline;
        if now.at.since(self.finished_at) < deadline {
            return Verification::Pending;
        }
        let why = match seen {
            Seen::InBounds if worse => Unverified::CallersWorse { then: self.then, now: now.callers },
            Seen::OutOfBounds | Seen::InBounds => Unverified::StillOutOfBounds { deadline },
            Seen::Unknown if self.last.is_some_and(|last| last.seen == Seen::OutOfBounds) => {
                Unverified::StillOutOfBounds { deadline }
            }
            Seen::Unknown => Unverified::NeverSeen { deadline },
        };
        Verification::NotHealed { why }
    }
}

/// What a verified plan counts as: an open breaker, or another instance beside one that does not recover,
/// mitigates; everything else heals.
pub fn credit(plan: &Plan) -> OutcomeKind {
    match plan.strategy() {
        Some(Strategy::CircuitBreakDependency | Strategy::ScaleReplicas) => OutcomeKind::Mitigated,
        _ => OutcomeKind::Healed,
    }
}

/// Whether what a plan took out of use is well again, so that the measure can be lifted: every instance
/// behind an opened breaker, or the one that was taken out, as the path's own health checks see it.
/// `Unknown` for plans that took nothing out of use.
pub fn well_again(plan: &Plan, snapshot: &Snapshot, thresholds: &Thresholds) -> Seen {
    use domain::Action::{EjectBackend, OpenBreaker};
    let mut seen = Seen::Unknown;
    for step in &plan.steps {
        let (link, only) = match &step.action {
            EjectBackend { link, instance } => (link, Some(instance)),
            OpenBreaker { link } => (link, None),
            _ => continue,
        };
        let Some(state) = snapshot.links.get(link) else { return Seen::Unknown };
        let mut judged =
            state.backends.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).peekable();
        if judged.peek().is_none() {
            return Seen::Unknown;
        }
        let bad = bad_backends(link, snapshot, thresholds);
        for (name, backend) in judged {
            if bad.contains(name) {
                return Seen::OutOfBounds;
            }
            if backend.path_check.is_none() {
                return Seen::Unknown;
            }
        }
        seen = Seen::InBounds;
    }
    seen
}

impl fmt::Display for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StillOutOfBounds { deadline } => {
                write!(f, "the signal was not back in bounds within {}", show_duration(*deadline))
            }
            Self::NeverSeen { deadline } => {
                write!(f, "the signal was not measured within {}", show_duration(*deadline))
            }
            Self::Recurred { at } => write!(f, "the issue came back in the hold window at {}", at.rfc3339()),
            Self::LostSight => {
                f.write_str("the signal was not measured any more at the end of the hold window")
            }
            Self::CallersWorse { then, now } => {
                let percent = |ratio: Option<f64>| ratio.unwrap_or(0.0) * 100.0;
                write!(
                    f,
                    "callers are worse off than at detection: {:.1} % failed, now {:.1} %; p95 {:.0} ms, now {:.0} ms",
                    percent(then.error_ratio),
                    percent(now.error_ratio),
                    then.p95_ms.unwrap_or(0.0),
                    now.p95_ms.unwrap_or(0.0)
                )?;
                let fastest = |side: &Baseline| {
                    [side.failures_burn, side.slowness_burn].into_iter().flatten().reduce(f64::max)
                };
                let burns = [fastest(then), fastest(now)];
                match burns {
                    [Some(then), Some(now)] => {
                        write!(
                            f,
                            "; their error budgets burned {then:.1} times as fast as they last, now {now:.1}"
                        )
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
