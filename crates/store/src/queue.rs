//! Plans that wait for their turn: pending, and not begun.
//!
//! In: why a plan does not run now. Out: its record says so, as long as it still waits; what an approval turned out to be
//! needed for waits for one from then on.

use domain::{PlanId, PlanStatus, Time};
use rusqlite::{Connection, OptionalExtension, params};

use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{column, move_plan};
use crate::store::{Purpose, Store, to_json};
use crate::timers::{Timer, TimerKind, insert_timer};

impl Store {
    /// Keeps why a pending plan does not run now. `false`: it says so already, or does not wait any more.
    pub fn keep_waiting(&self, id: PlanId, reasons: &[String]) -> Result<bool> {
        let document = to_json(&reasons)?;
        let kept = self.write(Purpose::Repair, |tx| {
            Ok(tx
                .prepare_cached(
                    "UPDATE plans SET reasons = ?2 WHERE id = ?1 AND status = 'pending' AND reasons <> ?2",
                )?
                .execute(params![id.to_string(), document])?
                > 0)
        })?;
        if kept {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(kept)
    }

    /// Lets a pending plan wait for a person until then, and not for its turn; with its timer, in one transaction. `false`: it is
    /// not pending.
    pub fn await_approval(&self, id: PlanId, reasons: &[String], until: Time, now: Time) -> Result<bool> {
        let document = to_json(&reasons)?;
        let moved = self.write(Purpose::Repair, |tx| {
            if !move_plan(tx, id, PlanStatus::Pending, PlanStatus::AwaitingApproval, now, None)? {
                return Ok(false);
            }
            tx.prepare_cached("UPDATE plans SET reasons = ?2 WHERE id = ?1")?
                .execute(params![id.to_string(), document])?;
            insert_timer(tx, &Timer { kind: TimerKind::ApprovalExpiry, plan: id, due: until })?;
            Ok(true)
        })?;
        if moved {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(moved)
    }

    /// A plan that changed what `id` acts on after a time, by the boot clock: what was seen then may be so no more.
    pub fn changed_since(&self, id: PlanId, seen: Time) -> Result<Option<PlanId>> {
        let found = self.read(|connection| changed_since(connection, &id.to_string(), seen))?;
        Ok(found.and_then(|id| id.parse().ok()))
    }
}

/// The newest plan other than `id` that began or ended after a time on a resource a step of `id` acts on. Faults set nothing
/// that a plan is judged by.
pub(crate) fn changed_since(connection: &Connection, id: &str, seen: Time) -> Result<Option<String>> {
    Ok(connection
        .prepare_cached(
            "SELECT p.id FROM plan_resources own CROSS JOIN plan_resources other ON other.resource = own.resource
                 CROSS JOIN plans p ON p.id = other.plan
             WHERE own.plan = ?1 AND own.target AND other.target AND other.plan <> ?1
                 AND p.purpose <> 'experiment' AND p.started_boot_us IS NOT NULL
                 AND (p.started_boot_us > ?2 OR p.completed_boot_us > ?2)
             ORDER BY p.id DESC LIMIT 1",
        )?
        .query_row(params![id, column(seen).0], |row| row.get(0))
        .optional()?)
}
