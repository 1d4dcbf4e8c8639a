//! Archived traces, which lie in files beside the database and go with a purge as its rows do.
//!
//! ```text
//! names of some that go ─► note, durably ─► files go, durably ─► note: how many went ─► next
//! ```
//!
//! No transaction spans both, so the note has the names first. Whoever finds a note with names after a crash looks which of
//! them are gone ([`settle_purge`](Store::settle_purge)). Nobody else removes one of them while the files go; where not all
//! went and the process lives on, the note keeps the names of those that did alone, since another may remove the rest.

use std::ops::ControlFlow;

use domain::Time;

use super::PurgeNote;
use crate::error::{Result, StoreError};
use crate::retention::Pruned;
use crate::store::{Purpose, Store};

/// Archived traces that are old, as a purge reaches them.
pub trait OldTraces {
    /// How many were archived before this time, and may go.
    fn count(&self, before: Time) -> usize;

    /// Removes some of them, durably. `note` is given the names of all that go before any does, and where it fails none goes;
    /// nobody else removes any of them until this returns. Where it ends half-way, `note` is given the names of those that went,
    /// before it returns; what it says then is passed over.
    ///
    /// # Errors
    /// What `note` says of all of them, or why nothing could be removed at all.
    fn remove_some(
        &self,
        before: Time,
        note: &mut dyn FnMut(Vec<String>) -> Result<()>,
    ) -> Result<GoneTraces>;
}

/// What went at a time.
#[derive(Debug, Default)]
pub struct GoneTraces {
    /// How many; none where nothing is left that is old.
    pub count: usize,
    /// Bytes that the disk has more.
    pub bytes: u64,
    /// Why no more went, of those that were named.
    pub failed: Option<StoreError>,
}

impl Store {
    /// Removes archived traces until none is left, or it is told to stop.
    pub(super) fn remove_traces(
        &self,
        traces: &dyn OldTraces,
        before: Time,
        note: &mut PurgeNote,
        bytes: &mut u64,
        go_on: &mut impl FnMut(&Pruned) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        loop {
            let mut noting = |going: Vec<String>| {
                let noted = PurgeNote { going, ..note.clone() };
                if noted.going.is_empty() && noted.removed == Pruned::default() {
                    // None went of those that were named, nor anything else.
                    self.purge_is_recorded(noted.id)?;
                } else {
                    self.write(Purpose::Repair, |tx| noted.put(tx))?;
                }
                note.going = noted.going;
                Ok(())
            };
            let gone = traces.remove_some(before, &mut noting)?;
            *bytes += gone.bytes;
            note.removed.traces += gone.count;
            if let Some(failed) = gone.failed {
                // The names of those that went stay: whether the last of them is gone for good, a start looks. Where those that
                // stayed could not be taken out of the note, the database takes nothing, and says so to everybody.
                return Err(failed);
            }
            if gone.count == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            note.going.clear();
            self.write(Purpose::Repair, |tx| note.put(tx))?;
            self.let_others_write();
            if go_on(&note.removed).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    /// So many of the traces whose names a note has are gone, of a process that ended before it counted them.
    pub fn settle_purge(&self, note: &mut PurgeNote, gone: usize) -> Result<()> {
        let mut settled = PurgeNote { going: Vec::new(), ..note.clone() };
        settled.removed.traces += gone;
        self.write(Purpose::Repair, |tx| settled.put(tx))?;
        *note = settled;
        Ok(())
    }
}
