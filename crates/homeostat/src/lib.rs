//! What the `homeostat` binary is made of: configuration, wiring of the roles, command line, demo fleet.
//!
//! In: the command line. Out: processes. The loops are in `heal` and `chaos`; nothing is decided here.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod alerts;
mod allocator;
mod bench;
pub mod cli;
pub mod client;
pub mod config;
mod control;
pub mod control_plane;
mod demo;
pub mod demo_load;
pub mod demo_service;
mod detach;
mod drill;
mod loop_traces;
mod metering;
mod objectives;
mod pid_file;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod receiving;
#[cfg(test)]
mod reference;
mod signals;
mod token;
