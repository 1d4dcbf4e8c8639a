//! A part that has grown long hands over what has ended, without waiting for its first span.
//!
//! In: a buffer with open spans. Out: another with these alone, in which recording goes on; the ended ones stay
//! behind. Numbers and ids do not change, so guards and children do not notice.

use super::record::{Entry, Held, NONE, Range, Record, Text, What};
use super::{Buffer, DETAILS_MAX, TEXT_BYTES_MAX};

/// A part of this many spans or sayings, or bytes of text, is long: 4,096 records are 192 KiB.
const LONG_RECORDS: usize = 4096;
const LONG_ENTRIES: usize = 8192;
const LONG_TEXT_BYTES: usize = 512 * 1024;

/// Spans that may begin between two hand-overs: [`LONG_RECORDS`], the open ones, and as many again.
const NUMBERS_RESERVED: u32 = 1 << 16;

impl Buffer {
    /// Whether so much has ended that it is handed over before the root ends.
    /// What open spans may hold does not count: it would not go.
    pub(crate) fn is_long(&self) -> bool {
        let open = self.depth as usize;
        self.records.len() >= LONG_RECORDS + open
            || self.entries.len() >= LONG_ENTRIES + usize::from(DETAILS_MAX) * open
            || self.text.len() >= LONG_TEXT_BYTES + TEXT_BYTES_MAX * open
    }

    /// Whether [`Self::is_long`] is worth asking.
    #[inline]
    pub(super) fn may_be_long(&self) -> bool {
        self.records.len() >= LONG_RECORDS
            || self.entries.len() >= LONG_ENTRIES
            || self.text.len() >= LONG_TEXT_BYTES
    }

    /// Moves the open spans with all that was said of them into `rest`, which becomes the trace's buffer, and
    /// leaves the ended ones here.
    pub(crate) fn leave_open_to(&mut self, rest: &mut Self) {
        rest.renew(self.trace.clone(), self.part);
        rest.error = self.error;
        rest.join = self.join.clone();
        (rest.serial, rest.innermost) = (self.serial, self.innermost);
        (rest.depth, rest.loose) = (self.depth, self.loose);
        (rest.parent, rest.parent_is_remote) = (self.parent, self.parent_is_remote);
        // Two spans of one number would have one id.
        let next = self.next();
        rest.depth_max = if next < NONE - NUMBERS_RESERVED { self.depth_max } else { 0 };

        let mut line = Vec::with_capacity(self.depth as usize);
        let mut number = self.innermost;
        while let Some(place) = self.place(number) {
            line.push(self.records[place]);
            number = self.records[place].parent;
        }
        for record in line.iter().rev() {
            let name = rest.take_name(self, record.name);
            rest.records.push(Record { name, ..*record });
        }
        rest.moved = line.len() as u32;
        rest.base = next - rest.moved;
        let entries = std::mem::take(&mut self.entries);
        self.entries.reserve(entries.len());
        for entry in entries {
            match rest.place(entry.span) {
                Some(_) => rest.take_entry(self, entry),
                None => self.entries.push(entry),
            }
        }
        self.records.retain(|record| rest.place(record.number).is_none());
        (self.depth, self.loose, self.innermost) = (0, 0, NONE);
    }

    fn take_name(&mut self, from: &Self, name: Text) -> Text {
        match name {
            Text::Static(_) => name,
            Text::Held(range) => Text::Held(self.take_text(from, range)),
        }
    }

    fn take_text(&mut self, from: &Self, range: Range) -> Range {
        let text = from.held(range);
        let at = self.text.len() as u32;
        self.text.extend_from_slice(text);
        Range { at, length: text.len() as u32 }
    }

    fn take_entry(&mut self, from: &Self, entry: Entry) {
        let (span, what) = (entry.span, entry.what);
        let taken = match what {
            What::Event => {
                let Some(event) = from.events.get(entry.place()) else { return };
                let name = self.take_text(from, event.name);
                self.events.push(super::Event { name, ..*event });
                Entry::placed(span, what, self.events.len() - 1)
            }
            What::Link => {
                let Some(link) = from.links.get(entry.place()) else { return };
                self.links.push(*link);
                Entry::placed(span, what, self.links.len() - 1)
            }
            What::Attribute | What::Detail | What::Message => {
                let value = match entry.value() {
                    Held::Text(range) => Held::Text(self.take_text(from, range)),
                    Held::Static(place) => {
                        let Some(text) = from.statics.get(place as usize) else { return };
                        self.statics.push(text);
                        Held::Static(self.statics.len() as u32 - 1)
                    }
                    other => other,
                };
                Entry::valued(span, what, entry.key(), value)
            }
        };
        self.entries.push(taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Part, Trace};
    use crate::clock::ticks;
    use crate::sampling::Decision;
    use crate::{Kind, ids};

    fn trace() -> Trace {
        Trace {
            tracer: 0,
            trace_id: ids::trace_id(),
            random: true,
            randomness: None,
            decision: Decision::Keep(None),
            operation: None,
            carried: None,
        }
    }

    #[test]
    fn spans_that_would_get_an_id_twice_are_refused_and_counted() {
        let mut first = Buffer::new(trace(), Part::Root);
        first.begin("root".into(), Kind::Internal, None);
        first.base = NONE - NUMBERS_RESERVED - 1;
        first.moved = 1;
        let last = first.child(Text::Static("last")).expect("there are numbers left");
        first.end(last, ticks());
        let mut rest = Buffer::new(trace(), Part::Root);
        first.leave_open_to(&mut rest);
        assert_eq!((first.created(), rest.created()), (1, 1));
        assert_eq!(rest.child(Text::Static("one more")), None);
        assert_eq!((rest.refused, rest.created()), (1, 2));
        rest.end_all();
        assert!(rest.records[0].end > 0);
    }
}
