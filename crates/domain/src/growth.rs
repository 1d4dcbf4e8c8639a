//! How fast something that accumulates has grown: memory of an instance, bytes on a volume.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::duration_ms;

/// A steady growth, as it was watched. Nothing is said where it was not steady.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// The median slope, in bytes a second; above 0.
    pub per_second: f64,
    /// What it surely is at least: the growth may be carried on at this pace. Above 0, at most `per_second`.
    pub per_second_min: f64,
    /// What it surely is at most. At least `per_second`.
    pub per_second_max: f64,
    /// For how long it was watched. It is carried on for no longer than that.
    #[serde(with = "duration_ms")]
    pub watched: Duration,
}

impl Growth {
    /// What will surely be gained within the time it may be carried on, in bytes.
    pub fn reach(&self) -> f64 {
        self.per_second_min * self.watched.as_secs_f64()
    }
}
