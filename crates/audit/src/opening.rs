//! What a start finds: all of it is read and checked, and what was never acknowledged is cut off.
//!
//! In: a directory. Out: a writer that goes on where the last one ended, or an error that says what does not fit. Nothing
//! that was acknowledged is ever repaired, for it cannot be told from what somebody changed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use sha2::{Digest, Sha256};

use crate::checkpoints::{CheckpointFile, Checkpoints};
use crate::commit::{Committer, Current};
use crate::error::{AuditError, Problem, Result};
use crate::head::{Head, HeadRead};
use crate::index::Segment;
use crate::keys::SigningKeys;
use crate::layout::{Layout, SegmentFile};
use crate::merkle::{Frontier, Hash};
use crate::note::{Checkpoint, SignedCheckpoint};
use crate::record::{Action, NewRecord, Outcome, Record, Via};
use crate::retained::Beginning;
use crate::scan::{Scanned, Signed, Walk, walk};
use crate::shared::{Shared, SignedNow, lock};
use crate::trail::Options;
use crate::verifying::{Need, VerifyingKeys};

const TAIL_CUT: Action = Action::new("audit.tail_cut");

/// Opens a trail. Beside the writer: what is to be recorded about the opening itself.
pub(crate) fn open(layout: &Layout, options: Options) -> Result<(Committer, Option<NewRecord>)> {
    layout.make()?;
    let (segments, _) = layout.segments()?;
    let unused = segments.iter().all(|segment| segment.len == 0)
        && is_empty(&layout.checkpoints())
        && is_empty(&layout.retained());
    if unused && options.anchor.is_some() {
        let what = "it is gone, or empty, and a head that was kept apart counts records of it";
        return Err(AuditError::Inconsistent(Problem::of_file(layout.shown(&layout.log()), what)));
    }
    if !unused && is_empty(&layout.private_key()) {
        let why =
            "it is gone, so what is recorded cannot be signed any more; put back a backup of audit/keys"
                .into();
        return Err(AuditError::Key { path: layout.private_key(), why });
    }
    let keys = SigningKeys::load_or_make(layout)?;
    let (head, read) = Head::open(layout, keys.public(), unused)?;
    let checkpoints = Checkpoints::read(layout, keys.public())?;
    let beginning = Beginning::read(layout, keys.public())?;
    let mut segments = beginning.segments(segments);
    let (head, read) = begun(head, read, &keys)?;
    let anchor = anchored(keys.public(), options.anchor.as_deref())?;
    let size = read.newest.checkpoint.size;
    not_behind(size, &checkpoints, &beginning, anchor.as_ref(), layout)?;

    let newest = checkpoints.all.last().cloned();
    let (public, signed_head) = (keys.public().clone(), Some(read.newest.clone()).filter(|_| size > 0));
    let signed = SignedNow { keys: public, checkpoint: newest.clone(), head: signed_head };
    let shared = Arc::new(Shared::new(signed, options.segment_age));
    let mut signed = checkpoints.signed();
    signed.push(Signed { checkpoint: read.newest.checkpoint.clone(), by: "the head".to_owned() });
    signed.extend(anchor);
    let walk = index(layout, &segments, &shared, &beginning, signed, size)?;
    beginning.remove_before(layout)?;
    let cut = cut_tail(layout, &mut segments, &walk, &beginning, size)?;
    let current = current(&segments, &shared)?;
    let torn = (checkpoints.torn > 0)
        .then(|| format!("{} bytes of a checkpoint that was not finished", checkpoints.torn));
    let damaged = read.damaged.map(|what| format!("audit/head was not finished: {what}"));
    lock(&shared.status).checkpoint_size = newest.map_or(0, |newest| newest.checkpoint.size);
    let file = CheckpointFile::open(layout, &checkpoints)?;
    // The head, the checkpoints, the keys and the segment that is written on have their names before anything counts by them:
    // those just made, and those of a process that was killed.
    for dir in [layout.audit(), layout.keys(), layout.log()] {
        layout.sync(&dir)?;
    }
    let leftover = checkpoints.all.iter().any(|one| one.checkpoint.size < beginning.size());
    let (layout, frontier, last) = (layout.clone(), walk.frontier, walk.last);
    let committer = Committer {
        shared,
        layout,
        keys,
        options,
        head,
        checkpoints: file,
        beginning,
        leftover,
        current,
        frontier,
        last,
    };
    let found: Vec<String> = [cut, torn, damaged].into_iter().flatten().collect();
    let record = (!found.is_empty()).then(|| {
        NewRecord::new("homeostat", Via::Server, TAIL_CUT, "audit", Outcome::Done)
            .why("what was being written when the last control plane ended was never acknowledged")
            .detail(found.join("; "))
    });
    Ok((committer, record))
}

fn is_empty(path: &Path) -> bool {
    std::fs::metadata(path).map_or(true, |found| found.len() == 0)
}

/// The head of a log that is new counts nothing.
fn begun(mut head: Head, read: Option<HeadRead>, keys: &SigningKeys) -> Result<(Head, HeadRead)> {
    if let Some(read) = read {
        return Ok((head, read));
    }
    let root = Frontier::default().root();
    let checkpoint = Checkpoint { origin: keys.public().origin().to_owned(), size: 0, root };
    let note = keys.sign_head(&checkpoint)?;
    head.fill(&note)?;
    Ok((head, HeadRead::of(SignedCheckpoint { checkpoint, note })))
}

/// What a head that was kept apart says of the log.
pub(crate) fn anchored(keys: &VerifyingKeys, note: Option<&str>) -> Result<Option<Signed>> {
    let Some(note) = note else { return Ok(None) };
    let checkpoint = keys.checked(note, Need::Ed25519).map_err(AuditError::Anchor)?;
    Ok(Some(Signed { checkpoint, by: "the head kept in the database".to_owned() }))
}

/// Checkpoints, beginnings and heads that are kept apart are written after the head that counts as much.
pub(crate) fn not_behind(
    head: u64,
    checkpoints: &Checkpoints,
    beginning: &Beginning,
    anchor: Option<&Signed>,
    layout: &Layout,
) -> Result<()> {
    let checkpoint = checkpoints.all.last().map_or(0, |newest| newest.checkpoint.size);
    let anchor = anchor.map_or(0, |anchor| anchor.checkpoint.size);
    // A log begins with a record that is there.
    let begins = beginning.size() + u64::from(beginning.size() > 0);
    let newer = [
        (checkpoint, "a checkpoint"),
        (begins, "where the log begins"),
        (anchor, "the head kept in the database"),
    ];
    match newer.into_iter().find(|(size, _)| *size > head) {
        None => Ok(()),
        Some((size, by)) => {
            let what = format!("it counts {head} records, {by} {size}: an older one was put in its place");
            Err(AuditError::Inconsistent(Problem::of_file(layout.shown(&layout.head()), what)))
        }
    }
}

/// Checks all that is acknowledged, and makes the index of it.
fn index(
    layout: &Layout,
    segments: &[SegmentFile],
    shared: &Shared,
    from: &Beginning,
    signed: Vec<Signed>,
    size: u64,
) -> Result<Walk> {
    let mut index = shared.index.write().unwrap_or_else(PoisonError::into_inner);
    index.begin_with(from.size());
    let mut opened: Vec<Arc<File>> = Vec::new();
    for segment in segments {
        let file = File::options().read(true).write(true).open(&segment.path);
        opened.push(Arc::new(file.map_err(AuditError::file("open", &segment.path))?));
    }
    let mut begun = 0;
    let keep = |record: Record| shared.names.row(&record);
    let walk = walk(layout, segments, from, signed, Some(size), keep, |record: Scanned<_>| {
        while begun <= record.segment {
            let (first, file) = (segments[begun].first, Arc::clone(&opened[begun]));
            index.begin(Segment { first, file, len: 0 });
            begun += 1;
        }
        // Segments have a gibibyte at most.
        index.push(&record.value, record.offset as u32);
        index.set_len(record.offset + record.len as u64 + 1);
    })?;
    match walk.stop {
        Some(stop) => Err(AuditError::Inconsistent(stop.problem)),
        None => Ok(walk),
    }
}

/// Cuts off what lies behind the last acknowledged record. Returns what that was.
fn cut_tail(
    layout: &Layout,
    segments: &mut [SegmentFile],
    walk: &Walk,
    from: &Beginning,
    size: u64,
) -> Result<Option<String>> {
    let (at, end) = walk.end;
    // A segment is begun when the one before it is full, and only one at a time.
    let behind = if size == from.size() { 0 } else { at + 1 };
    if let Some(foreign) = segments.iter().skip(behind).find(|segment| segment.first != size) {
        let what = format!("no record of it is counted by the head, which counts {size}");
        return Err(AuditError::Inconsistent(Problem::of_file(layout.shown(&foreign.path), what)));
    }
    let mut cut = Vec::new();
    for (segment, keep) in segments.iter_mut().skip(at).zip([end, 0]) {
        if segment.len > keep {
            let digest = digest(&segment.path, keep).map_err(AuditError::file("read", &segment.path))?;
            let shown = layout.shown(&segment.path);
            cut.push(format!("{} bytes of {} (SHA-256 {digest})", segment.len - keep, shown.display()));
            let file = OpenOptions::new().write(true).open(&segment.path);
            let done = file.and_then(|file| file.set_len(keep).and_then(|()| file.sync_all()));
            done.map_err(AuditError::file("cut", &segment.path))?;
            segment.len = keep;
        }
    }
    Ok((!cut.is_empty()).then(|| cut.join(", ")))
}

/// SHA-256 over a file from an offset on.
fn digest(path: &Path, from: u64) -> io::Result<Hash> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let (mut digest, mut block) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(Hash(digest.finalize().into())),
            read => digest.update(&block[..read]),
        }
    }
}

/// The segment that is written on.
fn current(segments: &[SegmentFile], shared: &Shared) -> Result<Option<Current>> {
    let Some(last) = segments.last() else { return Ok(None) };
    let file = File::options().read(true).write(true).open(&last.path);
    let file = Arc::new(file.map_err(AuditError::file("open", &last.path))?);
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    let (known, begun) = (last.first < index.size(), index.seconds_of(last.first));
    Ok(Some(Current { file, first: last.first, len: last.len, known, begun }))
}
