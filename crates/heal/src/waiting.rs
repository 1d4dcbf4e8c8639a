//! When the loop looks again.
//!
//! In: what is under way, and why nothing is done about each issue. Out: a time to sleep. What is under way, or
//! ends within moments, is looked at four times a second; what ends at a known time is looked at then; what
//! waits for a person, or is beyond repair, is no reason to look oftener than once a second.

use std::time::Duration;

use domain::{IssueId, Time};

use crate::healer::Healer;

/// Between two looks when nothing is under way: rates have no events.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Between two looks while something is under way.
const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// For this long what ends within moments is looked for: the longest a standing restart is waited for. What
/// takes longer is no matter of moments.
const BRIEF_MAX: Duration = Duration::from_secs(60);

/// Why nothing is done about an issue now, and when that may be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) why: String,
    pub(crate) ends: Ends,
}

/// When what is waited for may be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// At any moment, and only looking tells. Since when that is so.
    AnyMoment {
        /// When the issue began to wait like this.
        since: Time,
    },
    /// At this time.
    At(Time),
    /// Nobody knows: a person, another plan, or never. What ends it asks for a turn.
    Unknown,
}

impl Healer {
    /// Whether something is under way, or about to be, that only looking tells of: look again soon.
    pub fn is_busy(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let soon = |waiting: &Waiting| match waiting.ends {
            Ends::AnyMoment { since } => now.since(since) < BRIEF_MAX,
            Ends::At(_) | Ends::Unknown => false,
        };
        self.parts.executor.is_settling()
            || !state.watches.is_empty()
            || !state.executing.is_empty()
            || state.waiting.values().any(soon)
    }

    /// How long nothing can have changed that no event tells of.
    pub(crate) fn next_look(&self) -> Duration {
        if self.is_busy() {
            return BUSY_INTERVAL;
        }
        let now = self.now();
        let due = |waiting: &Waiting| match waiting.ends {
            // One that is past was looked at: the issue waits for something else, or was not seen again.
            Ends::At(at) if !now.reached(at) => Some(at.since(now)),
            _ => None,
        };
        let next = self.state().waiting.values().filter_map(due).min();
        next.map_or(LOOK_INTERVAL, |next| next.min(LOOK_INTERVAL))
    }

    /// Notes why nothing is done about an issue. Returns what was noted before.
    pub(crate) fn note_waiting(&self, issue: IssueId, why: String, ends: Ends) -> Option<String> {
        let mut state = self.state();
        let before = state.waiting.get(&issue);
        let ends = match (ends, before.map(|waiting| waiting.ends)) {
            (Ends::AnyMoment { .. }, Some(Ends::AnyMoment { since })) => Ends::AnyMoment { since },
            (ends, _) => ends,
        };
        state.waiting.insert(issue, Waiting { why, ends }).map(|waiting| waiting.why)
    }
}
