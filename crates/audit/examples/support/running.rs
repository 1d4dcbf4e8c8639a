//! A clock for trails of which only distances in time matter.

use std::thread;
use std::time::{Duration, Instant};

use domain::{Clock, Time};

/// Time goes on by itself from an arbitrary date.
pub(crate) struct Running(pub(crate) Instant);

impl Clock for Running {
    fn now(&self) -> Time {
        let us = self.0.elapsed().as_micros() as u64;
        Time { boot_us: us, wall_us: 1_700_000_000_000_000 + us as i64 }
    }

    fn wait(&self, duration: Duration) {
        thread::sleep(duration);
    }
}
