//! The plans this executor is running, so that they can be asked to stop and waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use domain::PlanId;

#[derive(Debug, Default)]
pub(crate) struct Running {
    plans: Mutex<BTreeMap<PlanId, Option<String>>>,
    ended: Condvar,
}

/// As long as it lives, the plan counts as running.
#[derive(Debug)]
pub(crate) struct Registration {
    running: Arc<Running>,
    plan: PlanId,
}

impl Running {
    /// `None`: it runs already.
    pub(crate) fn register(self: &Arc<Self>, plan: PlanId) -> Option<Registration> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.contains_key(&plan) {
            return None;
        }
        plans.insert(plan, None);
        Some(Registration { running: Arc::clone(self), plan })
    }

    /// Asks every running plan to stop, without waiting.
    pub(crate) fn cancel_all(&self, why: &str) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        for reason in plans.values_mut() {
            reason.get_or_insert_with(|| why.to_owned());
        }
    }

    /// Asks a plan to stop and waits until it does not run.
    pub(crate) fn cancel_and_wait(&self, plan: PlanId, why: &str) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(reason) = plans.get_mut(&plan) {
            reason.get_or_insert_with(|| why.to_owned());
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
        plans.get(&self.plan).cloned().flatten()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.running.plans.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.plan);
        self.running.ended.notify_all();
    }
}
