//! The log: what is acknowledged lies here first, and is read again from here after a crash.
//!
//! ```text
//! log/00000000000000000007.log:  frame │ frame │ …        a frame: what one group commit wrote
//! ```
//!
//! Series have numbers in it, given anew in each *generation*: the segments between two times that the head was written
//! to blocks, by one process, without a write that failed. What a number means stands in the generation before it is
//! used, so what was written to blocks can go from the log as a whole.

mod frame;
mod segment;

pub(crate) use frame::{FORMAT, FrameWriter, Record, put_metadata, read_metadata};
pub use segment::Recovered;
pub(crate) use segment::{Segment, recover};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use segment::{read_any, sealed};
