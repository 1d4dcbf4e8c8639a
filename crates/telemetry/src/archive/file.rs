//! One file for each archived trace: blocks as segments have them, and what is known of it in its name.
//!
//! ```text
//! archive/TRACE.WHEN.KEEPING.SPANS.trace:  block │ block │ …
//! ```
//!
//! A file is written beside its name, synced, and renamed into place: what has such a name is whole. Its name is the only
//! record of it, so that a trace and what is known of it cannot come apart.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{ArchivedTrace, Keeping, Step, Watch, rows};
use crate::batch::Batch;
use crate::block::Encoder;
use crate::model::{Span, TraceId};
use crate::segment::{Outline, Recovered, Segment};

/// The number of the form that names and files have.
pub(crate) const FORMAT: u32 = 1;

/// Ending of a file that counts.
const ENDING: &str = "trace";

/// Ending of one that is being written.
const PART: &str = "part";

/// A file system gives out room in blocks of this many bytes; so traces are counted.
const DISK_BLOCK: u64 = 4096;

/// An archived trace with what a search needs to know of its file.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) told: ArchivedTrace,
    pub(super) path: PathBuf,
    outlines: Vec<Arc<Outline>>,
}

impl Kept {
    /// Its blocks.
    pub(super) fn outlines(&self) -> &[Arc<Outline>] {
        &self.outlines
    }

    /// Its file, opened for reading.
    pub(super) fn open(&self) -> io::Result<Segment> {
        Segment::reading(self.path.clone(), self.outlines.clone())
    }
}

/// A trace as a file will hold it.
pub(super) struct Encoded {
    bytes: Vec<u8>,
    outlines: Vec<Arc<Outline>>,
    spans: u64,
}

impl Encoded {
    pub(super) fn new(spans: &[Span]) -> Self {
        let (mut encoder, mut bytes, mut outlines) = (Encoder::default(), Vec::new(), Vec::new());
        rows::each_batch(spans, |batch| {
            let offset = bytes.len() as u64;
            let header = encoder.encode(batch, &mut bytes);
            outlines.push(Arc::new(Outline::new(offset, header, batch)));
        });
        Self { bytes, outlines, spans: spans.len() as u64 }
    }

    /// Bytes it will take on the disk.
    pub(super) fn counted(&self) -> u64 {
        counted(self.bytes.len() as u64)
    }

    /// Writes it, durably: when this returns it is there under its name.
    ///
    /// What an error leaves behind counts for nothing, and goes with the next start.
    pub(super) fn write(
        self,
        dir: &Path,
        trace_id: TraceId,
        archived_unix_us: u64,
        keeping: Keeping,
        watch: Watch<'_>,
    ) -> io::Result<Kept> {
        let told =
            ArchivedTrace { trace_id, archived_unix_us, keeping, spans: self.spans, bytes: self.counted() };
        let path = dir.join(name(&told));
        let part = path.with_extension(PART);
        let written = self.put(&part, watch).and_then(|()| {
            fs::rename(&part, &path)?;
            watch(Step::Named)?;
            sync_dir(dir)
        });
        if let Err(error) = written {
            // What cannot be removed now has no name that counts, or one that nobody was told of.
            let _ = fs::remove_file(&part);
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Kept { told, path, outlines: self.outlines })
    }

    fn put(&self, part: &Path, watch: Watch<'_>) -> io::Result<()> {
        let mut file = File::create(part)?;
        let (first, rest) = self.bytes.split_at(self.bytes.len() / 2);
        file.write_all(first)?;
        watch(Step::HalfWritten)?;
        file.write_all(rest)?;
        watch(Step::Written)?;
        file.sync_all()
    }
}

/// Waits until the disk has the names in a directory.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn counted(bytes: u64) -> u64 {
    bytes.next_multiple_of(DISK_BLOCK).max(DISK_BLOCK)
}

fn name(told: &ArchivedTrace) -> String {
    let ArchivedTrace { trace_id, archived_unix_us, keeping, spans, .. } = told;
    format!("{trace_id}.{archived_unix_us}.{}.{spans}.{ENDING}", keeping.name())
}

/// The names of their files, in this order.
pub(super) fn names(kept: &[Arc<Kept>]) -> Vec<String> {
    kept.iter().filter_map(|one| one.path.file_name()?.to_str().map(str::to_owned)).collect()
}

/// Reads a name; bytes are not in it. `None` for a file of another kind.
fn read_name(path: &Path) -> Option<ArchivedTrace> {
    let parts: Vec<&str> = path.file_name()?.to_str()?.split('.').collect();
    let [trace, at, keeping, spans, ENDING] = parts[..] else { return None };
    Some(ArchivedTrace {
        trace_id: trace.parse().ok()?,
        archived_unix_us: at.parse().ok()?,
        keeping: Keeping::ALL.into_iter().find(|known| known.name() == keeping)?,
        spans: spans.parse().ok()?,
        bytes: 0,
    })
}

/// The files of archived traces in a directory; none where there is no directory.
pub(crate) fn archived_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match dir.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    paths.retain(|path| read_name(path).is_some());
    paths.sort();
    Ok(paths)
}

/// Of which trace a file is: one that counts, that another took the place of, or that was set aside.
pub(super) fn trace_of(path: &Path) -> Option<TraceId> {
    path.file_name()?.to_str()?.split_once('.')?.0.parse().ok()
}

/// All that there is of a trace in a directory: what counts, what it took the place of, what was set aside.
pub(super) fn files_of(dir: &Path, trace: TraceId) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if trace_of(&path) == Some(trace) {
            paths.push(path);
        }
    }
    Ok(paths)
}

/// Removes a file, which may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what writing left unfinished.
pub(super) fn remove_parts(dir: &Path) -> io::Result<()> {
    for entry in dir.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == PART) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// What a file turned out to be.
pub(super) enum Read {
    Whole(Kept),
    /// Not all of it can be read: why.
    Damaged(String),
}

/// Reads a file of an earlier process, and shows its batches to `each`.
pub(super) fn read(path: &Path, each: impl FnMut(&Batch)) -> io::Result<Read> {
    let Some(mut told) = read_name(path) else {
        return Ok(Read::Damaged("it has no name of an archived trace".to_owned()));
    };
    let (segment, Recovered { torn_bytes, damaged_bytes, .. }) = Segment::inspect(path.to_owned(), each)?;
    let rows = segment.rows(crate::model::Signal::Spans);
    if rows != told.spans || torn_bytes + damaged_bytes > 0 {
        return Ok(Read::Damaged(format!("{rows} of its {} spans can be read", told.spans)));
    }
    told.bytes = counted(segment.bytes());
    Ok(Read::Whole(Kept { told, path: path.to_owned(), outlines: segment.outlines() }))
}
