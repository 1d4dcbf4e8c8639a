//! Time as a pair: the wall clock for people, the boot clock for arithmetic.
//!
//! Faults skew wall clocks and people set them, so every age, deadline and rate is counted on the boot
//! clock. It does not go on across a reboot, so two times are only compared within one boot; the wall clock
//! is for showing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    /// Microseconds of `CLOCK_BOOTTIME` since the machine started.
    pub boot_us: u64,
    /// Microseconds of the wall clock since 1970-01-01 UTC.
    pub wall_us: i64,
}

impl Time {
    /// The age of `earlier` seen from here, zero where `earlier` is later. Both must be from one boot.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.boot_us.saturating_sub(earlier.boot_us))
    }

    /// This time moved forward on both clocks.
    pub fn plus(self, by: Duration) -> Self {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self {
            boot_us: self.boot_us.saturating_add(us),
            wall_us: self.wall_us.saturating_add(i64::try_from(us).unwrap_or(i64::MAX)),
        }
    }

    /// This time moved back on both clocks, not before zero.
    pub fn minus(self, by: Duration) -> Self {
        let us = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        Self {
            boot_us: self.boot_us.saturating_sub(us),
            wall_us: self.wall_us.saturating_sub(i64::try_from(us).unwrap_or(i64::MAX)),
        }
    }

    /// Whether `due` has come.
    pub fn reached(self, due: Self) -> bool {
        self.boot_us >= due.boot_us
    }

    /// The wall clock in RFC 3339, UTC, with milliseconds: `2026-11-21T03:00:00.000Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_microsecond(self.wall_us)
            .map(|stamp| format!("{stamp:.3}"))
            .unwrap_or_else(|_| "out of range".to_owned())
    }
}

/// Where time comes from. The binary hands in the machine's clocks; simulation hands in a virtual one.
pub trait Clock: Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Time;

    /// Lets `duration` pass: blocks on a real clock, moves a virtual one.
    fn wait(&self, duration: Duration);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_does_not_change_an_age() {
        let earlier = Time { boot_us: 1_000_000, wall_us: 900_000_000 };
        let later = Time { boot_us: 3_000_000, wall_us: 100 };
        assert_eq!(later.since(earlier), Duration::from_secs(2));
    }

    #[test]
    fn shown_in_rfc3339_utc() {
        let time = Time { boot_us: 0, wall_us: 1_700_000_000_123_456 };
        assert_eq!(time.rfc3339(), "2023-11-14T22:13:20.123Z");
    }
}
