//! Series of numbers: taken in durably, found at once, kept in tiers.
//!
//! In: samples, decoded from what senders speak, as a [`Batch`]. Out: series, to whoever asks as a [`promql::Source`].

mod batch;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
pub mod scrape;
mod sink;
pub mod wire;

pub use batch::{Batch, Exemplar, Kind, Metadata};
pub use sink::{Appended, Appending, MetricSink, NotAppended, wait};
