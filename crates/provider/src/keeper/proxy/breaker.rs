//! The circuit breaker of one link, its states as methods.
//!
//! In: whether a plan holds it open, how requests ended, and the time. Out: whether a request may pass. Pure:
//! no clock, no I/O.
//!
//! ```text
//!            hold_open                    release            5 successes in a row, or
//!  Closed ──────────────▶ Open ──────────────────▶ HalfOpen ──────────────────────────▶ Closed
//!                                                            1, and 10 s without a failure
//! ```
//!
//! The second way is for a link that carries little: callers that keep a few TCP connections for long open no
//! five new ones.
//!
//! Deliberately absent: opening by itself. Whether a dependency is given up is the healing loop's decision,
//! which sees causes; a breaker that opened on its own would hide them and take the decision away.

use std::time::Duration;

use domain::Time;
use domain::snapshot::BreakerState;

/// Requests a half-open breaker lets pass at once, and successes in a row that close it. Five is enough to
/// tell a well callee from one that answers every other request, and too few to bury one that is coming up.
const TRIALS: u32 = 5;

/// So long without a failure, and one success is enough: twice the time after which a request is given up.
const CALM: Duration = Duration::from_secs(10);

/// The breaker.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    /// Counts half-open times, so that a trial of an earlier one is not taken for one of this.
    round: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open,
    HalfOpen(Trials),
}

#[derive(Debug)]
struct Trials {
    /// How many may be under way at once: 1 to [`TRIALS`].
    allowed: u32,
    under_way: u32,
    successes: u32,
    /// When a trial failed last, or the trials began.
    calm_since: Time,
}

/// Leave to pass, to be handed back when the request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// The breaker was closed; how it ended does not matter.
    Free,
    /// One of the few that tell whether the callee is well.
    Trial { round: u64 },
}

/// How a request that had passed ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    Succeeded,
    Failed,
    /// The caller went away before it could be told.
    Abandoned,
}

impl Breaker {
    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open => BreakerState::Open,
            State::HalfOpen(_) => BreakerState::HalfOpen,
        }
    }

    /// Answers every request from now on.
    pub(super) fn hold_open(&mut self) {
        self.state = State::Open;
    }

    /// Lets a few requests try the callee. Does nothing unless it is open.
    pub(super) fn release(&mut self, now: Time) {
        if matches!(self.state, State::Open) {
            self.round += 1;
            let trials = Trials { allowed: TRIALS, under_way: 0, successes: 0, calm_since: now };
            self.state = State::HalfOpen(trials);
        }
    }

    /// Closes it where it has been half-open for long enough without a failure.
    pub(super) fn settle(&mut self, now: Time) {
        if let State::HalfOpen(trials) = &self.state
            && trials.successes > 0
            && now.since(trials.calm_since) >= CALM
        {
            self.state = State::Closed;
        }
    }

    /// Asks for leave; `None` is "answer it yourself".
    pub(super) fn admit(&mut self) -> Option<Pass> {
        match &mut self.state {
            State::Closed => Some(Pass::Free),
            State::Open => None,
            State::HalfOpen(trials) if trials.under_way >= trials.allowed => None,
            State::HalfOpen(trials) => {
                trials.under_way += 1;
                Some(Pass::Trial { round: self.round })
            }
        }
    }

    /// Hands leave back.
    pub(super) fn ended(&mut self, pass: Pass, trial: Trial, now: Time) {
        let Pass::Trial { round } = pass else { return };
        let State::HalfOpen(trials) = &mut self.state else { return };
        if round != self.round {
            return;
        }
        trials.under_way = trials.under_way.saturating_sub(1);
        match trial {
            Trial::Succeeded => {
                trials.successes += 1;
                trials.allowed = (trials.allowed + 1).min(TRIALS);
                if trials.successes >= TRIALS {
                    self.state = State::Closed;
                }
            }
            Trial::Failed => {
                trials.successes = 0;
                trials.calm_since = now;
                trials.allowed = (trials.allowed / 2).max(1);
            }
            Trial::Abandoned => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time { boot_us: 0, wall_us: 0 };

    fn half_open() -> Breaker {
        let mut breaker = Breaker::default();
        breaker.hold_open();
        breaker.release(START);
        breaker
    }

    /// How many pass before one is turned away.
    fn room(breaker: &mut Breaker) -> Vec<Pass> {
        std::iter::from_fn(|| breaker.admit()).take(100).collect()
    }

    #[test]
    fn a_breaker_nobody_opened_stays_closed_whatever_fails() {
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            let pass = breaker.admit().unwrap();
            breaker.ended(pass, Trial::Failed, START);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn held_open_nothing_passes_and_released_only_a_few_do() {
        let mut breaker = Breaker::default();
        breaker.hold_open();
        assert_eq!(breaker.admit(), None);
        breaker.release(START);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(room(&mut breaker).len(), 5);
    }

    #[test]
    fn five_successes_in_a_row_close_it() {
        let mut breaker = half_open();
        for trial in [Trial::Succeeded; 4].into_iter().chain([Trial::Failed]).chain([Trial::Succeeded; 4]) {
            let pass = breaker.admit().unwrap();
            breaker.ended(pass, trial, START);
            assert_eq!(breaker.state(), BreakerState::HalfOpen);
        }
        let pass = breaker.admit().unwrap();
        breaker.ended(pass, Trial::Succeeded, START);
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn failures_let_fewer_pass_but_always_one() {
        let mut breaker = half_open();
        for left in [2, 1, 1] {
            let pass = breaker.admit().unwrap();
            breaker.ended(pass, Trial::Failed, START);
            let passed = room(&mut breaker);
            assert_eq!(passed.len(), left);
            for pass in passed {
                breaker.ended(pass, Trial::Abandoned, START);
            }
        }
    }

    #[test]
    fn an_abandoned_trial_frees_its_place_and_proves_nothing() {
        let mut breaker = half_open();
        for _ in 0..50 {
            let pass = breaker.admit().unwrap();
            breaker.ended(pass, Trial::Abandoned, START);
        }
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(room(&mut breaker).len(), 5);
    }

    #[test]
    fn requests_of_an_earlier_time_do_not_count() {
        let mut breaker = Breaker::default();
        let free = breaker.admit().unwrap();
        breaker.hold_open();
        breaker.release(START);
        let early: Vec<_> = room(&mut breaker);
        breaker.hold_open();
        breaker.release(START);
        for pass in early.into_iter().chain([free]) {
            breaker.ended(pass, Trial::Succeeded, START);
        }
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(room(&mut breaker).len(), 5);
    }

    #[test]
    fn one_success_and_ten_seconds_without_a_failure_close_it() {
        let mut breaker = half_open();
        let at = |seconds| START.plus(Duration::from_secs(seconds));
        let end = |breaker: &mut Breaker, trial, now| {
            let pass = breaker.admit().unwrap();
            breaker.ended(pass, trial, now);
        };
        let after = |breaker: &mut Breaker, seconds| {
            breaker.settle(at(seconds));
            breaker.state()
        };
        assert_eq!(after(&mut breaker, 60), BreakerState::HalfOpen, "nothing is known yet");
        end(&mut breaker, Trial::Succeeded, at(61));
        end(&mut breaker, Trial::Failed, at(62));
        assert_eq!(after(&mut breaker, 80), BreakerState::HalfOpen, "the last one failed");
        end(&mut breaker, Trial::Failed, at(83));
        end(&mut breaker, Trial::Succeeded, at(84));
        assert_eq!(after(&mut breaker, 92), BreakerState::HalfOpen);
        assert_eq!(after(&mut breaker, 93), BreakerState::Closed);
    }
}
