//! The way in to a store of series, as receivers and scrapers see it.
//!
//! A trait, so that whoever decodes does not know what stores: the binary wires them. In: batches and who sends them. Out:
//! what became of each, once the disk has it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::Batch;
use crate::wire::Tally;

/// Takes batches in.
pub trait MetricSink: Send + Sync {
    /// Hands a batch in. Does not wait: what becomes of it is told when the disk has it. `source` is whom limits are
    /// counted for: `otlp`, `remote_write`, or `scrape/` and the job of a target.
    fn append(&self, source: &str, batch: Batch) -> Appending;
}

/// Resolves when the disk has what was handed in, or could not take it.
pub type Appending = Pin<Box<dyn Future<Output = Result<Appended, NotAppended>> + Send>>;

/// A batch that was taken, perhaps in part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Appended {
    /// What was not taken of it: too old, contradicted by what is there, beyond a limit. What is there already with the
    /// same value is no part of it.
    pub refused: Tally,
    /// Why, in words, for one of them.
    pub reason: Option<String>,
}

/// Nothing of a batch was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAppended {
    /// More comes than can be stored.
    #[error("more comes than can be stored; send it again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk did not take it: it is full, or broken.
    #[error("the disk did not take it: {message}; send it again in {} ms", retry_after.as_millis())]
    Disk {
        /// What the system said.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Its source is one too many, or may not send.
    #[error("{0}")]
    Forbidden(String),
    /// The store is closing.
    #[error("the store of series is closing")]
    Closing,
}

/// Waits on this thread until a batch is on disk: for threads without a runtime.
///
/// # Errors
/// As the sink has them.
pub fn wait(mut appending: Appending) -> Result<Appended, NotAppended> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match appending.as_mut().poll(&mut context) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}
