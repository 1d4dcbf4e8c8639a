//! Verification, by anybody who can read the files: nothing is written, and no control plane is asked.
//!
//! In: a data directory, and what was kept elsewhere: checkpoints, public keys, a head. Out: a [`Report`] with every
//! [`Problem`].
//!
//! What it shows. Without the private keys nobody can change, remove, insert, swap or cut off anything that is
//! acknowledged and not be found: records carry the hash of the one before, and head and checkpoints sign the root over
//! them. Who saved the directory before can put that older state back, head included; the head that the control plane
//! keeps in its database finds it, unless that is put back as well. Who has the keys, such as root on the machine, can sign
//! another log. No file on the machine can help against that; a checkpoint that was kept elsewhere does, because no other
//! log gives its root, and none that is shorter. So does a copy of the public keys, against other keys.
//!
//! Where records were removed because their time had come, it goes on from where the log begins by a signed note.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoints::Checkpoints;
use crate::error::{AuditError, Problem, Result};
use crate::head;
use crate::keys::load_public;
use crate::layout::{Layout, SegmentFile};
use crate::merkle::Hash;
use crate::opening::{anchored, not_behind};
use crate::retained::{Beginning, standing};
use crate::scan::{Signed, Stop, walk};
use crate::verifying::VerifyingKeys;

/// What is known from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trusted {
    /// The public keys; without them those of the directory are used.
    pub keys: Option<VerifyingKeys>,
    /// Checkpoints that were kept elsewhere, each with where it was read.
    pub checkpoints: Vec<(PathBuf, String)>,
    /// The note of a head that was kept apart ([`crate::Audit::head`]).
    pub anchor: Option<String>,
}

/// What was found. `problems` is empty where all is as it was written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The name of the log.
    pub origin: String,
    /// SHA-256 over the public keys it was verified with.
    pub keys: String,
    /// How often these were rotated.
    pub rotations: usize,
    /// The first record that is there; those before were removed because their time had come.
    pub first: u64,
    /// Up to which record all are as they were written, those that were removed with them.
    pub records: u64,
    /// How many the head counts.
    pub acknowledged: u64,
    /// How many the newest checkpoint covers.
    pub covered: u64,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// How many checkpoints from elsewhere were compared.
    pub compared: u64,
    /// How many records the head counts that was kept apart; `None` without one.
    pub anchored: Option<u64>,
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
    let mut before = standing(&layout)?;
    loop {
        let report = verify_once(&layout, trusted);
        let after = standing(&layout)?;
        // Keys that were rotated and records that were removed meanwhile are no problem.
        if before == after {
            return report;
        }
        before = after;
    }
}

fn verify_once(layout: &Layout, trusted: &Trusted) -> Result<Report> {
    let own = load_public(layout)?;
    let mut problems = Vec::new();
    let keys = match &trusted.keys {
        Some(given) if !own.continues(given) => {
            let what = "it is not the key that was given: the log may have been signed anew";
            problems.push(Problem::of_file(layout.shown(&layout.public_keys()), what));
            given.clone()
        }
        _ => own,
    };
    let outside = outside(&keys, &trusted.checkpoints)?;
    let anchor = anchored(&keys, trusted.anchor.as_deref())?;
    // In this order, so that what is appended meanwhile only adds to what was read before.
    let is_written = head::is_written(layout);
    let beginning = found(Beginning::read(layout, &keys), &mut problems)?.unwrap_or_default();
    let checkpoints = found(Checkpoints::read(layout, &keys), &mut problems)?.unwrap_or_default();
    let head = found(head::read(layout, &keys), &mut problems)?;
    let (all, strangers) = layout.segments()?;
    problems.extend(strangers);
    if !is_written {
        problems.extend(left_behind(layout, &all, &beginning));
    }
    let segments = beginning.segments(all);
    if checkpoints.torn > 0 && !is_written {
        let what = format!("{} bytes at its end are no checkpoint", checkpoints.torn);
        problems.push(Problem::of_file(layout.shown(&layout.checkpoints()), what));
    }
    let mut signed = checkpoints.signed();
    problems.extend(outside.iter().filter_map(|one| too_old(layout, one, &beginning)));
    signed.extend(outside.clone());
    let acknowledged = head.as_ref().map_or(0, |head| head.newest.checkpoint.size);
    if let Some(head) = head {
        found(not_behind(acknowledged, &checkpoints, &beginning, anchor.as_ref(), layout), &mut problems)?;
        if let Some(what) = head.damaged.filter(|_| !is_written) {
            problems.push(Problem::of_file(layout.shown(&layout.head()), what));
        }
        signed.push(Signed { checkpoint: head.newest.checkpoint, by: "the head".to_owned() });
    }
    signed.extend(anchor.clone());
    let walk = walk(layout, &segments, &beginning, signed, None, |_| (), |_| ())?;
    // What is being written was promised to nobody.
    let unfinished = |stop: &Stop| {
        is_written
            && stop.sequence >= acknowledged
            && !outside.iter().chain(&anchor).any(|one| one.checkpoint.size > stop.sequence)
    };
    problems.extend(walk.stop.clone().filter(|stop| !unfinished(stop)).map(|stop| stop.problem));
    if walk.stop.is_none() && walk.frontier.size() > acknowledged && !is_written {
        problems.push(beyond(layout, &segments, acknowledged, walk.frontier.size()));
    }
    Ok(Report {
        origin: keys.origin().to_owned(),
        keys: keys.fingerprint(),
        rotations: keys.rotations(),
        first: beginning.size(),
        records: walk.frontier.size(),
        acknowledged,
        covered: checkpoints.all.last().map_or(0, |newest| newest.checkpoint.size),
        checkpoints: checkpoints.all.len() as u64,
        compared: outside.iter().filter(|one| one.checkpoint.size >= beginning.size()).count() as u64,
        anchored: anchor.map(|anchor| anchor.checkpoint.size),
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.len).sum(),
        root: walk.frontier.root(),
        problems,
    })
}

/// Segments that were to be removed and are there still.
fn left_behind(layout: &Layout, all: &[SegmentFile], beginning: &Beginning) -> Option<Problem> {
    let left = all.iter().find(|segment| segment.first < beginning.size())?;
    let what = format!(
        "the log begins with record {}: a crash left this file, or somebody added it; a start removes it",
        beginning.size()
    );
    Some(Problem::of_file(layout.shown(&left.path), what))
}

/// A checkpoint of records that are there no more.
fn too_old(layout: &Layout, one: &Signed, beginning: &Beginning) -> Option<Problem> {
    let (size, first) = (one.checkpoint.size, beginning.size());
    let what = || {
        format!(
            "{} is of {size} records and cannot be compared: the log begins with record {first}, those before were \
             removed when their time had come; give a newer one",
            one.by
        )
    };
    (size < first).then(|| Problem::of_file(layout.shown(&layout.retained()), what()))
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

/// Checkpoints from elsewhere, once their signatures fit.
fn outside(keys: &VerifyingKeys, given: &[(PathBuf, String)]) -> Result<Vec<Signed>> {
    let signed = |(path, note): &(PathBuf, String)| {
        let signed = keys.checkpoint(note);
        let signed = signed.map_err(|source| AuditError::Checkpoint { path: path.clone(), source })?;
        Ok(Signed { checkpoint: signed.checkpoint, by: format!("the checkpoint {}", path.display()) })
    };
    given.iter().map(signed).collect()
}
