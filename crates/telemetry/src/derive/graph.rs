//! The service map by time: what each edge's callers and callees measured.
//!
//! In: pairs, and callers that stayed alone but name their peer. Out: cells of seconds and minutes, two an edge (one
//! for each [`View`]).

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::edges::{Edge, Edges, Link, View, cell};
use super::frames::{Frames, Keep};
use super::join::{Boundary, Manner};
use super::scale;

/// As for series, of which there are more.
const SECONDS: Keep = Keep { bytes: 8 << 20, ..super::state::SECONDS };
const MINUTES: Keep = Keep { bytes: 16 << 20, ..super::state::MINUTES };

/// Edges whose cells are remembered.
const RECENT_MAX: usize = 4096;

/// All edges and their frames.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) edges: Edges,
    pub(crate) seconds: Frames,
    pub(crate) minutes: Frames,
    /// Where the calls of an edge were counted last; forgotten when frames cool.
    recent: HashMap<Edge, Recent, RandomState>,
}

#[derive(Debug, Clone, Copy)]
struct Recent {
    edge: u32,
    seconds: Places,
    minutes: Places,
}

/// The cells of an edge in one frame.
#[derive(Debug, Clone, Copy)]
struct Places {
    time: u32,
    /// By [`View`].
    places: [u32; 2],
}

/// No frame has this time.
const NOWHERE: Places = Places { time: u32::MAX, places: [0; 2] };

impl Graph {
    pub(crate) fn new() -> Self {
        Self {
            edges: Edges::default(),
            seconds: Frames::new(SECONDS),
            minutes: Frames::new(MINUTES),
            recent: HashMap::default(),
        }
    }

    /// Whether hot cells take too much room.
    pub(crate) fn is_crowded(&self) -> bool {
        self.minutes.is_crowded() || self.seconds.is_crowded()
    }

    /// Cools what is over at `now`, in seconds since 1970.
    pub(crate) fn cool(&mut self, now: u32) {
        self.recent.clear();
        self.seconds.cool(now, |_, _, _| {});
        let edges = &mut self.edges;
        self.minutes.cool(now / 60, |_, id, cell| edges.add_total(id, &cell.histogram));
    }

    /// Cools every minute, for reading all of it.
    pub(crate) fn cool_all(&mut self) {
        self.recent.clear();
        let edges = &mut self.edges;
        self.minutes.cool_all(|_, id, cell| edges.add_total(id, &cell.histogram));
    }

    /// Counts a caller and its callee.
    pub(crate) fn pair(&mut self, now: u32, caller: &Boundary, callee: &Boundary) {
        let link = match caller.manner {
            Manner::Call => Link::Call,
            Manner::Message => Link::Message,
        };
        let edge = Edge { caller: caller.service, callee: callee.service, link };
        // Both sides under the caller's time, so that they can be compared. Where both were sampled, the rarer of
        // the two decides how often one sees them together.
        let weight = caller.weight.max(callee.weight);
        let failed = caller.error || callee.error;
        let spans = [(View::Caller, caller.duration, failed), (View::Callee, callee.duration, callee.error)];
        self.count(now, edge, caller.start, weight, &spans);
    }

    /// Counts a caller whose peer sends no spans.
    pub(crate) fn alone(&mut self, now: u32, caller: &Boundary) {
        let edge = Edge { caller: caller.service, callee: caller.peer, link: Link::Uninstrumented };
        let spans = [(View::Caller, caller.duration, caller.error)];
        self.count(now, edge, caller.start, caller.weight, &spans);
    }

    fn count(&mut self, now: u32, edge: Edge, start: u64, weight: u64, spans: &[(View, u64, bool)]) {
        let Self { edges, seconds, minutes, recent } = self;
        if recent.len() == RECENT_MAX {
            recent.clear();
        }
        let recent = recent.entry(edge).or_insert_with(|| Recent {
            edge: edges.intern(edge),
            seconds: NOWHERE,
            minutes: NOWHERE,
        });
        let second = (start / 1_000_000_000) as u32;
        let frames = [
            (seconds, &mut recent.seconds, second, now),
            (minutes, &mut recent.minutes, second / 60, now / 60),
        ];
        for (frames, at, time, now) in frames {
            if time < frames.first_kept(now) {
                continue;
            }
            if at.time != time {
                *at = Places { time, places: [u32::MAX; 2] };
            }
            for &(view, duration, error) in spans {
                let place = &mut at.places[view as usize];
                if *place == u32::MAX {
                    *place = frames.place(time, cell(recent.edge, view));
                }
                frames.cell(*place).histogram.add(scale::bucket(duration), duration, weight, error);
            }
        }
    }
}
