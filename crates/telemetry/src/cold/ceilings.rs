//! The longest duration of a service's spans with a tag, page by page: which pages a search can leave alone.
//!
//! In: the columns of a row group of spans. Out: for each service, each of its operations and tags, and spans with an
//! error apart from the others, one number a page. A search for service, tag and least duration reads the pages that
//! hold such a span, hardly any other.
//!
//! Deliberately absent: keys with many values. They are listed as open, and the tag filter (`bloom`) answers for them.

use std::collections::{BTreeMap, BTreeSet};

use twox_hash::XxHash64;

use super::Map;
use super::attributes::AttributeColumn;
use super::bloom::tag_hash;
use super::gather::Data;
use super::order::ABSENT;
use super::pages::{Distinct, PAGE_ROWS};
use crate::column::{AttributeType, Scalar, Strings};
use crate::query::{StatusFilter, Tag, TraceFilter};

/// A key with more values than this, counted for each service, is open.
const VALUES_MAX: usize = 1024;

/// Values of all keys of a row group; beyond, the keys with most values become open. What is kept in memory for 131,072
/// rows stays below 100 KiB.
const ALL_VALUES_MAX: usize = 2048;

/// With more open keys than this, nothing is said about any.
const OPEN_MAX: usize = 256;

/// With more keys than this, nothing is said about any.
const KEYS_MAX: usize = 4096;

/// Places in the table from code and lane to slot; 4 MiB.
const PLACES_MAX: usize = 1 << 20;

/// The key that operations are counted under; OpenTelemetry forbids it for attributes.
const OPERATION: &[u8] = b"";

/// What is counted: a tag's hash, and the lane, which is twice the service's index, one more for errors.
type Subject = (u64, u32);

/// Longest durations in a row group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ceilings {
    pub(super) coverage: Coverage,
    pub(super) pages: usize,
    /// Ascending.
    pub(super) subjects: Vec<Subject>,
    /// For each subject, for each page: [`step`] of the longest duration, 0 where the page has no such span.
    pub(super) steps: Vec<u16>,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Coverage {
    /// Nothing: any page may hold anything.
    #[default]
    Nothing,
    /// All tags but those of these keys.
    AllBut(Vec<Box<[u8]>>),
}

/// A duration in 16 bits, at least 1: exact up to 511 ns, then to a part in 512 and rounded down. A longer duration has
/// no smaller step.
fn step(duration: u64) -> u16 {
    let scaled = if duration < 512 {
        duration
    } else {
        let exponent = u64::from(duration.ilog2());
        (exponent - 8) << 9 | (duration >> (exponent - 9) & 511)
    };
    scaled as u16 + 1
}

/// What every span is counted as.
fn any_span() -> u64 {
    XxHash64::oneshot(0, b"s")
}

fn operation_hash(name: &[u8], scratch: &mut Vec<u8>) -> u64 {
    scratch.clear();
    scratch.push(b'o');
    scratch.extend_from_slice(name);
    XxHash64::oneshot(0, scratch)
}

impl Ceilings {
    /// Which of `pages` pages may hold a matching span.
    pub(super) fn allow(
        &self,
        pages: usize,
        services: &[String],
        filter: &TraceFilter,
        tags: &[Tag<'_>],
    ) -> Vec<bool> {
        let Coverage::AllBut(open) = &self.coverage else { return vec![true; pages] };
        let service = filter.service.as_ref().map(|service| services.iter().position(|s| s == service));
        let service = match service {
            Some(None) => return vec![false; pages],
            Some(Some(at)) => Some(at as u32),
            None => None,
        };
        let mut status = [filter.status != StatusFilter::Error, filter.status != StatusFilter::NotError];
        for error in tags.iter().filter_map(Tag::asks_for_error) {
            status[usize::from(!error)] = false;
        }
        let least = step(*filter.duration.start());
        let wanted =
            |lane: u32| status[(lane & 1) as usize] && service.is_none_or(|service| lane >> 1 == service);
        let mut allowed = vec![true; pages];
        let mut scratch = Vec::new();
        let is_open = |key: &[u8]| open.iter().any(|open| **open == *key);
        self.keep(&mut allowed, &[any_span()], wanted, least);
        if let Some(operation) = &filter.operation
            && !is_open(OPERATION)
        {
            self.keep(&mut allowed, &[operation_hash(operation.as_bytes(), &mut scratch)], wanted, least);
        }
        for tag in tags.iter().filter(|tag| tag.asks_for_attribute() && !is_open(tag.key().as_bytes())) {
            let hashes = tag.values().filter_map(|v| tag_hash(tag.key().as_bytes(), v, &mut scratch));
            self.keep(&mut allowed, &hashes.collect::<Vec<_>>(), wanted, least);
        }
        allowed
    }

    /// Leaves the pages that hold a span of one of `hashes` in a wanted lane that took long enough.
    fn keep(&self, allowed: &mut [bool], hashes: &[u64], wanted: impl Fn(u32) -> bool, least: u16) {
        let mut holds = vec![false; allowed.len()];
        for &hash in hashes {
            let first = self.subjects.partition_point(|&(other, _)| other < hash);
            let same = self.subjects[first..].iter().take_while(|&&(other, _)| other == hash);
            for (at, _) in same.enumerate().filter(|&(_, &(_, lane))| wanted(lane)) {
                let steps = &self.steps[(first + at) * self.pages..][..self.pages];
                holds.iter_mut().zip(steps).for_each(|(holds, &step)| *holds |= step >= least);
            }
        }
        allowed.iter_mut().zip(holds).for_each(|(allowed, holds)| *allowed &= holds);
    }
}

/// Longest durations under construction.
pub(super) struct Ascent {
    /// Of each row.
    lanes: Vec<u32>,
    steps: Vec<u16>,
    lanes_max: usize,
    pages: usize,
    keys: BTreeMap<Box<[u8]>, Heights>,
    open: BTreeSet<Box<[u8]>>,
    lost: bool,
    scratch: Vec<u8>,
}

/// Longest durations of the values of a key.
#[derive(Default)]
struct Heights {
    slots: Map<Subject, usize>,
    steps: Vec<u16>,
}

impl Heights {
    fn slot(&mut self, subject: Subject, pages: usize) -> &mut [u16] {
        let next = self.slots.len();
        let slot = *self.slots.entry(subject).or_insert(next);
        if slot == next {
            self.steps.resize(self.steps.len() + pages, 0);
        }
        &mut self.steps[slot * pages..][..pages]
    }
}

impl Ascent {
    /// For rows of these services (indices below `services`), durations, and whether each ended in an error.
    pub(super) fn new(
        services: usize,
        rows: impl Iterator<Item = (usize, u64, bool)>,
        (names_of_rows, names): (&[u32], &Strings),
    ) -> Self {
        let (lanes, steps): (Vec<u32>, Vec<u16>) = rows
            .map(|(service, duration, error)| (2 * service as u32 + u32::from(error), step(duration)))
            .unzip();
        let pages = lanes.len().div_ceil(PAGE_ROWS);
        let mut ascent = Self {
            lanes,
            steps,
            lanes_max: 2 * services,
            pages,
            keys: BTreeMap::new(),
            open: BTreeSet::new(),
            lost: false,
            scratch: Vec::new(),
        };
        let hashes: Vec<Option<u64>> = (0..names.entries() as u32)
            .map(|code| Some(operation_hash(names.entry(code), &mut ascent.scratch)))
            .collect();
        ascent.column(OPERATION, names_of_rows, &hashes);
        ascent
    }

    /// Adds an attribute's column; `distinct` numbers where there are few.
    pub(super) fn attribute(&mut self, column: &AttributeColumn, distinct: Option<&Distinct>) {
        let key = &*column.key;
        match &column.data {
            Data::Strings { codes, entries } if column.kind == AttributeType::Text => {
                if entries.entries() > VALUES_MAX {
                    return self.open(key);
                }
                let entries = (0..entries.entries() as u32).map(|code| Scalar::Text(entries.entry(code)));
                let hashes: Vec<_> = entries.map(|value| tag_hash(key, value, &mut self.scratch)).collect();
                self.column(key, codes, &hashes);
            }
            // No tag asks for bytes.
            Data::Strings { .. } => {}
            Data::Fixed { .. } => self.open(key),
            Data::Numbers { .. } => match distinct {
                Some(distinct) => {
                    let values = distinct.values.iter().map(|&bits| column.kind.number(bits));
                    let hashes: Vec<_> =
                        values.map(|value| tag_hash(key, value, &mut self.scratch)).collect();
                    self.column(key, &distinct.codes, &hashes);
                }
                None => self.open(key),
            },
        }
    }

    /// Adds the values of a key by their codes.
    fn column(&mut self, key: &[u8], codes: &[u32], hashes: &[Option<u64>]) {
        if self.lost || self.open.contains(key) {
            return;
        }
        if hashes.len().saturating_mul(self.lanes_max) > PLACES_MAX {
            return self.open(key);
        }
        let mut slots = vec![ABSENT; hashes.len() * self.lanes_max];
        let mut owners: Vec<Subject> = Vec::new();
        let mut heights: Vec<u16> = Vec::new();
        for (row, &code) in codes.iter().enumerate().filter(|&(_, &code)| code != ABSENT) {
            let lane = self.lanes[row];
            let slot = &mut slots[code as usize * self.lanes_max + lane as usize];
            if *slot == ABSENT {
                let Some(hash) = hashes[code as usize] else { continue };
                if owners.len() == VALUES_MAX {
                    return self.open(key);
                }
                *slot = owners.len() as u32;
                owners.push((hash, lane));
                heights.resize(heights.len() + self.pages, 0);
            }
            let height = &mut heights[*slot as usize * self.pages + row / PAGE_ROWS];
            *height = (*height).max(self.steps[row]);
        }
        for (at, owner) in owners.into_iter().enumerate() {
            self.raise(key, owner, &heights[at * self.pages..][..self.pages]);
        }
    }

    /// Adds a tag of one row.
    pub(super) fn row(&mut self, row: usize, key: &[u8], value: Scalar<'_>) {
        if let Some(hash) = tag_hash(key, value, &mut self.scratch) {
            let mut heights = vec![0; self.pages];
            heights[row / PAGE_ROWS] = self.steps[row];
            self.raise(key, (hash, self.lanes[row]), &heights);
        }
    }

    /// The longest durations of the rows with each code, by page, errors apart: what tags of resources are added by.
    pub(super) fn by_code(&self, codes: &[u32]) -> Map<(u32, u32), Vec<u16>> {
        let mut all: Map<(u32, u32), Vec<u16>> = Map::default();
        for (row, &code) in codes.iter().enumerate() {
            let heights = all.entry((code, self.lanes[row])).or_insert_with(|| vec![0; self.pages]);
            let height = &mut heights[row / PAGE_ROWS];
            *height = (*height).max(self.steps[row]);
        }
        all
    }

    /// Adds a tag of the spans in a lane, with their longest durations by page.
    pub(super) fn lane(&mut self, lane: u32, heights: &[u16], key: &[u8], value: Scalar<'_>) {
        if let Some(hash) = tag_hash(key, value, &mut self.scratch) {
            self.raise(key, (hash, lane), heights);
        }
    }

    fn raise(&mut self, key: &[u8], subject: Subject, heights: &[u16]) {
        if self.lost || self.open.contains(key) {
            return;
        }
        if !self.keys.contains_key(key) {
            if self.keys.len() == KEYS_MAX {
                self.lost = true;
                return;
            }
            self.keys.insert(key.into(), Heights::default());
        }
        let Some(of_key) = self.keys.get_mut(key) else { return };
        let slot = of_key.slot(subject, self.pages);
        slot.iter_mut().zip(heights).for_each(|(slot, &height)| *slot = (*slot).max(height));
        if of_key.slots.len() > VALUES_MAX {
            self.open(key);
        }
    }

    /// Says nothing about a key.
    fn open(&mut self, key: &[u8]) {
        self.keys.remove(key);
        self.open.insert(key.into());
        self.lost |= self.open.len() > OPEN_MAX;
    }

    /// What was added.
    pub(super) fn finish(mut self) -> Ceilings {
        let mut all: usize = self.keys.values().map(|heights| heights.slots.len()).sum();
        while all > ALL_VALUES_MAX {
            let largest = self.keys.iter().max_by_key(|(_, heights)| heights.slots.len());
            let Some((key, size)) = largest.map(|(key, heights)| (key.clone(), heights.slots.len())) else {
                break;
            };
            self.open(&key);
            all -= size;
        }
        if self.lost {
            return Ceilings::default();
        }
        let mut everything = Heights::default();
        for (row, &lane) in self.lanes.iter().enumerate() {
            let height = &mut everything.slot((any_span(), lane), self.pages)[row / PAGE_ROWS];
            *height = (*height).max(self.steps[row]);
        }
        let mut found: Vec<(Subject, &[u16])> = Vec::new();
        for heights in self.keys.values().chain([&everything]) {
            let of_key = heights.slots.iter();
            found.extend(
                of_key.map(|(&subject, &s)| (subject, &heights.steps[s * self.pages..][..self.pages])),
            );
        }
        found.sort_unstable();
        Ceilings {
            coverage: Coverage::AllBut(self.open.into_iter().collect()),
            pages: self.pages,
            subjects: found.iter().map(|&(subject, _)| subject).collect(),
            steps: found.into_iter().flat_map(|(_, steps)| steps).copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Which of two pages may hold a span with a tag that took so long. Row 0 takes 100 ns, row 1 200 ns and so on.
    fn pages(found: &Ceilings, key: &str, value: &str, least: u64) -> Vec<bool> {
        let filter = TraceFilter { duration: least..=u64::MAX, ..TraceFilter::default() };
        found.allow(2, &["s".to_owned()], &filter, &[Tag::new(key, value)])
    }

    fn ascent(rows: usize) -> Ascent {
        let mut names = Strings::default();
        let codes: Vec<u32> = (0..rows).map(|_| names.push(b"op")).collect();
        Ascent::new(1, (0..rows).map(|row| (0, 100 * (row as u64 + 1), false)), (&codes, &names))
    }

    #[test]
    fn the_longest_span_of_each_page_counts() {
        let mut ascent = ascent(PAGE_ROWS + 2);
        ascent.row(1, b"k", Scalar::Text(b"v"));
        ascent.row(PAGE_ROWS + 1, b"k", Scalar::Text(b"v"));
        let found = ascent.finish();
        assert_eq!(pages(&found, "k", "v", 0), [true, true]);
        assert_eq!(pages(&found, "k", "v", 200), [true, true]);
        assert_eq!(pages(&found, "k", "v", 201), [false, true]);
        assert_eq!(pages(&found, "k", "v", 2_000_000), [false, false]);
        assert_eq!(pages(&found, "k", "w", 0), [false, false]);
        assert_eq!(pages(&found, "l", "v", 0), [false, false]);
    }

    #[test]
    fn keys_with_too_many_values_are_left_open_and_too_many_such_keys_say_nothing() {
        let mut one = ascent(PAGE_ROWS + 2);
        (0..=VALUES_MAX).for_each(|n| one.row(0, b"id", Scalar::Int(n as i64)));
        one.row(0, b"k", Scalar::Bool(true));
        let found = one.finish();
        assert_eq!(pages(&found, "id", "-1", 0), [true, true]);
        assert_eq!(pages(&found, "k", "true", 0), [true, false]);

        let mut three = ascent(PAGE_ROWS + 2);
        for (key, values) in [("a", 900), ("b", 1000), ("c", 800)] {
            (0..values).for_each(|n| three.row(0, key.as_bytes(), Scalar::Int(n)));
        }
        let found = three.finish();
        assert_eq!(pages(&found, "b", "-1", 0), [true, true], "the key with most values makes room");
        assert_eq!(pages(&found, "a", "-1", 0), [false, false]);
        assert!(found.subjects.len() <= ALL_VALUES_MAX + 2, "{} values", found.subjects.len());

        let mut many = ascent(PAGE_ROWS + 2);
        (0..=KEYS_MAX).for_each(|n| many.row(0, format!("k{n}").as_bytes(), Scalar::Int(1)));
        assert_eq!(many.finish(), Ceilings::default());
    }

    proptest! {
        #[test]
        fn a_longer_duration_has_no_smaller_step(a in any::<u64>(), shift in 0u32..64, b in any::<u64>()) {
            let (a, b) = (a >> shift, b >> shift);
            let (small, large) = (a.min(b), a.max(b));
            prop_assert!(step(small) <= step(large));
            prop_assert!(step(small) > 0);
            // Half a percent more is told apart.
            let more = small.saturating_add(small / 200 + 1);
            prop_assert!(more == small || step(small) < step(more));
        }
    }
}
