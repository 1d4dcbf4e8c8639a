//! What is in scope on this thread.
//!
//! In: spans that are entered and left. Out: the buffer to record into, or the context to pass on. One value
//! per thread, swapped when a span is entered and swapped back when it is left, so that entering costs two
//! moves whatever the depth. User code never runs while it is borrowed.

use std::cell::{Cell, RefCell};

use crate::buffer::Buffer;
use crate::context::Context;

/// What a span is: recorded, only passed on, or nothing.
#[derive(Debug, Default)]
pub(crate) enum Active {
    /// No trace.
    #[default]
    Nothing,
    /// Sampling dropped the trace: no span is recorded, the context goes on.
    Passive(Context),
    /// Spans are recorded here.
    Recording(Box<Buffer>),
}

thread_local! {
    /// Whether [`ACTIVE`] records: read first, so that a span that is not recorded costs one byte's look.
    static RECORDS: Cell<bool> = const { Cell::new(false) };
    static ACTIVE: RefCell<Active> = const { RefCell::new(Active::Nothing) };
}

impl Active {
    /// A context from which another thread can join in.
    pub(crate) fn context(&mut self) -> Option<Context> {
        match self {
            Self::Nothing => None,
            Self::Passive(context) => Some(context.clone()),
            Self::Recording(buffer) => buffer.context(),
        }
    }
}

/// Looks at what is in scope; none while the thread is being torn down.
#[inline]
pub(crate) fn with_active<R>(look: impl FnOnce(&mut Active) -> R) -> Option<R> {
    ACTIVE.try_with(|active| look(&mut active.borrow_mut())).ok()
}

/// Whether spans that begin here are recorded.
#[inline]
pub(crate) fn records() -> bool {
    RECORDS.get()
}

/// Puts `next` in scope; what was there before. While the thread is being torn down nothing is in scope and
/// `next` comes back.
#[inline]
pub(crate) fn swap(next: Active) -> Active {
    let mut next = next;
    RECORDS.set(matches!(next, Active::Recording(_)));
    let _ = ACTIVE.try_with(|active| std::mem::swap(&mut *active.borrow_mut(), &mut next));
    next
}

/// Looks at the buffer of the trace whose first span is `serial`, where that is what is in scope.
#[inline]
pub(crate) fn with_buffer<R>(serial: u64, look: impl FnOnce(&mut Box<Buffer>) -> R) -> Option<R> {
    with_active(|active| match active {
        Active::Recording(buffer) if buffer.serial() == serial => Some(look(buffer)),
        _ => None,
    })
    .flatten()
}
