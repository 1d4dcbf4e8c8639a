//! What is in scope on this thread.
//!
//! In: spans that are entered and left. Out: the buffer to record into, or the context to pass on. One value
//! per thread, swapped when a span is entered and swapped back when it is left, so that entering costs two
//! moves whatever the depth.
//!
//! Whoever records takes the buffer out of its place and puts it back, which is a load and two stores. What
//! asks while it is out, such as an allocator that is traced or a `Debug` that begins a span, finds nothing in
//! scope.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

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
    /// Sampling dropped the trace: no span is recorded, the context goes on. In a box: what is recorded is moved
    /// more often than a context is made.
    Passive(Box<Context>),
    /// Spans are recorded here.
    Recording(Box<Buffer>),
}

thread_local! {
    /// The buffer in scope. Without a destructor, so that a look is one instruction: [`OTHER`] has it.
    static HERE: Place = const { Place(Cell::new(None)) };
    static OTHER: Other = const { Other(RefCell::new(Active::Nothing)) };
    /// Whether [`EARLY`] holds anything: read first.
    static SOME_EARLY: Cell<bool> = const { Cell::new(false) };
    static EARLY: RefCell<Vec<Early>> = const { RefCell::new(Vec::new()) };
}

/// What is in scope where no buffer is: [`HERE`] is filled only after this was asked for, and emptied with it.
struct Other(RefCell<Active>);

impl Drop for Other {
    fn drop(&mut self) {
        drop(take());
    }
}

impl Other {
    /// Puts `next` in scope where `here` and this were; what was there.
    #[inline]
    fn exchange(&self, here: Option<Box<Buffer>>, next: Active) -> Active {
        let mut other = self.0.borrow_mut();
        let before = match here {
            Some(buffer) => Active::Recording(buffer),
            None => std::mem::take(&mut *other),
        };
        match next {
            Active::Recording(buffer) => put(buffer),
            Active::Nothing | Active::Passive(_) => *other = next,
        }
        before
    }
}

#[inline]
fn take() -> Option<Box<Buffer>> {
    HERE.with(|here| here.0.take()).map(ManuallyDrop::into_inner)
}

#[inline]
fn put(buffer: Box<Buffer>) {
    HERE.with(|here| here.0.set(Some(ManuallyDrop::new(buffer))));
}

/// The buffer in scope, taken out of its place; comes back when this is dropped, also by a panic.
struct Taken(Option<ManuallyDrop<Box<Buffer>>>);

impl Drop for Taken {
    #[inline]
    fn drop(&mut self) {
        if let Some(left) = HERE.with(|here| here.0.replace(self.0.take())) {
            end_left(left);
        }
    }
}

/// A span that was entered while the buffer was out of its place, and not left.
#[cold]
fn end_left(left: ManuallyDrop<Box<Buffer>>) {
    drop(Span { active: Active::Recording(ManuallyDrop::into_inner(left)) });
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
            Self::Passive(context) => Some((**context).clone()),
            Self::Recording(buffer) => buffer.context(),
        }
    }
}

/// Looks at what is in scope; none while the thread is being torn down.
#[inline]
pub(crate) fn with_active<R>(look: impl FnOnce(&mut Active) -> R) -> Option<R> {
    let Some(buffer) = take() else {
        return OTHER.try_with(|other| look(&mut other.0.borrow_mut())).ok();
    };
    let mut active = Active::Recording(buffer);
    let seen = look(&mut active);
    if let Active::Recording(buffer) = active {
        put(buffer);
    }
    Some(seen)
}

/// Whether spans that begin here are recorded.
#[inline]
pub(crate) fn records() -> bool {
    HERE.with(|here| {
        let buffer = here.0.take();
        let some = buffer.is_some();
        here.0.set(buffer);
        some
    })
}

/// Puts `next` in scope; what was there before. While the thread is being torn down nothing is in scope and
/// `next` comes back.
#[inline]
pub(crate) fn swap(next: Active) -> Active {
    let mut next = next;
    let _ = OTHER.try_with(|other| next = other.exchange(take(), std::mem::take(&mut next)));
    next
}

/// A guard goes: its span is taken out of scope and `before`, which was in scope before it, put back. Nothing comes
/// back where a later span is in scope; then both happens when that one has gone.
#[inline]
pub(crate) fn leave(serial: u64, before: Active, ending: Ending) -> Active {
    let mut next = before;
    let in_scope = OTHER.try_with(|other| {
        let here = take();
        let own = here.as_ref().map_or(0, |buffer| buffer.serial()) == serial;
        if own {
            next = other.exchange(here, std::mem::take(&mut next));
        } else if let Some(buffer) = here {
            put(buffer);
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

/// Looks at the buffer in scope.
#[inline]
pub(crate) fn with_recording<R>(look: impl FnOnce(&mut Box<Buffer>) -> R) -> Option<R> {
    let mut taken = Taken(HERE.with(|here| here.0.take()));
    Some(look(taken.0.as_mut()?))
}

/// Looks at the buffer of the trace whose first span is `serial`, where that is what is in scope.
#[inline]
pub(crate) fn with_buffer<R>(serial: u64, look: impl FnOnce(&mut Box<Buffer>) -> R) -> Option<R> {
    with_recording(|buffer| (buffer.serial() == serial).then(|| look(buffer))).flatten()
}

/// The place of the buffer in scope.
pub(crate) struct Place(Cell<Option<ManuallyDrop<Box<Buffer>>>>);

impl Place {
    /// [`with_recording`] for a `look` that does not panic: without that the compiler need not prepare for one.
    #[inline]
    pub(crate) fn swiftly<R>(&self, look: impl FnOnce(&mut Buffer) -> Option<R>) -> Option<R> {
        let mut buffer = self.0.take()?;
        let seen = look(&mut buffer);
        self.0.set(Some(buffer));
        seen
    }
}

/// Where it is: a function that is compiled into the service finds a thread-local at a fixed place, one of this
/// crate has to ask for it.
#[inline]
pub(crate) fn at_place<R>(go: impl FnOnce(&Place) -> R) -> R {
    HERE.with(go)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;
    use crate::buffer::{Part, Trace};
    use crate::join::Join;
    use crate::sampling::Decision;
    use crate::{Kind, ids, span};

    fn recording() -> Box<Buffer> {
        let trace = Trace {
            tracer: 0,
            trace_id: ids::trace_id(),
            random: true,
            randomness: None,
            decision: Decision::Keep(None),
            operation: None,
            carried: None,
        };
        let mut buffer = Buffer::new(trace, Part::Root);
        buffer.begin("root".into(), Kind::Internal, None);
        buffer
    }

    fn in_scope() -> Option<u64> {
        with_active(|active| active.serial())
    }

    #[test]
    fn what_asks_while_something_is_said_finds_nothing_in_scope_and_disturbs_nothing() {
        let buffer = recording();
        let serial = buffer.serial();
        drop(swap(Active::Recording(buffer)));
        let seen = with_buffer(serial, |_| (span("inside").is_recorded(), Context::current().is_some()));
        assert_eq!(seen, Some((false, false)));
        assert!(catch_unwind(AssertUnwindSafe(|| with_buffer(serial, |_| panic!("a `Debug` did")))).is_err());
        let left = with_buffer(serial, |_| drop(swap(Active::Recording(recording()))));
        assert_eq!((left, in_scope()), (Some(()), Some(serial)));
        assert!(span("after").is_recorded());
        let Active::Recording(buffer) = swap(Active::Nothing) else { panic!("it was in scope") };
        assert_eq!(buffer.created(), 2);
        assert!(!span("outside").is_recorded());
    }

    #[test]
    fn a_thread_that_ends_with_a_span_in_scope_frees_its_buffer() {
        let mut buffer = recording();
        let join = Arc::new(Join::new(0));
        buffer.join = Some(Arc::clone(&join));
        let thread = std::thread::spawn(move || drop(swap(Active::Recording(buffer))));
        thread.join().expect("it does not panic");
        assert_eq!(Arc::strong_count(&join), 1);
    }
}
