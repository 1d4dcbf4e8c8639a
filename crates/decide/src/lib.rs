//! The pure stages of the loop: values in, values out.
//!
//! [`detect`] turns a snapshot into findings and findings into issues; [`plan`] turns an issue with its
//! cause, or a fault, into a plan and lets the guard decide whether it may run. No clock, no network, no
//! database: `now` and a seed are arguments.

pub mod detect;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod plan;
