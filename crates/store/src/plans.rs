//! Plans of every purpose: the table `plans`, shown as `self_healing_remediations` where they repair.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Intent, IssueId, Outcome, OutcomeKind, Plan, PlanId, PlanStatus, ResourceId, Time};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::changes::Topic;
use crate::decisions::Decision;
use crate::error::{Result, StoreError};
use crate::plan_cache::PlanCache;
use crate::store::{Purpose, Store, from_json, from_name, to_json};
use crate::timers::{Timer, TimerKind, delete_timer, insert_timer};
use crate::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// What a plan is for, without the particulars of [`Intent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PlanPurpose {
    /// It repairs an issue.
    Remediation,
    /// It disturbs on purpose.
    Experiment,
    /// It takes back a measure.
    Lift,
    /// A person asked for it.
    Operation,
}

impl PlanPurpose {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Self {
        match plan.intent {
            Intent::Remediation { .. } => Self::Remediation,
            Intent::Experiment { .. } => Self::Experiment,
            Intent::Lift { .. } => Self::Lift,
            Intent::Operation { .. } => Self::Operation,
        }
    }

    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remediation => "remediation",
            Self::Experiment => "experiment",
            Self::Lift => "lift",
            Self::Operation => "operation",
        }
    }
}

/// A plan and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRecord {
    /// The plan, as it was made.
    pub plan: Arc<Plan>,
    /// Where it is in its life.
    pub status: PlanStatus,
    /// Why it waits or was refused, or what spoke for it: the guard's reasons.
    pub reasons: Vec<String>,
    /// Why it ended badly.
    pub error: Option<String>,
    /// What a person decided.
    pub decision: Option<Decision>,
    /// When it got its slot.
    pub started_at: Option<Time>,
    /// When its status became final for the first time.
    pub completed_at: Option<Time>,
    /// Whether its steps were taken back because it failed or a person asked for it. A lift and the end of
    /// a fault are no roll-back.
    pub rolled_back: bool,
    /// The verdict on it.
    pub outcome: Option<Outcome>,
}

/// Which plans to list.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFilter {
    /// How many at most; above [`LIST_LIMIT_MAX`] is taken as that.
    pub limit: usize,
    /// Only those older than this one: the next page.
    pub before: Option<PlanId>,
    /// Only in this status. [`PlanStatus::InProgress`] includes [`PlanStatus::Verifying`], as the API does.
    pub status: Option<PlanStatus>,
    /// Only those that act on, or have in their blast radius, this resource.
    pub resource: Option<ResourceId>,
    /// Only those made at or after this time, by wall clock.
    pub since: Option<Time>,
    /// Only of this purpose.
    pub only: Option<PlanPurpose>,
}

impl Default for PlanFilter {
    fn default() -> Self {
        Self {
            limit: LIST_LIMIT_DEFAULT,
            before: None,
            status: None,
            resource: None,
            since: None,
            only: None,
        }
    }
}

impl Store {
    /// Writes a new plan. The issue a remediation names has to be there
    /// ([`save_issue`](Self::save_issue)). Writing the same plan again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Engine`] where that issue is not there.
    pub fn add_plan(&self, plan: &Plan, status: PlanStatus, reasons: &[String]) -> Result<()> {
        self.add_plan_with(plan, status, reasons, &[])
    }

    /// Writes a new plan that waits for a person until then, and the timer by which it ends, in one transaction.
    /// Whatever moves it on removes the timer with the same write.
    ///
    /// # Errors
    ///
    /// As [`add_plan`](Self::add_plan).
    pub fn add_plan_to_approve(&self, plan: &Plan, reasons: &[String], until: Time) -> Result<()> {
        let timer = Timer { kind: TimerKind::ApprovalExpiry, plan: plan.id, due: until };
        self.add_plan_with(plan, PlanStatus::AwaitingApproval, reasons, &[timer])
    }

    fn add_plan_with(
        &self,
        plan: &Plan,
        status: PlanStatus,
        reasons: &[String],
        timers: &[Timer],
    ) -> Result<()> {
        self.write(Purpose::Repair, |tx| {
            if !insert_plan(tx, plan, status, reasons)? {
                return Ok(());
            }
            timers.iter().try_for_each(|timer| insert_timer(tx, timer))
        })?;
        self.listeners().tell(Topic::Plans, plan.id);
        Ok(())
    }

    /// One plan.
    pub fn plan(&self, id: PlanId) -> Result<Option<PlanRecord>> {
        Ok(self.plans_where("id = ?1", &[&id.to_string()])?.into_iter().next())
    }

    /// The plans that pass the filter, newest first.
    pub fn plans(&self, filter: &PlanFilter) -> Result<Vec<PlanRecord>> {
        let before = filter.before.map(|id| id.to_string());
        let resource = filter.resource.as_ref().map(ResourceId::to_string);
        let since = filter.since.map(Time::rfc3339);
        let status = filter.status.map(|status| match status {
            PlanStatus::InProgress => [status.name(), PlanStatus::Verifying.name()],
            other => [other.name(), other.name()],
        });
        let only = filter.only.map(PlanPurpose::name);
        // Only what is asked for: a condition that may be none keeps the engine from using an index.
        let mut conditions = vec!["TRUE"];
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if let Some(before) = &before {
            conditions.push("id < ?");
            values.push(before);
        }
        if let Some([one, other]) = &status {
            conditions.push("status IN (?, ?)");
            values.extend([one as &dyn ToSql, other]);
        }
        if let Some(resource) = &resource {
            conditions.push("id IN (SELECT plan FROM plan_resources WHERE resource = ?)");
            values.push(resource);
        }
        if let Some(since) = &since {
            conditions.push("created_at >= ?");
            values.push(since);
        }
        if let Some(only) = &only {
            conditions.push("purpose = ?");
            values.push(only);
        }
        let limit = filter.limit.min(LIST_LIMIT_MAX);
        let condition = format!("{} ORDER BY id DESC LIMIT {limit}", conditions.join(" AND "));
        self.plans_where(&condition, &values)
    }

    /// The plans of a purpose that were made by the end of a range of the wall clock and not over before it, newest
    /// first: all that are not over now, and of the others the newest [`LIST_LIMIT_MAX`].
    pub fn plans_within(&self, purpose: PlanPurpose, from: Time, to: Time) -> Result<Vec<PlanRecord>> {
        // Read first: what ends between the two is in both, never in none.
        let mut lasting = self.unfinished_plans()?;
        lasting.retain(|it| PlanPurpose::of(&it.plan) == purpose && it.completed_at.is_none());
        lasting.retain(|it| it.plan.created_at.wall_us <= to.wall_us);
        let mut found = self.plans_where(
            &format!(
                "created_at <= ?3 AND id IN (SELECT id FROM plans WHERE purpose = ?1 AND completed_wall_us >= ?2)
                 ORDER BY id DESC LIMIT {LIST_LIMIT_MAX}"
            ),
            &[&purpose.name(), &from.wall_us, &to.rfc3339()],
        )?;
        found.extend(lasting);
        found.sort_by_key(|record| Reverse(record.plan.id));
        found.dedup_by_key(|record| record.plan.id);
        Ok(found)
    }

    /// The repairs that began, are over and have no verdict, newest first: owed by a control plane that died.
    pub fn plans_without_outcome(&self) -> Result<Vec<PlanRecord>> {
        let owed = "purpose = 'remediation' AND outcome_kind IS NULL AND started_boot_us IS NOT NULL";
        let mut found = self.all_plans_where(owed, &[])?;
        found.retain(|record| record.status.is_final());
        Ok(found)
    }

    /// The plans of a purpose that got their slot within `window` before `now`, by the boot clock, newest first,
    /// at most [`LIST_LIMIT_MAX`]. What was refused or still waits is not among them.
    ///
    /// Limits are judged by them, so the wall clock has no say: set forward it would make them forgotten.
    pub fn started_plans(
        &self,
        purpose: PlanPurpose,
        window: Duration,
        now: Time,
    ) -> Result<Vec<PlanRecord>> {
        // Signed: what was started before this boot is negative.
        let window = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        self.plans_where(
            &format!(
                "purpose = ?1 AND started_boot_us >= ?2
                 ORDER BY started_boot_us DESC, id DESC LIMIT {LIST_LIMIT_MAX}"
            ),
            &[&purpose.name(), &column(now).0.saturating_sub(window)],
        )
    }

    /// Every plan whose status is not final, newest first.
    pub fn unfinished_plans(&self) -> Result<Vec<PlanRecord>> {
        self.all_plans_where("status IN ('pending', 'awaiting_approval', 'in_progress', 'verifying')", &[])
    }

    /// Every plan made for an issue, newest first.
    pub fn plans_of_issue(&self, issue: IssueId) -> Result<Vec<PlanRecord>> {
        self.all_plans_where("issue_id = ?1", &[&issue.to_string()])
    }

    /// Every plan made for one of these issues, newest first, in one read.
    pub fn plans_of_issues(&self, issues: &[IssueId]) -> Result<Vec<PlanRecord>> {
        let ids: Vec<String> = issues.iter().map(IssueId::to_string).collect();
        let ids = to_json(&ids)?;
        self.all_plans_where("issue_id IN (SELECT value FROM json_each(?1))", &[&ids])
    }

    /// Without a limit the order is made here: the engine would copy whole documents to sort them.
    fn all_plans_where(&self, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<PlanRecord>> {
        let mut found = self.plans_where(condition, values)?;
        found.sort_unstable_by_key(|record| Reverse(record.plan.id));
        Ok(found)
    }

    /// Moves a plan from `expected` to `to`. `false`: it was not in `expected` (or is not there), and
    /// nothing was changed.
    pub fn set_plan_status(
        &self,
        id: PlanId,
        expected: PlanStatus,
        to: PlanStatus,
        now: Time,
        error: Option<&str>,
    ) -> Result<bool> {
        let moved = self.write(Purpose::Repair, |tx| move_plan(tx, id, expected, to, now, error))?;
        if moved {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(moved)
    }

    /// Moves a plan whose steps are all done from in progress to `to`, and sets what must happen later, in
    /// one transaction. `false`: it was not in progress, and nothing was changed.
    pub fn complete_steps(&self, id: PlanId, to: PlanStatus, timers: &[Timer], now: Time) -> Result<bool> {
        let moved = self.write(Purpose::Repair, |tx| {
            if !move_plan(tx, id, PlanStatus::InProgress, to, now, None)? {
                return Ok(false);
            }
            timers.iter().try_for_each(|timer| insert_timer(tx, timer))?;
            Ok(true)
        })?;
        if moved {
            self.listeners().tell(Topic::Plans, id);
        }
        Ok(moved)
    }

    /// The signal of a plan that is being verified passes; it has to hold until `end`. Goes with the plan's state.
    /// `false`: it is not being verified.
    pub fn begin_hold(&self, id: PlanId, end: Time) -> Result<bool> {
        let begun = self.write(Purpose::Repair, |tx| {
            let verifying = status_of(tx, id)? == Some(PlanStatus::Verifying);
            if verifying {
                insert_timer(tx, &Timer { kind: TimerKind::HoldEnd, plan: id, due: end })?;
            }
            Ok(verifying)
        })?;
        if begun {
            self.listeners().tell(Topic::Timers, id);
        }
        Ok(begun)
    }

    /// Writes the verdict on a plan; a healed or mitigated issue counts as remediated from then on. A later
    /// verdict (a recurrence in the hold window) replaces an earlier one.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownPlan`].
    pub fn save_outcome(&self, outcome: &Outcome, now: Time) -> Result<()> {
        let document = to_json(outcome)?;
        let remediated = matches!(outcome.kind, OutcomeKind::Healed | OutcomeKind::Mitigated);
        self.write(Purpose::Repair, |tx| {
            let id = outcome.plan.to_string();
            let (boot_us, wall_us) = column(now);
            let changed = tx
                .prepare_cached(
                    "UPDATE plans SET outcome = ?2, outcome_kind = ?3,
                         rollback_performed = max(rollback_performed, ?4),
                         completed_boot_us = coalesce(completed_boot_us, ?5),
                         completed_wall_us = coalesce(completed_wall_us, ?6)
                     WHERE id = ?1",
                )?
                .execute(params![id, document, outcome.kind.name(), outcome.rolled_back, boot_us, wall_us])?;
            if changed == 0 {
                return Err(StoreError::UnknownPlan(outcome.plan));
            }
            tx.prepare_cached(
                "UPDATE self_healing_issues SET remediated = ?2
                 WHERE id = (SELECT issue_id FROM plans WHERE id = ?1)",
            )?
            .execute(params![id, remediated])?;
            Ok(())
        })?;
        self.listeners().tell(Topic::Plans, outcome.plan);
        Ok(())
    }

    fn plans_where(&self, condition: &str, values: &[&dyn ToSql]) -> Result<Vec<PlanRecord>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM plans WHERE {condition}"))?;
            let mut rows = statement.query(values)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(record(row, self.plan_cache())?);
            }
            Ok(found)
        })
    }
}

/// Writes a new plan, inside a transaction; `false` where it is there already.
pub(crate) fn insert_plan(
    tx: &Connection,
    plan: &Plan,
    status: PlanStatus,
    reasons: &[String],
) -> Result<bool> {
    let issue = match &plan.intent {
        Intent::Remediation { issue, .. } => Some(issue.to_string()),
        _ => None,
    };
    // A plan that is refused at once is complete at once; its own time is the only one at hand.
    let completed = status.is_final().then_some(column(plan.created_at));
    let added = tx
        .prepare_cached(
            "INSERT INTO plans (id, purpose, issue_id, action_type, description, status, reasons,
                 created_at, completed_boot_us, completed_wall_us, document)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            plan.id.to_string(),
            PlanPurpose::of(plan).name(),
            issue,
            action_type(plan),
            plan.summary,
            status.name(),
            to_json(&reasons)?,
            plan.created_at.rfc3339(),
            completed.map(|at| at.0),
            completed.map(|at| at.1),
            to_json(plan)?,
        ])?;
    if added == 0 {
        return Ok(false);
    }
    let mut insert = tx.prepare_cached(
        "INSERT INTO plan_resources (plan, resource, service, instance, target)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for (resource, target) in resources(plan) {
        insert.execute(params![
            plan.id.to_string(),
            resource.to_string(),
            resource.service().map(|service| service.as_str().to_owned()),
            resource.instance().is_some(),
            target,
        ])?;
    }
    Ok(true)
}

const COLUMNS: &str = "id, document, status, reasons, error_message, decision, started_boot_us,
    started_wall_us, completed_boot_us, completed_wall_us, rollback_performed, outcome";

fn record(row: &Row<'_>, cache: &PlanCache) -> Result<PlanRecord> {
    let id: String = row.get(0)?;
    let what = || format!("plan {id}");
    let optional = |index: usize| -> Result<Option<String>> { Ok(row.get(index)?) };
    Ok(PlanRecord {
        plan: cache.get(from_name(what, &id)?, || from_json(what, &row.get::<_, String>(1)?))?,
        status: from_name(what, &row.get::<_, String>(2)?)?,
        reasons: from_json(what, &row.get::<_, String>(3)?)?,
        error: optional(4)?,
        decision: optional(5)?.map(|text| from_json(what, &text)).transpose()?,
        started_at: pair(row, 6)?,
        completed_at: pair(row, 8)?,
        rolled_back: row.get(10)?,
        outcome: optional(11)?.map(|text| from_json(what, &text)).transpose()?,
    })
}

/// The compare-and-set on a plan's status, inside a transaction.
pub(crate) fn move_plan(
    connection: &Connection,
    id: PlanId,
    expected: PlanStatus,
    to: PlanStatus,
    now: Time,
    error: Option<&str>,
) -> Result<bool> {
    let (boot_us, wall_us) = column(now);
    let completed = to.is_final();
    let changed = connection
        .prepare_cached(
            "UPDATE plans SET status = ?3, error_message = coalesce(?4, error_message),
                 completed_boot_us = CASE WHEN ?5 THEN coalesce(completed_boot_us, ?6) END,
                 completed_wall_us = CASE WHEN ?5 THEN coalesce(completed_wall_us, ?7) END,
                 rollback_performed = max(rollback_performed, ?3 = 'rolled_back')
             WHERE id = ?1 AND status = ?2",
        )?
        .execute(params![id.to_string(), expected.name(), to.name(), error, completed, boot_us, wall_us])?;
    let waited_for = match expected {
        PlanStatus::AwaitingApproval => Some(TimerKind::ApprovalExpiry),
        PlanStatus::Verifying => Some(TimerKind::HoldEnd),
        _ => None,
    };
    if let Some(kind) = waited_for.filter(|_| changed == 1) {
        delete_timer(connection, kind, id)?;
    }
    Ok(changed == 1)
}

/// A time as a pair of columns; signed, see `boot`.
pub(crate) fn column(time: Time) -> (i64, i64) {
    (i64::try_from(time.boot_us).unwrap_or(i64::MAX), time.wall_us)
}

/// A time from the pair of columns at `index`.
pub(crate) fn pair(row: &Row<'_>, index: usize) -> Result<Option<Time>> {
    let (boot_us, wall_us): (Option<i64>, Option<i64>) = (row.get(index)?, row.get(index + 1)?);
    Ok(boot_us
        .zip(wall_us)
        .map(|(boot_us, wall_us)| Time { boot_us: u64::try_from(boot_us).unwrap_or(0), wall_us }))
}

/// Every resource of a plan, and whether a step acts on it.
fn resources(plan: &Plan) -> BTreeMap<ResourceId, bool> {
    let mut all: BTreeMap<ResourceId, bool> =
        plan.blast_radius.iter().map(|resource| (resource.clone(), false)).collect();
    all.extend(plan.steps.iter().map(|step| (step.action.resource(), true)));
    all
}

/// The strategy of a remediation; for others what they are.
fn action_type(plan: &Plan) -> String {
    match (&plan.intent, plan.steps.first().map(|step| &step.action)) {
        (Intent::Remediation { strategy, .. }, _) => strategy.name().to_owned(),
        (Intent::Experiment { .. }, Some(domain::Action::Inject(fault))) => fault.kind.name().to_owned(),
        _ => PlanPurpose::of(plan).name().to_owned(),
    }
}

/// The status of a plan, where it is there.
pub(crate) fn status_of(connection: &Connection, id: PlanId) -> Result<Option<PlanStatus>> {
    let name: Option<String> = connection
        .prepare_cached("SELECT status FROM plans WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    name.map(|name| from_name(|| format!("plan {id}"), &name)).transpose()
}
