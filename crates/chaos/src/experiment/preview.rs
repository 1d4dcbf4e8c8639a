//! What an experiment would do: its plan, and what the guard says of it now.
//!
//! In: a request. Out: a plan with its blast radius, and the guard's reasons against it. Nothing is written down and
//! nothing changed; what is then asked for is planned and judged anew.

use std::sync::PoisonError;

use act::{Circumstances, Progress};
use decide::plan::{GuardContext, Request, Ruling, guard, plan_fault};
use domain::{Actor, ExperimentId, Plan, PlanId, Snapshot};

use super::{ChaosError, ExperimentRequest, Experiments, join, unsteady};

/// An experiment that was only looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// What would run.
    pub plan: Plan,
    /// Why the guard would not let it run now; empty where it would.
    pub reasons: Vec<String>,
}

impl Experiments {
    /// Plans a fault and asks the guard, and leaves it at that.
    ///
    /// # Errors
    ///
    /// [`ChaosError`] where it cannot be planned, or the fleet or the store cannot be read.
    pub fn preview(&self, request: &ExperimentRequest) -> Result<Preview, ChaosError> {
        let snapshot = self.parts.observer.snapshot()?;
        let (_, plan) = self.planned(request, &snapshot)?;
        let bound = request.abort_when.as_ref();
        let unsteady = bound.and_then(|bound| unsteady(bound, &snapshot.objectives));
        let ruling = self.ruled(plan.clone(), &snapshot)?;
        let reasons = unsteady.into_iter().chain(ruling.reasons().iter().map(ToString::to_string)).collect();
        Ok(Preview { plan, reasons })
    }

    /// The plan of a request, for an experiment that has its id.
    pub(super) fn planned(
        &self,
        request: &ExperimentRequest,
        snapshot: &Snapshot,
    ) -> Result<(ExperimentId, Plan), ChaosError> {
        let now = snapshot.taken;
        let (experiment, id) = {
            let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
            (ids.next::<ExperimentId>(now), ids.next::<PlanId>(now))
        };
        let actor = Actor::Operator(request.requested_by.clone());
        let capabilities = &self.parts.observer.capabilities();
        let (policy, _) = self.allowed();
        let context = Request { snapshot, capabilities, policy: &policy, id, now };
        let plan = plan_fault(&request.fault, experiment, actor, &context)
            .map_err(|refusals| ChaosError::Impossible { why: join(&refusals) })?;
        Ok((experiment, plan))
    }

    /// What the guard says of a plan as things are.
    pub(super) fn ruled(&self, plan: Plan, snapshot: &Snapshot) -> Result<Ruling, ChaosError> {
        let now = snapshot.taken;
        let (policy, mode) = self.allowed();
        let circumstances = Circumstances::gather(&self.parts.store, now, mode, |_| Progress::AsRecorded)?;
        let context = GuardContext {
            now,
            snapshot,
            history: &circumstances.history,
            policy: &policy,
            switches: &circumstances.switches,
            approved: None,
            running: &circumstances.running,
        };
        Ok(guard(plan, &context))
    }
}
