//! Chaos: experiments that disturb on purpose, and the drill that measures the whole loop with them.
//!
//! In: faults, the running loop's store and provider. Out: experiments, drill scores and reports. The chaos
//! loop and the healing loop never call each other; they meet in the store.

pub mod drill;
mod experiment;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;

pub use experiment::{
    BlastRadius, ChaosError, ExperimentDocument, ExperimentRequest, Experiments, Injected, Parts, Preview,
    RunningFault, Target,
};
