//! Which files a copy of the store is made of, while it is written to.
//!
//! In: the directory of a store, open or not, in this process or another. Out: paths, in an order in which taking them
//! one after the other (by a hard link, so that removal does not hurt) leaves what [`crate::Telemetry::open`] reads as the
//! store of that time: all that was acknowledged before the first was taken, and perhaps some that came later.
//!
//! Segments first: one that goes meanwhile is in a unit by then. Of a unit, rows before the index, which a removal takes
//! first; what stands without an index is nothing (`cold`). An archived trace that is added to is in a newer file before the
//! older one goes. And again, until nothing new stands there.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::archive::{self, archived_files};
use crate::block;
use crate::cold::{self, compacted_files};
use crate::derive;
use crate::segment::Segment;

/// The formats this crate writes: name, number.
pub const FORMATS: [(&str, u32); 5] = [
    ("telemetry_archive", archive::FORMAT),
    ("telemetry_block", block::FORMAT as u32),
    ("telemetry_index", cold::INDEX_FORMAT as u32),
    ("telemetry_marker", cold::MARKER_FORMAT),
    ("telemetry_minutes", derive::FORMAT as u32),
];

/// More passes than this are not made: compaction makes a unit in seconds, a pass takes milliseconds.
const PASSES_MAX: usize = 100;

/// Calls `take` with every file, below `dir`. A file that `take` does not find is left out: it is in another one by then.
///
/// # Errors
/// What `take` says beside [`io::ErrorKind::NotFound`]; where the directory cannot be listed, or does not hold still.
pub fn each_file(dir: &Path, mut take: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut take = |path: &Path| match take(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for (_, path) in Segment::list(&dir.join("hot"))? {
        take(&path)?;
    }
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    for _ in 0..PASSES_MAX {
        let mut fresh = compacted_files(&dir.join("cold"))?;
        fresh.extend(archived_files(&dir.join(archive::ARCHIVE))?);
        fresh.retain(|path| !taken.contains(path));
        if fresh.is_empty() {
            return Ok(());
        }
        for path in &fresh {
            take(path)?;
        }
        taken.extend(fresh);
    }
    Err(io::Error::other(format!("the files in {} change faster than they can be taken", dir.display())))
}
