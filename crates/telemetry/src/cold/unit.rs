//! A unit: what one compaction wrote, and what it answers.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::bloom;
use super::gather::Field;
use super::index::{Bounds, Group, Index, LOCATOR_ENTRY};
use super::marker::{Marker, rows_name};
use super::page::Page;
use super::pages::PAGE_ROWS;
use crate::derive::{Derived, Minutes};
use crate::filter::trace_hash;
use crate::model::{Signal, Span, SpanId, SpanKind, StatusCode, TraceId};
use crate::objects::{Bucket, Object};
use crate::query::{
    Columns, Found, Gathers, LogFilter, NO_TRACE, ReadError, StatusFilter, Tag, TraceFilter, matching_rows,
    says, search_columns,
};

/// The files of a unit.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) index: PathBuf,
    pub(super) spans: PathBuf,
    pub(super) logs: PathBuf,
}

/// What a file of a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What makes the others count.
    Index,
    /// An index before it has its name.
    Unfinished,
    /// A Parquet file.
    Rows,
    /// What says that the rows are in a bucket.
    Moved,
}

impl Files {
    /// The files of the unit that `path`, in the directory, is one of.
    pub(super) fn with(dir: &Path, path: &Path) -> Option<(Self, Part)> {
        let (stem, ending) = path.file_name()?.to_str()?.split_once('.')?;
        let part = match ending {
            "index" => Part::Index,
            "unfinished" => Part::Unfinished,
            "spans.parquet" | "logs.parquet" => Part::Rows,
            "moved" => Part::Moved,
            _ => return None,
        };
        Some((Self::new(dir, stem), part))
    }

    /// The files of the unit named `stem` in a directory.
    pub(super) fn new(dir: &Path, stem: &str) -> Self {
        let file = |ending: &str| dir.join(format!("{stem}.{ending}"));
        Self { index: file("index"), spans: file("spans.parquet"), logs: file("logs.parquet") }
    }

    /// The files of the unit made from segments, ascending.
    pub(super) fn of_segments(dir: &Path, segments: &[u64]) -> Self {
        let (first, last) = (segments.first().copied().unwrap_or(0), segments.last().copied().unwrap_or(0));
        Self::new(dir, &format!("{first:020}-{last:020}"))
    }

    /// Removes them: the index first and for good, so that what a crash leaves of the others is known to be nothing.
    pub(super) fn remove(&self) -> io::Result<()> {
        let gone = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        gone(&self.index)?;
        if let Some(dir) = self.index.parent() {
            File::open(dir)?.sync_all()?;
        }
        gone(&self.index.with_extension("unfinished"))?;
        gone(&self.moved())?;
        gone(&self.spans)?;
        gone(&self.logs)
    }

    /// Gives them names under which they are left alone; the index last, so that a crash before that is found again.
    pub(super) fn mark_damaged(&self) -> io::Result<()> {
        for path in [&self.spans, &self.logs, &self.moved(), &self.index] {
            let mut name = path.clone().into_os_string();
            name.push(".damaged");
            match fs::rename(path, name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn of(&self, signal: Signal) -> &Path {
        match signal {
            Signal::Spans => &self.spans,
            Signal::Logs => &self.logs,
        }
    }
}

/// Where the rows of a unit are.
#[derive(Debug)]
enum Rows {
    /// In Parquet files beside the index.
    Here { spans: Option<File>, logs: Option<File> },
    /// In the same files, moved to a bucket.
    There { bucket: Arc<Bucket>, marker: Marker },
}

/// Compacted rows: an index, and a Parquet file for each signal, here or in a bucket.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(super) files: Files,
    pub(super) index: Index,
    index_file: File,
    rows: Rows,
    /// On the local disk.
    pub(super) bytes: u64,
    pub(super) written: SystemTime,
}

impl Unit {
    /// Opens the unit with this index.
    pub(super) fn open(files: Files) -> io::Result<Self> {
        let bytes = fs::read(&files.index)?;
        let index = Index::read(&bytes).map_err(io::Error::other)?;
        Self::with_index(files, index, bytes.len())
    }

    /// Opens the unit whose index was read from so many bytes.
    pub(super) fn with_index(files: Files, index: Index, bytes: usize) -> io::Result<Self> {
        let mut all = bytes as u64;
        let mut open = |signal: Signal| -> io::Result<Option<File>> {
            if index.groups(signal).is_empty() {
                return Ok(None);
            }
            let file = File::open(files.of(signal))?;
            all += file.metadata()?.len();
            Ok(Some(file))
        };
        let rows = Rows::Here { spans: open(Signal::Spans)?, logs: open(Signal::Logs)? };
        Self::with_rows(files, index, rows, all)
    }

    /// Opens the unit whose index was read from so many bytes, and whose rows were moved.
    pub(super) fn moved(
        files: Files,
        index: Index,
        bytes: usize,
        bucket: Arc<Bucket>,
        marker: Marker,
    ) -> io::Result<Self> {
        Self::with_rows(files, index, Rows::There { bucket, marker }, bytes as u64)
    }

    fn with_rows(files: Files, index: Index, rows: Rows, bytes: u64) -> io::Result<Self> {
        let index_file = File::open(&files.index)?;
        let written = index_file.metadata()?.modified()?;
        Ok(Self { files, index, index_file, rows, bytes, written })
    }

    pub(super) fn nonsense(&self, signal: Signal, what: &'static str) -> ReadError {
        ReadError::Compacted { path: self.files.of(signal).to_owned(), what }
    }

    /// Bytes of a Parquet file.
    pub(super) fn read(&self, signal: Signal, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let file = match (&self.rows, signal) {
            (Rows::Here { spans, .. }, Signal::Spans) => spans,
            (Rows::Here { logs, .. }, Signal::Logs) => logs,
            (Rows::There { bucket, marker }, _) => {
                let Some(object) = marker.of(signal) else {
                    return Err(self.nonsense(signal, "list of row groups"));
                };
                return self.fetch(bucket, object, signal, offset, len);
            }
        };
        let Some(file) = file else { return Err(self.nonsense(signal, "list of row groups")) };
        let mut bytes = vec![0; len];
        let failed = |source| ReadError::Io { path: self.files.of(signal).to_owned(), source };
        file.read_exact_at(&mut bytes, offset).map_err(failed)?;
        Ok(bytes)
    }

    fn fetch(
        &self,
        bucket: &Bucket,
        object: &Object,
        signal: Signal,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, ReadError> {
        let read = bucket.read(&rows_name(self.files.stem(), signal), object, offset, len);
        read.map_err(|why| ReadError::Away { url: bucket.url().to_owned(), why: why.to_string() })
    }

    /// Whether its rows are in a bucket.
    pub(super) fn is_moved(&self) -> bool {
        matches!(self.rows, Rows::There { .. })
    }

    /// Bytes of its rows in a bucket.
    pub(crate) fn moved_bytes(&self) -> Option<u64> {
        match &self.rows {
            Rows::Here { .. } => None,
            Rows::There { marker, .. } => Some(marker.bytes()),
        }
    }

    fn read_index(&self, offset: u64, bytes: &mut [u8]) -> Result<(), ReadError> {
        let failed = |source| ReadError::Io { path: self.files.index.clone(), source };
        self.index_file.read_exact_at(bytes, offset).map_err(failed)
    }

    /// Bytes of all its files on the local disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the first rows here were compacted.
    pub(super) fn first_written(&self) -> SystemTime {
        match self.index.first_written_unix_nano {
            0 => self.written,
            nanoseconds => SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds),
        }
    }

    /// Numbers of the segments whose rows are here.
    pub(crate) fn segments(&self) -> &[u64] {
        &self.index.segments
    }

    /// Calls by minute of the spans, counted before they were sampled: minutes as bytes.
    pub(crate) fn derived(&self) -> &[u8] {
        &self.index.derived
    }

    /// Shows the ids of all spans here.
    pub(crate) fn ids(&self, each: &mut impl FnMut(TraceId, SpanId)) -> Result<(), ReadError> {
        for group in &self.index.spans {
            for number in 0..group.bounds.len() {
                let page = Page::new(self, Signal::Spans, group, number);
                let ids = page.traces()?.into_iter().zip(page.span_ids()?);
                ids.for_each(|(trace, span)| each(TraceId(trace), SpanId(span)));
            }
        }
        Ok(())
    }

    /// Spans here, and spans that came in.
    pub(crate) fn spans(&self) -> (u64, u64) {
        (self.index.spans.iter().map(|group| u64::from(group.rows)).sum(), self.index.spans_before_sampling)
    }

    /// The operations with spans here: service, name, kind; those that are counted together left out.
    pub(crate) fn operations(&self) -> impl Iterator<Item = (&str, &str, SpanKind)> {
        let operations = self.index.spans.iter().flat_map(|group| &group.operations);
        operations
            .filter_map(|op| Some((&*op.service, op.name.as_deref()?, SpanKind::from_number(op.kind.into()))))
    }

    /// Makes known what it holds: the names of its operations, and what was derived from its spans.
    pub(crate) fn tell(&self, minutes: &Minutes, derived: &Derived) {
        self.operations().for_each(|(service, name, kind)| derived.catalogue.learn(service, name, kind));
        derived.restore(minutes);
    }

    /// Latest start of any span.
    pub(crate) fn start_max(&self) -> u64 {
        self.index.spans.iter().map(Group::start_max).max().unwrap_or(0)
    }

    /// The newest start of a span or time of a log record, nanoseconds since 1970; 0 where there are none.
    pub(super) fn newest_start(&self) -> u64 {
        self.start_max().max(self.index.logs.iter().map(Group::start_max).max().unwrap_or(0))
    }

    /// Adds the spans of a trace.
    pub(crate) fn trace(&self, id: TraceId, spans: &mut Vec<Span>) -> Result<(), ReadError> {
        let hash = trace_hash(&id.0);
        for group in self.index.spans.iter().filter(|group| group.traces.may_hold(hash)) {
            let (offset, entries) = group.locator;
            let mut locator = vec![0; (entries * LOCATOR_ENTRY) as usize];
            self.read_index(offset, &mut locator)?;
            let wanted = (hash >> 32) as u32;
            let (entries, _) = locator.as_chunks::<8>();
            let four = |entry: &[u8; 8], at: usize| {
                u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]])
            };
            let first = entries.partition_point(|entry| four(entry, 0) < wanted);
            for entry in entries[first..].iter().take_while(|entry| four(entry, 0) == wanted) {
                self.run(group, id, four(entry, 4) as usize, spans)?;
            }
        }
        Ok(())
    }

    /// Adds the spans of the run that begins in row `first`, if it is the trace's.
    fn run(&self, group: &Group, id: TraceId, first: usize, spans: &mut Vec<Span>) -> Result<(), ReadError> {
        let mut from = first % PAGE_ROWS;
        for number in first / PAGE_ROWS..(group.rows as usize).div_ceil(PAGE_ROWS) {
            let page = Page::new(self, Signal::Spans, group, number);
            let traces = page.traces()?;
            let run = traces[from.min(traces.len())..].iter().take_while(|&&trace| trace == id.0).count();
            if run == 0 {
                return Ok(());
            }
            let rows: Vec<u32> = (from as u32..(from + run) as u32).collect();
            spans.extend(page.spans(&rows)?);
            if from + run < traces.len() {
                return Ok(());
            }
            from = 0;
        }
        Ok(())
    }

    /// Adds the traces with matching spans, newest row group first.
    pub(crate) fn search(&self, filter: &TraceFilter, found: &mut Found) -> Result<(), ReadError> {
        let mut groups: Vec<&Group> = self.index.spans.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.start_max()));
        for group in groups {
            if !in_time(group, filter, found.oldest_wanted()) {
                continue;
            }
            for number in self.pages(group, filter)? {
                if page_in_time(&group.bounds[number], filter, found.oldest_wanted()) {
                    search_columns(&Page::new(self, Signal::Spans, group, number), filter, found)?;
                }
            }
        }
        Ok(())
    }

    /// Shows every matching span.
    pub(crate) fn each_match(
        &self,
        filter: &TraceFilter,
        each: &mut impl FnMut(Span),
    ) -> Result<(), ReadError> {
        for group in self.index.spans.iter().filter(|group| in_time(group, filter, 0)) {
            for number in self.pages(group, filter)? {
                if !page_in_time(&group.bounds[number], filter, 0) {
                    continue;
                }
                let page = Page::new(self, Signal::Spans, group, number);
                if let Some((rows, _)) = matching_rows(&page, filter, 0)? {
                    page.spans(&rows)?.into_iter().for_each(&mut *each);
                }
            }
        }
        Ok(())
    }

    /// The pages of a group that can match as far as its index says, those with the newest spans first.
    fn pages(&self, group: &Group, filter: &TraceFilter) -> Result<Vec<usize>, ReadError> {
        if !may_match(group, filter) {
            return Ok(Vec::new());
        }
        let tags: Vec<Tag<'_>> = filter.tags.iter().map(|(key, value)| Tag::new(key, value)).collect();
        let allowed = group.ceilings.allow(group.bounds.len(), &group.services, filter, &tags);
        let mut pages: Vec<usize> = (0..group.bounds.len()).filter(|&page| allowed[page]).collect();
        if pages.is_empty() || !self.may_have_tags(group, &tags)? {
            return Ok(Vec::new());
        }
        pages.sort_by_key(|&page| std::cmp::Reverse(group.bounds[page].start_max));
        Ok(pages)
    }

    /// Whether the group's tag filter allows for all tags asked for.
    fn may_have_tags(&self, group: &Group, tags: &[Tag<'_>]) -> Result<bool, ReadError> {
        let (offset, blocks) = group.tags;
        let mut scratch = Vec::new();
        for tag in tags {
            if !tag.asks_for_attribute() {
                continue;
            }
            let mut may = false;
            for value in tag.values() {
                let Some(hash) = bloom::tag_hash(tag.key().as_bytes(), value, &mut scratch) else { continue };
                let mut block = [0; bloom::BLOCK];
                let at = offset + bloom::block_of(hash, blocks) * bloom::BLOCK as u64;
                self.read_index(at, &mut block)?;
                may |= bloom::may_hold(&block, hash);
            }
            if !may {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds the matching log records, newest row group first; stops where what is older is not wanted any more.
    pub(crate) fn logs(&self, filter: &LogFilter, gathered: &mut impl Gathers) -> Result<(), ReadError> {
        let trace = filter.trace.map(|id| trace_hash(&id.0));
        let text = filter.text.to_lowercase();
        let mut groups: Vec<&Group> = self.index.logs.iter().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.start_max()));
        for group in groups {
            let may_match = group.start_max() >= (*filter.time.start()).max(gathered.oldest_wanted())
                && group.start_min() <= *filter.time.end()
                && trace.is_none_or(|hash| group.traces.may_hold(hash))
                && filter.service.as_ref().is_none_or(|service| group.services.contains(service));
            if !may_match {
                continue;
            }
            for (number, bounds) in group.bounds.iter().enumerate().rev() {
                let from = (*filter.time.start()).max(gathered.oldest_wanted());
                if bounds.start_max < from || bounds.start_min > *filter.time.end() {
                    continue;
                }
                let page = Page::new(self, Signal::Logs, group, number);
                let rows = matching(&page, filter, from)?;
                if !rows.is_empty() {
                    let found = page.log_records(&rows)?;
                    let found = found.into_iter().filter(|r| text.is_empty() || says(&r.body, &text));
                    gathered.take(found.collect());
                }
            }
        }
        Ok(())
    }
}

/// The rows of a page that match, but for the text.
fn matching(page: &Page<'_>, filter: &LogFilter, from: u64) -> Result<Vec<u32>, ReadError> {
    let times = page.starts()?;
    let mut rows: Vec<u32> = (0..times.len() as u32)
        .filter(|&row| filter.time.contains(&times[row as usize]) && times[row as usize] >= from)
        .collect();
    if filter.severity_min > 0 && !rows.is_empty() {
        let severities = page.kinds()?;
        rows.retain(|&row| severities[row as usize] >= filter.severity_min);
    }
    if (filter.trace.is_some() || filter.in_a_trace) && !rows.is_empty() {
        let traces = page.traces()?;
        let wanted = |trace: &[u8; 16]| match filter.trace {
            Some(id) => *trace == id.0,
            None => *trace != NO_TRACE,
        };
        rows.retain(|&row| wanted(&traces[row as usize]));
    }
    if let Some(service) = &filter.service
        && !rows.is_empty()
    {
        page.keep_service(service, &mut rows)?;
    }
    Ok(rows)
}

fn in_time(group: &Group, filter: &TraceFilter, oldest: u64) -> bool {
    group.start_max() >= (*filter.start.start()).max(oldest) && group.start_min() <= *filter.start.end()
}

/// The same of a page, where spans may also all be too short.
fn page_in_time(bounds: &Bounds, filter: &TraceFilter, oldest: u64) -> bool {
    bounds.start_max >= (*filter.start.start()).max(oldest)
        && bounds.start_min <= *filter.start.end()
        && bounds.duration_max >= *filter.duration.start()
}

/// Whether an operation of the group can have a matching span.
fn may_match(group: &Group, filter: &TraceFilter) -> bool {
    group.field(Field::Start).is_some()
        && filter.may_be_among(|hash| group.traces.may_hold(hash))
        && group.operations.iter().any(|operation| {
            filter.service.as_ref().is_none_or(|service| operation.service == *service)
                && filter.operation.as_ref().is_none_or(|name| operation.may_be_called(name))
                && filter.kind.is_none_or(|kind| operation.kind == kind as u8)
                && operation.tally.duration_max >= *filter.duration.start()
                && match filter.status {
                    StatusFilter::Any => true,
                    StatusFilter::Error => operation.tally.errors > 0,
                    StatusFilter::NotError => operation.tally.count > operation.tally.errors,
                }
        })
}

/// The status code of an error, as statuses are counted.
pub(super) const ERROR: u8 = StatusCode::Error as u8;
