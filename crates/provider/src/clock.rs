//! The machine's clocks: `CLOCK_BOOTTIME` for arithmetic, the wall clock for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::{Clock, Time};

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `boot` is a valid, writable timespec for the length of the call.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut boot) } != 0;
        assert!(!failed, "CLOCK_BOOTTIME exists since Linux 2.6.39");
        #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
        let wall_us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
        };
        Time { boot_us: boot.tv_sec as u64 * 1_000_000 + boot.tv_nsec as u64 / 1000, wall_us }
    }

    fn wait(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_moves_the_boot_clock_by_at_least_as_much() {
        let before = SystemClock.now();
        SystemClock.wait(Duration::from_millis(5));
        assert!(SystemClock.now().since(before) >= Duration::from_millis(5));
    }
}
