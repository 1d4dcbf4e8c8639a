//! Retention of our own records: what is over and older than wanted is removed; what is open or owed never is.
//!
//! | what | kept | never removed |
//! |---|---|---|
//! | `self_healing_issues` | [`Retention::records`] after its close | open, or a plan of it is kept |
//! | `plans`, with `plan_resources`, `journal`, `journal_endings` | [`Retention::records`] after its end | unfinished; with a timer; with an entry that is open, or a fault in force |
//! | `experiments` | [`Retention::records`] after it was made | not over, or a plan of it is kept |
//! | `deployments` | [`Retention::records`] after they began | the last of each service |
//! | `posted_events` | [`Retention::records`] after their end | not over; more than [`crate::EVENTS_MAX`] are never kept |
//! | `idempotency` | [`crate::KEY_KEPT`], when a key is claimed; more than [`crate::KEYS_MAX`] are never kept | |
//! | `health_scores` | [`Retention::health`] | |
//! | `cmdb_items`, `cmdb_relations` | [`Retention::records`] after the item was gone | what is there |
//! | `cmdb_changes` | [`Retention::records`], and with their item | the newest of each item that is kept |
//! | `documents`, `diagnosis/…` | as long as their issue | |
//! | `documents`, `purge/…` | until the audit trail has the purge | |
//! | other `documents` (lessons), `switches`, `meta` | always: a fixed number of rows | |
//! | `slo_objectives`, `slo_blocks`, `slo_positions` | counts for the objective's period | |
//! | `slo_remediations` | with their plan | |
//! | `timers` | until they are done, or with their plan | |
//!
//! Outcomes are columns of their plan. What happened is told to listeners and is not stored.

use std::ops::{AddAssign, ControlFlow};
use std::time::Duration;

use domain::Time;
use serde::{Deserialize, Serialize};

use crate::changes::Topic;
use crate::error::Result;
use crate::purge::RecordKind;
use crate::store::{Purpose, Store};
use crate::sweep::{Gone, parts};

/// Rows that one round removes at least before it leaves the rest to the next.
const ROWS_A_ROUND: usize = 300;

/// How long records are kept, by wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Closed issues with their diagnoses, finished plans with their journals and outcomes, finished experiments.
    pub records: Duration,
    /// Health scores: one every 30 s or oftener.
    pub health: Duration,
}

impl Default for Retention {
    /// 90 days of records, for comparisons over a quarter; 7 days of scores, 20,160 rows at one every 30 s.
    fn default() -> Self {
        const DAY: u64 = 86_400;
        Self { records: Duration::from_secs(90 * DAY), health: Duration::from_secs(7 * DAY) }
    }
}

/// How many rows were removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pruned {
    /// Issues.
    pub issues: usize,
    /// Plans, with their journals.
    pub plans: usize,
    /// Experiments.
    pub experiments: usize,
    /// Deployments.
    pub deployments: usize,
    /// Posted events.
    pub events: usize,
    /// Configuration items that were gone.
    pub items: usize,
    /// Changes of configuration items.
    pub changes: usize,
    /// Health scores.
    pub health_scores: usize,
    /// Diagnoses of issues that are gone.
    pub diagnoses: usize,
    /// Archived traces, which lie beside the database: retention takes none.
    pub traces: usize,
}

impl AddAssign for Pruned {
    fn add_assign(&mut self, more: Self) {
        self.issues += more.issues;
        self.plans += more.plans;
        self.experiments += more.experiments;
        self.deployments += more.deployments;
        self.events += more.events;
        self.items += more.items;
        self.changes += more.changes;
        self.health_scores += more.health_scores;
        self.diagnoses += more.diagnoses;
        self.traces += more.traces;
    }
}

/// What one round of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// What was removed.
    pub removed: Pruned,
    /// Whether there may be more that is too old: one round removes a little, so that a repair never waits for it long.
    pub more: bool,
}

/// From when on records of each kind are removed.
pub(crate) struct Cutoffs {
    pub(crate) records: Time,
    pub(crate) health: Time,
}

impl Store {
    /// Removes some of what is older than `keep` says. Never removed: open issues, plans that are unfinished, have
    /// a timer, or an entry that is open or a fault in force.
    ///
    /// # Errors
    /// What was removed before stays removed.
    pub fn prune(&self, now: Time, keep: Retention) -> Result<Round> {
        let before = Cutoffs { records: now.minus(keep.records), health: now.minus(keep.health) };
        let mut round = Round { removed: Pruned::default(), more: false };
        let mut rows = 0;
        let swept = self.sweep(&parts(&RecordKind::ALL, &before, Gone::Removed), |part, found| {
            if !found.rows.is_empty() {
                round.removed += self.write(Purpose::Repair, |tx| part.remove(tx, &found.rows))?;
                rows += found.rows.len();
                self.let_others_write();
            }
            Ok(if rows < ROWS_A_ROUND { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        if round.removed != Pruned::default() {
            self.listeners().tell(Topic::Retention, "");
        }
        round.more = swept?.is_break();
        Ok(round)
    }
}
