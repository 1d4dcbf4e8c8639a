//! A clock that moves when somebody waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::{Clock, Time};

/// 2026-01-01T00:00:00Z: the wall clock at virtual boot.
const WALL_AT_BOOT_US: i64 = 1_767_225_600_000_000;

/// Time starts an hour after a virtual boot and passes only in [`Clock::wait`].
#[derive(Debug)]
pub struct VirtualClock {
    boot_us: AtomicU64,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self { boot_us: AtomicU64::new(3_600_000_000) }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Time {
        let boot_us = self.boot_us.load(Ordering::SeqCst);
        Time { boot_us, wall_us: WALL_AT_BOOT_US + i64::try_from(boot_us).unwrap_or(i64::MAX / 2) }
    }

    fn wait(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX / 2);
        self.boot_us.fetch_add(us, Ordering::SeqCst);
        // Lets threads that share the clock take turns.
        std::thread::yield_now();
    }
}
