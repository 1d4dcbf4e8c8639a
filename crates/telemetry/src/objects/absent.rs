//! The bucket of a program that was built without the feature `object-storage`: there is none.

use std::convert::Infallible;

use super::{Object, ObjectCounters};

/// A bucket; there are no values of it.
#[derive(Debug)]
pub(crate) enum Bucket {}

impl Bucket {
    /// Reads a range of an object.
    pub(crate) fn read(&self, _: &str, _: &Object, _: u64, _: usize) -> Result<Vec<u8>, Infallible> {
        match *self {}
    }

    /// Which bucket, for people.
    pub(crate) fn url(&self) -> &str {
        match *self {}
    }

    /// What went there and came from there.
    pub(crate) fn counters(&self) -> &ObjectCounters {
        match *self {}
    }
}
