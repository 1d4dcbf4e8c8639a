//! The lock the compiler turns: only the guard makes a [`Cleared`], and a provider changes the world only
//! for a [`ClearedStep`], which comes only out of one.

use domain::{Action, Plan, Step, StepToken};

/// A plan that the guard let pass. There is no other way to make one.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleared<T>(T);

impl Cleared<Plan> {
    /// For the guard alone.
    pub(super) fn by_guard(plan: Plan) -> Self {
        Self(plan)
    }

    /// For simulation alone: lets `plan` pass unjudged, to try what comes after the guard. Nothing that
    /// ships can call it, for the feature is enabled by `sim` only.
    #[cfg(feature = "simulation")]
    pub fn in_simulation(plan: Plan) -> Self {
        Self(plan)
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.0
    }

    /// The steps in order.
    pub fn steps(&self) -> impl Iterator<Item = ClearedStep<'_>> {
        self.0.tokens().zip(&self.0.steps).map(|(token, step)| ClearedStep { token, step })
    }
}

/// One step of a cleared plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClearedStep<'a> {
    token: StepToken,
    step: &'a Step,
}

impl<'a> ClearedStep<'a> {
    /// Its name for good.
    pub fn token(&self) -> StepToken {
        self.token
    }

    /// The step.
    pub fn step(&self) -> &'a Step {
        self.step
    }

    /// What it does.
    pub fn action(&self) -> &'a Action {
        &self.step.action
    }
}
