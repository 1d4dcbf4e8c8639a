//! The keeper: the second process, which holds what must not stop when the control plane does.
//!
//! In: the table of what is to run. Out: running services, per-second counters and events.

pub mod proxy;
