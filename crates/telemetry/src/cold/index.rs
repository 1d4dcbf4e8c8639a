//! The index of a unit: what is needed to answer from its Parquet files without reading more than the pages that count.
//!
//! ```text
//! header (32 bytes): magic, format, place of the body, checksums │ tag filters, trace locators │ body
//! ```
//!
//! The body is kept in memory; filters and locators are read where a question gets to them. A unit is there when its
//! index is: it is written last and renamed into place.

use super::bloom;
use super::ceilings::{Ceilings, Coverage};
use super::gather::Field;
use super::operations::{OperationTally, Tally, bounded};
use super::pack::{put_varint, take_varint};
use crate::column::AttributeType;
use crate::filter::Filter;
use crate::model::Signal;

const MAGIC: [u8; 4] = *b"HSCI";

/// The format this version writes. The first one lacks the age of the oldest rows; the second counts each operation for
/// itself, however many there are.
pub(crate) const FORMAT: u16 = 3;

const HEADER: usize = 32;

/// Bytes of an entry of a locator: 32 bits of the trace's hash, the first row of its run.
pub(super) const LOCATOR_ENTRY: u64 = 8;

/// What is wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IndexError {
    #[error("the index is cut off or damaged")]
    Damaged,
    #[error("the index has format {found}, this version reads up to {FORMAT}; use a newer homeostat")]
    Newer { found: u16 },
}

/// Bytes in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) stored: u32,
    /// Unpacked.
    pub(super) raw: u32,
    pub(super) crc: u32,
}

/// How the values of a column chunk are written; Parquet's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Encoding {
    /// `RLE_DICTIONARY` of byte arrays.
    Strings = 0,
    /// `PLAIN` byte arrays.
    PlainStrings = 1,
    /// `RLE_DICTIONARY` of 8-byte numbers.
    Numbers = 2,
    /// `DELTA_BINARY_PACKED`.
    Deltas = 3,
    /// `PLAIN` 8-byte numbers.
    PlainNumbers = 4,
    /// `PLAIN` booleans.
    Bits = 5,
    /// `PLAIN` bytes of one length.
    Fixed = 6,
}

/// One column of a row group.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) field: Field,
    pub(super) encoding: Encoding,
    pub(super) packed: bool,
    pub(super) optional: bool,
    /// Bytes of a value of [`Encoding::Fixed`].
    pub(super) width: u8,
    /// Entries of the dictionary.
    pub(super) entries: u32,
    pub(super) dictionary: Place,
    pub(super) pages: Vec<Place>,
    /// Of an attribute: key and type.
    pub(super) key: Box<[u8]>,
    pub(super) kind: AttributeType,
}

/// Bounds of the rows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) start_min: u64,
    pub(super) start_max: u64,
    pub(super) duration_max: u64,
    /// Rows with something that has no column.
    pub(super) rests: u64,
}

/// In the byte of an operation's kind: it has no name, and stands for any.
const ANY_NAME: u8 = 0x80;

/// A row group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) rows: u32,
    pub(super) bounds: Vec<Bounds>,
    pub(super) operations: Vec<OperationTally>,
    pub(super) services: Vec<String>,
    /// Which attributes a row has, in which order: indices into the attribute chunks.
    pub(super) shapes: Vec<Box<[u16]>>,
    pub(super) fields: Vec<Chunk>,
    pub(super) attributes: Vec<Chunk>,
    pub(super) traces: Filter,
    /// Of spans.
    pub(super) ceilings: Ceilings,
    /// Where the locator is, and its entries.
    pub(super) locator: (u64, u64),
    /// Where the tag filter is, and its blocks.
    pub(super) tags: (u64, u64),
}

impl Group {
    pub(super) fn start_min(&self) -> u64 {
        self.bounds.iter().map(|bounds| bounds.start_min).min().unwrap_or(0)
    }

    pub(super) fn start_max(&self) -> u64 {
        self.bounds.iter().map(|bounds| bounds.start_max).max().unwrap_or(0)
    }

    pub(super) fn field(&self, field: Field) -> Option<&Chunk> {
        self.fields.iter().find(|chunk| chunk.field == field)
    }
}

/// The index of a unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    /// Numbers of the segments it was made from.
    pub(super) segments: Vec<u64>,
    pub(super) spans: Vec<Group>,
    pub(super) logs: Vec<Group>,
    /// Spans that came in, sampled out ones among them.
    pub(super) spans_before_sampling: u64,
    /// Calls by minute of all spans, before sampling: [`Minutes`](crate::Minutes) as bytes.
    pub(super) derived: Vec<u8>,
    /// Of a merged unit: when the first of those it was merged from was written, nanoseconds since 1970; else 0.
    pub(super) first_written_unix_nano: u64,
}

impl Index {
    pub(super) fn groups(&self, signal: Signal) -> &[Group] {
        match signal {
            Signal::Spans => &self.spans,
            Signal::Logs => &self.logs,
        }
    }

    /// The index as bytes, behind `sections`, which begin at [`sections_start`].
    pub(super) fn write(&self, sections: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        put_varint(&mut body, self.segments.len() as u64);
        self.segments.iter().for_each(|&number| put_varint(&mut body, number));
        put_varint(&mut body, self.spans_before_sampling);
        put_bytes(&mut body, &self.derived);
        for groups in [&self.spans, &self.logs] {
            put_varint(&mut body, groups.len() as u64);
            groups.iter().for_each(|group| put_group(&mut body, group));
        }
        put_varint(&mut body, self.first_written_unix_nano);
        let mut out = vec![0; HEADER];
        out.extend_from_slice(sections);
        let at = out.len() as u64;
        out.extend_from_slice(&body);
        let crc = crc32fast::hash(&out[HEADER..]);
        out[..4].copy_from_slice(&MAGIC);
        out[4..6].copy_from_slice(&FORMAT.to_le_bytes());
        out[8..16].copy_from_slice(&at.to_le_bytes());
        let len = out.len() as u64;
        out[16..24].copy_from_slice(&len.to_le_bytes());
        out[24..28].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..28]);
        out[28..32].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads an index.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, IndexError> {
        let header = bytes.first_chunk::<HEADER>().ok_or(IndexError::Damaged)?;
        let four =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let eight = |at: usize| u64::from(four(at)) | u64::from(four(at + 4)) << 32;
        if header[..4] != MAGIC || four(28) != crc32fast::hash(&header[..28]) {
            return Err(IndexError::Damaged);
        }
        let found = four(4) as u16;
        if found > FORMAT {
            return Err(IndexError::Newer { found });
        }
        if eight(16) != bytes.len() as u64 || four(24) != crc32fast::hash(&bytes[HEADER..]) {
            return Err(IndexError::Damaged);
        }
        let mut body =
            usize::try_from(eight(8)).ok().and_then(|at| bytes.get(at..)).ok_or(IndexError::Damaged)?;
        read_body(&mut body, found).ok_or(IndexError::Damaged)
    }
}

/// Where sections begin in the file.
pub(super) fn sections_start() -> u64 {
    HEADER as u64
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_all(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|&number| put_varint(out, number));
}

fn put_place(out: &mut Vec<u8>, place: &Place) {
    put_all(out, &[place.offset, place.stored.into(), place.raw.into(), place.crc.into()]);
}

fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    let flags = u8::from(chunk.packed) | u8::from(chunk.optional) << 1;
    out.extend([chunk.field as u8, chunk.encoding as u8, flags, chunk.width, chunk.kind as u8]);
    put_bytes(out, &chunk.key);
    put_varint(out, chunk.entries.into());
    put_place(out, &chunk.dictionary);
    put_varint(out, chunk.pages.len() as u64);
    chunk.pages.iter().for_each(|place| put_place(out, place));
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_varint(out, group.rows.into());
    put_varint(out, group.bounds.len() as u64);
    for bounds in &group.bounds {
        put_all(out, &[bounds.start_min, bounds.start_max, bounds.duration_max, bounds.rests]);
    }
    put_varint(out, group.operations.len() as u64);
    for operation in &group.operations {
        put_bytes(out, operation.service.as_bytes());
        put_bytes(out, operation.name.as_deref().unwrap_or_default().as_bytes());
        out.push(operation.kind | if operation.name.is_none() { ANY_NAME } else { 0 });
        let tally = operation.tally;
        put_all(out, &[tally.count, tally.errors, tally.duration_max]);
    }
    put_varint(out, group.services.len() as u64);
    group.services.iter().for_each(|service| put_bytes(out, service.as_bytes()));
    put_varint(out, group.shapes.len() as u64);
    for shape in &group.shapes {
        put_varint(out, shape.len() as u64);
        shape.iter().for_each(|&column| put_varint(out, column.into()));
    }
    for chunks in [&group.fields, &group.attributes] {
        put_varint(out, chunks.len() as u64);
        chunks.iter().for_each(|chunk| put_chunk(out, chunk));
    }
    put_varint(out, group.traces.words().len() as u64);
    group.traces.words().iter().for_each(|word| out.extend(word.to_le_bytes()));
    put_all(out, &[group.locator.0, group.locator.1, group.tags.0, group.tags.1]);
    put_ceilings(out, &group.ceilings);
}

fn put_ceilings(out: &mut Vec<u8>, ceilings: &Ceilings) {
    let Coverage::AllBut(open) = &ceilings.coverage else { return out.push(0) };
    out.push(1);
    put_varint(out, open.len() as u64);
    open.iter().for_each(|key| put_bytes(out, key));
    put_varint(out, ceilings.subjects.len() as u64);
    for &(hash, lane) in &ceilings.subjects {
        out.extend(hash.to_le_bytes());
        put_varint(out, lane.into());
    }
    ceilings.steps.iter().for_each(|step| out.extend(step.to_le_bytes()));
}

fn read_body(body: &mut &[u8], format: u16) -> Option<Index> {
    let mut index = Index { segments: list(body, take_varint)?, ..Index::default() };
    index.spans_before_sampling = take_varint(body)?;
    index.derived = bytes(body)?.to_vec();
    index.spans = list(body, |body| group(body, format))?;
    index.logs = list(body, |body| group(body, format))?;
    if format >= 2 {
        index.first_written_unix_nano = take_varint(body)?;
    }
    Some(index)
}

fn list<T>(body: &mut &[u8], mut item: impl FnMut(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = take_varint(body)?;
    // Every item takes a byte at least.
    if count > body.len() as u64 {
        return None;
    }
    (0..count).map(|_| item(body)).collect()
}

fn bytes<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(take_varint(body)?).ok()?;
    let (found, rest) = body.split_at_checked(len)?;
    *body = rest;
    Some(found)
}

fn text(body: &mut &[u8]) -> Option<String> {
    String::from_utf8(bytes(body)?.to_vec()).ok()
}

fn byte(body: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = body.split_first()?;
    *body = rest;
    Some(byte)
}

fn small(body: &mut &[u8]) -> Option<u32> {
    u32::try_from(take_varint(body)?).ok()
}

fn place(body: &mut &[u8]) -> Option<Place> {
    Some(Place { offset: take_varint(body)?, stored: small(body)?, raw: small(body)?, crc: small(body)? })
}

fn field(byte: u8) -> Option<Field> {
    use Field::*;
    [
        TraceId,
        SpanId,
        ParentOffset,
        ParentId,
        Start,
        Duration,
        Kind,
        Status,
        Flags,
        Name,
        Message,
        TraceState,
        Service,
        Resource,
        Scope,
        Shape,
        Rest,
        AdjustedCount,
        Attribute,
    ]
    .into_iter()
    .find(|&field| field as u8 == byte)
}

fn encoding(byte: u8) -> Option<Encoding> {
    use Encoding::*;
    [Strings, PlainStrings, Numbers, Deltas, PlainNumbers, Bits, Fixed]
        .into_iter()
        .find(|&encoding| encoding as u8 == byte)
}

fn chunk(body: &mut &[u8]) -> Option<Chunk> {
    let field = field(byte(body)?)?;
    let encoding = encoding(byte(body)?)?;
    let flags = byte(body)?;
    let width = byte(body)?;
    let kind = AttributeType::from_byte(byte(body)?)?;
    Some(Chunk {
        field,
        encoding,
        packed: flags & 1 != 0,
        optional: flags & 2 != 0,
        width,
        kind,
        key: bytes(body)?.into(),
        entries: small(body)?,
        dictionary: place(body)?,
        pages: list(body, place)?,
    })
}

fn operation(body: &mut &[u8], format: u16) -> Option<OperationTally> {
    let (service, name, kind) = (text(body)?, text(body)?, byte(body)?);
    let any = kind & ANY_NAME != 0;
    if any && (format < 3 || !name.is_empty()) {
        return None;
    }
    let tally =
        Tally { count: take_varint(body)?, errors: take_varint(body)?, duration_max: take_varint(body)? };
    Some(OperationTally { service, name: (!any).then_some(name), kind: kind & !ANY_NAME, tally })
}

fn group(body: &mut &[u8], format: u16) -> Option<Group> {
    let rows = small(body)?;
    let bounds = list(body, |body| {
        Some(Bounds {
            start_min: take_varint(body)?,
            start_max: take_varint(body)?,
            duration_max: take_varint(body)?,
            rests: take_varint(body)?,
        })
    })?;
    let operations = bounded(list(body, |body| operation(body, format))?);
    let services = list(body, text)?;
    let shapes = list(body, |body| {
        let shape = list(body, |body| u16::try_from(take_varint(body)?).ok())?;
        Some(shape.into_boxed_slice())
    })?;
    let fields = list(body, chunk)?;
    let attributes = list(body, chunk)?;
    let words = list(body, |body| {
        let (word, rest) = body.split_first_chunk::<8>()?;
        *body = rest;
        Some(u64::from_le_bytes(*word))
    })?;
    let numbers = [(); 4].map(|()| take_varint(body));
    let [Some(a), Some(b), Some(c), Some(d)] = numbers else { return None };
    let ceilings = ceilings(body, bounds.len())?;
    Some(Group {
        rows,
        bounds,
        operations,
        services,
        shapes,
        fields,
        attributes,
        traces: Filter::from_words(words.into())?,
        ceilings,
        locator: (a, b),
        tags: (c, d),
    })
}

fn ceilings(body: &mut &[u8], pages: usize) -> Option<Ceilings> {
    if byte(body)? == 0 {
        return Some(Ceilings::default());
    }
    let open = list(body, |body| Some(bytes(body)?.into()))?;
    let subjects = list(body, |body| {
        let (hash, rest) = body.split_first_chunk::<8>()?;
        *body = rest;
        Some((u64::from_le_bytes(*hash), small(body)?))
    })?;
    let len = subjects.len().checked_mul(pages)?.checked_mul(2)?;
    let (steps, rest) = body.split_at_checked(len)?;
    *body = rest;
    let steps = steps.as_chunks::<2>().0.iter().map(|&step| u16::from_le_bytes(step)).collect();
    Some(Ceilings { coverage: Coverage::AllBut(open), pages, subjects, steps })
}

/// Adds a locator and a tag filter to the sections of an index that is being written; answers their places.
pub(super) fn put_sections(
    sections: &mut Vec<u8>,
    mut runs: Vec<(u32, u32)>,
    tags: &[u64],
) -> ((u64, u64), (u64, u64)) {
    let here = |sections: &Vec<u8>| sections_start() + sections.len() as u64;
    let locator = (here(sections), runs.len() as u64);
    runs.sort_unstable();
    for (hash, row) in runs {
        sections.extend(hash.to_le_bytes());
        sections.extend(row.to_le_bytes());
    }
    let filter = bloom::build(tags);
    let tags = (here(sections), (filter.len() / bloom::BLOCK) as u64);
    sections.extend(filter);
    (locator, tags)
}
