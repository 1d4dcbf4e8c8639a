//! What is derived, and how a batch of spans changes it.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

use super::exemplar::{Hours, Kept};
use super::frames::{Frames, Keep};
use super::graph::Graph;
use super::join::{Boundaries, Boundary, Join, Manner, Side, WAIT_S, WAITING_MAX};
use super::names::{Names, OTHER_NAME, SeriesTable};
use super::peers::Peers;
use super::scale;
use super::versions::Versions;
use super::weight::{self, ONE};
use crate::batch::Batch;
use crate::column::{Form, Strings};
use crate::model::{SpanKind, StatusCode};

/// Seconds kept: the newest ten minutes.
pub(crate) const SECONDS: Keep = Keep { frames: 600, hot: 15, bytes: 32 << 20 };

/// Minutes kept: a day.
pub(crate) const MINUTES: Keep = Keep { frames: 1440, hot: 15, bytes: 64 << 20 };

/// A span that starts this much after now (seconds) comes from a clock nobody can count by.
const FUTURE_S: u64 = 300;

/// Spans that were not counted where one would look for them. Counted from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DerivedCounters {
    /// Spans looked at.
    pub spans: u64,
    /// Spans counted in an `other` series, because there were too many series.
    pub in_other: u64,
    /// Spans that started before the day that is kept: not counted.
    pub too_old: u64,
    /// Spans that started more than five minutes in the future: not counted.
    pub too_new: u64,
    /// Pairs of caller and callee that met, within one service too.
    pub joined: u64,
    /// Callers whose callee did not come within the minute and is not named either.
    pub callers_alone: u64,
    /// Callees whose caller did not come within the minute.
    pub callees_alone: u64,
    /// Of these and of edges to uninstrumented peers: boundary spans that had to go early because too many waited.
    pub gone_early: u64,
    /// Boundary spans that wait now.
    pub waiting: u64,
}

/// All that is derived.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) services: Names,
    pub(crate) peers: Names,
    pub(crate) series: SeriesTable,
    pub(crate) seconds: Frames,
    pub(crate) minutes: Frames,
    pub(crate) graph: Graph,
    pub(crate) hours: Hours,
    pub(crate) counters: DerivedCounters,
    pub(crate) versions: Versions,
    join: Join,
    /// Of the batch that is looked at; kept for its room.
    boundaries: Boundaries,
    /// The second of the last tick.
    ticked: u32,
    hasher: RandomState,
    known: HashMap<u64, u32, RandomState>,
}

/// Where rows of one service, name and kind go, while one batch is looked at.
#[derive(Debug, Clone, Copy)]
struct Local {
    series: u32,
    other: bool,
    second: u32,
    second_place: u32,
    minute: u32,
    minute_place: u32,
}

/// Marks an operation of which a batch has spans that are not counted.
const UNCOUNTED: u64 = 1 << 63;

/// A time no frame has.
const NEVER: u32 = u32::MAX;

impl State {
    pub(crate) fn new() -> Self {
        Self {
            services: Names::default(),
            peers: Names::default(),
            series: SeriesTable::default(),
            seconds: Frames::new(SECONDS),
            minutes: Frames::new(MINUTES),
            graph: Graph::new(),
            hours: Hours::default(),
            counters: DerivedCounters::default(),
            versions: Versions::default(),
            join: Join::default(),
            boundaries: Boundaries::default(),
            ticked: 0,
            hasher: RandomState::default(),
            known: HashMap::default(),
        }
    }

    /// Brings what is kept up to `now` (seconds since 1970).
    pub(crate) fn tick(&mut self, now: u32) {
        if now <= self.ticked {
            return;
        }
        let minute_began = now / 60 > self.ticked / 60;
        self.ticked = now;
        self.cool();
        if minute_began {
            // An hour later than needed, so that exemplars of its last hour are gone too.
            self.series.forget_before(self.minutes.first_kept(now / 60).saturating_sub(60));
        }
        self.expire(WAITING_MAX);
    }

    /// Lets all boundary spans go that wait.
    pub(crate) fn expire_all(&mut self) {
        self.expire(0);
    }

    /// Cools every minute, for reading all of it.
    pub(crate) fn cool_all(&mut self) {
        let Self { series, hours, .. } = self;
        self.minutes.cool_all(|minute, id, cell| {
            if let Some(series) = series.get_mut(id) {
                series.total.merge(&cell.histogram);
            }
            hours.add(minute / 60, id, &cell.exemplars);
        });
        self.graph.cool_all();
    }

    fn cool(&mut self) {
        let minute = self.ticked / 60;
        self.seconds.cool(self.ticked, |_, _, _| {});
        let Self { series, hours, .. } = self;
        self.minutes.cool(minute, |minute, id, cell| {
            if let Some(series) = series.get_mut(id) {
                series.total.merge(&cell.histogram);
            }
            hours.add(minute / 60, id, &cell.exemplars);
        });
        self.hours.trim(self.minutes.first_kept(minute) / 60);
        self.graph.cool(self.ticked);
    }

    fn expire(&mut self, most: usize) {
        let Self { join, graph, counters, ticked, .. } = self;
        let now = *ticked;
        join.expire(now, most, |span| {
            counters.gone_early += u64::from(now.saturating_sub(span.arrived) < WAIT_S);
            match span.side {
                Side::Callee => counters.callees_alone += 1,
                Side::Caller if span.peer == OTHER_NAME => counters.callers_alone += 1,
                Side::Caller => graph.alone(now, span),
            }
        });
    }

    /// Counts a batch of spans at `now` (nanoseconds since 1970). Each operation met for the first time, or of those
    /// without a series of their own, is shown to `learn` with its service.
    pub(crate) fn observe(&mut self, batch: &Batch, now: u64, mut learn: impl FnMut(&str, &str, SpanKind)) {
        self.tick((now / 1_000_000_000) as u32);
        for (resource, service) in (0..).zip(&batch.origins.services) {
            self.versions.see(service, batch.origins.resources.entry(resource), self.ticked);
        }
        let services: Vec<u32> =
            batch.origins.services.iter().map(|service| self.services.intern(service)).collect();
        let services: Vec<u32> =
            batch.origins.pairs.iter().map(|&(resource, _)| services[resource as usize]).collect();
        let weights = Weights::new(&batch.trace_state);
        let mut peers = Peers::new(batch);
        let (mut known, mut locals) = (std::mem::take(&mut self.known), Vec::new());
        let kept = Bounds::new(self, now);
        for row in 0..batch.rows() {
            let kind = batch.kind[row];
            let calls_out = kind == SpanKind::Client as u8 || kind == SpanKind::Producer as u8;
            let peer = peers.pass(row, calls_out, &mut self.peers);
            let start = batch.start[row];
            let second = start / 1_000_000_000;
            let key =
                u64::from(batch.origin[row]) << 40 | u64::from(batch.name.code(row)) << 8 | u64::from(kind);
            if second >= kept.end || second < kept.minutes {
                self.counters.too_new += u64::from(second >= kept.end);
                self.counters.too_old += u64::from(second < kept.minutes);
                // Not counted, yet searched for by name.
                if known.insert(key | UNCOUNTED, 0).is_none() {
                    let name = batch.name.text(batch.name.code(row));
                    learn(batch.origins.service(batch.origin[row]), name, SpanKind::from_number(kind.into()));
                }
                continue;
            }
            let weight = weights.of(&batch.trace_state, row);
            let at = *known.entry(key).or_insert_with(|| {
                locals.push(self.local(batch, row, services[batch.origin[row] as usize], &mut learn));
                locals.len() as u32 - 1
            });
            self.count(batch, row, second as u32, weight, &kept, &mut locals[at as usize]);
            if kind >= SpanKind::Server as u8 {
                let service = services[batch.origin[row] as usize];
                self.add_boundary(batch, row, service, peer, weight);
            }
        }
        known.clear();
        self.known = known;
        self.meet();
        self.counters.spans += batch.rows() as u64;
        self.counters.waiting = self.join.len() as u64;
        self.expire(WAITING_MAX);
        if self.minutes.is_crowded() || self.seconds.is_crowded() || self.graph.is_crowded() {
            self.cool();
        }
    }

    #[cold]
    fn local(
        &mut self,
        batch: &Batch,
        row: usize,
        service: u32,
        learn: &mut impl FnMut(&str, &str, SpanKind),
    ) -> Local {
        let name = batch.name.text(batch.name.code(row));
        let kind = SpanKind::from_number(batch.kind[row].into());
        let (series, known) = self.series.intern(service, name, kind);
        let other = self.series.get(series).is_some_and(|series| series.operation.is_none());
        if other || !known {
            learn(batch.origins.service(batch.origin[row]), name, kind);
        }
        Local { series, other, second: NEVER, second_place: 0, minute: NEVER, minute_place: 0 }
    }

    #[inline]
    fn count(
        &mut self,
        batch: &Batch,
        row: usize,
        second: u32,
        weight: u64,
        kept: &Bounds,
        local: &mut Local,
    ) {
        let (start, duration) = (batch.start[row], batch.duration[row]);
        let error = batch.status[row] == StatusCode::Error as u8;
        let bucket = scale::bucket(duration);
        self.counters.in_other += u64::from(local.other);
        if u64::from(second) >= kept.seconds {
            if local.second != second {
                local.second = second;
                local.second_place = self.seconds.place(second, local.series);
            }
            self.seconds.cell(local.second_place).histogram.add(bucket, duration, weight, error);
        }
        let minute = second / 60;
        if local.minute != minute {
            local.minute = minute;
            local.minute_place = self.minutes.place(minute, local.series);
            if let Some(series) = self.series.get_mut(local.series) {
                series.last = series.last.max(minute);
            }
        }
        let cell = self.minutes.cell(local.minute_place);
        cell.histogram.add(bucket, duration, weight, error);
        cell.exemplars.offer(bucket, error, start, || Kept {
            error,
            start,
            duration,
            trace: batch.trace[row],
            span: batch.span[row],
        });
    }

    #[inline]
    fn add_boundary(&mut self, batch: &Batch, row: usize, service: u32, peer: u32, weight: u64) {
        let kind = batch.kind[row];
        let is = |wanted: SpanKind| kind == wanted as u8;
        let (side, span) = if is(SpanKind::Client) || is(SpanKind::Producer) {
            (Side::Caller, batch.span[row])
        } else {
            (Side::Callee, batch.parent[row])
        };
        if span == 0 {
            return;
        }
        let message = is(SpanKind::Producer) || is(SpanKind::Consumer);
        self.boundaries.push(Boundary {
            key: self.hasher.hash_one((u128::from_ne_bytes(batch.trace[row]), span)),
            start: batch.start[row],
            duration: batch.duration[row],
            weight,
            service,
            peer,
            arrived: self.ticked,
            side,
            manner: if message { Manner::Message } else { Manner::Call },
            error: batch.status[row] == StatusCode::Error as u8,
            matched: false,
        });
    }

    /// Lets the boundary spans of the batch meet each other and those before.
    fn meet(&mut self) {
        let Self { join, boundaries, graph, counters, ticked, .. } = self;
        let crowd = join.meet(boundaries, |caller, callee| {
            counters.joined += 1;
            if caller.service != callee.service {
                graph.pair(*ticked, caller, callee);
            }
        });
        boundaries.clear();
        counters.callees_alone += crowd;
        counters.gone_early += crowd;
    }
}

/// From when to when spans are counted, seconds since 1970.
struct Bounds {
    seconds: u64,
    minutes: u64,
    /// Exclusive.
    end: u64,
}

impl Bounds {
    fn new(state: &State, now: u64) -> Self {
        let now = now / 1_000_000_000;
        Self {
            seconds: state.seconds.first_kept(now as u32).into(),
            minutes: u64::from(state.minutes.first_kept((now / 60) as u32)) * 60,
            end: (now + FUTURE_S).min(u64::from(u32::MAX - 1)),
        }
    }
}

/// The weight of each row: looked up where there are few different `tracestate`s, read where each row has its own.
struct Weights(Vec<u64>);

impl Weights {
    fn new(states: &Strings) -> Self {
        match states.form() {
            Form::Plain => Self(Vec::new()),
            Form::Dictionary => {
                Self((0..states.entries() as u32).map(|code| weight::of(states.entry(code))).collect())
            }
        }
    }

    #[inline]
    fn of(&self, states: &Strings, row: usize) -> u64 {
        let code = states.code(row);
        match self.0.get(code as usize) {
            Some(&weight) => weight,
            None if states.entry(code).is_empty() => ONE,
            None => weight::of(states.entry(code)),
        }
    }
}
