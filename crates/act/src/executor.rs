//! Running a plan, step by step.
//!
//! In: a cleared plan, and where it takes a slot the limits of slots. Each step is asked for, written down as an intent,
//! done, and looked for until its effect is there or its time is over. Out: [`Ran`]: done, refused before anything was
//! touched, or taken back. That a step fails is a result; an error is that the journal could not be kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decide::plan::{Cleared, ClearedStep};
use domain::{Action, Captured, Clock, Effect, Plan, PlanId, PlanStatus, StepToken, Time};
use provider::{Change, ProviderError};
use store::{Ending, Found, SlotLimits, Started, Store, StoreError, Timer, TimerKind};

use crate::error::{ActError, Result};
use crate::recover::Unsettled;
use crate::running::{Registration, Running, disturbs};
use crate::undo::UndoReport;

/// First pause between two looks for a step's effect: well below the time a process takes to start.
const PROVE_PAUSE_MIN: Duration = Duration::from_millis(2);

/// Longest pause between two looks; each pause doubles up to it. It is also how long a running plan may
/// take to notice that it was asked to stop.
const PROVE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Runs plans and takes them back. One per controller, shared between threads; each plan runs on the thread
/// that asks.
pub struct Executor {
    pub(crate) store: Store,
    pub(crate) change: Arc<dyn Change>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) running: Arc<Running>,
    /// Set while an emergency stop is not yet latched in the store.
    pub(crate) stopping: AtomicBool,
    /// Plans that nobody runs and that are not settled yet.
    pub(crate) unsettled: Mutex<BTreeMap<PlanId, Unsettled>>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("running", &self.running).finish_non_exhaustive()
    }
}

/// What came of running a plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Ran {
    /// Every step is done and proven; the plan is now in this status (verifying or success).
    Done {
        /// Verifying where the plan names a signal, else success.
        status: PlanStatus,
    },
    /// There was no slot. Nothing was touched; the plan is still pending.
    Taken {
        /// Which limit is reached.
        why: String,
    },
    /// The first step cannot be done. Nothing was touched; the plan is refused.
    Refused {
        /// Why.
        why: String,
    },
    /// A step failed; it and the earlier ones were taken back as far as they can be.
    TakenBack {
        /// The step that failed.
        step: StepToken,
        /// Why.
        why: String,
        /// Rolled back, or failed where something could not be taken back or there was nothing to take back.
        status: PlanStatus,
        /// What was taken back.
        report: UndoReport,
    },
}

/// How one step ended.
enum StepEnd {
    Done,
    /// No slot.
    Taken(String),
    /// Before anything of it was done.
    Refused(String),
    /// After its intent.
    Failed(String),
    /// Its intent could not be written.
    NotJournaled(StoreError),
}

impl Executor {
    /// An executor over a store, a provider and a clock. Call [`recover`](Self::recover) before anything
    /// else.
    pub fn new(store: Store, change: Arc<dyn Change>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            change,
            clock,
            running: Arc::default(),
            stopping: AtomicBool::new(false),
            unsettled: Mutex::default(),
        }
    }

    /// Runs a plan that was given its slot ([`Store::start_plan`]). Blocks until its steps are done or taken
    /// back.
    ///
    /// # Errors
    ///
    /// Where the plan is not in the store or ran already, and where the journal cannot be kept: then it is left to
    /// [`run_due`](Self::run_due).
    pub fn run(&self, cleared: &Cleared<Plan>) -> Result<Ran> {
        self.run_steps(cleared, None)
    }

    /// Takes a slot for a pending plan and runs it. The slot, the status and the first intent are one
    /// transaction. No slot is a result, [`Ran::Refused`].
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_within(&self, cleared: &Cleared<Plan>, limits: &SlotLimits) -> Result<Ran> {
        self.run_steps(cleared, Some(limits))
    }

    fn run_steps(&self, cleared: &Cleared<Plan>, limits: Option<&SlotLimits>) -> Result<Ran> {
        let plan = cleared.plan();
        let registration = self.admit(plan, limits)?;
        let ran = self.steps(cleared, limits, &registration);
        drop(registration);
        if ran.is_err() {
            self.leave_unsettled(plan.id);
        }
        // An emergency stop leaves the entries of running plans to their runs; this one ran until just now.
        if matches!(ran, Ok(Ran::Done { .. })) && disturbs(plan) && self.emergency().is_some() {
            self.lift_plan(plan.id)?;
        }
        ran
    }

    fn steps(
        &self,
        cleared: &Cleared<Plan>,
        limits: Option<&SlotLimits>,
        registration: &Registration,
    ) -> Result<Ran> {
        let plan = cleared.plan();
        for step in cleared.steps() {
            let first = step.token().index == 0;
            let why = match self.step(step, limits.filter(|_| first), registration)? {
                StepEnd::Done => continue,
                StepEnd::Taken(why) => return Ok(Ran::Taken { why }),
                StepEnd::Refused(why) if first => {
                    let from = if limits.is_some() { PlanStatus::Pending } else { PlanStatus::InProgress };
                    self.store.set_plan_status(
                        plan.id,
                        from,
                        PlanStatus::Refused,
                        self.clock.now(),
                        Some(&why),
                    )?;
                    return Ok(Ran::Refused { why });
                }
                StepEnd::Refused(why) | StepEnd::Failed(why) => why,
                StepEnd::NotJournaled(error) => {
                    // The step is not done. The earlier ones are taken back in the world, also where that
                    // cannot be written either.
                    let _ = self.take_back(plan, &format!("the next intent could not be written: {error}"));
                    return Err(error.into());
                }
            };
            let (status, report) = self.take_back(plan, &why)?;
            return Ok(Ran::TakenBack { step: step.token(), why, status, report });
        }
        Ok(Ran::Done { status: self.complete(plan)? })
    }

    /// Whether the plan stands where a run begins.
    fn admit(&self, plan: &Plan, limits: Option<&SlotLimits>) -> Result<Registration> {
        // Registered before it is looked at: else another run could come and go between.
        let registration = self.running.register(plan);
        let record = self.store.plan(plan.id)?.ok_or(ActError::UnknownPlan(plan.id))?;
        let entries = self.store.journal(plan.id)?.len();
        let expected = if limits.is_some() { PlanStatus::Pending } else { PlanStatus::InProgress };
        match registration {
            Some(registration) if record.status == expected && entries == 0 => Ok(registration),
            _ => Err(ActError::NotRunnable { plan: plan.id, status: record.status, entries }),
        }
    }

    fn step(
        &self,
        step: ClearedStep<'_>,
        slot: Option<&SlotLimits>,
        registration: &Registration,
    ) -> Result<StepEnd> {
        let token = step.token();
        if let Some(why) = self.stopped(step.action(), registration) {
            return Ok(StepEnd::Refused(why));
        }
        let captured = match self.ask(step) {
            Ok(captured) => captured,
            Err(error) => return Ok(StepEnd::Refused(error.to_string())),
        };
        let now = self.clock.now();
        let written = match slot {
            Some(limits) => self.store.start_plan_with_intent(token, step.step(), &captured, limits, now),
            None => self.store.append_intent(token, step.step(), &captured, now).map(|()| Started::Yes),
        };
        match written {
            Ok(Started::Yes) => {}
            Ok(Started::Taken(why)) => return Ok(StepEnd::Taken(why)),
            Err(error) => return Ok(StepEnd::NotJournaled(error)),
        }
        if let Err(error) = self.change.apply(step, &captured) {
            return Ok(StepEnd::Failed(error.to_string()));
        }
        if let Some(why) = self.prove(step, &captured, now, registration) {
            return Ok(StepEnd::Failed(why));
        }
        if let Err(error) =
            self.store.append_endings(&endings_of_done(token, step.action()), self.clock.now())
        {
            if matches!(step.action(), Action::Inject(_)) {
                // A fault nobody can account for does not stay; that it is gone is journaled later.
                let _ = self.change.undo(token, step.step(), &captured);
            }
            return Err(error.into());
        }
        Ok(StepEnd::Done)
    }

    /// Why the first step of a plan cannot be done now, if so. Changes nothing and writes nothing.
    pub fn refusal(&self, cleared: &Cleared<Plan>) -> Option<String> {
        let first = cleared.steps().next()?;
        self.ask(first).err().map(|error| error.to_string())
    }

    /// The same of a plan that nobody cleared yet, and that may never be: what is shown is asked about as what is run.
    pub fn hindrance(&self, plan: &Plan) -> Option<ProviderError> {
        let token = StepToken { plan: plan.id, index: 0 };
        plan.steps.first().and_then(|first| self.change.check(token, first).err())
    }

    /// Whether a step can be done now, and what has to be known to undo it.
    fn ask(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.change.check(step.token(), step.step())?;
        self.change.capture(step)
    }

    /// Looks for the effect until it is there (`None`) or it is too late; why, then.
    fn prove(
        &self,
        step: ClearedStep<'_>,
        captured: &Captured,
        began: Time,
        registration: &Registration,
    ) -> Option<String> {
        let mut pause = PROVE_PAUSE_MIN;
        loop {
            // Before looking: an effect that came after the emergency stop must not count.
            if let Some(why) = self.stopped(step.action(), registration) {
                return Some(why);
            }
            let seen = self.change.prove(step.token(), step.step(), captured);
            if matches!(seen, Ok(Effect::Present)) {
                return None;
            }
            if self.clock.now().since(began) >= step.step().timeout {
                let limit = domain::units::show_duration(step.step().timeout);
                return Some(match seen {
                    Err(error) => format!("its effect could not be looked for within {limit}: {error}"),
                    Ok(Effect::Unknown) => {
                        format!("whether it has its effect could not be told within {limit}")
                    }
                    Ok(_) => format!("its effect was not there within {limit}"),
                });
            }
            self.clock.wait(pause);
            pause = (pause * 2).min(PROVE_PAUSE_MAX);
        }
    }

    /// Why this step must not go on, if so.
    fn stopped(&self, action: &Action, registration: &Registration) -> Option<String> {
        registration
            .cancelled()
            .or_else(|| matches!(action, Action::Inject(_)).then(|| self.emergency()).flatten())
    }

    /// Why nothing may be injected, if so.
    fn emergency(&self) -> Option<String> {
        if self.stopping.load(Ordering::SeqCst) {
            return Some(STOPPED.to_owned());
        }
        match self.store.switches() {
            Ok(switches) => switches.emergency_stop.map(|_| STOPPED.to_owned()),
            Err(error) => Some(format!("whether the emergency stop is latched cannot be read: {error}")),
        }
    }

    /// Every step is done: sets what must happen later and moves the plan on.
    pub(crate) fn complete(&self, plan: &Plan) -> Result<PlanStatus> {
        let now = self.clock.now();
        let status = if plan.verify.is_some() { PlanStatus::Verifying } else { PlanStatus::Success };
        let timer = |kind, after| Timer { kind, plan: plan.id, due: now.plus(after) };
        let faults = plan.steps.iter().filter_map(|step| match &step.action {
            Action::Inject(fault) if !fault.kind.is_instant() => Some(fault.duration),
            _ => None,
        });
        let timers: Vec<Timer> = faults
            .max()
            .map(|longest| timer(TimerKind::FaultExpiry, longest))
            .into_iter()
            .chain(plan.lift_after.map(|after| timer(TimerKind::LiftPlan, after)))
            .collect();
        self.store.complete_steps(plan.id, status, &timers, now)?;
        Ok(status)
    }
}

const STOPPED: &str = "the emergency stop is latched; clear it first";

/// The endings of a step that is done. A fault that is over as soon as it was done is never in force.
pub(crate) fn endings_of_done(token: StepToken, action: &Action) -> Vec<(StepToken, Ending)> {
    let mut endings = vec![(token, Ending::Done)];
    if matches!(action, Action::Inject(fault) if fault.kind.is_instant()) {
        let why = "over as soon as it was done".to_owned();
        endings.push((token, Ending::Undone { found: Found::NothingThere, why }));
    }
    endings
}
