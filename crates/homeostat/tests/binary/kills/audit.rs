//! Looks for what a kill left behind: in `/proc`, in the volumes, in the database file, in the request log,
//! and through the API. What Homeostat says of itself is only one of the five.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use domain::{Clock, Infrastructure, InstanceName, Time};
use homeostat::demo_load::read_log;
use provider::clock::SystemClock;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::fleet::Fleet;
use crate::processes::Part;

/// What a timer may be late: the loop takes it with its next turn.
const LATE: Duration = Duration::from_secs(5);

/// From the last step to the verdict at most: the deadline, the hold, both of the campaign's configuration,
/// and once more what a control plane that was killed had seen of them.
const VERIFIED_WITHIN: Duration = Duration::from_secs(2 * (10 + 3));

/// For how long every request has to have been served (about twenty), and how long a line is on its way to
/// the file.
const SERVED_FOR: Duration = Duration::from_millis(500);
const ON_THE_WAY: Duration = Duration::from_millis(250);

/// Everything that should not be there; empty when all is well.
pub(super) fn left_behind(fleet: &Fleet) -> Vec<String> {
    let mut found = processes(fleet).unwrap_or_else(|why| vec![format!("the state cannot be read: {why}")]);
    // Each look costs; while something is found in the first the others would only repeat it.
    if found.is_empty() {
        found.extend(state(fleet).unwrap_or_else(|why| vec![format!("the state cannot be read: {why}")]));
    }
    if found.is_empty() {
        found.extend(said(fleet).unwrap_or_else(|why| vec![format!("the control plane: {why}")]));
    }
    found
}

/// Processes that should not be there or are not as they should be, and filler files in their volumes.
fn processes(fleet: &Fleet) -> Result<Vec<String>, String> {
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
    if !count.is_empty() {
        // A service that was scaled out has more until the plan that did it is lifted.
        let scaled = rows(
            fleet,
            "SELECT service FROM plan_resources JOIN timers USING (plan) WHERE kind = 'lift_plan' AND target = 1",
            &[],
        )?;
        count.retain(|name, _| !scaled.iter().any(|service| name.starts_with(service.as_str())));
    }
    found.extend(count.into_keys().map(|name| format!("{name} runs, and nobody declared it")));
    Ok(found)
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
    let ago =
        |time| i64::try_from(SystemClock.now().boot_us.saturating_sub(micros(time))).unwrap_or(i64::MAX);
    let (late, verified_since) = (ago(LATE), ago(VERIFIED_WITHIN));
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
    found.extend(rows(
        fleet,
        "SELECT 'experiment ' || id || ' is running and has no fault' FROM experiments WHERE status = 'running'
           AND NOT EXISTS (SELECT 1 FROM plans WHERE id = json_extract(experiments.document, '$.plan')
                AND status IN ('pending', 'in_progress'))
           AND NOT EXISTS (SELECT 1 FROM journal WHERE plan = json_extract(experiments.document, '$.plan')
                AND fault = 1 AND state = 'done')",
        &[],
    )?);
    // A plan that waits for a person has a time after which it does not.
    found.extend(rows(
        fleet,
        "SELECT 'plan ' || id || ' is ' || status || ': ' || description FROM plans
         WHERE status IN ('pending', 'in_progress') OR (status = 'awaiting_approval' AND NOT EXISTS
               (SELECT 1 FROM timers WHERE plan = id AND kind = 'approval_expiry'))",
        &[],
    )?);
    found.extend(rows(
        fleet,
        "SELECT 'plan ' || id || ' still verifies: ' || description FROM plans
         WHERE status = 'verifying' AND ?1 > (SELECT max(json_extract(at, '$.boot_us')) FROM journal_endings
               WHERE plan = id)",
        &[&verified_since],
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

/// Experiments whose faults the keeper that lives says it put in force after `killed_at`.
pub(super) fn begun_after(fleet: &Fleet, killed_at: Time) -> Result<Vec<String>, String> {
    let text = std::fs::read(fleet.dir.join("keeper/table.json")).map_err(|error| error.to_string())?;
    let table: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for overlay in list(&table["overlays"]) {
        if overlay["since"]["boot_us"].as_u64() > Some(killed_at.boot_us) {
            let plan = overlay["token"]["plan"].as_str().unwrap_or_default();
            found.extend(rows(
                fleet,
                "SELECT id FROM experiments WHERE status = 'running' AND json_extract(document, '$.plan') = ?1",
                &[&plan],
            )?);
        }
    }
    Ok(found)
}

/// Plans that have begun and not ended.
pub(super) fn under_way(fleet: &Fleet) -> Result<Vec<String>, String> {
    rows(
        fleet,
        "SELECT purpose || ' ' || action_type || ' ' || status FROM plans
         WHERE status IN ('in_progress', 'verifying')",
        &[],
    )
}

/// Whether a repair is under way.
pub(super) fn repairs(fleet: &Fleet) -> Result<bool, String> {
    Ok(under_way(fleet)?.iter().any(|plan| plan.starts_with("remediation")))
}

/// Plans without a verdict and measures in force: what must be over some time after the last kill. Issues are
/// not: one on a link that is hardly used stays open until the link is used enough to be judged.
pub(super) fn unfinished(fleet: &Fleet) -> Result<Vec<String>, String> {
    let mut found = rows(
        fleet,
        "SELECT 'plan ' || id || ' is ' || status || ': ' || description FROM plans
         WHERE status IN ('pending', 'in_progress', 'verifying')",
        &[],
    )?;
    let services = fleet.get("/api/v3/self-healing/services")?;
    let links = services.as_array().into_iter().flatten().flat_map(|service| service["links"].as_array());
    for link in links.flatten() {
        if link["breaker"] != "closed" || link["ejected"] != serde_json::json!([]) {
            found.push(format!(
                "{}: breaker {}, taken out {}",
                link["link"], link["breaker"], link["ejected"]
            ));
        }
    }
    Ok(found)
}

/// Whether every link still has an instance in use when `stopped` answer nobody. Where it has none, because there
/// is only one or a repair holds the others out of use, users are not served whoever is killed.
pub(super) fn has_spare(fleet: &Fleet, stopped: &[InstanceName]) -> Result<bool, String> {
    let answer = fleet.get("/api/v3/self-healing/services")?;
    let services = answer.as_array().ok_or_else(|| format!("no list: {answer}"))?;
    let mut links = services.iter().flat_map(|service| list(&service["links"]));
    let has_one = |link: &Value| {
        let callee = link["link"].as_str().and_then(|name| name.split_once("->")).map(|(_, callee)| callee);
        let callee = services.iter().find(|service| service["service"].as_str() == callee);
        let ejected = list(&link["ejected"]);
        callee.is_none_or(|callee| {
            let mut instances = list(&callee["instances"]).iter().map(|one| &one["instance"]);
            instances
                .any(|name| !ejected.contains(name) && !stopped.iter().any(|gone| *name == gone.to_string()))
        })
    };
    Ok(links.all(has_one))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
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

/// Why it is not known that users are served.
pub(super) enum Unserved {
    /// The time since is too short.
    NotLongEnough,
    /// Requests failed, the last one at this time.
    Failing { last: Time, what: String },
}

/// Whether every request of the last moments was served. Only those after `from` are looked at.
pub(super) fn served(requests: &Path, from: Time) -> Result<(), Unserved> {
    let now = SystemClock.now();
    let before =
        |ago: Duration| Time { boot_us: now.boot_us.saturating_sub(micros(ago)), wall_us: now.wall_us };
    let (start, end) = (before(SERVED_FOR + ON_THE_WAY), before(ON_THE_WAY));
    if start.boot_us < from.boot_us {
        return Err(Unserved::NotLongEnough);
    }
    let failing = |last, what| Err(Unserved::Failing { last, what });
    match read_log(requests, start, end) {
        Ok(counts) if counts.requests > 0 && counts.failed == 0 => Ok(()),
        Ok(counts) => failing(
            counts.last_failure_at.unwrap_or(end),
            format!("{} of {} requests failed just now", counts.failed, counts.requests),
        ),
        Err(error) => failing(end, error.to_string()),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
