//! Slots: how many plans may run, counted in the transaction that lets one run.
//!
//! The guard in `decide` judges on history it read a moment before; two turns may judge at once. What
//! decides is here: count, move the status, write the first intent, all or nothing.

use std::time::Duration;

use domain::units::show_duration;
use domain::{Captured, PlanId, PlanStatus, Step, StepToken, Time};
use rusqlite::{Connection, params};

use crate::changes::Topic;
use crate::error::{Result, StoreError};
use crate::journal::insert_intent;
use crate::plans::{column, move_plan, status_of};
use crate::queue::changed_since;
use crate::store::{Purpose, Store};

/// Whether plans of one purpose share a resource a step acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// They may.
    Shared,
    /// One runs at a time.
    OneAtATime,
}

/// How many plans of one purpose may run. Plans of different purposes are counted apart, save for
/// `instances_per_service`.
///
/// A plan *runs* from its start until its status is final (`in_progress`, `verifying`); an experiment runs
/// until its last fault is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotLimits {
    /// Started within the [`window`](Self::window), per resource a step acts on.
    pub per_resource: u32,
    /// Started within the window in all.
    pub in_all: u32,
    /// What the two rates are counted over. The same as the guard's: else one of the two would go on clearing
    /// what the other refuses.
    pub window: Duration,
    /// Running at a time. Where this is limited at all, no two run on one resource a step acts on.
    pub concurrent: u32,
    /// Running on one resource a step acts on, whether or not those at a time are limited.
    pub resources: Sharing,
    /// Distinct instances of one service in the blast radius of running plans, this one's included. A
    /// repair of an instance that is being disturbed shares its place.
    pub instances_per_service: u32,
    /// When what the plan is judged by was seen: no plan began or ended since on a resource a step acts on. `None`: that does
    /// not matter.
    pub seen: Option<Time>,
}

impl SlotLimits {
    /// The limits of the specification (H8): 10 an hour per resource, 100 an hour, 5 at a time. Instances
    /// are not limited.
    pub const SPECIFIED: Self = Self {
        per_resource: 10,
        in_all: 100,
        window: HOUR,
        concurrent: 5,
        resources: Sharing::OneAtATime,
        instances_per_service: u32::MAX,
        seen: None,
    };

    /// For what a person asks for: no rate holds, and no two change one resource at a time.
    pub const OPERATION: Self = Self { resources: Sharing::OneAtATime, ..Self::NONE };

    /// For what needs no slot, such as a lift.
    pub const NONE: Self = Self {
        per_resource: u32::MAX,
        in_all: u32::MAX,
        window: HOUR,
        concurrent: u32::MAX,
        resources: Sharing::Shared,
        instances_per_service: u32::MAX,
        seen: None,
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

/// The ids of the plans that run. Found by what is unfinished, open or in force, which is little, and never by
/// looking at every plan there ever was; the names of the indexes and the order of the joins hold that.
const RUNNING: &str = "(SELECT id FROM plans INDEXED BY plans_unfinished
        WHERE status IN ('pending', 'awaiting_approval', 'in_progress', 'verifying')
          AND status IN ('in_progress', 'verifying')
    UNION SELECT j.plan FROM journal j INDEXED BY journal_open CROSS JOIN plans p ON p.id = j.plan
        WHERE j.state = 'open' AND j.fault = 1 AND p.purpose = 'experiment'
    UNION SELECT j.plan FROM journal j INDEXED BY journal_faults_in_force CROSS JOIN plans p ON p.id = j.plan
        WHERE j.state = 'done' AND j.fault = 1 AND p.purpose = 'experiment')";

/// The resources a step of plan `?1` acts on.
const TARGETS: &str = "(SELECT resource FROM plan_resources WHERE plan = ?1 AND target)";

impl Store {
    /// Gives a pending plan a slot and moves it to in progress, by compare-and-set.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownPlan`].
    pub fn start_plan(&self, id: PlanId, limits: &SlotLimits, now: Time) -> Result<Started> {
        let started = self.write(Purpose::Repair, |tx| start(tx, id, limits, now))?;
        if started == Started::Yes {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(started)
    }

    /// As [`start_plan`](Self::start_plan), and writes the first step's intent in the same transaction.
    ///
    /// # Errors
    ///
    /// As [`start_plan`](Self::start_plan) and [`append_intent`](Self::append_intent).
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
    let window = i64::try_from(limits.window.as_micros()).unwrap_or(i64::MAX);
    let since = column(now).0.saturating_sub(window);
    let purpose: String = connection
        .prepare_cached("SELECT purpose FROM plans WHERE id = ?1")?
        .query_row([&id], |row| row.get(0))?;
    if let Some(reason) = rate_reached(connection, &purpose, limits, since)? {
        return Ok(Some(reason));
    }
    if let Some(reason) = concurrent_reached(connection, &purpose, limits)? {
        return Ok(Some(reason));
    }
    if let Some(reason) = resource_rate_reached(connection, &id, &purpose, limits, since)? {
        return Ok(Some(reason));
    }
    if let Some(reason) = resource_busy(connection, &id, &purpose, limits)? {
        return Ok(Some(reason));
    }
    if let Some(reason) = instances_reached(connection, &id, limits)? {
        return Ok(Some(reason));
    }
    let Some(seen) = limits.seen else { return Ok(None) };
    let other = changed_since(connection, &id, seen)?;
    Ok(other.map(|other| format!("plan {other} changed the same since it was looked at")))
}

fn rate_reached(
    connection: &Connection,
    purpose: &str,
    limits: &SlotLimits,
    since: i64,
) -> Result<Option<String>> {
    if limits.in_all == u32::MAX {
        return Ok(None);
    }
    let started: u32 = connection
        .prepare_cached("SELECT count(*) FROM plans WHERE purpose = ?1 AND started_boot_us > ?2")?
        .query_row(params![purpose, since], |row| row.get(0))?;
    Ok((started >= limits.in_all).then(|| {
        format!("{started} of {} {purpose} plans {} were started", limits.in_all, per(limits.window))
    }))
}

/// The window of a rate, in words.
fn per(window: Duration) -> String {
    if window == HOUR {
        return "an hour".to_owned();
    }
    format!("within {}", show_duration(window))
}

fn concurrent_reached(connection: &Connection, purpose: &str, limits: &SlotLimits) -> Result<Option<String>> {
    if limits.concurrent == u32::MAX {
        return Ok(None);
    }
    let running: u32 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM {RUNNING} running CROSS JOIN plans p ON p.id = running.id WHERE p.purpose = ?1"
        ))?
        .query_row([purpose], |row| row.get(0))?;
    Ok((running >= limits.concurrent)
        .then(|| format!("{running} of {} {purpose} plans at a time are running", limits.concurrent)))
}

fn resource_rate_reached(
    connection: &Connection,
    id: &str,
    purpose: &str,
    limits: &SlotLimits,
    since: i64,
) -> Result<Option<String>> {
    if limits.per_resource == u32::MAX {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT other.resource, count(*) AS started
         FROM plans p INDEXED BY plans_started CROSS JOIN plan_resources other ON other.plan = p.id
         WHERE p.purpose = ?2 AND p.started_boot_us > ?3 AND p.id <> ?1
           AND other.target AND other.resource IN {TARGETS}
         GROUP BY other.resource HAVING started >= ?4"
    ))?;
    let mut rows = statement.query(params![id, purpose, since, limits.per_resource])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (resource, started): (String, u32) = (row.get(0)?, row.get(1)?);
    Ok(Some(format!(
        "{started} of {} {purpose} plans {} were started on {resource}",
        limits.per_resource,
        per(limits.window)
    )))
}

fn resource_busy(
    connection: &Connection,
    id: &str,
    purpose: &str,
    limits: &SlotLimits,
) -> Result<Option<String>> {
    if limits.concurrent == u32::MAX && limits.resources == Sharing::Shared {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT other.resource, max(p.id)
         FROM {RUNNING} running CROSS JOIN plans p ON p.id = running.id
             CROSS JOIN plan_resources other ON other.plan = p.id
         WHERE p.purpose = ?2 AND p.id <> ?1 AND other.target AND other.resource IN {TARGETS}
         GROUP BY other.resource"
    ))?;
    let mut rows = statement.query(params![id, purpose])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (resource, other): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(Some(format!("{purpose} plan {other} is running on {resource}")))
}

fn instances_reached(connection: &Connection, id: &str, limits: &SlotLimits) -> Result<Option<String>> {
    if limits.instances_per_service == u32::MAX {
        return Ok(None);
    }
    // An instance and its volume are one instance: what is behind the first slash.
    let mut statement = connection.prepare_cached(&format!(
        "SELECT r.service, count(DISTINCT substr(r.resource, instr(r.resource, '/') + 1)) AS instances
         FROM (SELECT ?1 AS id UNION SELECT id FROM {RUNNING}) counted
             CROSS JOIN plan_resources r ON r.plan = counted.id
         WHERE r.instance AND r.service IN (SELECT service FROM plan_resources WHERE plan = ?1 AND instance)
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
