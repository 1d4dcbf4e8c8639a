//! Experiments: a fault asked for becomes a plan, passes the guard, is injected, and ends by its time, by
//! an abort or by the emergency stop.
//!
//! In: a request. Out: an experiment with its plan, what it was predicted to touch, and how it ended. The
//! chaos loop and the healing loop never call each other; they meet in the store.
//!
//! An experiment may name an objective: it does not begin, and is aborted, where the objective's error budget burns faster
//! than a bound.
//!
//! Deliberately absent: any other steady-state hypothesis. An experiment says what was done and that it was taken
//! out again; a verdict on the system is the drill's.

mod preview;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use act::{Executor, Mode, Ran};
use decide::plan::{Cleared, Policy, Ruling};
use domain::{
    BurnBound, Clock, ExperimentId, Fault, IdSource, Objectives, Plan, PlanId, PlanStatus, Severity,
    StepToken, Time,
};
use observe::Observer;
use serde::{Deserialize, Serialize};
use store::{ExperimentRecord, ExperimentStatus, SlotLimits, Store};

pub use preview::Preview;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRequest {
    /// What people call it.
    pub name: String,
    /// What is done, where, for how long at most.
    pub fault: Fault,
    /// How much harm it may do.
    pub severity: Severity,
    /// How careful one has to be, by the name of the specification's level (C3).
    pub safety_level: String,
    /// Who asked.
    pub requested_by: String,
    /// Ends it early where an error budget burns too fast.
    pub abort_when: Option<BurnBound>,
}

/// What is kept of an experiment, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentDocument {
    /// What people call it.
    pub name: String,
    /// The fault's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The fault.
    pub fault: Fault,
    /// Where.
    pub target: Target,
    /// For how long at most.
    pub duration_seconds: f64,
    /// How much harm it may do.
    pub severity: Severity,
    /// How careful one has to be.
    pub safety_level: String,
    /// Who asked.
    pub requested_by: String,
    /// The plan that injects it.
    pub plan: PlanId,
    /// When its effect was proven, RFC 3339.
    pub started_at: Option<String>,
    /// When it was taken out, RFC 3339.
    pub completed_at: Option<String>,
    /// What it may touch.
    pub blast_radius: BlastRadius,
    /// Why it was refused, failed or was aborted.
    pub error: Option<String>,
    /// What ends it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_when: Option<BurnBound>,
}

/// Where an experiment strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Exactly here.
    pub resource: String,
}

/// What an experiment touches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlastRadius {
    /// By its plan.
    pub predicted: Vec<String>,
}

/// Why an experiment did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// It cannot be planned: the target does not exist, the provider cannot do it, a value is out of range.
    #[error("{why}")]
    Impossible {
        /// Every reason.
        why: String,
    },
    /// The guard does not let it run.
    #[error("{why}")]
    Refused {
        /// Every reason, with the rule, the limit and the value seen.
        why: String,
    },
    /// It was tried, did not work, and was taken back.
    #[error("the fault did not take effect and was taken back: {why}")]
    NoEffect {
        /// What happened.
        why: String,
    },
    /// There is no such experiment.
    #[error("there is no experiment {0}")]
    Unknown(ExperimentId),
    /// What is stored of it cannot be read.
    #[error("experiment {id} cannot be read: {why}")]
    Unreadable {
        /// Which.
        id: ExperimentId,
        /// What is wrong.
        why: String,
    },
    /// The fleet cannot be looked at.
    #[error("cannot look at the fleet")]
    Look(#[from] provider::ProviderError),
    /// State cannot be read or written.
    #[error("cannot read or write state")]
    Store(#[from] store::StoreError),
    /// The fault cannot be taken out, or the journal cannot be kept.
    #[error("cannot run the plan")]
    Act(#[from] act::ActError),
}

/// A fault that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningFault {
    /// The step that set it.
    pub token: StepToken,
    /// What and where.
    pub fault: Fault,
    /// Since when.
    pub since: Time,
    /// When it ends by itself.
    pub until: Time,
}

/// What has begun: the experiment, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Injected {
    /// The experiment.
    pub experiment: ExperimentId,
    /// Its plan.
    pub plan: PlanId,
    /// When its step began.
    pub injected_at: Time,
    /// When its effect was proven.
    pub active_at: Time,
}

/// An experiment that passed the guard and is written down, and has not begun.
#[derive(Debug)]
pub struct Admitted {
    /// The experiment.
    pub experiment: ExperimentId,
    cleared: Cleared<Plan>,
    document: ExperimentDocument,
    now: Time,
}

/// What the chaos engine works with.
pub struct Parts {
    /// Where state survives.
    pub store: Store,
    /// Looks at the world.
    pub observer: Arc<Observer>,
    /// Changes it.
    pub executor: Arc<Executor>,
    /// Tells time.
    pub clock: Arc<dyn Clock>,
    /// What is allowed.
    pub policy: Policy,
    /// Whether plans may change anything.
    pub mode: Mode,
    /// Seeds the ids.
    pub seed: u64,
}

/// Why an experiment that was ended early has no effect.
const ENDED: &str = "it was ended before its effect was proven";

/// Runs experiments.
pub struct Experiments {
    parts: Parts,
    /// What is allowed now, and whether anything is.
    allowed: RwLock<(Arc<Policy>, Mode)>,
    ids: Mutex<IdSource>,
    /// Held from reading an experiment's status to writing the next, so that none that is over begins again.
    records: Mutex<()>,
}

impl Experiments {
    /// An engine over a store, a provider and a clock.
    pub fn new(parts: Parts) -> Self {
        let ids = Mutex::new(IdSource::seeded(parts.seed));
        let allowed = RwLock::new((Arc::new(parts.policy.clone()), parts.mode));
        Self { parts, allowed, ids, records: Mutex::default() }
    }

    /// Allows something else from the next experiment on. What is in force runs to its end.
    pub fn allow(&self, policy: Policy, mode: Mode) {
        *self.allowed.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(policy), mode);
    }

    fn allowed(&self) -> (Arc<Policy>, Mode) {
        self.allowed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Plans a fault, asks the guard, injects it, and returns when its effect is proven.
    ///
    /// # Errors
    ///
    /// [`ChaosError`]; nothing is left behind then.
    pub fn inject(&self, request: &ExperimentRequest) -> Result<Injected, ChaosError> {
        self.admit(request).and_then(|admitted| self.carry_out(admitted))
    }

    /// Plans a fault, asks the guard, and writes the experiment down. It is injected by [`carry_out`](Self::carry_out).
    ///
    /// # Errors
    ///
    /// [`ChaosError`]; nothing was disturbed then.
    pub fn admit(&self, request: &ExperimentRequest) -> Result<Admitted, ChaosError> {
        let store = &self.parts.store;
        let snapshot = self.parts.observer.snapshot()?;
        let now = snapshot.taken;
        let (experiment, plan) = self.planned(request, &snapshot)?;
        let mut document = document(request, plan.id, &plan.blast_radius);
        if let Some(why) = request.abort_when.as_ref().and_then(|bound| unsteady(bound, &snapshot.objectives))
        {
            document.error = Some(why.clone());
            self.save(experiment, ExperimentStatus::Refused, &document, now)?;
            return Err(ChaosError::Refused { why });
        }
        let cleared = match self.ruled(plan, &snapshot)? {
            Ruling::Clear(cleared) => cleared,
            Ruling::Wait { reasons, .. } | Ruling::Refuse { reasons, .. } => {
                let why = join(&reasons);
                document.error = Some(why.clone());
                self.save(experiment, ExperimentStatus::Refused, &document, now)?;
                return Err(ChaosError::Refused { why });
            }
        };
        store.add_plan(cleared.plan(), PlanStatus::Pending, &[])?;
        self.save(experiment, ExperimentStatus::Running, &document, now)?;
        Ok(Admitted { experiment, cleared, document, now })
    }

    /// Injects what was admitted, and returns when its effect is proven.
    ///
    /// # Errors
    ///
    /// [`ChaosError`]; nothing is left behind then.
    pub fn carry_out(&self, admitted: Admitted) -> Result<Injected, ChaosError> {
        let Parts { store, clock, .. } = &self.parts;
        let (policy, _) = self.allowed();
        let Admitted { experiment, cleared, mut document, now } = admitted;
        let id = document.plan;
        let refuse = |why: &str| {
            store.set_plan_status(id, PlanStatus::Pending, PlanStatus::Refused, clock.now(), Some(why))
        };
        if self.is_over(experiment)? {
            refuse(ENDED)?;
            return Err(ChaosError::Refused { why: ENDED.to_owned() });
        }
        let injected_at = clock.now();
        let slots = SlotLimits { concurrent: policy.chaos.faults_at_a_time, ..SlotLimits::NONE };
        let ran = match self.parts.executor.run_within(&cleared, &slots) {
            Ok(ran) => ran,
            Err(error) => {
                // One that had begun is settled as far as it got, and its experiment with it.
                if refuse(&error.to_string())? {
                    document.error = Some(error.to_string());
                    self.update(experiment, ExperimentStatus::Failed, &document, now)?;
                }
                return Err(error.into());
            }
        };
        let (status, refusal) = match ran {
            Ran::Done { .. } => {
                let active_at = clock.now();
                document.started_at = Some(active_at.rfc3339());
                if self.update(experiment, ExperimentStatus::Running, &document, now)? {
                    return Ok(Injected { experiment, plan: id, injected_at, active_at });
                }
                self.parts.executor.undo_plan(id, ENDED)?;
                return Err(ChaosError::Refused { why: ENDED.to_owned() });
            }
            Ran::Taken { why } => {
                refuse(&why)?;
                (ExperimentStatus::Refused, ChaosError::Refused { why })
            }
            Ran::Refused { why } | Ran::TakenBack { why, .. } => {
                (ExperimentStatus::Failed, ChaosError::NoEffect { why })
            }
        };
        if let ChaosError::Refused { why } | ChaosError::NoEffect { why } = &refusal {
            document.error = Some(why.clone());
        }
        self.update(experiment, status, &document, now)?;
        Err(refusal)
    }

    /// Takes an experiment's faults out now. One that was refused never had a plan, and has none.
    ///
    /// # Errors
    ///
    /// [`ChaosError`] where there is none, or it cannot be taken out; that is tried again then.
    pub fn end(&self, id: ExperimentId, status: ExperimentStatus) -> Result<(), ChaosError> {
        let record = self.parts.store.experiment(id)?.ok_or(ChaosError::Unknown(id))?;
        if record.status != ExperimentStatus::Refused {
            self.parts.executor.undo_plan(read(&record)?.plan, "the experiment was ended")?;
        }
        self.complete(id, status, None)
    }

    /// Ends the experiments during which an error budget burns faster than they bear.
    fn abort_where_it_burns(&self) -> Result<(), ChaosError> {
        let objectives = self.parts.observer.objectives();
        if objectives.is_empty() {
            return Ok(());
        }
        for record in self.parts.store.running_experiments()? {
            let document = read(&record)?;
            let Some(bound) = &document.abort_when else { continue };
            if let Some(burn) = bound.broken(&objectives) {
                let why = burns_too_fast(bound, burn);
                self.parts.executor.undo_plan(document.plan, &why)?;
                self.complete(record.id, ExperimentStatus::Aborted, Some(why))?;
            }
        }
        Ok(())
    }

    /// Aborts the experiments that do more harm than they may, and closes those whose faults are out: by their time, by an
    /// emergency stop, by a recovery.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn settle(&self) -> Result<(), ChaosError> {
        self.abort_where_it_burns()?;
        let in_force = self.parts.store.steps_in_force()?;
        let open = self.parts.store.entries_without_ending()?;
        for record in self.parts.store.running_experiments()? {
            let document = read(&record)?;
            let lives = |entry: &store::JournalEntry| entry.token.plan == document.plan;
            if in_force.iter().chain(&open).any(lives) {
                continue;
            }
            if document.started_at.is_some() {
                self.complete(record.id, ExperimentStatus::Completed, None)?;
            } else if let Some(plan) = self.parts.store.plan(document.plan)?
                && plan.status.is_final()
            {
                // Whoever asked for it ended before its effect was proven.
                self.complete(record.id, ExperimentStatus::Failed, plan.error)?;
            }
        }
        Ok(())
    }

    /// The faults in force.
    ///
    /// # Errors
    ///
    /// The store's.
    pub fn running(&self) -> store::Result<Vec<RunningFault>> {
        let entries = self.parts.store.steps_in_force()?;
        Ok(entries
            .into_iter()
            .filter_map(|entry| {
                let domain::Action::Inject(fault) = entry.step.action else { return None };
                let since = entry.endings.first().map_or(entry.intent_at, |ended| ended.at);
                let until = since.plus(if fault.kind.is_instant() { Duration::ZERO } else { fault.duration });
                Some(RunningFault { token: entry.token, fault, since, until })
            })
            .collect())
    }

    fn is_over(&self, id: ExperimentId) -> Result<bool, ChaosError> {
        Ok(self.parts.store.experiment(id)?.is_some_and(|record| record.status.is_final()))
    }

    /// Closes an experiment that is not over, on what is written of it now.
    fn complete(
        &self,
        id: ExperimentId,
        status: ExperimentStatus,
        error: Option<String>,
    ) -> Result<(), ChaosError> {
        let _alone = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.parts.store.experiment(id)?.ok_or(ChaosError::Unknown(id))?;
        if record.status.is_final() {
            return Ok(());
        }
        let mut document = read(&record)?;
        document.completed_at = Some(self.parts.clock.now().rfc3339());
        document.error = document.error.or(error);
        self.save(id, status, &document, record.created_at)
    }

    /// Writes how an experiment goes on. Whether it was: one that somebody ended stays as it is.
    fn update(
        &self,
        id: ExperimentId,
        status: ExperimentStatus,
        document: &ExperimentDocument,
        created_at: Time,
    ) -> Result<bool, ChaosError> {
        let _alone = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_over(id)? {
            return Ok(false);
        }
        self.save(id, status, document, created_at)?;
        Ok(true)
    }

    fn save(
        &self,
        id: ExperimentId,
        status: ExperimentStatus,
        document: &ExperimentDocument,
        created_at: Time,
    ) -> Result<(), ChaosError> {
        let document = serde_json::to_string(document)
            .map_err(|error| ChaosError::Unreadable { id, why: error.to_string() })?;
        Ok(self.parts.store.save_experiment(&ExperimentRecord { id, status, document, created_at })?)
    }
}

/// Why nothing may be disturbed under a bound: it cannot be watched, or is broken already.
fn unsteady(bound: &BurnBound, objectives: &Objectives) -> Option<String> {
    if !objectives.contains_key(&bound.objective) {
        return Some(format!(
            "there is no objective {:?} that could end it; `homeostat slo list` shows those there are",
            bound.objective
        ));
    }
    bound.broken(objectives).map(|burn| burns_too_fast(bound, burn))
}

fn burns_too_fast(bound: &BurnBound, burn: f64) -> String {
    format!(
        "the error budget of {} burns {burn:.1} times as fast as it lasts, at most {} is borne",
        bound.objective, bound.burn_rate
    )
}

fn document(request: &ExperimentRequest, plan: PlanId, radius: &[domain::ResourceId]) -> ExperimentDocument {
    ExperimentDocument {
        name: request.name.clone(),
        kind: request.fault.kind.name().to_owned(),
        fault: request.fault.clone(),
        target: Target { resource: request.fault.target.to_string() },
        duration_seconds: request.fault.duration.as_secs_f64(),
        severity: request.severity,
        safety_level: request.safety_level.clone(),
        requested_by: request.requested_by.clone(),
        plan,
        started_at: None,
        completed_at: None,
        blast_radius: BlastRadius { predicted: radius.iter().map(ToString::to_string).collect() },
        error: None,
        abort_when: request.abort_when.clone(),
    }
}

fn read(record: &ExperimentRecord) -> Result<ExperimentDocument, ChaosError> {
    serde_json::from_str(&record.document)
        .map_err(|error| ChaosError::Unreadable { id: record.id, why: error.to_string() })
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
