//! What earlier processes left, when the store opens: units, and what a crash left of others.
//!
//! A unit that cannot be read costs its own spans: its files are renamed to `*.damaged` and left alone, for whoever wants
//! to look at them, and everything else is taken in. One that a later version wrote is no damage: nothing is opened then.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::compact::files_in;
use super::index::{Index, IndexError};
use super::marker::{Marker, MarkerError, OWNER};
use super::merge::superseded;
use super::unit::{Files, Part, Unit};
use crate::derive::{Minutes, MinutesError};
use crate::objects::Bucket;

/// Compacted spans and log records that could not be read when the store opened. Their files have `.damaged` behind
/// their names from then on, are not looked at again, and are not removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedFiles {
    /// The index, by the name it had; the other files differ in what follows the first dot.
    pub index: PathBuf,
    /// What was wrong.
    pub why: String,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Oldest first, each with what was derived from it.
    pub(crate) units: Vec<(Unit, Minutes)>,
    /// The highest number of a segment in the name of any file, damaged or not.
    pub(crate) last_number: u64,
}

/// Why a unit was not opened.
enum Unreadable {
    /// Its files make no sense, or one is not there.
    Damaged(String),
    /// The system did not let it be read, or a later version wrote it.
    Refused(io::Error),
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        let broken = error.raw_os_error() == Some(Errno::IO.raw_os_error());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                Self::Damaged(error.to_string())
            }
            _ if broken => Self::Damaged(error.to_string()),
            _ => Self::Refused(error),
        }
    }
}

impl From<IndexError> for Unreadable {
    fn from(error: IndexError) -> Self {
        match error {
            IndexError::Damaged => Self::Damaged(error.to_string()),
            IndexError::Newer { .. } => Self::Refused(io::Error::other(error)),
        }
    }
}

impl From<MarkerError> for Unreadable {
    fn from(error: MarkerError) -> Self {
        match error {
            MarkerError::Damaged => Self::Damaged(error.to_string()),
            MarkerError::Newer => Self::Refused(io::Error::other(error)),
        }
    }
}

impl From<MinutesError> for Unreadable {
    fn from(error: MinutesError) -> Self {
        match error {
            MinutesError::Damaged => Self::Damaged(error.to_string()),
            MinutesError::Newer { .. } => Self::Refused(io::Error::other(error)),
        }
    }
}

/// The files of a directory that a copy of it needs: rows and markers of units, and whose bucket it is, then the indexes.
pub(crate) fn compacted_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut others, mut indexes) = (Vec::new(), Vec::new());
    for path in files_in(dir)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match Files::with(dir, &path) {
            Some((_, Part::Index)) => indexes.push(path),
            Some((_, Part::Rows | Part::Moved)) => others.push(path),
            None if name == OWNER || name.ends_with(".gone") => others.push(path),
            Some((_, Part::Unfinished)) | None => {}
        }
    }
    others.append(&mut indexes);
    Ok(others)
}

/// Opens the units earlier processes left, and removes what a crash left of others. `bucket` is the one that units were
/// moved to, if any were. Units that cannot be read are in `set_aside`, also where it fails.
pub(crate) fn restore(
    dir: &Path,
    bucket: Option<&Arc<Bucket>>,
    set_aside: &mut Vec<DamagedFiles>,
) -> io::Result<Restored> {
    let paths = files_in(dir)?;
    let mut restored = Restored::default();
    let mut found = Vec::new();
    for path in &paths {
        restored.last_number = restored.last_number.max(last_number(path));
        match Files::with(dir, path) {
            // Retention let go of it.
            Some((files, Part::Index)) if paths.contains(&files.gone()) => fs::remove_file(&files.index)?,
            Some((files, Part::Index)) => {
                let (segments, opened) = open(&files, bucket).map_err(|error| named(path, &error))?;
                found.push((files, segments, opened));
            }
            Some((_, Part::Unfinished)) => fs::remove_file(path)?,
            Some((files, Part::Rows | Part::Moved)) if !paths.contains(&files.index) => {
                fs::remove_file(path)?
            }
            // They are in the bucket.
            Some((files, Part::Rows)) if paths.contains(&files.moved()) => fs::remove_file(path)?,
            Some((_, Part::Rows | Part::Moved)) | None => {}
        }
    }
    let segments: Vec<&[u64]> = found.iter().map(|(_, segments, _)| &**segments).collect();
    let sound: Vec<bool> = found.iter().map(|(_, _, opened)| opened.is_ok()).collect();
    let superseded = superseded(&segments, &sound);
    for ((files, _, opened), superseded) in found.into_iter().zip(superseded) {
        match opened {
            _ if superseded => files.remove()?,
            Ok(unit) => restored.units.push(unit),
            Err(why) => {
                files.mark_damaged()?;
                set_aside.push(DamagedFiles { index: files.index, why });
            }
        }
    }
    File::open(dir)?.sync_all()?;
    Ok(restored)
}

/// What is known of a unit's segments, and the unit, or what is damaged of it.
type Opened = (Vec<u64>, Result<(Unit, Minutes), String>);

fn open(files: &Files, bucket: Option<&Arc<Bucket>>) -> io::Result<Opened> {
    let mut segments = Vec::new();
    let mut read = || -> Result<(Unit, Minutes), Unreadable> {
        let bytes = fs::read(&files.index)?;
        let index = Index::read(&bytes)?;
        segments.clone_from(&index.segments);
        let unit = match moved(files)? {
            None => Unit::with_index(files.clone(), index, bytes.len())?,
            Some(marker) => {
                let bucket = bucket.filter(|bucket| bucket.url() == marker.url);
                let elsewhere =
                    || io::Error::other(format!("its rows are in {}, which is not used", marker.url));
                let bucket = Arc::clone(bucket.ok_or_else(elsewhere)?);
                Unit::moved(files.clone(), index, bytes.len(), bucket, marker)?
            }
        };
        let minutes = Minutes::from_bytes(unit.derived())?;
        Ok((unit, minutes))
    };
    match read() {
        Ok(unit) => Ok((segments, Ok(unit))),
        Err(Unreadable::Damaged(why)) => Ok((segments, Err(why))),
        Err(Unreadable::Refused(error)) => Err(error),
    }
}

/// Where a unit's rows are, if that is in a bucket.
fn moved(files: &Files) -> Result<Option<Marker>, Unreadable> {
    match fs::read(files.moved()) {
        Ok(bytes) => Ok(Some(Marker::read(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The last segment in a unit's name; 0 where it is no name of a unit.
fn last_number(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    stem.split_once('-').and_then(|(_, last)| last.parse().ok()).unwrap_or(0)
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    let name = path.file_name().unwrap_or_default().display();
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
