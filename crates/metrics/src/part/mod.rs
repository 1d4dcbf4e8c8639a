//! Parts: files of sealed columns, one tier each, never changed once they are there.
//!
//! ```text
//! parts/00000000000000000012.raw:  head │ column │ column │ … │ index │ foot
//! column:  bytes │ crc32            a column of times that several series share is there once
//! index:   strings, sorted │ series by labels: their labels, their chunks │ series of each label
//! foot:    where the index is and its crc32, how many series and samples, first and last time │ crc32 │ magic
//! ```
//!
//! Written to a file with `.new` behind its name, synced, renamed, the directory synced. A part counts once the catalogue
//! names it. The index is read as a whole when it is asked for, and let go of when others need the room; columns are read
//! one by one.

mod index;
mod read;
mod write;

use crate::bytes::{Damaged, Reader, put_signed, put_varint};
use crate::tier::Tier;

pub(crate) use index::{IndexCache, PartIndex, Strings};
pub(crate) use read::{Between, Columns, Part, PartError};
pub(crate) use write::PartWriter;

/// What a part begins with, and ends with.
const MAGIC: [u8; 4] = *b"HSMP";

/// The format written here. In the first a part answered for its own tier alone, and columns had fewer shapes.
pub(crate) const FORMAT: u32 = 2;

/// Bytes of the head: magic and format.
const HEAD_BYTES: usize = 8;

/// Bytes of the foot.
const FOOT_BYTES: usize = 72;

/// What files under way end with.
pub(crate) const UNFINISHED: &str = "new";

/// What is in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkKind {
    Floats,
    Histograms,
    /// What is kept of windows beside samples.
    Windows,
}

/// Where something lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    /// Without the checksum behind it.
    pub(crate) len: u32,
}

/// A chunk of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) kind: ChunkKind,
    pub(crate) count: u32,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
    pub(crate) times: Place,
    pub(crate) values: Place,
}

impl Chunk {
    fn put(&self, out: &mut Vec<u8>, base_ms: i64) {
        out.push(match self.kind {
            ChunkKind::Floats => 0,
            ChunkKind::Histograms => 1,
            ChunkKind::Windows => 2,
        });
        put_varint(out, self.count.into());
        put_signed(out, self.min_ms.wrapping_sub(base_ms));
        put_varint(out, self.max_ms.wrapping_sub(self.min_ms) as u64);
        for place in [self.times, self.values] {
            put_varint(out, place.offset);
            put_varint(out, place.len.into());
        }
    }

    fn read(reader: &mut Reader<'_>, base_ms: i64) -> Result<Self, Damaged> {
        let kind = match reader.byte()? {
            0 => ChunkKind::Floats,
            1 => ChunkKind::Histograms,
            2 => ChunkKind::Windows,
            _ => return Err(Damaged),
        };
        let count = reader.count(crate::codec::CHUNK_SAMPLES)? as u32;
        let min_ms = base_ms.wrapping_add(reader.signed()?);
        let max_ms = min_ms.wrapping_add(reader.varint()? as i64);
        let mut place = || -> Result<Place, Damaged> {
            let offset = reader.varint()?;
            Ok(Place { offset, len: u32::try_from(reader.varint()?).map_err(|_| Damaged)? })
        };
        let (times, values) = (place()?, place()?);
        Ok(Self { kind, count, min_ms, max_ms, times, values })
    }
}

/// What a part ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Foot {
    pub(crate) tier: Tier,
    /// The coarsest tier it answers for: coarser parts of its samples were not written, see [`crate::tier`].
    pub(crate) through: Tier,
    pub(crate) number: u64,
    pub(crate) index_offset: u64,
    pub(crate) index_len: u64,
    pub(crate) index_crc: u32,
    pub(crate) series: u32,
    pub(crate) samples: u64,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

impl Foot {
    fn bytes(&self) -> [u8; FOOT_BYTES] {
        let mut bytes = Vec::with_capacity(FOOT_BYTES);
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend([self.tier.place() as u8, self.through.place() as u8, 0, 0]);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.index_offset.to_le_bytes());
        bytes.extend(self.index_len.to_le_bytes());
        bytes.extend(self.index_crc.to_le_bytes());
        bytes.extend(self.series.to_le_bytes());
        bytes.extend(self.samples.to_le_bytes());
        bytes.extend(self.min_ms.to_le_bytes());
        bytes.extend(self.max_ms.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.extend(MAGIC);
        let mut foot = [0; FOOT_BYTES];
        foot.copy_from_slice(&bytes);
        foot
    }

    /// The format comes first: what a later version put behind it may mean something else.
    fn read(bytes: &[u8; FOOT_BYTES]) -> Result<Self, FootError> {
        let mut reader = Reader::new(bytes);
        let crc = crc32fast::hash(&bytes[..FOOT_BYTES - 8]).to_le_bytes();
        if bytes[FOOT_BYTES - 4..] != MAGIC || bytes[FOOT_BYTES - 8..FOOT_BYTES - 4] != crc {
            return Err(FootError::Damaged);
        }
        let format = reader.u32()?;
        if format > FORMAT {
            return Err(FootError::Newer { found: format });
        }
        let [tier, through, _, _] = reader.fixed()?;
        let of = |place: u8| Tier::ALL.get(usize::from(place)).copied().ok_or(Damaged);
        let (tier, through) = (of(tier)?, of(through)?);
        Ok(Self {
            tier,
            through: through.max(tier),
            number: reader.u64()?,
            index_offset: reader.u64()?,
            index_len: reader.u64()?,
            index_crc: reader.u32()?,
            series: reader.u32()?,
            samples: reader.u64()?,
            min_ms: reader.i64()?,
            max_ms: reader.i64()?,
        })
    }
}

/// Why bytes are no foot.
enum FootError {
    Damaged,
    Newer { found: u32 },
}

impl From<Damaged> for FootError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}
