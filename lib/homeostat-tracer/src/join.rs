//! Where the parts of a local trace meet that other threads and tasks recorded.
//!
//! In: parts as their first spans end. Out: all of them, when the root ends and the trace is decided; a part
//! that comes later learns the decision. The lock is taken once per part, never per span, and a trace that
//! stays on one thread has none.

use std::sync::{Mutex, PoisonError};

use crate::buffer::{Buffer, Trace};
use crate::tracer;

/// Bytes of parts that wait for their root. What comes when they are full is decided by what is known so far.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// What a context needs to join the recording it came from.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    pub(crate) join: std::sync::Arc<Join>,
    pub(crate) trace: Trace,
}

/// Parts in the boxes in which they travel: moving one moves a pointer.
pub(crate) type Parts = Vec<Box<Buffer>>;

#[derive(Debug)]
pub(crate) struct Join {
    tracer: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// The root is open.
    Waiting { parts: Parts, bytes: usize },
    /// The root has ended, and this was decided.
    Decided(Kept),
}

/// Whether the root's part was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    /// Sampling dropped it; a part that comes later and failed is kept all the same.
    No,
    /// It was discarded, and so is every part that comes later.
    Forgotten,
}

/// What became of a part that was brought.
#[derive(Debug)]
pub(crate) enum Brought {
    /// It waits for the root.
    Waits,
    /// The root has ended; the part is the bringer's to hand over.
    Decided(Box<Buffer>, Kept),
    /// Too much waits already; the part is the bringer's to decide.
    Full(Box<Buffer>),
}

impl Join {
    pub(crate) fn new(tracer: u64) -> Self {
        Self { tracer, state: Mutex::new(State::Waiting { parts: Vec::new(), bytes: 0 }) }
    }

    /// Brings an ended part.
    pub(crate) fn bring(&self, part: Box<Buffer>) -> Brought {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Decided(kept) => Brought::Decided(part, *kept),
            State::Waiting { bytes, .. } if *bytes + part.bytes() > WAITING_BYTES_MAX => Brought::Full(part),
            State::Waiting { parts, bytes } => {
                *bytes += part.bytes();
                parts.push(part);
                Brought::Waits
            }
        }
    }

    /// Whether the root was discarded.
    pub(crate) fn is_forgotten(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(&*state, State::Decided(Kept::Forgotten))
    }

    /// Ends the waiting: `decide` is told whether a waiting part has failed. The parts with what was decided.
    pub(crate) fn decide(&self, decide: impl FnOnce(bool) -> Kept) -> (Parts, Kept) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = match &mut *state {
            State::Waiting { parts, .. } => std::mem::take(parts),
            State::Decided(_) => Vec::new(),
        };
        let kept = decide(parts.iter().any(|part| part.error));
        *state = State::Decided(kept);
        (parts, kept)
    }
}

impl Drop for Join {
    /// A root that was forgotten and never ended leaves parts behind: they are counted.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Waiting { parts, .. } = state {
            tracer::abandon(self.tracer, std::mem::take(parts));
        }
    }
}
