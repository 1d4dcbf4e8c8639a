//! What a provider reports at once. An event says where to look, never what to believe: it wakes a turn,
//! and the turn reads the world again.

use serde::{Deserialize, Serialize};

use crate::resource::ResourceId;
use crate::time::Time;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counted by the provider from 1, without gaps.
    pub sequence: u64,
    /// When the provider saw it.
    pub at: Time,
    /// Where.
    pub resource: ResourceId,
    /// What.
    pub kind: EventKind,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A process was started in the slot.
    Started,
    /// The readiness probe passed for the first time in this incarnation.
    Ready,
    /// The readiness probe failed after it had passed.
    NotReady,
    /// The process ended.
    Exited,
    /// The process was killed because it used more memory than its limit.
    OutOfMemory,
    /// The back-off grew to a crash loop.
    CrashLoop,
    /// The liveness probe failed often enough.
    Unresponsive,
    /// A volume is full beyond its threshold.
    DiskPressure,
    /// A link's error share or latency jumped.
    LinkTrouble,
}
