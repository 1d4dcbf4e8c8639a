//! When groups are due: at multiples of their interval, each moved by an amount that its name decides, so that groups of
//! one interval do not all come at once, and come at the same times after a restart.

use std::hash::Hasher;
use std::time::Duration;

use promql::rules::RuleGroup;

/// The times of one group, milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Schedule {
    interval_ms: i64,
    offset_ms: i64,
    /// The next.
    pub(crate) due_ms: i64,
}

impl Schedule {
    /// Of a group, from `now_ms` on.
    pub(crate) fn new(group: &RuleGroup, interval: Duration, now_ms: i64) -> Self {
        let interval_ms = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut hasher = Fnv::default();
        hasher.write(group.file.as_bytes());
        hasher.write(&[0xff]);
        hasher.write(group.name.as_bytes());
        let offset_ms = (hasher.finish() % interval_ms as u64) as i64;
        let mut schedule = Self { interval_ms, offset_ms, due_ms: 0 };
        schedule.due_ms = schedule.after(now_ms);
        schedule
    }

    /// The first time behind this one.
    fn after(&self, now_ms: i64) -> i64 {
        let since = now_ms.saturating_sub(self.offset_ms).rem_euclid(self.interval_ms);
        now_ms.saturating_sub(since).saturating_add(self.interval_ms)
    }

    /// Behind an evaluation that is over: the next time, and how many were left out.
    pub(crate) fn advance(&mut self, now_ms: i64) -> u64 {
        let late = now_ms.saturating_sub(self.due_ms);
        let missed = (late / self.interval_ms).max(0);
        let steps = missed.saturating_add(1).saturating_mul(self.interval_ms);
        self.due_ms = self.due_ms.saturating_add(steps);
        missed as u64
    }

    /// Where the clock was set back, the times begin anew.
    pub(crate) fn follow(&mut self, now_ms: i64) {
        if self.due_ms.saturating_sub(now_ms) > self.interval_ms {
            self.due_ms = self.after(now_ms);
        }
    }
}

/// FNV-1a: the same in every process, which the standard hasher does not promise.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(name: &str, now_ms: i64) -> Schedule {
        let group = RuleGroup {
            name: name.to_owned(),
            file: "rules.yaml".to_owned(),
            interval: None,
            query_offset: None,
            limit: 0,
            rules: Vec::new(),
        };
        Schedule::new(&group, Duration::from_secs(60), now_ms)
    }

    #[test]
    fn a_group_comes_at_the_same_place_of_every_interval() {
        let first = schedule("a", 1_000_000);
        assert!(first.due_ms > 1_000_000 && first.due_ms <= 1_060_000);
        // Also after a restart at another time.
        let later = schedule("a", 5_555_555);
        assert_eq!(first.due_ms.rem_euclid(60_000), later.due_ms.rem_euclid(60_000));
    }

    #[test]
    fn groups_are_spread() {
        let places: std::collections::BTreeSet<i64> =
            (0..100).map(|at| schedule(&format!("group-{at}"), 0).due_ms / 6_000).collect();
        assert!(places.len() >= 9, "{places:?}");
    }

    #[test]
    fn what_was_not_to_be_done_in_time_is_left_out_and_counted() {
        let mut times = schedule("a", 0);
        let due = times.due_ms;
        assert_eq!(times.advance(due + 59_000), 0);
        assert_eq!(times.due_ms, due + 60_000);
        assert_eq!(times.advance(due + 60_000 + 150_000), 2);
        assert_eq!(times.due_ms, due + 4 * 60_000);
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_rules() {
        let mut times = schedule("a", 10_000_000);
        times.follow(10_000_000);
        assert_eq!(times, schedule("a", 10_000_000));
        times.follow(5_000_000);
        assert_eq!(times, schedule("a", 5_000_000));
    }
}
