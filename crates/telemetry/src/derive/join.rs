//! Callers meet callees: a span that calls out, and the span of another service that it caused.
//!
//! In: boundary spans, those of kind client or producer (callers) and server or consumer with a parent (callees), in
//! any order. Out: pairs, and after a minute what stayed alone. The table is bounded: under a flood the minute gets
//! shorter, and what had to go early is told like what stayed alone.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// Boundary spans that wait: 48 bytes each, 24 MiB in all. At 5,000 calls a second each waits its full minute.
pub(crate) const WAITING_MAX: usize = 1 << 19;

/// How long a boundary span waits for the other side, seconds from its arrival.
pub(crate) const WAIT_S: u32 = 60;

/// Which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Callee,
}

/// Whether the caller waits for the callee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Client and server.
    Call,
    /// Producer and consumer.
    Message,
}

/// A span at the border of its service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Boundary {
    /// Hash of the trace and the caller's span: the same on both sides, and of 64 good bits, so that two calls among
    /// those that wait are taken for each other once in a hundred million floods.
    pub(crate) key: u64,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) weight: u64,
    pub(crate) service: u32,
    /// What the caller's attributes call the other side; 0 where they say nothing.
    pub(crate) peer: u32,
    /// Seconds since 1970.
    pub(crate) arrived: u32,
    pub(crate) side: Side,
    pub(crate) manner: Manner,
    pub(crate) error: bool,
    pub(crate) matched: bool,
}

/// Callees of one caller that may wait: each is looked at when the next one comes.
const SAME_MAX: usize = 64;

/// Whether there was room for a boundary span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    Heard,
    /// Too many wait for the same caller: this one is let go of.
    Crowd,
}

/// The table of those that wait.
#[derive(Debug, Default)]
pub(crate) struct Join {
    waiting: VecDeque<Boundary>,
    /// The number of the first in `waiting`, counted from the first ever; wraps.
    first: u32,
    by_key: HashTable<u32>,
}

impl Join {
    /// Takes in a boundary span; shows each pair it completes, as caller and callee. A caller that waits already was
    /// sent twice and is left out.
    pub(crate) fn meet(&mut self, mut span: Boundary, mut pair: impl FnMut(&Boundary, &Boundary)) -> Met {
        let (waiting, first) = (&mut self.waiting, self.first);
        let mut same = 0;
        for &number in self.by_key.iter_hash(span.key) {
            let Some(other) = waiting.get_mut(number.wrapping_sub(first) as usize) else { continue };
            if other.key != span.key {
                continue;
            }
            same += 1;
            match (span.side, other.side) {
                (Side::Caller, Side::Caller) => return Met::Heard,
                (Side::Callee, Side::Callee) if same >= SAME_MAX => return Met::Crowd,
                (Side::Callee, Side::Callee) => continue,
                (Side::Caller, Side::Callee) | (Side::Callee, Side::Caller) => {}
            }
            match span.side {
                // A span has one parent, and need not wait once it is found.
                Side::Callee => {
                    other.matched = true;
                    pair(other, &span);
                    return Met::Heard;
                }
                Side::Caller if !other.matched => {
                    other.matched = true;
                    span.matched = true;
                    pair(&span, other);
                }
                Side::Caller => {}
            }
        }
        self.insert(span);
        Met::Heard
    }

    fn insert(&mut self, span: Boundary) {
        let number = self.first.wrapping_add(self.waiting.len() as u32);
        self.waiting.push_back(span);
        let (waiting, first) = (&self.waiting, self.first);
        self.by_key.insert_unique(span.key, number, |&number| {
            waiting.get(number.wrapping_sub(first) as usize).map_or(0, |span| span.key)
        });
    }

    /// Lets go of those that waited long enough at `now` (seconds since 1970), and of the oldest where there are more
    /// than `most`; shows those that stayed alone.
    pub(crate) fn expire(&mut self, now: u32, most: usize, mut alone: impl FnMut(&Boundary)) {
        while let Some(oldest) = self.waiting.front()
            && (now.saturating_sub(oldest.arrived) >= WAIT_S || self.waiting.len() > most)
        {
            let number = self.first;
            if let Ok(entry) = self.by_key.find_entry(oldest.key, |&known| known == number) {
                entry.remove();
            }
            if !oldest.matched {
                alone(oldest);
            }
            self.waiting.pop_front();
            self.first = self.first.wrapping_add(1);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}
