//! `traceparent` of the W3C recommendation, level 2, which reads level 1.
//!
//! In: a header's bytes. Out: ids and flags, or nothing. A version we do not know is read as far as version 00
//! goes, if what follows is set apart by a dash; `ff` is no version.

use crate::baggage::OWS;
use crate::context::Context;
use crate::ids::{self, SpanId, TraceId};

pub(crate) const NAME: &str = "traceparent";

/// `00-<32>-<16>-<2>`.
pub(crate) const LENGTH: usize = 55;

const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Reads one header.
pub(crate) fn read(header: &[u8]) -> Option<Context> {
    let header = trimmed(header);
    let (fixed, rest) = header.split_at_checked(LENGTH)?;
    let dashes = [2, 35, 52].iter().all(|at| fixed[*at] == b'-');
    let version = ids::hex(&fixed[..2])? as u8;
    let follows = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    if !(dashes && follows) {
        return None;
    }
    let trace_id = TraceId::new(ids::hex(&fixed[3..35])?)?;
    let span_id = SpanId::new(ids::hex(&fixed[36..52])? as u64)?;
    let flags = ids::hex(&fixed[53..])? as u8;
    let mut context = Context::remote(trace_id, span_id, flags & SAMPLED != 0);
    context.random = flags & RANDOM != 0;
    Some(context)
}

/// The header, as version 00.
pub(crate) fn written(context: &Context) -> [u8; LENGTH] {
    let mut header = *b"00-00000000000000000000000000000000-0000000000000000-00";
    ids::write_hex(&context.trace_id.to_bytes(), &mut header[3..35]);
    ids::write_hex(&context.span_id.to_bytes(), &mut header[36..52]);
    let flags = u8::from(context.sampled) * SAMPLED + u8::from(context.random) * RANDOM;
    ids::write_hex(&[flags], &mut header[53..]);
    header
}

/// Without optional white space around it.
pub(crate) fn trimmed(mut value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| OWS.contains(&char::from(*byte));
    while let [first, rest @ ..] = value
        && is_space(first)
    {
        value = rest;
    }
    while let [rest @ .., last] = value
        && is_space(last)
    {
        value = rest;
    }
    value
}
