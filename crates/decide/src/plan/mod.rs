//! Planning: an issue with its cause, or a fault, in; a plan and the guard's verdict on it out.

pub mod check;
mod cleared;
mod context;
#[cfg(test)]
mod fixture;
pub mod guard;
pub mod history;
mod need;
mod order;
pub mod policy;
pub mod priors;
mod repair;
mod request;
mod steps;
mod strategies;
pub mod verify;

pub use cleared::{Cleared, ClearedStep};
pub use context::PlanContext;
pub use guard::{
    Activity, Approval, GuardContext, Objection, Ruling, RunningPlan, Switches, failure_rate_exceeded, guard,
    storm_in,
};
pub use history::{History, PlanRecord};
pub use need::Need;
pub use order::{by_priority, told_directly};
pub use policy::Policy;
pub use repair::{Planned, Rejected, WaitReason, plan_repair};
pub use request::{Refusal, Request, plan_fault, plan_operation};
pub use steps::step;
pub use strategies::{Draft, Unsuited};
pub use verify::{Baseline, Observation, Seen, Unverified, Verification, Verifier, credit, well_again};
