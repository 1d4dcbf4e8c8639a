//! The way in to a store of series, as receivers and scrapers see it.
//!
//! A trait, so that whoever decodes does not know what stores: the binary wires them. In: batches and who sends them. Out:
//! what became of each, once the disk has it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use crate::{Admission, Batch, Metrics, Refusal, SourceName};

/// Takes batches in.
pub trait MetricSink: Send + Sync {
    /// Hands a batch in. Does not wait: what becomes of it is told when the disk has it. `source` is whom limits are
    /// counted for: `otlp`, `remote_write`, or `scrape/` and the job of a target.
    fn append(&self, source: &str, batch: Batch) -> Appending;
}

/// Resolves when the disk has what was handed in, or could not take it.
pub type Appending = Pin<Box<dyn Future<Output = Result<Admission, Refusal>> + Send>>;

impl MetricSink for Metrics {
    fn append(&self, source: &str, batch: Batch) -> Appending {
        match self.submit(&SourceName::new(source), batch) {
            Ok(pending) => Box::pin(pending),
            Err(refusal) => Box::pin(std::future::ready(Err(refusal))),
        }
    }
}

/// Waits on this thread until a batch is on disk: for threads without a runtime.
///
/// # Errors
/// As the sink has them.
pub fn wait(mut appending: Appending) -> Result<Admission, Refusal> {
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
