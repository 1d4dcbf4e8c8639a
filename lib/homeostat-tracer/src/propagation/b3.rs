//! B3, the headers of Zipkin, which Envoy and Istio send where they are set to it.
//!
//! In: `b3`, or `x-b3-traceid` and its kin. Out: a context. A trace id of 64 bits is filled up with zeros and
//! so is not random. A sampling decision without ids (`b3: 0`) is no parent.

use super::traceparent::trimmed;
use super::{Extract, Sole};
use crate::context::Context;
use crate::ids::{self, SpanId, TraceId};

pub(crate) const SINGLE: &str = "b3";

/// Reads the single header or, where there is none, the several.
pub(crate) fn extract(headers: &(impl Extract + ?Sized)) -> Option<Context> {
    let mut single = Sole::Absent;
    headers.each(SINGLE, &mut |value| single.add(read_single(value)));
    match single {
        Sole::One(context) => context,
        Sole::Several => None,
        Sole::Absent => read_several(headers),
    }
}

/// `{trace}-{span}`, then perhaps `-{sampled}` and `-{parent}`.
fn read_single(value: &[u8]) -> Option<Context> {
    let mut parts = trimmed(value).split(|byte| *byte == b'-');
    let (trace, span) = (parts.next()?, parts.next()?);
    let sampled = parts.next();
    let parent = parts.next();
    let parent_is_id = parent.is_none_or(|parent| span_id(parent).is_some());
    if parts.next().is_some() || !parent_is_id {
        return None;
    }
    // Nothing said leaves the decision to us, and what is left to us is recorded.
    let sampled = match sampled {
        None | Some(b"1" | b"d") => true,
        Some(b"0") => false,
        Some(_) => return None,
    };
    Some(Context::remote(trace_id(trace)?, span_id(span)?, sampled))
}

fn read_several(headers: &(impl Extract + ?Sized)) -> Option<Context> {
    let mut context = Context::remote(
        sole(headers, "x-b3-traceid", trace_id)?,
        sole(headers, "x-b3-spanid", span_id)?,
        true,
    );
    let sampled = sole(headers, "x-b3-sampled", |value| match value {
        b"1" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    });
    let debug = sole(headers, "x-b3-flags", |value| (value == b"1").then_some(true));
    context.sampled = debug.or(sampled).unwrap_or(true);
    Some(context)
}

fn sole<T>(headers: &(impl Extract + ?Sized), name: &str, read: fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut found = Sole::Absent;
    headers.each(name, &mut |value| found.add(read(trimmed(value))));
    match found {
        Sole::One(value) => value,
        Sole::Absent | Sole::Several => None,
    }
}

fn trace_id(digits: &[u8]) -> Option<TraceId> {
    matches!(digits.len(), 16 | 32).then(|| ids::hex(digits)).flatten().and_then(TraceId::new)
}

fn span_id(digits: &[u8]) -> Option<SpanId> {
    (digits.len() == 16).then(|| ids::hex(digits)).flatten().and_then(|id| SpanId::new(id as u64))
}

/// The single header.
pub(crate) fn single(context: &Context) -> String {
    format!("{}-{}-{}", context.trace_id, context.span_id, u8::from(context.sampled))
}
