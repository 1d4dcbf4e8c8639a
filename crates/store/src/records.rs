//! Whole records of plans at once: for benchmarks, and for what comes from another store.

use rusqlite::params;

use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{PlanRecord, column, insert_plan};
use crate::store::{Purpose, Store, to_json};

impl Store {
    /// Writes records as they are, in one transaction. A plan that is there already stays as it is. The issues they name
    /// have to be there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`](crate::StoreError::Engine) where an issue is not there.
    pub fn add_records(&self, records: &[PlanRecord]) -> Result<()> {
        self.write(Purpose::Record, |tx| {
            let mut update = tx.prepare_cached(
                "UPDATE plans SET error_message = ?2, decision = ?3, started_boot_us = ?4, started_wall_us = ?5,
                     completed_boot_us = ?6, completed_wall_us = ?7, rollback_performed = ?8, outcome = ?9,
                     outcome_kind = ?10
                 WHERE id = ?1",
            )?;
            for record in records {
                if !insert_plan(tx, &record.plan, record.status, &record.reasons)? {
                    continue;
                }
                let (started, completed) = (record.started_at.map(column), record.completed_at.map(column));
                update.execute(params![
                    record.plan.id.to_string(),
                    record.error,
                    record.decision.as_ref().map(to_json).transpose()?,
                    started.map(|at| at.0),
                    started.map(|at| at.1),
                    completed.map(|at| at.0),
                    completed.map(|at| at.1),
                    record.rolled_back,
                    record.outcome.as_ref().map(to_json).transpose()?,
                    record.outcome.as_ref().map(|outcome| outcome.kind.name()),
                ])?;
            }
            Ok(())
        })?;
        if let Some(last) = records.last() {
            self.listeners().tell(Topic::Plans, last.plan.id);
        }
        Ok(())
    }
}
