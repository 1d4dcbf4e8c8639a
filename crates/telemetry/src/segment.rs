//! Segments: files of blocks, one behind the other. Written by the committer alone, read by everyone.
//!
//! ```text
//! hot/00000000000000000007.segment:  block │ block │ block │ …
//! ```
//!
//! A segment is only appended to, by one process, and never again after a restart. What was acknowledged lies before
//! [`Segment::durable`]; what lies behind it may be torn and is dropped by recovery.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::batch::Batch;
use crate::block::{Block, BlockError, HEADER_BYTES, Header, MAGIC};
use crate::filter::{Filter, trace_hash};
use crate::model::Signal;

/// File name ending of a segment.
const ENDING: &str = "segment";

/// What is kept in memory about a block, so that queries read only blocks that can answer.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    /// Which traces can have rows here.
    traces: Filter,
    /// Services with rows here, few.
    pub(crate) services: Box<[Arc<str>]>,
}

impl Outline {
    pub(crate) fn new(offset: u64, header: Header, batch: &Batch) -> Self {
        let runs: Vec<u64> = batch.trace.chunk_by(|a, b| a == b).map(|run| trace_hash(&run[0])).collect();
        Self {
            offset,
            header,
            traces: Filter::new(runs.into_iter()),
            services: batch.origins.services.iter().cloned().collect(),
        }
    }

    /// Whether rows of a trace can be here.
    pub(crate) fn may_hold(&self, trace_hash: u64) -> bool {
        self.traces.may_hold(trace_hash)
    }

    pub(crate) fn signal(&self) -> Signal {
        self.header.signal
    }
}

/// A file of blocks.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    file: File,
    outlines: RwLock<Vec<Arc<Outline>>>,
}

impl Segment {
    /// Makes a new, empty segment, durably.
    pub(crate) fn create(dir: &Path, number: u64) -> io::Result<Self> {
        let path = dir.join(format!("{number:020}.{ENDING}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        File::open(dir)?.sync_all()?;
        Ok(Self { number, path, file, outlines: RwLock::default() })
    }

    /// Numbers and paths of the segments in a directory, ascending.
    pub(crate) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in dir.read_dir()? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let (Some(number), Some(ENDING)) =
                (number, path.extension().and_then(|ending| ending.to_str()))
            {
                found.push((number, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Writes bytes at `offset`. They count only once [`Segment::sync`] came back.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Waits until the disk has everything written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes back what lies beyond `len`.
    pub(crate) fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.sync_all()
    }

    /// Lets queries see blocks.
    pub(crate) fn publish(&self, outlines: impl IntoIterator<Item = Arc<Outline>>) {
        self.outlines.write().unwrap_or_else(PoisonError::into_inner).extend(outlines);
    }

    /// The blocks, oldest first.
    pub(crate) fn outlines(&self) -> Vec<Arc<Outline>> {
        self.outlines.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bytes of a block.
    pub(crate) fn read(&self, outline: &Outline) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; outline.header.block_len()];
        self.file.read_exact_at(&mut bytes, outline.offset)?;
        Ok(bytes)
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> u64 {
        let outlines = self.outlines.read().unwrap_or_else(PoisonError::into_inner);
        outlines.last().map_or(0, |last| last.offset + last.header.block_len() as u64)
    }

    /// The newest start of a span or time of a log record, nanoseconds since 1970; 0 where there are none.
    pub(crate) fn newest_start(&self) -> u64 {
        let outlines = self.outlines.read().unwrap_or_else(PoisonError::into_inner);
        outlines.iter().map(|outline| outline.header.start_max).max().unwrap_or(0)
    }

    /// Rows of a signal.
    pub(crate) fn rows(&self, signal: Signal) -> u64 {
        let outlines = self.outlines.read().unwrap_or_else(PoisonError::into_inner);
        outlines.iter().filter(|o| o.signal() == signal).map(|o| u64::from(o.header.rows)).sum()
    }
}

/// What recovery found in a segment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Blocks that read well.
    pub(crate) blocks: u64,
    /// Bytes behind the last block: written, never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Bytes between blocks that make no sense: the disk lost something.
    pub(crate) damaged_bytes: u64,
}

impl Segment {
    /// Opens a segment of an earlier process, and shows each of its batches to `each`. What is torn is cut off.
    pub(crate) fn recover(
        number: u64,
        path: PathBuf,
        each: impl FnMut(&Batch),
    ) -> io::Result<(Self, Recovered)> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let (outlines, recovered) = walk(&file, each)?;
        if recovered.torn_bytes > 0 {
            file.set_len(file.metadata()?.len() - recovered.torn_bytes)?;
        }
        Ok((Self { number, path, file, outlines: RwLock::new(outlines) }, recovered))
    }

    /// Opens a file of blocks to be read, changes nothing of it, and shows each of its batches to `each`.
    pub(crate) fn inspect(path: PathBuf, each: impl FnMut(&Batch)) -> io::Result<(Self, Recovered)> {
        let file = File::open(&path)?;
        let (outlines, recovered) = walk(&file, each)?;
        Ok((Self { number: 0, path, file, outlines: RwLock::new(outlines) }, recovered))
    }

    /// Opens a file whose blocks are known, to be read.
    pub(crate) fn reading(path: PathBuf, outlines: Vec<Arc<Outline>>) -> io::Result<Self> {
        let file = File::open(&path)?;
        Ok(Self { number: 0, path, file, outlines: RwLock::new(outlines) })
    }
}

/// Reads all blocks of a file.
///
/// The walk ends where no block follows any more: a crash leaves a torn or zeroed tail, which nobody was told is safe. A
/// damaged place with blocks behind it is skipped and counted: those blocks were acknowledged.
fn walk(file: &File, mut each: impl FnMut(&Batch)) -> io::Result<(Vec<Arc<Outline>>, Recovered)> {
    let len = file.metadata()?.len();
    let mut recovered = Recovered::default();
    let mut outlines = Vec::new();
    let mut offset = 0u64;
    while offset < len {
        match read_block(file, offset, len)? {
            Ok((header, batch)) => {
                each(&batch);
                outlines.push(Arc::new(Outline::new(offset, header, &batch)));
                recovered.blocks += 1;
                offset += header.block_len() as u64;
            }
            Err(newer @ BlockError::Newer { .. }) => return Err(io::Error::other(newer)),
            Err(_) => match find_block(file, offset + 1, len)? {
                Some(next) => {
                    recovered.damaged_bytes += next - offset;
                    offset = next;
                }
                None => {
                    recovered.torn_bytes = len - offset;
                    break;
                }
            },
        }
    }
    Ok((outlines, recovered))
}

fn read_block(file: &File, offset: u64, len: u64) -> io::Result<Result<(Header, Batch), BlockError>> {
    let mut head = [0; HEADER_BYTES];
    if len - offset < HEADER_BYTES as u64 {
        return Ok(Err(BlockError::NoHeader));
    }
    file.read_exact_at(&mut head, offset)?;
    let header = match Header::read(&head) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    if header.block_len() as u64 > len - offset {
        return Ok(Err(BlockError::Damaged));
    }
    let mut bytes = vec![0; header.block_len()];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(Block::read(&bytes).and_then(|block| block.batch()).map(|batch| (header, batch)))
}

/// The next place from `from` on where a whole block begins.
fn find_block(file: &File, from: u64, len: u64) -> io::Result<Option<u64>> {
    const WINDOW: usize = 1 << 20;
    let mut window = vec![0; WINDOW];
    let mut at = from;
    while at + HEADER_BYTES as u64 <= len {
        let read = WINDOW.min((len - at) as usize);
        file.read_exact_at(&mut window[..read], at)?;
        let candidates = window[..read].windows(MAGIC.len()).enumerate();
        for (i, _) in candidates.filter(|(_, bytes)| *bytes == MAGIC) {
            let place = at + i as u64;
            if read_block(file, place, len)?.is_ok() {
                return Ok(Some(place));
            }
        }
        // The next window begins where a magic number could be cut by the end of this one.
        at += (read - (MAGIC.len() - 1).min(read - 1)) as u64;
    }
    Ok(None)
}
