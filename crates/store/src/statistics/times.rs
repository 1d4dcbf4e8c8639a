//! How long repairs took, and what is known of them beside their number: what `/metrics` shows as distributions.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Issue, Time};

use super::before;
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
    /// Issues that are open now, whenever they were detected, by type and severity, in that order; none for a range that
    /// has an end.
    pub open_issues: Vec<(String, String, u64)>,
    /// How sure first diagnoses were of the cause that they ranked first.
    pub confidences: Confidences,
    /// What was raised before it came to pass.
    pub foretold: Foretold,
}

/// The confidences of causes that were ranked first.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Confidences {
    /// In percent, added up.
    pub sum: f64,
    /// Of how many diagnoses.
    pub diagnoses: u64,
}

impl Confidences {
    /// Their mean in percent; `None` without any.
    pub fn mean(self) -> Option<f64> {
        (self.diagnoses > 0).then(|| self.sum / self.diagnoses as f64)
    }
}

impl Repairs {
    /// What is known of two ranges that do not overlap, together.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.remediation.extend(other.remediation);
        self.healing.extend(other.healing);
        self.without_a_person += other.without_a_person;
        self.issues_by_resource = added(self.issues_by_resource, other.issues_by_resource);
        self.open_issues = added(self.open_issues, other.open_issues);
        self.confidences.sum += other.confidences.sum;
        self.confidences.diagnoses += other.confidences.diagnoses;
        self.foretold.issues += other.foretold.issues;
        self.foretold.prevented += other.foretold.prevented;
        self.foretold.lead.extend(other.foretold.lead);
        self
    }
}

type Counted = Vec<(String, String, u64)>;

fn added(one: Counted, other: Counted) -> Counted {
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (first, second, count) in one.into_iter().chain(other) {
        *counts.entry((first, second)).or_default() += count;
    }
    counts.into_iter().map(|((first, second), count)| (first, second, count)).collect()
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
    /// What is known of repairs and issues since `since`, and before `until` where it is given. Times are of the boot
    /// clock; one that spans a restart of the machine is left out.
    pub fn repairs_between(&self, since: Time, until: Option<Time>) -> Result<Repairs> {
        let diagnosed = (first_diagnosis(Some(since)), first_diagnosis(until));
        let is_open_ended = until.is_none();
        let (since, until) = (since.rfc3339(), before(until));
        self.read(|connection| {
            let mut repairs = Repairs::default();
            let mut timed = connection.prepare_cached(
                "SELECT p.started_boot_us,
                     coalesce(json_extract(p.outcome, '$.verified_at.boot_us'), p.completed_boot_us),
                     json_extract(i.document, '$.detected_at.boot_us'), p.decision IS NULL
                 FROM plans p LEFT JOIN self_healing_issues i ON i.id = p.issue_id
                 WHERE p.purpose = 'remediation' AND p.status = 'success' AND p.created_at >= ?1
                     AND p.created_at < ?2",
            )?;
            let mut rows = timed.query([&since, &until])?;
            let between = |from: Option<i64>, to: Option<i64>| {
                Some(Duration::from_micros(u64::try_from(to?.checked_sub(from?)?).ok()?))
            };
            while let Some(row) = rows.next()? {
                let (started, verified, detected) = (row.get(0)?, row.get(1)?, row.get(2)?);
                repairs.remediation.extend(between(started, verified));
                repairs.healing.extend(between(detected, verified));
                repairs.without_a_person += u64::from(row.get::<_, bool>(3)?);
            }
            let mut issues = connection.prepare_cached(
                "SELECT resource, type, count(*) FROM self_healing_issues
                 WHERE detected_at >= ?1 AND detected_at < ?2 GROUP BY resource, type ORDER BY resource, type",
            )?;
            let rows = issues.query_map([&since, &until], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            repairs.issues_by_resource = rows.collect::<std::result::Result<_, _>>()?;
            if is_open_ended {
                let mut open = connection.prepare_cached(
                    "SELECT type, severity, count(*) FROM self_healing_issues WHERE closed_at IS NULL
                     GROUP BY type, severity ORDER BY type, severity",
                )?;
                let rows = open.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
                repairs.open_issues = rows.collect::<std::result::Result<_, _>>()?;
            }
            repairs.confidences = connection
                .prepare_cached(
                    "SELECT total(json_extract(value, '$.causes[0].confidence')),
                         count(json_extract(value, '$.causes[0].confidence'))
                     FROM documents WHERE key >= ?1 AND key < ?2",
                )?
                .query_row([&diagnosed.0, &diagnosed.1], |row| {
                    Ok(Confidences { sum: row.get(0)?, diagnoses: row.get(1)? })
                })?;
            repairs.foretold = foretold(connection, &since, &until)?;
            Ok(repairs)
        })
    }
}

fn foretold(connection: &rusqlite::Connection, since: &str, until: &str) -> Result<Foretold> {
    let mut statement = connection.prepare_cached(
        "SELECT json_extract(metrics, '$.' || ?2), remediated AND closed_at IS NOT NULL
         FROM self_healing_issues WHERE detected_at >= ?1 AND detected_at < ?4
             AND (json_extract(metrics, '$.' || ?2) IS NOT NULL OR json_extract(metrics, '$.' || ?3) IS NOT NULL)",
    )?;
    let mut rows = statement.query([since, Issue::LEAD, Issue::FORECAST, until])?;
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

/// Where diagnoses of issues begin that were made from a time on, or where all end: ids sort by their time (RFC 9562,
/// UUIDv7).
fn first_diagnosis(from: Option<Time>) -> String {
    match from {
        Some(from) => {
            let millis = u64::try_from(from.wall_us / 1000).unwrap_or(0);
            format!("{DIAGNOSES}{:08x}-{:04x}", millis >> 16, millis & 0xffff)
        }
        // Behind every hexadecimal digit.
        None => format!("{DIAGNOSES}g"),
    }
}
