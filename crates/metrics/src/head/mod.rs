//! The head: active series, found by label, with the samples that are not in blocks yet.
//!
//! What lies here is in the log as well, and is read again from there after a crash.

mod index;
mod open;
mod series;

pub(crate) use index::{Index, SourceState, labels_hash};
pub(crate) use series::{Active, Judged, OnDisk, Series, Snapshot};
