//! Where rows are: units that were compacted, and segments as they were committed, newest last.
//!
//! A query takes a [`View`] once and reads from it alone, so that rows that move between tiers meanwhile are neither
//! missed nor seen twice.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::backlog::Gate;
use crate::cold::Unit;
use crate::segment::Segment;

/// All tiers.
#[derive(Debug, Default)]
pub(crate) struct Tiers {
    state: RwLock<State>,
    /// Told how much waits for compaction whenever that changes.
    pub(crate) gate: Gate,
}

#[derive(Debug, Default)]
struct State {
    hot: Vec<Hot>,
    cold: Vec<Arc<Unit>>,
}

#[derive(Debug, Clone)]
struct Hot {
    segment: Arc<Segment>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Written to.
    Open,
    /// Complete: may be compacted.
    Sealed,
    /// Complete, with damage: left as it is, for what can still be read of it.
    SetAside,
}

/// What a query reads from.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Oldest first.
    pub(crate) hot: Vec<Arc<Segment>>,
    /// Oldest first; older than what is hot.
    pub(crate) cold: Vec<Arc<Unit>>,
}

impl Tiers {
    /// None yet; `gate` is told how much waits for compaction.
    pub(crate) fn new(gate: Gate) -> Self {
        Self { state: RwLock::default(), gate }
    }

    /// Takes in a segment of an earlier process.
    pub(crate) fn restore(&self, segment: Segment) {
        self.change(|state| state.hot.push(Hot { segment: Arc::new(segment), stage: Stage::Sealed }));
    }

    /// Takes in the segment that is written to from now on.
    pub(crate) fn begin(&self, segment: Arc<Segment>) {
        self.change(|state| state.hot.push(Hot { segment, stage: Stage::Open }));
    }

    /// Says that a segment is not written to any more. An empty one is removed.
    pub(crate) fn seal(&self, segment: &Arc<Segment>) {
        self.change(|state| {
            let at = state.hot.iter().position(|hot| Arc::ptr_eq(&hot.segment, segment));
            let Some(at) = at else { return };
            if segment.bytes() == 0 {
                state.hot.remove(at);
                // What cannot be removed now is empty, and is found empty by the next start.
                let _ = std::fs::remove_file(&segment.path);
            } else {
                state.hot[at].stage = Stage::Sealed;
            }
        });
    }

    /// Says that a segment has damage: it is not compacted.
    pub(crate) fn set_aside(&self, segment: &Arc<Segment>) {
        self.change(|state| {
            let damaged = state.hot.iter_mut().find(|hot| Arc::ptr_eq(&hot.segment, segment));
            damaged.into_iter().for_each(|hot| hot.stage = Stage::SetAside);
        });
    }

    /// Segments that may be compacted, oldest first.
    pub(crate) fn sealed(&self) -> Vec<Arc<Segment>> {
        self.segments(|stage| stage == Stage::Sealed)
    }

    /// Segments that are not written to any more, oldest first.
    pub(crate) fn complete(&self) -> Vec<Arc<Segment>> {
        self.segments(|stage| stage != Stage::Open)
    }

    fn segments(&self, wanted: impl Fn(Stage) -> bool) -> Vec<Arc<Segment>> {
        let state = self.read();
        state.hot.iter().filter(|hot| wanted(hot.stage)).map(|hot| Arc::clone(&hot.segment)).collect()
    }

    /// What is there now.
    pub(crate) fn view(&self) -> View {
        let state = self.read();
        let hot = state.hot.iter().map(|hot| Arc::clone(&hot.segment)).collect();
        View { hot, cold: state.cold.clone() }
    }

    /// Takes in a unit of an earlier process.
    pub(crate) fn restore_unit(&self, unit: Arc<Unit>) {
        self.change(|state| state.cold.push(unit));
    }

    /// Takes in a unit that was found in a bucket, among the others by its age.
    #[cfg(feature = "object-storage")]
    pub(crate) fn take_in(&self, unit: Arc<Unit>) {
        self.change(|state| {
            let first = unit.segments().first().copied();
            let at = state.cold.partition_point(|known| known.segments().first().copied() < first);
            state.cold.insert(at, unit);
        });
    }

    /// Puts a unit in the place of the segments it was made from.
    pub(crate) fn replace(&self, unit: Arc<Unit>) {
        self.change(|state| {
            state.hot.retain(|hot| !unit.segments().contains(&hot.segment.number));
            state.cold.push(unit);
        });
    }

    /// Puts a unit in the place of the neighbouring ones it was merged from.
    pub(crate) fn replace_units(&self, unit: Arc<Unit>, merged: &[Arc<Unit>]) {
        self.change(|state| {
            let is_merged = |known: &Arc<Unit>| merged.iter().any(|old| Arc::ptr_eq(old, known));
            let at = state.cold.iter().position(is_merged).unwrap_or(state.cold.len());
            state.cold.retain(|known| !is_merged(known));
            state.cold.insert(at, unit);
        });
    }

    /// All units, oldest first.
    pub(crate) fn units(&self) -> Vec<Arc<Unit>> {
        self.read().cold.clone()
    }

    /// Lets go of a unit.
    pub(crate) fn remove_unit(&self, unit: &Arc<Unit>) {
        self.change(|state| state.cold.retain(|known| !Arc::ptr_eq(known, unit)));
    }

    /// Lets go of a segment.
    pub(crate) fn remove_segment(&self, segment: &Arc<Segment>) {
        self.change(|state| state.hot.retain(|hot| !Arc::ptr_eq(&hot.segment, segment)));
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is there, and tells the gate, one change at a time.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state: RwLockWriteGuard<'_, State> =
            self.state.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let waiting = state.hot.iter().filter(|hot| hot.stage == Stage::Sealed);
        self.gate.set(waiting.map(|hot| hot.segment.bytes()).sum());
    }
}
