//! What the functions do.

pub(super) mod boundary;
pub(super) mod dates;
pub(super) mod histograms;
pub(super) mod info;
pub(super) mod labels;
pub(super) mod numbers;
pub(super) mod over_time;
pub(super) mod rate;
pub(super) mod resets;
pub(super) mod sort;
