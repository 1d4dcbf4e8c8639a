//! Archived traces as a purge reaches them: those that no open issue cites.
//!
//! In: the archive, and the issues that are open. Out: [`OldTraces`] of the store, which knows nothing of spans.

use std::collections::BTreeSet;

use domain::Time;
use store::{GoneTraces, OldTraces, Store, StoreError};
use telemetry::{ArchivePurge, RemovalFailure, TraceId};

use crate::cited::cited_traces;

/// Archived traces, for a purge.
pub struct PurgeableTraces {
    archive: ArchivePurge,
    cited: BTreeSet<TraceId>,
}

impl PurgeableTraces {
    /// Those of an archive but what an issue cites that is open now.
    ///
    /// # Errors
    /// The store's own.
    pub fn new(archive: ArchivePurge, store: &Store) -> Result<Self, StoreError> {
        let mut cited = BTreeSet::new();
        for issue in store.open_issues()? {
            cited.extend(cited_traces(&issue, &store.plans_of_issue(issue.id)?));
        }
        Ok(Self { archive, cited })
    }

    fn old(&self, before: Time) -> telemetry::OldTraces {
        telemetry::OldTraces {
            before_unix_us: u64::try_from(before.wall_us).unwrap_or(0),
            kept: self.cited.clone(),
        }
    }
}

impl OldTraces for PurgeableTraces {
    fn count(&self, before: Time) -> usize {
        self.archive.count(&self.old(before))
    }

    fn remove_some(
        &self,
        before: Time,
        note: &mut dyn FnMut(Vec<String>) -> Result<(), StoreError>,
    ) -> Result<GoneTraces, StoreError> {
        let removed = self.archive.remove_some(&self.old(before), note)?;
        let failed = removed.failed.map(|failure| {
            let (what, source) = match failure {
                RemovalFailure::Stayed(source) => ("remove archived traces in", source),
                // The names stay in the note, so that a start looks which of them are back.
                RemovalFailure::Unconfirmed(source) => {
                    ("make sure that archived traces which are removed stay so after a power cut in", source)
                }
            };
            StoreError::File { what, path: self.archive.dir().to_owned(), source }
        });
        Ok(GoneTraces { count: removed.traces, bytes: removed.bytes, failed })
    }
}
