//! What lies in the volumes of instances.
//!
//! In: nothing. Out: the kinds of files that repairs remove and faults write.

use serde::{Deserialize, Serialize};

/// Kinds of files in a volume; each lives in its own declared place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileClass {
    /// Temporary files.
    Temporary,
    /// Log files.
    Logs,
    /// Cached files.
    Cache,
    /// The service's own data: never removed by a repair.
    Data,
}
