//! A bucket of S3-compatible storage, where old units are kept.
//!
//! In: what the configuration says of it, files to keep, ranges to read. Out: bytes, or why they are not to be had.
//! Requests are plain HTTP, signed here; a caller waits for its answer. Which unit goes there and when is decided in
//! [`cold`](crate::cold).
//!
//! Without the feature `object-storage` the bucket is a type without values: nothing is kept there, and a configuration
//! that names one is refused.

#[cfg(not(feature = "object-storage"))]
mod absent;
#[cfg(feature = "object-storage")]
mod bucket;
#[cfg(feature = "object-storage")]
mod cache;
mod config;
#[cfg(feature = "object-storage")]
mod credentials;
#[cfg(any(feature = "object-storage", feature = "fuzz", test))]
pub(crate) mod listing;
#[cfg(feature = "object-storage")]
mod sign;

#[cfg(not(feature = "object-storage"))]
pub(crate) use absent::Bucket;
#[cfg(feature = "object-storage")]
pub(crate) use bucket::{Bucket, WRITTEN, Whole};
pub use config::{ObjectStorage, ObjectStorageError};

use crate::counters::Counter;

/// An object as it was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) bytes: u64,
    /// Changes with its content.
    pub(crate) etag: String,
}

/// Why the bucket did not do what was asked.
#[cfg(feature = "object-storage")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BucketError {
    /// No answer, or none that can be read.
    #[error("it did not answer: {0}")]
    Unreachable(String),
    /// It answered that it would not.
    #[error("it refused with status {status}: {why}")]
    Refused { status: u16, code: String, why: String },
    /// What it has is not what was put there.
    #[error("{0}")]
    Different(String),
    /// What is needed on this side is missing.
    #[error("{0}")]
    Ours(String),
}

#[cfg(feature = "object-storage")]
impl BucketError {
    /// Whether it says that there is no such object.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Refused { status: 404, code, .. } if code != "NoSuchBucket")
    }
}

/// What went to the bucket and came from it, counted from the start of the process.
#[derive(Debug, Default)]
pub struct ObjectCounters {
    /// Units moved: their rows were put there, verified, and removed here.
    pub moved_units: Counter,
    /// Bytes of what was put there, indexes among them.
    pub uploaded_bytes: Counter,
    /// Tries to move, remove or look after what is there that failed; each is repeated.
    pub failures: Counter,
    /// Ranges read for questions.
    pub ranged_reads: Counter,
    /// Bytes of these ranges.
    pub read_bytes: Counter,
    /// Ranges that were not to be had; the question was answered with an error.
    pub read_failures: Counter,
    /// Units there that cannot be read, or are not what this store has lost: they are left as they are.
    pub unknown_units: Counter,
    /// Units removed there, by retention or because a crash had left them.
    pub removed_units: Counter,
}

/// What is kept in a bucket.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Which bucket: `s3://bucket/prefix`.
    pub url: String,
    /// Units whose rows are there.
    pub units: u64,
    /// Bytes of their rows.
    pub bytes: u64,
    /// Why nothing is moved at present; `None` while all is well.
    pub trouble: Option<String>,
}
