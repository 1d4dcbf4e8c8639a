//! Planning: an issue with its cause, or a fault, in; a plan and the guard's verdict on it out.

mod cleared;

pub use cleared::{Cleared, ClearedStep};
