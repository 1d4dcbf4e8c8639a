//! Files that people name: on the command line, or in a configuration.
//!
//! In: a path, and how long the file may be. Out: its bytes, or an [`io::Error`] that says what is there instead. Nothing here
//! waits for a named pipe that nobody writes to, and nothing reads without end: a device is refused, and so is what is longer
//! than its bound.
//!
//! What a shell hands over as a file is read like one: `<(…)`, `/dev/stdin`, and [`STDIN`] for the input of the command itself.
//! `/dev/null` is an empty file.
//!
//! Deliberately absent: what a file means, and files that only Homeostat itself writes.

use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The name of the command's own input.
pub const STDIN: &str = "-";

/// Why something is not read. It is what an [`io::Error`] of this crate holds, with the kind [`io::ErrorKind::InvalidInput`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is something else than a file.
    #[error("it is {is}; name a regular file{}", most.map_or(String::new(), |most| format!(" of at most {most}")))]
    NoFile {
        /// What it is.
        is: Kind,
        /// What would be read, where that is bounded.
        most: Option<Size>,
    },
    /// Pipes are read once, and this is read again.
    #[error("it is a pipe, which can be read but once; write it to a file and name that")]
    ReadOnce,
    /// It is longer than what is read.
    #[error("it has {has}, at most {most} are read")]
    TooLong {
        /// How long it is.
        has: Size,
        /// The bound.
        most: Size,
    },
    /// It goes on beyond what is read.
    #[error("it goes on beyond {most}, the most that is read")]
    Endless {
        /// The bound.
        most: Size,
    },
    /// It is no text.
    #[error("line {line} of it is no UTF-8 text")]
    NoText {
        /// The first line that is none, counted from 1.
        line: usize,
    },
}

/// What is no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A named pipe.
    NamedPipe,
    /// A socket.
    Socket,
    /// A device, such as `/dev/zero` or a disk.
    Device,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "a directory",
            Self::NamedPipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// A number of bytes, shown in the largest unit in which it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = |(shift, _): &&(u32, &str)| self.0 > 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.iter().find(whole) {
            Some((shift, unit)) => write!(f, "{} {unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

fn unfit(why: Unfit) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// The bytes of a file, of a pipe to its end, or of the command's input for [`STDIN`]; at most `most` of them.
///
/// # Errors
///
/// What the system says, or [`Unfit`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if path == Path::new(STDIN) {
        return whole(io::stdin().lock(), most);
    }
    let found = file(path, Some(Size(most)))?;
    if found.is_file() && found.len() > most {
        return Err(unfit(Unfit::TooLong { has: Size(found.len()), most: Size(most) }));
    }
    whole(File::open(path)?, most)
}

/// Opens a file, or a pipe, that is as long as it likes: for readers who know by themselves where it ends. [`STDIN`] is the
/// command's input.
///
/// # Errors
///
/// What the system says, or [`Unfit::NoFile`].
pub fn open(path: &Path) -> io::Result<File> {
    let path = if path == Path::new(STDIN) { Path::new("/dev/stdin") } else { path };
    file(path, None)?;
    File::open(path)
}

/// What is known of a file before it is opened, which could wait, or wake a device.
fn file(path: &Path, most: Option<Size>) -> io::Result<Metadata> {
    let found = fs::metadata(path)?;
    match kind(path, &found) {
        Some(is) => Err(unfit(Unfit::NoFile { is, most })),
        None => Ok(found),
    }
}

/// The same as [`read`], as text.
///
/// # Errors
///
/// As for [`read`], and where it is no UTF-8.
pub fn read_to_string(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        unfit(Unfit::NoText { line: 1 + good.iter().filter(|byte| **byte == b'\n').count() })
    })
}

/// What is read to its end, where the end comes soon enough.
///
/// # Errors
///
/// What the system says, or [`Unfit::Endless`].
pub fn whole(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(unfit(Unfit::Endless { most: Size(most) })),
        false => Ok(bytes),
    }
}

/// Refuses what cannot be read a second time, by this command or by one that it starts.
///
/// # Errors
///
/// [`Unfit::ReadOnce`] for pipes. What is not there or is no file is left to [`read`].
pub fn check_lasting(path: &Path) -> io::Result<()> {
    let is_pipe =
        || fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo() && is_handed_over(path));
    match path == Path::new(STDIN) || is_pipe() {
        true => Err(unfit(Unfit::ReadOnce)),
        false => Ok(()),
    }
}

/// What a path leads to where it is neither a file, nor a pipe that a shell made, nor empty for ever.
fn kind(path: &Path, found: &Metadata) -> Option<Kind> {
    let of: FileType = found.file_type();
    if of.is_dir() {
        Some(Kind::Directory)
    } else if of.is_fifo() {
        (!is_handed_over(path)).then_some(Kind::NamedPipe)
    } else if of.is_socket() {
        Some(Kind::Socket)
    } else if of.is_block_device() || of.is_char_device() {
        (found.rdev() != null_device()).then_some(Kind::Device)
    } else {
        None
    }
}

/// The number of `/dev/null`.
fn null_device() -> u64 {
    rustix::fs::makedev(1, 3)
}

/// Whether it is a pipe that this process was given: `/dev/fd/63` leads to a pipe that has no name of its own.
fn is_handed_over(path: &Path) -> bool {
    fs::canonicalize(path).is_err()
}

#[cfg(test)]
mod tests;
