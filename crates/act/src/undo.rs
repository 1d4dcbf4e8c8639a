//! Taking plans back: after a failure, by hand, when their time has come.
//!
//! In: a plan with its journal. Out: an [`UndoReport`], and an ending in the journal for each step that was taken back, last
//! step first. What cannot be taken back now is owed by a timer in the store, so that it is not forgotten by a crash.

use std::time::Duration;

use domain::{Action, Plan, PlanId, PlanStatus, StepToken, Undo};
use provider::{ProviderError, Undone};
use store::{Ending, EntryState, Found, JournalEntry, PlanPurpose, Timer, TimerKind};

use crate::error::{ActError, Result, in_full};
use crate::executor::Executor;
use crate::recover::RecoveredPlan;

/// When an undo that failed is tried again: soon enough for a fault to matter little, seldom enough to give
/// a restarting keeper its second.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// One step that was to be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoneStep {
    /// Which step.
    pub token: StepToken,
    /// What came of it.
    pub ending: Ending,
}

/// What an undo did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UndoReport {
    /// The steps that got an ending, last step first.
    pub ended: Vec<UndoneStep>,
    /// Steps that stay as they are by their nature: nothing to restore, or irreversible.
    pub kept: Vec<StepToken>,
    /// Steps that could not be taken back now, and why. They are tried again by
    /// [`Executor::run_due`].
    pub remaining: Vec<(StepToken, String)>,
}

/// What was due and was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Plans that nobody ran and that are settled now.
    pub settled: Vec<RecoveredPlan>,
    /// Plans whose time had come, or whose roll-back was owed.
    pub taken_back: Vec<(PlanId, UndoReport)>,
    /// Plans that could not be looked after, and why. Their timers stay: they are due again at once.
    pub failed: Vec<(PlanId, String)>,
}

impl UndoReport {
    /// Whether nothing is left to be taken back.
    pub fn is_complete(&self) -> bool {
        self.remaining.is_empty()
    }

    /// The steps of which the value had been changed by somebody else: theirs stays, and nothing was taken back.
    pub fn superseded(&self) -> impl Iterator<Item = StepToken> {
        self.ended.iter().filter(|step| step.ending.state() == EntryState::Superseded).map(|step| step.token)
    }

    /// How many steps got an ending that was not left to somebody else's change.
    pub fn taken_back(&self) -> usize {
        self.ended.len() - self.superseded().count()
    }
}

impl Executor {
    /// Rolls a plan back, last step first, stopping it first where it runs. Doing it again is harmless.
    ///
    /// The plan becomes rolled back, or failed where nothing could be taken back; one that was a success stays that
    /// where others changed since all that it changed. A fault that had its
    /// effect stays a success: its end is no roll-back. Steps that could not be taken back are no error: the report
    /// names them, and they are tried again.
    ///
    /// # Errors
    ///
    /// Where there is no such plan, or the journal cannot be kept.
    pub fn undo_plan(&self, id: PlanId, why: &str) -> Result<UndoReport> {
        self.running.cancel_and_wait(id, why);
        let record = self.store.plan(id)?.ok_or(ActError::UnknownPlan(id))?;
        // From here on the roll-back is owed, also after a crash.
        self.owe(TimerKind::Rollback, id, Duration::ZERO)?;
        let report = self.undo_steps(id, why)?;
        if !report.is_complete() {
            self.owe(TimerKind::Rollback, id, RETRY_AFTER)?;
            return Ok(report);
        }
        let ended_well =
            PlanPurpose::of(&record.plan) == PlanPurpose::Experiment && record.status == PlanStatus::Success;
        let was_begun = !self.store.journal(id)?.is_empty();
        if was_begun && !ended_well {
            self.settle_status(id, record.status, why)?;
        }
        self.owes_nothing(id)?;
        Ok(report)
    }

    /// Takes back a measure or a fault whose time has come. The plan's status stays: it did what it was
    /// made for.
    ///
    /// # Errors
    ///
    /// As [`undo_plan`](Self::undo_plan).
    pub fn lift_plan(&self, id: PlanId) -> Result<UndoReport> {
        let report = self.undo_steps(id, "its time is over")?;
        if report.is_complete() {
            self.owes_nothing(id)?;
        } else {
            let experiment = self
                .store
                .plan(id)?
                .is_some_and(|record| PlanPurpose::of(&record.plan) == PlanPurpose::Experiment);
            let kind = if experiment { TimerKind::FaultExpiry } else { TimerKind::LiftPlan };
            self.owe(kind, id, RETRY_AFTER)?;
        }
        Ok(report)
    }

    /// Does what is due: lifts, ends of faults, roll-backs that were not complete, and plans that nobody runs.
    /// Call it whenever [`store::Store::timers`] says something is due, every few seconds besides, and oftener
    /// as long as [`Executor::is_settling`]. What fails with one plan stops no other: a fault's end does not
    /// wait for a lift.
    ///
    /// # Errors
    ///
    /// Where it cannot be read what is due.
    pub fn run_due(&self) -> Result<Due> {
        let mut due = Due::default();
        for timer in self.store.due_timers(self.clock.now())? {
            let done = match timer.kind {
                TimerKind::LiftPlan | TimerKind::FaultExpiry => self.lift_plan(timer.plan),
                TimerKind::Rollback => self.undo_plan(timer.plan, "a roll-back was not complete"),
                TimerKind::HoldEnd | TimerKind::ApprovalExpiry => continue,
            };
            match done {
                Ok(report) => due.taken_back.push((timer.plan, report)),
                Err(error) => due.failed.push((timer.plan, in_full(&error))),
            }
        }
        self.settle_unsettled(&mut due);
        Ok(due)
    }

    /// A plan in progress ends badly: takes its steps back and gives it its last status.
    pub(crate) fn take_back(&self, plan: &Plan, why: &str) -> Result<(PlanStatus, UndoReport)> {
        let report = self.undo_steps(plan.id, why)?;
        if !report.is_complete() {
            self.owe(TimerKind::Rollback, plan.id, RETRY_AFTER)?;
        }
        let status = self.settle_status(plan.id, PlanStatus::InProgress, why)?;
        Ok((status, report))
    }

    fn settle_status(&self, id: PlanId, from: PlanStatus, why: &str) -> Result<PlanStatus> {
        let entries = self.store.journal(id)?;
        let status = match from {
            // Done again after it was done: what it was stays.
            PlanStatus::RolledBack | PlanStatus::Refused => return Ok(from),
            _ if is_rolled_back(&entries) => PlanStatus::RolledBack,
            // There was nothing to take back.
            PlanStatus::Failed | PlanStatus::Success => return Ok(from),
            _ => PlanStatus::Failed,
        };
        let why = with_superseded(why, &entries);
        self.store.set_plan_status(id, from, status, self.clock.now(), Some(&why))?;
        Ok(status)
    }

    /// Undoes what is open or done, last step first. Goes on in the world where the journal cannot be
    /// written, and reports that at the end.
    fn undo_steps(&self, id: PlanId, why: &str) -> Result<UndoReport> {
        let mut report = UndoReport::default();
        let mut unwritten = None;
        for entry in self.store.journal(id)?.into_iter().rev() {
            let ending = match entry.state() {
                EntryState::Undone | EntryState::Superseded | EntryState::Failed | EntryState::Abandoned => {
                    continue;
                }
                EntryState::Open | EntryState::Done => match self.undo_entry(&entry, why) {
                    Ok(Some(ending)) => ending,
                    Ok(None) => {
                        report.kept.push(entry.token);
                        continue;
                    }
                    Err(error) => {
                        report.remaining.push((entry.token, error.to_string()));
                        continue;
                    }
                },
            };
            match self.store.append_ending(entry.token, &ending, self.clock.now()) {
                Ok(()) => report.ended.push(UndoneStep { token: entry.token, ending }),
                Err(error) => unwritten = Some(error),
            }
        }
        match unwritten {
            Some(error) => Err(error.into()),
            None => Ok(report),
        }
    }

    /// Takes one step back and says how its entry ends; `None`: it stays as it is.
    pub(crate) fn undo_entry(
        &self,
        entry: &JournalEntry,
        why: &str,
    ) -> Result<Option<Ending>, ProviderError> {
        let why = why.to_owned();
        let restorable = matches!(entry.step.undo, Undo::Exact | Undo::Compensating(_));
        // The undo of a fault is mandatory, whatever its plan says.
        let fault = matches!(&entry.step.action, Action::Inject(fault) if !fault.kind.is_instant());
        if restorable || fault {
            return match self.change.undo(entry.token, &entry.step, &entry.captured) {
                Ok(found) => Ok(Some(Ending::Undone { found: found_of(found), why })),
                Err(error @ ProviderError::UnknownResource { .. }) => {
                    Ok(Some(Ending::Abandoned { why: format!("{why}; {error}") }))
                }
                Err(error) => Err(error),
            };
        }
        Ok(match (entry.state(), &entry.step.undo) {
            (EntryState::Done, _) => None,
            (_, Undo::Irreversible) => Some(Ending::Abandoned { why }),
            _ => Some(Ending::Failed { why }),
        })
    }

    fn owe(&self, kind: TimerKind, plan: PlanId, after: Duration) -> Result<()> {
        Ok(self.store.add_timer(&Timer { kind, plan, due: self.clock.now().plus(after) })?)
    }

    fn owes_nothing(&self, plan: PlanId) -> Result<()> {
        for kind in [TimerKind::LiftPlan, TimerKind::FaultExpiry, TimerKind::Rollback] {
            self.store.remove_timer(kind, plan)?;
        }
        Ok(())
    }
}

fn found_of(undone: Undone) -> Found {
    match undone {
        Undone::Restored => Found::Restored,
        Undone::NothingThere => Found::NothingThere,
        Undone::Superseded => Found::Superseded,
    }
}

/// Why a plan ended, with the steps that others' changes kept from being taken back, counted from 1 as people see them.
fn with_superseded(why: &str, entries: &[JournalEntry]) -> String {
    let superseded = entries.iter().filter(|entry| entry.state() == EntryState::Superseded);
    let steps: Vec<String> = superseded.map(|entry| (entry.token.index + 1).to_string()).collect();
    if steps.is_empty() {
        return why.to_owned();
    }
    let (steps, of) = (steps.join(", "), entries.len());
    format!(
        "{why}; not taken back: step {steps} of {of}, since what it set was changed by somebody else, which stays"
    )
}

/// Whether something was taken back and nothing that changed is left, save for what had nothing to restore and what
/// others changed since: that is theirs, and taking it back was no doing of ours.
/// Read from the journal, so that it is the same after a crash.
fn is_rolled_back(entries: &[JournalEntry]) -> bool {
    let left = |entry: &JournalEntry| match entry.state() {
        EntryState::Open | EntryState::Abandoned => true,
        EntryState::Done => entry.step.undo != Undo::NothingToRestore,
        EntryState::Undone | EntryState::Superseded | EntryState::Failed => false,
    };
    let taken_back = |entry: &JournalEntry| match entry.endings.last().map(|ended| &ended.ending) {
        Some(Ending::Undone { found: Found::Restored, .. }) => true,
        // It was there, and something else ended it: the emergency stop, its own time.
        Some(Ending::Undone { found: Found::NothingThere, .. }) => entry.endings[0].ending == Ending::Done,
        _ => false,
    };
    !entries.iter().any(left) && entries.iter().any(taken_back)
}
