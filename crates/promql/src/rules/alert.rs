//! An alert's way: pending, firing, resolved.
//!
//! In: the alerts of a rule as they stood, what its expression holds for now, and the time. Out: the alerts as they stand,
//! those whose phase changed, and the samples of `ALERTS` and `ALERTS_FOR_STATE`. Times are milliseconds since 1970.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::state::{ActiveAlert, ActivePhase};
use crate::{Labels, METRIC_NAME, Sample, Value};

/// How long an alert is remembered after it was resolved, so that whoever missed it is told again. As Prometheus: 15 min.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// The label that holds the alert's name.
pub const ALERT_NAME: &str = "alertname";

/// An alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// With `alertname`.
    pub labels: Labels,
    /// Expanded.
    pub annotations: BTreeMap<String, String>,
    /// The value of the expression when its condition last held.
    pub value: f64,
    /// How far it is.
    pub phase: Phase,
    /// Since when its condition holds, milliseconds since 1970.
    pub active_at_ms: i64,
    /// Since when it fires, or since when it did.
    pub fired_at_ms: Option<i64>,
    /// Since when its condition holds no more although it still fires.
    pub keep_firing_since_ms: Option<i64>,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its condition holds, not yet long enough.
    Pending,
    /// It fires.
    Firing,
    /// It fired, and its condition does not hold any more.
    Resolved {
        /// Since when, milliseconds since 1970.
        at_ms: i64,
    },
}

impl Alert {
    /// What is shown of it while it is active.
    pub(super) fn shown(&self) -> Option<ActiveAlert> {
        let phase = match self.phase {
            Phase::Pending => ActivePhase::Pending,
            Phase::Firing => ActivePhase::Firing,
            Phase::Resolved { .. } => return None,
        };
        Some(ActiveAlert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            phase,
            active_at_ms: self.active_at_ms,
            keep_firing_since_ms: self.keep_firing_since_ms,
            value: self.value,
        })
    }

    /// The series by which it can be asked for, and found again after a restart.
    fn samples(&self, at_ms: i64) -> [(Labels, Sample); 2] {
        let state = match self.phase {
            Phase::Pending => "pending",
            Phase::Firing | Phase::Resolved { .. } => "firing",
        };
        let since = self.active_at_ms.div_euclid(1000) as f64;
        let sample = |value| Sample { at_ms, value: Value::Float(value) };
        [
            (self.labels.with(METRIC_NAME, "ALERTS").with("alertstate", state), sample(1.0)),
            (self.labels.with(METRIC_NAME, FOR_STATE), sample(since)),
        ]
    }
}

/// The series that says since when an alert is active.
pub(super) const FOR_STATE: &str = "ALERTS_FOR_STATE";

/// The alerts of a rule: pending, firing, and those resolved not long ago.
pub(super) type Alerts = BTreeMap<Labels, Alert>;

/// How alerts of a rule go on, and what its expression says now.
pub(super) struct Turn<'a> {
    pub(super) at_ms: i64,
    pub(super) hold: Duration,
    pub(super) keep_firing: Duration,
    pub(super) limit: u64,
    /// What the condition holds for, by labels.
    pub(super) holding: BTreeMap<Labels, Alert>,
    /// Alerts whose phase is another than before.
    pub(super) changed: &'a mut Vec<Alert>,
}

/// What became of a turn.
pub(super) struct Turned {
    pub(super) alerts: Alerts,
    /// Stamped with the time that is given to [`Turn::go_on`].
    pub(super) samples: Vec<(Labels, Sample)>,
}

impl Turn<'_> {
    /// One evaluation further, as Prometheus goes.
    ///
    /// # Errors
    /// Where more are active than may be; nothing is active then.
    pub(super) fn go_on(mut self, mut alerts: Alerts, stamped_ms: i64) -> Result<Turned, String> {
        let holding: BTreeSet<Labels> = self.holding.keys().cloned().collect();
        for (labels, new) in std::mem::take(&mut self.holding) {
            match alerts.get_mut(&labels) {
                Some(known) if !matches!(known.phase, Phase::Resolved { .. }) => {
                    known.value = new.value;
                    known.annotations = new.annotations;
                }
                _ => {
                    self.changed.push(new.clone());
                    alerts.insert(labels, new);
                }
            }
        }
        let mut active = 0;
        let mut samples = Vec::new();
        let mut gone = Vec::new();
        for (labels, alert) in &mut alerts {
            let stays = if holding.contains(labels) {
                alert.keep_firing_since_ms = None;
                true
            } else {
                self.without_condition(alert, &mut gone)
            };
            if !stays {
                continue;
            }
            active += 1;
            if alert.phase == Phase::Pending && self.passed(alert.active_at_ms) >= ms(self.hold) {
                alert.phase = Phase::Firing;
                alert.fired_at_ms = Some(self.at_ms);
                self.changed.push(alert.clone());
            }
            samples.extend(alert.samples(stamped_ms));
        }
        if self.limit > 0 && active > self.limit {
            self.changed.clear();
            return Err(format!("exceeded limit of {} with {active} alerts", self.limit));
        }
        gone.iter().for_each(|labels| drop(alerts.remove(labels)));
        Ok(Turned { alerts, samples })
    }

    /// Whether an alert whose condition does not hold goes on for all that.
    fn without_condition(&mut self, alert: &mut Alert, gone: &mut Vec<Labels>) -> bool {
        match alert.phase {
            Phase::Pending => gone.push(alert.labels.clone()),
            Phase::Resolved { at_ms } => {
                if self.passed(at_ms) > ms(REMEMBERED) {
                    gone.push(alert.labels.clone());
                }
            }
            Phase::Firing => {
                if !self.keep_firing.is_zero() {
                    let since = *alert.keep_firing_since_ms.get_or_insert(self.at_ms);
                    if self.passed(since) < ms(self.keep_firing) {
                        return true;
                    }
                }
                alert.phase = Phase::Resolved { at_ms: self.at_ms };
                self.changed.push(alert.clone());
            }
        }
        false
    }

    fn passed(&self, since_ms: i64) -> i64 {
        self.at_ms.saturating_sub(since_ms)
    }
}

/// Milliseconds of a duration.
pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
