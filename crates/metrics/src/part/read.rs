//! A part, read: its foot when it is opened, its index when it is asked, its columns one by one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use promql::{Column, Samples};

use super::index::PartIndex;
use super::{Chunk, ChunkKind, FOOT_BYTES, FORMAT, Foot, FootError, HEAD_BYTES, Place};
use crate::bytes::Damaged;
use crate::codec;
use crate::tier::Windows;

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartError {
    /// The bytes are not those that were written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    /// A later version wrote it.
    #[error("{} was written by a later version (format {found}, this one reads up to {FORMAT})", path.display())]
    Newer { path: PathBuf, found: u32 },
    /// The system did not let it be read.
    #[error("reading {} failed: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A file of columns.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) foot: Foot,
    /// Of the whole file.
    pub(crate) bytes: u64,
    file: File,
}

impl Part {
    /// A part that was just written.
    pub(super) fn of(path: PathBuf, file: File, foot: Foot, bytes: u64) -> Self {
        Self { path, foot, bytes, file }
    }

    /// Opens a part, and looks whether its foot and its index are as they were written.
    pub(crate) fn open(path: &Path) -> Result<Self, PartError> {
        let failed = |source| PartError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let damaged = |what: &str| PartError::Damaged { path: path.to_owned(), what: what.to_owned() };
        if bytes < (HEAD_BYTES + FOOT_BYTES) as u64 {
            return Err(damaged("it is shorter than any block"));
        }
        let mut foot = [0; FOOT_BYTES];
        file.read_exact_at(&mut foot, bytes - FOOT_BYTES as u64).map_err(failed)?;
        let foot = Foot::read(&foot).map_err(|error| match error {
            FootError::Damaged => damaged("its last bytes are not those of a block"),
            FootError::Newer { found } => PartError::Newer { path: path.to_owned(), found },
        })?;
        let end = foot.index_offset.checked_add(foot.index_len);
        if end != Some(bytes - FOOT_BYTES as u64) {
            return Err(damaged("its length is not the one it had"));
        }
        let part = Self { path: path.to_owned(), foot, bytes, file };
        part.read_index()?;
        Ok(part)
    }

    /// Whether it may have something of a time, both ends included.
    pub(crate) fn overlaps(&self, from_ms: i64, to_ms: i64) -> bool {
        self.foot.min_ms <= to_ms && self.foot.max_ms >= from_ms
    }

    /// Its index, for one who reads all of it.
    pub(crate) fn index(&self) -> Result<PartIndex, PartError> {
        self.read_index()
    }

    pub(super) fn read_index(&self) -> Result<PartIndex, PartError> {
        let bytes = self.read_at(self.foot.index_offset, self.foot.index_len as usize)?;
        if crc32fast::hash(&bytes) != self.foot.index_crc {
            return Err(self.damaged("its index does not have the checksum it had"));
        }
        PartIndex::read(bytes).map_err(|_| self.damaged("its index makes no sense"))
    }

    /// Says that something of it makes no sense.
    pub(crate) fn damaged(&self, what: impl Into<String>) -> PartError {
        PartError::Damaged { path: self.path.clone(), what: what.into() }
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, PartError> {
        let mut bytes = vec![0; len];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it is shorter than it was"))
            }
            Err(source) => Err(PartError::Io { path: self.path.clone(), source }),
        }
    }
}

/// Reads columns of a part, many in a row from one read of the file.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    part: &'a Part,
    /// Bytes that were read, and where they lie.
    window: (u64, Vec<u8>),
    /// Columns of times that were decoded, by where they lie.
    times: HashMap<u64, Arc<[i64]>, RandomState>,
}

/// Bytes that are read at once where what was wanted before lies just in front.
const AHEAD_BYTES: usize = 256 << 10;

/// Columns of times that are held.
const TIMES_MAX: usize = 256;

/// A time, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Between {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(part: &'a Part) -> Self {
        Self { part, window: (0, Vec::new()), times: HashMap::default() }
    }

    /// Adds the samples of a chunk within a time.
    pub(crate) fn samples(
        &mut self,
        chunk: &Chunk,
        within: Between,
        out: &mut Samples,
    ) -> Result<(), PartError> {
        let times = self.times_of(chunk)?;
        let from = times.partition_point(|at_ms| *at_ms < within.from_ms);
        let to = times.partition_point(|at_ms| *at_ms <= within.to_ms);
        if from >= to {
            return Ok(());
        }
        let count = chunk.count as usize;
        match chunk.kind {
            ChunkKind::Floats => {
                let Column { times: all_times, values } = &mut out.floats;
                let begin = values.len();
                self.decoded(chunk.values, |bytes| codec::read_floats(bytes, count, values))?;
                values.truncate(begin + to);
                values.drain(begin..begin + from);
                all_times.extend_from_slice(&times[from..to]);
            }
            ChunkKind::Histograms => {
                let values = self.decoded(chunk.values, |bytes| codec::read_histograms(bytes, count))?;
                out.histograms.times.extend_from_slice(&times[from..to]);
                out.histograms.values.extend_from_slice(&values[from..to]);
            }
            ChunkKind::Windows => {}
        }
        Ok(())
    }

    /// What a chunk keeps of windows.
    pub(crate) fn windows(&mut self, chunk: &Chunk) -> Result<Windows, PartError> {
        let times = self.times_of(chunk)?.to_vec();
        let count = chunk.count as usize;
        let columns = self.decoded(chunk.values, |bytes| codec::read_columns::<4>(bytes, count))?;
        let [counts, sums, mins, maxs] = columns;
        Ok(Windows { times, counts, sums, mins, maxs })
    }

    fn times_of(&mut self, chunk: &Chunk) -> Result<Arc<[i64]>, PartError> {
        if let Some(times) = self.times.get(&chunk.times.offset)
            && times.len() == chunk.count as usize
        {
            return Ok(Arc::clone(times));
        }
        let times: Arc<[i64]> =
            self.decoded(chunk.times, |bytes| codec::read_times(bytes, chunk.count as usize))?.into();
        if self.times.len() >= TIMES_MAX {
            self.times.clear();
        }
        self.times.insert(chunk.times.offset, Arc::clone(&times));
        Ok(times)
    }

    fn decoded<T>(
        &mut self,
        place: Place,
        decode: impl FnOnce(&[u8]) -> Result<T, Damaged>,
    ) -> Result<T, PartError> {
        let part = self.part;
        let bytes = self.read(place)?;
        decode(bytes).map_err(|_| part.damaged(format!("the column at byte {} makes no sense", place.offset)))
    }

    /// The bytes of a column, as they were written.
    fn read(&mut self, place: Place) -> Result<&[u8], PartError> {
        let len = place.len as usize + 4;
        // Also keeps sums of what is read below from overflowing.
        if place.offset.saturating_add(len as u64) > self.part.foot.index_offset {
            return Err(self.part.damaged("its index names a place outside of it"));
        }
        let (begin, window) = &self.window;
        let inside = place.offset >= *begin && place.offset + len as u64 <= begin + window.len() as u64;
        if !inside {
            let follows = place.offset >= *begin
                && place.offset <= begin + window.len() as u64 + AHEAD_BYTES as u64
                && !window.is_empty();
            let rest = (self.part.foot.index_offset - place.offset) as usize;
            let wanted = if follows { len.max(AHEAD_BYTES).min(rest) } else { len };
            self.window = (place.offset, self.part.read_at(place.offset, wanted)?);
        }
        let at = (place.offset - self.window.0) as usize;
        let damaged = || self.part.damaged(format!("the column at byte {} is cut", place.offset));
        let bytes = self.window.1.get(at..at + len).ok_or_else(damaged)?;
        let (column, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32fast::hash(column) != u32::from_le_bytes(*crc) {
            return Err(self
                .part
                .damaged(format!("the column at byte {} does not have the checksum it had", place.offset)));
        }
        Ok(column)
    }
}
