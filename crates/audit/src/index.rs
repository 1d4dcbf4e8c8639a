//! What is held in memory of each record, so that a query reads those it shows and few others.
//!
//! In: records as they are written. Out: where the records lie that can match a [`Filter`], newest first. 24 bytes a
//! record: names are kept as hashes of 32 bits, so what is found is looked at once more when it is read.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use domain::PlanId;
use foldhash::fast::RandomState;

use crate::record::{Action, Outcome, Record};

/// More names of actions than this share one number.
const ACTIONS_MAX: usize = u16::MAX as usize;

/// Which records are wanted. Those of default: the newest 100.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Only those before this sequence.
    pub before: Option<u64>,
    /// Only what was done by exactly this one.
    pub who: Option<String>,
    /// Only actions whose name begins like this.
    pub action: Option<String>,
    /// Only what came out like this.
    pub outcome: Option<Outcome>,
    /// Only what was done to exactly this.
    pub target: Option<String>,
    /// Only what is about this plan.
    pub plan: Option<PlanId>,
    /// Only what was done at this time or later, by the wall clock, in microseconds since 1970-01-01 UTC.
    pub since_us: Option<i64>,
    /// At most this many; at most [`Filter::LIMIT_MAX`] whatever it says.
    pub limit: usize,
}

impl Filter {
    /// No answer has more records.
    pub const LIMIT_MAX: usize = 1000;

    /// Whether a record is wanted, its sequence apart.
    pub fn matches(&self, record: &Record) -> bool {
        self.who.as_ref().is_none_or(|who| *who == record.who)
            && self.action.as_ref().is_none_or(|prefix| record.action.as_str().starts_with(prefix))
            && self.outcome.is_none_or(|outcome| outcome == record.outcome)
            && self.target.as_ref().is_none_or(|target| *target == record.target)
            && self.plan.is_none_or(|plan| Some(plan) == record.plan)
            && self.since_us.is_none_or(|since| record.time_us >= since)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            before: None,
            who: None,
            action: None,
            outcome: None,
            target: None,
            plan: None,
            since_us: None,
            limit: 100,
        }
    }
}

/// Makes what is kept of names. One for each index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(RandomState);

impl Names {
    fn short<T: Hash + ?Sized>(&self, name: &T) -> u32 {
        self.0.hash_one(name) as u32
    }

    /// What is kept of a record that is written at `offset`.
    pub(crate) fn row(&self, record: &Record) -> Row {
        Row {
            who: self.short(record.who.as_str()),
            target: self.short(record.target.as_str()),
            plan: record.plan.map_or(0, |plan| self.short(&plan)),
            seconds: seconds(record.time_us),
            outcome: record.outcome,
            action: record.action.clone(),
        }
    }
}

/// What is kept of a record, before its action has a number.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    who: u32,
    target: u32,
    plan: u32,
    seconds: u32,
    outcome: Outcome,
    action: Action,
}

/// Whole seconds since 1970-01-01, within what fits.
pub(crate) fn seconds(time_us: i64) -> u32 {
    u32::try_from(time_us.div_euclid(1_000_000).max(0)).unwrap_or(u32::MAX)
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    offset: u32,
    who: u32,
    target: u32,
    plan: u32,
    seconds: u32,
    action: u16,
    outcome: Outcome,
}

/// A segment as it is read.
#[derive(Debug, Clone)]
pub(crate) struct Segment {
    pub(crate) first: u64,
    pub(crate) file: Arc<File>,
    /// Bytes of records that are acknowledged.
    pub(crate) len: u64,
}

/// Where a record lies.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    /// Of its line, without the end.
    pub(crate) len: usize,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The first record it knows; those before were removed.
    first: u64,
    segments: Vec<Segment>,
    entries: Vec<Entry>,
    actions: Vec<Action>,
    numbers: HashMap<Action, u16>,
}

impl Index {
    /// How many records there are, with those that were removed.
    pub(crate) fn size(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// The first record that is there.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Begins with this record. Forgets those before, whole segments of them.
    pub(crate) fn begin_with(&mut self, first: u64) {
        let gone = first.saturating_sub(self.first).min(self.entries.len() as u64) as usize;
        self.entries.drain(..gone);
        self.segments.retain(|segment| segment.first >= first);
        self.first = first;
    }

    fn entry(&self, sequence: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    /// When a record was made, in whole seconds since 1970-01-01.
    pub(crate) fn seconds_of(&self, sequence: u64) -> Option<u32> {
        self.entry(sequence).map(|entry| entry.seconds)
    }

    /// The record that the log would begin with, were every segment removed that holds nothing from this second on or
    /// later. The segment written to stays.
    pub(crate) fn removable_before(&self, seconds: u32) -> u64 {
        let sealed = self.segments.windows(2).take_while(|pair| {
            (pair[0].first..pair[1].first)
                .all(|sequence| self.seconds_of(sequence).is_some_and(|made| made < seconds))
        });
        sealed.last().map_or(self.first, |pair| pair[1].first)
    }

    /// Begins a segment; what is pushed from now on lies in it.
    pub(crate) fn begin(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, row: &Row, offset: u32) {
        let Row { who, target, plan, seconds, outcome, .. } = *row;
        let action = self.number(&row.action);
        self.entries.push(Entry { offset, who, target, plan, seconds, action, outcome });
    }

    /// Says how long the last segment is.
    pub(crate) fn set_len(&mut self, len: u64) {
        if let Some(last) = self.segments.last_mut() {
            last.len = len;
        }
    }

    fn number(&mut self, action: &Action) -> u16 {
        if let Some(number) = self.numbers.get(action) {
            return *number;
        }
        if self.actions.len() >= ACTIONS_MAX {
            return u16::MAX;
        }
        let number = self.actions.len() as u16;
        self.actions.push(action.clone());
        self.numbers.insert(action.clone(), number);
        number
    }

    /// Where a record lies.
    pub(crate) fn place(&self, sequence: u64) -> Option<Place> {
        let entry = self.entry(sequence)?;
        let at = self.segments.partition_point(|segment| segment.first <= sequence).checked_sub(1)?;
        let segment = &self.segments[at];
        let in_segment = self.segments.get(at + 1).is_none_or(|after| sequence + 1 < after.first);
        let next = self.entry(sequence + 1).filter(|_| in_segment);
        let end = next.map_or(segment.len, |next| next.offset.into());
        let offset = u64::from(entry.offset);
        let len = usize::try_from(end.checked_sub(offset + 1)?).ok()?;
        Some(Place { sequence, file: Arc::clone(&segment.file), offset, len })
    }

    /// Looks through at most `most` records before `before` for up to `wanted` that can match. Returns them, and where to
    /// go on.
    pub(crate) fn search(&self, wish: &Wish, before: u64, most: u64, wanted: usize) -> (Vec<Place>, u64) {
        let (mut found, mut at) = (Vec::new(), before.min(self.size()));
        let last = at.saturating_sub(most).max(self.first);
        let may = self.actions_of(wish);
        while at > last && found.len() < wanted {
            at -= 1;
            let Some(entry) = self.entry(at) else { break };
            let fits = wish.who.is_none_or(|who| who == entry.who)
                && wish.target.is_none_or(|target| target == entry.target)
                && wish.plan.is_none_or(|plan| plan == entry.plan)
                && wish.outcome.is_none_or(|outcome| outcome == entry.outcome)
                && wish.since.is_none_or(|since| entry.seconds >= since)
                && may.as_ref().is_none_or(|may| may.get(usize::from(entry.action)).copied().unwrap_or(true));
            if fits {
                found.extend(self.place(at));
            }
        }
        (found, if at <= self.first { 0 } else { at })
    }

    fn actions_of(&self, wish: &Wish) -> Option<Vec<bool>> {
        let prefix = wish.action.as_ref()?;
        Some(self.actions.iter().map(|action| action.as_str().starts_with(prefix)).collect())
    }
}

/// A filter in the terms of the index.
#[derive(Debug)]
pub(crate) struct Wish {
    who: Option<u32>,
    action: Option<String>,
    outcome: Option<Outcome>,
    target: Option<u32>,
    plan: Option<u32>,
    since: Option<u32>,
}

impl Wish {
    pub(crate) fn new(filter: &Filter, names: &Names) -> Self {
        Self {
            who: filter.who.as_ref().map(|who| names.short(who.as_str())),
            action: filter.action.clone(),
            outcome: filter.outcome,
            target: filter.target.as_ref().map(|target| names.short(target.as_str())),
            plan: filter.plan.map(|plan| names.short(&plan)),
            since: filter.since_us.map(seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_takes_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}
