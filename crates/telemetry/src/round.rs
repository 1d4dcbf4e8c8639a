//! Waiting for the disk: requests of one group commit share a [`Round`], each holds a [`Durable`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::Refusal;

/// One group commit: ends once, for all who wait.
#[derive(Debug, Default)]
pub(crate) struct Round {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<(), Refusal>>,
    wakers: Vec<Waker>,
}

impl Round {
    /// Tells everyone how it went; once told, it stays.
    pub(crate) fn end(&self, outcome: Result<(), Refusal>) {
        let wakers = {
            let mut state = self.lock();
            state.outcome.get_or_insert(outcome);
            std::mem::take(&mut state.wakers)
        };
        self.ended.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves when the disk has what was taken in, or could not take it. A future for asynchronous receivers,
/// [`Durable::wait`] for threads.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before this resolves"]
pub struct Durable {
    /// `None` where there was nothing to write.
    round: Option<Arc<Round>>,
    /// Where this future's waker stands, once polled.
    place: Option<usize>,
}

impl Durable {
    pub(crate) fn after(round: Arc<Round>) -> Self {
        Self { round: Some(round), place: None }
    }

    /// Nothing to wait for.
    pub(crate) fn already() -> Self {
        Self { round: None, place: None }
    }

    /// Blocks until the disk has it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Disk`] where the disk did not take it, [`Refusal::Closing`] where the store closed before.
    pub fn wait(self) -> Result<(), Refusal> {
        let Some(round) = &self.round else { return Ok(()) };
        let mut state = round.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            state = round.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Durable {
    type Output = Result<(), Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(round) = self.round.clone() else { return Poll::Ready(Ok(())) };
        let mut state = round.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        match self.place {
            Some(place) => state.wakers[place].clone_from(context.waker()),
            None => {
                self.place = Some(state.wakers.len());
                state.wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}
