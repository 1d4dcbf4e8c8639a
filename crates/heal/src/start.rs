//! Plan → act: a cleared plan is written down and run on a thread of its own, so that the loop goes on
//! looking.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use act::{Circumstances, Mode, Ran, in_full};
use decide::plan::{Approval, Cleared, Ruling, guard};
use domain::{Intent, Plan, PlanId, PlanStatus, Snapshot, Time};
use store::{PlanPurpose, PlanRecord, SlotLimits};

use crate::driver::said;
use crate::healer::Healer;
use crate::telling::{Phase, TellElsewhere, of_plan};
use crate::turn::TurnError;
use crate::turned_down::{Attempt, By, Counted};

/// Whether the loop runs plans. In simulation they run in the turn itself, for replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Execution {
    /// On a thread of their own.
    #[default]
    Concurrent,
    /// Inside the turn.
    Inline,
}

impl Healer {
    /// Writes a cleared plan down and runs it. Whether it was begun: the same plan is begun once, and one that
    /// was turned down is asked about or begun again when something changed.
    pub(crate) fn start(
        &self,
        cleared: Cleared<Plan>,
        circumstances: &Circumstances,
    ) -> Result<bool, TurnError> {
        let plan = cleared.plan();
        let id = plan.id;
        let Some(this) = self.handle().filter(|_| self.settings().mode != Mode::DryRun) else {
            return Ok(false);
        };
        if self.state().executing.contains(&id) {
            return Ok(false);
        }
        let attempt = self.attempt(plan, circumstances);
        if attempt == Attempt::NotYet || !self.state().executing.insert(id) {
            return Ok(false);
        }
        if attempt == Attempt::First {
            if let Err(error) = self.parts.store.add_plan(plan, PlanStatus::Pending, &[]) {
                self.state().executing.remove(&id);
                return Err(error.into());
            }
            self.note_baseline(plan);
            self.note_deed();
        }
        let tell = self.parts.tell.elsewhere();
        let counted = self.counted(circumstances, id);
        let cleared = Arc::new(cleared);
        let run = {
            let cleared = Arc::clone(&cleared);
            move || this.carry_out(attempt, &cleared, counted, tell)
        };
        match self.settings().execution {
            Execution::Inline => run(),
            Execution::Concurrent => {
                if let Err(error) = self.on_a_thread(&cleared, run) {
                    self.note_no_thread(cleared.plan(), &error)?;
                    return Ok(false);
                }
            }
        }
        Ok(attempt == Attempt::First)
    }

    /// Runs a cleared plan, or asks whether it can be done now. What fails is noted; the loop is woken in either case.
    fn carry_out(&self, attempt: Attempt, cleared: &Cleared<Plan>, counted: Counted, tell: TellElsewhere) {
        let id = cleared.plan().id;
        let ran = match attempt {
            Attempt::Asked => {
                self.ask(cleared);
                Ok(())
            }
            Attempt::First | Attempt::NotYet => {
                let mut told = tell(Phase::Act);
                of_plan(&mut *told, cleared.plan());
                let ran = self.run(cleared, counted);
                if let Err(error) = &ran {
                    told.failed(&in_full(error));
                }
                ran
            }
        };
        // First of all it is no longer under way: what is owed for one that is, is not looked at.
        self.state().executing.remove(&id);
        if let Err(error) = ran {
            self.state().owed.insert(id);
            self.note_trouble(format!("outcome of plan {id}"), in_full(&error));
        }
        self.wake();
    }

    /// Runs what a plan needs on a thread of its own, which outlives a panic of it.
    fn on_a_thread(
        &self,
        cleared: &Arc<Cleared<Plan>>,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let (healer, cleared) = (self.handle(), Arc::clone(cleared));
        let caught = move || {
            let Err(panic) = catch_unwind(AssertUnwindSafe(run)) else { return };
            let Some(healer) = healer else { return };
            let id = cleared.plan().id;
            // It may have stopped between two steps: recovery looks after it, as after a death.
            healer.parts.executor.leave_unsettled(id);
            let why = format!("panicked: {}", said(panic.as_ref()));
            healer.note_turned_down(cleared.plan(), &why, By::Provider);
            healer.note_trouble(format!("plan {id}"), why);
            healer.forget_under_way(id);
        };
        std::thread::Builder::new().name("repair".to_owned()).spawn(caught).map(drop)
    }

    /// Nothing of the plan ran: it is refused.
    fn note_no_thread(&self, plan: &Plan, error: &std::io::Error) -> Result<(), TurnError> {
        let why = format!("no thread could be started for it: {error}");
        self.forget_under_way(plan.id);
        self.note_turned_down(plan, &why, By::Provider);
        let (from, to) = (PlanStatus::Pending, PlanStatus::Refused);
        self.parts.store.set_plan_status(plan.id, from, to, self.now(), Some(&why))?;
        Ok(())
    }

    fn forget_under_way(&self, id: PlanId) {
        let mut state = self.state();
        state.executing.remove(&id);
        state.watches.remove(&id);
    }

    /// Asks whether a plan that was turned down can be done now.
    fn ask(&self, cleared: &Cleared<Plan>) {
        match self.parts.executor.refusal(cleared) {
            Some(why) => self.note_turned_down(cleared.plan(), &why, By::Provider),
            None => self.note_possible(cleared.plan()),
        }
    }

    /// Runs a plan to the end of its steps. `counted` is what its slots were counted by when it was cleared.
    fn run(&self, cleared: &Cleared<Plan>, counted: Counted) -> Result<(), TurnError> {
        let plan = cleared.plan();
        let ran = self.parts.executor.run_within(cleared, &self.slots());
        match &ran {
            Ok(Ran::Refused { why }) => self.note_turned_down(plan, why, By::Provider),
            Ok(Ran::Taken { why }) => self.note_turned_down(plan, why, By::Slots(counted)),
            Ok(Ran::Done { .. } | Ran::TakenBack { .. }) => self.forget_turned_down(plan),
            Err(_) => {}
        }
        self.conclude_unverified(plan, ran)
    }

    /// Plans a person approved wait as pending: asks the guard again with their word, and runs those it
    /// clears. Returns how many were begun.
    pub(crate) fn start_approved(&self, snapshot: &Snapshot) -> Result<usize, TurnError> {
        let mut begun = 0;
        for record in self.parts.store.unfinished_plans()? {
            if record.status != PlanStatus::Pending
                || PlanPurpose::of(&record.plan) == PlanPurpose::Experiment
                || self.state().executing.contains(&record.plan.id)
            {
                continue;
            }
            let start = || self.start_one_approved(&record, snapshot);
            begun += usize::from(self.apart(format!("plan {}", record.plan.id), start).unwrap_or(false));
        }
        Ok(begun)
    }

    fn start_one_approved(&self, record: &PlanRecord, snapshot: &Snapshot) -> Result<bool, TurnError> {
        let (store, id) = (&self.parts.store, record.plan.id);
        let refuse = |why: &str| {
            // One that failed before its first step may be watched still.
            self.state().watches.remove(&id);
            self.note_deed();
            store.set_plan_status(id, PlanStatus::Pending, PlanStatus::Refused, snapshot.taken, Some(why))
        };
        let approval = act::approval(record);
        if let Some(why) = self.is_outdated(record, approval.as_ref(), snapshot.taken)? {
            refuse(why)?;
            return Ok(false);
        }
        let circumstances = self.circumstances(snapshot.taken)?;
        let settings = self.settings();
        let mut context = Self::guard_context(&settings.policy, snapshot, &circumstances);
        context.approved = approval.as_ref();
        match guard(Plan::clone(&record.plan), &context) {
            Ruling::Clear(cleared) => self.start(cleared, &circumstances),
            Ruling::Wait { .. } => Ok(false),
            Ruling::Refuse { reasons, .. } => {
                refuse(&reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
                Ok(false)
            }
        }
    }

    /// Why a plan that waits is not to be begun any more. One without an approval was left by a control plane
    /// that died before it began; what it was for is planned anew on what is seen now.
    fn is_outdated(
        &self,
        record: &PlanRecord,
        approval: Option<&Approval>,
        now: Time,
    ) -> store::Result<Option<&'static str>> {
        let Some(approval) = approval else {
            return Ok(Some("the control plane ended before it was begun"));
        };
        if now.since(approval.at) >= self.settings().policy.limits.approval_valid {
            return Ok(Some("its approval is too old"));
        }
        let Intent::Remediation { issue, .. } = record.plan.intent else { return Ok(None) };
        let over = self.parts.store.issue(issue)?.is_none_or(|issue| issue.closed_at.is_some());
        Ok(over.then_some("the issue is over"))
    }

    /// The slots of the guard's policy, counted once more where they are taken. Repairs in their hold window
    /// hold none, but the store counts them, so there are as many more.
    fn slots(&self) -> SlotLimits {
        let settings = self.settings();
        let limits = &settings.policy.limits;
        let holding = self.state().watches.values().filter(|watch| watch.passed()).count();
        SlotLimits {
            per_resource: limits.per_resource,
            in_all: limits.in_all,
            window: limits.rate_window,
            concurrent: limits.at_a_time.saturating_add(u32::try_from(holding).unwrap_or(u32::MAX)),
            ..SlotLimits::SPECIFIED
        }
    }

    /// This healer as something a thread can keep.
    fn handle(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }
}
