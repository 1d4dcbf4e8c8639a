//! The plans this executor is running, so that they can be asked to stop and waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use domain::{Action, Plan, PlanId};

#[derive(Debug, Default)]
pub(crate) struct Running {
    plans: Mutex<BTreeMap<PlanId, Run>>,
    ended: Condvar,
}

#[derive(Debug)]
struct Run {
    disturbs: bool,
    cancelled: Option<String>,
}

/// As long as it lives, the plan counts as running.
#[derive(Debug)]
pub(crate) struct Registration {
    running: Arc<Running>,
    plan: PlanId,
}

impl Running {
    /// `None`: it runs already.
    pub(crate) fn register(self: &Arc<Self>, plan: &Plan) -> Option<Registration> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.contains_key(&plan.id) {
            return None;
        }
        plans.insert(plan.id, Run { disturbs: disturbs(plan), cancelled: None });
        Some(Registration { running: Arc::clone(self), plan: plan.id })
    }

    /// Asks every running plan that disturbs to stop, without waiting.
    pub(crate) fn cancel_disturbing(&self, why: &str) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        for run in plans.values_mut().filter(|run| run.disturbs) {
            run.cancelled.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Asks a plan to stop and waits until it does not run.
    pub(crate) fn cancel_and_wait(&self, plan: PlanId, why: &str) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(run) = plans.get_mut(&plan) {
            run.cancelled.get_or_insert_with(|| why.to_owned());
            plans = self.ended.wait(plans).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn is_running(&self, plan: PlanId) -> bool {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&plan)
    }
}

impl Registration {
    /// Why the plan was asked to stop, if it was.
    pub(crate) fn cancelled(&self) -> Option<String> {
        let plans = self.running.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.get(&self.plan).and_then(|run| run.cancelled.clone())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.running.plans.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.plan);
        self.running.ended.notify_all();
    }
}

/// Whether a plan injects faults.
pub(crate) fn disturbs(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.action, Action::Inject(_)))
}
