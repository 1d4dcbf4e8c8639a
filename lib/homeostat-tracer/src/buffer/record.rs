//! How spans and what is said of them lie in memory.
//!
//! In: nothing. Out: [`Record`], three quarters of a cache line a span, and [`Entry`], half of one an attribute.
//! Every byte here is written by a service's thread and read by an export thread on another processor, which
//! costs more than the instructions that write it: that is why ids are numbers in the part, counts are two bytes
//! and everything rare (events, links, texts by address) lies in lists of its own.

use crate::value::Kind;

/// No span.
pub(super) const NONE: u32 = u32::MAX;

/// A span as recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) start: u64,
    /// Zero while it is open.
    pub(crate) end: u64,
    pub(crate) name: Text,
    /// Counted from zero in the part; the id follows from it.
    pub(crate) number: u32,
    /// The parent's number; [`NONE`] for the first span, whose parent lies elsewhere.
    pub(super) parent: u32,
    /// What was said of it, with what was too much: that is not kept, and so the difference is what was dropped.
    pub(super) attributes: u16,
    pub(super) events: u16,
    pub(super) links: u16,
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
}

/// A status without its message, which is an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Unset,
    Ok,
    Error,
}

/// A name, by address or in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Text {
    Static(&'static str),
    Held(Range),
}

/// Where a text lies in the arena.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(super) at: u32,
    pub(super) length: u32,
}

impl Range {
    fn packed(self) -> u64 {
        u64::from(self.at) << 32 | u64::from(self.length)
    }

    fn unpacked(packed: u64) -> Self {
        Self { at: (packed >> 32) as u32, length: packed as u32 }
    }
}

/// Something said of a span: what it is, and 64 bits whose meaning `form` tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    key: &'static str,
    bits: u64,
    /// The number of the span.
    pub(super) span: u32,
    pub(super) what: What,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Attribute,
    /// An attribute of the event or link before it.
    Detail,
    /// Its place among the events.
    Event,
    /// Its place among the links.
    Link,
    /// What an error's status says.
    Message,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    /// Place in the arena.
    Held,
    /// Place in the list of texts by address, and of events and links in theirs.
    Place,
    Bool,
    I64,
    F64,
}

/// A value as recorded.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held {
    Text(Range),
    /// Place in the list of texts by address.
    Static(u32),
    Bool(bool),
    I64(i64),
    F64(f64),
}

const _: () =
    assert!(size_of::<Record>() == 48 && size_of::<Entry>() == 32, "the service pays for every byte");

impl Record {
    #[inline]
    pub(super) fn open(number: u32, parent: u32, name: Text, kind: Kind, start: u64) -> Self {
        let (attributes, events, links, outcome) = (0, 0, 0, Outcome::Unset);
        Self { start, end: 0, name, number, parent, attributes, events, links, kind, outcome }
    }
}

impl Entry {
    #[inline]
    pub(super) fn valued(span: u32, what: What, key: &'static str, value: Held) -> Self {
        let (form, bits) = match value {
            Held::Text(range) => (Form::Held, range.packed()),
            Held::Static(place) => (Form::Place, u64::from(place)),
            Held::Bool(value) => (Form::Bool, u64::from(value)),
            Held::I64(value) => (Form::I64, value.cast_unsigned()),
            Held::F64(value) => (Form::F64, value.to_bits()),
        };
        Self { key, bits, span, what, form }
    }

    /// An event or a link, at `place` of its list.
    pub(super) fn placed(span: u32, what: What, place: usize) -> Self {
        Self { key: "", bits: place as u64, span, what, form: Form::Place }
    }

    pub(super) fn key(&self) -> &'static str {
        self.key
    }

    /// Where an event or a link lies in its list.
    pub(super) fn place(&self) -> usize {
        self.bits as usize
    }

    pub(super) fn value(&self) -> Held {
        match self.form {
            Form::Held => Held::Text(Range::unpacked(self.bits)),
            Form::Place => Held::Static(self.bits as u32),
            Form::Bool => Held::Bool(self.bits != 0),
            Form::I64 => Held::I64(self.bits.cast_signed()),
            Form::F64 => Held::F64(f64::from_bits(self.bits)),
        }
    }
}

/// An event, but for its attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(super) name: Range,
    /// Attributes that were too many.
    pub(crate) dropped: u16,
}

/// A link, but for its attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) trace: [u8; 16],
    pub(crate) span: u64,
    pub(crate) sampled: bool,
    /// Attributes that were too many.
    pub(crate) dropped: u16,
}
