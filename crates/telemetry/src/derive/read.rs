//! Questions to what was derived, and their answers.
//!
//! A question holds the lock only while it takes references to what rests and copies of what is hot; adding up is
//! done outside, so that a question about a whole day does not keep the committer waiting.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::edges::{Edge, Link, View, cell};
use super::exemplar::{Exemplar, Kept};
use super::frames::{Frames, Seen};
use super::histogram::{Bucket, Histogram};
use super::names::{OTHER, Series as Known};
use super::scale;
use super::state::State;
use crate::model::SpanKind;

const NANOS: u64 = 1_000_000_000;

/// Most points one answer may have: Prometheus' own limit.
pub const POINTS_MAX: u64 = 11_000;

/// Which spans. What is left open matches all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeriesFilter {
    /// Their service.
    pub service: Option<String>,
    /// Their name. The series that holds what was over the limits is asked for by no name.
    pub operation: Option<String>,
    /// Their kinds; empty for all.
    pub kinds: Vec<SpanKind>,
}

impl SeriesFilter {
    /// What a service was asked by others: its server and consumer spans.
    pub fn incoming(service: impl Into<String>) -> Self {
        let kinds = vec![SpanKind::Server, SpanKind::Consumer];
        Self { service: Some(service.into()), operation: None, kinds }
    }

    fn matches(&self, state: &State, series: &Known) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&series.kind))
            && self.service.as_ref().is_none_or(|service| **state.services.name(series.service) == **service)
            && self.operation.as_ref().is_none_or(|name| series.operation.as_deref() == Some(&**name))
    }
}

/// When, and in which steps. Times are those at which spans started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    from: u64,
    to: u64,
    step: u64,
}

/// A window nobody can answer for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It ends before it begins, or has no length.
    #[error("the window ends before it begins; give an end after the start")]
    Empty,
    /// A step is shorter than a second.
    #[error("the step is shorter than a second; give one of 1 s or more")]
    Step,
    /// Too many steps.
    #[error("the window has {points} steps, at most {POINTS_MAX} can be answered; give a longer step")]
    TooMany {
        /// How many it has.
        points: u64,
    },
}

impl Window {
    /// A window from `from` to `to` (exclusive), nanoseconds since 1970, widened to whole seconds, in steps of whole
    /// seconds.
    ///
    /// # Errors
    ///
    /// [`WindowError`] where it has no length, steps below a second, or too many of them.
    pub fn new(from_unix_nano: u64, to_unix_nano: u64, step: Duration) -> Result<Self, WindowError> {
        let step = step.as_secs();
        if step == 0 {
            return Err(WindowError::Step);
        }
        let (from, to) = (from_unix_nano / NANOS, to_unix_nano.div_ceil(NANOS).min(u32::MAX.into()));
        if from_unix_nano >= to_unix_nano || from >= to {
            return Err(WindowError::Empty);
        }
        let points = (to - from).div_ceil(step);
        if points > POINTS_MAX {
            return Err(WindowError::TooMany { points });
        }
        Ok(Self { from, to, step })
    }

    /// All of it as one step.
    ///
    /// # Errors
    ///
    /// [`WindowError::Empty`] where it has no length.
    pub fn whole(from_unix_nano: u64, to_unix_nano: u64) -> Result<Self, WindowError> {
        let (from, to) = (from_unix_nano / NANOS, to_unix_nano.div_ceil(NANOS));
        Self::new(from_unix_nano, to_unix_nano, Duration::from_secs(to.saturating_sub(from).max(1)))
    }

    /// The frames to read: seconds while they are all kept and wanted, else whole minutes, to which the window is
    /// widened.
    fn frames<'a>(&mut self, seconds: &'a Frames, minutes: &'a Frames, now: u32) -> (&'a Frames, u64) {
        let kept = u64::from(seconds.first_kept(now));
        let aligned =
            self.from.is_multiple_of(60) && self.step.is_multiple_of(60) && self.to.is_multiple_of(60);
        if self.from >= kept && !aligned {
            return (seconds, 1);
        }
        self.from -= self.from % 60;
        self.to = self.to.next_multiple_of(60);
        self.step = self.step.next_multiple_of(60);
        (minutes, 60)
    }
}

/// Calls, errors and durations in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct RedPoint {
    /// Where the step begins, nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// How long it is. Windows that reach further back than the newest ten minutes are answered in whole minutes.
    pub step: Duration,
    /// Calls, errors and durations.
    pub calls: Histogram,
}

impl RedPoint {
    /// Calls a second.
    pub fn rate(&self) -> f64 {
        self.calls.calls() / self.step.as_secs_f64()
    }
}

/// One series and its calls in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its service.
    pub service: String,
    /// Its spans' name; none for those of the service that were over the limits.
    pub operation: Option<String>,
    /// Its spans' kind.
    pub kind: SpanKind,
    /// What it did.
    pub calls: Histogram,
}

impl Series {
    /// The spans' name, [`OTHER`] for those over the limits.
    pub fn name(&self) -> &str {
        self.operation.as_deref().unwrap_or(OTHER)
    }
}

/// One edge of the service map and its calls in a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Dependency {
    /// The calling service.
    pub caller: String,
    /// The called one, or the peer as the caller names it.
    pub callee: String,
    /// What kind of edge.
    pub link: Link,
    /// As the caller saw it, with the way there and back; an error is one that either side saw.
    pub caller_view: Histogram,
    /// As the callee saw it; empty where it sends no spans.
    pub callee_view: Histogram,
}

/// Calls by time and duration.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Where each column begins, nanoseconds since 1970.
    pub columns_unix_nano: Vec<u64>,
    /// How wide a column is.
    pub step: Duration,
    /// Bounds of each row in nanoseconds, lower exclusive and upper inclusive, shortest durations first.
    pub rows_nano: Vec<(f64, f64)>,
    /// For each column, what is in each row.
    pub cells: Vec<Vec<HeatCell>>,
    /// Whether a source sampled, so that counts are weighted estimates.
    pub estimated: bool,
}

/// What a cell of a heat map holds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HeatCell {
    /// Calls, errors among them.
    pub calls: f64,
    /// Errors.
    pub errors: f64,
}

/// What a question takes along from under the lock.
pub(crate) struct Taken<Key> {
    window: Window,
    frame_s: u64,
    frames: Vec<Seen>,
    keys: Vec<(u32, Key)>,
}

impl<Key> Taken<Key> {
    fn new(window: Window, seconds: &Frames, minutes: &Frames, now: u32, keys: Vec<(u32, Key)>) -> Self {
        let mut window = window;
        let (frames, frame_s) = window.frames(seconds, minutes, now);
        let times = (window.from / frame_s) as u32..window.to.div_ceil(frame_s) as u32;
        let wanted = |id| keys.binary_search_by_key(&id, |(key, _)| *key).is_ok();
        let frames = frames.see(times, wanted);
        Self { window, frame_s, frames, keys }
    }

    /// All of the window, key by key, those without calls left out.
    fn by_key(self) -> impl Iterator<Item = (u32, Key, Histogram)> {
        let mut sums: BTreeMap<u32, Histogram> = BTreeMap::new();
        for frame in &self.frames {
            frame.pieces(|id, histogram| {
                if self.keys.binary_search_by_key(&id, |(key, _)| *key).is_ok() {
                    sums.entry(id).or_default().merge(histogram);
                }
            });
        }
        self.keys.into_iter().filter_map(move |(id, key)| Some((id, key, sums.remove(&id)?)))
    }

    /// Step by step, all keys together; steps without calls too.
    fn by_step(&self) -> Vec<RedPoint> {
        let Window { from, to, step } = self.window;
        let mut points: Vec<RedPoint> = (from..to)
            .step_by(step as usize)
            .map(|start| RedPoint {
                start_unix_nano: start * NANOS,
                step: Duration::from_secs(step),
                calls: Histogram::default(),
            })
            .collect();
        for frame in &self.frames {
            let at = ((u64::from(frame.time) * self.frame_s).saturating_sub(from) / step) as usize;
            let Some(point) = points.get_mut(at) else { continue };
            self.keys.iter().for_each(|(id, _)| point.calls.merge(&frame.get(*id)));
        }
        points
    }
}

impl State {
    fn series_of(&self, filter: &SeriesFilter) -> Vec<(u32, Series)> {
        let matching = self.series.iter().filter(|(_, series)| filter.matches(self, series));
        let named = matching.map(|(id, series)| {
            let service = self.services.name(series.service).to_string();
            let operation = series.operation.as_ref().map(ToString::to_string);
            (id, Series { service, operation, kind: series.kind, calls: Histogram::default() })
        });
        named.collect()
    }

    pub(crate) fn take_series(&self, filter: &SeriesFilter, window: Window, now: u32) -> Taken<Series> {
        Taken::new(window, &self.seconds, &self.minutes, now, self.series_of(filter))
    }

    pub(crate) fn take_edges(
        &self,
        window: Window,
        now: u32,
        wanted: impl Fn(&Dependency) -> bool,
    ) -> Taken<Dependency> {
        let named = self.graph.edges.iter().map(|(id, edge)| (id, self.dependency(edge)));
        let views = named.filter(|(_, dependency)| wanted(dependency)).flat_map(|(id, dependency)| {
            [(cell(id, View::Caller), dependency.clone()), (cell(id, View::Callee), dependency)]
        });
        Taken::new(window, &self.graph.seconds, &self.graph.minutes, now, views.collect())
    }

    pub(crate) fn dependency(&self, edge: &Edge) -> Dependency {
        let callee = match edge.link {
            Link::Uninstrumented => self.peers.name(edge.callee),
            Link::Call | Link::Message => self.services.name(edge.callee),
        };
        Dependency {
            caller: self.services.name(edge.caller).to_string(),
            callee: callee.to_string(),
            link: edge.link,
            caller_view: Histogram::default(),
            callee_view: Histogram::default(),
        }
    }

    /// The best exemplar of each bucket that started in `range` (nanoseconds since 1970), longest first.
    pub(crate) fn exemplars(&self, filter: &SeriesFilter, range: &Range<u64>) -> Vec<Exemplar> {
        let ids: Vec<u32> = self.series_of(filter).into_iter().map(|(id, _)| id).collect();
        let mut best: BTreeMap<u16, Kept> = BTreeMap::new();
        let mut offer = |kept: &Kept| {
            if range.contains(&kept.start) {
                let best = best.entry(scale::bucket(kept.duration)).or_insert(*kept);
                *best = (*best).max(*kept);
            }
        };
        let is_wanted = |id: u32| ids.binary_search(&id).is_ok();
        let resting = self.hours.iter().filter(|&(_, id, _)| is_wanted(id));
        resting.for_each(|(_, _, exemplars)| exemplars.iter().for_each(&mut offer));
        let hot = self.minutes.hot().filter(|&(_, id, _)| is_wanted(id));
        hot.for_each(|(_, _, cell)| cell.exemplars.iter().for_each(&mut offer));
        best.into_values().rev().map(Exemplar::from).collect()
    }
}

/// The series of a window that had calls, by service, name and kind.
pub(crate) fn series(taken: Taken<Series>) -> Vec<Series> {
    let mut all: Vec<Series> = taken.by_key().map(|(_, series, calls)| Series { calls, ..series }).collect();
    all.sort_by(|a, b| (&a.service, &a.operation, a.kind).cmp(&(&b.service, &b.operation, b.kind)));
    all
}

/// Calls step by step.
pub(crate) fn red(taken: &Taken<Series>) -> Vec<RedPoint> {
    taken.by_step()
}

/// The edges of a window that had calls, by caller, callee and kind.
pub(crate) fn dependencies(taken: Taken<Dependency>) -> Vec<Dependency> {
    let mut all: Vec<Dependency> = Vec::new();
    for (id, dependency, calls) in taken.by_key() {
        if id % 2 == View::Caller as u32 {
            all.push(Dependency { caller_view: calls, ..dependency });
        } else if let Some(last) = all.last_mut() {
            // Both sides of a call are counted together, the caller's under the number before.
            last.callee_view = calls;
        }
    }
    all.sort_by(|a, b| (&a.caller, &a.callee, a.link).cmp(&(&b.caller, &b.callee, b.link)));
    // A service that answers at other times was only not reached: those calls belong to the edge that is there.
    all.dedup_by(|alone, edge| {
        let same = (&alone.caller, &alone.callee) == (&edge.caller, &edge.callee)
            && alone.link == Link::Uninstrumented;
        if same {
            edge.caller_view.merge(&alone.caller_view);
        }
        same
    });
    all
}

/// Points as a heat map.
pub(crate) fn heat_map(points: &[RedPoint], step: Duration) -> HeatMap {
    let buckets: Vec<Vec<Bucket>> = points.iter().map(|point| point.calls.buckets().collect()).collect();
    let numbers = || buckets.iter().flatten().map(|bucket| bucket.number);
    let rows = match (numbers().min(), numbers().max()) {
        (Some(low), Some(high)) => low..high + 1,
        _ => 0..0,
    };
    let cells = buckets.iter().map(|column| {
        let mut cells = vec![HeatCell::default(); rows.len()];
        for bucket in column {
            cells[usize::from(bucket.number - rows.start)] =
                HeatCell { calls: bucket.calls, errors: bucket.errors };
        }
        cells
    });
    HeatMap {
        columns_unix_nano: points.iter().map(|point| point.start_unix_nano).collect(),
        step: points.first().map_or(step, |point| point.step),
        cells: cells.collect(),
        estimated: points.iter().any(|point| point.calls.estimated()),
        rows_nano: rows.map(|number| (scale::lower(number), scale::upper(number))).collect(),
    }
}
