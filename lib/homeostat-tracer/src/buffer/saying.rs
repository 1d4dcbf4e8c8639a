//! What is said of open spans.
//!
//! In: attributes, events, links, statuses and names. Out: entries at the end of the part's list, and their
//! texts at the end of its arena. Nothing is looked up and nothing is said twice: of an attribute that is said
//! again the export threads take the last.

use std::borrow::Cow;

use super::record::{Entry, Event, Held, Link, Outcome, Range, Record, Text, What};
use super::{Buffer, DETAILS_MAX, TEXT_BYTES_MAX};
use crate::clock::ticks;
use crate::context::Context;
use crate::value::{Kind, Status, Value};

/// Copies a text into the arena, cut where it is too long.
#[inline]
fn hold(arena: &mut Vec<u8>, text: &str) -> Range {
    let length =
        if text.len() <= TEXT_BYTES_MAX { text.len() } else { text.floor_char_boundary(TEXT_BYTES_MAX) };
    let at = arena.len() as u32;
    arena.extend_from_slice(&text.as_bytes()[..length]);
    Range { at, length: length as u32 }
}

#[inline]
fn hold_value(arena: &mut Vec<u8>, statics: &mut Vec<&'static str>, value: Value<'_>) -> Held {
    match value {
        Value::Text(text) => Held::Text(hold(arena, text)),
        Value::Static(text) => {
            let place = statics.len() as u32;
            statics.push(text);
            Held::Static(place)
        }
        Value::Bool(value) => Held::Bool(value),
        Value::I64(value) => Held::I64(value),
        Value::F64(value) => Held::F64(value),
    }
}

/// Counts `more` things of which a span may have [`DETAILS_MAX`]; how many of them are kept.
#[inline]
fn count(said: &mut u16, more: usize) -> usize {
    let room = usize::from(DETAILS_MAX.saturating_sub(*said));
    *said = said.saturating_add(u16::try_from(more).unwrap_or(u16::MAX));
    more.min(room)
}

impl Buffer {
    /// A name that is made at run time.
    pub(crate) fn hold_name(&mut self, name: &str) -> Text {
        Text::Held(hold(&mut self.text, name))
    }

    #[inline]
    fn record(&mut self, number: u32) -> Option<&mut Record> {
        let place = self.place(number)?;
        self.records.get_mut(place)
    }

    #[inline]
    pub(crate) fn attribute(&mut self, number: u32, key: &'static str, value: Value<'_>) {
        let Some(record) = self.record(number) else { return };
        if count(&mut record.attributes, 1) == 1 {
            let value = hold_value(&mut self.text, &mut self.statics, value);
            self.entries.push(Entry::valued(number, What::Attribute, key, value));
        }
    }

    /// Several at once: the span is looked up once.
    #[inline]
    pub(crate) fn attributes(&mut self, number: u32, attributes: &[(&'static str, Value<'_>)]) {
        let Some(record) = self.record(number) else { return };
        let kept = count(&mut record.attributes, attributes.len());
        self.add(number, What::Attribute, &attributes[..kept]);
    }

    #[inline]
    fn add(&mut self, number: u32, what: What, attributes: &[(&'static str, Value<'_>)]) {
        let Self { entries, text, statics, .. } = self;
        entries.extend(attributes.iter().map(|(key, value)| {
            let value = hold_value(text, statics, *value);
            Entry::valued(number, what, key, value)
        }));
    }

    pub(crate) fn event(&mut self, number: u32, name: &str, attributes: &[(&'static str, Value<'_>)]) {
        let Some(record) = self.record(number) else { return };
        if count(&mut record.events, 1) == 0 {
            return;
        }
        let (kept, dropped) = within_limit(attributes);
        self.entries.push(Entry::placed(number, What::Event, self.events.len()));
        let name = hold(&mut self.text, name);
        self.events.push(Event { at: ticks(), name, dropped });
        self.add(number, What::Detail, kept);
    }

    pub(crate) fn link(&mut self, number: u32, to: &Context, attributes: &[(&'static str, Value<'_>)]) {
        let Some(record) = self.record(number) else { return };
        if count(&mut record.links, 1) == 0 {
            return;
        }
        let (kept, dropped) = within_limit(attributes);
        self.entries.push(Entry::placed(number, What::Link, self.links.len()));
        let (trace, span) = (to.trace_id.to_bytes(), to.span_id.get());
        self.links.push(Link { trace, span, sampled: to.sampled, dropped });
        self.add(number, What::Detail, kept);
    }

    pub(crate) fn status(&mut self, number: u32, status: Status<'_>) {
        let Some(place) = self.place(number) else { return };
        let before = self.records[place].outcome;
        self.records[place].outcome = match status {
            Status::Unset => before,
            Status::Ok => Outcome::Ok,
            Status::Error(message) => {
                self.error = true;
                // The first time nobody has to look how often it was said.
                if !message.is_empty()
                    && (before == Outcome::Unset || self.messages(number) < DETAILS_MAX.into())
                {
                    let message = Held::Text(hold(&mut self.text, message));
                    self.entries.push(Entry::valued(number, What::Message, "", message));
                }
                Outcome::Error
            }
        };
    }

    fn messages(&self, number: u32) -> usize {
        let ours = |entry: &&Entry| entry.span == number && entry.what == What::Message;
        self.entries.iter().filter(ours).count()
    }

    pub(crate) fn kind(&mut self, number: u32, kind: Kind) {
        if let Some(record) = self.record(number) {
            record.kind = kind;
        }
    }

    pub(crate) fn rename(&mut self, number: u32, name: Cow<'static, str>) {
        let Some(place) = self.place(number) else { return };
        self.records[place].name = match name {
            Cow::Borrowed(name) => Text::Static(name),
            Cow::Owned(name) => self.hold_name(&name),
        };
    }
}

/// What an event or a link may have of `attributes`, and how many are too many.
fn within_limit<'a, 'v>(
    attributes: &'a [(&'static str, Value<'v>)],
) -> (&'a [(&'static str, Value<'v>)], u16) {
    let kept = attributes.len().min(usize::from(DETAILS_MAX));
    (&attributes[..kept], u16::try_from(attributes.len() - kept).unwrap_or(u16::MAX))
}
