//! A page of a unit as the batch it could have come from: what merging reads.
//!
//! Values stay bytes: nothing is parsed but what has no column. For how many spans a row stands is read with it, because
//! who was sampled is decided once.

use super::Map;
use super::attributes::REST;
use super::gather::Field;
use super::order::ABSENT;
use super::page::{Page, Result};
use super::rest::{self, Pieces};
use crate::batch::Batch;
use crate::column::Attributes;
use crate::model::Signal;
use crate::query::Columns;

impl Page<'_> {
    /// The rows as a batch, and for how many spans each stands (none for log records).
    pub(super) fn batch(&self) -> Result<(Batch, Vec<f64>)> {
        let mut batch = Batch::new(self.signal());
        let rows: Vec<u32> = (0..self.rows() as u32).collect();
        let ids = self.span_ids()?;
        batch.trace = self.traces()?;
        batch.start = self.starts()?;
        batch.duration = self.durations()?;
        batch.kind = self.kinds()?;
        batch.flags = self.numbers(Field::Flags)?.into_iter().map(|flags| flags as u32).collect();
        // The dictionaries are those of the whole row group, and there is a batch for each page: all that wait to be
        // sorted would hold all of them.
        batch.name = self.names()?.used();
        batch.message = self.strings(Field::Message)?.used();
        let mut counts = Vec::new();
        if self.signal() == Signal::Spans {
            let parents = self.parents(&rows, &ids)?;
            batch.parent =
                parents.into_iter().map(|id| id.map_or(0, |id| u64::from_be_bytes(id.0))).collect();
            batch.status = self.statuses()?;
            batch.trace_state = self.strings(Field::TraceState)?.used();
            counts = self.numbers(Field::AdjustedCount)?.into_iter().map(f64::from_bits).collect();
        }
        batch.span = ids.into_iter().map(u64::from_be_bytes).collect();
        self.put_origins(&mut batch)?;
        self.put_attributes(&mut batch)?;
        Ok((batch, counts))
    }

    fn put_origins(&self, batch: &mut Batch) -> Result<()> {
        let (resources, scopes) = (self.strings(Field::Resource)?, self.strings(Field::Scope)?);
        let mut known: Map<(u32, u32), u32> = Map::default();
        for row in 0..self.rows() {
            let codes = (resources.code(row), scopes.code(row));
            let origins = &mut batch.origins;
            let origin = *known.entry(codes).or_insert_with(|| {
                let resource = origins.resource(resources.entry(codes.0));
                let scope = origins.scope(scopes.entry(codes.1));
                origins.pair(resource, scope)
            });
            batch.origin.push(origin);
        }
        Ok(())
    }

    /// Attributes in their order, what has no column put where it stood; events, links, and what was left out.
    fn put_attributes(&self, batch: &mut Batch) -> Result<()> {
        let shapes = self.numbers(Field::Shape)?;
        let columns = self.attribute_columns(shapes.iter().copied())?;
        let rests = self.rest_messages()?;
        let mut hints = vec![u32::MAX; self.shapes().len()];
        for (row, &shape) in shapes.iter().enumerate() {
            let pieces = match rests.as_ref().and_then(|rests| rests.of(row)) {
                Some(message) => rest::pieces(self.signal(), message).or_else(|_| self.nonsense("rest"))?,
                None => Pieces::default(),
            };
            let mut apart = pieces.attributes.iter();
            let shape = shape as usize;
            batch.attributes.begin(hints[shape]);
            for &column in &*self.shapes()[shape] {
                if column == REST {
                    let (key, value) = apart.next().map_or_else(|| self.nonsense("rest"), Ok)?;
                    batch.attributes.push(key, *value, &[]);
                    continue;
                }
                let Some((chunk, cells, ranks)) = &columns[usize::from(column)] else {
                    return self.nonsense("shape of a row");
                };
                let Some(rank) = ranks[row] else { return self.nonsense("column of an attribute") };
                cells.show(chunk.kind, rank, |value| batch.attributes.push(&chunk.key, value, &[]));
            }
            hints[shape] = batch.attributes.end();
            put_pieces(batch, row as u32, &pieces);
        }
        Ok(())
    }
}

fn put_pieces(batch: &mut Batch, row: u32, pieces: &Pieces<'_>) {
    if pieces.dropped != [0; 3] {
        batch.dropped.push((row, pieces.dropped));
    }
    for event in &pieces.events {
        let events = &mut batch.events;
        put_list(&mut events.attributes, &event.attributes);
        events.row.push(row);
        events.time.push(event.time_unix_nano);
        events.name.push(event.name);
        events.dropped.push(event.dropped_attributes);
    }
    for link in &pieces.links {
        let links = &mut batch.links;
        put_list(&mut links.attributes, &link.attributes);
        links.row.push(row);
        links.trace.push(link.trace_id);
        links.span.push(u64::from_be_bytes(link.span_id));
        links.trace_state.push(link.trace_state);
        links.flags.push(link.flags);
        links.dropped.push(link.dropped_attributes);
    }
}

fn put_list(attributes: &mut Attributes, list: &rest::List<'_>) {
    attributes.begin(attributes.items().last().copied().unwrap_or(ABSENT));
    list.iter().for_each(|&(key, value)| attributes.push(key, value, &[]));
    attributes.end();
}
