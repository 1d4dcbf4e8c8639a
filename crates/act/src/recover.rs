//! The first thing at start: settles what the last controller left unfinished.
//!
//! Faults come first: none of ours may outlive the control plane that watched over it. Then repairs, one by
//! one: a step whose effect is unknown is looked for, and completed or undone; it is never done again.
//!
//! Nothing here waits. A repair whose step may still be under way stays in progress, and is looked for again
//! by every [`Executor::run_due`] until it is there or its time is over. Its journal entry stays open until
//! then, so that a controller that dies meanwhile loses nothing.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use domain::{Action, Effect, Plan, PlanId, PlanStatus, Time};
use store::{EntryState, JournalEntry, PlanPurpose, PlanRecord, Store, TimerKind};

use crate::error::{ActError, Result, in_full};
use crate::executor::{Executor, endings_of_done};
use crate::undo::Due;

/// One plan that was settled, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredPlan {
    /// Which plan.
    pub plan: PlanId,
    /// Its status now; in progress where a step of it may still come to its effect.
    pub status: PlanStatus,
    /// What was found and done, in one clause.
    pub found: String,
}

impl RecoveredPlan {
    /// Whether nothing more is to be found out about it.
    pub fn is_settled(&self) -> bool {
        self.status != PlanStatus::InProgress
    }
}

/// A plan that nobody runs and that is to be settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsettled {
    /// Since when this controller looks after it.
    since: Time,
    /// Why nobody runs it.
    why: String,
}

/// What one look for a step's effect came to.
enum Sought {
    Present,
    /// It may still come.
    Awaited,
    /// Its time is over.
    Absent,
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Fault steps that were open or in force and are taken out. One that could not be is in `plans`, and is
    /// tried again.
    pub faults_taken_out: u32,
    /// Plans that were looked after, faults first.
    pub plans: Vec<RecoveredPlan>,
}

impl Recovered {
    /// Plans of which a step may still come to its effect; [`Executor::run_due`] settles them.
    pub fn awaited(&self) -> usize {
        self.plans.iter().filter(|plan| !plan.is_settled()).count()
    }
}

/// What a dead controller left, as the store tells it.
struct LeftBehind {
    /// Fault steps that are open or in force.
    faults: Vec<JournalEntry>,
    /// Plans to be looked after, faults first; a plan may be named more than once.
    plans: Vec<PlanId>,
    /// Experiments that were written down and not begun.
    not_begun: Vec<PlanId>,
}

impl LeftBehind {
    fn read(store: &Store) -> Result<Self> {
        let open = store.entries_without_ending()?;
        let faults: Vec<JournalEntry> =
            open.iter().filter(|entry| entry.is_fault()).cloned().chain(store.steps_in_force()?).collect();
        let unfinished = store.unfinished_plans()?;
        let in_progress = unfinished.iter().rev().filter(|r| r.status == PlanStatus::InProgress);
        let rollbacks = store.timers()?.into_iter().filter(|t| t.kind == TimerKind::Rollback);
        let plans = faults
            .iter()
            .map(|entry| entry.token.plan)
            .chain(open.iter().map(|entry| entry.token.plan))
            .chain(in_progress.map(|record| record.plan.id))
            .chain(rollbacks.map(|timer| timer.plan))
            .collect();
        let is_not_begun = |record: &&PlanRecord| {
            record.status == PlanStatus::Pending && PlanPurpose::of(&record.plan) == PlanPurpose::Experiment
        };
        let not_begun = unfinished.iter().filter(is_not_begun).map(|record| record.plan.id).collect();
        Ok(Self { faults, plans, not_begun })
    }
}

/// Whether an earlier controller left anything that [`Executor::recover`] would look after. Reads the store alone: no provider
/// is asked.
///
/// # Errors
///
/// The store's.
pub fn is_anything_left(store: &Store) -> Result<bool> {
    let LeftBehind { plans, not_begun, .. } = LeftBehind::read(store)?;
    Ok(!plans.is_empty() || !not_begun.is_empty())
}

const ENDED: &str = "the control plane ended";

/// How long a step that does no harm when it is done twice is looked for, by one controller. Where the keeper
/// died too its effect never comes, and the next turn may simply plan it again.
const HARMLESS_LOOK: Duration = Duration::from_secs(3);

fn is_harmless_twice(action: &Action) -> bool {
    matches!(
        action,
        Action::RemoveFiles { .. }
            | Action::RotateLogs { .. }
            | Action::ClearCaches { .. }
            | Action::ResetConnections { .. }
    )
}

impl Executor {
    /// Takes out every fault and settles every plan that was under way, without waiting for anything: what is
    /// still awaited is settled by [`Executor::run_due`]. Run before anything else, and once more wherever it
    /// failed: doing it again is harmless.
    ///
    /// # Errors
    ///
    /// Where the provider does not answer or the journal cannot be kept; what was settled until then stays settled.
    pub fn recover(&self) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        let LeftBehind { faults, plans, .. } = LeftBehind::read(&self.store)?;
        let mut seen = BTreeSet::new();
        for plan in plans {
            if seen.insert(plan) {
                let unsettled = Unsettled { since: self.clock.now(), why: ENDED.to_owned() };
                let settled = self.settle(plan, &unsettled)?;
                if !settled.is_settled() {
                    self.await_settlement(plan, unsettled);
                }
                recovered.plans.push(settled);
            }
        }
        let mut left = self.store.steps_in_force()?;
        left.extend(self.store.entries_without_ending()?);
        let is_out = |fault: &&JournalEntry| left.iter().all(|entry| entry.token != fault.token);
        let taken_out = faults.iter().filter(is_out).count();
        recovered.faults_taken_out = u32::try_from(taken_out).unwrap_or(u32::MAX);
        self.refuse_faults_not_begun()?;
        Ok(recovered)
    }

    /// Experiments that were written down and not begun: who asked for them is gone.
    fn refuse_faults_not_begun(&self) -> Result<()> {
        // Read again: settling may have changed what was pending.
        for id in LeftBehind::read(&self.store)?.not_begun {
            let why = format!("{ENDED} before it began");
            let (from, to) = (PlanStatus::Pending, PlanStatus::Refused);
            self.store.set_plan_status(id, from, to, self.clock.now(), Some(&why))?;
        }
        Ok(())
    }

    /// Whether a plan that nobody runs is still to be settled: look again soon.
    pub fn is_settling(&self) -> bool {
        !self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// A plan whose run ended in the middle, because its journal could not be kept or its thread panicked: it
    /// is settled by the next [`Executor::run_due`] that can.
    pub fn leave_unsettled(&self, plan: PlanId) {
        let why = "its run ended in the middle".to_owned();
        self.await_settlement(plan, Unsettled { since: self.clock.now(), why });
    }

    fn await_settlement(&self, plan: PlanId, unsettled: Unsettled) {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner).entry(plan).or_insert(unsettled);
    }

    /// Looks once more after every plan that nobody runs.
    pub(crate) fn settle_unsettled(&self, due: &mut Due) {
        // Each stays until it is settled: who waits for that is not told so while it is looked at.
        let waiting = || self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        let unsettled = waiting().clone();
        for (id, unsettled) in unsettled {
            match self.settle(id, &unsettled) {
                Ok(plan) if plan.is_settled() => due.settled.push(plan),
                Ok(_) => continue,
                // It was never written down, so nothing of it was done.
                Err(ActError::UnknownPlan(_)) => {}
                Err(error) => {
                    due.failed.push((id, in_full(&error)));
                    continue;
                }
            }
            waiting().remove(&id);
        }
    }

    /// Settles one plan that nobody runs, as far as that can be done now.
    fn settle(&self, id: PlanId, unsettled: &Unsettled) -> Result<RecoveredPlan> {
        let why = &unsettled.why;
        let plan = self.store.plan(id)?.ok_or(ActError::UnknownPlan(id))?.plan;
        // As long as it lives, nobody else takes the plan back; who wants to waits a moment.
        let registration = self.running.register(&plan);
        let record = self.store.plan(id)?.ok_or(ActError::UnknownPlan(id))?;
        let entries = self.store.journal(id)?;
        let found = if record.status != PlanStatus::InProgress {
            drop(registration);
            self.settle_finished(&record, &entries, why)?
        } else if registration.is_none() {
            "it is being looked after".to_owned()
        } else if entries.is_empty() {
            let why = format!("{why} before the first step; nothing was changed");
            self.store.set_plan_status(
                id,
                PlanStatus::InProgress,
                PlanStatus::Refused,
                self.clock.now(),
                Some(&why),
            )?;
            why
        } else {
            self.settle_in_progress(&record.plan, entries, unsettled)?
        };
        let status = self.store.plan(id)?.map_or(record.status, |record| record.status);
        Ok(RecoveredPlan { plan: id, status, found })
    }

    /// A plan whose steps were over: its faults are taken out, a roll-back that was begun is completed.
    fn settle_finished(&self, record: &PlanRecord, entries: &[JournalEntry], why: &str) -> Result<String> {
        let id = record.plan.id;
        let owes_rollback =
            self.store.timers()?.iter().any(|timer| timer.kind == TimerKind::Rollback && timer.plan == id);
        let left = entries.iter().any(|entry| match entry.state() {
            EntryState::Open => true,
            EntryState::Done => entry.is_fault(),
            _ => false,
        });
        let report = match (owes_rollback, left) {
            (true, _) => self.undo_plan(id, why)?,
            (false, true) => self.lift_plan(id)?,
            (false, false) => return Ok("nothing was left to do".to_owned()),
        };
        Ok(format!("{} steps were taken back, {} remain", report.taken_back(), report.remaining.len()))
    }

    fn settle_in_progress(
        &self,
        plan: &Plan,
        mut entries: Vec<JournalEntry>,
        unsettled: &Unsettled,
    ) -> Result<String> {
        let why = &unsettled.why;
        let disturbs = entries.iter().any(JournalEntry::is_fault);
        if !disturbs
            && let Some(last) = entries.last_mut()
            && last.state() == EntryState::Open
        {
            let step = last.token.index;
            match self.look_for(last, unsettled.since) {
                Sought::Present => {}
                Sought::Awaited => return Ok(format!("the effect of step {step} is still awaited")),
                Sought::Absent => {
                    let why = format!("{why}, and step {step} has no effect");
                    let (status, _) = self.take_back(plan, &why)?;
                    return Ok(format!("step {step} had no effect; {status}"));
                }
            }
            self.store.append_endings(&endings_of_done(last.token, &last.step.action), self.clock.now())?;
            entries = self.store.journal(plan.id)?;
        }
        let done = entries.iter().filter(|entry| entry.state() == EntryState::Done).count();
        if !disturbs && done == plan.steps.len() {
            let status = self.complete(plan)?;
            return Ok(format!("every step has its effect; {status}"));
        }
        let why = format!("{why} after {done} of {} steps", plan.steps.len());
        let (status, _) = self.take_back(plan, &why)?;
        Ok(format!("{why}; {status}"))
    }

    /// Looks for the effect of a step that may still be under way. It may come until the time it was given is
    /// over, counted from its intent; one that does no harm when it is done twice is not awaited as long.
    fn look_for(&self, entry: &JournalEntry, since: Time) -> Sought {
        let seen = self.change.prove(entry.token, &entry.step, &entry.captured);
        let now = self.clock.now();
        let over = now.since(entry.intent_at) >= entry.step.timeout
            || (is_harmless_twice(&entry.step.action) && now.since(since) >= HARMLESS_LOOK);
        match seen {
            Ok(Effect::Present) => Sought::Present,
            _ if over => Sought::Absent,
            _ => Sought::Awaited,
        }
    }
}
