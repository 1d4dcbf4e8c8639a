//! Slots: how many plans may run, counted in the transaction that lets one run.
//!
//! The guard in `decide` judges on history it read a moment before; two turns may judge at once. What
//! decides is here: count, move the status, write the first intent, all or nothing.

use std::time::Duration;

use domain::{Captured, PlanId, PlanStatus, Step, StepToken, Time};
use rusqlite::{Connection, params};

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::journal::insert_intent;
use crate::plans::{column, move_plan, status_of};
use crate::store::{Purpose, Store};

/// How many plans of one purpose may run. Plans of different purposes are counted apart, save for
/// `instances_per_service`.
///
/// A plan *runs* from its start until its status is final (`in_progress`, `verifying`); an experiment runs
/// until its last fault is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Started within the last hour, per resource a step acts on.
    pub per_resource_per_hour: u32,
    /// Started within the last hour in all.
    pub per_hour: u32,
    /// Running at a time. Where this is limited at all, no two run on one resource a step acts on.
    pub concurrent: u32,
    /// Distinct instances of one service in the blast radius of running plans, this one's included. A
    /// repair of an instance that is being disturbed shares its place.
    pub instances_per_service: u32,
}

impl SlotLimits {
    /// The limits of the specification (H8): 10 an hour per resource, 100 an hour, 5 at a time. Instances
    /// are not limited.
    pub const SPECIFIED: Self =
        Self { per_resource_per_hour: 10, per_hour: 100, concurrent: 5, instances_per_service: u32::MAX };

    /// For what needs no slot: a lift, an operation of a person.
    pub const NONE: Self = Self {
        per_resource_per_hour: u32::MAX,
        per_hour: u32::MAX,
        concurrent: u32::MAX,
        instances_per_service: u32::MAX,
    };
}

impl Default for SlotLimits {
    fn default() -> Self {
        Self::SPECIFIED
    }
}

/// Whether a plan got its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs now.
    Yes,
    /// It does not: this limit is reached, or it is not pending.
    Taken(String),
}

const HOUR: Duration = Duration::from_secs(3600);

/// Plans that run, as a condition on `p`.
const RUNNING: &str = "(p.status IN ('in_progress', 'verifying') OR p.purpose = 'experiment' AND EXISTS
    (SELECT 1 FROM journal j WHERE j.plan = p.id AND j.fault = 1 AND j.state IN ('open', 'done')))";

impl Store {
    /// Gives a pending plan a slot and moves it to in progress, by compare-and-set.
    pub fn start_plan(&self, id: PlanId, limits: &SlotLimits, now: Time) -> Result<Started> {
        let started = self.write(Purpose::Repair, |tx| start(tx, id, limits, now))?;
        if started == Started::Yes {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(started)
    }

    /// As [`start_plan`](Self::start_plan), and writes the first step's intent in the same transaction.
    pub fn start_plan_with_intent(
        &self,
        token: StepToken,
        step: &Step,
        captured: &Captured,
        limits: &SlotLimits,
        now: Time,
    ) -> Result<Started> {
        let started = self.write(Purpose::Repair, |tx| {
            let started = start(tx, token.plan, limits, now)?;
            if started == Started::Yes {
                insert_intent(tx, token, step, captured, now)?;
            }
            Ok(started)
        })?;
        if started == Started::Yes {
            self.listeners().tell(Topic::Plans, token.plan);
            self.listeners().tell(Topic::Journal, token);
        }
        Ok(started)
    }
}

fn start(connection: &Connection, id: PlanId, limits: &SlotLimits, now: Time) -> Result<Started> {
    match status_of(connection, id)? {
        None => return Err(StoreError::UnknownPlan(id)),
        Some(PlanStatus::Pending) => {}
        Some(status) => return Ok(Started::Taken(format!("the plan is {status}, not pending"))),
    }
    if let Some(reason) = reached(connection, id, limits, now)? {
        return Ok(Started::Taken(reason));
    }
    move_plan(connection, id, PlanStatus::Pending, PlanStatus::InProgress, now, None)?;
    let (boot_us, wall_us) = column(now);
    connection
        .prepare_cached("UPDATE plans SET started_boot_us = ?2, started_wall_us = ?3 WHERE id = ?1")?
        .execute(params![id.to_string(), boot_us, wall_us])?;
    Ok(Started::Yes)
}

/// The first limit that is reached, as a sentence with the value seen.
fn reached(connection: &Connection, id: PlanId, limits: &SlotLimits, now: Time) -> Result<Option<String>> {
    let id = id.to_string();
    let hour_ago = column(now).0 - HOUR.as_micros() as i64;
    let purpose: String =
        connection.query_row("SELECT purpose FROM plans WHERE id = ?1", [&id], |row| row.get(0))?;

    let started: u32 = connection
        .prepare_cached("SELECT count(*) FROM plans WHERE purpose = ?1 AND started_boot_us > ?2")?
        .query_row(params![purpose, hour_ago], |row| row.get(0))?;
    if started >= limits.per_hour {
        return Ok(Some(format!("{started} of {} {purpose} plans an hour were started", limits.per_hour)));
    }

    let running: u32 = connection
        .prepare_cached(&format!("SELECT count(*) FROM plans p WHERE p.purpose = ?1 AND {RUNNING}"))?
        .query_row([&purpose], |row| row.get(0))?;
    if running >= limits.concurrent {
        return Ok(Some(format!("{running} of {} {purpose} plans at a time are running", limits.concurrent)));
    }

    let mut per_resource = connection.prepare_cached(&format!(
        "SELECT mine.resource, count(CASE WHEN p.started_boot_us > ?2 THEN 1 END) AS started,
                max(CASE WHEN {RUNNING} THEN p.id END) AS running
         FROM plan_resources mine
         JOIN plan_resources other ON other.resource = mine.resource AND other.target AND other.plan <> mine.plan
         JOIN plans p ON p.id = other.plan AND p.purpose = ?3
         WHERE mine.plan = ?1 AND mine.target GROUP BY mine.resource"
    ))?;
    let mut rows = per_resource.query(params![id, hour_ago, purpose])?;
    while let Some(row) = rows.next()? {
        let (resource, started, running): (String, u32, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        if started >= limits.per_resource_per_hour {
            return Ok(Some(format!(
                "{started} of {} {purpose} plans an hour were started on {resource}",
                limits.per_resource_per_hour
            )));
        }
        if let (Some(other), true) = (running, limits.concurrent < u32::MAX) {
            return Ok(Some(format!("{purpose} plan {other} is running on {resource}")));
        }
    }
    instances_reached(connection, &id, limits)
}

fn instances_reached(connection: &Connection, id: &str, limits: &SlotLimits) -> Result<Option<String>> {
    // An instance and its volume are one instance: what is behind the first slash.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT r.service, count(DISTINCT substr(r.resource, instr(r.resource, '/') + 1)) AS instances
         FROM plan_resources r JOIN plans p ON p.id = r.plan
         WHERE r.instance AND (p.id = ?1 OR {RUNNING})
           AND r.service IN (SELECT service FROM plan_resources WHERE plan = ?1 AND instance)
         GROUP BY r.service HAVING instances > ?2"
    ))?;
    let mut rows = statement.query(params![id, limits.instances_per_service])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (service, instances): (String, u32) = (row.get(0)?, row.get(1)?);
    Ok(Some(format!(
        "{instances} instances of {service} would be disturbed or repaired at a time, {} may be",
        limits.instances_per_service
    )))
}
