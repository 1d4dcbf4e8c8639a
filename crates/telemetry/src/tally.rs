//! Exact counts of chosen spans, for objectives: every committed span once, also across restarts.
//!
//! In: every committed batch with its place in the log, on the committer's thread; which spans are counted, and up to which
//! place they were counted before. Out: how many ended in which second, and how many of these were bad, each told once,
//! with the place up to which that is all.
//!
//! The limit of a duration is compared with the span's own, not with a bucket's bound. A span is counted in the second it
//! *ended* in: who sends it does so at its end. Where a source sampled, a span counts as the whole number of spans it
//! stands for that is nearest, at least one.
//!
//! Deliberately absent: what the counts are for, and keeping the place; whoever asks keeps both together.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use crate::Telemetry;
use crate::batch::Batch;
use crate::block::Block;
use crate::derive::weight;
use crate::intake::lock;
use crate::model::{Signal, SpanKind, StatusCode};

/// A place in the log of spans: what was committed before it is at or below it. Ordered as spans were committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// The byte at which the block begins.
    pub offset: u64,
}

impl Place {
    /// Before every block: segments are numbered from 1.
    pub const BEGINNING: Self = Self { segment: 0, offset: 0 };
}

impl Default for Place {
    fn default() -> Self {
        Self::BEGINNING
    }
}

/// Which spans are counted, and which of them are bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// `service.name`; every service where it is `None`.
    pub service: Option<String>,
    /// The span's name; any where it is `None`.
    pub operation: Option<String>,
    /// The part the span has in a request.
    pub role: WatchedRole,
    /// From this duration on a span is bad, in nanoseconds, beside those with an error; `None` where only errors are.
    pub slow_from_nano: Option<u64>,
}

/// The part a span has in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchedRole {
    /// Any.
    Any,
    /// It answers: kind server.
    Server,
    /// It asks: kind client.
    Client,
    /// It asks a database: kind client with `db.system` or `db.system.name`.
    Database,
}

/// Spans that ended in one second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tallied {
    /// Which of the watched, by its number.
    pub watch: usize,
    /// The second since 1970-01-01 UTC in which they ended.
    pub second: i64,
    /// The service that sent them.
    pub service: Arc<str>,
    /// How many were bad.
    pub bad: u64,
    /// How many there were.
    pub total: u64,
}

/// What counting again from an earlier place found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caught {
    /// Spans that were committed after that place, and are counted now.
    pub spans: u64,
    /// Whether some may be missing: they were compacted since, and are not counted.
    pub incomplete: bool,
}

/// What is counted, and what was not asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    watched: Vec<Watched>,
    /// The last block that is in the counts.
    place: Place,
    counts: BTreeMap<(usize, i64, Arc<str>), (u64, u64)>,
}

impl Tally {
    /// Counts a committed batch, once.
    pub(crate) fn observe(&mut self, batch: &Batch, place: Place) {
        if self.watched.is_empty() || place <= self.place {
            return;
        }
        self.place = place;
        if batch.signal == Signal::Spans {
            self.count(batch);
        }
    }

    fn count(&mut self, batch: &Batch) {
        let databases = Databases::of(batch);
        let (mut runs, mut known): (Vec<Run>, HashMap<u64, usize>) = Default::default();
        let mut last = None;
        for row in 0..batch.rows() {
            let kind = batch.kind[row];
            let key =
                u64::from(batch.origin[row]) << 40 | u64::from(batch.name.code(row)) << 8 | u64::from(kind);
            // Rows of one kind often follow each other.
            let at = match last {
                Some((before, at)) if before == key => at,
                _ => *known.entry(key).or_insert_with(|| {
                    runs.push(Run::new(&self.matching(batch, row), batch.origins.service(batch.origin[row])));
                    runs.len() - 1
                }),
            };
            last = Some((key, at));
            let run = &mut runs[at];
            if run.sums.is_empty() {
                continue;
            }
            let failed = batch.status[row] == StatusCode::Error as u8;
            let duration = batch.duration[row];
            let states = &batch.trace_state;
            let weight = weight::of(states.entry(states.code(row)));
            let spans = ((weight + weight::ONE / 2) / weight::ONE).max(1);
            let second = (batch.start[row].saturating_add(duration) / 1_000_000_000) as i64;
            if run.second != second {
                run.put_into(&mut self.counts);
                run.second = second;
            }
            for (watch, bad, total) in &mut run.sums {
                let Watched { role, slow_from_nano, .. } = &self.watched[*watch];
                if *role == WatchedRole::Database && !databases.has(batch, row) {
                    continue;
                }
                let is_bad = failed || slow_from_nano.is_some_and(|limit| duration >= limit);
                *bad += spans * u64::from(is_bad);
                *total += spans;
            }
        }
        runs.iter_mut().for_each(|run| run.put_into(&mut self.counts));
    }

    /// The watched that a row's service, name and kind do not rule out.
    fn matching(&self, batch: &Batch, row: usize) -> Box<[usize]> {
        let service = &**batch.origins.service(batch.origin[row]);
        let name = batch.name.text(batch.name.code(row));
        let kind = SpanKind::from_number(batch.kind[row].into());
        let matches = |watched: &Watched| {
            let role = match watched.role {
                WatchedRole::Any => true,
                WatchedRole::Server => kind == SpanKind::Server,
                WatchedRole::Client | WatchedRole::Database => kind == SpanKind::Client,
            };
            role && watched.service.as_deref().is_none_or(|wanted| wanted == service)
                && watched.operation.as_deref().is_none_or(|wanted| wanted == name)
        };
        self.watched.iter().enumerate().filter(|(_, watched)| matches(watched)).map(|(at, _)| at).collect()
    }
}

/// Rows of one service, name and kind that ended in one second.
struct Run {
    service: Arc<str>,
    second: i64,
    /// Of each that watches them: its number, the bad ones, all.
    sums: Box<[(usize, u64, u64)]>,
}

impl Run {
    fn new(watches: &[usize], service: &Arc<str>) -> Self {
        let sums = watches.iter().map(|watch| (*watch, 0, 0)).collect();
        Self { service: Arc::clone(service), second: 0, sums }
    }

    /// Adds what was counted to the rest, and begins anew.
    fn put_into(&mut self, counts: &mut BTreeMap<(usize, i64, Arc<str>), (u64, u64)>) {
        for (watch, bad, total) in self.sums.iter_mut().filter(|(_, _, total)| *total > 0) {
            let sum = counts.entry((*watch, self.second, Arc::clone(&self.service))).or_default();
            *sum = (sum.0 + std::mem::take(bad), sum.1 + std::mem::take(total));
        }
    }
}

/// The shapes of a batch that name a database.
struct Databases(Vec<bool>);

impl Databases {
    fn of(batch: &Batch) -> Self {
        let names = |column: &u32| {
            let key = &*batch.attributes.columns()[*column as usize].key;
            key == b"db.system" || key == b"db.system.name"
        };
        Self(batch.attributes.shapes().iter().map(|shape| shape.iter().any(names)).collect())
    }

    fn has(&self, batch: &Batch, row: usize) -> bool {
        self.0[batch.attributes.items()[row] as usize]
    }
}

impl Telemetry {
    /// Begins to count, in place of what was counted before. With `after`, what was committed after that place is counted
    /// at once, so that a caller who kept the place with its counts misses nothing and counts nothing twice; without,
    /// what comes from now on.
    ///
    /// Committing waits meanwhile: call it before senders are let in.
    ///
    /// # Errors
    ///
    /// Where what was committed after that place cannot be read.
    pub fn tally(&self, watched: Vec<Watched>, after: Option<Place>) -> io::Result<Caught> {
        let mut tally = lock(&self.open.tally);
        let view = self.open.tiers.view();
        let last = view.hot.iter().filter_map(|segment| {
            let offset = segment.outlines().last()?.offset;
            Some(Place { segment: segment.number, offset })
        });
        let place = after.or(last.max()).unwrap_or(Place::BEGINNING);
        *tally = Tally { watched, place, counts: BTreeMap::new() };
        let Some(after) = after else { return Ok(Caught::default()) };
        let mut caught = Caught {
            spans: 0,
            incomplete: view
                .cold
                .iter()
                .flat_map(|unit| unit.segments())
                .any(|segment| *segment > after.segment),
        };
        let mut hot = view.hot;
        hot.sort_by_key(|segment| segment.number);
        for segment in hot.iter().filter(|segment| segment.number >= after.segment) {
            for outline in segment.outlines() {
                let place = Place { segment: segment.number, offset: outline.offset };
                if place <= after || outline.signal() != Signal::Spans {
                    continue;
                }
                let batch = Block::read(&segment.read(&outline)?).and_then(|block| block.batch());
                let batch = batch.map_err(io::Error::other)?;
                caught.spans += batch.rows() as u64;
                tally.observe(&batch, place);
            }
        }
        Ok(caught)
    }

    /// What was counted since the last call, and the place up to which that is everything.
    pub fn take_tally(&self) -> (Vec<Tallied>, Place) {
        let mut tally = lock(&self.open.tally);
        let counts = std::mem::take(&mut tally.counts).into_iter();
        let told = counts.map(|((watch, second, service), (bad, total))| Tallied {
            watch,
            second,
            service,
            bad,
            total,
        });
        (told.collect(), tally.place)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::fixture::{self, text};
    use crate::{Config, Telemetry};

    const SECOND: u64 = 1_000_000_000;

    fn server(slow_from_nano: Option<u64>) -> Watched {
        Watched {
            service: Some("cart".to_owned()),
            operation: None,
            role: WatchedRole::Server,
            slow_from_nano,
        }
    }

    fn open(dir: &TempDir) -> Telemetry {
        Telemetry::open(Config::new(dir.path())).unwrap()
    }

    fn send(store: &Telemetry, request: &[u8]) {
        store.intake().traces(request).unwrap().durable.wait().unwrap();
    }

    /// Counts until so many spans came: senders are answered before their spans are counted.
    fn wait_for(store: &Telemetry, total: u64) -> (u64, u64, Place) {
        let (mut bad, mut seen, began) = (0, 0, Instant::now());
        loop {
            let (told, place) = store.take_tally();
            bad += told.iter().map(|tallied| tallied.bad).sum::<u64>();
            seen += told.iter().map(|tallied| tallied.total).sum::<u64>();
            if seen >= total || began.elapsed() > Duration::from_secs(20) {
                return (bad, seen, place);
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_limit_is_exact_and_other_services_are_not_counted() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        // The fixture's spans take 5 ms.
        let watched = vec![server(None), server(Some(5_000_000)), server(Some(5_000_001))];
        store.tally(watched, None).unwrap();
        send(&store, &fixture::traces("other", [fixture::span(1, 9, 7 * SECOND)]));
        send(&store, &fixture::traces("cart", (1..=4).map(|span| fixture::span(1, span, 7 * SECOND))));
        let mut told = Vec::new();
        let began = Instant::now();
        while told.len() < 3 && began.elapsed() < Duration::from_secs(20) {
            told.extend(store.take_tally().0);
        }
        let of = |watch: usize| told.iter().find(|tallied| tallied.watch == watch).unwrap();
        assert_eq!((of(0).second, of(0).total, &*of(0).service), (7, 4, "cart"));
        assert_eq!((of(0).bad, of(1).bad, of(2).bad), (0, 4, 0));
    }

    #[test]
    fn a_database_is_told_by_its_attribute() {
        let dir = TempDir::new().unwrap();
        let store = open(&dir);
        let watched =
            Watched { service: None, operation: None, role: WatchedRole::Database, slow_from_nano: None };
        store.tally(vec![watched], None).unwrap();
        let client = |span| fixture::span(1, span, 7 * SECOND).varint(6, 3);
        let query = client(1)
            .message(9, text("db.system.name", "postgresql"))
            .message(15, fixture::Message::new().varint(3, 2));
        send(&store, &fixture::traces("cart", [query, client(2)]));
        assert_eq!(wait_for(&store, 1).0, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// Whatever was told before a process ended without a word, the next one tells the rest.
        #[test]
        fn a_restart_at_any_place_counts_every_span_once(
            requests in prop::collection::vec((1u64..6, any::<bool>()), 1..8), ends in 0usize..8,
        ) {
            let dir = TempDir::new().unwrap();
            let all: u64 = requests.iter().map(|(spans, _)| spans).sum();
            let failed: u64 = requests.iter().filter(|(_, failed)| *failed).map(|(spans, _)| spans).sum();
            let store = open(&dir);
            store.tally(vec![server(None)], None).unwrap();
            let (mut bad, mut total, mut kept) = (0, 0, None);
            for (at, (spans, failed)) in requests.iter().enumerate() {
                let status = if *failed { 2 } else { 1 };
                let span = |span| {
                    fixture::span(at as u64 + 1, span, SECOND).message(15, fixture::Message::new().varint(3, status))
                };
                send(&store, &fixture::traces("cart", (1..=*spans).map(span)));
                // The rest is committed, and nobody keeps that it was counted.
                if at < ends {
                    let (bads, seen, place) = wait_for(&store, *spans);
                    (bad, total, kept) = (bad + bads, total + seen, Some(place));
                }
            }
            drop(store);
            if kept.is_some() {
                let store = open(&dir);
                store.tally(vec![server(None)], kept).unwrap();
                let (told, _) = store.take_tally();
                bad += told.iter().map(|tallied| tallied.bad).sum::<u64>();
                total += told.iter().map(|tallied| tallied.total).sum::<u64>();
                prop_assert_eq!((bad, total), (failed, all));
            }
        }
    }
}
