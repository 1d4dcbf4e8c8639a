//! What is in scope on this thread.
//!
//! In: spans that are entered and left. Out: the buffer to record into, or the context to pass on. One value
//! per thread, swapped when a span is entered and swapped back when it is left, so that entering costs two
//! moves whatever the depth. User code never runs while it is borrowed.

use std::cell::{Cell, RefCell};

use crate::buffer::Buffer;
use crate::context::Context;
use crate::span::Span;
use crate::tracer;

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
    /// Whether [`EARLY`] holds anything: read first.
    static SOME_EARLY: Cell<bool> = const { Cell::new(false) };
    static EARLY: RefCell<Vec<Early>> = const { RefCell::new(Vec::new()) };
}

/// Guards that went too early and are remembered; beyond that the oldest is given up: a program that loses guards
/// must not grow.
const EARLY_MAX: usize = 64;

/// A guard that went while a later span was in scope. Its span lies in that one's guard, and ends when it comes back
/// into scope.
#[derive(Debug)]
struct Early {
    serial: u64,
    before: Active,
    ending: Ending,
}

/// How a span ends whose guard went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As always.
    Ends,
    /// It is forgotten.
    Discarded,
}

impl Active {
    /// Tells it from other recorded spans; zero for what is not recorded.
    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        match self {
            Self::Recording(buffer) => buffer.serial(),
            Self::Nothing | Self::Passive(_) => 0,
        }
    }

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

/// A guard goes: its span is taken out of scope and `before`, which was in scope before it, put back. Nothing comes
/// back where a later span is in scope; then both happens when that one has gone.
#[inline]
pub(crate) fn leave(serial: u64, before: Active, ending: Ending) -> Active {
    let mut next = before;
    let in_scope = ACTIVE.try_with(|active| {
        let mut active = active.borrow_mut();
        let own = active.serial() == serial;
        if own {
            RECORDS.set(matches!(next, Active::Recording(_)));
            std::mem::swap(&mut *active, &mut next);
        }
        own
    });
    match in_scope {
        Ok(true) => {
            if SOME_EARLY.get() {
                end_early();
            }
            next
        }
        Ok(false) => {
            go_early(Early { serial, before: next, ending });
            Active::Nothing
        }
        // The thread is being torn down: entering brought its own back as what was before.
        Err(_) => next,
    }
}

#[cold]
fn go_early(early: Early) {
    let given_up = EARLY.try_with(|all| {
        let mut all = all.borrow_mut();
        all.push(early);
        (all.len() > EARLY_MAX).then(|| all.remove(0))
    });
    SOME_EARLY.set(true);
    drop(given_up.ok().flatten().map(|early| Span { active: early.before }));
}

/// What came back into scope and whose guard went earlier ends now, and what was before it comes back.
#[cold]
fn end_early() {
    while let Some(early) = take_early() {
        let Early { before, ending, .. } = early;
        let active = swap(before);
        match ending {
            Ending::Ends => drop(Span { active }),
            Ending::Discarded => tracer::discard(active),
        }
    }
}

fn take_early() -> Option<Early> {
    let serial = with_active(|active| active.serial())?;
    EARLY
        .try_with(|all| {
            let mut all = all.borrow_mut();
            let place = all.iter().rposition(|early| early.serial == serial)?;
            let early = all.remove(place);
            SOME_EARLY.set(!all.is_empty());
            Some(early)
        })
        .ok()
        .flatten()
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
