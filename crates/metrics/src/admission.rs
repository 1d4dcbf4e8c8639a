//! What became of a batch, and why it was not taken in.
//!
//! In: what the store found of a batch of samples. Out: an [`Admission`], which says what was left out and can be waited for
//! until the disk has the rest; or a [`Refusal`] of the whole, with the time until another try.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use promql::{Sample, Value};

use crate::lock;
use crate::wire::Tally;

/// Who sends series: what limits are counted by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceName(Arc<str>);

impl SourceName {
    /// A source of this name, whatever the name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was taken in of a batch, and what was left out. Samples are refused one by one, never all for one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// Samples taken in.
    pub accepted: u64,
    /// Samples left out.
    pub refused: RefusedSamples,
    /// Of these, native histograms, but for those that were there already with the same value.
    pub refused_histograms: u64,
    /// Exemplars left out: of series that are not taken, or with labels that are not.
    pub refused_exemplars: u64,
    /// One of those that were left out, and why, in words; duplicates with the same value are not told of.
    pub reason: Option<String>,
}

/// Samples that were left out, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RefusedSamples {
    /// There is one of that time with the same value: sent again, which does no harm.
    pub repeated: u64,
    /// There is one of that time with another value; the first stays.
    pub duplicate: u64,
    /// Older than what is still taken: see `Config::late`, and raw retention.
    pub too_old: u64,
    /// Further ahead of the clock than `Config::ahead`.
    pub ahead: u64,
    /// Of new series beyond the limit of their source or of the store.
    pub over_limit: u64,
    /// Of series without labels, or with more or longer ones than are taken; or histograms with more buckets.
    pub malformed: u64,
}

impl RefusedSamples {
    /// All together.
    pub fn total(&self) -> u64 {
        self.repeated + self.duplicate + self.too_old + self.ahead + self.over_limit + self.malformed
    }

    /// All but those that were there already with the same value.
    pub fn harmful(&self) -> u64 {
        self.total() - self.repeated
    }
}

impl Admission {
    /// What was left out of what was sent, but for what was there already: that does no harm.
    pub fn left(&self) -> Tally {
        Tally {
            samples: self.refused.harmful().saturating_sub(self.refused_histograms),
            histograms: self.refused_histograms,
            exemplars: self.refused_exemplars,
            ..Tally::NONE
        }
    }

    /// Counts what of samples that are left out are histograms.
    pub(crate) fn count_histograms(&mut self, samples: &[Sample]) {
        let histograms = samples.iter().filter(|sample| matches!(sample.value, Value::Histogram(_)));
        self.refused_histograms += histograms.count() as u64;
    }

    /// Keeps the first reason.
    pub(crate) fn because(&mut self, reason: impl FnOnce() -> String) {
        if self.reason.is_none() {
            self.reason = Some(reason());
        }
    }
}

/// Why nothing of a batch was taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More is under way to the disk than may be.
    #[error("too much is waiting for the disk; send again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// Samples in memory do not get to blocks on disk as fast as they come.
    #[error("{} MiB of samples in memory wait to be written as blocks{}; send again in {} ms", bytes >> 20, because.as_deref().map(|why| format!(" ({why})")).unwrap_or_default(), retry_after.as_millis())]
    Backlog {
        /// Bytes in memory.
        bytes: u64,
        /// Why the last block was not written, where it was not.
        because: Option<String>,
        /// When to try again.
        retry_after: Duration,
    },
    /// There are as many sources as may be.
    #[error("there are {limit} sources of series already; raise the limit, or send as one of them")]
    TooManySources {
        /// So many may be.
        limit: usize,
    },
    /// The disk did not take it: it is full, or broken.
    #[error("the disk did not take it: {message}; send again in {} ms", retry_after.as_millis())]
    Disk {
        /// What the system said.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store is shutting down, or its writer ended by a defect, which it printed.
    #[error(
        "the store of series takes nothing any more: it is shutting down, or its writer ended by a defect; see its log"
    )]
    Closing,
}

/// How a batch that was handed in will have fared.
pub(crate) type Outcome = Result<Admission, Refusal>;

/// Resolves when the disk has what was handed in, or could not take it. A future for asynchronous receivers,
/// [`Pending::wait`] for threads.
#[derive(Debug)]
#[must_use = "nothing may be acknowledged before this resolves"]
pub struct Pending(pub(crate) Arc<Ticket>);

/// Where the committer says how it went.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: Mutex<(Option<Outcome>, Option<Waker>)>,
    ended: Condvar,
}

impl Ticket {
    /// Says how it went; once said, it stays.
    pub(crate) fn end(&self, outcome: Outcome) {
        let waker = {
            let mut state = lock(&self.state);
            state.0.get_or_insert(outcome);
            state.1.take()
        };
        self.ended.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Pending {
    /// Blocks until the disk has it.
    ///
    /// # Errors
    /// Where nothing of it was taken in.
    pub fn wait(self) -> Outcome {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(outcome) = &state.0 {
                return outcome.clone();
            }
            state = self.0.ended.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0.state);
        match &state.0 {
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
