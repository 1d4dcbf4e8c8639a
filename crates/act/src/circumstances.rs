//! What the guard has to know about the past and the present, gathered from the store.
//!
//! In: the store and a time. Out: plain values. I/O happens here, before planning, and ends here: planner
//! and guard see values that may be a moment old, and the slots are counted again where they are taken.

use std::collections::BTreeSet;
use std::time::Duration;

use decide::plan::{Approval, History, RunningPlan, Switches};
use domain::{PlanId, PlanStatus, Time};
use store::{PlanPurpose, Store, TimerKind, Verdict};

/// What is remembered: the longest window of the policy's defaults (repeats, 1 day).
const HISTORY: Duration = Duration::from_secs(86_400);

/// Whether plans may change anything at all (`DRY_RUN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They may, as far as guard and ladder allow.
    #[default]
    Live,
    /// They are made and shown, never run.
    DryRun,
}

/// Everything about the past and the present that the guard looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// The remediations of the last day.
    pub history: History,
    /// What runs.
    pub running: Vec<RunningPlan>,
    /// What people switched.
    pub switches: Switches,
}

impl Circumstances {
    /// Gathers them. `passed` says of a plan that is being verified whether its signal passed already: it
    /// then holds no slot any more.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn gather(
        store: &Store,
        now: Time,
        mode: Mode,
        passed: impl Fn(PlanId) -> bool,
    ) -> store::Result<Self> {
        let recent = store.started_plans(PlanPurpose::Remediation, now.minus(HISTORY))?;
        let timers = store.timers()?.into_iter();
        let to_be_lifted: BTreeSet<PlanId> =
            timers.filter(|timer| timer.kind == TimerKind::LiftPlan).map(|timer| timer.plan).collect();
        let mut history: Vec<_> = recent
            .iter()
            .filter_map(|record| {
                let mut entry = decide::plan::PlanRecord::of(&record.plan, record.started_at?)?;
                entry.outcome = record.outcome.as_ref().map(|outcome| outcome.kind);
                // A measure that was lifted before its time is in force no more.
                entry.lift_after = entry.lift_after.filter(|_| to_be_lifted.contains(&entry.plan));
                Some(entry)
            })
            .collect();
        history.sort_by_key(|entry| entry.started_at);
        Ok(Self {
            history: history.into_iter().collect(),
            running: running(store, now, passed)?,
            switches: switches(store, mode)?,
        })
    }
}

fn running(store: &Store, now: Time, passed: impl Fn(PlanId) -> bool) -> store::Result<Vec<RunningPlan>> {
    let runs = |status| matches!(status, PlanStatus::InProgress | PlanStatus::Verifying);
    let mut plans: Vec<_> = store
        .unfinished_plans()?
        .into_iter()
        .filter(|record| runs(record.status) && !passed(record.plan.id))
        .collect();
    // A fault's plan has ended well once the fault is in; it runs until it was taken out.
    for entry in store.steps_in_force()?.into_iter().filter(store::JournalEntry::is_fault) {
        let id = entry.token.plan;
        if plans.iter().all(|record| record.plan.id != id) {
            plans.extend(store.plan(id)?);
        }
    }
    Ok(plans
        .iter()
        .filter_map(|record| RunningPlan::of(&record.plan, record.started_at.unwrap_or(now)))
        .collect())
}

fn switches(store: &Store, mode: Mode) -> store::Result<Switches> {
    let thrown = store.switches()?;
    Ok(Switches {
        automation: thrown.automation,
        emergency_stop: thrown.emergency_stop.is_some(),
        dry_run: mode == Mode::DryRun,
        paused: thrown.pauses.into_iter().map(|(service, until)| (service, Some(until))).collect(),
    })
}

/// A person's yes to a plan, where there is one.
pub fn approval(record: &store::PlanRecord) -> Option<Approval> {
    let decision = record.decision.as_ref().filter(|decision| decision.verdict == Verdict::Approved)?;
    Some(Approval { by: decision.who.clone(), plan: record.plan.id, at: decision.at })
}
