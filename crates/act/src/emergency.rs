//! The emergency stop: every fault out at once, whoever injected it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use store::{Ending, Found};

use crate::error::{ActError, Result};
use crate::executor::Executor;

/// What the emergency stop did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Faults the provider took out.
    pub faults: u32,
    /// Journal entries that were ended for it.
    pub entries: u32,
}

impl Executor {
    /// Takes every fault out, then latches the stop and writes it down. Needs no clearance.
    ///
    /// The world comes first and the journal second, the only place where it does: an undo that was not
    /// journaled is only done again. Plans that are injecting right now notice and take their own steps
    /// back; repairs go on. Nothing is injected until [`store::Store::clear_emergency_stop`].
    ///
    /// # Errors
    ///
    /// [`ActError::FaultsRemain`](crate::ActError::FaultsRemain) where the provider did not take them out, the journal's where
    /// the stop could not be written down. The stop is in force in either case.
    pub fn emergency_stop(&self) -> Result<Stopped> {
        self.stopping.store(true, Ordering::SeqCst);
        self.running.cancel_disturbing("the emergency stop was pressed");
        let removed = self.change.remove_all_faults();
        let now = self.clock.now();
        // Where it cannot be latched on the disk it stays latched in this process.
        self.store.latch_emergency_stop(now)?;
        self.stopping.store(false, Ordering::SeqCst);

        let mut entries = self.store.steps_in_force()?;
        entries.extend(self.store.entries_without_ending()?.into_iter().filter(|entry| entry.is_fault()));
        // A plan that runs ends its own entries: a fault of it may come after the provider was asked.
        entries.retain(|entry| !self.running.is_running(entry.token.plan));
        let faults = match removed {
            Ok(faults) => faults,
            Err(error) => {
                let plans: BTreeSet<_> = entries.iter().map(|entry| entry.token.plan).collect();
                plans.into_iter().for_each(|plan| self.leave_unsettled(plan));
                return Err(ActError::FaultsRemain(error));
            }
        };
        let ending = Ending::Undone { found: Found::Restored, why: "emergency stop".to_owned() };
        let endings: Vec<_> = entries.iter().map(|entry| (entry.token, ending.clone())).collect();
        self.store.append_endings(&endings, now)?;
        Ok(Stopped { faults, entries: u32::try_from(endings.len()).unwrap_or(u32::MAX) })
    }
}
