//! Planning: an issue with its cause, or a fault, in; a plan and the guard's verdict on it out.

pub mod check;
mod cleared;
pub mod guard;
pub mod history;
pub mod policy;

pub use cleared::{Cleared, ClearedStep};
pub use guard::{
    Activity, Approval, GuardContext, Objection, Ruling, RunningPlan, Switches, failure_rate_exceeded, guard,
};
pub use history::{History, PlanRecord};
pub use policy::Policy;
