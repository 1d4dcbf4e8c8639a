//! Archived traces: kept beyond retention and sampling, each in a file of its own.
//!
//! ```text
//! a trace's id ─ its spans, from all tiers and the archive ─► archive/….part ─ sync, rename, sync ─► kept, then answered
//!                (Telemetry::trace)                          (rows, file)                          └► what it replaces goes
//! ```
//!
//! In: ids of traces, and whether somebody asked for it. Out: what is archived; questions to the store are answered from
//! here as well. What was archived is on disk before it is said, and a crash at any instant leaves the trace as it was
//! before or as it was asked for.
//!
//! The archive is bounded in bytes. Where there is no room the oldest that nobody asked for go; what a person archived
//! stays until it is removed, and has three quarters at most: who may archive, but not remove, cannot push all else out.

mod file;
mod purge;
mod rows;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use durable::Access;

use crate::Telemetry;
use crate::batch::Batch;
use crate::derive::now_unix_nano;
use crate::intake::lock;
use crate::model::{Span, TraceId};
use crate::query::{self, Found, ReadError, TraceFilter};
use crate::segment::Segment;
use file::{Encoded, Kept, Read, sync_dir};
pub(crate) use file::{FORMAT, archived_files};
pub(crate) use purge::ARCHIVE;
pub use purge::{ArchivePurge, OldTraces, RemovalFailure, RemovedTraces, archived_gone};

/// The least that may be archived, in bytes.
pub const ARCHIVE_BYTES_MIN: u64 = 1 << 20;

/// Why a trace is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keeping {
    /// It shows what something else says, such as an issue: it goes when there is no room.
    Evidence,
    /// Somebody asked for it: it stays until it is removed.
    Asked,
}

impl Keeping {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Evidence, Self::Asked];

    /// The name in files and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Asked => "asked",
        }
    }
}

/// A trace in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedTrace {
    /// Which one.
    pub trace_id: TraceId,
    /// When it was archived, or last added to: microseconds since 1970.
    pub archived_unix_us: u64,
    /// Why.
    pub keeping: Keeping,
    /// Its spans.
    pub spans: u64,
    /// Bytes it takes on the disk, in whole blocks of 4 KiB.
    pub bytes: u64,
}

/// How full the archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Archived traces.
    pub traces: u64,
    /// Bytes they take on the disk.
    pub bytes: u64,
    /// Of these, bytes that only go when somebody removes them.
    pub asked_bytes: u64,
    /// Most bytes there may be.
    pub bytes_max: u64,
}

/// A trace was not archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is none of that id.
    #[error("there is no trace {0}: it was never sent here, or it is older than what is kept")]
    NotFound(TraceId),
    /// There is no room, and nothing that may go by itself.
    #[error(
        "the archive is full: the trace takes {needed} bytes, and of {bytes_max} bytes {asked_bytes} hold traces that were \
         archived on request, which may have {asked_bytes_max}; remove some, or raise telemetry.archive_mib"
    )]
    Full {
        /// Bytes it would take.
        needed: u64,
        /// Bytes of those that stay until they are removed.
        asked_bytes: u64,
        /// Most bytes of such.
        asked_bytes_max: u64,
        /// Most bytes there may be.
        bytes_max: u64,
    },
    /// Its spans cannot be read, or not all of them.
    #[error("the trace cannot be read as a whole")]
    Read(#[from] ReadError),
    /// The disk did not take it, or did not let go of it.
    #[error("cannot write in {}", dir.display())]
    Disk {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was removed, and the disk did not say that it keeps that.
    #[error(
        "trace {trace} is removed from the archive, but the disk did not confirm it in {}: after a power cut it may be archived \
         again; look for it then, and remove it again",
        dir.display()
    )]
    Unconfirmed {
        /// Which one.
        trace: TraceId,
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A file of an archived trace that cannot be read as a whole: opening sets it aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedTrace {
    /// What it is called now.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Where writing is looked at, or stopped, by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    HalfWritten,
    Written,
    Named,
    /// A file that another one took the place of, or the room of, or all that there was of a trace, is gone.
    LetGo,
}

/// Called after each step; an error is taken as the disk's.
type Watch<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// What a look at a directory found.
struct Looked {
    archive: Archive,
    /// Files that newer ones took the place of.
    replaced: Vec<PathBuf>,
    damaged: Vec<DamagedTrace>,
}

/// The archive of one store.
#[derive(Debug)]
pub(crate) struct Archive {
    dir: PathBuf,
    bytes_max: u64,
    /// Whoever changes what is there does so alone.
    alone: Mutex<()>,
    kept: RwLock<BTreeMap<TraceId, Arc<Kept>>>,
}

impl Archive {
    /// Takes what earlier processes archived, and shows its batches to `learn`. What they left unfinished, what was
    /// replaced, and what there is no room for any more goes. What was set aside is in `set_aside`, also where it fails.
    pub(crate) fn open(
        dir: &Path,
        bytes_max: u64,
        learn: impl Fn(&Batch),
        set_aside: &mut Vec<DamagedTrace>,
    ) -> io::Result<Self> {
        durable::make_dir(dir, Access::Owner)?;
        file::remove_parts(dir)?;
        let Looked { archive, replaced, damaged } = Self::look(dir, bytes_max, learn)?;
        for older in replaced {
            fs::remove_file(older)?;
        }
        for DamagedTrace { path, why } in damaged {
            let aside = path.with_added_extension("damaged");
            fs::rename(&path, &aside)?;
            set_aside.push(DamagedTrace { path: aside, why });
        }
        // What is found is answered as archived from here on, also where the process that gave it its name was killed.
        sync_dir(dir)?;
        let surplus = archive.evictable(0, None).unwrap_or_else(|all| all);
        surplus.iter().for_each(|surplus| archive.let_go(surplus, &|_| Ok(())));
        say_evicted(&ids(&surplus));
        Ok(archive)
    }

    /// Reads what is there, and changes nothing: what is damaged keeps its name.
    fn look(dir: &Path, bytes_max: u64, learn: impl Fn(&Batch)) -> io::Result<Looked> {
        let mut kept: BTreeMap<TraceId, Arc<Kept>> = BTreeMap::new();
        let (mut damaged, mut replaced) = (Vec::new(), Vec::new());
        for path in archived_files(dir)? {
            match file::read(&path, &learn)? {
                Read::Damaged(why) => damaged.push(DamagedTrace { path, why }),
                // One that was added to is whole in the newer file; only a crash leaves the older one.
                Read::Whole(found) => {
                    let found = Arc::new(found);
                    let other = kept.insert(found.told.trace_id, Arc::clone(&found));
                    if let Some(other) = other {
                        let newer_first = other.told.archived_unix_us > found.told.archived_unix_us;
                        let (newer, older) = if newer_first { (other, found) } else { (found, other) };
                        replaced.push(older.path.clone());
                        kept.insert(newer.told.trace_id, newer);
                    }
                }
            }
        }
        let (dir, alone, kept) = (dir.to_owned(), Mutex::default(), RwLock::new(kept));
        Ok(Looked { archive: Self { dir, bytes_max, alone, kept }, replaced, damaged })
    }

    /// Keeps the spans that `read` finds, durably; what is there already stays with it. Answers what is archived then, and
    /// which others went for it.
    fn keep(
        &self,
        id: TraceId,
        keeping: Keeping,
        read: impl Fn() -> Result<Vec<Span>, ReadError>,
        watch: Watch<'_>,
    ) -> Result<(ArchivedTrace, Change), ArchiveError> {
        loop {
            let before = self.get(id).map(|known| known.told);
            // Outside the lock: rows in object storage take their time, and other traces do not wait for them.
            let spans = read()?;
            if spans.is_empty() {
                return Err(ArchiveError::NotFound(id));
            }
            let _alone = lock(&self.alone);
            let known = self.get(id);
            // Otherwise what was read lacks what somebody added meanwhile, or has what somebody removed.
            if known.as_ref().map(|known| known.told) == before {
                return self.put(id, keeping, &spans, known, watch);
            }
        }
    }

    /// Keeps these spans in the place of what is known; whoever calls is alone.
    fn put(
        &self,
        id: TraceId,
        keeping: Keeping,
        spans: &[Span],
        known: Option<Arc<Kept>>,
        watch: Watch<'_>,
    ) -> Result<(ArchivedTrace, Change), ArchiveError> {
        if let Some(known) = &known
            && known.told.spans == spans.len() as u64
            && known.told.keeping >= keeping
        {
            return Ok((known.told, Change::None));
        }
        let encoded = Encoded::new(spans);
        let before = known.as_ref().map(|known| known.told);
        let keeping = before.map_or(keeping, |before| before.keeping.max(keeping));
        if keeping == Keeping::Asked && !self.may_be_asked(encoded.counted(), id) {
            return Err(self.full(&encoded));
        }
        let evicted = self.evictable(encoded.counted(), known.as_deref()).map_err(|_| self.full(&encoded))?;
        // Of two files the newer one counts.
        let now = (now_unix_nano() / 1000).max(before.map_or(0, |before| before.archived_unix_us + 1));
        let kept = encoded.write(&self.dir, id, now, keeping, watch).map_err(|source| self.disk(source))?;
        let told = kept.told;
        self.write().insert(id, Arc::new(kept));
        if let Some(known) = known {
            // What cannot be removed now goes with the next start, as the newer one takes its place.
            let _ = fs::remove_file(&known.path).and_then(|()| watch(Step::LetGo));
        }
        evicted.iter().for_each(|evicted| self.let_go(evicted, watch));
        Ok((told, Change::Written { evicted: ids(&evicted) }))
    }

    /// Removes a trace, durably, with all that is left of it on the disk; whether there was one.
    fn remove(&self, id: TraceId, watch: Watch<'_>) -> Result<bool, ArchiveError> {
        let _alone = lock(&self.alone);
        // Who searches meanwhile finds no entry without its file.
        let Some(known) = self.write().remove(&id) else { return Ok(false) };
        let older = file::files_of(&self.dir, id).map(|mut paths| {
            paths.retain(|path| *path != known.path);
            paths
        });
        // The one that counts goes last: while an older one stays, it is the trace.
        let removed =
            older.and_then(|older| older.iter().chain([&known.path]).try_for_each(|path| file::remove(path)));
        if let Err(source) = removed {
            self.write().insert(id, known);
            return Err(self.disk(source));
        }
        let unconfirmed = |source| ArchiveError::Unconfirmed { trace: id, dir: self.dir.clone(), source };
        watch(Step::LetGo).and_then(|()| sync_dir(&self.dir)).map_err(unconfirmed)?;
        Ok(true)
    }

    /// Whether traces that were asked for may have so many bytes more, in the place of what is known of this one.
    fn may_be_asked(&self, needed: u64, id: TraceId) -> bool {
        let kept = self.read();
        let others = kept.values().map(|one| one.told);
        let others = others.filter(|told| told.keeping == Keeping::Asked && told.trace_id != id);
        needed + others.map(|told| told.bytes).sum::<u64>() <= self.asked_bytes_max()
    }

    /// Evidence keeps the rest.
    fn asked_bytes_max(&self) -> u64 {
        self.bytes_max / 4 * 3
    }

    /// What has to go so that so many bytes more find room in the place of `replaced`: the oldest that nobody asked for.
    /// All of those where that is not enough.
    fn evictable(&self, needed: u64, replaced: Option<&Kept>) -> Result<Vec<Arc<Kept>>, Vec<Arc<Kept>>> {
        let kept = self.read();
        let is_replaced = |one: &Kept| replaced.is_some_and(|replaced| replaced.told == one.told);
        let others: Vec<&Arc<Kept>> = kept.values().filter(|one| !is_replaced(one)).collect();
        let mut bytes = needed + others.iter().map(|one| one.told.bytes).sum::<u64>();
        let mut candidates: Vec<&Arc<Kept>> =
            others.into_iter().filter(|one| one.told.keeping == Keeping::Evidence).collect();
        candidates.sort_by_key(|one| (one.told.archived_unix_us, one.told.trace_id));
        let mut evicted = Vec::new();
        for candidate in candidates {
            if bytes <= self.bytes_max {
                break;
            }
            bytes -= candidate.told.bytes;
            evicted.push(Arc::clone(candidate));
        }
        if bytes <= self.bytes_max { Ok(evicted) } else { Err(evicted) }
    }

    /// Removes one that went for another. Should the file come back after a crash, it goes again when there is no room.
    fn let_go(&self, evicted: &Kept, watch: Watch<'_>) {
        self.write().remove(&evicted.told.trace_id);
        let _ = fs::remove_file(&evicted.path).and_then(|()| watch(Step::LetGo));
    }

    /// The archived spans of a trace.
    pub(crate) fn trace(&self, id: TraceId) -> Result<Vec<Span>, ReadError> {
        let mut spans = Vec::new();
        if let Some(kept) = self.get(id) {
            self.reading(kept, |segment| query::spans_in_segment(segment, id, &mut spans))?;
        }
        Ok(spans)
    }

    /// Adds the archived traces with matching spans.
    pub(crate) fn search(&self, filter: &TraceFilter, found: &mut Found) -> Result<(), ReadError> {
        let all: Vec<Arc<Kept>> = self.read().values().cloned().collect();
        for kept in all {
            if kept.outlines().iter().any(|outline| query::may_match(outline, filter, found.oldest_wanted()))
            {
                self.reading(kept, |segment| query::search_segment(segment, filter, found))?;
            }
        }
        Ok(())
    }

    /// Reads a file; where it went meanwhile, the one that took its place.
    fn reading(
        &self,
        mut kept: Arc<Kept>,
        read: impl FnOnce(&Segment) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        loop {
            match kept.open() {
                Ok(segment) => return read(&segment),
                Err(error) if error.kind() == io::ErrorKind::NotFound => match self.get(kept.told.trace_id) {
                    None => return Ok(()),
                    Some(newer) if newer.told != kept.told => kept = newer,
                    Some(_) => return Err(ReadError::Io { path: kept.path.clone(), source: error }),
                },
                Err(source) => return Err(ReadError::Io { path: kept.path.clone(), source }),
            }
        }
    }

    fn status(&self) -> ArchiveStatus {
        let kept = self.read();
        let asked = kept.values().filter(|one| one.told.keeping == Keeping::Asked);
        ArchiveStatus {
            traces: kept.len() as u64,
            bytes: kept.values().map(|one| one.told.bytes).sum(),
            asked_bytes: asked.map(|one| one.told.bytes).sum(),
            bytes_max: self.bytes_max,
        }
    }

    fn full(&self, encoded: &Encoded) -> ArchiveError {
        let ArchiveStatus { asked_bytes, bytes_max, .. } = self.status();
        let asked_bytes_max = self.asked_bytes_max();
        ArchiveError::Full { needed: encoded.counted(), asked_bytes, asked_bytes_max, bytes_max }
    }

    fn disk(&self, source: io::Error) -> ArchiveError {
        ArchiveError::Disk { dir: self.dir.clone(), source }
    }

    fn get(&self, id: TraceId) -> Option<Arc<Kept>> {
        self.read().get(&id).cloned()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<TraceId, Arc<Kept>>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<TraceId, Arc<Kept>>> {
        self.kept.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What keeping a trace changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    /// It was there as it was asked for.
    None,
    /// It was written, and these others went for it.
    Written { evicted: Vec<TraceId> },
}

fn ids(kept: &[Arc<Kept>]) -> Vec<TraceId> {
    kept.iter().map(|one| one.told.trace_id).collect()
}

/// What goes by itself can be found missing long after; then the log says why.
fn say_evicted(evicted: &[TraceId]) {
    for id in evicted {
        log::info!(
            "the archived trace {id} made room for others: nobody had asked for it; telemetry.archive_mib bounds it"
        );
    }
}

impl Telemetry {
    /// Archives a trace as it is now; it is on disk when this returns. One that is archived already is added to: spans that
    /// came since are archived as well, and what somebody asked for stays so.
    ///
    /// # Errors
    /// [`ArchiveError`]; what was archived before is as it was.
    pub fn archive_trace(&self, id: TraceId, keeping: Keeping) -> Result<ArchivedTrace, ArchiveError> {
        let kept = self.open.archive.keep(id, keeping, || self.trace(id), &|_| Ok(()));
        let counters = self.counters();
        match &kept {
            Ok((_, Change::None)) | Err(ArchiveError::NotFound(_)) => {}
            Ok((_, Change::Written { evicted })) => {
                counters.archived_traces.add(1);
                counters.archive_evicted.add(evicted.len() as u64);
                say_evicted(evicted);
            }
            Err(_) => counters.archive_refused.add(1),
        }
        kept.map(|(told, _)| told)
    }

    /// Removes a trace from the archive; whether it was there. What retention still holds of it stays with the others.
    ///
    /// # Errors
    /// [`ArchiveError::Disk`], and it is there as it was; [`ArchiveError::Unconfirmed`], and it is gone for now.
    pub fn remove_archived(&self, id: TraceId) -> Result<bool, ArchiveError> {
        self.open.archive.remove(id, &|_| Ok(()))
    }

    /// What is archived of a trace.
    pub fn archived_trace(&self, id: TraceId) -> Option<ArchivedTrace> {
        self.open.archive.get(id).map(|kept| kept.told)
    }

    /// All archived traces, the one that was archived last first.
    pub fn archived_traces(&self) -> Vec<ArchivedTrace> {
        let mut all: Vec<ArchivedTrace> = self.open.archive.read().values().map(|kept| kept.told).collect();
        all.sort_by_key(|told| (Reverse(told.archived_unix_us), told.trace_id));
        all
    }

    /// How full the archive is.
    pub fn archive_status(&self) -> ArchiveStatus {
        self.open.archive.status()
    }
}

#[cfg(test)]
mod tests;
