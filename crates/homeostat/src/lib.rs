//! What the `homeostat` binary is made of, as a library so that its tests can read what it writes.
//!
//! Deliberately absent: argument parsing and dispatch, which are `main.rs`.

pub mod demo_load;
pub mod demo_service;
