//! When an alert begins and when it is over.
//!
//! In: whether its condition holds, and the time. Out: that it began or ended. Ages are counted on the boot clock, so a
//! wall clock that is set does neither begin nor end one.

use std::time::Duration;

use domain::Time;
use serde::{Deserialize, Serialize};

/// Where an alert is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    /// Its condition does not hold.
    Quiet,
    /// It holds, not yet for long enough.
    Pending { since: Time },
    /// It is told.
    Firing { since: Time, held: Time },
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Began { since: Time },
    Ended { since: Time },
}

impl Phase {
    /// The next phase, and whether that is news.
    pub(crate) fn next(
        self,
        holds: bool,
        now: Time,
        hold: Duration,
        keep: Duration,
    ) -> (Self, Option<Change>) {
        match (self, holds) {
            (Self::Quiet, true) => Self::Pending { since: now }.next(true, now, hold, keep),
            (Self::Pending { since }, true) if now.since(since) >= hold => {
                (Self::Firing { since, held: now }, Some(Change::Began { since }))
            }
            (Self::Pending { since }, true) => (Self::Pending { since }, None),
            (Self::Quiet | Self::Pending { .. }, false) => (Self::Quiet, None),
            (Self::Firing { since, .. }, true) => (Self::Firing { since, held: now }, None),
            (Self::Firing { since, held }, false) if now.since(held) >= keep => {
                (Self::Quiet, Some(Change::Ended { since }))
            }
            (Self::Firing { .. }, false) => (self, None),
        }
    }
}

/// Where an alert was, to be kept elsewhere. Ages instead of times: the boot clock does not go on across a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum SavedPhase {
    /// It was not told.
    Quiet,
    /// It held, not yet for long enough.
    Pending {
        /// For so many microseconds.
        for_us: u64,
        /// Since when, on the wall clock.
        since_wall_us: i64,
    },
    /// It was told.
    Firing {
        /// For so many microseconds.
        for_us: u64,
        /// Since when, on the wall clock.
        since_wall_us: i64,
        /// For how many microseconds it had not held.
        unheld_us: u64,
    },
}

impl SavedPhase {
    pub(crate) fn of(phase: Phase, now: Time) -> Self {
        let age = |since: Time| now.boot_us.saturating_sub(since.boot_us);
        match phase {
            Phase::Quiet => Self::Quiet,
            Phase::Pending { since } => Self::Pending { for_us: age(since), since_wall_us: since.wall_us },
            Phase::Firing { since, held } => {
                Self::Firing { for_us: age(since), since_wall_us: since.wall_us, unheld_us: age(held) }
            }
        }
    }

    pub(crate) fn resume(&self, now: Time) -> Phase {
        let before = |us: u64| now.minus(Duration::from_micros(us));
        let began = |us: u64, wall_us: i64| Time { wall_us, ..before(us) };
        match *self {
            Self::Quiet => Phase::Quiet,
            Self::Pending { for_us, since_wall_us } => Phase::Pending { since: began(for_us, since_wall_us) },
            Self::Firing { for_us, since_wall_us, unheld_us } => {
                Phase::Firing { since: began(for_us, since_wall_us), held: before(unheld_us) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Time {
        Time { boot_us: seconds * 1_000_000, wall_us: 7 }
    }

    fn story(hold: Duration, keep: Duration, looks: &[(u64, bool)]) -> Vec<(u64, bool)> {
        let mut phase = Phase::Quiet;
        let mut news = Vec::new();
        for (second, holds) in looks {
            let (next, change) = phase.next(*holds, at(*second), hold, keep);
            phase = next;
            news.extend(change.map(|change| (*second, matches!(change, Change::Began { .. }))));
        }
        news
    }

    #[test]
    fn it_begins_once_it_held_for_long_enough_and_ends_once_it_did_not() {
        let looks = [
            (0, true),
            (30, true),
            (59, false),
            (60, true),
            (119, true),
            (120, true),
            (130, false),
            (190, false),
        ];
        assert_eq!(story(MINUTE, MINUTE, &looks), [(120, true), (180 + 10, false)]);
    }

    #[test]
    fn a_condition_that_comes_and_goes_is_one_alert() {
        let looks: Vec<(u64, bool)> = (0..300).map(|second| (second, second % 40 < 20)).collect();
        assert_eq!(story(Duration::ZERO, MINUTE, &looks), [(0, true)]);
        assert!(story(Duration::ZERO, Duration::ZERO, &looks).len() > 10);
    }

    #[test]
    fn a_reboot_neither_ends_it_nor_makes_it_older() {
        let firing = Phase::Firing { since: at(1000), held: at(1500) };
        let saved = SavedPhase::of(firing, at(1510));
        let resumed = saved.resume(Time { boot_us: 2_000_000_000, wall_us: 9 });
        let (still, change) = resumed.next(false, at(2049), MINUTE, MINUTE);
        assert_eq!(change, None);
        let (_, change) = still.next(false, at(2050), MINUTE, MINUTE);
        assert!(matches!(change, Some(Change::Ended { since }) if since.wall_us == 7));
    }
}
