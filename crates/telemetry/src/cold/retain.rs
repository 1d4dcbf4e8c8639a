//! What is let go of: what is too old, what is more than may be kept, and what a disk is full of.
//!
//! The oldest goes first; what is in a bucket takes no room here but for its index, and goes by its age. Age is told by two clocks, because either may have been wrong: that of this machine when the
//! file was written, and those of the senders.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::compact::Work;
use super::unit::Unit;
use crate::derive::now_unix_nano;
use crate::intake::lock;
use crate::segment::Segment;

impl Work {
    /// Drops what is older than may be kept, the oldest of what is more than may be kept, and, where the disk was found
    /// full since this was last asked, the oldest of all.
    pub(crate) fn retain(&self) {
        let _alone = lock(&self.one_at_a_time);
        let mut bytes = self.bytes();
        let units = self.tiers.units();
        let mut indexes = units.iter().filter(|unit| unit.is_moved()).map(|unit| unit.bytes).sum::<u64>();
        for unit in units {
            let age = unit.written.elapsed().unwrap_or_default();
            // To let go of a moved unit frees its index alone: that is done where indexes take half of the room.
            let is_too_much = match unit.is_moved() {
                true => indexes > self.policy.retention_bytes / 2,
                false => bytes > self.policy.retention_bytes,
            };
            if self.is_too_old(age, unit.newest_start()) || is_too_much {
                bytes -= unit.bytes;
                indexes -= if unit.is_moved() { unit.bytes } else { 0 };
                self.let_go_of_unit(&unit);
            }
        }
        for segment in self.tiers.complete() {
            let age = age_of(&segment.path);
            if self.is_too_old(age, segment.newest_start()) || bytes > self.policy.retention_bytes {
                bytes -= segment.bytes();
                self.let_go_of_segment(&segment);
            }
        }
        self.make_room();
    }

    /// Bytes on the local disk of units and of segments that are not written to any more.
    pub(super) fn bytes(&self) -> u64 {
        let units = self.tiers.units().iter().map(|unit| unit.bytes).sum::<u64>();
        units + self.tiers.complete().iter().map(|segment| segment.bytes()).sum::<u64>()
    }

    /// Whether something that was written so long ago, with this newest start (nanoseconds since 1970), is too old. Both
    /// must be: a clock that began in 1970 and was set makes files old at once. A start that is yet to come says nothing.
    pub(super) fn is_too_old(&self, written: Duration, newest_start: u64) -> bool {
        let started = now_unix_nano().checked_sub(newest_start).map(Duration::from_nanos);
        let limit = self.policy.retention_age;
        written > limit && started.is_none_or(|started| started > limit)
    }

    /// Lets go of the oldest where the disk was full and still is, and most of what is on it is the store's: then nobody
    /// else will make room. A disk that others filled would not have any for long.
    fn make_room(&self) {
        let wanted = self.shared.wanted_room();
        if wanted == 0 {
            return;
        }
        let Ok(space) = rustix::fs::statvfs(&self.dir) else { return };
        let used = (space.f_blocks - space.f_bfree) * space.f_frsize;
        if space.f_bavail * space.f_frsize >= wanted || self.bytes() <= used / 2 {
            return;
        }
        if let Some(unit) = self.tiers.units().iter().find(|unit| !unit.is_moved()) {
            self.let_go_of_unit(unit);
        } else if let Some(segment) = self.tiers.complete().first() {
            self.let_go_of_segment(segment);
        }
    }

    fn let_go_of_unit(&self, unit: &Arc<Unit>) {
        self.tiers.remove_unit(unit);
        // What cannot be removed now is found again by the next start.
        let _ = if unit.is_moved() { unit.files.bury() } else { unit.files.remove() };
        self.shared.counters.retention_removed.add(1);
    }

    fn let_go_of_segment(&self, segment: &Arc<Segment>) {
        self.tiers.remove_segment(segment);
        let _ = fs::remove_file(&segment.path);
        self.shared.counters.retention_removed.add(1);
    }
}

/// How long ago a file was written to.
pub(super) fn age_of(path: &Path) -> Duration {
    let written = fs::metadata(path).and_then(|file| file.modified());
    written.ok().and_then(|at| at.elapsed().ok()).unwrap_or_default()
}

/// Whether so many bytes are free; so it is believed where the file system does not say.
pub(super) fn has_room(dir: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(dir).map_or(true, |space| space.f_bavail * space.f_frsize >= bytes)
}
