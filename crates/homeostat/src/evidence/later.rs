//! What failed, and when it is tried again: after pauses that grow, and no more of it than a bound.
//!
//! In: what failed and why. Out: what is due.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::Time;

/// After the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Longer are no pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// No more than this wait; beyond, what failed most often is given up.
const MAX: usize = 256;

/// Failures by what failed.
pub(super) struct Later<K, W> {
    waiting: BTreeMap<K, Waiting<W>>,
}

struct Waiting<W> {
    why: W,
    pause: Duration,
    due: Time,
}

impl<K: Ord + Copy, W> Later<K, W> {
    /// Nothing failed.
    pub(super) fn new() -> Self {
        Self { waiting: BTreeMap::new() }
    }

    /// It failed, for the first time or again.
    pub(super) fn failed(&mut self, what: K, why: W, now: Time) {
        let before = self.waiting.get(&what);
        let pause = before.map_or(FIRST_PAUSE, |before| (2 * before.pause).min(LONGEST_PAUSE));
        self.waiting.insert(what, Waiting { why, pause, due: now.plus(pause) });
        if self.waiting.len() > MAX {
            let worst = self.waiting.iter().max_by_key(|(_, waiting)| waiting.pause).map(|(what, _)| *what);
            worst.map(|worst| self.waiting.remove(&worst));
        }
    }

    /// It is not to be tried again.
    pub(super) fn over(&mut self, what: K) {
        self.waiting.remove(&what);
    }

    /// Why it failed; `None` where it does not wait.
    pub(super) fn why(&self, what: K) -> Option<&W> {
        self.waiting.get(&what).map(|waiting| &waiting.why)
    }

    /// What is to be tried now.
    pub(super) fn due(&self, now: Time) -> Vec<K> {
        self.waiting.iter().filter(|(_, waiting)| now.reached(waiting.due)).map(|(what, _)| *what).collect()
    }

    /// Why what waits failed.
    pub(super) fn reasons(&self) -> impl Iterator<Item = &W> {
        self.waiting.values().map(|waiting| &waiting.why)
    }
}

#[cfg(test)]
mod tests {
    use domain::Clock;
    use provider::clock::SystemClock;

    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_what_waits_is_bounded() {
        let mut now = SystemClock.now();
        let mut later = Later::new();
        later.failed(0, (), now);
        for seconds in [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600] {
            now = now.plus(Duration::from_secs(seconds - 1));
            assert!(later.due(now).is_empty(), "before {seconds} s");
            now = now.plus(Duration::from_secs(1));
            assert_eq!(later.due(now), [0], "after {seconds} s");
            later.failed(0, (), now);
        }
        (1..=MAX).for_each(|what| later.failed(what, (), now));
        assert_eq!(
            (later.reasons().count(), later.why(0)),
            (MAX, None),
            "what failed most often is given up"
        );
    }
}
