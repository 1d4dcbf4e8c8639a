//! Runs one cleared plan: journal, do, prove, undo, recover.
//!
//! In: a [`Cleared`](decide::plan::Cleared) plan that is in the store. Out: a changed world, a journal that
//! says how to change it back, and the plan's next status.
//!
//! ```text
//! per step:  check → capture → intent (synced) → apply → prove … → ending
//!                 │        │                 │       │
//!                 │        │                 └───────┴─ fails: undo this and the earlier steps, last first
//!                 └────────┴─ refused: undo the earlier steps
//! ```
//!
//! # Invariants
//!
//! - Nothing is applied before its intent is on the disk. Where the intent cannot be written, nothing is
//!   done.
//! - A step is applied at most once, by the run that wrote its intent. After a crash it is proven, then
//!   completed or undone; never applied again. A start waits for none of it.
//! - A fault ends: by its time, by an undo, by the emergency stop, or by [`Executor::recover`].
//! - Undo is safe twice and safe if the step never ran; it needs no clearance and no slot.
//! - What is owed (a lift, the end of a fault, a roll-back that is not complete) is a timer in the store
//!   before it is owed, and stays until it is done.
//!
//! Deliberately absent: choices. The executor does not retry a step, pick a fallback or judge a signal;
//! that ends the plan, and the next turn plans the next one.

mod circumstances;
mod emergency;
mod error;
mod executor;
mod recover;
mod running;
mod undo;

pub use circumstances::{Circumstances, Mode, Progress, approval};
pub use emergency::Stopped;
pub use error::{ActError, Result, in_full};
pub use executor::{Executor, Ran};
pub use recover::{Recovered, RecoveredPlan, is_anything_left};
pub use undo::{Due, UndoReport, UndoneStep};
