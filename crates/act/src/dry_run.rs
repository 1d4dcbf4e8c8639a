//! Saying what a plan would do without doing it.

use decide::plan::Cleared;
use domain::{Captured, Plan, ResourceId, Step, Undo};
use provider::ProviderError;

use crate::error::Result;
use crate::executor::Executor;

/// What a plan would do.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// What and why.
    pub summary: String,
    /// What would come of it.
    pub expected_effect: String,
    /// Every resource it may touch.
    pub blast_radius: Vec<ResourceId>,
    /// The steps in order.
    pub steps: Vec<DryStep>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct DryStep {
    /// The step.
    pub step: Step,
    /// What it acts on.
    pub resource: ResourceId,
    /// What is written down before it runs, so that it can be taken back.
    pub captures: String,
    /// How it is taken back.
    pub undo: String,
}

/// One step that was tried up to, but not including, the change.
#[derive(Debug)]
pub struct RehearsedStep {
    /// The step.
    pub step: Step,
    /// What was captured, or why the step cannot be done now.
    pub captured: Result<Captured, ProviderError>,
}

impl Executor {
    /// Describes a plan, cleared or not. Touches nothing, asks nobody.
    pub fn dry_run(&self, plan: &Plan) -> DryRun {
        DryRun {
            summary: plan.summary.clone(),
            expected_effect: plan.expected_effect.clone(),
            blast_radius: plan.blast_radius.clone(),
            steps: plan.steps.iter().map(describe).collect(),
        }
    }

    /// Asks the provider about every step of a cleared plan: whether it can be done now, and what would be
    /// captured. Changes nothing and journals nothing. A later step is asked about as the world is now, not
    /// as the earlier ones would leave it.
    pub fn rehearse(&self, cleared: &Cleared<Plan>) -> Vec<RehearsedStep> {
        cleared
            .steps()
            .map(|step| RehearsedStep {
                step: step.step().clone(),
                captured: self.change.check(step).and_then(|()| self.change.capture(step)),
            })
            .collect()
    }
}

fn describe(step: &Step) -> DryStep {
    let resource = step.action.resource();
    let captures = match (step.action.sets(), &step.action) {
        (Some(_), _) => format!("the value and generation it sets on {resource}"),
        (None, domain::Action::RestartInstance { instance, .. }) => format!("the process in {instance}"),
        (None, _) => "nothing".to_owned(),
    };
    let undo = match &step.undo {
        Undo::Exact => "puts back exactly what was captured".to_owned(),
        Undo::Compensating(action) => format!("makes up for it by another action on {}", action.resource()),
        Undo::NothingToRestore => "nothing to restore".to_owned(),
        Undo::Irreversible => "cannot be taken back".to_owned(),
    };
    DryStep { step: step.clone(), resource, captures, undo }
}
