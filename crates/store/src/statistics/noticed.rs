//! How soon faults of our own were noticed.
//!
//! In: when each experiment's faults were in force and where, and when issues were detected. Out: from the beginning of a fault
//! to the issue that is its own; each issue is of one experiment at most, and each experiment has one at most.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Result;

/// How long after a fault is over an issue may still be of it. Detection comes behind: it looks everywhere twice in that
/// time, and what ended longer ago it does not take up any more.
pub const DETECTED_AFTER: Duration = Duration::from_secs(60);

/// An experiment whose faults began. Times are of the wall clock, microseconds since 1970.
#[derive(Debug)]
struct Trial {
    began: i64,
    /// `None` while they are in force.
    ended: Option<i64>,
}

impl Trial {
    /// How well what was detected at a time fits: in force before over, then the one that began last. `None` where it cannot
    /// be of this one.
    fn fits(&self, detected: i64) -> Option<(bool, i64)> {
        let after = i64::try_from(DETECTED_AFTER.as_micros()).unwrap_or(i64::MAX);
        let is_in_force = self.ended.is_none_or(|ended| detected <= ended);
        let is_late = self.ended.is_some_and(|ended| detected > ended.saturating_add(after));
        (self.began <= detected && !is_late).then_some((is_in_force, self.began))
    }
}

/// Trials by what they are about: the targets of their faults, and the services of these.
#[derive(Debug, Default)]
struct Trials {
    each: Vec<Trial>,
    about: HashMap<String, Vec<usize>>,
}

impl Trials {
    /// Which of them an issue on a resource is of.
    fn of(&self, resource: &str, detected: i64) -> Option<usize> {
        let candidates = self.about.get(resource)?.iter().copied();
        let fitting = candidates.filter_map(|trial| Some((self.each[trial].fits(detected)?, trial)));
        fitting.max().map(|(_, trial)| trial)
    }
}

/// The type of the first issue of each experiment since, and how long after its fault began that was detected.
pub(super) fn noticed(connection: &Connection, since: &str) -> Result<Vec<(String, Duration)>> {
    let trials = trials(connection, since)?;
    if trials.each.is_empty() {
        return Ok(Vec::new());
    }
    let mut issues = connection.prepare_cached(
        "SELECT type, resource, json_extract(document, '$.detected_at.wall_us') AS detected
         FROM self_healing_issues WHERE detected_at >= ?1 ORDER BY detected, id",
    )?;
    let mut rows = issues.query([since])?;
    let mut is_noticed = vec![false; trials.each.len()];
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let detected: i64 = row.get(2)?;
        let Some(trial) = trials.of(&row.get::<_, String>(1)?, detected) else { continue };
        // Whatever else came of it says nothing of how soon it was noticed.
        if !std::mem::replace(&mut is_noticed[trial], true) {
            let after = detected.saturating_sub(trials.each[trial].began);
            found.push((row.get(0)?, Duration::from_micros(after.unsigned_abs())));
        }
    }
    Ok(found)
}

/// The experiments since. Faults are in force from the first intent to the last ending, as the journal has them.
fn trials(connection: &Connection, since: &str) -> Result<Trials> {
    let mut statement = connection.prepare_cached(
        "SELECT p.id, min(json_extract(j.intent_at, '$.wall_us')),
             CASE WHEN max(j.state IN ('open', 'done')) THEN NULL ELSE
                 (SELECT max(json_extract(e.at, '$.wall_us')) FROM journal_endings e WHERE e.plan = p.id) END
         FROM plans p JOIN journal j ON j.plan = p.id AND j.fault = 1
         WHERE p.purpose = 'experiment' AND p.created_at >= ?1 GROUP BY p.id",
    )?;
    let mut targets = connection
        .prepare_cached("SELECT resource, service FROM plan_resources WHERE plan = ?1 AND target = 1")?;
    let mut trials = Trials::default();
    let mut rows = statement.query([since])?;
    while let Some(row) = rows.next()? {
        let place = trials.each.len();
        trials.each.push(Trial { began: row.get(1)?, ended: row.get(2)? });
        let mut about = targets.query([row.get::<_, String>(0)?])?;
        while let Some(target) = about.next()? {
            let service: Option<String> = target.get(1)?;
            let whole = service.map(|service| format!("service/{service}"));
            for resource in [Some(target.get(0)?), whole].into_iter().flatten() {
                trials.about.entry(resource).or_default().push(place);
            }
        }
    }
    Ok(trials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issue_is_of_the_fault_in_force_and_not_of_one_that_ended_lately() {
        const SECOND: i64 = 1_000_000;
        let trial = |began: i64, ended: Option<i64>| Trial {
            began: began * SECOND,
            ended: ended.map(|ended| ended * SECOND),
        };
        let each = vec![trial(0, Some(30)), trial(20, Some(25)), trial(200, None)];
        let trials = Trials { each, about: [("service/cart".to_owned(), vec![0, 1, 2])].into() };
        let of = |seconds: i64| trials.of("service/cart", seconds * SECOND);
        assert_eq!(of(-1), None, "before any fault");
        assert_eq!((of(10), of(22)), (Some(0), Some(1)), "the one that began last");
        assert_eq!(of(27), Some(0), "in force goes before over");
        assert_eq!((of(84), of(86), of(91)), (Some(1), Some(0), None), "over for 60 s at most");
        assert_eq!(of(100_000), Some(2), "in force still");
        assert_eq!(trials.of("service/front", 10 * SECOND), None);
    }
}
