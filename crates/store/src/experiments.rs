//! Chaos experiments: an id, a status, and a document whose shape is `chaos`'s business.

use domain::{ExperimentId, Time};
use rusqlite::{ToSql, params};
use serde::{Deserialize, Serialize};

use crate::LIST_LIMIT_MAX;
use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{column, pair};
use crate::store::{Purpose, Store, from_name, to_json};

/// Where an experiment is in its life (specification §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExperimentStatus {
    /// It has not begun.
    Pending,
    /// It waits for a person.
    AwaitingApproval,
    /// It runs.
    Running,
    /// It ran to its end; whether it passed is in the document.
    Completed,
    /// It was stopped.
    Aborted,
    /// It could not be carried out.
    Failed,
    /// It was not allowed, or cannot be done here.
    Refused,
}

impl ExperimentStatus {
    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Aborted | Self::Failed | Self::Refused)
    }
}

/// One experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentRecord {
    /// Its id.
    pub id: ExperimentId,
    /// Where it is in its life.
    pub status: ExperimentStatus,
    /// All else, as JSON.
    pub document: String,
    /// When it was made.
    pub created_at: Time,
}

impl Store {
    /// Writes an experiment, new or changed.
    pub fn save_experiment(&self, experiment: &ExperimentRecord) -> Result<()> {
        let (boot_us, wall_us) = column(experiment.created_at);
        self.write(Purpose::Record, |tx| {
            tx.prepare_cached(
                "INSERT INTO experiments (id, status, document, created_boot_us, created_wall_us)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET status = ?2, document = ?3",
            )?
            .execute(params![
                experiment.id.to_string(),
                experiment.status.name(),
                experiment.document,
                boot_us,
                wall_us
            ])?;
            Ok(())
        })?;
        self.listeners().tell(Topic::Experiments, experiment.id);
        Ok(())
    }

    /// One experiment.
    pub fn experiment(&self, id: ExperimentId) -> Result<Option<ExperimentRecord>> {
        let found = self.experiments_where("id = ?1", &[&id.to_string()], 1)?;
        Ok(found.into_iter().next())
    }

    /// At most `limit` experiments older than `before`, newest first.
    pub fn experiments(&self, limit: usize, before: Option<ExperimentId>) -> Result<Vec<ExperimentRecord>> {
        let before = before.map(|id| id.to_string());
        self.experiments_where("?1 IS NULL OR id < ?1", &[&before], limit.min(LIST_LIMIT_MAX))
    }

    /// Every experiment that runs, newest first.
    pub fn running_experiments(&self) -> Result<Vec<ExperimentRecord>> {
        self.experiments_where("status = 'running'", &[], usize::MAX)
    }

    /// Those of these experiments that there are, newest first, in one read.
    pub fn experiments_by_id(&self, ids: &[ExperimentId]) -> Result<Vec<ExperimentRecord>> {
        let ids: Vec<String> = ids.iter().map(ExperimentId::to_string).collect();
        self.experiments_where("id IN (SELECT value FROM json_each(?1))", &[&to_json(&ids)?], usize::MAX)
    }

    fn experiments_where(
        &self,
        condition: &str,
        values: &[&dyn ToSql],
        limit: usize,
    ) -> Result<Vec<ExperimentRecord>> {
        self.read(|connection| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(&format!(
                "SELECT id, status, document, created_boot_us, created_wall_us FROM experiments
                 WHERE {condition} ORDER BY id DESC LIMIT {limit}"
            ))?;
            let mut rows = statement.query(values)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let (id, status): (String, String) = (row.get(0)?, row.get(1)?);
                let what = || format!("experiment {id}");
                let Some(created_at) = pair(row, 3)? else { continue };
                found.push(ExperimentRecord {
                    id: from_name(what, &id)?,
                    status: from_name(what, &status)?,
                    document: row.get(2)?,
                    created_at,
                });
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_found_by_its_own_index() {
        let store = Store::in_memory().unwrap();
        let select =
            "EXPLAIN QUERY PLAN SELECT id FROM experiments WHERE status = 'running' ORDER BY id DESC";
        let way: String =
            store.read(|connection| Ok(connection.query_row(select, [], |row| row.get(3))?)).unwrap();
        assert!(way.contains("INDEX experiments_running"), "{way}");
    }
}
