//! The drill: inject each row of the fault matrix into a fleet under load, and measure what comes of it.

mod archive;
mod matrix;
pub mod report;
mod run;
mod score;
mod witness;

pub use archive::{Archive, KeptDrill, KeptDrills, LISTED_MAX};
pub use matrix::{Expect, Matrix, MatrixError, Row, Selection, TrueCause};
pub use run::{DrillError, Fleet, Limits, Requests};
pub use score::{
    Diagnosis, ERROR_BUDGET, Quantiles, Repair, RunFacts, RunScore, STANDING_RESTART, Summary, score,
    summarise,
};
pub use witness::{Agreement, LoopWitness, RequestCount, RequestWitness, RequestWitnesses};
