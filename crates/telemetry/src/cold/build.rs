//! Rows into a unit: read batch by batch, written row group by row group, there when its index is.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::fault::Fault;
use super::gather::gather;
use super::group::write_group;
use super::index::{Group, Index};
use super::order::order;
use super::sample::{Rule, Seen};
use super::unit::{Files, Unit};
use super::write::Writer;
use crate::batch::Batch;
use crate::block::Block;
use crate::derive::{Counting, now_unix_nano};
use crate::model::Signal;
use crate::segment::Segment;

/// Rows of a row group, about: what is sorted together. More find more of a trace side by side, and take more memory:
/// about 250 bytes a row.
const GROUP_ROWS: usize = 131_072;

/// A row group of long values is closed at this many bytes, however few its rows.
const GROUP_BYTES: usize = 256 << 20;

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

/// For how many spans the rows of a batch stand.
pub(super) enum Counts {
    /// As the rule says, or for themselves.
    ByRule,
    /// As was decided before.
    Decided(Vec<f64>),
}

/// Takes one batch after the other.
pub(super) type Each<'a> = &'a mut dyn FnMut(Batch, Counts) -> Result<(), Fault>;

/// Where the rows of a unit come from.
pub(super) trait Source {
    /// Rows of a signal.
    fn rows(&self, signal: Signal) -> u64;

    /// Shows all batches of a signal.
    fn each(&self, signal: Signal, each: Each<'_>) -> Result<(), Fault>;
}

/// Writes a unit from segments, of whose unremarkable traces so many percent are kept, and opens it.
pub(super) fn build(
    dir: &Path,
    segments: &[Arc<Segment>],
    keep_percent: f64,
    watch: Watch<'_>,
) -> Result<Unit, Fault> {
    let numbers: Vec<u64> = segments.iter().map(|segment| segment.number).collect();
    let files = Files::of_segments(dir, &numbers);
    let rule = (keep_percent < 100.0).then(|| survey(segments, keep_percent)).transpose()?;
    let spans_before_sampling = segments.iter().map(|segment| segment.rows(Signal::Spans)).sum();
    let mut index = Index { segments: numbers, spans_before_sampling, ..Index::default() };
    let mut sections = Vec::new();
    let mut counting = Counting::new(now_unix_nano());
    let count = |batch: &Batch| counting.observe(batch);
    begin(dir, &files)?;
    index.spans = write_signal(Signal::Spans, &segments, &files, rule.as_ref(), count, &mut sections)?;
    index.derived = counting.finish().to_bytes();
    watch(Step::SpansWritten)?;
    index.logs = write_signal(Signal::Logs, &segments, &files, None, |_| {}, &mut sections)?;
    watch(Step::LogsWritten)?;
    Ok(commit(dir, files, &index, &sections, None, watch)?)
}

/// Makes sure that no index says that the files about to be written count: one is there where an earlier try failed
/// behind its commit.
pub(super) fn begin(dir: &Path, files: &Files) -> io::Result<()> {
    match fs::remove_file(&files.index) {
        Ok(()) => File::open(dir)?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the unit count, as of a time other than now where one is given, and opens it.
pub(super) fn commit(
    dir: &Path,
    files: Files,
    index: &Index,
    sections: &[u8],
    written: Option<SystemTime>,
    watch: Watch<'_>,
) -> io::Result<Unit> {
    let unfinished = files.index.with_extension("unfinished");
    fs::write(&unfinished, index.write(sections))?;
    let file = File::options().write(true).open(&unfinished)?;
    if let Some(written) = written {
        file.set_modified(written)?;
    }
    file.sync_all()?;
    // The names of the other files must be on disk before the one that makes them count.
    File::open(dir)?.sync_all()?;
    watch(Step::IndexWritten)?;
    fs::rename(&unfinished, &files.index)?;
    File::open(dir)?.sync_all()?;
    watch(Step::Committed)?;
    Unit::open(files)
}

impl Source for &[Arc<Segment>] {
    fn rows(&self, signal: Signal) -> u64 {
        self.iter().map(|segment| segment.rows(signal)).sum()
    }

    fn each(&self, signal: Signal, each: Each<'_>) -> Result<(), Fault> {
        for segment in *self {
            let unreadable = |error| Fault::reading(Some(segment.number), error);
            for outline in segment.outlines().iter().filter(|outline| outline.signal() == signal) {
                let bytes = segment.read(outline).map_err(unreadable)?;
                let batch = Block::read(&bytes).and_then(|block| block.batch());
                let batch =
                    batch.map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
                each(batch, Counts::ByRule)?;
            }
        }
        Ok(())
    }
}

fn survey(segments: &[Arc<Segment>], keep_percent: f64) -> Result<Rule, Fault> {
    let mut seen = Seen::default();
    segments.each(Signal::Spans, &mut |batch, _| {
        seen.observe(&batch);
        Ok(())
    })?;
    Ok(seen.decide(keep_percent))
}

/// Writes the Parquet file of a signal, if there are rows; answers what the index says of its row groups.
pub(super) fn write_signal(
    signal: Signal,
    source: &dyn Source,
    files: &Files,
    rule: Option<&Rule>,
    mut count: impl FnMut(&Batch),
    sections: &mut Vec<u8>,
) -> Result<Vec<Group>, Fault> {
    if source.rows(signal) == 0 {
        return Ok(Vec::new());
    }
    let mut writer = Writer::new(File::create(files.of(signal))?, signal)?;
    let mut groups = Vec::new();
    let (mut waiting, mut counts): (Vec<Batch>, Vec<Counts>) = Default::default();
    let mut flush = |waiting: &mut Vec<Batch>, counts: &mut Vec<Counts>| -> io::Result<()> {
        let keep = rule.map(|rule| |batch: &Batch, row: usize| rule.keeps(batch, row));
        let order = order(signal, waiting, keep.as_ref().map(|keep| keep as &dyn Fn(&Batch, usize) -> bool));
        if order.rows > 0 {
            let adjusted = |batch: usize, row: usize| match &counts[batch] {
                Counts::ByRule => rule.map_or(1.0, |rule| rule.adjusted_count(&waiting[batch].trace[row])),
                Counts::Decided(counts) => counts[row],
            };
            let gathered = gather(signal, waiting, &order, &adjusted);
            waiting.clear();
            groups.push(write_group(&mut writer, &gathered, sections)?);
        }
        waiting.clear();
        counts.clear();
        Ok(())
    };
    let (mut rows, mut bytes) = (0, 0);
    source.each(signal, &mut |batch, of_batch| {
        count(&batch);
        (rows, bytes) = (rows + batch.rows(), bytes + batch.weight());
        waiting.push(batch);
        counts.push(of_batch);
        if rows >= GROUP_ROWS || bytes >= GROUP_BYTES {
            (rows, bytes) = (0, 0);
            flush(&mut waiting, &mut counts)?;
        }
        Ok(())
    })?;
    flush(&mut waiting, &mut counts)?;
    writer.finish()?;
    Ok(groups)
}
