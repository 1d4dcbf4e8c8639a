//! A part as an export thread reads it.
//!
//! In: an ended part. Out: its spans, each with what was said of it, in the order in which it was said.

use super::record::{Entry, Event, Held, Link, Outcome, Record, Text, What};
use super::{Buffer, DETAILS_MAX, TEXT_BYTES_MAX};
use crate::ids::SpanId;

/// What was said of one span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'a> {
    part: &'a Buffer,
    entries: &'a [Entry],
}

/// One thing that was said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Saying<'a> {
    Attribute {
        key: &'static str,
        value: Spoken<'a>,
    },
    Event {
        name: &'a [u8],
        event: Event,
    },
    Link(Link),
    /// Belongs to the event or link before it.
    Detail {
        key: &'static str,
        value: Spoken<'a>,
    },
}

/// A value that was said.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Spoken<'a> {
    Text(&'a [u8]),
    Bool(bool),
    I64(i64),
    F64(f64),
}

impl Buffer {
    /// Puts what was said in the order of the spans. Mostly it is in order already, or nearly: what is said of
    /// a span while another is open inside it is all that moves.
    pub(crate) fn sort(&mut self) {
        self.entries.sort_by_key(|entry| entry.span);
    }

    /// Calls `each` with every span and what was said of it; [`Self::sort`] comes before.
    pub(crate) fn each_span(&self, mut each: impl FnMut(&Record, Said<'_>)) {
        let mut rest = self.entries.as_slice();
        for record in &self.records {
            let mine = rest.iter().take_while(|entry| entry.span <= record.number).count();
            let (entries, later) = rest.split_at(mine);
            rest = later;
            each(record, Said { part: self, entries });
        }
    }

    pub(crate) fn span_id(&self, record: &Record) -> SpanId {
        self.id_of(record.number)
    }

    /// The id of a span's parent, zero for none, and whether that lies in another process.
    pub(crate) fn parent_of(&self, record: &Record) -> (u64, bool) {
        match record.number {
            0 => (self.parent, self.parent_is_remote),
            _ => (self.id_of(record.parent).get(), false),
        }
    }

    pub(crate) fn name_of<'a>(&'a self, record: &Record) -> &'a [u8] {
        match record.name {
            Text::Static(name) => cut(name),
            Text::Held(range) => self.held(range),
        }
    }

    pub(super) fn held(&self, range: super::record::Range) -> &[u8] {
        let (at, length) = (range.at as usize, range.length as usize);
        self.text.get(at..at + length).unwrap_or_default()
    }

    fn spoken(&self, entry: &Entry) -> Spoken<'_> {
        match entry.value() {
            Held::Text(range) => Spoken::Text(self.held(range)),
            Held::Static(place) => {
                Spoken::Text(self.statics.get(place as usize).map_or(&[], |text| cut(text)))
            }
            Held::Bool(value) => Spoken::Bool(value),
            Held::I64(value) => Spoken::I64(value),
            Held::F64(value) => Spoken::F64(value),
        }
    }
}

/// The bytes of a text, up to the limit.
fn cut(text: &'static str) -> &'static [u8] {
    &text.as_bytes()[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

impl Record {
    /// Attributes, events and links that were too many.
    pub(crate) fn dropped(&self) -> [u16; 3] {
        [self.attributes, self.events, self.links].map(|said| said.saturating_sub(DETAILS_MAX))
    }
}

impl<'a> Said<'a> {
    pub(crate) fn is_empty(self) -> bool {
        self.entries.is_empty()
    }

    /// Everything but the status; of an attribute said twice the last one.
    pub(crate) fn sayings(self) -> impl Iterator<Item = Saying<'a>> {
        self.entries.iter().enumerate().filter_map(move |(place, entry)| self.saying(place, entry))
    }

    fn saying(self, place: usize, entry: &'a Entry) -> Option<Saying<'a>> {
        let key = entry.key();
        match entry.what {
            What::Attribute if self.is_said_again(place, key) => None,
            What::Attribute => Some(Saying::Attribute { key, value: self.part.spoken(entry) }),
            What::Detail => Some(Saying::Detail { key, value: self.part.spoken(entry) }),
            What::Event => {
                let event = *self.part.events.get(entry.place())?;
                Some(Saying::Event { name: self.part.held(event.name), event })
            }
            What::Link => self.part.links.get(entry.place()).copied().map(Saying::Link),
            What::Message => None,
        }
    }

    fn is_said_again(self, place: usize, key: &str) -> bool {
        self.entries[place + 1..].iter().any(|later| later.what == What::Attribute && later.key() == key)
    }

    /// The last message of a failed span.
    pub(crate) fn message(self, outcome: Outcome) -> Option<&'a [u8]> {
        let said = self.entries.iter().rfind(|entry| entry.what == What::Message);
        match (outcome, said?.value()) {
            (Outcome::Error, Held::Text(range)) => Some(self.part.held(range)),
            _ => None,
        }
    }
}
