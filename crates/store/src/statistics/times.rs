//! How long repairs took, and what is known of them beside their number: what `/metrics` shows as distributions.

use std::time::Duration;

use domain::{Issue, Time};

use crate::documents::DIAGNOSES;
use crate::error::Result;
use crate::store::Store;

/// What is known of repairs that ended well, and of what was detected.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repairs {
    /// From start to the first passing check, of each remediation that ended well.
    pub remediation: Vec<Duration>,
    /// From the detection of its issue to the first passing check, likewise.
    pub healing: Vec<Duration>,
    /// Of these, without a person who decided.
    pub without_a_person: u64,
    /// Issues by resource and type, in that order.
    pub issues_by_resource: Vec<(String, String, u64)>,
    /// Open issues by type and severity, in that order.
    pub open_issues: Vec<(String, String, u64)>,
    /// Mean confidence of the cause ranked first, over first diagnoses; `None` without any.
    pub mean_confidence: Option<f64>,
    /// What was raised before it came to pass.
    pub foretold: Foretold,
}

/// Issues that were raised before their bound was crossed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Foretold {
    /// How many.
    pub issues: u64,
    /// Of these, repaired without their bound ever being crossed.
    pub prevented: u64,
    /// Of those whose bound was crossed after all, how long before that they were raised.
    pub lead: Vec<Duration>,
}

impl Store {
    /// What is known of repairs and issues since `since`. Times are of the boot clock; one that spans a restart of the
    /// machine is left out.
    pub fn repairs(&self, since: Time) -> Result<Repairs> {
        let since = since.rfc3339();
        self.read(|connection| {
            let mut repairs = Repairs::default();
            let mut timed = connection.prepare_cached(
                "SELECT p.started_boot_us,
                     coalesce(json_extract(p.outcome, '$.verified_at.boot_us'), p.completed_boot_us),
                     json_extract(i.document, '$.detected_at.boot_us'), p.decision IS NULL
                 FROM plans p LEFT JOIN self_healing_issues i ON i.id = p.issue_id
                 WHERE p.purpose = 'remediation' AND p.status = 'success' AND p.created_at >= ?1",
            )?;
            let mut rows = timed.query([&since])?;
            let between = |from: Option<i64>, to: Option<i64>| {
                Some(Duration::from_micros(u64::try_from(to?.checked_sub(from?)?).ok()?))
            };
            while let Some(row) = rows.next()? {
                let (started, verified, detected) = (row.get(0)?, row.get(1)?, row.get(2)?);
                repairs.remediation.extend(between(started, verified));
                repairs.healing.extend(between(detected, verified));
                repairs.without_a_person += u64::from(row.get::<_, bool>(3)?);
            }
            let grouped = |sql: &str| -> Result<Vec<(String, String, u64)>> {
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map([&since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                Ok(rows.collect::<std::result::Result<_, _>>()?)
            };
            repairs.issues_by_resource = grouped(
                "SELECT resource, type, count(*) FROM self_healing_issues WHERE detected_at >= ?1
                 GROUP BY resource, type ORDER BY resource, type",
            )?;
            repairs.open_issues = grouped(
                "SELECT type, severity, count(*) FROM self_healing_issues
                 WHERE closed_at IS NULL AND detected_at >= ?1 GROUP BY type, severity ORDER BY type, severity",
            )?;
            repairs.mean_confidence = connection
                .prepare_cached(
                    "SELECT avg(json_extract(value, '$.causes[0].confidence')) FROM documents
                     WHERE key >= ?1 AND key < ?2",
                )?
                .query_row([DIAGNOSES, &past(DIAGNOSES)], |row| row.get(0))?;
            repairs.foretold = foretold(connection, &since)?;
            Ok(repairs)
        })
    }
}

fn foretold(connection: &rusqlite::Connection, since: &str) -> Result<Foretold> {
    let mut statement = connection.prepare_cached(
        "SELECT json_extract(metrics, '$.' || ?2), remediated AND closed_at IS NOT NULL
         FROM self_healing_issues WHERE detected_at >= ?1
             AND (json_extract(metrics, '$.' || ?2) IS NOT NULL OR json_extract(metrics, '$.' || ?3) IS NOT NULL)",
    )?;
    let mut rows = statement.query([since, Issue::LEAD, Issue::FORECAST])?;
    let mut foretold = Foretold::default();
    while let Some(row) = rows.next()? {
        foretold.issues += 1;
        match row.get::<_, Option<f64>>(0)?.map(Duration::try_from_secs_f64) {
            Some(lead) => foretold.lead.extend(lead.ok()),
            None => foretold.prevented += u64::from(row.get::<_, bool>(1)?),
        }
    }
    Ok(foretold)
}

/// The first key behind those that begin with `prefix`, whose last byte is ASCII.
fn past(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
