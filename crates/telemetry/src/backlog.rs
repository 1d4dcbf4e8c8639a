//! What waits for compaction, and whether intake has to wait for it.
//!
//! In: the bytes of complete segments, whenever they change. Out: the count, and a gate that closes at a bound and
//! opens again below it, so that senders are not let in and turned away by turns.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The least bound that makes sense: with one segment being compacted there is room for another.
pub const BACKLOG_BYTES_MIN: u64 = 2 * SEGMENT_BYTES;

/// A segment is closed at this size where nothing else is said.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// A closed gate opens when a quarter of the bound is gone, or this much where it is less: tracing libraries give a
/// request up after some 30 s, and compaction takes 5 to 10 s for so much.
const OPENS_AFTER_MAX: u64 = 256 << 20;

/// What waits for compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes of complete segments that were not compacted yet; segments set aside for damage are not among them.
    pub bytes: u64,
    /// From so many on nothing is taken in, until a quarter of it is gone, or 256 MiB. [`u64::MAX`] where nothing is ever
    /// compacted.
    pub bytes_max: u64,
    /// Whether intake is refused now.
    pub refusing: bool,
}

/// The count and the gate.
#[derive(Debug)]
pub(crate) struct Gate {
    bytes: AtomicU64,
    bytes_max: u64,
    refusing: AtomicBool,
}

impl Default for Gate {
    /// A gate that never closes.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl Gate {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max, refusing: AtomicBool::new(false) }
    }

    /// Takes note of what waits now. Called by one thread at a time.
    pub(crate) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        let bound = if self.refuses() { self.open_below() } else { self.bytes_max };
        self.refusing.store(bytes >= bound, Ordering::Relaxed);
    }

    /// Whether intake has to wait.
    #[inline]
    pub(crate) fn refuses(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// With more than this waiting, segments are compacted before their time: otherwise a closed gate would stay closed
    /// until then.
    pub(crate) fn crowded_above(&self) -> u64 {
        self.bytes_max / 2
    }

    pub(crate) fn now(&self) -> Backlog {
        Backlog {
            bytes: self.bytes.load(Ordering::Relaxed),
            bytes_max: self.bytes_max,
            refusing: self.refuses(),
        }
    }

    fn open_below(&self) -> u64 {
        self.bytes_max - (self.bytes_max / 4).min(OPENS_AFTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_closes_at_the_bound_and_opens_when_a_quarter_is_gone() {
        let gate = Gate::new(100);
        let refuses: Vec<bool> = [0, 99, 100, 99, 75, 74, 99, 150, 75, 0]
            .map(|bytes| {
                gate.set(bytes);
                gate.refuses()
            })
            .into();
        assert_eq!(refuses, [false, false, true, true, true, false, false, true, true, false]);
        assert!(gate.crowded_above() < gate.open_below(), "compaction goes on until the gate opens");
    }

    #[test]
    fn a_large_bound_does_not_keep_senders_out_until_a_quarter_is_gone() {
        let gate = Gate::new(5 << 30);
        gate.set(5 << 30);
        gate.set((5 << 30) - (256 << 20));
        assert!(gate.refuses());
        gate.set((5 << 30) - (256 << 20) - 1);
        assert!(!gate.refuses(), "{:?}", gate.now());
    }
}
