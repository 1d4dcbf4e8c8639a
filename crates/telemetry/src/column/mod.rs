//! Columns of a block: what spans and log records are kept in, in memory and on disk.
//!
//! In: values, row by row. Out: values by row, and vectors that [`crate::block`] writes and reads. A column only grows
//! at its end; [`Strings::truncate`] and [`Attributes::truncate`] take back rows of a request that turned out bad.

mod attributes;
mod recent;
mod same;
mod strings;

pub(crate) use attributes::{AttributeType, Attributes, Column, Cursor, Repeated, Scalar, Shape, Values};
pub(crate) use strings::{Form, Strings};
