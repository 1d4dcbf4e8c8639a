//! Why a unit was not made, and what is left alone because of it.
//!
//! What cannot be read, and what ends in a defect, would end so again, and nothing behind it would have its turn: it is
//! set aside. Where the system has no room, or does not take what is written, that is no fault of what was read.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::io::Errno;

/// A unit was not made.
#[derive(Debug)]
pub(super) struct Fault {
    /// What cannot be read: the number of a segment, or of the first segment of a unit.
    culprit: Option<u64>,
    pub(super) error: io::Error,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// Of this segment, or of the unit whose first segment this is.
    One(u64),
    /// Of some of what was taken: a defect met it.
    Unknown,
    /// Of the system; it is worth trying again.
    System,
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self { culprit: None, error }
    }
}

impl Fault {
    /// The segment of this number, or the unit whose first segment it is, cannot be read.
    pub(super) fn reading(culprit: Option<u64>, error: io::Error) -> Self {
        Self { culprit, error }
    }

    pub(super) fn blame(&self) -> Blame {
        match self.culprit {
            _ if is_want(&self.error) => Blame::System,
            Some(number) => Blame::One(number),
            None if self.error.raw_os_error().is_some() => Blame::System,
            None => Blame::Unknown,
        }
    }
}

/// Whether the system lacked something: room, memory, files to open.
pub(super) fn is_want(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    is_full(error) || error.kind() == io::ErrorKind::OutOfMemory || lacking.contains(&error.raw_os_error())
}

/// Whether there was no room on the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes something; a panic, which is a defect and was printed, is a fault as others are. What it leaves half-done are
/// files that do not count.
pub(super) fn caught<T>(make: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let defect = |_| Err(io::Error::other("a defect ended it; see the panic that was printed").into());
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(defect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_to_blame_and_what_the_system_lacks_is_not() {
        let of = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for (culprit, error, blame) in [
            (Some(7), of(Errno::IO), Blame::One(7)),
            (Some(7), io::ErrorKind::UnexpectedEof.into(), Blame::One(7)),
            (Some(7), io::Error::other("nonsense"), Blame::One(7)),
            (Some(7), of(Errno::MFILE), Blame::System),
            (None, of(Errno::NOSPC), Blame::System),
            (None, of(Errno::ROFS), Blame::System),
            (None, io::ErrorKind::StorageFull.into(), Blame::System),
            (None, io::Error::other("a defect"), Blame::Unknown),
        ] {
            let fault = Fault::reading(culprit, error);
            assert_eq!(fault.blame(), blame, "{fault:?}");
        }
    }
}
