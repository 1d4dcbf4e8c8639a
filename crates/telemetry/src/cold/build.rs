//! Segments into a unit: read block by block, written row group by row group, there when its index is.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::bloom;
use super::gather::{Data, Gathered, gather};
use super::index::{Bounds, Chunk, Group, Index, OperationTally, put_sections};
use super::order::order;
use super::sample::{Rule, Seen};
use super::unit::{Files, Unit};
use super::write::{PAGE_ROWS, Writer, distinct};
use crate::batch::Batch;
use crate::block::Block;
use crate::column::Scalar;
use crate::derive::{Counting, now_unix_nano};
use crate::filter::{Filter, trace_hash};
use crate::model::{Signal, Value};
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
    let mut tags = Tags::default();
    let mut attributes = Vec::new();
    for column in &gathered.attributes {
        let found = match &column.data {
            Data::Numbers { values, there } => distinct(values, there),
            Data::Strings { .. } | Data::Fixed { .. } => None,
        };
        column
            .each_value(found.as_ref().map(|found| &found.values[..]), |value| tags.add(&column.key, value));
        attributes.push(writer.attribute(column, rows, found.as_ref())?);
    }
    tags.add_rests(gathered);
    let mut services = BTreeSet::new();
    for code in 0..gathered.resources.entries() as u32 {
        let resource = otlp::resource(gathered.resources.entry(code));
        resource.attributes.iter().for_each(|(key, value)| tags.add_value(key, value));
        services.insert(resource.service);
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
        bounds: bounds(gathered),
        operations: operations.collect(),
        services: services.into_iter().collect(),
        shapes: gathered.shapes.clone(),
        fields,
        attributes,
        traces,
        locator,
        tags,
    })
}

fn bounds(gathered: &Gathered) -> Vec<Bounds> {
    let pages = gathered.starts.chunks(PAGE_ROWS).zip(gathered.durations.chunks(PAGE_ROWS));
    pages
        .map(|(starts, durations)| Bounds {
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

    fn add_value(&mut self, key: &str, value: &Value) {
        let scalar = match value {
            Value::Text(text) => Scalar::Text(text.as_bytes()),
            Value::Int(int) => Scalar::Int(*int),
            Value::Double(double) => Scalar::Double(*double),
            Value::Bool(bool) => Scalar::Bool(*bool),
            Value::Empty | Value::Bytes(_) | Value::List(_) | Value::Map(_) => return,
        };
        self.add(key.as_bytes(), scalar);
    }

    /// Attributes without a column, those of events among them.
    fn add_rests(&mut self, gathered: &Gathered) {
        for (_, data) in gathered.fields.iter().filter(|(field, _)| *field == super::gather::Field::Rest) {
            let Data::Strings { entries, .. } = data else { continue };
            for code in 0..entries.entries() as u32 {
                if let Ok(rest) = super::rest::read(gathered.signal, entries.entry(code)) {
                    let of_events = rest.events.iter().flat_map(|event| &event.attributes);
                    rest.attributes
                        .iter()
                        .chain(of_events)
                        .for_each(|(key, value)| self.add_value(key, value));
                }
            }
        }
    }
}
