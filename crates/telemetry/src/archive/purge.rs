//! Removal of archived traces that are old, some at a time.
//!
//! In: the time before which they were archived, and which stay all the same. Out: how many went. Whoever asks is told the
//! names of their files before any goes, and again of those that went where not all did; nobody else removes any until then.
//! So which of the names are gone says how many it was, also after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{self, Kept, sync_dir};
use super::{Archive, DamagedTrace, Step, Watch};
use crate::Telemetry;
use crate::intake::lock;
use crate::model::TraceId;
use crate::store::{OpenError, SetAside, failed};

/// Traces that are removed at a time: who archives one waits for no more than that.
const TRACES_AT_A_TIME: usize = 100;

/// The directory of archived traces in that of the store.
pub(crate) const ARCHIVE: &str = "archive";

/// Archived traces that are old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldTraces {
    /// They were archived, or last added to, before this: microseconds since 1970.
    pub before_unix_us: u64,
    /// These stay, whatever their age.
    pub kept: BTreeSet<TraceId>,
}

/// What one removal of archived traces did.
#[derive(Debug, Default)]
pub struct RemovedTraces {
    /// Traces that are gone.
    pub traces: usize,
    /// Bytes that they took on the disk.
    pub bytes: u64,
    /// Why that is not all that was to be done.
    pub failed: Option<RemovalFailure>,
}

/// Why a removal of archived traces is not all that it was to be.
#[derive(Debug)]
pub enum RemovalFailure {
    /// It went no further: others stayed.
    Stayed(io::Error),
    /// All are gone, and the disk did not say that it keeps that: some may be back after a power cut.
    Unconfirmed(io::Error),
}

/// The archive, for removing what is old.
#[derive(Debug, Clone)]
pub struct ArchivePurge {
    archive: Arc<Archive>,
    damaged: Vec<DamagedTrace>,
}

impl ArchivePurge {
    /// The archive in the directory of a store that nobody has open, nor opens meanwhile. Damaged files are set aside, and
    /// [`damaged`](Self::damaged) is the only one who says so: no later opening does.
    ///
    /// # Errors
    /// The disk's; with what was set aside before.
    pub fn at_rest(dir: &Path) -> Result<Self, OpenError> {
        let (dir, mut set_aside) = (dir.join(ARCHIVE), SetAside::default());
        let opened = Archive::open(&dir, u64::MAX, |_| {}, &mut set_aside.traces);
        match opened.map_err(failed("reading", &dir)) {
            Ok(archive) => Ok(Self { archive: Arc::new(archive), damaged: set_aside.traces }),
            Err(error) => Err(set_aside.told_with(error)),
        }
    }

    /// The same, for counting what is old: nothing in the directory changes, and what is damaged is left to whoever opens it.
    ///
    /// # Errors
    /// The disk's.
    pub fn look(dir: &Path) -> Result<Self, OpenError> {
        let dir = dir.join(ARCHIVE);
        let looked = Archive::look(&dir, u64::MAX, |_| {}).map_err(failed("reading", &dir))?;
        Ok(Self { archive: Arc::new(looked.archive), damaged: looked.damaged })
    }

    /// Files that opening could not read as a whole, by the names that they have now: none of them is counted.
    pub fn damaged(&self) -> &[DamagedTrace] {
        &self.damaged
    }

    /// Where they lie.
    pub fn dir(&self) -> &Path {
        &self.archive.dir
    }

    /// How many are old.
    pub fn count(&self, old: &OldTraces) -> usize {
        self.archive.old(old).len()
    }

    /// Removes some that are old, the oldest first, durably. `noted` has the names of their files before any of them goes,
    /// and where it fails none does; it is not asked where none is old. Where it ends half-way `noted` has the names of those
    /// that went, before anybody else may remove one that stayed.
    ///
    /// # Errors
    /// What `noted` says of all names. The disk's are in [`RemovedTraces::failed`], since some may be gone; with such a one
    /// what `noted` says of those that went is passed over.
    pub fn remove_some<E>(
        &self,
        old: &OldTraces,
        noted: impl FnMut(Vec<String>) -> Result<(), E>,
    ) -> Result<RemovedTraces, E> {
        self.archive.remove_old(old, noted, &|_| Ok(()))
    }
}

impl Telemetry {
    /// The archive of this store, for removing what is old.
    pub fn archive_purge(&self) -> ArchivePurge {
        ArchivePurge { archive: Arc::clone(&self.open.archive), damaged: self.damaged_traces().to_vec() }
    }
}

/// How many of the files that [`ArchivePurge::remove_some`] named are gone from the archive of a store that nobody has open;
/// they stay gone when this returns.
///
/// # Errors
/// The disk's.
pub fn archived_gone(dir: &Path, names: &[String]) -> io::Result<usize> {
    let dir = dir.join(ARCHIVE);
    match sync_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names.len()),
        synced => synced?,
    }
    let mut gone = 0;
    for name in names {
        gone += usize::from(!dir.join(name).try_exists()?);
    }
    Ok(gone)
}

impl Archive {
    /// What is old, the oldest first.
    pub(super) fn old(&self, old: &OldTraces) -> Vec<Arc<Kept>> {
        let kept = self.read();
        let is_old = |one: &&Arc<Kept>| {
            one.told.archived_unix_us < old.before_unix_us && !old.kept.contains(&one.told.trace_id)
        };
        let mut found: Vec<Arc<Kept>> = kept.values().filter(is_old).cloned().collect();
        found.sort_by_key(|one| (one.told.archived_unix_us, one.told.trace_id));
        found
    }

    pub(super) fn remove_old<E>(
        &self,
        old: &OldTraces,
        mut noted: impl FnMut(Vec<String>) -> Result<(), E>,
        watch: Watch<'_>,
    ) -> Result<RemovedTraces, E> {
        let _alone = lock(&self.alone);
        let mut going = self.old(old);
        going.truncate(TRACES_AT_A_TIME);
        let mut removed = RemovedTraces::default();
        if going.is_empty() {
            return Ok(removed);
        }
        noted(file::names(&going))?;
        let gone = self.others_of(&going).and_then(|others| {
            for one in &going {
                self.let_go_with(one, &others)?;
                removed.traces += 1;
                removed.bytes += one.told.bytes;
                watch(Step::LetGo)?;
            }
            Ok(())
        });
        let stayed = removed.traces < going.len();
        // Also where it ended half-way: what is gone is told.
        let synced = sync_dir(&self.dir);
        if stayed {
            // What stayed may go by another way from here on, and is not of this removal then.
            let _ = noted(file::names(&going[..removed.traces]));
        }
        let failure = if stayed { RemovalFailure::Stayed } else { RemovalFailure::Unconfirmed };
        removed.failed = gone.and(synced).err().map(failure);
        Ok(removed)
    }

    /// What else there is of these traces in the directory: what they took the place of, what was set aside.
    fn others_of(&self, going: &[Arc<Kept>]) -> io::Result<BTreeMap<TraceId, Vec<PathBuf>>> {
        let traces: BTreeMap<TraceId, &Path> =
            going.iter().map(|one| (one.told.trace_id, one.path.as_path())).collect();
        let mut others: BTreeMap<TraceId, Vec<PathBuf>> = BTreeMap::new();
        for entry in self.dir.read_dir()? {
            let path = entry?.path();
            let Some(trace) = file::trace_of(&path) else { continue };
            if traces.get(&trace).is_some_and(|counts| *counts != path) {
                others.entry(trace).or_default().push(path);
            }
        }
        Ok(others)
    }

    /// Removes a trace and what else there is of it. The file that counts goes last: while another one stays, it is the trace.
    fn let_go_with(&self, one: &Arc<Kept>, others: &BTreeMap<TraceId, Vec<PathBuf>>) -> io::Result<()> {
        // Who searches meanwhile finds no entry without its file.
        self.write().remove(&one.told.trace_id);
        let others = others.get(&one.told.trace_id).map_or(&[][..], Vec::as_slice);
        let removed = others.iter().chain([&one.path]).try_for_each(|path| file::remove(path));
        if removed.is_err() {
            self.write().insert(one.told.trace_id, Arc::clone(one));
        }
        removed
    }
}
