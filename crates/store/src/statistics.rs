//! Counts for the statistics endpoint of the specification (§2). Percentages and comparisons are made by
//! who shows them.

mod figures;
mod noticed;
mod times;

use std::time::Duration;

use domain::Time;

use crate::error::Result;
use crate::store::Store;

pub use figures::{Figures, KindFigures};
pub use noticed::DETECTED_AFTER;
pub use times::{Confidences, Foretold, Repairs};

/// What happened since a time, by wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Issues detected.
    pub issues_detected: u64,
    /// Of these, repaired (healed or mitigated).
    pub issues_remediated: u64,
    /// Remediations made, also those that never ran.
    pub remediations: u64,
    /// Ended well.
    pub successful: u64,
    /// Ended badly, rolled back or not. Refused ones are not among them: they never ran.
    pub failed: u64,
    /// Taken back.
    pub rolled_back: u64,
    /// Never ran.
    pub refused: u64,
    /// Waiting for a person now.
    pub awaiting_approval: u64,
    /// Mean time from start to the first passing check of those that ended well; `None` without any.
    pub average_remediation: Option<Duration>,
    /// Faults injected on purpose.
    pub faults_injected: u64,
}

impl Statistics {
    /// The counts of two ranges that do not overlap, together; the mean time is that of the first alone.
    #[must_use]
    pub fn with(self, other: &Self) -> Self {
        Self {
            issues_detected: self.issues_detected + other.issues_detected,
            issues_remediated: self.issues_remediated + other.issues_remediated,
            remediations: self.remediations + other.remediations,
            successful: self.successful + other.successful,
            failed: self.failed + other.failed,
            rolled_back: self.rolled_back + other.rolled_back,
            refused: self.refused + other.refused,
            awaiting_approval: self.awaiting_approval + other.awaiting_approval,
            faults_injected: self.faults_injected + other.faults_injected,
            average_remediation: self.average_remediation,
        }
    }
}

/// The end of a range as text that sorts behind every time in it.
pub(super) fn before(until: Option<Time>) -> String {
    until.map_or_else(|| "9999".to_owned(), Time::rfc3339)
}

impl Store {
    /// Counts what happened at or after `since`.
    pub fn statistics(&self, since: Time) -> Result<Statistics> {
        self.statistics_between(since, None)
    }

    /// Counts what happened at or after `since`, and before `until` where it is given.
    pub fn statistics_between(&self, since: Time, until: Option<Time>) -> Result<Statistics> {
        let (since, until) = (since.rfc3339(), before(until));
        self.read(|connection| {
            let (issues_detected, issues_remediated) = connection
                .prepare_cached(
                    "SELECT count(*), count(CASE WHEN remediated THEN 1 END)
                     FROM self_healing_issues WHERE detected_at >= ?1 AND detected_at < ?2",
                )?
                .query_row([&since, &until], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let faults_injected = connection
                .prepare_cached(
                    "SELECT count(*) FROM journal j JOIN plans p ON p.id = j.plan
                     WHERE j.fault = 1 AND p.created_at >= ?1 AND p.created_at < ?2 AND EXISTS
                         (SELECT 1 FROM journal_endings e WHERE e.plan = j.plan
                          AND e.step_index = j.step_index AND e.ending = '\"done\"')",
                )?
                .query_row([&since, &until], |row| row.get(0))?;
            let mut statistics = connection
                .prepare_cached(
                    "SELECT count(*), count(CASE WHEN status = 'success' THEN 1 END),
                         count(CASE WHEN status IN ('failed', 'rolled_back') THEN 1 END),
                         count(CASE WHEN rollback_performed THEN 1 END),
                         count(CASE WHEN status = 'refused' THEN 1 END),
                         count(CASE WHEN status = 'awaiting_approval' THEN 1 END),
                         avg(CASE WHEN status = 'success' THEN
                             coalesce(json_extract(outcome, '$.verified_at.boot_us'), completed_boot_us)
                             - started_boot_us END)
                     FROM plans WHERE purpose = 'remediation' AND created_at >= ?1 AND created_at < ?2",
                )?
                .query_row([&since, &until], |row| {
                    Ok(Statistics {
                        remediations: row.get(0)?,
                        successful: row.get(1)?,
                        failed: row.get(2)?,
                        rolled_back: row.get(3)?,
                        refused: row.get(4)?,
                        awaiting_approval: row.get(5)?,
                        average_remediation: row
                            .get::<_, Option<f64>>(6)?
                            .map(|us| Duration::from_micros(us.max(0.0) as u64)),
                        ..Statistics::default()
                    })
                })?;
            (statistics.issues_detected, statistics.issues_remediated) = (issues_detected, issues_remediated);
            statistics.faults_injected = faults_injected;
            Ok(statistics)
        })
    }
}
