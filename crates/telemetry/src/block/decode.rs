//! The bytes of a block into columns: all of them as a batch, or those a query asks for.

use lz4_flex::block::decompress;

use super::encode::SECTION_HEAD;
use super::header::{HEADER_BYTES, Header};
use super::pack::unpack;
use super::{BlockError, Key, Part, Piece};
use crate::batch::{Batch, Events, Links, Origins};
use crate::column::{AttributeType, Attributes, Column, Form, Shape, Strings, Values};
use crate::otlp;

/// No section is larger unpacked: bytes that claim more are no section of ours.
const SECTION_MAX: usize = 1 << 30;

/// A block whose checksums hold.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) header: Header,
    sections: Vec<(u32, usize, &'a [u8])>,
}

type Result<T> = std::result::Result<T, BlockError>;

fn nonsense<T>(what: &'static str) -> Result<T> {
    Err(BlockError::Nonsense { what })
}

impl<'a> Block<'a> {
    /// Checks the block at the beginning of `bytes` and finds its sections.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        let header = Header::read(bytes)?;
        let payload = bytes.get(HEADER_BYTES..header.block_len()).ok_or(BlockError::Damaged)?;
        if crc32fast::hash(payload) != header.payload_crc {
            return Err(BlockError::Damaged);
        }
        let mut sections = Vec::new();
        let mut rest = payload;
        while !rest.is_empty() {
            let Some((head, body)) = rest.split_at_checked(SECTION_HEAD) else { return nonsense("section") };
            let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let Some((stored, next)) = body.split_at_checked(four(4) as usize) else {
                return nonsense("section");
            };
            sections.push((four(0), four(8) as usize, stored));
            rest = next;
        }
        Ok(Self { header, sections })
    }

    /// Rows.
    pub(crate) fn rows(&self) -> usize {
        self.header.rows as usize
    }

    /// The bytes of a section, unpacked; empty where there is none.
    fn bytes(&self, key: Key) -> Result<Vec<u8>> {
        let number = key.number();
        let Some(&(_, len, stored)) = self.sections.iter().find(|(found, ..)| *found == number) else {
            return Ok(Vec::new());
        };
        if stored.len() == len {
            return Ok(stored.to_vec());
        }
        if len > SECTION_MAX {
            return nonsense("section");
        }
        match decompress(stored, len) {
            Ok(raw) if raw.len() == len => Ok(raw),
            _ => nonsense("section"),
        }
    }

    fn numbers(&self, key: Key) -> Result<Vec<u64>> {
        let bytes = self.bytes(key)?;
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        unpack(&bytes).map_or_else(|| nonsense("column of numbers"), Ok)
    }

    fn small_numbers(&self, key: Key) -> Result<Vec<u32>> {
        let numbers = self.numbers(key)?;
        numbers.into_iter().map(|n| u32::try_from(n).or(nonsense("column of numbers"))).collect()
    }

    fn whole<T>(&self, part: Part, convert: impl Fn(u64) -> T) -> Result<Vec<T>> {
        let numbers = self.numbers(Key::new(part, Piece::Whole))?;
        if numbers.len() != self.rows() {
            return nonsense("column");
        }
        Ok(numbers.into_iter().map(convert).collect())
    }

    /// Start of each row, nanoseconds since 1970.
    pub(crate) fn starts(&self) -> Result<Vec<u64>> {
        self.whole(Part::Start, |n| n)
    }

    /// Duration of each span, nanoseconds.
    pub(crate) fn durations(&self) -> Result<Vec<u64>> {
        self.whole(Part::Duration, |n| n)
    }

    /// Kind of each span, severity of each log record.
    pub(crate) fn kinds(&self) -> Result<Vec<u8>> {
        self.whole(Part::Kind, |n| n as u8)
    }

    /// Status code of each span.
    pub(crate) fn statuses(&self) -> Result<Vec<u8>> {
        self.whole(Part::Status, |n| n as u8)
    }

    /// Name of each row.
    pub(crate) fn names(&self) -> Result<Strings> {
        self.column_of_strings(Part::Name, 0, self.rows())
    }

    /// Trace of each row.
    pub(crate) fn traces(&self) -> Result<Vec<[u8; 16]>> {
        self.trace_ids(Part::Trace, self.rows())
    }

    /// Id of each span, as its column holds it.
    pub(crate) fn spans(&self) -> Result<Vec<u64>> {
        self.ids(Part::Span, self.rows())
    }

    /// The row of each event, ascending, and the events' attributes.
    pub(crate) fn event_attributes(&self) -> Result<(Vec<u32>, Attributes)> {
        let rows = self.rows_of(Part::EventRow)?;
        let attributes = self.attributes(Part::EventAttributes, rows.len())?;
        Ok((rows, attributes))
    }

    /// Attributes of the rows.
    pub(crate) fn row_attributes(&self) -> Result<Attributes> {
        self.attributes(Part::Attributes, self.rows())
    }

    /// Origin of each row.
    pub(crate) fn origin_of_rows(&self) -> Result<Vec<u32>> {
        self.whole(Part::Origin, |n| n as u32)
    }

    /// The resources and scopes of the block.
    pub(crate) fn origins(&self) -> Result<Origins> {
        let resources = self.entries(Part::Resources, 0)?;
        let scopes = self.entries(Part::Scopes, 0)?;
        let pairs = self.small_numbers(Key::new(Part::Pairs, Piece::Whole))?;
        let pairs: Vec<(u32, u32)> = pairs.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let known =
            |&(r, s): &(u32, u32)| (r as usize) < resources.entries() && (s as usize) < scopes.entries();
        if !pairs.iter().all(known) {
            return nonsense("origin");
        }
        let services =
            (0..resources.entries() as u32).map(|r| otlp::service_name(resources.entry(r)).into()).collect();
        Ok(Origins { resources, scopes, pairs, services })
    }

    /// Everything.
    pub(crate) fn batch(&self) -> Result<Batch> {
        let rows = self.rows();
        let spans_only = |part| -> Result<Vec<u64>> {
            match self.header.signal {
                crate::model::Signal::Spans => self.ids(part, rows),
                crate::model::Signal::Logs => Ok(Vec::new()),
            }
        };
        let mut batch = Batch::new(self.header.signal);
        batch.trace = self.traces()?;
        batch.span = self.ids(Part::Span, rows)?;
        batch.parent = spans_only(Part::Parent)?;
        batch.start = self.starts()?;
        batch.duration = self.durations()?;
        batch.kind = self.kinds()?;
        batch.flags = self.whole(Part::Flags, |n| n as u32)?;
        batch.name = self.names()?;
        batch.message = self.column_of_strings(Part::Message, 0, rows)?;
        if self.header.signal == crate::model::Signal::Spans {
            batch.status = self.statuses()?;
            batch.trace_state = self.column_of_strings(Part::TraceState, 0, rows)?;
        }
        batch.origin = self.origin_of_rows()?;
        batch.origins = self.origins()?;
        if batch.origin.iter().any(|&origin| origin as usize >= batch.origins.pairs.len()) {
            return nonsense("origin");
        }
        batch.attributes = self.attributes(Part::Attributes, rows)?;
        let dropped = self.small_numbers(Key::new(Part::Dropped, Piece::Whole))?;
        batch.dropped = dropped.chunks_exact(4).map(|d| (d[0], [d[1], d[2], d[3]])).collect();
        batch.events = self.events()?;
        batch.links = self.links()?;
        Ok(batch)
    }

    fn events(&self) -> Result<Events> {
        let row = self.rows_of(Part::EventRow)?;
        let events = row.len();
        let time = self.numbers(Key::new(Part::EventTime, Piece::Whole))?;
        let dropped = self.small_numbers(Key::new(Part::EventDropped, Piece::Whole))?;
        if time.len() != events || dropped.len() != events {
            return nonsense("event");
        }
        let name = self.column_of_strings(Part::EventName, 0, events)?;
        Ok(Events { row, time, name, attributes: self.attributes(Part::EventAttributes, events)?, dropped })
    }

    fn links(&self) -> Result<Links> {
        let row = self.rows_of(Part::LinkRow)?;
        let links = row.len();
        let flags = self.small_numbers(Key::new(Part::LinkFlags, Piece::Whole))?;
        let dropped = self.small_numbers(Key::new(Part::LinkDropped, Piece::Whole))?;
        if flags.len() != links || dropped.len() != links {
            return nonsense("link");
        }
        Ok(Links {
            row,
            trace: self.trace_ids(Part::LinkTrace, links)?,
            span: self.ids(Part::LinkSpan, links)?,
            trace_state: self.column_of_strings(Part::LinkTraceState, 0, links)?,
            flags,
            attributes: self.attributes(Part::LinkAttributes, links)?,
            dropped,
        })
    }

    /// Rows that events or links belong to, ascending.
    fn rows_of(&self, part: Part) -> Result<Vec<u32>> {
        let rows = self.small_numbers(Key::new(part, Piece::Whole))?;
        let in_order = rows.windows(2).all(|pair| pair[0] <= pair[1]);
        match rows.last() {
            Some(&last) if !in_order || last >= self.header.rows => nonsense("row of an event or a link"),
            _ => Ok(rows),
        }
    }

    fn trace_ids(&self, part: Part, rows: usize) -> Result<Vec<[u8; 16]>> {
        let heap = self.bytes(Key::new(part, Piece::Heap))?;
        let runs = self.numbers(Key::new(part, Piece::Runs))?;
        let mut ids = Vec::with_capacity(rows);
        for (id, &run) in heap.as_chunks::<16>().0.iter().zip(&runs) {
            if run > (rows - ids.len()) as u64 {
                return nonsense("run of a trace");
            }
            ids.resize(ids.len() + run as usize, *id);
        }
        if ids.len() == rows { Ok(ids) } else { nonsense("run of a trace") }
    }

    fn ids(&self, part: Part, rows: usize) -> Result<Vec<u64>> {
        let raw = self.bytes(Key::new(part, Piece::Whole))?;
        if raw.len() != 8 * rows {
            return nonsense("column of ids");
        }
        Ok(raw.as_chunks::<8>().0.iter().map(|&id| u64::from_be_bytes(id)).collect())
    }

    /// Entries without rows.
    fn entries(&self, part: Part, column: u16) -> Result<Strings> {
        let (heap, ends) = self.heap_and_ends(part, column)?;
        Ok(Strings::from_parts(Form::Dictionary, heap, ends, Vec::new()))
    }

    fn heap_and_ends(&self, part: Part, column: u16) -> Result<(Vec<u8>, Vec<u32>)> {
        let heap = self.bytes(Key::column(part, Piece::Heap, column))?;
        let lengths = self.numbers(Key::column(part, Piece::Lengths, column))?;
        let mut end = 0u64;
        let mut ends = Vec::with_capacity(lengths.len());
        for length in lengths {
            end = end.saturating_add(length);
            if end > heap.len() as u64 {
                return nonsense("length of an entry");
            }
            ends.push(end as u32);
        }
        Ok((heap, ends))
    }

    fn column_of_strings(&self, part: Part, column: u16, rows: usize) -> Result<Strings> {
        if rows == 0 {
            // Entries whose rows were taken back may be left; without rows they mean nothing.
            return Ok(Strings::default());
        }
        let (heap, ends) = self.heap_and_ends(part, column)?;
        let codes = self.small_numbers(Key::column(part, Piece::Codes, column))?;
        let form = if codes.is_empty() { Form::Plain } else { Form::Dictionary };
        if codes.iter().any(|&code| code as usize >= ends.len()) {
            return nonsense("code of an entry");
        }
        let strings = Strings::from_parts(form, heap, ends, codes);
        if strings.len() == rows { Ok(strings) } else { nonsense("column of strings") }
    }

    /// The attributes of `items` items.
    fn attributes(&self, part: Part, items: usize) -> Result<Attributes> {
        let (keys, shapes, of_items) = self.shapes(part, items)?;
        let mut lengths = vec![0usize; keys.len()];
        let mut of_shape = vec![0usize; shapes.len()];
        of_items.iter().for_each(|&shape| of_shape[shape as usize] += 1);
        for (shape, &items) in shapes.iter().zip(&of_shape) {
            shape.iter().for_each(|&column| lengths[column as usize] += items);
        }
        let mut columns = Vec::with_capacity(keys.len());
        for (column, ((key, kind), &len)) in keys.into_iter().zip(&lengths).enumerate() {
            let values = self.values(part, column as u16, kind, len)?;
            columns.push(Column::new(key, kind, values));
        }
        Ok(Attributes::from_parts(columns, shapes, of_items))
    }

    fn values(&self, part: Part, column: u16, kind: AttributeType, len: usize) -> Result<Values> {
        match kind {
            AttributeType::Text | AttributeType::Bytes | AttributeType::Any => {
                self.column_of_strings(part, column, len).map(Values::Strings)
            }
            AttributeType::Int | AttributeType::Double | AttributeType::Bool => {
                let numbers = self.numbers(Key::column(part, Piece::Whole, column))?;
                if numbers.len() == len {
                    Ok(Values::Numbers(numbers))
                } else {
                    nonsense("column of an attribute")
                }
            }
        }
    }

    /// Keys with types, shapes, and the shape of each of `items` items.
    #[expect(clippy::type_complexity, reason = "three tables that are read together and used apart")]
    fn shapes(
        &self,
        part: Part,
        items: usize,
    ) -> Result<(Vec<(Box<[u8]>, AttributeType)>, Vec<Shape>, Vec<u32>)> {
        let table = self.bytes(Key::new(part, Piece::Shapes))?;
        let of_items = self.small_numbers(Key::new(part, Piece::Items))?;
        let (keys, shapes) = if table.is_empty() { Default::default() } else { read_table(&table)? };
        if of_items.len() != items || of_items.iter().any(|&shape| shape as usize >= shapes.len()) {
            return nonsense("shape of an item");
        }
        Ok((keys, shapes, of_items))
    }
}

type Keys = Vec<(Box<[u8]>, AttributeType)>;

/// Keys with their types, then shapes.
fn read_table(table: &[u8]) -> Result<(Keys, Vec<Shape>)> {
    fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N]> {
        let (head, tail) =
            rest.split_first_chunk::<N>().ok_or(BlockError::Nonsense { what: "table of shapes" })?;
        *rest = tail;
        Ok(*head)
    }
    let mut rest = table;
    let count = u32::from_le_bytes(take(&mut rest)?);
    let mut keys = Vec::new();
    for _ in 0..count {
        let [kind] = take(&mut rest)?;
        let kind =
            AttributeType::from_byte(kind).ok_or(BlockError::Nonsense { what: "type of an attribute" })?;
        let len = u16::from_le_bytes(take(&mut rest)?);
        let Some((key, tail)) = rest.split_at_checked(usize::from(len)) else { return nonsense("key") };
        rest = tail;
        keys.push((key.into(), kind));
    }
    let count = u32::from_le_bytes(take(&mut rest)?);
    let mut shapes = Vec::new();
    for _ in 0..count {
        let len = u32::from_le_bytes(take(&mut rest)?) as usize;
        let Some((columns, tail)) = rest.split_at_checked(len.saturating_mul(4)) else {
            return nonsense("shape");
        };
        rest = tail;
        let shape: Shape =
            columns.as_chunks::<4>().0.iter().map(|&column| u32::from_le_bytes(column)).collect();
        if shape.iter().any(|&column| column as usize >= keys.len()) {
            return nonsense("shape");
        }
        shapes.push(shape);
    }
    Ok((keys, shapes))
}
