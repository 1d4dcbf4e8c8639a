//! Series of numbers: taken in durably, found at once, kept in tiers.
//!
//! In: samples, decoded from what senders speak, as a [`Batch`]. Out: series, to whoever asks as a [`promql::Source`].

mod batch;

pub use batch::{Batch, Exemplar, Kind, Metadata};
