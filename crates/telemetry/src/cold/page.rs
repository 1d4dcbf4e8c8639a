//! Pages of a unit as columns: only those that are asked for are read and unpacked.

use std::collections::HashMap;
use std::sync::Arc;

use super::attributes::REST;
use super::cells::{Cells, Values};
use super::gather::Field;
use super::index::{Chunk, Encoding, Group, Place};
use super::pack;
use super::pages::PAGE_ROWS;
use super::rest::{self, Rest};
use super::unit::Unit;
use crate::batch::Origins;
use crate::column::{Form, Strings};
use crate::model::{
    AttributeList, LogRecord, Resource, Scope, Signal, Span, SpanId, SpanKind, StatusCode, TraceId, Value,
};
use crate::otlp;
use crate::query::{Columns, ReadError, Tag};

pub(super) type Result<T> = std::result::Result<T, ReadError>;

/// The rows of one page of a row group.
pub(super) struct Page<'a> {
    unit: &'a Unit,
    signal: Signal,
    group: &'a Group,
    number: usize,
}

/// An attribute's column in a page, its values, and where each row's value stands among them.
pub(super) type AttributeCells<'a> = (&'a Chunk, Cells, Vec<Option<usize>>);

/// What has no column, row by row.
pub(super) struct RestMessages {
    ranks: Vec<Option<usize>>,
    strings: Strings,
}

impl RestMessages {
    /// The message of a row.
    pub(super) fn of(&self, row: usize) -> Option<&[u8]> {
        self.ranks[row].map(|rank| self.strings.entry(self.strings.code(rank)))
    }
}

impl<'a> Page<'a> {
    pub(super) fn new(unit: &'a Unit, signal: Signal, group: &'a Group, number: usize) -> Self {
        Self { unit, signal, group, number }
    }

    pub(super) fn nonsense<T>(&self, what: &'static str) -> Result<T> {
        Err(self.unit.nonsense(self.signal, what))
    }

    pub(super) fn signal(&self) -> Signal {
        self.signal
    }

    /// What attributes rows have, in which order.
    pub(super) fn shapes(&self) -> &'a [Box<[u16]>] {
        &self.group.shapes
    }

    pub(super) fn rows(&self) -> usize {
        (self.group.rows as usize - self.number * PAGE_ROWS).min(PAGE_ROWS)
    }

    fn bytes(&self, place: &Place, packed: bool) -> Result<Vec<u8>> {
        let stored = self.unit.read(self.signal, place.offset, place.stored as usize)?;
        if crc32fast::hash(&stored) != place.crc {
            return self.nonsense("checksum of a page");
        }
        if !packed {
            return Ok(stored);
        }
        match zstd::bulk::decompress(&stored, place.raw as usize) {
            Ok(raw) if raw.len() == place.raw as usize => Ok(raw),
            _ => self.nonsense("page"),
        }
    }

    fn cells(&self, chunk: &Chunk) -> Result<Cells> {
        let rows = self.rows();
        let Some(place) = chunk.pages.get(self.number) else { return self.nonsense("list of pages") };
        let raw = self.bytes(place, chunk.packed)?;
        let (there, body) = if chunk.optional {
            match pack::unpack_presence(&raw, rows) {
                Some((there, body)) => (Some(there), body),
                None => return self.nonsense("presence of values"),
            }
        } else {
            (None, &raw[..])
        };
        let count = there.as_ref().map_or(rows, |there| there.iter().filter(|&&there| there).count());
        let dictionary = match chunk.encoding {
            Encoding::Strings | Encoding::Numbers => self.bytes(&chunk.dictionary, chunk.packed)?,
            _ => Vec::new(),
        };
        let cells = values(chunk, &dictionary, body, count).map(|values| Cells { there, values });
        match cells {
            Some(cells) if cells.len() == count => Ok(cells),
            _ => self.nonsense("column"),
        }
    }

    fn field(&self, field: Field) -> Result<Cells> {
        match self.group.field(field) {
            Some(chunk) => self.cells(chunk),
            None => self.nonsense("list of columns"),
        }
    }

    pub(super) fn numbers(&self, field: Field) -> Result<Vec<u64>> {
        self.field(field)?.numbers().map_or_else(|| self.nonsense("column of numbers"), Ok)
    }

    pub(super) fn strings(&self, field: Field) -> Result<Strings> {
        self.field(field)?.strings().map_or_else(|| self.nonsense("column of strings"), Ok)
    }

    pub(super) fn span_ids(&self) -> Result<Vec<[u8; 8]>> {
        let cells = self.field(Field::SpanId)?;
        cells.fixed::<8>().map_or_else(|| self.nonsense("column of ids"), |ids| Ok(ids.to_vec()))
    }

    /// What has no column, row by row; `None` where no row has anything.
    pub(super) fn rest_messages(&self) -> Result<Option<RestMessages>> {
        if self.group.bounds.get(self.number).is_some_and(|bounds| bounds.rests == 0) {
            return Ok(None);
        }
        let cells = self.field(Field::Rest)?;
        let ranks = cells.ranks(self.rows());
        match cells.strings() {
            Some(strings) => Ok(Some(RestMessages { ranks, strings })),
            None => self.nonsense("rest"),
        }
    }

    /// The rests of those of `rows` that have one, by row.
    fn rests(&self, rows: &[u32]) -> Result<HashMap<u32, Rest>> {
        let mut rests = HashMap::new();
        let Some(messages) = self.rest_messages()? else { return Ok(rests) };
        for &row in rows {
            if let Some(message) = messages.of(row as usize) {
                match rest::read(self.signal, message) {
                    Ok(rest) => rests.insert(row, rest),
                    Err(_) => return self.nonsense("rest"),
                };
            }
        }
        Ok(rests)
    }

    /// The attribute columns that rows of these shapes have values in.
    pub(super) fn attribute_columns(
        &self,
        shapes: impl IntoIterator<Item = u64>,
    ) -> Result<Vec<Option<AttributeCells<'a>>>> {
        let mut needed = vec![false; self.group.attributes.len()];
        let mut last = None;
        for shape in shapes.into_iter().filter(|&shape| last.replace(shape) != Some(shape)) {
            let Some(shape) = self.group.shapes.get(shape as usize) else {
                return self.nonsense("shape of a row");
            };
            for &column in shape.iter().filter(|&&column| column != REST) {
                match needed.get_mut(usize::from(column)) {
                    Some(needed) => *needed = true,
                    None => return self.nonsense("shape of a row"),
                }
            }
        }
        let read = |(chunk, needed): (&'a Chunk, bool)| {
            needed.then(|| self.cells(chunk).map(|cells| (chunk, cells))).transpose()
        };
        let columns = self.group.attributes.iter().zip(needed).map(read);
        let with_ranks = |(chunk, cells): (&'a Chunk, Cells)| {
            let ranks = cells.ranks(self.rows());
            (chunk, cells, ranks)
        };
        columns.map(|column| Ok(column?.map(with_ranks))).collect()
    }

    /// The attributes of `rows`, what a rest holds put where it stood.
    fn attribute_lists(&self, rows: &[u32], rests: &mut HashMap<u32, Rest>) -> Result<Vec<AttributeList>> {
        let shapes = self.numbers(Field::Shape)?;
        let columns = self.attribute_columns(rows.iter().map(|&row| shapes[row as usize]))?;
        let mut lists = Vec::new();
        for &row in rows {
            let rest =
                rests.get_mut(&row).map(|rest| std::mem::take(&mut rest.attributes)).unwrap_or_default();
            let mut rest = rest.into_iter();
            let mut list = AttributeList::new();
            for &column in &*self.group.shapes[shapes[row as usize] as usize] {
                if column == REST {
                    list.extend(rest.next());
                    continue;
                }
                if let Some((chunk, cells, ranks)) = &columns[usize::from(column)]
                    && let Some(rank) = ranks[row as usize]
                {
                    let key = String::from_utf8_lossy(&chunk.key).into_owned();
                    list.push((key, cells.show(chunk.kind, rank, otlp::owned)));
                }
            }
            lists.push(list);
        }
        Ok(lists)
    }

    #[expect(clippy::type_complexity, reason = "read once, used row by row")]
    fn sources(&self) -> Result<(Vec<Arc<Resource>>, Strings, Vec<Arc<Scope>>, Strings)> {
        let resources = self.strings(Field::Resource)?;
        let scopes = self.strings(Field::Scope)?;
        let read_resource = |code| Arc::new(otlp::resource(resources.entry(code)));
        let read_scope = |code| Arc::new(otlp::scope(scopes.entry(code)));
        Ok((
            (0..resources.entries() as u32).map(read_resource).collect(),
            resources,
            (0..scopes.entries() as u32).map(read_scope).collect(),
            scopes,
        ))
    }

    /// The spans in `rows`, ascending.
    pub(super) fn spans(&self, rows: &[u32]) -> Result<Vec<Span>> {
        let traces = self.traces()?;
        let ids = self.span_ids()?;
        let parents = self.parents(rows, &ids)?;
        let (starts, durations) = (self.starts()?, self.durations()?);
        let (kinds, statuses) = (self.kinds()?, self.statuses()?);
        let flags = self.numbers(Field::Flags)?;
        let (names, messages) = (self.names()?, self.strings(Field::Message)?);
        let states = self.strings(Field::TraceState)?;
        let (resources, resource_of, scopes, scope_of) = self.sources()?;
        let mut rests = self.rests(rows)?;
        let lists = self.attribute_lists(rows, &mut rests)?;
        let text = |strings: &Strings, row: usize| strings.text(strings.code(row)).to_owned();
        let spans = rows.iter().zip(lists).zip(parents).map(|((&at, attributes), parent)| {
            let row = at as usize;
            let rest = rests.remove(&at).unwrap_or_default();
            Span {
                trace_id: TraceId(traces[row]),
                span_id: SpanId(ids[row]),
                parent,
                trace_state: text(&states, row),
                flags: flags[row] as u32,
                name: text(&names, row),
                kind: SpanKind::from_number(kinds[row].into()),
                start_unix_nano: starts[row],
                duration_nano: durations[row],
                status: StatusCode::from_number(statuses[row].into()),
                status_message: text(&messages, row),
                resource: Arc::clone(&resources[resource_of.code(row) as usize]),
                scope: Arc::clone(&scopes[scope_of.code(row) as usize]),
                attributes,
                events: rest.events,
                links: rest.links,
                dropped: rest.dropped,
            }
        });
        Ok(spans.collect())
    }

    /// The parents of `rows`: some rows away, in another page perhaps, or by their ids.
    pub(super) fn parents(&self, rows: &[u32], ids: &[[u8; 8]]) -> Result<Vec<Option<SpanId>>> {
        let offsets = self.numbers(Field::ParentOffset)?;
        let by_id = self.field(Field::ParentId)?;
        let ranks = by_id.ranks(self.rows());
        let Some(by_id) = by_id.fixed::<8>() else { return self.nonsense("column of parents") };
        let mut elsewhere: HashMap<usize, Vec<[u8; 8]>> = HashMap::new();
        let mut parents = Vec::new();
        for &row in rows {
            let offset = offsets[row as usize] as i64;
            if offset == 0 {
                parents.push(ranks[row as usize].map(|rank| SpanId(by_id[rank])));
                continue;
            }
            let place = (self.number * PAGE_ROWS + row as usize) as i64 + offset;
            if place < 0 || place >= i64::from(self.group.rows) {
                return self.nonsense("offset of a parent");
            }
            let (page, row) = (place as usize / PAGE_ROWS, place as usize % PAGE_ROWS);
            if page == self.number {
                parents.push(Some(SpanId(ids[row])));
                continue;
            }
            if let std::collections::hash_map::Entry::Vacant(entry) = elsewhere.entry(page) {
                entry.insert(Page { number: page, ..*self }.span_ids()?);
            }
            parents.push(Some(SpanId(elsewhere[&page][row])));
        }
        Ok(parents)
    }

    /// The log records in `rows`, ascending.
    pub(super) fn log_records(&self, rows: &[u32]) -> Result<Vec<LogRecord>> {
        let traces = self.traces()?;
        let ids = self.span_ids()?;
        let (times, observed) = (self.starts()?, self.durations()?);
        let severities = self.kinds()?;
        let flags = self.numbers(Field::Flags)?;
        let (names, severity_texts) = (self.names()?, self.strings(Field::Message)?);
        let (resources, resource_of, scopes, scope_of) = self.sources()?;
        let mut rests = self.rests(rows)?;
        let lists = self.attribute_lists(rows, &mut rests)?;
        let text = |strings: &Strings, row: usize| strings.text(strings.code(row)).to_owned();
        let records = rows.iter().zip(lists).map(|(&at, mut attributes)| {
            let row = at as usize;
            let body = match attributes.iter().position(|(key, _)| key.is_empty()) {
                Some(at) => attributes.remove(at).1,
                None => Value::Empty,
            };
            LogRecord {
                time_unix_nano: times[row],
                observed_unix_nano: observed[row],
                severity_number: severities[row],
                severity_text: text(&severity_texts, row),
                event_name: text(&names, row),
                body,
                attributes,
                trace_id: (traces[row] != [0; 16]).then_some(TraceId(traces[row])),
                span_id: (ids[row] != [0; 8]).then_some(SpanId(ids[row])),
                flags: flags[row] as u32,
                resource: Arc::clone(&resources[resource_of.code(row) as usize]),
                scope: Arc::clone(&scopes[scope_of.code(row) as usize]),
                dropped_attributes: rests.get(&at).map_or(0, |rest| rest.dropped.attributes),
            }
        });
        Ok(records.collect())
    }
}

fn values(chunk: &Chunk, dictionary: &[u8], body: &[u8], count: usize) -> Option<Values> {
    let codes = || {
        let (&width, packed) = body.split_first()?;
        let codes = pack::unpack_codes(packed, width, count)?;
        codes.iter().all(|&code| code < chunk.entries).then_some(codes)
    };
    let eight =
        |bytes: &[u8]| bytes.as_chunks::<8>().0.iter().map(|&n| u64::from_le_bytes(n)).collect::<Vec<_>>();
    Some(match chunk.encoding {
        Encoding::Strings => {
            let (heap, ends) = pack::take_plain(dictionary, chunk.entries as usize)?;
            Values::Strings(Strings::from_parts(Form::Dictionary, heap, ends, codes()?))
        }
        Encoding::PlainStrings => {
            let (heap, ends) = pack::take_plain(body, count)?;
            Values::Strings(Strings::from_parts(Form::Plain, heap, ends, Vec::new()))
        }
        Encoding::Numbers => {
            let entries = eight(dictionary);
            let found = codes()?.into_iter().map(|code| entries.get(code as usize).copied());
            Values::Numbers(found.collect::<Option<_>>()?)
        }
        Encoding::Deltas => Values::Numbers(pack::unpack_deltas(body)?),
        Encoding::PlainNumbers => Values::Numbers(eight(body)),
        Encoding::Bits => {
            let bit = |at: usize| body.get(at / 8).map(|byte| u64::from(byte >> (at % 8) & 1));
            Values::Numbers((0..count).map(bit).collect::<Option<_>>()?)
        }
        Encoding::Fixed => Values::Fixed(usize::from(chunk.width).max(1), body.to_vec()),
    })
}

impl Columns for Page<'_> {
    type Error = ReadError;

    fn starts(&self) -> Result<Vec<u64>> {
        self.numbers(Field::Start)
    }

    fn durations(&self) -> Result<Vec<u64>> {
        self.numbers(Field::Duration)
    }

    fn kinds(&self) -> Result<Vec<u8>> {
        Ok(self.numbers(Field::Kind)?.into_iter().map(|kind| kind as u8).collect())
    }

    fn statuses(&self) -> Result<Vec<u8>> {
        Ok(self.numbers(Field::Status)?.into_iter().map(|status| status as u8).collect())
    }

    fn names(&self) -> Result<Strings> {
        self.strings(Field::Name)
    }

    fn traces(&self) -> Result<Vec<[u8; 16]>> {
        let cells = self.field(Field::TraceId)?;
        cells.fixed::<16>().map_or_else(|| self.nonsense("column of ids"), |ids| Ok(ids.to_vec()))
    }

    fn origins(&self) -> Result<(Origins, Vec<u32>)> {
        let resources = self.strings(Field::Resource)?;
        let mut origins = Origins::default();
        let scope = origins.scope(&[]);
        let of_entries: Vec<u32> = (0..resources.entries() as u32)
            .map(|code| {
                let resource = origins.resource(resources.entry(code));
                origins.pair(resource, scope)
            })
            .collect();
        let of_rows = (0..resources.len()).map(|row| of_entries[resources.code(row) as usize]).collect();
        Ok((origins, of_rows))
    }

    fn keep_service(&self, service: &str, rows: &mut Vec<u32>) -> Result<()> {
        let services = self.strings(Field::Service)?;
        match services.find(service.as_bytes()) {
            Some(code) => rows.retain(|&row| services.code(row as usize) == code),
            None => rows.clear(),
        }
        Ok(())
    }

    fn rows_with(&self, tag: &Tag<'_>, rows: &[u32]) -> Result<Vec<u32>> {
        let mut found = Vec::new();
        for chunk in self.group.attributes.iter().filter(|chunk| *chunk.key == *tag.key().as_bytes()) {
            let cells = self.cells(chunk)?;
            let ranks = cells.ranks(self.rows());
            let matches = cells.matches(chunk.kind, tag);
            found.extend(rows.iter().filter(|&&row| ranks[row as usize].is_some_and(&matches)));
        }
        let holds = |rest: &Rest| {
            tag.is_among(&rest.attributes) || rest.events.iter().any(|event| tag.is_among(&event.attributes))
        };
        found.extend(self.rests(rows)?.iter().filter(|(_, rest)| holds(rest)).map(|(&row, _)| row));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
