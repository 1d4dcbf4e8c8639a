//! Contexts in headers: W3C trace context and baggage, and what Envoy and Istio send.
//!
//! In: any carrier of headers. Out: a [`Context`], or headers written from one. Reading is strict as the
//! recommendation asks: what is malformed is as if it were not there, and the trace begins anew. B3 headers
//! count only where there is no `traceparent` at all. Deliberately absent: B3 going out unless asked
//! ([`inject_b3`]), and every vendor's own format.

pub(crate) mod b3;
mod carriers;
pub(crate) mod traceparent;
pub(crate) mod tracestate;

use std::borrow::Cow;
use std::sync::Arc;

use crate::baggage::Baggage;
use crate::buffer::Buffer;
use crate::context::{Carried, Context};
use crate::local::{self, Active};

/// Headers to read.
pub trait Extract {
    /// Calls `each` with the value of every header of this name, in order. `name` is lower-case; where names
    /// of the carrier ignore case (HTTP), so does this.
    fn each(&self, name: &str, each: &mut dyn FnMut(&[u8]));
}

/// Headers to write.
pub trait Inject {
    /// Sets a header in place of every one of this name. `value` is visible ASCII with spaces.
    fn set(&mut self, name: &'static str, value: &str);
}

/// Bytes of an `x-request-id` that are carried on; Envoy's are 36.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Reads a context. None where there is none, or none that is well-formed: then a span with it as parent
/// begins a new trace, and what came beside it is not passed on.
///
/// Baggage and `x-request-id` without a well-formed parent are not lost to the service: see
/// [`extract_baggage`] and the carrier itself.
pub fn extract(headers: &(impl Extract + ?Sized)) -> Option<Context> {
    let mut parents = Sole::Absent;
    headers.each(traceparent::NAME, &mut |value| parents.add(traceparent::read(value)));
    let mut state = tracestate::Reader::default();
    let mut context = match parents {
        Sole::One(parent) => {
            let parent = parent?;
            headers.each(tracestate::NAME, &mut |value| state.add(value));
            parent
        }
        Sole::Several => return None,
        Sole::Absent => b3::extract(headers)?,
    };
    let mut carried = Carried::default();
    state.finish(&mut context, &mut carried);
    headers.each(BAGGAGE, &mut |value| carried.baggage.read(value));
    headers.each(REQUEST_ID, &mut |value| carried.request_id = request_id(value));
    context.carried = carried.shared();
    Some(context)
}

/// Reads the baggage alone.
pub fn extract_baggage(headers: &(impl Extract + ?Sized)) -> Baggage {
    let mut baggage = Baggage::new();
    headers.each(BAGGAGE, &mut |value| baggage.read(value));
    baggage
}

/// Writes the span in scope on this thread as parent. Nothing where none is in scope.
pub fn inject(headers: &mut (impl Inject + ?Sized)) {
    let outgoing = local::with_active(|active| Outgoing::of(active)).flatten();
    if let Some(outgoing) = outgoing {
        outgoing.write(headers);
    }
}

/// Writes this context as parent.
pub fn inject_context(context: &Context, headers: &mut (impl Inject + ?Sized)) {
    Outgoing::from_context(context).write(headers);
}

/// Writes this context as one B3 header as well, for proxies that are set to Zipkin's format.
pub fn inject_b3(context: &Context, headers: &mut (impl Inject + ?Sized)) {
    headers.set(b3::SINGLE, &b3::single(context));
}

const BAGGAGE: &str = "baggage";
const REQUEST_ID: &str = "x-request-id";

/// A header that may stand once.
#[derive(Clone)]
enum Sole<T> {
    Absent,
    One(T),
    Several,
}

impl<T> Sole<T> {
    fn add(&mut self, value: T) {
        *self = match self {
            Self::Absent => Self::One(value),
            Self::One(_) | Self::Several => Self::Several,
        };
    }
}

fn request_id(value: &[u8]) -> Option<Box<str>> {
    let fits = !value.is_empty() && value.len() <= REQUEST_ID_BYTES_MAX;
    let text = std::str::from_utf8(value).ok().filter(|_| fits)?;
    text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| text.into())
}

/// Headers about to be written: made while the thread's scope is borrowed, written after, because a carrier
/// is the user's code.
pub(crate) struct Outgoing {
    parent: [u8; traceparent::LENGTH],
    state: Option<Cow<'static, str>>,
    carried: Option<Arc<Carried>>,
}

impl Outgoing {
    pub(crate) fn of(active: &Active) -> Option<Self> {
        match active {
            Active::Nothing => None,
            Active::Passive(context) => Some(Self::from_context(context)),
            Active::Recording(buffer) => Self::of_buffer(buffer),
        }
    }

    fn of_buffer(buffer: &Buffer) -> Option<Self> {
        buffer.point().map(|point| Self::from_context(&point))
    }

    fn from_context(context: &Context) -> Self {
        Self {
            parent: traceparent::written(context),
            state: tracestate::written(context),
            carried: context.carried.clone(),
        }
    }

    pub(crate) fn write(&self, headers: &mut (impl Inject + ?Sized)) {
        if let Ok(parent) = std::str::from_utf8(&self.parent) {
            headers.set(traceparent::NAME, parent);
        }
        if let Some(state) = &self.state {
            headers.set(tracestate::NAME, state);
        }
        let Some(carried) = &self.carried else { return };
        if let Some(baggage) = carried.baggage.header() {
            headers.set(BAGGAGE, &baggage);
        }
        if let Some(id) = &carried.request_id {
            headers.set(REQUEST_ID, id);
        }
    }
}
