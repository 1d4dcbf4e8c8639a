//! How much of the processor a changing set of processes uses.
//!
//! In: the processor ticks that each of them has used so far, once a second. Out: cores, averaged over the last seconds.

use std::collections::{BTreeMap, VecDeque};

use domain::{Cores, Time};

/// It is averaged over this many samples.
const SAMPLES: usize = 4;

/// Counts of one set.
#[derive(Default)]
pub(crate) struct CpuMeter {
    /// Processor ticks of each process at the last sample.
    ticks: BTreeMap<u32, u64>,
    /// Ticks used since the start of the meter, by time.
    history: VecDeque<(Time, u64)>,
}

impl CpuMeter {
    /// Takes the ticks of each process, and says what they use together; the first sample says nothing.
    pub(crate) fn count(&mut self, now: Time, seen: BTreeMap<u32, u64>) -> Option<Cores> {
        let used: u64 = seen
            .iter()
            .map(|(pid, ticks)| {
                // What a process used before it was first seen counts, except at the first sample.
                let before = if self.history.is_empty() { *ticks } else { 0 };
                ticks.saturating_sub(self.ticks.get(pid).copied().unwrap_or(before))
            })
            .sum();
        self.ticks = seen;
        let total = self.history.back().map_or(0, |(_, total)| *total) + used;
        self.history.push_back((now, total));
        if self.history.len() > SAMPLES {
            self.history.pop_front();
        }
        let (since, before) = self.history.front()?;
        let seconds = now.since(*since).as_secs_f64();
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        (seconds > 0.0).then(|| Cores((total - before) as f64 / per_second / seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time { boot_us: second * 1_000_000, wall_us: 0 }
    }

    #[test]
    fn cpu_is_the_share_of_the_last_seconds_and_survives_the_end_of_a_child() {
        let mut meter = CpuMeter::default();
        let second = rustix::param::clock_ticks_per_second();
        let first = meter.count(at(0), BTreeMap::from([(1, 500)]));
        assert_eq!(first, None, "one sample says nothing");
        let both = meter.count(at(1), BTreeMap::from([(1, 500 + second / 2), (2, second / 2)]));
        assert_eq!(both, Some(Cores(1.0)));
        assert_eq!(meter.count(at(2), BTreeMap::from([(1, 500 + second / 2)])), Some(Cores(0.5)));
    }
}
