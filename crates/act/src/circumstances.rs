//! What the guard has to know about the past and the present, gathered from the store.
//!
//! In: the store and a time. Out: plain values. I/O happens here, before planning, and ends here: planner
//! and guard see values that may be a moment old, and the slots are counted again where they are taken.

use std::collections::BTreeSet;
use std::time::Duration;

use decide::plan::{Approval, History, RunningPlan, Switches};
use domain::{PlanId, PlanStatus, Time};
use store::{PlanPurpose, Store, TimerKind, Verdict};

/// What is remembered: the longest window a policy may have (repeats, 30 days). A shorter memory would silently
/// shorten it.
const HISTORY: Duration = Duration::from_secs(30 * 86_400);

/// Whether plans may change anything at all (`DRY_RUN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They may, as far as guard and ladder allow.
    #[default]
    Live,
    /// They are made and shown, never run.
    DryRun,
}

/// What the caller knows of a plan that its record may not say yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing beyond the record.
    AsRecorded,
    /// It was handed to the executor, and may still stand as pending. Whoever plans meanwhile has to know.
    Begun,
    /// Its signal passed: it is in its hold window and holds no slot any more.
    Passed,
}

/// Everything about the past and the present that the guard looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// The remediations of the last 30 days, at most the newest thousand.
    pub history: History,
    /// What runs.
    pub running: Vec<RunningPlan>,
    /// What people switched.
    pub switches: Switches,
}

impl Circumstances {
    /// Gathers them. `progress` is asked about unfinished plans.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn gather(
        store: &Store,
        now: Time,
        mode: Mode,
        progress: impl Fn(PlanId) -> Progress,
    ) -> store::Result<Self> {
        let mut recent = store.started_plans(PlanPurpose::Remediation, HISTORY, now)?;
        let unfinished = store.unfinished_plans()?;
        let begun = |record: &&store::PlanRecord| {
            record.started_at.is_none() && progress(record.plan.id) == Progress::Begun
        };
        recent.extend(unfinished.iter().filter(begun).cloned());
        let timers = store.timers()?.into_iter();
        let to_be_lifted: BTreeSet<PlanId> =
            timers.filter(|timer| timer.kind == TimerKind::LiftPlan).map(|timer| timer.plan).collect();
        let mut history: Vec<_> = recent
            .iter()
            .filter_map(|record| {
                let mut entry = decide::plan::PlanRecord::of(&record.plan, record.started_at.unwrap_or(now))?;
                entry.outcome = record.outcome.as_ref().map(|outcome| outcome.kind);
                // A measure that was lifted before its time is in force no more.
                entry.lift_after = entry.lift_after.filter(|_| to_be_lifted.contains(&entry.plan));
                Some(entry)
            })
            .collect();
        history.sort_by_key(|entry| entry.started_at);
        Ok(Self {
            history: history.into_iter().collect(),
            running: running(store, now, unfinished, progress)?,
            switches: switches(store, mode)?,
        })
    }
}

fn running(
    store: &Store,
    now: Time,
    unfinished: Vec<store::PlanRecord>,
    progress: impl Fn(PlanId) -> Progress,
) -> store::Result<Vec<RunningPlan>> {
    let runs = |record: &store::PlanRecord| match progress(record.plan.id) {
        Progress::Passed => false,
        Progress::Begun => true,
        Progress::AsRecorded => matches!(record.status, PlanStatus::InProgress | PlanStatus::Verifying),
    };
    let mut plans: Vec<_> = unfinished.into_iter().filter(runs).collect();
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
