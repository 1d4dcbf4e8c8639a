//! The compacted tier: segments into Parquet files with an index, and answers from them.
//!
//! ```text
//! sealed segments ─ order by trace ─ gather columns ─► cold/A-B.spans.parquet, cold/A-B.logs.parquet
//!                   (order, sample)   (gather, rest)    (write, pack)
//!                                                     └► cold/A-B.index, renamed into place last: the commit
//! small neighbouring units ─ batch by batch ─ the same again (merge) ─► one unit
//! ```
//!
//! In: segments the committer has closed. Out: units that answer what the segments answered, in a third of the room; any
//! reader of Parquet reads them. A unit counts once its index has its name; then its segments are removed. Whatever a
//! crash leaves of a unit without an index, or of segments a unit covers, is removed at the next start.
//!
//! Files are local. Where a bucket is configured, the Parquet files of old units are moved there; their indexes stay, so
//! that searches skip what cannot match as before, and rows are read there by ranges (moving, marker).

mod attributes;
mod batch;
mod bloom;
mod build;
mod ceilings;
mod cells;
mod compact;
mod fault;
mod gather;
mod group;
mod index;
mod marker;
mod merge;
#[cfg(feature = "object-storage")]
mod moving;
mod operations;
mod order;
mod pack;
mod page;
mod pages;
mod rest;
mod restore;
mod retain;
mod sample;
#[cfg(test)]
mod tests;
mod unit;
mod write;

pub(crate) use compact::{Compactor, Policy, Take, Work};
pub(crate) use fault::is_full;
pub(crate) use index::FORMAT as INDEX_FORMAT;
pub(crate) use marker::{FORMAT as MARKER_FORMAT, buckets_in};
#[cfg(feature = "object-storage")]
pub(crate) use moving::{Mover, Moving, acquaint};
pub use restore::DamagedFiles;
pub(crate) use restore::{Restored, compacted_files, restore};
pub(crate) use unit::Unit;

/// Maps of what comes from this process alone.
type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;
