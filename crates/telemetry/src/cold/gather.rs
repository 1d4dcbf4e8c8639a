//! Batches into the columns of one row group, in their order.
//!
//! Values are not hashed one by one: each distinct entry of each batch's dictionary is looked up once, and rows carry
//! its code over.

use super::Map;
use super::attributes::{AttributeColumn, AttributesOut};
use super::operations::{OperationTally, Tally, bounded};
use super::order::{ABSENT, Order};
use crate::batch::Batch;
use crate::column::Strings;
use crate::model::{Signal, StatusCode};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Field {
    TraceId = 0,
    SpanId = 1,
    /// Rows from the span to its parent in the same run; 0 where the parent is elsewhere, or there is none.
    ParentOffset = 2,
    /// The parent's id where the offset does not say it.
    ParentId = 3,
    Start = 4,
    Duration = 5,
    Kind = 6,
    Status = 7,
    Flags = 8,
    Name = 9,
    Message = 10,
    TraceState = 11,
    Service = 12,
    Resource = 13,
    Scope = 14,
    Shape = 15,
    Rest = 16,
    AdjustedCount = 17,
    /// One key of one type.
    Attribute = 18,
}

/// Values by row.
pub(super) enum Data {
    /// Codes, [`ABSENT`] where there is none.
    Strings { codes: Vec<u32>, entries: Strings },
    /// Numbers; where `there` is empty, every row has one.
    Numbers { values: Vec<u64>, there: Vec<bool> },
    /// So many bytes a row.
    Fixed { width: usize, bytes: Vec<u8>, there: Vec<bool> },
}

/// The columns of a row group.
pub(super) struct Gathered {
    pub(super) signal: Signal,
    pub(super) rows: usize,
    pub(super) fields: Vec<(Field, Data)>,
    pub(super) attributes: Vec<AttributeColumn>,
    /// Which attributes, in which order: indices into `attributes`, or [`REST`].
    pub(super) shapes: Vec<Box<[u16]>>,
    /// The operations of spans.
    pub(super) operations: Vec<OperationTally>,
    /// Bounds of each page: first and last start, longest duration.
    pub(super) resources: Strings,
    pub(super) traces: Vec<[u8; 16]>,
    pub(super) starts: Vec<u64>,
    pub(super) durations: Vec<u64>,
}

/// Gathers the rows. `adjusted_count` says, by batch and row, for how many spans a kept one stands.
pub(super) fn gather(
    signal: Signal,
    batches: &[Batch],
    order: &Order,
    adjusted_count: &dyn Fn(usize, usize) -> f64,
) -> Gathered {
    let scatter = Scatter { batches, order };
    let mut traces = vec![[0; 16]; order.rows];
    scatter.each(|batch, row, place| traces[place] = batch.trace[row]);
    let starts = scatter.numbers(|batch, row| batch.start[row]);
    let durations = scatter.numbers(|batch, row| batch.duration[row]);
    let spans = scatter.numbers(|batch, row| batch.span[row]);
    let (services, resources, scopes) = scatter.origins();
    let names = scatter.strings(|batch| &batch.name);
    let kinds = scatter.numbers(|batch, row| batch.kind[row].into());
    let plain = |values: Vec<u64>| Data::Numbers { values, there: Vec::new() };
    let mut fields = Vec::new();
    let mut operations = Vec::new();
    if signal == Signal::Spans {
        let statuses = scatter.numbers(|batch, row| batch.status[row].into());
        operations = tally(&services, &names, &kinds, &statuses, &durations);
        let parents = scatter.numbers(|batch, row| batch.parent[row]);
        let (offsets, ids, there) = parent_places(&traces, &spans, &parents);
        fields.push((Field::ParentOffset, plain(offsets)));
        let bytes = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        fields.push((Field::ParentId, Data::Fixed { width: 8, bytes, there }));
        fields.push((Field::Status, plain(statuses)));
        fields.push((Field::TraceState, of(scatter.strings(|batch| &batch.trace_state))));
        let mut counts = vec![0; order.rows];
        for (number, places) in order.places.iter().enumerate() {
            for (row, &place) in places.iter().enumerate().filter(|&(_, &place)| place != ABSENT) {
                counts[place as usize] = adjusted_count(number, row).to_bits();
            }
        }
        fields.push((Field::AdjustedCount, plain(counts)));
    }
    let bytes = traces.as_flattened().to_vec();
    fields.push((Field::TraceId, Data::Fixed { width: 16, bytes, there: Vec::new() }));
    let bytes = spans.iter().flat_map(|id| id.to_be_bytes()).collect();
    fields.push((Field::SpanId, Data::Fixed { width: 8, bytes, there: Vec::new() }));
    fields.push((Field::Start, plain(starts.clone())));
    fields.push((Field::Duration, plain(durations.clone())));
    fields.push((Field::Kind, plain(kinds)));
    fields.push((Field::Flags, plain(scatter.numbers(|batch, row| batch.flags[row].into()))));
    fields.push((Field::Name, of(names)));
    fields.push((Field::Message, of(scatter.strings(|batch| &batch.message))));
    fields.push((Field::Service, of(services)));
    fields.push((Field::Scope, of(scopes)));
    let mut attributes = AttributesOut::new(signal, batches, order.rows);
    batches.iter().zip(&order.places).for_each(|(batch, places)| attributes.add(batch, places));
    let (attributes, shapes, of_rows, rests) = attributes.finish();
    fields.push((Field::Shape, plain(of_rows)));
    fields.push((Field::Rest, rests));
    let entries = resources.1.clone();
    fields.push((Field::Resource, of(resources)));
    fields.sort_by_key(|&(field, _)| field);
    let rows = order.rows;
    Gathered {
        signal,
        rows,
        fields,
        attributes,
        shapes,
        operations,
        resources: entries,
        traces,
        starts,
        durations,
    }
}

fn of((codes, entries): (Vec<u32>, Strings)) -> Data {
    Data::Strings { codes, entries }
}

struct Scatter<'a> {
    batches: &'a [Batch],
    order: &'a Order,
}

impl Scatter<'_> {
    fn each(&self, mut each: impl FnMut(&Batch, usize, usize)) {
        for (batch, places) in self.batches.iter().zip(&self.order.places) {
            for (row, &place) in places.iter().enumerate() {
                if place != ABSENT {
                    each(batch, row, place as usize);
                }
            }
        }
    }

    fn numbers(&self, value: impl Fn(&Batch, usize) -> u64) -> Vec<u64> {
        let mut values = vec![0; self.order.rows];
        self.each(|batch, row, place| values[place] = value(batch, row));
        values
    }

    fn strings(&self, column: impl Fn(&Batch) -> &Strings) -> (Vec<u32>, Strings) {
        let mut codes = vec![ABSENT; self.order.rows];
        let mut entries = Strings::default();
        for (batch, places) in self.batches.iter().zip(&self.order.places) {
            let column = column(batch);
            let mut known = vec![ABSENT; column.entries()];
            for (row, &place) in places.iter().enumerate() {
                if place != ABSENT {
                    let code = column.code(row);
                    codes[place as usize] = carry(&mut known, code, || entries.intern(column.entry(code)));
                }
            }
        }
        (codes, entries)
    }

    /// Service, resource and scope of each row.
    #[expect(clippy::type_complexity, reason = "three columns of one kind")]
    fn origins(&self) -> ((Vec<u32>, Strings), (Vec<u32>, Strings), (Vec<u32>, Strings)) {
        let mut codes = [(); 3].map(|()| vec![ABSENT; self.order.rows]);
        let mut entries = [(); 3].map(|()| Strings::default());
        for (batch, places) in self.batches.iter().zip(&self.order.places) {
            let origins = &batch.origins;
            let known: Vec<[u32; 3]> = (0..origins.pairs.len() as u32)
                .map(|origin| {
                    let (resource, scope) = origins.pairs[origin as usize];
                    [
                        entries[0].intern(origins.service(origin).as_bytes()),
                        entries[1].intern(origins.resources.entry(resource)),
                        entries[2].intern(origins.scopes.entry(scope)),
                    ]
                })
                .collect();
            for (row, &place) in places.iter().enumerate().filter(|&(_, &place)| place != ABSENT) {
                let of_row = known[batch.origin[row] as usize];
                codes.iter_mut().zip(of_row).for_each(|(codes, code)| codes[place as usize] = code);
            }
        }
        let [a, b, c] = codes;
        let [x, y, z] = entries;
        ((a, x), (b, y), (c, z))
    }
}

/// The group's code for a batch's code.
#[inline]
pub(super) fn carry(known: &mut [u32], code: u32, find: impl FnOnce() -> u32) -> u32 {
    let known = &mut known[code as usize];
    if *known == ABSENT {
        *known = find();
    }
    *known
}

fn tally(
    (service_codes, services): &(Vec<u32>, Strings),
    (name_codes, names): &(Vec<u32>, Strings),
    kinds: &[u64],
    statuses: &[u64],
    durations: &[u64],
) -> Vec<OperationTally> {
    let mut tallies: Map<(u32, u32, u8), Tally> = Map::default();
    for row in 0..kinds.len() {
        let key = (service_codes[row], name_codes[row], kinds[row] as u8);
        let tally = tallies.entry(key).or_default();
        tally.count += 1;
        tally.errors += u64::from(statuses[row] == StatusCode::Error as u64);
        tally.duration_max = tally.duration_max.max(durations[row]);
    }
    let operation = |((service, name, kind), tally)| OperationTally {
        service: services.text(service).to_owned(),
        name: Some(names.text(name).to_owned()),
        kind,
        tally,
    };
    bounded(tallies.into_iter().map(operation).collect())
}

/// Offset to the parent where it is in the same trace's run, else its id.
fn parent_places(traces: &[[u8; 16]], spans: &[u64], parents: &[u64]) -> (Vec<u64>, Vec<u64>, Vec<bool>) {
    let rows = traces.len();
    let (mut offsets, mut ids, mut there) = (vec![0; rows], vec![0; rows], vec![false; rows]);
    let mut first = 0;
    for run in traces.chunk_by(|a, b| a == b) {
        let spans = &spans[first..first + run.len()];
        let large: Map<u64, usize> = if run.len() > 32 {
            spans.iter().enumerate().rev().map(|(at, &id)| (id, at)).collect()
        } else {
            Map::default()
        };
        for at in 0..run.len() {
            let (row, parent) = (first + at, parents[first + at]);
            if parent == 0 {
                continue;
            }
            let found = if run.len() > 32 {
                large.get(&parent).copied()
            } else {
                spans.iter().position(|&id| id == parent)
            };
            match found {
                Some(place) if place != at => offsets[row] = (place as i64 - at as i64) as u64,
                _ => (ids[row], there[row]) = (parent, true),
            }
        }
        first += run.len();
    }
    (offsets, ids, there)
}
