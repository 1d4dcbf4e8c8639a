//! OTLP receivers: gRPC and HTTP, traces, logs and metrics.
//!
//! ```text
//! connection ─► receiver thread: head ─► body ─► decompress ─► Sink ─► group commit ─► answer
//!               (one for each core)       │          │          │          │
//!                                         └──────────┴── refused, counted ─┘
//! ```
//!
//! In: connections. Out: whole requests in protobuf, handed to a [`Sink`] in place, and answers after the disk has
//! them. What is not taken is refused with the status, the reason and, where it makes sense, the time to try again.
//!
//! Metrics become batches of series for a [`metrics::MetricSink`], where one is given ([`Metrics`]); Prometheus'
//! remote-write comes by the same port as OTLP over HTTP, at `/api/v1/write`. Without one, metrics are answered as
//! partial success with every data point rejected, and remote-write is not found.
//!
//! Beyond loopback they speak TLS and ask for a token ([`Exposure`]); programs of this machine are served on loopback
//! as before, then on ports of their own where the wide address has taken the configured ones.
//!
//! Deliberately absent: a message tree (the store walks the bytes), queues (a request that cannot be taken is
//! refused, its client keeps it).

mod body;
mod config;
mod connection;
mod counts;
pub(crate) mod decompress;
mod exposed;
pub(crate) mod grpc;
mod http;
pub(crate) mod json;
pub(crate) mod points;
mod receiver;
pub(crate) mod refused;
mod remote_write;
mod series;
mod serve;
pub(crate) mod signal;
mod sink;

pub use config::{Limits, OtlpConfig};
pub use counts::{Counts, Protocol, Reason, Via};
pub use exposed::{Authorize, Denial, Denied, Exposure};
pub use series::Metrics;
pub use serve::{OtlpError, OtlpReceivers, Running};
pub use sink::{Admission, Sink};
