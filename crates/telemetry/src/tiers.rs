//! Where rows are: units that were compacted, and segments as they were committed, newest last.
//!
//! A query takes a [`View`] once and reads from it alone, so that rows that move between tiers meanwhile are neither
//! missed nor seen twice.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::cold::Unit;
use crate::segment::Segment;

/// All tiers.
#[derive(Debug, Default)]
pub(crate) struct Tiers {
    state: RwLock<State>,
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
    /// Takes in a segment of an earlier process.
    pub(crate) fn restore(&self, segment: Segment) {
        self.write().hot.push(Hot { segment: Arc::new(segment), stage: Stage::Sealed });
    }

    /// Takes in the segment that is written to from now on.
    pub(crate) fn begin(&self, segment: Arc<Segment>) {
        self.write().hot.push(Hot { segment, stage: Stage::Open });
    }

    /// Says that a segment is not written to any more. An empty one is removed.
    pub(crate) fn seal(&self, segment: &Arc<Segment>) {
        let mut state = self.write();
        let Some(at) = state.hot.iter().position(|hot| Arc::ptr_eq(&hot.segment, segment)) else { return };
        if segment.bytes() == 0 {
            state.hot.remove(at);
            // What cannot be removed now is empty, and is found empty by the next start.
            let _ = std::fs::remove_file(&segment.path);
        } else {
            state.hot[at].stage = Stage::Sealed;
        }
    }

    /// Complete segments, oldest first.
    pub(crate) fn sealed(&self) -> Vec<Arc<Segment>> {
        let state = self.read();
        state
            .hot
            .iter()
            .filter(|hot| hot.stage == Stage::Sealed)
            .map(|hot| Arc::clone(&hot.segment))
            .collect()
    }

    /// What is there now.
    pub(crate) fn view(&self) -> View {
        let state = self.read();
        let hot = state.hot.iter().map(|hot| Arc::clone(&hot.segment)).collect();
        View { hot, cold: state.cold.clone() }
    }

    /// Takes in a unit of an earlier process.
    pub(crate) fn restore_unit(&self, unit: Arc<Unit>) {
        self.write().cold.push(unit);
    }

    /// Puts a unit in the place of the segments it was made from.
    pub(crate) fn replace(&self, unit: Arc<Unit>) {
        let mut state = self.write();
        state.hot.retain(|hot| !unit.segments().contains(&hot.segment.number));
        state.cold.push(unit);
    }

    /// All units, oldest first.
    pub(crate) fn units(&self) -> Vec<Arc<Unit>> {
        self.read().cold.clone()
    }

    /// Lets go of a unit.
    pub(crate) fn remove_unit(&self, unit: &Arc<Unit>) {
        self.write().cold.retain(|known| !Arc::ptr_eq(known, unit));
    }

    /// Lets go of a segment.
    pub(crate) fn remove_segment(&self, segment: &Arc<Segment>) {
        self.write().hot.retain(|hot| !Arc::ptr_eq(&hot.segment, segment));
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
