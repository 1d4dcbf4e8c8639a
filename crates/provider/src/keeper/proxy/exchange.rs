//! One request (HTTP) or connection (TCP) on its way through the link, from its arrival to its ending.
//!
//! In: what happened on the way. Out: exactly one count, one report to the breaker and one to the health of
//! the instance, also where the caller goes away in between.

use std::sync::Arc;
use std::time::Duration;

use domain::Time;

use super::Core;
use super::balance::{Lease, Slot};
use super::breaker::{Pass, Trial};
use super::count::{Age, Ending};
use super::pool::Lifeline;

/// A caller that goes away after this long without an answer gave up, and that counts as unanswered; one
/// that goes away sooner had reasons of its own (it was stopped, its own caller left) and counts as nothing.
/// Half a second: hardly anyone sets a shorter time limit, and healthy services answer well within it.
const GAVE_UP: Duration = Duration::from_millis(500);

/// Why there is no answer from an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("no instance is ready to take the request")]
    NoBackend,
    #[error("no connection to the instance could be made")]
    NoConnection,
    #[error("the connection to the instance broke before an answer came")]
    Broken,
    #[error("the instance did not answer within the time limit")]
    TimedOut,
    #[error("too many requests on this path")]
    Throttled,
}

impl Failure {
    pub(super) fn ending(self) -> Ending {
        match self {
            Self::Throttled => Ending::Throttled,
            Self::NoBackend | Self::NoConnection | Self::Broken | Self::TimedOut => Ending::Unanswered,
        }
    }
}

/// See the module.
pub(super) struct Exchange {
    core: Arc<Core>,
    pass: Pass,
    began: Time,
    slot: Option<Arc<Slot>>,
    over: Option<Arc<Lifeline>>,
    ended: bool,
}

impl Exchange {
    /// Begins one, or counts it as rejected where the breaker is open.
    pub(super) fn begin(core: &Arc<Core>) -> Option<Self> {
        let pass = core.enter()?;
        let core = Arc::clone(core);
        let began = core.now();
        Some(Self { core, pass, began, slot: None, over: None, ended: false })
    }

    /// Chooses an instance, another one than was tried before.
    pub(super) fn choose(&mut self) -> Result<Lease, Failure> {
        let tried = self.slot.as_ref().map(|slot| &slot.instance);
        let lease = self.core.choose(tried).ok_or(Failure::NoBackend)?;
        self.slot = Some(Arc::clone(lease.slot()));
        self.over = None;
        Ok(lease)
    }

    /// No connection could be made to the chosen instance, and another one is to be tried. Returns what to
    /// try, or the failure that stays where there is no other.
    pub(super) fn choose_another(&mut self) -> Result<Lease, Failure> {
        let tried = self.slot.clone();
        let lease = self.choose().map_err(|_| Failure::NoConnection)?;
        if let Some(tried) = tried {
            self.core.failed(&tried);
        }
        Ok(lease)
    }

    /// It goes over this connection.
    pub(super) fn goes_over(&mut self, life: &Arc<Lifeline>) {
        self.over = Some(Arc::clone(life));
    }

    /// This much of the time so far was the caller's own and does not count.
    pub(super) fn discount(&mut self, idle: Duration) {
        self.began = self.began.plus(idle);
    }

    /// Counts it, once.
    pub(super) fn end(&mut self, ending: Ending) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.report(ending);
        self.count(ending);
        let trial = if ending == Ending::Answered { Trial::Succeeded } else { Trial::Failed };
        self.core.leave(self.pass, trial);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How the path fared, for the health of the instance. An answer of 5xx is an answer: what an instance
    /// says of itself is for its probes and for diagnosis. What the proxy said is neither.
    fn report(&self, ending: Ending) {
        match (&self.slot, ending) {
            (Some(slot), Ending::Unanswered) => self.core.failed(slot),
            (Some(slot), Ending::Answered | Ending::Failed) => slot.answered(),
            (_, Ending::Throttled) | (None, _) => {}
        }
    }

    fn count(&self, ending: Ending) {
        let now = self.core.now();
        let instance = self.slot.as_ref().map(|slot| &slot.instance);
        let took = now.since(self.began);
        let age = Age::of(self.over.as_ref().map(|life| life.opened), self.began);
        if let (Some(life), Ending::Answered | Ending::Failed) = (&self.over, ending) {
            life.carried(took, now);
        }
        self.core.counter.ended(now, instance, age, ending, Some(took));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.core.now().since(self.began) >= GAVE_UP {
            self.end(Ending::Unanswered);
        } else {
            self.core.leave(self.pass, Trial::Abandoned);
        }
    }
}
