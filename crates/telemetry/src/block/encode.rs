//! A batch into the bytes of a block.

use lz4_flex::block::{compress_into, get_maximum_output_size};

use super::header::{HEADER_BYTES, Header};
use super::pack::pack;
use super::{Key, Part, Piece};
use crate::batch::Batch;
use crate::column::{Attributes, Form, Strings, Values};

/// Sections shorter than this are not worth LZ4's table.
const COMPRESS_FROM: usize = 64;

/// Bytes in front of a section: key, length as stored, length unpacked (equal where LZ4 did not help).
pub(super) const SECTION_HEAD: usize = 4 + 4 + 4;

/// Turns batches into blocks; keeps its scratch memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    scratch: Vec<u8>,
}

/// Whether a section is worth a try.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Compressible,
    /// Ids are random: nothing to find.
    Random,
}

impl Encoder {
    /// Appends `batch` to `out` as one block.
    pub(crate) fn encode(&mut self, batch: &Batch, out: &mut Vec<u8>) -> Header {
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        self.rows(batch, out);
        self.origins(batch, out);
        self.attributes(Part::Attributes, &batch.attributes, out);
        self.events(batch, out);
        self.links(batch, out);
        let payload = &out[start + HEADER_BYTES..];
        let (start_min, start_max) = batch.start_range().unwrap_or_default();
        let header = Header {
            signal: batch.signal,
            payload_len: payload.len() as u32,
            payload_crc: crc32fast::hash(payload),
            rows: batch.rows() as u32,
            start_min,
            start_max,
        };
        let bytes = out[start..].first_chunk_mut::<HEADER_BYTES>().expect("room was made for the header");
        header.write(bytes);
        header
    }

    fn rows(&mut self, batch: &Batch, out: &mut Vec<u8>) {
        self.traces(Part::Trace, &batch.trace, out);
        self.ids(Part::Span, &batch.span, out);
        self.ids(Part::Parent, &batch.parent, out);
        self.numbers(Part::Start, batch.start.iter().copied(), out);
        self.numbers(Part::Duration, batch.duration.iter().copied(), out);
        self.numbers(Part::Kind, batch.kind.iter().map(|&kind| u64::from(kind)), out);
        self.numbers(Part::Status, batch.status.iter().map(|&status| u64::from(status)), out);
        self.numbers(Part::Flags, batch.flags.iter().map(|&flags| u64::from(flags)), out);
        self.strings(Part::Name, 0, &batch.name, out);
        self.strings(Part::Message, 0, &batch.message, out);
        self.strings(Part::TraceState, 0, &batch.trace_state, out);
        let dropped = batch.dropped.iter().flat_map(|&(row, [a, e, l])| [row, a, e, l].map(u64::from));
        let dropped: Vec<u64> = dropped.collect();
        self.numbers(Part::Dropped, dropped.iter().copied(), out);
    }

    fn origins(&mut self, batch: &Batch, out: &mut Vec<u8>) {
        self.numbers(Part::Origin, batch.origin.iter().map(|&origin| u64::from(origin)), out);
        self.entries(Part::Resources, 0, &batch.origins.resources, out);
        self.entries(Part::Scopes, 0, &batch.origins.scopes, out);
        let pairs: Vec<u64> =
            batch.origins.pairs.iter().flat_map(|&(r, s)| [u64::from(r), u64::from(s)]).collect();
        self.numbers(Part::Pairs, pairs.iter().copied(), out);
    }

    fn events(&mut self, batch: &Batch, out: &mut Vec<u8>) {
        let events = &batch.events;
        if events.row.is_empty() {
            return;
        }
        self.numbers(Part::EventRow, events.row.iter().map(|&row| u64::from(row)), out);
        self.numbers(Part::EventTime, events.time.iter().copied(), out);
        self.strings(Part::EventName, 0, &events.name, out);
        self.attributes(Part::EventAttributes, &events.attributes, out);
        self.numbers(Part::EventDropped, events.dropped.iter().map(|&dropped| u64::from(dropped)), out);
    }

    fn links(&mut self, batch: &Batch, out: &mut Vec<u8>) {
        let links = &batch.links;
        if links.row.is_empty() {
            return;
        }
        self.numbers(Part::LinkRow, links.row.iter().map(|&row| u64::from(row)), out);
        self.traces(Part::LinkTrace, &links.trace, out);
        self.ids(Part::LinkSpan, &links.span, out);
        self.strings(Part::LinkTraceState, 0, &links.trace_state, out);
        self.numbers(Part::LinkFlags, links.flags.iter().map(|&flags| u64::from(flags)), out);
        self.attributes(Part::LinkAttributes, &links.attributes, out);
        self.numbers(Part::LinkDropped, links.dropped.iter().map(|&dropped| u64::from(dropped)), out);
    }

    fn attributes(&mut self, part: Part, attributes: &Attributes, out: &mut Vec<u8>) {
        // A batch keeps the columns it knows from the one before; those without a value are not written.
        let used: Vec<usize> =
            (0..attributes.columns().len()).filter(|&c| attributes.columns()[c].values.len() > 0).collect();
        let mut place = vec![u32::MAX; attributes.columns().len()];
        used.iter().enumerate().for_each(|(new, &old)| place[old] = new as u32);
        let mut shape_place = vec![u32::MAX; attributes.shapes().len()];
        let mut shapes: Vec<u32> = Vec::new();
        for &shape in attributes.items() {
            let at = &mut shape_place[shape as usize];
            if *at == u32::MAX {
                *at = shapes.len() as u32;
                shapes.push(shape);
            }
        }
        let mut table = std::mem::take(&mut self.scratch);
        table.clear();
        table.extend_from_slice(&(used.len() as u32).to_le_bytes());
        for &column in &used {
            let column = &attributes.columns()[column];
            table.push(column.kind as u8);
            table.extend_from_slice(&(column.key.len() as u16).to_le_bytes());
            table.extend_from_slice(&column.key);
        }
        table.extend_from_slice(&(shapes.len() as u32).to_le_bytes());
        for &shape in &shapes {
            let shape = &attributes.shapes()[shape as usize];
            table.extend_from_slice(&(shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|&column| table.extend_from_slice(&place[column as usize].to_le_bytes()));
        }
        section(Key::new(part, Piece::Shapes), &table, Content::Compressible, out);
        self.scratch = table;
        let items = attributes.items().iter().map(|&shape| u64::from(shape_place[shape as usize]));
        self.numbers_in(Key::new(part, Piece::Items), items, out);
        for (new, &old) in used.iter().enumerate() {
            match &attributes.columns()[old].values {
                Values::Strings(column) => self.strings(part, new as u16, column, out),
                Values::Numbers(column) => {
                    self.numbers_in(Key::column(part, Piece::Whole, new as u16), column.iter().copied(), out);
                }
            }
        }
    }

    /// A column of strings: entries, and codes where they are not the rows.
    fn strings(&mut self, part: Part, column: u16, strings: &Strings, out: &mut Vec<u8>) {
        self.entries(part, column, strings, out);
        if strings.form() == Form::Dictionary {
            let codes = strings.codes().iter().map(|&code| u64::from(code));
            self.numbers_in(Key::column(part, Piece::Codes, column), codes, out);
        }
    }

    fn entries(&mut self, part: Part, column: u16, strings: &Strings, out: &mut Vec<u8>) {
        section(Key::column(part, Piece::Heap, column), strings.heap(), Content::Compressible, out);
        let ends = strings.ends();
        let lengths = (0..ends.len()).map(|i| u64::from(ends[i] - if i == 0 { 0 } else { ends[i - 1] }));
        self.numbers_in(Key::column(part, Piece::Lengths, column), lengths, out);
    }

    /// Trace ids: spans of a trace mostly stand together, so each run has its id once.
    fn traces(&mut self, part: Part, ids: &[[u8; 16]], out: &mut Vec<u8>) {
        let mut heap = std::mem::take(&mut self.scratch);
        heap.clear();
        let mut runs: Vec<u64> = Vec::new();
        for run in ids.chunk_by(|a, b| a == b) {
            heap.extend_from_slice(&run[0]);
            runs.push(run.len() as u64);
        }
        section(Key::new(part, Piece::Heap), &heap, Content::Random, out);
        self.scratch = heap;
        self.numbers_in(Key::new(part, Piece::Runs), runs.iter().copied(), out);
    }

    fn ids(&mut self, part: Part, ids: &[u64], out: &mut Vec<u8>) {
        let mut raw = std::mem::take(&mut self.scratch);
        raw.clear();
        ids.iter().for_each(|id| raw.extend_from_slice(&id.to_be_bytes()));
        section(Key::new(part, Piece::Whole), &raw, Content::Random, out);
        self.scratch = raw;
    }

    fn numbers(&mut self, part: Part, values: impl ExactSizeIterator<Item = u64> + Clone, out: &mut Vec<u8>) {
        self.numbers_in(Key::new(part, Piece::Whole), values, out);
    }

    fn numbers_in(
        &mut self,
        key: Key,
        values: impl ExactSizeIterator<Item = u64> + Clone,
        out: &mut Vec<u8>,
    ) {
        if values.len() == 0 {
            return;
        }
        let mut raw = std::mem::take(&mut self.scratch);
        raw.clear();
        pack(values, &mut raw);
        section(key, &raw, Content::Compressible, out);
        self.scratch = raw;
    }
}

/// Appends one section; an empty one is left out, which reads as empty.
fn section(key: Key, raw: &[u8], content: Content, out: &mut Vec<u8>) {
    if raw.is_empty() {
        return;
    }
    let start = out.len();
    out.extend_from_slice(&key.number().to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let body = start + SECTION_HEAD;
    let mut stored = raw.len();
    if content == Content::Compressible && raw.len() >= COMPRESS_FROM {
        out.resize(body + get_maximum_output_size(raw.len()), 0);
        stored = compress_into(raw, &mut out[body..]).unwrap_or(raw.len()).min(raw.len());
    }
    out.truncate(body + stored);
    if stored == raw.len() {
        out.truncate(body);
        out.extend_from_slice(raw);
    }
    out[start + 4..start + 8].copy_from_slice(&(stored as u32).to_le_bytes());
}
