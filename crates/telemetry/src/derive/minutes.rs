//! Minutes as a value: derived from some batches, as bytes in a compacted file's index, back at the next start.
//!
//! This is the one place that says how they are kept:
//!
//! - `Counting` counts batches of a segment on their own, as the live state does: calls per series and edge and
//!   minute, and an exemplar for each series, hour and bucket. Pairs whose two sides lie in different segments are in
//!   no segment's minutes: the live service map has them, after a restart it lacks them.
//! - [`Minutes::to_bytes`] and [`Minutes::from_bytes`]: magic `HMIN`, a version byte, numbers as varints, CRC-32 of
//!   all before it at the end. Names have numbers of their own in it.
//! - [`Telemetry::open`](crate::Telemetry::open) takes in those of compacted files beside replaying the hot segments:
//!   the two must not overlap, or their calls count twice.
//! - Adding up is associative, in any order.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::bytes::{put, put_text, take, take_as, take_text};
use super::edges::{Edge, Link};
use super::exemplar::Exemplars;
use super::histogram::Histogram;
use super::read::Dependency;
use super::state::State;
use crate::batch::Batch;
use crate::model::SpanKind;

const MAGIC: &[u8; 4] = b"HMIN";
pub(crate) const VERSION: u8 = 1;

/// Calls per series, edge and minute, as a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Minutes {
    series: BTreeMap<SeriesKey, Content>,
    edges: BTreeMap<EdgeKey, BTreeMap<u32, Histogram>>,
}

/// Service, operation, kind.
type SeriesKey = (String, Option<String>, SpanKind);

/// Caller, callee, kind of edge, whose view.
type EdgeKey = (String, String, Link, u8);

#[derive(Debug, Clone, PartialEq, Default)]
struct Content {
    minutes: BTreeMap<u32, Histogram>,
    /// By hour.
    exemplars: BTreeMap<u32, Exemplars>,
}

/// Bytes that are not [`Minutes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MinutesError {
    /// They do not begin as they should, their checksum does not hold, or they make no sense.
    #[error("the derived minutes are damaged")]
    Damaged,
    /// A later version wrote them.
    #[error(
        "the derived minutes have format {found}, this version reads up to {VERSION}; use a newer homeostat"
    )]
    Newer {
        /// The format found.
        found: u8,
    },
}

/// Minutes being counted.
#[derive(Debug)]
pub(crate) struct Counting {
    state: State,
    now: u64,
}

impl Counting {
    /// Counts as at `now` (nanoseconds since 1970): what is older than a day then is left out.
    pub(crate) fn new(now: u64) -> Self {
        Self { state: State::new(), now }
    }

    /// Counts a batch of spans.
    pub(crate) fn observe(&mut self, batch: &Batch) {
        self.state.observe(batch, self.now, |_, _, _| {});
    }

    /// What was counted.
    pub(crate) fn finish(self) -> Minutes {
        self.state.into_minutes()
    }
}

impl Minutes {
    /// Counts batches of spans at `now`.
    #[cfg(test)]
    pub(crate) fn of<'a>(batches: impl IntoIterator<Item = &'a Batch>, now: u64) -> Self {
        let mut counting = Counting::new(now);
        batches.into_iter().for_each(|batch| counting.observe(batch));
        counting.finish()
    }

    /// Adds what another one holds.
    pub fn merge(&mut self, other: &Self) {
        for (key, theirs) in &other.series {
            let mine = self.series.entry(key.clone()).or_default();
            for (&minute, histogram) in &theirs.minutes {
                mine.minutes.entry(minute).or_default().merge(histogram);
            }
            for (&hour, exemplars) in &theirs.exemplars {
                mine.exemplars.entry(hour).or_default().merge(exemplars);
            }
        }
        for (key, theirs) in &other.edges {
            let mine = self.edges.entry(key.clone()).or_default();
            theirs.iter().for_each(|(&minute, calls)| mine.entry(minute).or_default().merge(calls));
        }
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        let mut names = Vocabulary::default();
        for (service, operation, _) in self.series.keys() {
            names.add(service);
            operation.iter().for_each(|operation| names.add(operation));
        }
        for (caller, callee, ..) in self.edges.keys() {
            names.add(caller);
            names.add(callee);
        }
        put(&mut bytes, names.list.len() as u64);
        names.list.iter().for_each(|name| put_text(&mut bytes, name));
        put(&mut bytes, self.series.len() as u64);
        for ((service, operation, kind), content) in &self.series {
            put(&mut bytes, names.number(service));
            put(&mut bytes, operation.as_ref().map_or(0, |operation| names.number(operation) + 1));
            put(&mut bytes, *kind as u64);
            put_frames(&mut bytes, &content.minutes);
            put(&mut bytes, content.exemplars.len() as u64);
            for (&hour, exemplars) in &content.exemplars {
                put(&mut bytes, hour.into());
                exemplars.write(&mut bytes);
            }
        }
        put(&mut bytes, self.edges.len() as u64);
        for ((caller, callee, link, view), minutes) in &self.edges {
            put(&mut bytes, names.number(caller));
            put(&mut bytes, names.number(callee));
            put(&mut bytes, *link as u64);
            put(&mut bytes, (*view).into());
            put_frames(&mut bytes, minutes);
        }
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// From bytes, which may be anything.
    ///
    /// # Errors
    ///
    /// [`MinutesError`] where they are damaged, or of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MinutesError> {
        let (body, checksum) = bytes.split_last_chunk::<4>().ok_or(MinutesError::Damaged)?;
        let rest = body.strip_prefix(MAGIC).ok_or(MinutesError::Damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(MinutesError::Damaged);
        }
        match rest.split_first() {
            Some((&VERSION, mut rest)) => {
                Self::read(&mut rest).filter(|_| rest.is_empty()).ok_or(MinutesError::Damaged)
            }
            Some((&found, _)) if found > VERSION => Err(MinutesError::Newer { found }),
            _ => Err(MinutesError::Damaged),
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut names = Vec::new();
        for _ in 0..take(bytes)? {
            names.push(take_text(bytes)?.to_owned());
        }
        let name = |number: u64| names.get(usize::try_from(number).ok()?).cloned();
        let mut minutes = Self::default();
        for _ in 0..take(bytes)? {
            let service = name(take(bytes)?)?;
            let operation = match take(bytes)? {
                0 => None,
                number => Some(name(number - 1)?),
            };
            let kind = take(bytes).filter(|&kind| kind <= SpanKind::Consumer as u64)?;
            let mut content = Content { minutes: take_frames(bytes)?, ..Content::default() };
            for _ in 0..take(bytes)? {
                content.exemplars.insert(take_as(bytes)?, Exemplars::read(bytes)?);
            }
            minutes.series.insert((service, operation, SpanKind::from_number(kind)), content);
        }
        for _ in 0..take(bytes)? {
            let (caller, callee) = (name(take(bytes)?)?, name(take(bytes)?)?);
            let link = Link::from_number(take(bytes)?)?;
            let view = take_as(bytes).filter(|&view: &u8| view <= 1)?;
            minutes.edges.insert((caller, callee, link, view), take_frames(bytes)?);
        }
        Some(minutes)
    }
}

fn put_frames(bytes: &mut Vec<u8>, frames: &BTreeMap<u32, Histogram>) {
    put(bytes, frames.len() as u64);
    for (&minute, histogram) in frames {
        put(bytes, minute.into());
        histogram.write(bytes);
    }
}

fn take_frames(bytes: &mut &[u8]) -> Option<BTreeMap<u32, Histogram>> {
    let mut frames = BTreeMap::new();
    for _ in 0..take(bytes)? {
        frames.insert(take_as(bytes)?, Histogram::read(bytes)?);
    }
    Some(frames)
}

/// Names with numbers.
#[derive(Default)]
struct Vocabulary<'a> {
    list: Vec<&'a str>,
    numbers: HashMap<&'a str, u64>,
}

impl<'a> Vocabulary<'a> {
    fn add(&mut self, name: &'a str) {
        let next = self.list.len() as u64;
        if *self.numbers.entry(name).or_insert(next) == next {
            self.list.push(name);
        }
    }

    fn number(&self, name: &str) -> u64 {
        self.numbers[name]
    }
}

impl State {
    /// All minutes as a value. Those who still wait for their other side are told apart first, as if their minute were
    /// over.
    pub(crate) fn into_minutes(mut self) -> Minutes {
        self.expire_all();
        self.cool_all();
        let mut minutes = Minutes::default();
        let named = self.series.iter().map(|(id, series)| {
            let service = self.services.name(series.service).to_string();
            (id, (service, series.operation.as_ref().map(ToString::to_string), series.kind))
        });
        let mut contents: HashMap<u32, (SeriesKey, Content)> =
            named.map(|(id, key)| (id, (key, Content::default()))).collect();
        for frame in self.minutes.see(0..u32::MAX, |_| true) {
            frame.pieces(|id, calls| {
                if let Some((_, content)) = contents.get_mut(&id) {
                    content.minutes.entry(frame.time).or_default().merge(calls);
                }
            });
        }
        for (hour, id, exemplars) in self.hours.iter() {
            if let Some((_, content)) = contents.get_mut(&id) {
                content.exemplars.insert(hour, exemplars.clone());
            }
        }
        minutes.series.extend(contents.into_values());
        let edges: Vec<(&Edge, Dependency)> =
            self.graph.edges.iter().map(|(_, edge)| (edge, self.dependency(edge))).collect();
        for frame in self.graph.minutes.see(0..u32::MAX, |_| true) {
            frame.pieces(|id, calls| {
                let (edge, dependency) = &edges[id as usize / 2];
                let (caller, callee) = (dependency.caller.clone(), dependency.callee.clone());
                let of_edge = minutes.edges.entry((caller, callee, edge.link, (id % 2) as u8)).or_default();
                of_edge.entry(frame.time).or_default().merge(calls);
            });
        }
        minutes
    }

    /// Takes in minutes at `now` (nanoseconds since 1970); those older than a day are left out.
    pub(crate) fn restore(&mut self, minutes: &Minutes, now: u64) {
        self.tick((now / 1_000_000_000) as u32);
        let now = (now / 60_000_000_000) as u32;
        let kept = self.minutes.first_kept(now)..now + 6;
        let mut layers: BTreeMap<u32, BTreeMap<u32, Histogram>> = BTreeMap::new();
        for ((service, operation, kind), content) in &minutes.series {
            let service = self.services.intern(service);
            let id = match operation {
                Some(operation) => self.series.intern(service, operation, *kind).0,
                None => self.series.other(service, *kind),
            };
            for (&minute, calls) in content.minutes.iter().filter(|(minute, _)| kept.contains(minute)) {
                layers.entry(minute).or_default().entry(id).or_default().merge(calls);
                if let Some(series) = self.series.get_mut(id) {
                    series.last = series.last.max(minute);
                    series.total.merge(calls);
                }
            }
            for (&hour, exemplars) in content.exemplars.iter().filter(|(hour, _)| **hour >= kept.start / 60) {
                self.hours.add(hour, id, exemplars);
            }
        }
        layers.into_iter().for_each(|(minute, cells)| self.minutes.add_layer(minute, cells));
        self.restore_edges(minutes, &kept);
    }

    fn restore_edges(&mut self, minutes: &Minutes, kept: &std::ops::Range<u32>) {
        let mut layers: BTreeMap<u32, BTreeMap<u32, Histogram>> = BTreeMap::new();
        for ((caller, callee, link, view), frames) in &minutes.edges {
            let caller = self.services.intern(caller);
            let callee = match link {
                Link::Uninstrumented => self.peers.intern(callee),
                Link::Call | Link::Message => self.services.intern(callee),
            };
            let edge = self.graph.edges.intern(Edge { caller, callee, link: *link });
            let id = 2 * edge + u32::from(*view);
            for (&minute, calls) in frames.iter().filter(|(minute, _)| kept.contains(minute)) {
                self.graph.edges.add_total(id, calls);
                layers.entry(minute).or_default().entry(id).or_default().merge(calls);
            }
        }
        layers.into_iter().for_each(|(minute, cells)| self.graph.minutes.add_layer(minute, cells));
    }
}
