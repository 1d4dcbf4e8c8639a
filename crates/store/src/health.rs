//! Health scores over time: the table `health_scores`.

use domain::Time;
use rusqlite::params;

use crate::changes::Topic;
use crate::error::Result;
use crate::plans::{column, pair};
use crate::store::{Purpose, Store};

/// One computation of the scores (specification H12). Scores are 0 to 100; an unknown component is `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthRecord {
    /// Over the known components.
    pub overall: Option<u8>,
    /// Processes.
    pub compute: Option<u8>,
    /// Links.
    pub network: Option<u8>,
    /// Volumes.
    pub storage: Option<u8>,
    /// Databases.
    pub database: Option<u8>,
    /// Certificates, known weaknesses.
    pub security: Option<u8>,
    /// The share of the weight of known components, 0 to 1.
    pub coverage: f64,
    /// Open issues at the time.
    pub issues_detected: u32,
    /// Issues repaired without a person, so far.
    pub auto_remediated: u32,
    /// When.
    pub at: Time,
}

impl Store {
    /// Records one computation.
    pub fn add_health(&self, health: &HealthRecord) -> Result<()> {
        let (boot_us, wall_us) = column(health.at);
        self.write(Purpose::Record, |tx| {
            tx.prepare_cached(
                "INSERT INTO health_scores (overall_score, compute_score, network_score, storage_score,
                     database_score, security_score, issues_detected, auto_remediated, timestamp, created_at,
                     coverage, taken_boot_us, taken_wall_us)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                health.overall,
                health.compute,
                health.network,
                health.storage,
                health.database,
                health.security,
                health.issues_detected,
                health.auto_remediated,
                health.at.rfc3339(),
                health.coverage,
                boot_us,
                wall_us,
            ])?;
            Ok(())
        })?;
        self.listeners().tell(Topic::Health, "");
        Ok(())
    }

    /// The scores at or after `since`, by wall clock, oldest first.
    pub fn health_since(&self, since: Time) -> Result<Vec<HealthRecord>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT overall_score, compute_score, network_score, storage_score, database_score,
                     security_score, coverage, issues_detected, auto_remediated, taken_boot_us, taken_wall_us
                 FROM health_scores WHERE taken_wall_us >= ?1 ORDER BY id",
            )?;
            let mut rows = statement.query([since.wall_us])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(at) = pair(row, 9)? else { continue };
                found.push(HealthRecord {
                    overall: row.get(0)?,
                    compute: row.get(1)?,
                    network: row.get(2)?,
                    storage: row.get(3)?,
                    database: row.get(4)?,
                    security: row.get(5)?,
                    coverage: row.get(6)?,
                    issues_detected: row.get(7)?,
                    auto_remediated: row.get(8)?,
                    at,
                });
            }
            Ok(found)
        })
    }
}
