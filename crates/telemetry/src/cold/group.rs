//! One row group: its columns into the Parquet file, and what the index says of it.

use std::collections::BTreeSet;
use std::io;

use super::bloom;
use super::ceilings::{Ascent, Ceilings};
use super::gather::{Data, Field, Gathered};
use super::index::{Bounds, Chunk, Group, put_sections};
use super::order::ABSENT;
use super::pages::{PAGE_ROWS, distinct};
use super::rest::{self, Rest};
use super::write::Writer;
use crate::column::Scalar;
use crate::filter::{Filter, trace_hash};
use crate::model::{Resource, Signal, Value};
use crate::otlp;

/// Writes a row group.
pub(super) fn write_group(
    writer: &mut Writer,
    gathered: &Gathered,
    sections: &mut Vec<u8>,
) -> io::Result<Group> {
    let rows = gathered.rows;
    writer.begin_group(rows);
    let fields = gathered.fields.iter().map(|(field, data)| writer.field(*field, data, rows));
    let fields: Vec<Chunk> = fields.collect::<io::Result<_>>()?;
    let resources =
        (0..gathered.resources.entries() as u32).map(|code| otlp::resource(gathered.resources.entry(code)));
    let resources: Vec<Resource> = resources.collect();
    let services: BTreeSet<&str> = resources.iter().map(|resource| &*resource.service).collect();
    let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
    let mut ascent = ascent(gathered, &resources, &services);
    let mut tags = Tags::default();
    let mut attributes = Vec::new();
    for column in &gathered.attributes {
        let found = match &column.data {
            Data::Numbers { values, there } => distinct(values, there),
            Data::Strings { .. } | Data::Fixed { .. } => None,
        };
        column
            .each_value(found.as_ref().map(|found| &found.values[..]), |value| tags.add(&column.key, value));
        if let Some(ascent) = &mut ascent {
            ascent.attribute(column, found.as_ref());
        }
        attributes.push(writer.attribute(column, rows, found.as_ref())?);
    }
    let rests = each_rest(gathered, |row, rest| {
        let of_events = rest.events.iter().flat_map(|event| &event.attributes);
        for (key, value) in rest.attributes.iter().chain(of_events) {
            let Some(scalar) = scalar(value) else { continue };
            tags.add(key.as_bytes(), scalar);
            if let Some(ascent) = &mut ascent {
                ascent.row(row, key.as_bytes(), scalar);
            }
        }
    });
    for (key, value) in resources.iter().flat_map(|resource| &resource.attributes) {
        scalar(value).into_iter().for_each(|scalar| tags.add(key.as_bytes(), scalar));
    }
    let mut at = 0;
    let runs = gathered.traces.chunk_by(|a, b| a == b).map(|run| {
        let first = at;
        at += run.len();
        (trace_hash(&run[0]), first as u32)
    });
    let runs: Vec<(u64, u32)> = runs.collect();
    let traces = Filter::new(runs.iter().map(|&(hash, _)| hash));
    let runs = match gathered.signal {
        Signal::Spans => runs.into_iter().map(|(hash, row)| ((hash >> 32) as u32, row)).collect(),
        Signal::Logs => Vec::new(),
    };
    let (locator, tags) = put_sections(sections, runs, &tags.hashes);
    Ok(Group {
        rows: rows as u32,
        bounds: bounds(gathered, &rests),
        operations: gathered.operations.clone(),
        services,
        shapes: gathered.shapes.clone(),
        fields,
        attributes,
        traces,
        ceilings: ascent.map_or_else(Ceilings::default, Ascent::finish),
        locator,
        tags,
    })
}

/// The longest durations of spans, those by the tags of their resources counted in.
fn ascent(gathered: &Gathered, resources: &[Resource], services: &[String]) -> Option<Ascent> {
    if gathered.signal != Signal::Spans {
        return None;
    }
    let data =
        |wanted: Field| gathered.fields.iter().find(|(field, _)| *field == wanted).map(|(_, data)| data);
    let (
        Some(Data::Numbers { values: statuses, .. }),
        Some(Data::Strings { codes: of_rows, .. }),
        Some(Data::Strings { codes: names_of_rows, entries: names }),
    ) = (data(Field::Status), data(Field::Resource), data(Field::Name))
    else {
        return None;
    };
    let places = resources.iter().map(|resource| services.binary_search(&resource.service));
    let places: Vec<usize> = places.collect::<Result<_, _>>().ok()?;
    let rows = (0..gathered.rows).map(|row| {
        let error = statuses[row] == u64::from(super::unit::ERROR);
        (places[of_rows[row] as usize], gathered.durations[row], error)
    });
    let mut ascent = Ascent::new(services.len(), rows, (names_of_rows, names));
    for ((code, lane), heights) in ascent.by_code(of_rows) {
        for (key, value) in &resources[code as usize].attributes {
            if let Some(scalar) = scalar(value) {
                ascent.lane(lane, &heights, key.as_bytes(), scalar);
            }
        }
    }
    Some(ascent)
}

/// Shows what rows have that has no column; answers how many of each page have something.
fn each_rest(gathered: &Gathered, mut each: impl FnMut(usize, &Rest)) -> Vec<u64> {
    let mut counts = vec![0; gathered.rows.div_ceil(PAGE_ROWS)];
    for (_, data) in gathered.fields.iter().filter(|(field, _)| *field == Field::Rest) {
        let Data::Strings { codes, entries } = data else { continue };
        for (row, &code) in codes.iter().enumerate().filter(|&(_, &code)| code != ABSENT) {
            counts[row / PAGE_ROWS] += 1;
            if let Ok(rest) = rest::read(gathered.signal, entries.entry(code)) {
                each(row, &rest);
            }
        }
    }
    counts
}

fn bounds(gathered: &Gathered, rests: &[u64]) -> Vec<Bounds> {
    let pages = gathered.starts.chunks(PAGE_ROWS).zip(gathered.durations.chunks(PAGE_ROWS)).zip(rests);
    pages
        .map(|((starts, durations), &rests)| Bounds {
            rests,
            start_min: starts.iter().copied().min().unwrap_or(0),
            start_max: starts.iter().copied().max().unwrap_or(0),
            duration_max: durations.iter().copied().max().unwrap_or(0),
        })
        .collect()
}

/// Hashes of the tags of a row group.
#[derive(Default)]
struct Tags {
    hashes: Vec<u64>,
    scratch: Vec<u8>,
}

impl Tags {
    fn add(&mut self, key: &[u8], value: Scalar<'_>) {
        self.hashes.extend(bloom::tag_hash(key, value, &mut self.scratch));
    }
}

/// A value a tag can ask for.
fn scalar(value: &Value) -> Option<Scalar<'_>> {
    match value {
        Value::Text(text) => Some(Scalar::Text(text.as_bytes())),
        Value::Int(int) => Some(Scalar::Int(*int)),
        Value::Double(double) => Some(Scalar::Double(*double)),
        Value::Bool(bool) => Some(Scalar::Bool(*bool)),
        Value::Empty | Value::Bytes(_) | Value::List(_) | Value::Map(_) => None,
    }
}
