//! Retention of our own records: what is over and older than wanted is removed; what is open or owed never is.
//!
//! | what | kept | never removed |
//! |---|---|---|
//! | `self_healing_issues` | [`Retention::records`] after its close | open, or a plan of it is kept |
//! | `plans`, with `plan_resources`, `journal`, `journal_endings` | [`Retention::records`] after its end | unfinished; with a timer; with an entry that is open, or a fault in force |
//! | `experiments` | [`Retention::records`] after it was made | not over |
//! | `deployments` | [`Retention::records`] after they began | the last of each service |
//! | `posted_events` | [`Retention::records`] after their end | not over; more than [`crate::EVENTS_MAX`] are never kept |
//! | `idempotency` | [`crate::KEY_KEPT`], when a key is claimed; more than [`crate::KEYS_MAX`] are never kept | |
//! | `health_scores` | [`Retention::health`] | |
//! | `cmdb_items`, `cmdb_relations` | [`Retention::records`] after the item was gone | what is there |
//! | `cmdb_changes` | [`Retention::records`], and with their item | the newest of each item that is kept |
//! | `documents`, `diagnosis/…` | as long as their issue | |
//! | other `documents` (lessons), `switches`, `meta` | always: a fixed number of rows | |
//! | `slo_objectives`, `slo_blocks`, `slo_positions` | counts for the objective's period | |
//! | `slo_remediations` | with their plan | |
//! | `timers` | until they are done, or with their plan | |
//!
//! Outcomes are columns of their plan. What happened is told to listeners and is not stored.

use std::time::Duration;

use domain::Time;
use rusqlite::params;

use crate::changes::Topic;
use crate::documents::DIAGNOSES;
use crate::error::Result;
use crate::store::{Purpose, Store};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
}

impl Store {
    /// Removes what is older than `keep` says. Never removed: open issues, plans that are unfinished, have
    /// a timer, or an entry that is open or a fault in force.
    pub fn prune(&self, now: Time, keep: Retention) -> Result<Pruned> {
        let records = now.minus(keep.records);
        let health = now.minus(keep.health);
        let pruned = self.write(Purpose::Repair, |tx| {
            let plans = tx.execute(
                "DELETE FROM plans WHERE completed_wall_us < ?1
                     AND status IN ('success', 'failed', 'rolled_back', 'refused')
                     AND id NOT IN (SELECT plan FROM timers)
                     AND id NOT IN (SELECT plan FROM journal
                         WHERE state = 'open' OR state = 'done' AND fault = 1)",
                [records.wall_us],
            )?;
            let issues = tx.execute(
                "DELETE FROM self_healing_issues WHERE closed_at < ?1
                     AND id NOT IN (SELECT issue_id FROM plans WHERE issue_id IS NOT NULL)",
                [records.rfc3339()],
            )?;
            let experiments = tx.execute(
                "DELETE FROM experiments WHERE created_wall_us < ?1
                     AND status IN ('completed', 'aborted', 'failed', 'refused')",
                [records.wall_us],
            )?;
            let deployments = tx.execute(
                "DELETE FROM deployments WHERE began_wall_us < ?1 AND EXISTS (SELECT 1 FROM deployments AS later
                     WHERE later.service = deployments.service
                         AND (later.began_wall_us, later.id) > (deployments.began_wall_us, deployments.id))",
                [records.wall_us],
            )?;
            let events = tx.execute("DELETE FROM posted_events WHERE to_wall_us < ?1", [records.wall_us])?;
            let items = tx.execute("DELETE FROM cmdb_items WHERE gone_wall_us < ?1", [records.wall_us])?;
            let changes = tx.execute(
                "DELETE FROM cmdb_changes WHERE (at_wall_us < ?1 OR item NOT IN (SELECT id FROM cmdb_items))
                     AND sequence NOT IN (SELECT sequence FROM cmdb_items)",
                [records.wall_us],
            )?;
            let health_scores =
                tx.execute("DELETE FROM health_scores WHERE taken_wall_us < ?1", params![health.wall_us])?;
            let diagnoses = tx.execute(
                "DELETE FROM documents WHERE substr(key, 1, length(?1)) = ?1
                     AND substr(key, length(?1) + 1) NOT IN (SELECT id FROM self_healing_issues)",
                [DIAGNOSES],
            )?;
            Ok(Pruned {
                issues,
                plans,
                experiments,
                deployments,
                events,
                items,
                changes,
                health_scores,
                diagnoses,
            })
        })?;
        if pruned != Pruned::default() {
            self.listeners().tell(Topic::Retention, "");
        }
        Ok(pruned)
    }
}
