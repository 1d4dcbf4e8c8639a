//! Proofs made of what lies in a data directory, where nothing is written: no control plane is needed, and one may run.
//!
//! In: a data directory. Out: checkpoints, keys, and a [`Proof`] once the log up to its checkpoint is as it was written.

use std::path::{Path, PathBuf};

use crate::checkpoints::Checkpoints;
use crate::error::{AuditError, Problem, Result};
use crate::head;
use crate::keys::load_public;
use crate::layout::Layout;
use crate::merkle::Tail;
use crate::note::{Checkpoint, SignedCheckpoint};
use crate::proof::Proof;
use crate::record::Record;
use crate::retained::Beginning;
use crate::scan::{Signed, walk};
use crate::verifying::VerifyingKeys;

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
    let size = head::read(&layout, &keys)?.newest.checkpoint.size;
    if sequence >= size {
        return Err(AuditError::NoSuchRecord { sequence, size });
    }
    if sequence >= signed.checkpoint.size {
        return Err(AuditError::NotCovered { sequence });
    }
    let mut line = String::new();
    let wanted = |record: Record| (record.sequence == sequence).then(|| record.line());
    let (beginning, tree) = tree(&layout, &keys, &signed.checkpoint, wanted, |found| line = found)?;
    is_there(&beginning, sequence)?;
    let path = tree.inclusion(sequence).ok_or(AuditError::NotCovered { sequence })?;
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
    let (beginning, tree) = tree(&layout, &keys, &newest.checkpoint, |_| None, |_: String| ())?;
    is_there(&beginning, size)?;
    let path = tree.consistency(size).ok_or(AuditError::NotCovered { sequence: size })?;
    if tree.root(0..size) != Some(before.checkpoint.root) {
        let what = format!("its first {size} records are not those that {} signed", old.0.display());
        return Err(AuditError::Inconsistent(Problem::of_file(layout.shown(&layout.log()), what)));
    }
    Ok(Proof::consistency(before.note, newest.note, path, &keys))
}

fn is_there(beginning: &Beginning, sequence: u64) -> Result<()> {
    let first = beginning.size();
    if sequence < first { Err(AuditError::Removed { sequence, first }) } else { Ok(()) }
}

/// The tree over all records that a checkpoint covers, which has to have its root, and where the log begins.
fn tree<T: Send>(
    layout: &Layout,
    keys: &VerifyingKeys,
    checkpoint: &Checkpoint,
    keep: impl Fn(Record) -> Option<T> + Sync,
    mut kept: impl FnMut(T),
) -> Result<(Beginning, Tail)> {
    let beginning = Beginning::read(layout, keys)?;
    is_there(&beginning, checkpoint.size)?;
    let segments = beginning.segments(layout.segments()?.0);
    let signed =
        vec![Signed { checkpoint: checkpoint.clone(), by: format!("the checkpoint at {}", checkpoint.size) }];
    let mut leaves = Vec::new();
    let walk = walk(layout, &segments, &beginning, signed, Some(checkpoint.size), keep, |record| {
        leaves.push(record.hash);
        record.value.into_iter().for_each(&mut kept);
    })?;
    match walk.stop {
        Some(stop) => Err(AuditError::Inconsistent(stop.problem)),
        None => {
            let tree = Tail::new(beginning.frontier.clone(), leaves);
            Ok((beginning, tree))
        }
    }
}
