//! What the `homeostat` binary is made of: configuration, wiring of the roles, command line, demo fleet.
//!
//! In: the command line. Out: processes. The loops are in `heal` and `chaos`; nothing is decided here.

#![allow(clippy::missing_errors_doc, reason = "a program: what is public is so for its own tests")]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod alerts;
mod allocator;
mod auditing;
mod backup;
mod bench;
pub mod cli;
pub mod client;
pub mod config;
mod control;
pub mod control_plane;
mod control_socket;
mod demo;
pub mod demo_load;
pub mod demo_service;
mod detach;
mod drill;
mod evidence;
pub mod logging;
mod loop_traces;
mod metering;
mod objectives;
mod pid_file;
mod platform;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod purges;
mod receiving;
#[cfg(test)]
mod reference;
mod references;
mod reload;
mod second_factors;
mod serve;
mod signals;
mod supervisor;
mod temporary;
mod token;
mod unfinished;
