//! OTLP requests, walked in place: protobuf bytes in, rows of a [`Batch`](crate::batch::Batch) out.
//!
//! One pass, no message tree: building one costs ten times what reading the bytes does. A request is taken whole or not
//! at all; a span without usable ids is left out and counted, as OTLP's partial success asks. Fields that are not known
//! are skipped, so that newer senders are understood.
//!
//! JSON, compression and transport are the gateway's; it hands over protobuf.

mod limits;
mod logs;
mod traces;
mod value;
pub(crate) mod write;

use limits::Left;
pub use limits::Limits;
pub(crate) use logs::walk_logs;
pub(crate) use traces::walk_traces;
pub(crate) use value::{attribute, owned, resource, scope, service_name, service_version};

/// What came of a request that was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Walked {
    /// Rows added.
    pub(crate) accepted: u64,
    /// Items left out, for want of usable ids.
    pub(crate) rejected: u64,
    /// What our limits left out of the accepted ones.
    pub(crate) left: Left,
}

#[cfg(test)]
mod tests;
