//! A span that stands for many.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bytes::{put, take, take_array, take_as};
use super::scale;
use crate::model::{SpanId, TraceId};

/// A real span among those counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Its start, nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it ended in an error.
    pub error: bool,
}

/// As [`Exemplar`], to be kept by the thousand. Its order says which of two is the better one: an error before none,
/// then the newer; ids only so that any order of arrival ends the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    pub(crate) error: bool,
    pub(crate) start: u64,
    pub(crate) duration: u64,
    pub(crate) trace: [u8; 16],
    pub(crate) span: u64,
}

impl From<Kept> for Exemplar {
    fn from(kept: Kept) -> Self {
        Self {
            trace_id: TraceId(kept.trace),
            span_id: SpanId(kept.span.to_be_bytes()),
            start_unix_nano: kept.start,
            duration: Duration::from_nanos(kept.duration),
            error: kept.error,
        }
    }
}

/// One exemplar for each bucket in use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Exemplars {
    kept: Vec<Kept>,
    /// The bucket of the first of `places`.
    low: u16,
    /// For each bucket from the lowest to the highest in use, which of `kept` is its own, counted from 1; 0 for none.
    places: Vec<u16>,
}

impl Exemplars {
    /// Takes a span as its bucket's exemplar if it is the better one.
    #[inline]
    pub(crate) fn offer(&mut self, bucket: u16, error: bool, start: u64, kept: impl FnOnce() -> Kept) {
        let place = self.places.get(bucket.wrapping_sub(self.low) as usize).copied().unwrap_or(0);
        match self.kept.get_mut(usize::from(place.wrapping_sub(1))) {
            Some(best) => {
                if (error, start) >= (best.error, best.start) {
                    *best = kept().max(*best);
                }
            }
            None => self.add(bucket, kept()),
        }
    }

    #[cold]
    fn add(&mut self, bucket: u16, kept: Kept) {
        self.kept.push(kept);
        if self.places.is_empty() {
            self.low = bucket;
        }
        if bucket < self.low {
            self.places.splice(0..0, std::iter::repeat_n(0, (self.low - bucket).into()));
            self.low = bucket;
        }
        let at = usize::from(bucket - self.low);
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        // There are fewer buckets than numbers.
        self.places[at] = self.kept.len() as u16;
    }

    /// Takes what is better in another one.
    pub(crate) fn merge(&mut self, other: &Self) {
        for &kept in &other.kept {
            self.offer(scale::bucket(kept.duration), kept.error, kept.start, || kept);
        }
    }

    /// Those kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.kept.len() as u64);
        for kept in &self.kept {
            bytes.push(u8::from(kept.error));
            put(bytes, kept.start);
            put(bytes, kept.duration);
            bytes.extend_from_slice(&kept.trace);
            bytes.extend_from_slice(&kept.span.to_be_bytes());
        }
    }

    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut exemplars = Self::default();
        for _ in 0..take_as::<u16>(bytes)? {
            let error = match take(bytes)? {
                0 => false,
                1 => true,
                _ => return None,
            };
            let (start, duration) = (take(bytes)?, take(bytes)?);
            let (trace, span) = (take_array(bytes)?, u64::from_be_bytes(take_array(bytes)?));
            let kept = Kept { error, start, duration, trace, span };
            exemplars.offer(scale::bucket(duration), error, start, || kept);
        }
        Some(exemplars)
    }
}

/// Most exemplars kept of minutes that are over: 56 bytes each, 11 MiB in all.
const KEPT_MAX: usize = 200_000;

/// Exemplars of minutes that are over, an hour together: a day of every minute's would be a thousand times more than
/// anybody looks at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hours {
    hours: BTreeMap<u32, BTreeMap<u32, Exemplars>>,
    kept: usize,
}

impl Hours {
    pub(crate) fn add(&mut self, hour: u32, id: u32, exemplars: &Exemplars) {
        let mine = self.hours.entry(hour).or_default().entry(id).or_default();
        self.kept -= mine.len();
        mine.merge(exemplars);
        self.kept += mine.len();
    }

    /// Forgets hours before `first`, and the oldest where there are too many exemplars.
    pub(crate) fn trim(&mut self, first: u32) {
        while let Some(entry) = self.hours.first_entry()
            && (*entry.key() < first || self.kept > KEPT_MAX)
        {
            self.kept -= entry.remove().values().map(Exemplars::len).sum::<usize>();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, &Exemplars)> {
        self.hours.iter().flat_map(|(&hour, of)| of.iter().map(move |(&id, exemplars)| (hour, id, exemplars)))
    }
}
