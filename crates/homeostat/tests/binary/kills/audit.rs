//! Looks for what a kill left behind: in `/proc`, in the volumes, in the database file, in the request log,
//! and through the API. What Homeostat says of itself is only one of the five.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use domain::{Clock, Infrastructure};
use homeostat::demo_load::read_log;
use provider::clock::SystemClock;
use rusqlite::{Connection, OpenFlags};

use crate::fleet::Fleet;
use crate::processes::Part;

/// What a timer may be late: the loop takes it with its next turn.
const LATE: Duration = Duration::from_secs(5);

/// How far back requests have to have been served, and for how long after their end they are on their way
/// to the file.
const SERVED_FOR: Duration = Duration::from_millis(1000);
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// Everything that should not be there; empty when all is well.
pub(super) fn left_behind(fleet: &Fleet, requests: &Path) -> Vec<String> {
    let mut found = processes(fleet);
    // Each look costs; while something is found in the first the others would only repeat it.
    if found.is_empty() {
        found.extend(state(fleet).unwrap_or_else(|why| vec![format!("the state cannot be read: {why}")]));
    }
    if found.is_empty() {
        found.extend(said(fleet).unwrap_or_else(|why| vec![format!("the control plane: {why}")]));
    }
    if found.is_empty() {
        found.extend(unserved(requests));
    }
    found
}

/// Processes that should not be there or are not as they should be, and filler files in their volumes.
fn processes(fleet: &Fleet) -> Vec<String> {
    let mut found = Vec::new();
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for process in fleet.processes() {
        let pid = process.pid;
        match &process.part {
            Part::Worker(instance) => found.push(format!("stress worker {pid} of {instance}")),
            Part::Service(instance) => {
                if process.state == 'T' {
                    found.push(format!("process {pid} of {instance} is stopped"));
                }
                if process.leads {
                    *count.entry(instance.clone()).or_default() += 1;
                    let volume = process.volume.as_deref();
                    let filler = volume.and_then(|volume| filler(volume, 3));
                    found.extend(filler.map(|file| format!("filler file {file} of {instance}")));
                }
            }
            Part::ControlPlane | Part::Keeper | Part::Holder => {
                *count.entry(format!("{:?}", process.part)).or_default() += 1;
            }
        }
    }
    let shop: Infrastructure = provider::manifest::parse("shop", super::SHOP).unwrap();
    let instances = shop
        .services
        .iter()
        .flat_map(|(name, spec)| (0..spec.replicas).map(move |index| format!("{name}-{index}")));
    for name in instances.chain([Part::ControlPlane, Part::Keeper].map(|part| format!("{part:?}"))) {
        match count.remove(&name) {
            Some(1) => {}
            seen => found.push(format!("{name} runs {} times", seen.unwrap_or(0))),
        }
    }
    count.remove(&format!("{:?}", Part::Holder)).filter(|holders| *holders > 1).into_iter().for_each(
        |holders| {
            found.push(format!("{holders} holders of volumes"));
        },
    );
    found.extend(
        count.into_iter().map(|(name, count)| format!("{name} runs {count} times, and nobody declared it")),
    );
    found
}

/// The first filler file below a directory.
fn filler(dir: &Path, depth: u32) -> Option<String> {
    for entry in std::fs::read_dir(dir).ok()?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("homeostat-fill") {
            return Some(name);
        }
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = filler(&entry.path(), depth - 1);
            if below.is_some() {
                return below;
            }
        }
    }
    None
}

/// What the database file says is not over although it should be.
fn state(fleet: &Fleet) -> Result<Vec<String>, String> {
    let late = SystemClock.now().boot_us.saturating_sub(u64::try_from(LATE.as_micros()).unwrap_or(0));
    let late = i64::try_from(late).unwrap_or(i64::MAX);
    let mut found = rows(
        fleet,
        "SELECT 'open journal entry ' || plan || '.' || step_index || ' of ' || description
         FROM journal JOIN plans ON plans.id = journal.plan WHERE journal.state = 'open'",
        &[],
    )?;
    found.extend(rows(
        fleet,
        "SELECT 'fault in force ' || plan || ': ' || description
         FROM journal JOIN plans ON plans.id = journal.plan WHERE journal.state = 'done' AND fault = 1",
        &[],
    )?);
    // A plan that verifies has a time by which it knows; one that waits for a person has one too.
    found.extend(rows(
        fleet,
        "SELECT 'plan ' || id || ' is ' || status || ' with nothing that ends it: ' || description FROM plans
         WHERE status IN ('verifying', 'awaiting_approval', 'pending', 'in_progress')
           AND NOT (status = 'verifying' AND EXISTS (SELECT 1 FROM timers WHERE plan = id
                    AND kind IN ('verify_deadline', 'hold_end')))
           AND NOT (status = 'awaiting_approval' AND EXISTS (SELECT 1 FROM timers WHERE plan = id
                    AND kind = 'approval_expiry'))",
        &[],
    )?);
    found.extend(rows(
        fleet,
        "SELECT 'timer ' || kind || ' of plan ' || plan || ' is overdue' FROM timers WHERE due_boot_us < ?1",
        &[&late],
    )?);
    found.extend(rows(
        fleet,
        "SELECT 'the same process was restarted ' || count(*) || ' times: ' || captured FROM journal
         WHERE state = 'done' AND json_extract(step, '$.action.restart_instance') IS NOT NULL
           AND json_extract(captured, '$.process.incarnation') IS NOT NULL
         GROUP BY captured HAVING count(*) > 1",
        &[],
    )?);
    Ok(found)
}

/// Plans without a verdict and open issues: what must be over some time after the last kill.
pub(super) fn unfinished(fleet: &Fleet) -> Result<Vec<String>, String> {
    let mut found = rows(
        fleet,
        "SELECT 'plan ' || id || ' is ' || status || ': ' || description FROM plans
         WHERE status IN ('pending', 'in_progress', 'verifying')",
        &[],
    )?;
    found.extend(rows(
        fleet,
        "SELECT 'issue ' || type || ' on ' || resource || ' is open' FROM self_healing_issues
         WHERE closed_at IS NULL",
        &[],
    )?);
    Ok(found)
}

/// The database as another process sees it.
fn rows(fleet: &Fleet, query: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<String>, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || -> rusqlite::Result<Vec<String>> {
        let connection = Connection::open_with_flags(fleet.dir.join("homeostat.db"), flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let mut statement = connection.prepare(query)?;
        statement.query_map(values, |row| row.get(0))?.collect()
    };
    read().map_err(|error| format!("{error}: {query}"))
}

/// What the control plane itself says is not well.
fn said(fleet: &Fleet) -> Result<Vec<String>, String> {
    let faults = fleet.get("/api/v3/chaos/faults")?;
    let faults = faults.as_array().cloned().unwrap_or_default();
    let mut found: Vec<String> =
        faults.iter().map(|fault| format!("says that a fault is in force: {fault}")).collect();
    found.extend(fleet.all_ready().err());
    Ok(found)
}

/// Whether users were not served just now.
fn unserved(requests: &Path) -> Option<String> {
    let now = SystemClock.now();
    let before = |ago: Duration| domain::Time {
        boot_us: now.boot_us.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)),
        wall_us: now.wall_us,
    };
    match read_log(requests, before(SERVED_FOR + ON_THE_WAY), before(ON_THE_WAY)) {
        Ok(counts) if counts.requests > 0 && counts.failed == 0 => None,
        Ok(counts) => {
            Some(format!("of {} requests in the last second {} failed", counts.requests, counts.failed))
        }
        Err(error) => Some(error.to_string()),
    }
}
