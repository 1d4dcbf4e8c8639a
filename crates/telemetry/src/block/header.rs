//! The header of a block.

use super::BlockError;
use crate::model::Signal;

/// Begins every block; also what recovery looks for behind a damaged one.
pub(crate) const MAGIC: [u8; 4] = *b"HSTB";

/// The format this version writes.
pub(crate) const FORMAT: u16 = 1;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 40;

/// No payload is larger: a batch is closed long before.
const PAYLOAD_MAX: u32 = 1 << 30;

/// What is known about a block before its payload is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) signal: Signal,
    pub(crate) payload_len: u32,
    pub(crate) payload_crc: u32,
    pub(crate) rows: u32,
    /// Earliest start in the block, nanoseconds since 1970.
    pub(crate) start_min: u64,
    /// Latest start in the block, inclusive.
    pub(crate) start_max: u64,
}

impl Header {
    pub(crate) fn write(&self, out: &mut [u8; HEADER_BYTES]) {
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&FORMAT.to_le_bytes());
        out[6] = self.signal as u8;
        out[7] = 0;
        out[8..12].copy_from_slice(&self.payload_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..20].copy_from_slice(&self.rows.to_le_bytes());
        out[20..28].copy_from_slice(&self.start_min.to_le_bytes());
        out[28..36].copy_from_slice(&self.start_max.to_le_bytes());
        let crc = crc32fast::hash(&out[..36]);
        out[36..].copy_from_slice(&crc.to_le_bytes());
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BlockError> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(BlockError::NoHeader)?;
        let four = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        if bytes[..4] != MAGIC || four(36) != crc32fast::hash(&bytes[..36]) {
            return Err(BlockError::NoHeader);
        }
        let format = u16::from_le_bytes([bytes[4], bytes[5]]);
        if format > FORMAT {
            return Err(BlockError::Newer { found: format, known: FORMAT });
        }
        let signal = Signal::from_byte(bytes[6]).ok_or(BlockError::Nonsense { what: "signal" })?;
        let payload_len = four(8);
        if payload_len > PAYLOAD_MAX {
            return Err(BlockError::Nonsense { what: "length" });
        }
        Ok(Self {
            signal,
            payload_len,
            payload_crc: four(12),
            rows: four(16),
            start_min: eight(20),
            start_max: eight(28),
        })
    }

    /// Bytes of the whole block.
    pub(crate) fn block_len(&self) -> usize {
        HEADER_BYTES + self.payload_len as usize
    }
}
