//! One receiver thread's way of metrics: requests decoded into batches, batches handed to the store of series.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use metrics::wire::remote::{self, Version};
use metrics::wire::{self, Decoded, Unreadable, otlp};
use metrics::{Appending, Batch, MetricSink};

/// Where metrics go, and how they are read. Cloned for each receiver thread.
#[derive(Clone)]
pub struct Metrics {
    /// The store of series.
    pub sink: Arc<dyn MetricSink>,
    /// What one request may hold. The bytes of a message are those of [`super::Limits::message_bytes`].
    pub limits: wire::Limits,
    /// How OTLP becomes series.
    pub otlp: otlp::Config,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("limits", &self.limits)
            .field("otlp", &self.otlp)
            .finish_non_exhaustive()
    }
}

/// The decoders of one receiver thread: each knows the series that came to it before.
pub(crate) struct Series {
    sink: Arc<dyn MetricSink>,
    otlp: RefCell<otlp::Decoder>,
    remote_write: RefCell<remote::Decoder>,
}

impl Series {
    pub(crate) fn new(Metrics { sink, limits, otlp }: Metrics) -> Self {
        Self {
            sink,
            otlp: RefCell::new(otlp::Decoder::new(limits, otlp)),
            remote_write: RefCell::new(remote::Decoder::new(limits)),
        }
    }

    pub(crate) fn otlp(&self, request: &[u8]) -> Result<Decoded, Unreadable> {
        self.otlp.borrow_mut().decode(request)
    }

    pub(crate) fn remote_write(&self, version: Version, body: &[u8]) -> Result<Decoded, Unreadable> {
        self.remote_write.borrow_mut().decode(version, body)
    }

    pub(crate) fn append(&self, source: &str, batch: Batch) -> Appending {
        self.sink.append(source, batch)
    }
}
