//! Counts what ended on one link, second by second.
//!
//! In: the ending of each request. Out: the last 60 complete seconds. Recording allocates only for the first
//! request of a second at an instance, and for a latency bucket not yet seen in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{InstanceName, Time};

use super::lock;
use crate::sample::{Counts, LinkSecond};

/// Complete seconds that are kept: what [`crate::sample::LinkSample`] promises.
const KEPT_SECONDS: u64 = 60;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With an answer that is neither 429 nor 5xx.
    Answered,
    /// With 5xx.
    Failed,
    /// With 429.
    Throttled,
    /// Without any answer.
    Unanswered,
}

/// How old the connection to the instance was when the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// More than 5 s.
    Old,
    /// 5 s or less, or there was no connection.
    New,
}

impl Age {
    /// Of a connection opened at `opened`, seen by a request that came at `came`.
    pub(super) fn of(opened: Option<Time>, came: Time) -> Self {
        const OLD: Duration = Duration::from_secs(5);
        if opened.is_some_and(|opened| came.since(opened) > OLD) { Self::Old } else { Self::New }
    }
}

/// The counts of one link.
#[derive(Debug, Default)]
pub(super) struct Counter {
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// The running second is the last.
    seconds: VecDeque<Arc<LinkSecond>>,
    any: bool,
}

impl Counter {
    /// Counts a request that ended now. Without `latency` it does not show in the histogram.
    pub(super) fn ended(
        &self,
        now: Time,
        backend: Option<&InstanceName>,
        age: Age,
        ending: Ending,
        latency: Option<Duration>,
    ) {
        let mut tally = lock(&self.tally);
        let counts = counts_of(tally.running(now), backend, age == Age::Old);
        counts.requests += 1;
        counts.errors += u64::from(ending != Ending::Answered);
        counts.throttled += u64::from(ending == Ending::Throttled);
        counts.unanswered += u64::from(ending == Ending::Unanswered);
        if let Some(latency) = latency {
            counts.latency.record(latency);
        }
    }

    /// Counts a request that the breaker answered now.
    pub(super) fn rejected(&self, now: Time) {
        lock(&self.tally).running(now).rejected += 1;
    }

    /// The complete seconds, oldest first.
    pub(super) fn complete(&self, now: Time) -> VecDeque<Arc<LinkSecond>> {
        let running = second_of(now);
        let kept = running.saturating_sub(KEPT_SECONDS)..running;
        lock(&self.tally).seconds.iter().filter(|second| kept.contains(&second.second)).cloned().collect()
    }

    /// Whether anything was ever counted.
    pub(super) fn any(&self) -> bool {
        lock(&self.tally).any
    }
}

impl Tally {
    /// The counts of the second that is running.
    fn running(&mut self, now: Time) -> &mut LinkSecond {
        self.any = true;
        let second = second_of(now);
        let last = self.seconds.back().map(|last| last.second);
        // A thread that read the clock just before another may come just after it; its request then counts
        // in the later second.
        if last.is_none_or(|last| last < second) {
            while self.seconds.front().is_some_and(|first| first.second + KEPT_SECONDS < second) {
                self.seconds.pop_front();
            }
            self.seconds.push_back(Arc::new(LinkSecond { second, ..LinkSecond::default() }));
        }
        let last = self.seconds.len() - 1;
        // Looks share complete seconds; the running one is ours alone.
        Arc::make_mut(&mut self.seconds[last])
    }
}

fn second_of(now: Time) -> u64 {
    now.boot_us / 1_000_000
}

fn counts_of<'a>(
    second: &'a mut LinkSecond,
    backend: Option<&InstanceName>,
    old_connection: bool,
) -> &'a mut Counts {
    let same =
        |counts: &Counts| counts.old_connection == old_connection && counts.backend.as_ref() == backend;
    let at = second.counts.iter().position(same).unwrap_or_else(|| {
        second.counts.push(Counts { backend: backend.cloned(), old_connection, ..Counts::default() });
        second.counts.len() - 1
    });
    &mut second.counts[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Time {
        Time { boot_us: second * 1_000_000 + 7, wall_us: 0 }
    }

    #[test]
    fn only_complete_seconds_are_shown_and_sixty_of_them() {
        let counter = Counter::default();
        assert!(!counter.any());
        for second in 100..=200 {
            counter.ended(at(second), None, Age::New, Ending::Answered, Some(Duration::from_millis(1)));
        }
        let seconds = counter.complete(at(200));
        assert_eq!(seconds.len(), 60);
        assert_eq!((seconds[0].second, seconds[59].second), (140, 199));
        assert!(counter.any());
    }

    #[test]
    fn endings_are_told_apart() {
        let counter = Counter::default();
        let cart: InstanceName = "cart-0".parse().unwrap();
        for ending in [Ending::Answered, Ending::Failed, Ending::Throttled, Ending::Unanswered] {
            counter.ended(at(1), Some(&cart), Age::Old, ending, Some(Duration::from_millis(10)));
        }
        counter.ended(at(1), Some(&cart), Age::New, Ending::Unanswered, None);
        counter.rejected(at(1));
        let seconds = counter.complete(at(2));
        let (old, new) = (&seconds[0].counts[0], &seconds[0].counts[1]);
        assert_eq!(seconds[0].rejected, 1);
        assert_eq!((old.requests, old.errors, old.throttled, old.unanswered), (4, 3, 1, 1));
        assert_eq!((old.latency.count(), old.old_connection), (4, true));
        assert_eq!((new.requests, new.latency.count(), new.old_connection), (1, 0, false));
        assert_eq!(new.backend.as_ref(), Some(&cart));
    }

    #[test]
    fn a_connection_is_old_after_five_seconds() {
        assert_eq!(Age::of(Some(at(10)), at(15)), Age::New);
        assert_eq!(Age::of(Some(at(10)), at(16)), Age::Old);
        assert_eq!(Age::of(None, at(16)), Age::New);
    }
}
