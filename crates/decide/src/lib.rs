//! The pure stages of the loop: values in, values out.
//!
//! [`detect`] turns a snapshot into findings and findings into issues, [`health`] into one score;
//! [`diagnose`] turns an issue into ranked causes; [`plan`] turns an issue with its cause, or a fault, into
//! a plan and lets the guard decide whether it may run; [`learn`] turns outcomes into shares. Beside them,
//! [`correlate`] says for people what belongs together on the time line, [`service`] how one service is, [`cmdb`] what is configured and what of it changed, [`trend`] where
//! a score is going. No clock, no network, no database: `now` and a seed are arguments.

pub mod cmdb;
pub mod correlate;
pub mod detect;
pub mod diagnose;
#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
pub mod health;
pub mod learn;
pub mod plan;
pub mod service;
pub mod trend;
