//! Plan → act: a cleared plan is written down and run on a thread of its own, so that the loop goes on
//! looking.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use act::{Circumstances, Mode, Ran, in_full};
use decide::plan::Cleared;
use domain::{Plan, PlanId, PlanStatus, Time};
use store::{PlanPurpose, SlotLimits};

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

/// What a plan was cleared by: what its slots were counted by, and when the world was seen.
struct Judged {
    counted: Counted,
    seen: Time,
}

impl Healer {
    /// Writes a cleared plan down and runs it. Whether it was begun: the same plan is begun once, and one that
    /// was turned down is asked about or begun again when something changed. `seen`: when what it was judged by was
    /// seen.
    pub(crate) fn start(
        &self,
        cleared: Cleared<Plan>,
        circumstances: &Circumstances,
        seen: Time,
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
            move || this.carry_out(attempt, &cleared, Judged { counted, seen }, tell)
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
    fn carry_out(&self, attempt: Attempt, cleared: &Cleared<Plan>, judged: Judged, tell: TellElsewhere) {
        let id = cleared.plan().id;
        let ran = match attempt {
            Attempt::Asked => {
                self.ask(cleared);
                Ok(())
            }
            Attempt::First | Attempt::NotYet => {
                let mut told = tell(Phase::Act);
                of_plan(&mut *told, cleared.plan());
                let ran = self.run(cleared, judged);
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

    /// Runs a plan to the end of its steps.
    fn run(&self, cleared: &Cleared<Plan>, Judged { counted, seen }: Judged) -> Result<(), TurnError> {
        let plan = cleared.plan();
        let ran = self.parts.executor.run_within(cleared, &self.slots(plan, seen));
        match &ran {
            Ok(Ran::Refused { why }) => self.note_turned_down(plan, why, By::Provider),
            Ok(Ran::Taken { why }) => self.note_turned_down(plan, why, By::Slots(counted)),
            Ok(Ran::Done { .. } | Ran::TakenBack { .. }) => self.forget_turned_down(plan),
            Err(_) => {}
        }
        self.conclude_unverified(plan, ran)
    }

    /// The slots of the guard's policy, counted once more where they are taken. Repairs in their hold window
    /// hold none, but the store counts them, so there are as many more.
    ///
    /// No rate holds for what a person asks for. It is judged by what was seen, such as how many instances a number ends, and
    /// nothing else may have changed that.
    fn slots(&self, plan: &Plan, seen: Time) -> SlotLimits {
        if PlanPurpose::of(plan) == PlanPurpose::Operation {
            return SlotLimits { seen: Some(seen), ..SlotLimits::OPERATION };
        }
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
