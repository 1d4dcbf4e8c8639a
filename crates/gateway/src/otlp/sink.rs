//! Where requests go: the one door from a receiver thread to the telemetry store.

use std::future::Future;
use std::time::Duration;

/// One receiver thread's own entry to the store. Calls do not wait: they take all of a request or nothing.
pub trait Sink: Send + 'static {
    /// Resolves when the disk has what was taken.
    type Durable: Future<Output = Result<(), Refusal>> + 'static;

    /// Takes one `ExportTraceServiceRequest` in protobuf.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: nothing of it was taken.
    fn traces(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal>;

    /// Takes one `ExportLogsServiceRequest` in protobuf.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: nothing of it was taken.
    fn logs(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal>;
}

/// A request that was taken.
#[derive(Debug)]
pub struct Admission<D> {
    /// Items taken.
    pub accepted: u64,
    /// Items refused within an otherwise good request.
    pub rejected: u64,
    /// Why they were.
    pub reason: Option<String>,
    /// Resolves when the disk has it.
    pub durable: D,
}

/// Why nothing of a request was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is no such message.
    Malformed {
        /// Where, in bytes from the beginning of the message.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// More comes than can be taken.
    Overloaded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk does not take it.
    Disk {
        /// What the system said.
        message: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store is closing.
    Closing,
}
