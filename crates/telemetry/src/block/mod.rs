//! A block: a closed batch as bytes. It is the write-ahead record, the first searchable level and what the compactor
//! reads; nothing is encoded twice.
//!
//! ```text
//! header (40 bytes, its own checksum)  │ payload (checksum in the header)
//! magic, version, signal, lengths,     │ section, section, …: each a column or a part of one,
//! rows, first and last start           │ with its key, its length, and LZ4 where that made it smaller
//! ```
//!
//! Numbers are stored as their distance from the smallest one, in as few bytes as the largest distance needs, one byte
//! plane after the other, which leaves LZ4 long runs to find. A reader that needs three columns unpacks three.
//!
//! Nothing here trusts what it reads: a block whose checksum holds but whose content makes no sense is an error with a
//! reason, never a panic.

mod decode;
mod encode;
mod header;
mod pack;

pub(crate) use decode::Block;
pub(crate) use encode::Encoder;
pub(crate) use header::{FORMAT, HEADER_BYTES, Header, MAGIC};

/// What is wrong with a block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The bytes do not begin with a block's header, or its checksum does not hold.
    #[error("no block begins here")]
    NoHeader,
    /// A later version wrote it.
    #[error("the block has format {found}, this version reads up to {known}; use a newer homeostat")]
    Newer {
        /// The format found.
        found: u16,
        /// The newest format known.
        known: u16,
    },
    /// The payload is shorter than the header says, or its checksum does not hold.
    #[error("the block is cut off or damaged")]
    Damaged,
    /// The checksum holds, the content does not: a defect of the writer.
    #[error("the block's {what} makes no sense")]
    Nonsense {
        /// Which part.
        what: &'static str,
    },
}

/// A column, or a table beside the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    Trace = 1,
    Span = 2,
    Parent = 3,
    Start = 4,
    Duration = 5,
    Kind = 6,
    Status = 7,
    Flags = 8,
    Name = 9,
    Message = 10,
    TraceState = 11,
    Origin = 12,
    Resources = 13,
    Scopes = 14,
    Pairs = 15,
    Dropped = 16,
    Attributes = 17,
    EventRow = 18,
    EventTime = 19,
    EventName = 20,
    EventAttributes = 21,
    EventDropped = 22,
    LinkRow = 23,
    LinkTrace = 24,
    LinkSpan = 25,
    LinkTraceState = 26,
    LinkFlags = 27,
    LinkAttributes = 28,
    LinkDropped = 29,
}

/// A piece of a part that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Piece {
    /// The only piece: numbers, or raw bytes.
    Whole = 0,
    /// Bytes of all entries.
    Heap = 1,
    /// Length of each entry.
    Lengths = 2,
    /// Entry of each row.
    Codes = 3,
    /// Rows in a run.
    Runs = 4,
    /// Keys and types of attribute columns, and shapes.
    Shapes = 5,
    /// The shape of each item.
    Items = 6,
}

/// Which section of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) part: Part,
    pub(crate) piece: Piece,
    /// Which attribute column; 0 elsewhere.
    pub(crate) column: u16,
}

impl Key {
    pub(crate) fn new(part: Part, piece: Piece) -> Self {
        Self { part, piece, column: 0 }
    }

    /// A column of attributes. Its text has pieces [`Piece::Heap`], [`Piece::Lengths`], [`Piece::Codes`].
    pub(crate) fn column(part: Part, piece: Piece, column: u16) -> Self {
        Self { part, piece, column }
    }

    fn number(self) -> u32 {
        (self.part as u32) << 24 | (self.piece as u32) << 16 | u32::from(self.column)
    }
}

#[cfg(test)]
mod tests;
