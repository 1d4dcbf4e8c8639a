//! A copy of a trail while it is written to.
//!
//! In: a data directory, also one whose control plane runs. Out: the trail as it was at one head, as if its control plane had
//! ended then: all that was acknowledged before the copy began, nothing half-written, and it verifies. Files that are written
//! no more are linked, the others copied up to there.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::checkpoints::Checkpoints;
use crate::error::{AuditError, Problem, Result};
use crate::head;
use crate::keys::load_public;
use crate::layout::{FORMAT, Layout, SegmentFile};
use crate::retained::{Beginning, standing};

/// The formats this crate writes: name, number.
pub const FORMATS: [(&str, u32); 1] = [("audit", FORMAT)];

/// How often a copy is begun again where keys were rotated, or records removed, meanwhile.
const TRIES: usize = 5;

/// Copies the trail of the data directory `data` into the directory `to`, which must have none. `false`: there is no trail
/// in `data`.
///
/// # Errors
///
/// Where head, keys, checkpoints or where it begins are not as they were written; records are not looked at. Where a file
/// cannot be read or written.
pub fn copy(data: &Path, to: &Path) -> Result<bool> {
    let (from, to) = (Layout::new(data), Layout::new(to));
    if !from.head().exists() {
        return Ok(false);
    }
    for _ in 0..TRIES {
        let before = standing(&from)?;
        let copied = copy_once(&from, &to);
        if before == standing(&from)? {
            return copied.map(|()| true);
        }
        remove(&to)?;
    }
    let what = "keys were rotated or records removed each time it was copied; try again";
    Err(AuditError::Inconsistent(Problem::of_file(from.shown(&from.audit()), what)))
}

fn remove(layout: &Layout) -> Result<()> {
    match fs::remove_dir_all(layout.audit()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AuditError::file("remove", &layout.audit())(error))
        }
        _ => Ok(()),
    }
}

fn copy_once(from: &Layout, to: &Layout) -> Result<()> {
    for dir in [to.log(), to.keys()] {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&dir).map_err(AuditError::file("make", &dir))?;
    }
    let keys = load_public(from)?;
    // The next private key before the one it takes the place of: one of them is always there.
    copy_if_there(&from.next_private_key(), &to.next_private_key())?;
    copy_if_there(&from.private_key(), &to.private_key())?;
    copy_if_there(&from.public_keys(), &to.public_keys())?;
    copy_if_there(&from.format(), &to.format())?;
    copy_if_there(&from.retained(), &to.retained())?;
    let (bytes, size) = head_of(from, &keys)?;
    write(&to.head(), &bytes)?;
    let checkpoints = Checkpoints::read(from, &keys)?;
    let counted = checkpoints.all.iter().filter(|one| one.checkpoint.size <= size);
    let text: String = counted.map(|one| format!("{}\n", one.note)).collect();
    write(&to.checkpoints(), text.as_bytes())?;
    let segments = Beginning::read(from, &keys)?.segments(from.segments()?.0);
    for (at, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.first < size) {
        let target = to.segment(segment.first);
        match segments.get(at + 1) {
            // The last one may be written on where the copy is used.
            Some(next) if next.first < size => link(&segment.path, &target)?,
            _ => copy_lines(segment, size - segment.first, &target)?,
        }
    }
    Ok(())
}

/// A head that nobody was writing to, and how much it counts.
fn head_of(from: &Layout, keys: &crate::VerifyingKeys) -> Result<(Vec<u8>, u64)> {
    const TRIES: usize = 1000;
    let path = from.head();
    for _ in 0..TRIES {
        let bytes = fs::read(&path).map_err(AuditError::file("read", &path))?;
        if let Ok(read) = head::parse(&bytes, from, keys)
            && read.damaged.is_none()
        {
            return Ok((bytes, read.newest.checkpoint.size));
        }
        std::thread::yield_now();
    }
    // One place may be what a crash left.
    let bytes = fs::read(&path).map_err(AuditError::file("read", &path))?;
    let size = head::parse(&bytes, from, keys)?.newest.checkpoint.size;
    Ok((bytes, size))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = AuditError::file("write", path);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

fn copy_if_there(from: &Path, to: &Path) -> Result<()> {
    match fs::copy(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(AuditError::file("copy", from)(error)),
        _ => Ok(()),
    }
}

fn link(from: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        // File systems without links, and files of another owner.
        Err(_) => fs::copy(from, to).map(drop).map_err(AuditError::file("copy", from)),
    }
}

/// Copies the first lines of a segment.
fn copy_lines(segment: &SegmentFile, count: u64, to: &Path) -> Result<()> {
    let failed = || AuditError::file("copy", &segment.path);
    let mut lines = BufReader::with_capacity(1 << 20, File::open(&segment.path).map_err(failed())?);
    let mut bytes = 0;
    for _ in 0..count {
        bytes += lines.skip_until(b'\n').map_err(failed())? as u64;
    }
    let target = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut target = target.map_err(AuditError::file("write", to))?;
    let from = File::open(&segment.path).map_err(failed())?;
    io::copy(&mut from.take(bytes), &mut target).map_err(failed())?;
    Ok(())
}
