//! Telemetry: spans and log records, from OTLP bytes to answers.
//!
//! ```text
//! OTLP request ─ walker ─► columns ─ block = write-ahead record ─ group commit ─► searchable, then acknowledged
//!                (otlp)   (column,   (block)                     (commit,        (query)
//!                          batch)                                 segment) ─ later: Parquet with an index (cold)
//! ```
//!
//! In: OTLP requests as protobuf, through an [`Intake`] for each receiver. Out: whole spans and log records. What is
//! acknowledged was on disk before, and is found at once: there is no second path that catches up later.
//!
//! A trace worth keeping is kept beyond retention and sampling in files of its own (archive); questions are answered from
//! them as well, each span once.
//!
//! Plain threads, no runtime: receivers, JSON and compression are the gateway's. There is a network for one thing alone,
//! a bucket for what is old, and only with the feature `object-storage`. Nothing here is sampled before it is counted;
//! what is sampled, is when it is compacted.

mod archive;
mod backlog;
pub mod backup;
mod batch;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod block;
mod catalogue;
mod cold;
mod column;
mod commit;
mod counters;
mod derive;
mod filter;
#[cfg(test)]
mod fixture;
mod intake;
mod model;
mod objects;
mod otlp;
#[cfg(any(test, feature = "fuzz"))]
pub mod properties;
mod query;
mod round;
mod rows;
mod segment;
mod store;
mod tally;
mod tiers;
mod trace;

pub use archive::{
    ARCHIVE_BYTES_MIN, ArchiveError, ArchivePurge, ArchiveStatus, ArchivedTrace, DamagedTrace, Keeping,
    OldTraces, RemovalFailure, RemovedTraces, archived_gone,
};
pub use backlog::{BACKLOG_BYTES_MIN, Backlog};
pub use block::BlockError;
pub use catalogue::Operation;
pub use cold::DamagedFiles;
pub use counters::{Counter, Counters};
pub use derive::{
    Bucket, Dependency, DerivedCounters, Exemplar, HeatCell, HeatMap, Histogram, Link as DependencyLink,
    Minutes, MinutesError, OTHER, POINTS_MAX, RELATIVE_ERROR, RedPoint, Series, SeriesFilter, Window,
    WindowError,
};
pub use intake::{Admission, Intake, Refusal};
pub use model::{
    AttributeList, Dropped, Event, IdError, Link, LogRecord, Resource, Scope, Signal, Span, SpanId, SpanKind,
    StatusCode, TraceId, Value,
};
pub use objects::{Moved, ObjectCounters, ObjectStorage, ObjectStorageError};
pub use otlp::Limits;
pub use query::{LogFilter, ReadError, Searched, StatusFilter, TraceFilter};
pub use round::Durable;
pub use store::{Config, OpenError, Recovery, SetAside, Telemetry, backlog_bytes_max};
pub use tally::{Caught, Place, Tallied, Watched, WatchedRole};
pub use trace::{Oddity, Root, Row, Section, ServiceShare, Trace, TraceSummary};
