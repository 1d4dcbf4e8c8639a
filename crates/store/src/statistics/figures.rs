//! Repairs by type of issue and by strategy, and how soon faults of our own were noticed: what the page of statistics shows.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Time;

use super::noticed::noticed;
use crate::error::Result;
use crate::store::Store;

/// What is counted of a stretch of time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// By the name of the type of issue.
    pub by_kind: BTreeMap<String, KindFigures>,
    /// Remediations by strategy and the name of their outcome, or of their status where they have none.
    pub by_strategy: BTreeMap<String, BTreeMap<String, u64>>,
    /// Faults of our own that began.
    pub faults: u64,
}

/// What is counted of one type of issue. Times are of the wall clock.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct KindFigures {
    /// Detected.
    pub detected: u64,
    /// From detection to the first passing check, of each repair that healed or mitigated, the shortest first. What
    /// recovered by itself is not among them: no repair did that.
    pub repaired: Vec<Duration>,
    /// From the beginning of a fault of our own to the first issue on its target or the service of that, where that is of
    /// this type, the shortest first. The fault was in force then, or over for at most [`DETECTED_AFTER`].
    ///
    /// [`DETECTED_AFTER`]: super::DETECTED_AFTER
    pub noticed: Vec<Duration>,
}

/// From detection to the first passing check, with the type of the issue.
const REPAIRED: &str =
    "SELECT i.type, coalesce(json_extract(p.outcome, '$.verified_at.wall_us'), p.completed_wall_us)
         - unixepoch(i.detected_at, 'subsec') * 1e6
     FROM plans p JOIN self_healing_issues i ON i.id = p.issue_id
     WHERE p.purpose = 'remediation' AND p.outcome_kind IN ('healed', 'mitigated')
         AND p.created_at >= ?1 ORDER BY 2";

impl Store {
    /// From detection to the first passing check of each repair that healed or mitigated and began at or after `since`, by
    /// the wall clock, the shortest first: what [`KindFigures::repaired`] holds of every type of issue.
    pub fn repaired_since(&self, since: Time) -> Result<Vec<Duration>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(REPAIRED)?;
            let mut rows = statement.query([since.rfc3339()])?;
            let mut times = Vec::new();
            while let Some(row) = rows.next()? {
                times.extend(duration(row.get(1)?));
            }
            Ok(times)
        })
    }

    /// What is counted of what began at or after `since`, by the wall clock.
    pub fn figures(&self, since: Time) -> Result<Figures> {
        let since = since.rfc3339();
        self.read(|connection| {
            let mut figures = Figures::default();
            let mut detected = connection.prepare_cached(
                "SELECT type, count(*) FROM self_healing_issues WHERE detected_at >= ?1 GROUP BY type",
            )?;
            let mut rows = detected.query([&since])?;
            while let Some(row) = rows.next()? {
                figures.by_kind.entry(row.get(0)?).or_default().detected = row.get(1)?;
            }
            let mut repaired = connection.prepare_cached(REPAIRED)?;
            let mut rows = repaired.query([&since])?;
            while let Some(row) = rows.next()? {
                let kind = figures.by_kind.entry(row.get(0)?).or_default();
                kind.repaired.extend(duration(row.get(1)?));
            }
            for (kind, after) in noticed(connection, &since)? {
                figures.by_kind.entry(kind).or_default().noticed.push(after);
            }
            figures.by_kind.values_mut().for_each(|kind| kind.noticed.sort_unstable());
            let mut tried = connection.prepare_cached(
                "SELECT action_type, coalesce(outcome_kind, status), count(*) FROM plans
                 WHERE purpose = 'remediation' AND created_at >= ?1 GROUP BY 1, 2",
            )?;
            let mut rows = tried.query([&since])?;
            while let Some(row) = rows.next()? {
                figures.by_strategy.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
            }
            figures.faults = connection
                .prepare_cached(
                    "SELECT count(*) FROM plans
                     WHERE purpose = 'experiment' AND started_wall_us IS NOT NULL AND created_at >= ?1",
                )?
                .query_row([&since], |row| row.get(0))?;
            Ok(figures)
        })
    }
}

/// A clock that was set back in between says nothing.
fn duration(us: Option<f64>) -> Option<Duration> {
    us.filter(|us| *us >= 0.0).map(|us| Duration::from_micros(us as u64))
}
