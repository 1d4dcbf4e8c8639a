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
//! | other `documents` (lessons), `switches`, `meta` | always: a fixed number of rows | |
//! | `slo_objectives`, `slo_blocks`, `slo_positions` | counts for the objective's period | |
//! | `slo_remediations` | with their plan | |
//! | `timers` | until they are done, or with their plan | |
//!
//! Outcomes are columns of their plan. What happened is told to listeners and is not stored.

use std::time::Duration;

use domain::Time;
use rusqlite::{Transaction, params};

use crate::changes::Topic;
use crate::documents::DIAGNOSES;
use crate::error::Result;
use crate::purge::RecordKind;
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

/// From when on records of each kind are removed.
pub(crate) struct Cutoffs {
    pub(crate) records: Time,
    pub(crate) health: Time,
}

impl Store {
    /// Removes what is older than `keep` says. Never removed: open issues, plans that are unfinished, have
    /// a timer, or an entry that is open or a fault in force.
    pub fn prune(&self, now: Time, keep: Retention) -> Result<Pruned> {
        let before = Cutoffs { records: now.minus(keep.records), health: now.minus(keep.health) };
        let pruned = self.write(Purpose::Repair, |tx| remove(tx, &before, &RecordKind::ALL))?;
        if pruned != Pruned::default() {
            self.listeners().tell(Topic::Retention, "");
        }
        Ok(pruned)
    }
}

/// Removes what is over and began or ended before `before`, of these kinds. What belongs to what is kept stays, so the
/// order matters: plans, then the issues and experiments they were for.
pub(crate) fn remove(tx: &Transaction, before: &Cutoffs, kinds: &[RecordKind]) -> Result<Pruned> {
    let mut pruned = Pruned::default();
    for purpose in kinds.iter().flat_map(|kind| kind.purposes()) {
        pruned.plans += tx.execute(
            "DELETE FROM plans WHERE purpose = ?2 AND completed_wall_us < ?1
                 AND status IN ('success', 'failed', 'rolled_back', 'refused')
                 AND id NOT IN (SELECT plan FROM timers)
                 AND id NOT IN (SELECT plan FROM journal
                     WHERE state = 'open' OR state = 'done' AND fault = 1)",
            params![before.records.wall_us, purpose.name()],
        )?;
    }
    let records = before.records.wall_us;
    for kind in RecordKind::ALL.iter().filter(|kind| kinds.contains(kind)) {
        match kind {
            RecordKind::Issues => {
                pruned.issues = tx.execute(
                    "DELETE FROM self_healing_issues WHERE closed_at < ?1
                         AND id NOT IN (SELECT issue_id FROM plans WHERE issue_id IS NOT NULL)",
                    [before.records.rfc3339()],
                )?;
                pruned.diagnoses = tx.execute(
                    "DELETE FROM documents WHERE substr(key, 1, length(?1)) = ?1
                         AND substr(key, length(?1) + 1) NOT IN (SELECT id FROM self_healing_issues)",
                    [DIAGNOSES],
                )?;
            }
            RecordKind::Experiments => {
                pruned.experiments = tx.execute(
                    "DELETE FROM experiments WHERE created_wall_us < ?1
                         AND status IN ('completed', 'aborted', 'failed', 'refused')
                         AND id NOT IN (SELECT json_extract(document, '$.intent.experiment.experiment')
                             FROM plans WHERE purpose = 'experiment')",
                    [records],
                )?;
            }
            RecordKind::Deployments => {
                pruned.deployments = tx.execute(
                    "DELETE FROM deployments WHERE began_wall_us < ?1 AND EXISTS (SELECT 1 FROM deployments AS later
                         WHERE later.service = deployments.service
                             AND (later.began_wall_us, later.id) > (deployments.began_wall_us, deployments.id))",
                    [records],
                )?;
            }
            RecordKind::Events => {
                pruned.events = tx.execute("DELETE FROM posted_events WHERE to_wall_us < ?1", [records])?;
            }
            RecordKind::Configuration => {
                pruned.items = tx.execute("DELETE FROM cmdb_items WHERE gone_wall_us < ?1", [records])?;
                pruned.changes = tx.execute(
                    "DELETE FROM cmdb_changes WHERE (at_wall_us < ?1 OR item NOT IN (SELECT id FROM cmdb_items))
                         AND sequence NOT IN (SELECT sequence FROM cmdb_items)",
                    [records],
                )?;
            }
            RecordKind::Health => {
                pruned.health_scores = tx
                    .execute("DELETE FROM health_scores WHERE taken_wall_us < ?1", [before.health.wall_us])?;
            }
            // Plans alone.
            RecordKind::Remediations | RecordKind::Operations => {}
        }
    }
    Ok(pruned)
}
