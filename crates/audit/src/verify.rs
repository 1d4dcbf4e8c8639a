//! Verification, by anybody who can read the files: nothing is written, and no control plane is asked.
//!
//! In: a data directory, and what was kept elsewhere: checkpoints, public keys. Out: a [`Report`] with every [`Problem`].
//!
//! What it shows. Without the private keys nobody can change, remove, insert, swap or cut off anything that is
//! acknowledged and not be found: records carry the hash of the one before, and head and checkpoints sign the root over
//! them. Who has the keys, such as root on the machine, can sign another log, or put back an older state of the whole
//! directory, head included. No file beside the log can help against that; a checkpoint that was kept elsewhere does,
//! because no other log gives its root, and none that is shorter. So does a copy of the public keys, against other keys.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoints::Checkpoints;
use crate::error::{AuditError, Problem, Result};
use crate::head;
use crate::keys::load_public;
use crate::layout::{Layout, SegmentFile};
use crate::merkle::{self, Hash};
use crate::note::{Checkpoint, SignedCheckpoint, VerifyingKeys};
use crate::opening::not_behind;
use crate::proof::Proof;
use crate::record::Record;
use crate::scan::{Signed, Stop, walk};

/// What is known from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trusted {
    /// The public keys; without them those of the directory are used.
    pub keys: Option<VerifyingKeys>,
    /// Checkpoints that were kept elsewhere, each with where it was read.
    pub checkpoints: Vec<(PathBuf, String)>,
}

/// What was found. `problems` is empty where all is as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The name of the log.
    pub origin: String,
    /// SHA-256 over the public keys it was verified with.
    pub keys: String,
    /// How many records are as they were written, from the first one on.
    pub records: u64,
    /// How many the head counts.
    pub acknowledged: u64,
    /// How many the newest checkpoint covers.
    pub covered: u64,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// How many checkpoints from elsewhere were compared.
    pub compared: u64,
    /// Segments of the log, and their bytes.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The root over the records.
    pub root: Hash,
    /// What is not as it was written, as sentences with file, line and record.
    #[serde(serialize_with = "as_text")]
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether all is as it was written.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }
}

fn as_text<S: serde::Serializer>(problems: &[Problem], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(problems.iter().map(ToString::to_string))
}

/// Verifies the trail of a data directory, while it is written to as well.
///
/// # Errors
///
/// Where there is no trail, a file cannot be read, or what is to be trusted is not to be.
pub fn verify(dir: &Path, trusted: &Trusted) -> Result<Report> {
    let layout = Layout::new(dir);
    let keys = keys(&layout, trusted.keys.as_ref())?;
    let outside = outside(&keys, &trusted.checkpoints)?;
    let mut problems = Vec::new();
    if keys != load_public(&layout)? {
        let what = "it is not the key that was given: the log may have been signed anew";
        problems.push(Problem::of_file(layout.shown(&layout.public_keys()), what));
    }
    // In this order, so that what is appended meanwhile only adds to what was read before.
    let is_written = head::is_written(&layout);
    let checkpoints = found(Checkpoints::read(&layout, &keys), &mut problems)?.unwrap_or_default();
    let head = found(head::read(&layout, &keys), &mut problems)?;
    let (segments, strangers) = layout.segments()?;
    problems.extend(strangers);
    if checkpoints.torn > 0 && !is_written {
        let what = format!("{} bytes at its end are no checkpoint", checkpoints.torn);
        problems.push(Problem::of_file(layout.shown(&layout.checkpoints()), what));
    }
    let mut signed = checkpoints.signed();
    signed.extend(outside.clone());
    if let Some(head) = &head {
        found(not_behind(&head.newest, &checkpoints, &layout), &mut problems)?;
        if let Some(what) = head.damaged.clone().filter(|_| !is_written) {
            problems.push(Problem::of_file(layout.shown(&layout.head()), what));
        }
        signed.push(Signed { checkpoint: head.newest.clone(), by: "the head".to_owned() });
    }
    let acknowledged = head.map_or(0, |head| head.newest.size);
    let walk = walk(&layout, &segments, signed, None, |_| (), |_| ())?;
    // What is being written was promised to nobody.
    let unfinished = |stop: &Stop| {
        is_written
            && stop.sequence >= acknowledged
            && !outside.iter().any(|one| one.checkpoint.size > stop.sequence)
    };
    problems.extend(walk.stop.clone().filter(|stop| !unfinished(stop)).map(|stop| stop.problem));
    if walk.stop.is_none() && walk.frontier.size() > acknowledged && !is_written {
        problems.push(beyond(&layout, &segments, acknowledged, walk.frontier.size()));
    }
    Ok(Report {
        origin: keys.origin().to_owned(),
        keys: keys.fingerprint(),
        records: walk.frontier.size(),
        acknowledged,
        covered: checkpoints.all.last().map_or(0, |newest| newest.checkpoint.size),
        checkpoints: checkpoints.all.len() as u64,
        compared: outside.len() as u64,
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.len).sum(),
        root: walk.frontier.root(),
        problems,
    })
}

fn beyond(layout: &Layout, segments: &[SegmentFile], acknowledged: u64, size: u64) -> Problem {
    let file = segments.iter().rev().find(|segment| segment.first <= acknowledged);
    let what = format!(
        "{} records from here on are not counted by the head: a crash left them, or somebody added them; \
         a start cuts them off and records that",
        size - acknowledged
    );
    Problem {
        file: file.map_or_else(|| layout.shown(&layout.log()), |segment| layout.shown(&segment.path)),
        line: file.map(|segment| acknowledged - segment.first + 1),
        sequence: Some(acknowledged),
        what,
    }
}

/// An inconsistency is noted, and the rest looked at; any other error ends it.
fn found<T>(result: Result<T>, problems: &mut Vec<Problem>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(AuditError::Inconsistent(problem)) => {
            problems.push(problem);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The keys to go by: those that were given, else those of the directory.
fn keys(layout: &Layout, given: Option<&VerifyingKeys>) -> Result<VerifyingKeys> {
    match given {
        Some(keys) => Ok(keys.clone()),
        None => load_public(layout),
    }
}

/// Checkpoints from elsewhere, once their signatures fit.
fn outside(keys: &VerifyingKeys, given: &[(PathBuf, String)]) -> Result<Vec<Signed>> {
    let signed = |(path, note): &(PathBuf, String)| {
        let signed = keys.checkpoint(note);
        let signed = signed.map_err(|source| AuditError::Checkpoint { path: path.clone(), source })?;
        Ok(Signed { checkpoint: signed.checkpoint, by: format!("the checkpoint {}", path.display()) })
    };
    given.iter().map(signed).collect()
}

/// The newest signed checkpoint of a data directory; `None` where none was written yet.
///
/// # Errors
///
/// Where there is no trail, or a checkpoint is not as it was written.
pub fn newest_checkpoint(dir: &Path) -> Result<Option<SignedCheckpoint>> {
    let layout = Layout::new(dir);
    let keys = load_public(&layout)?;
    Ok(Checkpoints::read(&layout, &keys)?.all.pop())
}

/// The public keys of a data directory.
///
/// # Errors
///
/// Where there are none, or they cannot be read.
pub fn public_keys(dir: &Path) -> Result<VerifyingKeys> {
    load_public(&Layout::new(dir))
}

/// The checkpoint to prove something by: one that was given, else the newest of the directory.
fn checkpoint_for(
    layout: &Layout,
    keys: &VerifyingKeys,
    given: Option<&(PathBuf, String)>,
    sequence: u64,
) -> Result<SignedCheckpoint> {
    let checkpoint = match given {
        Some((path, note)) => {
            let signed = keys.checkpoint(note);
            signed.map_err(|source| AuditError::Checkpoint { path: path.clone(), source })?
        }
        None => Checkpoints::read(layout, keys)?.all.pop().ok_or(AuditError::NotCovered { sequence })?,
    };
    Ok(checkpoint)
}

/// Proves that a record is in the log, by the newest checkpoint or by one that was given.
///
/// # Errors
///
/// Where no such checkpoint covers it, or the log up to there is not as it was written.
pub fn prove_record(dir: &Path, sequence: u64, by: Option<&(PathBuf, String)>) -> Result<Proof> {
    let layout = Layout::new(dir);
    let keys = load_public(&layout)?;
    let signed = checkpoint_for(&layout, &keys, by, sequence)?;
    let size = head::read(&layout, &keys)?.newest.size;
    if sequence >= size {
        return Err(AuditError::NoSuchRecord { sequence, size });
    }
    if sequence >= signed.checkpoint.size {
        return Err(AuditError::NotCovered { sequence });
    }
    let mut line = String::new();
    let wanted = |record: Record| (record.sequence == sequence).then(|| record.line());
    let leaves = leaves(&layout, &signed.checkpoint, wanted, |found| line = found)?;
    let index = usize::try_from(sequence).unwrap_or(usize::MAX);
    let path = merkle::inclusion(&leaves, index).ok_or(AuditError::NotCovered { sequence })?;
    Ok(Proof::inclusion(line, path, signed.note, &keys))
}

/// Proves that the log at an older checkpoint is the beginning of what it is at the newest one.
///
/// # Errors
///
/// Where it is not, or a checkpoint cannot be trusted.
pub fn prove_growth(dir: &Path, old: &(PathBuf, String)) -> Result<Proof> {
    let layout = Layout::new(dir);
    let keys = load_public(&layout)?;
    let before = keys.checkpoint(&old.1);
    let before = before.map_err(|source| AuditError::Checkpoint { path: old.0.clone(), source })?;
    let newest = checkpoint_for(&layout, &keys, None, before.checkpoint.size)?;
    let size = before.checkpoint.size;
    let leaves = leaves(&layout, &newest.checkpoint, |_| None, |_: String| ())?;
    let count = usize::try_from(size).unwrap_or(usize::MAX);
    let path = merkle::consistency(&leaves, count).ok_or(AuditError::NotCovered { sequence: size })?;
    if merkle::root(&leaves[..count]) != before.checkpoint.root {
        let what = format!("its first {size} records are not those that {} signed", old.0.display());
        return Err(AuditError::Inconsistent(Problem::of_file(layout.shown(&layout.log()), what)));
    }
    Ok(Proof::consistency(before.note, newest.note, path, &keys))
}

/// The hashes of all records that a checkpoint covers, which have to give its root.
fn leaves<T: Send>(
    layout: &Layout,
    checkpoint: &Checkpoint,
    keep: impl Fn(Record) -> Option<T> + Sync,
    mut kept: impl FnMut(T),
) -> Result<Vec<Hash>> {
    let (segments, _) = layout.segments()?;
    let signed =
        vec![Signed { checkpoint: checkpoint.clone(), by: format!("the checkpoint at {}", checkpoint.size) }];
    let mut leaves = Vec::new();
    let walk = walk(layout, &segments, signed, Some(checkpoint.size), keep, |record| {
        leaves.push(record.hash);
        record.value.into_iter().for_each(&mut kept);
    })?;
    match walk.stop {
        Some(stop) => Err(AuditError::Inconsistent(stop.problem)),
        None => Ok(leaves),
    }
}
