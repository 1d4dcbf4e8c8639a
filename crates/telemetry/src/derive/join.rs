//! Callers meet callees: a span that calls out, and the span of another service that it caused.
//!
//! ```text
//! boundary spans of a batch ─► meet within the batch ─► who is alone, and callers that met ─► meet those before
//! ```
//!
//! In: boundary spans, those of kind client or producer (callers) and server or consumer with a parent (callees), in
//! any order. Out: pairs, and after a minute what stayed alone. The table is bounded: under a flood the minute gets
//! shorter, and what had to go early is told like what stayed alone.
//!
//! Most of the time goes to waiting for memory: under a flood the table does not fit into the caches, and each look at
//! it is a miss. Hence first the batch, which does fit; then looks in groups of [`GROUP`], which wait side by side.

use std::collections::VecDeque;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Boundary spans that wait: 64 bytes each, 32 MiB in all. Where 8,000 a second find nobody, each still waits its full
/// minute.
pub(crate) const WAITING_MAX: usize = 1 << 19;

/// Callers that met a callee and stay for another one, as those of messages may have: 220 KiB, which stay in the cache.
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

/// Boundary spans that are looked for at a time: about as many as a processor's window for instructions holds looks.
const GROUP: usize = 16;

/// The boundary spans of one batch.
#[derive(Debug, Default)]
pub(crate) struct Boundaries {
    callers: Vec<Boundary>,
    callees: Vec<Boundary>,
    /// Callers by key: each once.
    by_key: HashTable<u32>,
}

impl Boundaries {
    pub(crate) fn push(&mut self, span: Boundary) {
        match span.side {
            Side::Caller => self.callers.push(span),
            Side::Callee => self.callees.push(span),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.callers.clear();
        self.callees.clear();
    }

    /// Shows each pair, as caller and callee; those callees are gone afterwards. Of a caller sent twice one is left.
    fn meet(&mut self, mut pair: impl FnMut(&Boundary, &Boundary)) {
        let Self { callers, callees, by_key } = self;
        by_key.clear();
        by_key.reserve(callers.len(), |_| 0);
        let mut kept = 0;
        for at in 0..callers.len() {
            let key = callers[at].key;
            let same = |&known: &u32| callers[known as usize].key == key;
            if let Entry::Vacant(entry) = by_key.entry(key, same, |&known| callers[known as usize].key) {
                entry.insert(kept as u32);
                callers[kept] = callers[at];
                kept += 1;
            }
        }
        callers.truncate(kept);
        callees.retain(|callee| {
            let Some(&at) = by_key.find(callee.key, |&at| callers[at as usize].key == callee.key) else {
                return true;
            };
            let caller = &mut callers[at as usize];
            caller.matched = true;
            pair(caller, callee);
            false
        });
    }
}

/// Callers that met, the newest of them: looked at by every callee that comes alone, and small enough for the caches.
#[derive(Debug, Default)]
struct MetCallers {
    /// By age.
    callers: VecDeque<Boundary>,
    /// The number of the first of `callers`, counted on from one to the next.
    first: u32,
    /// Numbers.
    by_key: HashTable<u32>,
}

impl MetCallers {
    fn get(&self, key: u64) -> Option<&Boundary> {
        let caller = |number: u32| &self.callers[number.wrapping_sub(self.first) as usize];
        let &number = self.by_key.find(key, |&number| caller(number).key == key)?;
        Some(caller(number))
    }

    fn push(&mut self, caller: Boundary) {
        if self.callers.len() == MET_MAX {
            self.pop();
        }
        let number = self.first.wrapping_add(self.callers.len() as u32);
        self.callers.push_back(caller);
        let Self { callers, first, by_key } = self;
        by_key.insert_unique(caller.key, number, |&n| callers[n.wrapping_sub(*first) as usize].key);
    }

    fn pop(&mut self) {
        let Some(caller) = self.callers.pop_front() else { return };
        if let Ok(entry) = self.by_key.find_entry(caller.key, |&number| number == self.first) {
            entry.remove();
        }
        self.first = self.first.wrapping_add(1);
    }

    fn expire(&mut self, now: u32) {
        while self.callers.front().is_some_and(|oldest| now.saturating_sub(oldest.arrived) >= WAIT_S) {
            self.pop();
        }
    }
}

/// The table.
///
/// Those that wait are a list by age through a slab. A place that becomes free is the next to be used, so that while
/// both sides come soon after each other, however many, the table stays in the cache.
#[derive(Debug, Default)]
pub(crate) struct Join {
    slots: Vec<Slot>,
    free: Vec<u32>,
    waiting: List,
    by_key: HashTable<u32>,
    met: MetCallers,
    /// Those that wait for the caller just looked at.
    callees: Vec<u32>,
    /// Those that leave next.
    leaving: Vec<u32>,
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
    /// Takes in the boundary spans of a batch; shows each pair they complete, as caller and callee. Answers how many had
    /// to be let go of, because too many wait for the same caller.
    pub(crate) fn meet(&mut self, spans: &mut Boundaries, mut pair: impl FnMut(&Boundary, &Boundary)) -> u64 {
        spans.meet(&mut pair);
        let mut crowd = 0;
        // Callers first: what waits for them comes from batches before.
        for group in spans.callers.chunks(GROUP).chain(spans.callees.chunks(GROUP)) {
            let mut awaited = [false; GROUP];
            for (awaited, span) in awaited.iter_mut().zip(group) {
                let same = |&at: &u32| self.slots[at as usize].span.key == span.key;
                *awaited = self.by_key.find(span.key, same).is_some();
            }
            for (awaited, span) in awaited.into_iter().zip(group) {
                let met = self.met.get(span.key);
                match (span.side, met) {
                    // Sent twice.
                    (Side::Caller, Some(_)) => {}
                    (Side::Callee, Some(caller)) => pair(caller, span),
                    (_, None) if awaited => {
                        crowd += u64::from(self.meet_waiting(span, &mut pair) == Met::Crowd)
                    }
                    (Side::Caller, None) if span.matched => self.met.push(*span),
                    (_, None) => self.insert(*span),
                }
            }
        }
        crowd
    }

    /// Takes in a boundary span for whose key others wait. A caller that is there already was sent twice and is left
    /// out.
    fn meet_waiting(&mut self, span: &Boundary, mut pair: impl FnMut(&Boundary, &Boundary)) -> Met {
        self.callees.clear();
        let (mut caller, mut sent_before) = (None, None);
        for &at in self.by_key.iter_hash(span.key) {
            let other = &self.slots[at as usize].span;
            if other.key != span.key {
                continue;
            }
            match (span.side, other.side) {
                (Side::Caller, Side::Caller) => {
                    sent_before = Some(at);
                    break;
                }
                // A span has one parent, and need not wait once it is found.
                (Side::Callee, Side::Caller) => {
                    pair(other, span);
                    caller = Some(at);
                    break;
                }
                (_, Side::Callee) if self.callees.len() == SAME_MAX => return Met::Crowd,
                (_, Side::Callee) => self.callees.push(at),
            }
        }
        if let Some(at) = sent_before {
            // Should it have met its callee this time, the one that waits does not stay alone.
            if span.matched {
                self.remove(at);
                self.met.push(*span);
            }
            return Met::Heard;
        }
        if let Some(at) = caller {
            let caller = self.slots[at as usize].span;
            self.remove(at);
            self.met.push(caller);
            return Met::Heard;
        }
        match span.side {
            Side::Callee => self.insert(*span),
            Side::Caller if self.callees.is_empty() => self.insert(*span),
            Side::Caller => {
                while let Some(at) = self.callees.pop() {
                    pair(span, &self.slots[at as usize].span);
                    self.remove(at);
                }
                self.met.push(*span);
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
        self.waiting.push(&mut self.slots, at);
        let slots = &self.slots;
        self.by_key.insert_unique(span.key, at, |&at| slots[at as usize].span.key);
    }

    fn remove(&mut self, at: u32) {
        let key = self.slots[at as usize].span.key;
        if let Some(bucket) = self.by_key.find_bucket_index(key, |&known| known == at) {
            self.remove_from(bucket, at);
        }
    }

    /// Removes what is at `at` of the slots, and in `bucket` of the table.
    fn remove_from(&mut self, bucket: usize, at: u32) {
        self.waiting.take(&mut self.slots, at);
        if let Ok(entry) = self.by_key.get_bucket_entry(bucket) {
            entry.remove();
        }
        self.free.push(at);
    }

    /// Lets go of those that waited long enough at `now` (seconds since 1970), and of the oldest where more than
    /// `most` wait; shows those that stayed alone.
    pub(crate) fn expire(&mut self, now: u32, most: usize, mut alone: impl FnMut(&Boundary)) {
        self.met.expire(now);
        let mut leaving = std::mem::take(&mut self.leaving);
        loop {
            leaving.clear();
            let over = self.waiting.len.saturating_sub(most);
            let mut at = self.waiting.oldest;
            while leaving.len() < GROUP
                && let Some(slot) = self.slots.get(at as usize)
                && (now.saturating_sub(slot.span.arrived) >= WAIT_S || leaving.len() < over)
            {
                leaving.push(at);
                at = slot.newer;
            }
            if leaving.is_empty() {
                break;
            }
            let mut buckets = [None; GROUP];
            for (bucket, &at) in buckets.iter_mut().zip(&leaving) {
                let key = self.slots[at as usize].span.key;
                *bucket = self.by_key.find_bucket_index(key, |&known| known == at);
            }
            for (bucket, &at) in buckets.into_iter().zip(&leaving) {
                alone(&self.slots[at as usize].span);
                if let Some(bucket) = bucket {
                    self.remove_from(bucket, at);
                }
            }
        }
        self.leaving = leaving;
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len
    }
}
