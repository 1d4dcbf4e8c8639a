//! One objective, evaluated again and again.
//!
//! In: counts with the minute they belong to, and the time. Out: how the objective stands, and alerts that began or ended.
//! What it knows can be saved and taken up again; keeping it is the caller's business.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use domain::{Burn, SloAlert, SloSeverity, Time};
use serde::{Deserialize, Serialize};

use crate::alert::{Change, Phase, SavedPhase};
use crate::burn::BurnTable;
use crate::counts::{Counts, Sums};
use crate::history::SavedBlock;
use crate::ledger::{Ledger, Window};
use crate::objective::{AlertRule, Burning, Objective, Resolved};
use crate::standing::{self, BurnRate, Forecast, Standing};

/// One objective, evaluated again and again.
#[derive(Debug, Clone)]
pub struct Tracker {
    objective: Arc<Objective>,
    ledger: Ledger,
    /// Of each of the objective's alerts.
    alerts: Box<[Watch]>,
    /// The window that is the period.
    period: usize,
    /// The window that says what it is like lately.
    lately: usize,
    /// When a look first found something measured, in seconds since 1970-01-01 UTC.
    began_s: Option<i64>,
    /// For how many seconds it has been measured, as of the last evaluation.
    known_s: u64,
}

/// An alert of an objective, its windows found.
#[derive(Debug, Clone)]
struct Watch {
    phase: Phase,
    /// Of each condition the short window, where there is one, and the long one.
    windows: Box<[(Option<usize>, usize)]>,
    no_data: Option<usize>,
}

/// What an evaluation says.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// How the objective stands.
    pub standing: Standing,
    /// Alerts that began or ended since the last one.
    pub changes: Vec<SloAlert>,
}

/// What a tracker knows, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The form of the rest: 1.
    pub version: u32,
    /// The minutes that are counted as one.
    pub cell_minutes: u32,
    /// When something was first measured, in seconds since 1970-01-01 UTC.
    pub began_s: Option<i64>,
    /// The counts.
    pub blocks: Vec<SavedBlock>,
    /// The alerts that were not quiet, by severity and name.
    pub alerts: Vec<(SloSeverity, String, SavedPhase)>,
}

/// Why what was saved cannot be taken up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Saved by a newer version.
    #[error(
        "the counts were saved in form {found}, this version reads {VERSION}; use the version that saved them"
    )]
    Version {
        /// The form.
        found: u32,
    },
    /// The objective's time slices are others now.
    #[error(
        "the counts are of {found} min each, the objective counts {wanted} min; they cannot be told apart again"
    )]
    Slices {
        /// What they are of.
        found: u32,
        /// What is counted.
        wanted: u32,
    },
    /// Not what was saved.
    #[error("the saved counts are damaged")]
    Damaged,
}

const VERSION: u32 = 1;

const MINUTE_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;
const MINUTE_S: i64 = 60;

/// The minute of a wall clock's microseconds since 1970-01-01 UTC, as [`Tracker::count`] takes it.
pub fn minute_of(wall_us: i64) -> i64 {
    wall_us.div_euclid(MINUTE_US)
}

impl Tracker {
    /// Of an objective of which nothing was counted.
    pub fn new(objective: Arc<Objective>) -> Self {
        let windows = objective.windows();
        let ledger = Ledger::new(objective.budgeting, &windows);
        // Every window an alert names is among the objective's.
        let at = |length| ledger.position(length).unwrap_or(windows.len() - 1);
        let watch = |rule: &AlertRule| Watch {
            phase: Phase::Quiet,
            windows: rule.when.iter().map(|burning| (burning.short.map(at), at(burning.long))).collect(),
            no_data: rule.no_data.map(at),
        };
        let alerts = objective.alerts.iter().map(watch).collect();
        let lately = at(BurnTable::of(objective.period).page[0].long);
        let period = at(objective.period);
        Self { ledger, alerts, period, lately, objective, began_s: None, known_s: 0 }
    }

    /// Takes up what was saved. Alerts the objective no longer has are forgotten.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] where it was saved by a newer version, for other slices of time, or is damaged.
    pub fn restore(objective: Arc<Objective>, saved: Saved, now: Time) -> Result<Self, RestoreError> {
        let mut tracker = Self::new(objective);
        let wanted = tracker.objective.budgeting.cell().get();
        if saved.version != VERSION {
            return Err(RestoreError::Version { found: saved.version });
        }
        if saved.cell_minutes != wanted {
            return Err(RestoreError::Slices { found: saved.cell_minutes, wanted });
        }
        tracker.ledger.restore(saved.blocks).ok_or(RestoreError::Damaged)?;
        tracker.began_s = saved.began_s;
        for (rule, watch) in tracker.objective.alerts.iter().zip(&mut tracker.alerts) {
            let known = saved
                .alerts
                .iter()
                .find(|(severity, name, _)| (*severity, name) == (rule.severity, &rule.name));
            watch.phase = known.map_or(Phase::Quiet, |(_, _, phase)| phase.resume(now));
        }
        Ok(tracker)
    }

    /// What it knows, to be kept elsewhere.
    pub fn save(&self, now: Time) -> Saved {
        Saved { blocks: self.ledger.save(), ..self.header(now) }
    }

    /// What it knows beside the counts.
    fn header(&self, now: Time) -> Saved {
        let alerts =
            self.objective.alerts.iter().zip(&self.alerts).filter(|(_, watch)| watch.phase != Phase::Quiet);
        Saved {
            version: VERSION,
            cell_minutes: self.objective.budgeting.cell().get(),
            began_s: self.began_s,
            blocks: Vec::new(),
            alerts: alerts
                .map(|(rule, watch)| (rule.severity, rule.name.clone(), SavedPhase::of(watch.phase, now)))
                .collect(),
        }
    }

    /// What changed of what it knows since the last call (all of it the first time): the blocks that were counted in, and
    /// the rest. With it the oldest block that is kept: what was saved of older ones may go.
    pub fn save_changed(&mut self, now: Time) -> (Saved, Option<i64>) {
        let (blocks, oldest) = self.ledger.save_changed();
        let rest = self.header(now);
        (Saved { blocks, ..rest }, oldest)
    }

    /// The next [`Self::save_changed`] answers everything: what the last one answered could not be kept.
    pub fn save_all_next(&mut self) {
        self.ledger.save_all_next();
    }

    /// What was counted in a range of minutes since 1970-01-01 UTC: the first minute of each measured minute or slice with
    /// its counts, in order.
    pub fn counts(&self, minutes: Range<i64>) -> Vec<(i64, Counts)> {
        let mut counts = self.ledger.counts(minutes);
        counts.sort_unstable_by_key(|(minute, _)| *minute);
        counts
    }

    /// What is promised.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Counts events of a minute since 1970-01-01 UTC ([`minute_of`]), of the running one as often as wanted; late ones
    /// go where they belong. No events are a measurement as well: without them the minute is not covered.
    pub fn count(&mut self, minute: i64, counts: Counts) {
        self.ledger.count(minute, counts);
    }

    /// How the objective stands now, and what that changes.
    pub fn evaluate(&mut self, now: Time) -> Evaluation {
        self.ledger.advance(minute_of(now.wall_us));
        self.know(now.wall_us.div_euclid(SECOND_US));
        let mut changes = Vec::new();
        let mut firing = None;
        for at in 0..self.alerts.len() {
            let rule = &self.objective.alerts[at];
            let (phase, change) =
                self.alerts[at].phase.next(self.holds(at), now, rule.hold, rule.keep_firing);
            self.alerts[at].phase = phase;
            if matches!(phase, Phase::Firing { .. }) {
                firing = firing.max(Some(rule.severity));
            }
            match change {
                Some(Change::Began { since }) => changes.push(self.alert(at, since, None)),
                Some(Change::Ended { since }) if rule.resolved == Resolved::Told => {
                    changes.push(self.alert(at, since, Some(now)));
                }
                _ => {}
            }
        }
        let window = &self.ledger.windows()[self.period];
        let standing = Standing::of(self.objective.target, window.cells, window.sums, firing);
        Evaluation { standing, changes }
    }

    /// The alerts that fire, as of the last evaluation.
    pub fn firing(&self) -> impl Iterator<Item = SloAlert> + '_ {
        self.alerts.iter().enumerate().filter_map(|(at, watch)| match watch.phase {
            Phase::Firing { since, .. } => Some(self.alert(at, since, None)),
            Phase::Quiet | Phase::Pending { .. } => None,
        })
    }

    /// How fast the budget burns over every window that is looked at, as of the last evaluation. Of a window that begins
    /// before anything was measured: as alerts see it.
    pub fn burn_rates(&self) -> Vec<BurnRate> {
        let rate = |window: &Window| BurnRate {
            window: window.length,
            rate: standing::burn_rate(self.objective.target, self.since_always(window)),
        };
        self.ledger.windows().iter().map(rate).collect()
    }

    /// When the budget will be used up if what comes is as in the window that pages first (the last hour of 30 days), as
    /// of the last evaluation. Reads every count of the period: a fraction of a millisecond of 30 busy days.
    pub fn forecast(&self) -> Forecast {
        let windows = self.ledger.windows();
        let (period, lately) = (&windows[self.period], &windows[self.lately]);
        let leaving = self.ledger.leaving(period);
        let cell = self.objective.budgeting.cell();
        standing::forecast(self.objective.target, (period.sums, period.cells), lately.sums, &leaving, cell)
    }

    /// Bytes on the heap beside the objective, without what the allocator adds.
    pub fn heap_bytes(&self) -> usize {
        self.ledger.heap_bytes() + size_of_val(&*self.alerts)
    }

    /// Notes for how long anything has been measured: from the look that first found something, or from the minute of what
    /// was counted that is older than that.
    fn know(&mut self, now_s: i64) {
        let Some(first) = self.ledger.first_minute() else { return };
        let began = *self.began_s.get_or_insert(now_s);
        let since = began.min((first + 1).saturating_mul(MINUTE_S) - 1);
        self.known_s = u64::try_from(now_s - since).unwrap_or(0) + 1;
    }

    /// What a window holds for an alert. One that begins before anything was measured is taken to have had as many events
    /// then, and no bad ones: what can be used up within an hour is a share of the period's budget, and the first failing
    /// request after a start has not used that up. Gaps later on are left out, not taken for good.
    fn since_always(&self, window: &Window) -> Sums {
        let (length, known) = (u128::from(window.length.get()) * 60, u128::from(self.known_s.max(1)));
        let total = window.sums.total;
        Sums { total: if known < length { (total * length).div_ceil(known) } else { total }, ..window.sums }
    }

    fn holds(&self, at: usize) -> bool {
        let watch = &self.alerts[at];
        let silent = watch.no_data.is_some_and(|window| self.ledger.windows()[window].sums.measured == 0);
        silent || (0..watch.windows.len()).any(|condition| self.burns(at, condition))
    }

    fn burns(&self, at: usize, condition: usize) -> bool {
        let Burning { factor, bound, .. } = self.objective.alerts[at].when[condition];
        let (short, long) = self.alerts[at].windows[condition];
        let too_fast = |window: usize| {
            let sums = self.since_always(&self.ledger.windows()[window]);
            standing::burns(self.objective.target, sums, factor, bound)
        };
        too_fast(long) && short.is_none_or(too_fast)
    }

    /// The value of an alert. It names the condition that holds, or the first where none does any more.
    fn alert(&self, at: usize, started_at: Time, ended_at: Option<Time>) -> SloAlert {
        let (rule, watch) = (&self.objective.alerts[at], &self.alerts[at]);
        let condition = (0..watch.windows.len()).find(|condition| self.burns(at, *condition));
        let silent = condition.is_none() && self.holds(at);
        let burns = match (silent, watch.windows.get(condition.unwrap_or(0))) {
            (false, Some((short, long))) => {
                let threshold = rule.when[condition.unwrap_or(0)].factor.value();
                short.iter().chain([long]).map(|window| self.burn(*window, threshold)).collect()
            }
            _ => Vec::new(),
        };
        let period = self.ledger.windows()[self.period].sums;
        let mut labels = self.objective.labels.clone();
        labels.extend(rule.labels.clone());
        SloAlert {
            objective: self.objective.id.clone(),
            service: self.objective.service.clone(),
            name: rule.name.clone(),
            severity: rule.severity,
            started_at,
            ended_at,
            burns,
            budget_remaining: 1.0 - standing::burn_rate(self.objective.target, period).unwrap_or(0.0),
            labels,
            annotations: rule.annotations.clone(),
            targets: rule.targets.clone(),
        }
    }

    fn burn(&self, window: usize, threshold: f64) -> Burn {
        let window = &self.ledger.windows()[window];
        let rate = standing::burn_rate(self.objective.target, self.since_always(window)).unwrap_or(0.0);
        Burn { window_minutes: window.length.get(), rate, threshold }
    }
}
