//! Callers meet callees: a span that calls out, and the span of another service that it caused.
//!
//! In: boundary spans, those of kind client or producer (callers) and server or consumer with a parent (callees), in
//! any order. Out: pairs, and after a minute what stayed alone. The table is bounded: under a flood the minute gets
//! shorter, and what had to go early is told like what stayed alone.

use hashbrown::HashTable;

/// Boundary spans that wait: 64 bytes each, 32 MiB in all. Where 8,000 a second find nobody, each still waits its full
/// minute.
pub(crate) const WAITING_MAX: usize = 1 << 19;

/// Callers that met a callee and stay for another one, as those of messages may have: 256 KiB, which
/// stay in the cache.
const MET_MAX: usize = 1 << 12;

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

/// The table.
///
/// Those that wait and those that met are lists through one slab, each by age. A place that becomes free is the next
/// to be used, so that while both sides come soon after each other, however many, the table stays in the cache.
#[derive(Debug, Default)]
pub(crate) struct Join {
    slots: Vec<Slot>,
    free: Vec<u32>,
    waiting: List,
    met: List,
    by_key: HashTable<u32>,
    /// Those that wait for the caller just looked at.
    callees: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    span: Boundary,
    older: u32,
    newer: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct List {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { oldest: NONE, newest: NONE, len: 0 }
    }
}

impl List {
    fn push(&mut self, slots: &mut [Slot], at: u32) {
        (slots[at as usize].older, slots[at as usize].newer) = (self.newest, NONE);
        match slots.get_mut(self.newest as usize) {
            Some(before) => before.newer = at,
            None => self.oldest = at,
        }
        self.newest = at;
        self.len += 1;
    }

    fn take(&mut self, slots: &mut [Slot], at: u32) {
        let Slot { older, newer, .. } = slots[at as usize];
        match slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }
}

impl Join {
    /// Takes in a boundary span at `now`; shows each pair it completes, as caller and callee. A caller that is there
    /// already was sent twice and is left out.
    pub(crate) fn meet(&mut self, span: Boundary, mut pair: impl FnMut(&Boundary, &Boundary)) -> Met {
        let Self { slots, waiting, met, callees, .. } = self;
        callees.clear();
        for &at in self.by_key.iter_hash(span.key) {
            let other = &mut slots[at as usize].span;
            if other.key != span.key {
                continue;
            }
            match (span.side, other.side) {
                (Side::Caller, Side::Caller) => return Met::Heard,
                // A span has one parent, and need not wait once it is found.
                (Side::Callee, Side::Caller) => {
                    let first = !std::mem::replace(&mut other.matched, true);
                    pair(other, &span);
                    if first {
                        waiting.take(slots, at);
                        met.push(slots, at);
                    }
                    return Met::Heard;
                }
                (_, Side::Callee) if callees.len() == SAME_MAX => return Met::Crowd,
                (_, Side::Callee) => callees.push(at),
            }
        }
        match span.side {
            Side::Callee => self.insert(span),
            Side::Caller => {
                let matched = !self.callees.is_empty();
                while let Some(at) = self.callees.pop() {
                    pair(&span, &self.slots[at as usize].span);
                    self.remove(at);
                }
                self.insert(Boundary { matched, ..span });
            }
        }
        Met::Heard
    }

    fn insert(&mut self, span: Boundary) {
        let slot = Slot { span, older: NONE, newer: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        let list = if span.matched { &mut self.met } else { &mut self.waiting };
        list.push(&mut self.slots, at);
        let slots = &self.slots;
        self.by_key.insert_unique(span.key, at, |&at| slots[at as usize].span.key);
    }

    fn remove(&mut self, at: u32) {
        let Boundary { key, matched, .. } = self.slots[at as usize].span;
        let list = if matched { &mut self.met } else { &mut self.waiting };
        list.take(&mut self.slots, at);
        if let Ok(entry) = self.by_key.find_entry(key, |&known| known == at) {
            entry.remove();
        }
        self.free.push(at);
    }

    /// Lets go of those that waited long enough at `now` (seconds since 1970), and of the oldest where more than
    /// `most` wait; shows those that stayed alone.
    pub(crate) fn expire(&mut self, now: u32, most: usize, mut alone: impl FnMut(&Boundary)) {
        while let Some(oldest) = self.slots.get(self.waiting.oldest as usize)
            && (now.saturating_sub(oldest.span.arrived) >= WAIT_S || self.waiting.len > most)
        {
            alone(&oldest.span);
            self.remove(self.waiting.oldest);
        }
        while let Some(oldest) = self.slots.get(self.met.oldest as usize)
            && (now.saturating_sub(oldest.span.arrived) >= WAIT_S || self.met.len > MET_MAX)
        {
            self.remove(self.met.oldest);
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len
    }
}
