//! What must happen later: rows with a due time, never sleeping tasks.

use domain::{PlanId, Time};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{column, pair};
use crate::store::{Purpose, Store, from_name};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A timed measure is to be taken back (scale back, close a breaker).
    LiftPlan,
    /// A fault's time is over.
    FaultExpiry,
    /// A roll-back was begun and is not complete.
    Rollback,
    /// The hold window of a plan that is being verified ends. Nothing is done then; it says since when the signal
    /// passes.
    HoldEnd,
    /// Nobody approved it in time.
    ApprovalExpiry,
}

impl TimerKind {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::LiftPlan => "lift_plan",
            Self::FaultExpiry => "fault_expiry",
            Self::Rollback => "rollback",
            Self::HoldEnd => "hold_end",
            Self::ApprovalExpiry => "approval_expiry",
        }
    }
}

/// One thing that is due at a time. A plan has at most one timer of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer {
    /// What.
    pub kind: TimerKind,
    /// For which plan.
    pub plan: PlanId,
    /// When, by the boot clock.
    pub due: Time,
}

impl Store {
    /// Sets a timer, replacing one of the same kind and plan.
    pub fn add_timer(&self, timer: &Timer) -> Result<()> {
        self.write(Purpose::Repair, |tx| insert_timer(tx, timer))?;
        self.listeners().tell(Topic::Timers, timer.plan);
        Ok(())
    }

    /// The timers whose time has come, the longest due first. They stay until they are removed, so that a
    /// crash between due and done loses nothing.
    pub fn due_timers(&self, now: Time) -> Result<Vec<Timer>> {
        self.timers_until(Some(now))
    }

    /// Every timer, the next one first.
    pub fn timers(&self) -> Result<Vec<Timer>> {
        self.timers_until(None)
    }

    /// Removes a timer. `false`: there was none.
    pub fn remove_timer(&self, kind: TimerKind, plan: PlanId) -> Result<bool> {
        let removed = self.write(Purpose::Repair, |tx| delete_timer(tx, kind, plan))?;
        if removed > 0 {
            self.listeners().tell(Topic::Timers, plan);
        }
        Ok(removed > 0)
    }

    fn timers_until(&self, until: Option<Time>) -> Result<Vec<Timer>> {
        self.read(|connection| {
            // A kind that an earlier version knew, and that never did anything, is not there.
            let mut statement = connection.prepare_cached(
                "SELECT kind, plan, due_boot_us, due_wall_us FROM timers
                 WHERE (?1 IS NULL OR due_boot_us <= ?1) AND kind <> 'verify_deadline'
                 ORDER BY due_boot_us, plan",
            )?;
            let mut rows = statement.query([until.map(|now| column(now).0)])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (kind, plan): (String, String) = (row.get(0)?, row.get(1)?);
                let what = || format!("timer {kind} of plan {plan}");
                let Some(due) = pair(row, 2)? else { continue };
                found.push(Timer { kind: from_name(what, &kind)?, plan: from_name(what, &plan)?, due });
            }
            Ok(found)
        })
    }
}

pub(crate) fn insert_timer(connection: &Connection, timer: &Timer) -> Result<()> {
    let (boot_us, wall_us) = column(timer.due);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO timers (kind, plan, due_boot_us, due_wall_us) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![timer.kind.name(), timer.plan.to_string(), boot_us, wall_us])?;
    Ok(())
}

/// How many there were.
pub(crate) fn delete_timer(connection: &Connection, kind: TimerKind, plan: PlanId) -> Result<usize> {
    Ok(connection
        .prepare_cached("DELETE FROM timers WHERE kind = ?1 AND plan = ?2")?
        .execute(params![kind.name(), plan.to_string()])?)
}
