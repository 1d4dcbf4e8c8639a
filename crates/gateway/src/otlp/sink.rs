//! Where requests go: the one door from a receiver thread to the telemetry store.
//!
//! A trait, so that tests can have a store that is full, slow or closing when they want it.

use std::future::Future;

use telemetry::Refusal;

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

impl Sink for telemetry::Intake {
    type Durable = telemetry::Durable;

    fn traces(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        Self::traces(self, request).map(Admission::from)
    }

    fn logs(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        Self::logs(self, request).map(Admission::from)
    }
}

impl From<telemetry::Admission> for Admission<telemetry::Durable> {
    fn from(admission: telemetry::Admission) -> Self {
        let telemetry::Admission { accepted, rejected, reason, durable } = admission;
        Self { accepted, rejected, reason, durable }
    }
}
