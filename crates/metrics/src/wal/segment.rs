//! Segments: files of frames, one behind the other. Written by the committer alone, by one process, and never again
//! after a restart.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{FORMAT, Frame, FrameError, HEADER_BYTES, MAGIC, Record};
use crate::config::{OpenError, failed};

/// File name ending of a segment.
const ENDING: &str = "log";

/// A file of frames.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    file: File,
}

impl Segment {
    /// Makes a new, empty segment, durably.
    pub(crate) fn create(dir: &Path, number: u64) -> io::Result<Self> {
        let path = dir.join(format!("{number:020}.{ENDING}"));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(Self { path, file })
    }

    /// Numbers and paths of the segments in a directory, rising.
    pub(crate) fn list(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut found = Vec::new();
        for entry in dir.read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING)
                && let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
            {
                found.push((number, path));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Removes the segments up to a number; what they held is in blocks.
    pub(crate) fn remove_through(dir: &Path, number: u64) -> io::Result<()> {
        for (_, path) in Self::list(dir)?.into_iter().filter(|(other, _)| *other <= number) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Writes bytes at `offset`. They count only once [`Segment::sync`] came back.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Waits until the disk has everything written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Takes back what lies beyond `len`; the file goes where that is all of it. Should this fail, recovery finds
    /// frames that nobody was told are safe: harmless.
    pub(crate) fn take_back(&self, len: u64) {
        let taken_back = match len {
            0 => fs::remove_file(&self.path),
            _ => self.file.set_len(len).and_then(|()| self.file.sync_all()),
        };
        let _ = taken_back;
    }
}

/// What opening found in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Frames that read well.
    pub frames: u64,
    /// Bytes behind the last frame of a segment: torn by a crash, never acknowledged.
    pub torn_bytes: u64,
    /// Bytes amid frames that make no sense: the disk lost something that was acknowledged.
    pub damaged_bytes: u64,
    /// Samples whose series was named in a damaged place.
    pub nameless_samples: u64,
}

/// Shows what a segment says, each with its generation.
///
/// The walk ends where no frame follows any more: a crash leaves a torn or zeroed tail, which nobody was told is safe. A
/// damaged place with frames behind it is skipped and counted: those frames were acknowledged.
pub(crate) fn recover(
    path: &Path,
    recovered: &mut Recovered,
    mut each: impl FnMut(u64, Record),
) -> Result<(), OpenError> {
    let bytes = fs::read(path).map_err(failed("reading", path))?;
    let mut offset = 0;
    while offset < bytes.len() {
        match read_frame(&bytes[offset..], &mut each) {
            Ok(len) => {
                recovered.frames += 1;
                offset += len;
            }
            Err(FrameError::Newer { found }) => {
                return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT });
            }
            Err(FrameError::Damaged) => match find_frame(&bytes, offset + 1) {
                Some(next) => {
                    recovered.damaged_bytes += (next - offset) as u64;
                    offset = next;
                }
                None => {
                    recovered.torn_bytes += (bytes.len() - offset) as u64;
                    break;
                }
            },
        }
    }
    Ok(())
}

/// Reads the frame that `bytes` begin with; answers its length.
fn read_frame(bytes: &[u8], mut each: impl FnMut(u64, Record)) -> Result<usize, FrameError> {
    let frame = Frame::read(bytes)?;
    frame.each(|record| each(frame.generation, record))?;
    Ok(frame.len)
}

/// The next place from `from` on where a whole frame begins.
fn find_frame(bytes: &[u8], from: usize) -> Option<usize> {
    let last = bytes.len().checked_sub(HEADER_BYTES)?;
    (from..=last).find(|at| bytes[*at..].starts_with(&MAGIC) && Frame::read(&bytes[*at..]).is_ok())
}

/// A frame as any bytes may hold it; for the properties.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn read_any(bytes: &[u8]) {
    let mut records = Vec::new();
    if read_frame(bytes, |_, record| records.push(record)).is_ok() {
        assert!(bytes.starts_with(&MAGIC));
    }
}

/// Any bytes as the payload of a frame whose checksums are right; for the properties.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn sealed(payload: &[u8]) -> Vec<u8> {
    super::frame::sealed(1, payload)
}
