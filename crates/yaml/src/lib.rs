//! YAML of which every value knows its place.
//!
//! In: the bytes of a file. Out: a [`File`], and [`Fields`] that read its documents: what is missing, of the wrong type or
//! unknown is noted with file, line and column, and reading goes on, so that one look at a file tells everything that is
//! wrong with it. Those who read into types of their own take the tree alone, [`Node`].
//!
//! Deliberately absent: what a file means, and reading from disk.

mod file;
mod node;
mod problem;
mod value;

pub use file::{FILE_BYTES_MAX, File};
pub use node::{Node, Spanned, plain_message, start};
pub use problem::{FileError, Problem};
pub use value::{Fields, Place, Value};
