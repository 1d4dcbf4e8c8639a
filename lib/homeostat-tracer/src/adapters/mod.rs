//! Adapters to other libraries, each behind a feature of its name.
//!
//! In: their requests and spans. Out: ours, with the names of OpenTelemetry's semantic conventions. Nothing
//! here is on the path of a service that does not ask for it.

#[cfg(any(feature = "tower", feature = "reqwest"))]
mod http;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "tower")]
pub mod tower;
#[cfg(feature = "tracing")]
pub mod tracing;
