//! Why the executor could not do its work. That a step failed or was refused is no error but a result; see
//! [`crate::Ran`].

use domain::{PlanId, PlanStatus};
use provider::ProviderError;
use store::StoreError;

/// The result of the executor's methods.
pub type Result<T, E = ActError> = std::result::Result<T, E>;

/// Why the executor could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The journal could not be written or read. Nothing was applied without its intent; what was applied
    /// is settled by [`crate::Executor::run_due`] or at the next start.
    #[error("the journal could not be kept")]
    Journal(#[from] StoreError),
    /// The plan is not in the store.
    #[error("there is no plan {0}; add it to the store before it runs")]
    UnknownPlan(PlanId),
    /// The plan does not stand where a run begins.
    #[error("plan {plan} is {status} with {entries} journal entries and cannot be run; a plan runs once")]
    NotRunnable {
        /// Which plan.
        plan: PlanId,
        /// Its status.
        status: PlanStatus,
        /// How many steps were begun.
        entries: usize,
    },
    /// The faults could not be taken out at once. They are tried again by [`crate::Executor::run_due`].
    #[error("the faults could not be taken out")]
    FaultsRemain(#[source] ProviderError),
}

/// An error with everything behind it, as one clause.
pub fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
