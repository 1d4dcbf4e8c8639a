//! The pure stages of the loop: values in, values out.
//!
//! [`plan`] turns an issue with its cause, or a fault, into a plan and lets the guard decide whether it may
//! run; [`learn`] turns outcomes into success rates. No clock, no network, no database: `now` and a seed
//! are arguments.

pub mod learn;
pub mod plan;
