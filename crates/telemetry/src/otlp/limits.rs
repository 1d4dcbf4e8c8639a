//! How much of one span or record is kept.

use protowire::Fault;

use super::value::attribute;
use crate::column::{Attributes, Repeated, Scalar};

/// Longest key; longer ones are left out. Generated keys of this length are a mistake of their sender.
const KEY_BYTES: usize = 256;

/// How much of one span or record is kept. What is beyond is left out, counted in its `dropped` counts and in
/// [`crate::Counters`]; the rest is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of one span, event, link or record. OpenTelemetry's SDKs stop at 128 themselves.
    pub attributes: usize,
    /// Bytes of one text or bytes value, and of a name, status message, severity text or body; longer ones are cut. A
    /// Java stack trace has 5 to 30 KiB.
    pub value_bytes: usize,
    /// Events of one span.
    pub events: usize,
    /// Links of one span.
    pub links: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { attributes: 256, value_bytes: 32 * 1024, events: 1024, links: 1024 }
    }
}

/// Longest tracestate; of a longer one nothing is kept. Half an entry makes no sense, and nobody has to pass on more
/// than this (W3C Trace Context, 3.3.1.5).
const TRACE_STATE_BYTES: usize = 512;

impl Limits {
    /// A text within its limit; where it has to be cut, `cut` counts it.
    #[inline]
    pub(crate) fn text<'a>(&self, text: &'a [u8], cut: &mut u64) -> &'a [u8] {
        if text.len() <= self.value_bytes {
            return text;
        }
        *cut += 1;
        &text[..character_boundary(text, self.value_bytes)]
    }

    /// A tracestate, or none where it is too long, which `cut` counts.
    #[inline]
    pub(crate) fn trace_state<'a>(&self, state: &'a [u8], cut: &mut u64) -> &'a [u8] {
        if state.len() <= TRACE_STATE_BYTES {
            return state;
        }
        *cut += 1;
        &[]
    }
}

/// What limits left out of a request, or cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Left {
    pub(crate) attributes: u64,
    pub(crate) values_cut: u64,
    pub(crate) events: u64,
    pub(crate) links: u64,
}

/// An item whose attributes are being read: a span, an event, a link or a record.
pub(crate) struct Item<'b> {
    pub(crate) attributes: &'b mut Attributes,
    pub(crate) limits: &'b Limits,
    pub(crate) left: &'b mut Left,
}

impl Item<'_> {
    /// Adds one `KeyValue` message; answers how many attributes were left out: 0 or 1.
    #[inline]
    pub(crate) fn attribute(&mut self, message: &[u8]) -> Result<u32, Fault> {
        let room = self.attributes.begun() < self.limits.attributes;
        if room && self.attributes.repeat(message) == Repeated::Yes {
            return Ok(0);
        }
        let (key, value) = attribute(message)?;
        let known = room && !key.is_empty() && key.len() <= KEY_BYTES;
        let Some(value) = value.filter(|_| known).and_then(|value| self.cut(value)) else {
            self.left.attributes += 1;
            return Ok(1);
        };
        if !key.is_ascii() && std::str::from_utf8(key).is_err() {
            self.left.attributes += 1;
            return Ok(1);
        }
        self.attributes.push(key, value, message);
        Ok(0)
    }

    /// The value within its limit; `None` for a list or map that is too large, of which no part makes sense.
    #[inline]
    pub(crate) fn cut<'a>(&mut self, value: Scalar<'a>) -> Option<Scalar<'a>> {
        let limit = self.limits.value_bytes;
        match value {
            Scalar::Text(text) => Some(Scalar::Text(self.limits.text(text, &mut self.left.values_cut))),
            Scalar::Bytes(bytes) if bytes.len() > limit => {
                self.left.values_cut += 1;
                Some(Scalar::Bytes(&bytes[..limit]))
            }
            Scalar::Any(message) if message.len() > limit => None,
            value => Some(value),
        }
    }
}

/// The last place at or before `limit` where a UTF-8 character begins.
fn character_boundary(text: &[u8], limit: usize) -> usize {
    (0..=limit).rev().take(4).find(|&i| text[i] & 0xc0 != 0x80).unwrap_or(limit)
}
