//! The loop: signals become a snapshot, a snapshot shows issues, issues have causes, a cause leads to a
//! plan, a plan has an outcome, an outcome teaches a lesson.
//!
//! In: a provider (through `observe`), the store, the executor. Out: remediations, outcomes, lessons,
//! notices for people. The whole loop reads on one screen in `turn.rs`; the other modules are its arrows.
//!
//! Deliberately absent: choices while executing (a plan is a straight line), and any knowledge of what is
//! being injected.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod arrows;
mod deployments;
mod driver;
mod healer;
mod infrastructures;
mod inventory;
mod lesson;
mod lift;
mod notice;
mod operate;
mod queued;
pub mod start;
mod superseded;
mod telling;
mod trouble;
mod turn;
mod turned_down;
mod verify;
mod waiting;

pub use driver::Driver;
pub use healer::{Healer, Learning, Parts, Settings};
pub use lesson::{CONFIDENCE, Lessons, RATES};
pub use notice::{Notice, NoticeKind};
pub use operate::{Deploy, Missing, OperateError, Proposal, RunMode};
pub use telling::{Phase, Silent, Tell, TellElsewhere, Told};
pub use turn::{Turn, TurnError};
