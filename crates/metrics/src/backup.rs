//! Which files a copy of the store is made of, while it is written to.
//!
//! In: the directory of a store, open or not, in this process or another. Out: paths, in an order in which taking them
//! one after the other (by a hard link, so that removal does not hurt) leaves what [`crate::Metrics::open`] reads as the
//! store of that time: all that was acknowledged before the first was taken, and perhaps some that came later.
//!
//! The log first: what goes from it meanwhile is in parts by then, and the catalogue says how far those reach. Then
//! parts, and the catalogue once it stood still while they were taken, so that every part it names is among them.

use std::fs;
use std::io;
use std::path::Path;

use crate::catalogue::{self, part_files};
use crate::part;
use crate::wal::{self, Segment};

/// The formats this crate writes: name, number.
pub const FORMATS: [(&str, u32); 3] =
    [("metrics_log", wal::FORMAT), ("metrics_part", part::FORMAT), ("metrics_catalogue", catalogue::FORMAT)];

/// More passes than this are not made: parts are written once in minutes, a pass takes milliseconds.
const PASSES_MAX: usize = 100;

/// Calls `take` with every file, below `dir`; with a part once or several times. A file that `take` does not find is left
/// out: it is in another one by then.
///
/// # Errors
/// What `take` says beside [`io::ErrorKind::NotFound`]; where the directory cannot be listed, or does not hold still.
pub fn each_file(dir: &Path, mut take: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut take = |path: &Path| match take(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    for (_, path) in Segment::list(&dir.join("log"))? {
        take(&path)?;
    }
    let path = dir.join(catalogue::NAME);
    let mut before = read(&path)?;
    for _ in 0..PASSES_MAX {
        for part in part_files(&dir.join("parts"))? {
            take(&part)?;
        }
        take(&path)?;
        let now = read(&path)?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    Err(io::Error::other(format!("the files in {} change faster than they can be taken", dir.display())))
}

/// The catalogue; `None` where there is none yet.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}
