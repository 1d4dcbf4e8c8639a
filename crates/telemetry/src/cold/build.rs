//! Segments into a unit: read block by block, written row group by row group, there when its index is.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::bloom;
use super::ceilings::{Ascent, Ceilings};
use super::gather::{Data, Field, Gathered, gather};
use super::index::{Bounds, Chunk, Group, Index, OperationTally, put_sections};
use super::order::{ABSENT, order};
use super::pages::{PAGE_ROWS, distinct};
use super::rest::{self, Rest};
use super::sample::{Rule, Seen};
use super::unit::{Files, Unit};
use super::write::Writer;
use crate::batch::Batch;
use crate::block::Block;
use crate::column::Scalar;
use crate::derive::{Counting, now_unix_nano};
use crate::filter::{Filter, trace_hash};
use crate::model::{Resource, Signal, Value};
use crate::otlp;
use crate::segment::Segment;

/// Rows of a row group, about: what is sorted together. More find more of a trace side by side, and take more memory:
/// about 250 bytes a row.
const GROUP_ROWS: usize = 131_072;

/// What to keep.
#[derive(Debug)]
pub(super) struct Sampling<'a> {
    /// Percent of unremarkable traces; 100 keeps everything.
    pub(super) keep_percent: f64,
    pub(super) pinned: &'a HashSet<[u8; 16]>,
}

/// Where building can be stopped by a test, as a crash would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    SpansWritten,
    LogsWritten,
    IndexWritten,
    Committed,
}

/// Called after each step; an error ends the work there.
pub(super) type Watch<'a> = &'a dyn Fn(Step) -> io::Result<()>;

/// Writes a unit from segments, and opens it.
pub(super) fn build(
    dir: &Path,
    segments: &[Arc<Segment>],
    sampling: &Sampling<'_>,
    watch: Watch<'_>,
) -> io::Result<Unit> {
    let numbers: Vec<u64> = segments.iter().map(|segment| segment.number).collect();
    let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    let files = Files::new(dir, &format!("{first:020}-{last:020}"));
    let rule = (sampling.keep_percent < 100.0).then(|| survey(segments, sampling)).transpose()?;
    let spans_before_sampling = segments.iter().map(|segment| segment.rows(Signal::Spans)).sum();
    let mut index = Index { segments: numbers, spans_before_sampling, ..Index::default() };
    let mut sections = Vec::new();
    let mut counting = Counting::new(now_unix_nano());
    let count = |batch: &Batch| counting.observe(batch);
    index.spans = write_signal(Signal::Spans, segments, &files, rule.as_ref(), count, &mut sections)?;
    index.derived = counting.finish().to_bytes();
    watch(Step::SpansWritten)?;
    index.logs = write_signal(Signal::Logs, segments, &files, None, |_| {}, &mut sections)?;
    watch(Step::LogsWritten)?;
    let unfinished = files.index.with_extension("unfinished");
    fs::write(&unfinished, index.write(&sections))?;
    File::open(&unfinished)?.sync_all()?;
    // The names of the other files must be on disk before the one that makes them count.
    File::open(dir)?.sync_all()?;
    watch(Step::IndexWritten)?;
    fs::rename(&unfinished, &files.index)?;
    File::open(dir)?.sync_all()?;
    watch(Step::Committed)?;
    Unit::open(files)
}

/// Each block of a signal, as batch.
fn each_batch(
    segments: &[Arc<Segment>],
    signal: Signal,
    mut each: impl FnMut(Batch) -> io::Result<()>,
) -> io::Result<()> {
    for segment in segments {
        for outline in segment.outlines().iter().filter(|outline| outline.signal() == signal) {
            let bytes = segment.read(outline)?;
            let batch = Block::read(&bytes).and_then(|block| block.batch());
            each(batch.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?)?;
        }
    }
    Ok(())
}

fn survey(segments: &[Arc<Segment>], sampling: &Sampling<'_>) -> io::Result<Rule> {
    let mut seen = Seen::default();
    each_batch(segments, Signal::Spans, |batch| {
        seen.observe(&batch);
        Ok(())
    })?;
    Ok(seen.decide(sampling.keep_percent, sampling.pinned))
}

fn write_signal(
    signal: Signal,
    segments: &[Arc<Segment>],
    files: &Files,
    rule: Option<&Rule>,
    mut count: impl FnMut(&Batch),
    sections: &mut Vec<u8>,
) -> io::Result<Vec<Group>> {
    if segments.iter().all(|segment| segment.rows(signal) == 0) {
        return Ok(Vec::new());
    }
    let mut writer = Writer::new(File::create(files.of(signal))?, signal)?;
    let mut groups = Vec::new();
    let mut waiting: Vec<Batch> = Vec::new();
    let mut flush = |waiting: &mut Vec<Batch>| -> io::Result<()> {
        let keep = rule.map(|rule| |batch: &Batch, row: usize| rule.keeps(batch, row));
        let order = order(signal, waiting, keep.as_ref().map(|keep| keep as &dyn Fn(&Batch, usize) -> bool));
        if order.rows > 0 {
            let adjusted = |trace: &[u8; 16]| rule.map_or(1.0, |rule| rule.adjusted_count(trace));
            let gathered = gather(signal, waiting, &order, &adjusted);
            waiting.clear();
            groups.push(write_group(&mut writer, &gathered, sections)?);
        }
        waiting.clear();
        Ok(())
    };
    each_batch(segments, signal, |batch| {
        count(&batch);
        waiting.push(batch);
        if waiting.iter().map(Batch::rows).sum::<usize>() >= GROUP_ROWS {
            flush(&mut waiting)
        } else {
            Ok(())
        }
    })?;
    flush(&mut waiting)?;
    writer.finish()?;
    Ok(groups)
}

fn write_group(writer: &mut Writer, gathered: &Gathered, sections: &mut Vec<u8>) -> io::Result<Group> {
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
    let operations = gathered.tallies.iter().map(|((service, name, kind), tally)| OperationTally {
        service: service.clone(),
        name: name.clone(),
        kind: *kind,
        tally: *tally,
    });
    Ok(Group {
        rows: rows as u32,
        bounds: bounds(gathered, &rests),
        operations: operations.collect(),
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
