//! The first thing at start: settles what the last controller left unfinished.
//!
//! Faults come first: none of ours may outlive the control plane that watched over it. Then repairs, one by
//! one: a step whose effect is unknown is looked for, and completed or undone; it is never done again.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Action, Effect, PlanId, PlanStatus};
use store::{EntryState, JournalEntry, PlanPurpose, PlanRecord, TimerKind};

use crate::error::{ActError, Result};
use crate::executor::{Executor, endings_of_done};

/// One plan that was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredPlan {
    /// Which plan.
    pub plan: PlanId,
    /// Its status now.
    pub status: PlanStatus,
    /// What was found and done, in one clause.
    pub found: String,
}

/// What recovery did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Fault steps that were open or in force and are taken out.
    pub faults_taken_out: u32,
    /// Plans that were settled, faults first.
    pub plans: Vec<RecoveredPlan>,
}

const ENDED: &str = "the control plane ended";

/// How long a step that does no harm when it is done twice is looked for.
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
    /// Settles every plan that was under way and takes out every fault. Run before anything else, and once
    /// more wherever it failed: doing it again is harmless.
    pub fn recover(&self) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        let open = self.store.entries_without_ending()?;
        let faults: Vec<JournalEntry> = open
            .iter()
            .filter(|entry| entry.is_fault())
            .cloned()
            .chain(self.store.steps_in_force()?)
            .collect();
        recovered.faults_taken_out = u32::try_from(faults.len()).unwrap_or(u32::MAX);

        let mut seen = BTreeSet::new();
        let in_progress = self.store.unfinished_plans()?.into_iter().rev();
        let in_progress = in_progress.filter(|r| r.status == PlanStatus::InProgress).map(|r| r.plan.id);
        let rollbacks = self.store.timers()?.into_iter().filter(|t| t.kind == TimerKind::Rollback);
        let order = faults
            .iter()
            .map(|entry| entry.token.plan)
            .chain(open.iter().map(|entry| entry.token.plan))
            .chain(in_progress)
            .chain(rollbacks.map(|timer| timer.plan));
        for plan in order {
            if seen.insert(plan) {
                recovered.plans.push(self.settle(plan, ENDED)?);
            }
        }
        self.refuse_faults_not_begun()?;
        Ok(recovered)
    }

    /// Experiments that were written down and not begun: who asked for them is gone.
    fn refuse_faults_not_begun(&self) -> Result<()> {
        for record in self.store.unfinished_plans()? {
            let (id, status) = (record.plan.id, record.status);
            if status == PlanStatus::Pending && PlanPurpose::of(&record.plan) == PlanPurpose::Experiment {
                let why = format!("{ENDED} before it began");
                self.store.set_plan_status(id, status, PlanStatus::Refused, self.clock.now(), Some(&why))?;
            }
        }
        Ok(())
    }

    /// Settles one plan that nobody runs.
    pub(crate) fn settle(&self, id: PlanId, why: &str) -> Result<RecoveredPlan> {
        let record = self.store.plan(id)?.ok_or(ActError::UnknownPlan(id))?;
        let entries = self.store.journal(id)?;
        let found = if record.status != PlanStatus::InProgress {
            self.settle_finished(&record, &entries, why)?
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
            self.settle_in_progress(&record, entries, why)?
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
        Ok(format!("{} steps were taken back, {} remain", report.ended.len(), report.remaining.len()))
    }

    fn settle_in_progress(
        &self,
        record: &PlanRecord,
        mut entries: Vec<JournalEntry>,
        why: &str,
    ) -> Result<String> {
        let plan = &record.plan;
        let disturbs = entries.iter().any(JournalEntry::is_fault);
        if !disturbs
            && let Some(last) = entries.last_mut()
            && last.state() == EntryState::Open
        {
            if self.look_again(last) != Effect::Present {
                let (status, _) =
                    self.take_back(plan, &format!("{why}, and step {} has no effect", last.token.index))?;
                return Ok(format!("step {} had no effect; {status}", last.token.index));
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

    /// Looks for the effect of a step that may still be under way: until the time it was given is over,
    /// counted from its intent. What does no harm when it is done twice is not waited for as long: where the
    /// keeper died too it never comes, and nothing is looked after until everything is settled.
    fn look_again(&self, entry: &JournalEntry) -> Effect {
        let began = self.clock.now();
        loop {
            let seen = self.change.prove(entry.token, &entry.step, &entry.captured);
            let now = self.clock.now();
            let over = now.since(entry.intent_at) >= entry.step.timeout
                || (is_harmless_twice(&entry.step.action) && now.since(began) >= HARMLESS_LOOK);
            match seen {
                Ok(Effect::Present) => return Effect::Present,
                Ok(effect) if over => return effect,
                Err(_) if over => return Effect::Unknown,
                _ => self.clock.wait(Duration::from_millis(20)),
            }
        }
    }
}
