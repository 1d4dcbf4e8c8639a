//! Reads the log from its first record to its last, on several threads, and checks that it is what was written.
//!
//! In: segments, and what is signed about them. Out: every record in its order, with the hash of its leaf, as far as all
//! fits: form, sequence, chain, and the root at each size that somebody signed. What does not fit ends the walk as
//! [`Stop`], with file, line and record.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::{AuditError, Problem, Result};
use crate::layout::{Layout, SegmentFile};
use crate::merkle::{Frontier, Hash};
use crate::note::Checkpoint;
use crate::record::Record;
use crate::retained::Beginning;

/// What a thread reads at once.
const CHUNK_BYTES: u64 = 4 << 20;
/// What is read more where the last line of a chunk goes on.
const MORE_BYTES: usize = 64 << 10;

/// A root that was signed, and who says so.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    /// Such as `the head`.
    pub(crate) by: String,
}

/// A record where it lies.
pub(crate) struct Scanned<T> {
    /// Which of the segments.
    pub(crate) segment: usize,
    /// Where its line begins and how long it is, without its end.
    pub(crate) offset: u64,
    pub(crate) len: usize,
    pub(crate) sequence: u64,
    /// The hash of its leaf.
    pub(crate) hash: Hash,
    previous: Hash,
    /// What the caller keeps of it.
    pub(crate) value: T,
}

/// Where and why a walk ended before the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) problem: Problem,
    /// The record that should be there.
    pub(crate) sequence: u64,
}

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The tree over all records that fit.
    pub(crate) frontier: Frontier,
    /// The hash of the last of them.
    pub(crate) last: Hash,
    /// Where the last of them ends: segment and offset.
    pub(crate) end: (usize, u64),
    pub(crate) stop: Option<Stop>,
}

/// What a thread found in its part of a segment.
struct Chunk<T> {
    records: Vec<Scanned<T>>,
    fault: Option<String>,
}

/// Walks through the log from its beginning up to record `until`, or to its end. What was signed of records that are no
/// longer there is not looked at. `keep` is asked on any thread what is kept of a record;
/// `each` gets the records in their order, here.
pub(crate) fn walk<T: Send>(
    layout: &Layout,
    segments: &[SegmentFile],
    from: &Beginning,
    mut signed: Vec<Signed>,
    until: Option<u64>,
    keep: impl Fn(Record) -> T + Sync,
    mut each: impl FnMut(Scanned<T>),
) -> Result<Walk> {
    signed.retain(|one| one.checkpoint.size >= from.size());
    signed.sort_by_key(|one| one.checkpoint.size);
    let mut state = State::new(layout, segments, from, signed);
    if state.check_roots().is_err() || until == Some(from.size()) {
        return Ok(state.walk);
    }
    let parts = parts(segments);
    in_order(
        &parts,
        |part| scan_part(&segments[part.0], *part, &keep),
        |part, chunk| {
            let chunk = chunk.map_err(AuditError::file("read", &segments[part.0].path))?;
            for record in chunk.records {
                if state.walk.stop.is_some() || until == Some(state.walk.frontier.size()) {
                    return Ok(false);
                }
                if state.take(&record).is_ok() {
                    each(record);
                }
            }
            if let (Some(fault), None) = (chunk.fault, &state.walk.stop) {
                let reached = until == Some(state.walk.frontier.size());
                if !reached && state.enter(part.0).is_ok() {
                    state.stop(part.0, fault);
                }
                return Ok(false);
            }
            Ok(state.walk.stop.is_none())
        },
    )?;
    state.finish(until);
    Ok(state.walk)
}

/// What has been seen of the log so far.
struct State<'a> {
    layout: &'a Layout,
    segments: &'a [SegmentFile],
    signed: Vec<Signed>,
    next_signed: usize,
    /// The segment read, and its lines so far.
    segment: Option<usize>,
    lines: u64,
    walk: Walk,
}

/// The walk has ended.
struct Ended;

impl<'a> State<'a> {
    fn new(layout: &'a Layout, segments: &'a [SegmentFile], from: &Beginning, signed: Vec<Signed>) -> Self {
        let walk = Walk { frontier: from.frontier.clone(), last: from.last, end: (0, 0), stop: None };
        Self { layout, segments, signed, next_signed: 0, segment: None, lines: 0, walk }
    }

    fn stop(&mut self, segment: usize, what: impl Into<String>) -> Ended {
        let sequence = self.walk.frontier.size();
        let file =
            self.segments.get(segment).map_or_else(|| self.layout.log(), |segment| segment.path.clone());
        let line = (segment < self.segments.len()).then_some(self.lines + 1);
        let problem =
            Problem { file: self.layout.shown(&file), line, sequence: Some(sequence), what: what.into() };
        self.walk.stop = Some(Stop { problem, sequence });
        Ended
    }

    /// Goes on to a segment, where it is not in it: its name has to say what comes next.
    fn enter(&mut self, segment: usize) -> Result<(), Ended> {
        let next = self.segment.map_or(0, |segment| segment + 1);
        for at in next..=segment {
            (self.segment, self.lines) = (Some(at), 0);
            let (first, size) = (self.segments[at].first, self.walk.frontier.size());
            if first != size {
                return Err(self.stop(
                    at,
                    format!("it begins with record {first} by its name; record {size} is to come"),
                ));
            }
            self.walk.end = (at, 0);
        }
        Ok(())
    }

    fn take<T>(&mut self, record: &Scanned<T>) -> Result<(), Ended> {
        self.enter(record.segment)?;
        let size = self.walk.frontier.size();
        if record.sequence != size {
            return Err(self.stop(
                record.segment,
                format!("it is record {}; record {size} is to come", record.sequence),
            ));
        }
        if record.previous != self.walk.last {
            let what = match size.checked_sub(1) {
                Some(before) => format!(
                    "record {before} is not what it was when this one was written, or this one was changed"
                ),
                None => "it is not the first record".to_owned(),
            };
            return Err(self.stop(record.segment, what));
        }
        self.walk.frontier.push(record.hash);
        self.walk.last = record.hash;
        self.walk.end = (record.segment, record.offset + record.len as u64 + 1);
        self.check_roots()?;
        self.lines += 1;
        Ok(())
    }

    /// Compares the root with everything that was signed at this size.
    fn check_roots(&mut self) -> Result<(), Ended> {
        let size = self.walk.frontier.size();
        let mut root = None;
        while let Some(signed) = self.signed.get(self.next_signed).filter(|one| one.checkpoint.size == size) {
            if signed.checkpoint.root != *root.get_or_insert_with(|| self.walk.frontier.root()) {
                let since =
                    self.next_signed.checked_sub(1).map_or(0, |last| self.signed[last].checkpoint.size);
                let what = format!(
                    "{} signed another log: of the {size} records up to here, one after the first {since} was changed",
                    signed.by
                );
                return Err(self.stop(self.segment.unwrap_or_default(), what));
            }
            self.next_signed += 1;
        }
        Ok(())
    }

    /// What must still be there at the end.
    fn finish(&mut self, until: Option<u64>) {
        if self.walk.stop.is_some() || until == Some(self.walk.frontier.size()) {
            return;
        }
        if !self.segments.is_empty() && self.enter(self.segments.len() - 1).is_err() {
            return;
        }
        let last = self.segments.len().saturating_sub(1);
        if let Some(signed) = self.signed.last().filter(|_| self.next_signed < self.signed.len()) {
            let (count, size) = (signed.checkpoint.size, self.walk.frontier.size());
            let what = format!(
                "the log ends after {size} records; {} counts {count}: the rest was removed",
                signed.by
            );
            self.stop(last, what);
        }
    }
}

/// A part of a segment: which one, from and to.
type Part = (usize, u64, u64);

fn parts(segments: &[SegmentFile]) -> Vec<Part> {
    let parts = |(at, segment): (usize, &SegmentFile)| {
        let len = segment.len;
        (0..len).step_by(CHUNK_BYTES as usize).map(move |start| (at, start, (start + CHUNK_BYTES).min(len)))
    };
    segments.iter().enumerate().flat_map(parts).collect()
}

/// Works on parts in parallel and hands on what comes of them in their order, until told that it is enough.
fn in_order<T: Send>(
    parts: &[Part],
    work: impl Fn(&Part) -> io::Result<Chunk<T>> + Sync,
    mut each: impl FnMut(&Part, io::Result<Chunk<T>>) -> Result<bool>,
) -> Result<()> {
    if let [part] = parts {
        return each(part, work(part)).map(|_| ());
    }
    let threads = thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)).min(parts.len());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..threads {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    // Nobody waits for more where the walk has ended.
                    let Some(part) = parts.get(at) else { return };
                    if sender.send((at, work(part))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let (mut early, mut wanted) = (BTreeMap::new(), 0);
        for (at, chunk) in receiver {
            early.insert(at, chunk);
            while let Some(chunk) = early.remove(&wanted) {
                let goes_on = each(&parts[wanted], chunk);
                if !matches!(goes_on, Ok(true)) {
                    return goes_on.map(|_| ());
                }
                wanted += 1;
            }
        }
        Ok(())
    })
}

/// Reads the lines that begin within a part.
fn scan_part<T>(
    segment: &SegmentFile,
    (at, start, end): Part,
    keep: &impl Fn(Record) -> T,
) -> io::Result<Chunk<T>> {
    let bytes = read_lines(segment, start, end)?;
    // The byte before the part says whether a line begins with it.
    let from = start.saturating_sub(1);
    let mut rest = match start {
        0 => &bytes[..],
        _ => bytes.iter().position(|byte| *byte == b'\n').map_or(&[][..], |first| &bytes[first + 1..]),
    };
    let mut again = Vec::with_capacity(1024);
    let mut chunk = Chunk { records: Vec::new(), fault: None };
    while !rest.is_empty() {
        let offset = from + (bytes.len() - rest.len()) as u64;
        if offset >= end {
            break;
        }
        let Some(len) = rest.iter().position(|byte| *byte == b'\n') else {
            chunk.fault =
                Some("the line has no end: a write that was cut short, or somebody cut it".to_owned());
            break;
        };
        let line = &rest[..len];
        match Record::read(line, &mut again) {
            Ok(record) => chunk.records.push(Scanned {
                segment: at,
                offset,
                len,
                sequence: record.sequence,
                hash: Hash::of_leaf(line),
                previous: record.previous,
                value: keep(record),
            }),
            Err(error) => {
                chunk.fault = Some(error.to_string());
                break;
            }
        }
        rest = &rest[len + 1..];
    }
    Ok(chunk)
}

/// The bytes of a part, from the one before it to the end of the line that begins in it last.
fn read_lines(segment: &SegmentFile, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let file = File::open(&segment.path)?;
    let from = start.saturating_sub(1);
    let mut bytes = vec![0; (end - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    while bytes.last() != Some(&b'\n') {
        let at = from + bytes.len() as u64;
        let more = usize::try_from(segment.len - at).unwrap_or(MORE_BYTES).min(MORE_BYTES);
        if more == 0 {
            break;
        }
        let mut piece = vec![0; more];
        file.read_exact_at(&mut piece, at)?;
        let line_end = piece.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        bytes.extend_from_slice(&piece[..line_end.unwrap_or(more)]);
    }
    Ok(bytes)
}
