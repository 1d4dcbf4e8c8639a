//! What senders speak, decoded: bytes in, a [`Batch`] out.
//!
//! ```text
//! remote-write 1 and 2 (snappy, protobuf) ─┐
//! OTLP metrics (protobuf) ─────────────────┼─► Decoded { batch, left } ─► the store
//! text and OpenMetrics, scraped ───────────┘        or nothing of it, and why
//! ```
//!
//! Each decoder has [`Limits`], takes any bytes without a panic, and says what it left out, by [`Cause`] and with the
//! first places in words. A message is walked in place; no tree of it is built.
//!
//! Deliberately absent: transport, gzip and JSON (the gateway's), and whatever needs the samples before: order against
//! what is stored, resets of counters, limits of a sender's series. Start times of counters are read and not kept: a
//! sample says nothing of them in Prometheus' model, and a zero put in at the start of each request would have to be
//! taken out again by whoever knows the series.

#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod fixture;
mod histogram;
mod known;
mod labels;
mod left;
mod limits;
pub mod otlp;
pub mod remote;
pub mod text;

pub use left::{Cause, Left, Tally, Unreadable};
pub use limits::Limits;

use crate::Batch;
use promql::Value;

/// The NaN that says that a series ended: Prometheus' "stale" marker.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The NaN that is an ordinary value: what `NaN` in text stands for.
pub(crate) const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// A message that was taken, perhaps in part.
#[derive(Debug, Clone, Default)]
pub struct Decoded {
    /// What is to be stored.
    pub batch: Batch,
    /// What is not, and why.
    pub left: Left,
    /// Data points of OTLP that are in the batch; 0 for what has none.
    pub points: u64,
}

impl Decoded {
    /// How much of each is to be stored. Data points are not counted: they have become samples.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            exemplars: self.batch.exemplars.len() as u64,
            metadata: self.batch.metadata.len() as u64,
            ..Tally::NONE
        };
        for sample in self.batch.series.iter().flat_map(|(_, samples)| samples) {
            match sample.value {
                Value::Float(_) => tally.samples += 1,
                Value::Histogram(_) => tally.histograms += 1,
            }
        }
        tally
    }
}
