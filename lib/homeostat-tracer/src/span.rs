//! Spans, as a service holds them.
//!
//! In: names, kinds, parents, and what is said of the work. Out: records in a buffer. Three types for three
//! ways to hold a span:
//!
//! - [`LocalSpan`] is work on this thread, from here to the end of the scope. It costs least: a record in the
//!   buffer that is in scope. It stays on its thread.
//! - [`Span`] owns its buffer and can go to another thread or be kept across `await`.
//! - [`Entered`] is a [`Span`] that is in scope, so that local spans become its children.
//!
//! All three end when dropped. Deliberately absent: ending at another time than now.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;

use crate::buffer::{Buffer, Text};
use crate::clock;
use crate::context::Context;
use crate::local::{self, Active, Ending, Place};
use crate::propagation::{self, Inject};
use crate::tracer::{self, Tracer};
use crate::value::{Kind, Status, Value};

/// A local root or a branch about to start.
#[derive(Debug)]
#[must_use = "a builder does nothing until `start` or `enter`"]
pub struct SpanBuilder {
    tracer: Option<Tracer>,
    name: Cow<'static, str>,
    kind: Kind,
    parent: Option<Context>,
}

impl SpanBuilder {
    pub(crate) fn new(tracer: Option<Tracer>, name: Cow<'static, str>) -> Self {
        Self { tracer, name, kind: Kind::Internal, parent: None }
    }

    /// What it is to the call it stands for; internal where nothing is said.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Its parent: what [`crate::propagation::extract`] read, or a [`Context`] of this process. `None` begins
    /// a trace.
    pub fn parent(mut self, parent: impl Into<Option<Context>>) -> Self {
        self.parent = parent.into();
        self
    }

    /// Starts it. It is not in scope: see [`Span::enter`] and [`crate::InSpan`].
    #[inline]
    pub fn start(self) -> Span {
        let active = match &self.tracer {
            Some(tracer) => tracer.inner.begin(self.name, self.kind, self.parent.as_ref()),
            None => self.parent.map_or(Active::Nothing, |parent| Active::Passive(Box::new(parent))),
        };
        Span { active }
    }

    /// Starts it and puts it in scope on this thread.
    #[inline]
    pub fn enter(self) -> Entered {
        self.start().enter()
    }
}

/// A span that owns its recording: a local root, or a branch of one on another thread or task. Ends when
/// dropped.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct Span {
    pub(crate) active: Active,
}

/// A span of this thread, a child of what was in scope when it began. Ends when dropped.
#[must_use = "a span ends when it is dropped"]
pub struct LocalSpan {
    serial: u64,
    number: u32,
    /// It must be dropped on its thread.
    here: PhantomData<*const ()>,
}

/// No number: nothing is recorded.
const NOWHERE: u32 = u32::MAX;

/// Begins a child of the span in scope on this thread. Where none is in scope, or the trace is not recorded,
/// it is nothing and costs a look at a thread-local.
#[inline]
pub fn span(name: impl Into<Cow<'static, str>>) -> LocalSpan {
    // Inlined into the caller, the rest is not: this is all that a span costs where nothing is recorded.
    if !local::records() {
        return LocalSpan::nothing();
    }
    match name.into() {
        Cow::Borrowed(name) => local::at_place(|place| LocalSpan::begin(place, name)),
        Cow::Owned(name) => LocalSpan::begin_made(&name),
    }
}

/// Begins a child of the span in scope that can leave this thread: for a spawned task, a thread pool, or a
/// future that is joined with others. Where nothing is in scope, it is nothing.
pub fn task(name: impl Into<Cow<'static, str>>) -> Span {
    match Context::current() {
        Some(context) => task_of(context, name),
        None => Span { active: Active::Nothing },
    }
}

/// Begins a child of `parent`, wherever that was taken.
pub fn task_of(parent: Context, name: impl Into<Cow<'static, str>>) -> Span {
    let key = parent.branch.as_ref().map(|branch| branch.trace.tracer);
    let active = match key.and_then(tracer::find) {
        Some(inner) => inner.begin(name.into(), Kind::Internal, Some(&parent)),
        None => Active::Passive(Box::new(parent)),
    };
    Span { active }
}

impl Drop for LocalSpan {
    #[inline]
    fn drop(&mut self) {
        if self.number != NOWHERE {
            local::at_place(|place| Self::end(place, self.serial, self.number));
        }
    }
}

impl fmt::Debug for LocalSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSpan").field("recorded", &(self.number != NOWHERE)).finish()
    }
}

impl LocalSpan {
    #[inline]
    fn nothing() -> Self {
        Self { serial: 0, number: NOWHERE, here: PhantomData }
    }

    /// Nothing here is called but what never comes back, and so nothing is saved and restored. The clock is read
    /// first: what comes after it need not wait for what came before.
    #[inline(never)]
    fn begin(place: &Place, name: &'static str) -> Self {
        let Some(now) = clock::swift_ticks() else { return Self::begin_slowly(name) };
        let begun = place.swiftly(|buffer| {
            let number = buffer.child_swiftly(Text::Static(name), now)?;
            Some((buffer.serial(), number))
        });
        match begun {
            Some((serial, number)) => Self { serial, number, here: PhantomData },
            None => Self::begin_slowly(name),
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_slowly(name: &'static str) -> Self {
        Self::begin_in_scope(|_| Text::Static(name))
    }

    /// With a name made at run time.
    #[inline(never)]
    fn begin_made(name: &str) -> Self {
        Self::begin_in_scope(|buffer| buffer.hold_name(name))
    }

    fn begin_in_scope(name: impl FnOnce(&mut Buffer) -> Text) -> Self {
        let begun = local::with_recording(|buffer| {
            let name = name(buffer);
            Some((buffer.serial(), buffer.child(name)?))
        });
        let (serial, number) = begun.flatten().unwrap_or((0, NOWHERE));
        Self { serial, number, here: PhantomData }
    }

    #[inline(never)]
    fn end(place: &Place, serial: u64, number: u32) {
        let now = clock::swift_ticks();
        let ended = now.is_some_and(|now| {
            let end =
                |buffer: &mut Buffer| Some(buffer.serial() == serial && buffer.end_swiftly(number, now));
            place.swiftly(end) == Some(true)
        });
        if !ended {
            Self::end_slowly(serial, number, now);
        }
    }

    #[cold]
    #[inline(never)]
    fn end_slowly(serial: u64, number: u32, now: Option<u64>) {
        let now = now.unwrap_or_else(clock::ticks);
        local::with_buffer(serial, |buffer| {
            buffer.end(number, now);
            if buffer.is_long() {
                tracer::finish_ended(buffer);
            }
        });
    }

    /// Says what it is to the call it stands for.
    pub fn kind(self, kind: Kind) -> Self {
        self.with(|buffer, number| buffer.kind(number, kind));
        self
    }

    #[inline]
    fn with(&self, say: impl FnOnce(&mut Buffer, u32)) {
        if self.number != NOWHERE {
            local::with_buffer(self.serial, |buffer| say(buffer, self.number));
        }
    }

    fn recorded(&self) -> bool {
        self.number != NOWHERE
    }

    /// A context at this span, from which another thread or task can go on. None where nothing is in scope.
    pub fn context(&self) -> Option<Context> {
        match self.number {
            NOWHERE => Context::current(),
            number => local::with_buffer(self.serial, |buffer| buffer.context_at(number)).flatten(),
        }
    }
}

impl Span {
    /// A span that records nothing.
    pub fn none() -> Self {
        Self { active: Active::Nothing }
    }

    /// Puts it in scope on this thread until the guard is dropped, which ends it.
    #[inline]
    pub fn enter(self) -> Entered {
        let mut span = self;
        let serial = span.active.serial();
        let mine = std::mem::take(&mut span.active);
        Entered { serial, before: Some(local::swap(mine)), here: PhantomData }
    }

    /// Says what it is to the call it stands for.
    pub fn kind(&mut self, kind: Kind) {
        self.with(|buffer, number| buffer.kind(number, kind));
    }

    fn with(&mut self, say: impl FnOnce(&mut Buffer, u32)) {
        if let Active::Recording(buffer) = &mut self.active {
            say(buffer, 0);
        }
    }

    fn recorded(&self) -> bool {
        matches!(self.active, Active::Recording(_))
    }

    /// A context at this span, from which another thread or task can go on. None for a span that is nothing.
    pub fn context(&mut self) -> Option<Context> {
        self.active.context()
    }

    /// Writes this span as parent into outgoing headers.
    pub fn inject(&self, headers: &mut (impl Inject + ?Sized)) {
        if let Some(outgoing) = propagation::Outgoing::of(&self.active) {
            outgoing.write(headers);
        }
    }
}

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Active::Recording(buffer) = std::mem::take(&mut self.active) {
            tracer::finish(buffer);
        }
    }
}

/// A [`Span`] in scope on this thread. Dropping it puts back what was in scope before and ends it.
///
/// Guards go in the opposite order in which they came. One that goes while a later one is there touches neither that
/// one's span nor its trace: its own span ends when the later one has gone.
#[must_use = "a span ends when it is dropped"]
pub struct Entered {
    serial: u64,
    /// What was in scope before.
    before: Option<Active>,
    /// It must be dropped on its thread.
    here: PhantomData<*const ()>,
}

impl Entered {
    /// Takes it out of scope without ending it. While a later span is in scope that cannot be: what comes back then
    /// records nothing, and the span ends when the later one has gone.
    pub fn exit(mut self) -> Span {
        Span { active: self.leave(Ending::Ends) }
    }

    /// Takes it out of scope and forgets it with its children, which count as dropped,
    /// [`Reason::Unsampled`](crate::Reason::Unsampled): for work that turned out to be none, such as a look that found
    /// nothing. Errors are forgotten too, also those of branches on other threads that end later. A span that is a
    /// branch itself ends as always.
    ///
    /// What was handed over before cannot be taken back:
    ///
    /// - branches that had ended, where the trace was sure to be kept ([`Sampler`](crate::Sampler)): they wait for
    ///   their root only under adaptive sampling, and there no more than 1 MiB of them;
    /// - the ended spans of a part that had grown long (4,096 spans, 8,192 sayings, or 512 KiB of text);
    /// - what other processes recorded with this span as parent.
    pub fn discard(mut self) {
        tracer::discard(self.leave(Ending::Discarded));
    }

    #[inline]
    fn leave(&mut self, ending: Ending) -> Active {
        self.before.take().map(|before| local::leave(self.serial, before, ending)).unwrap_or_default()
    }

    #[inline]
    fn with(&self, say: impl FnOnce(&mut Buffer, u32)) {
        if self.serial != 0 {
            local::with_buffer(self.serial, |buffer| say(buffer, 0));
        }
    }

    fn recorded(&self) -> bool {
        self.serial != 0
    }

    /// A context at this span, from which another thread or task can go on. None where nothing is in scope.
    pub fn context(&self) -> Option<Context> {
        match self.serial {
            0 => Context::current(),
            serial => local::with_buffer(serial, |buffer| buffer.context_at(0)).flatten(),
        }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        drop(Span { active: self.leave(Ending::Ends) });
    }
}

impl fmt::Debug for Entered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").field("recorded", &self.recorded()).finish()
    }
}

/// What can be said of a span, the same for all three.
macro_rules! sayings {
    ($holder:ty, $($this:tt)+) => {
        impl $holder {
            /// Whether anything said of it is kept: spares the caller making what nobody reads.
            pub fn is_recorded(&self) -> bool {
                self.recorded()
            }

            /// Says something of the work. Said twice, the last counts.
            #[inline]
            pub fn attribute<'v>($($this)+ self, key: &'static str, value: impl Into<Value<'v>>) {
                let value = value.into();
                self.with(|buffer, number| buffer.attribute(number, key, value));
            }

            /// Says several things at once, which costs a little less.
            #[inline]
            pub fn attributes($($this)+ self, attributes: &[(&'static str, Value<'_>)]) {
                self.with(|buffer, number| buffer.attributes(number, attributes));
            }

            /// Something happened now.
            pub fn event($($this)+ self, name: &str, attributes: &[(&'static str, Value<'_>)]) {
                self.with(|buffer, number| buffer.event(number, name, attributes));
            }

            /// The work has to do with another span that is not its parent, such as each message of a batch.
            pub fn link($($this)+ self, to: &Context, attributes: &[(&'static str, Value<'_>)]) {
                self.with(|buffer, number| buffer.link(number, to, attributes));
            }

            /// How the work ended.
            pub fn status($($this)+ self, status: Status<'_>) {
                self.with(|buffer, number| buffer.status(number, status));
            }

            /// A better name, such as the route that was only found later. The sampler keeps the first one.
            pub fn rename($($this)+ self, name: impl Into<Cow<'static, str>>) {
                let name = name.into();
                self.with(|buffer, number| buffer.rename(number, name));
            }

            /// The work failed: an `exception` event with the error, what caused it and, where
            /// `RUST_BACKTRACE` asks for one, the stack of this call; and the status.
            pub fn record_error($($this)+ self, error: &(dyn Error + 'static)) {
                if !self.recorded() {
                    return;
                }
                let said = Exception::of(error);
                self.with(|buffer, number| said.say(buffer, number));
            }
        }
    };
}

sayings!(LocalSpan, &);
sayings!(Entered, &);
sayings!(Span, &mut);

/// An error in OpenTelemetry's words.
struct Exception {
    kind: String,
    message: String,
    stack: Option<String>,
}

/// Causes that are followed; a chain that is longer is cut.
const CAUSES_MAX: usize = 16;

impl Exception {
    fn of(error: &(dyn Error + 'static)) -> Self {
        let mut message = error.to_string();
        let causes =
            std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source());
        for cause in causes.take(CAUSES_MAX) {
            message.push_str(": ");
            message.push_str(&cause.to_string());
        }
        let stack = Backtrace::capture();
        let stack = (stack.status() == BacktraceStatus::Captured).then(|| stack.to_string());
        Self { kind: kind_of(error), message, stack }
    }

    fn say(&self, buffer: &mut Buffer, number: u32) {
        let kind = ("exception.type", Value::Text(&self.kind));
        let message = ("exception.message", Value::Text(&self.message));
        match &self.stack {
            Some(stack) => {
                let stack = ("exception.stacktrace", Value::Text(stack));
                buffer.event(number, "exception", &[kind, message, stack]);
            }
            None => buffer.event(number, "exception", &[kind, message]),
        }
        buffer.status(number, Status::Error(&self.message));
    }
}

/// The name `Debug` gives the value: a trait object does not know its type, and derived `Debug` begins with
/// the name of the type or variant.
fn kind_of(error: &(dyn Error + 'static)) -> String {
    let shown = format!("{error:?}");
    let name = shown.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
    if name.is_empty() { "error".to_owned() } else { name.to_owned() }
}
