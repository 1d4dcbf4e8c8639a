//! What of the configuration concerns the log.

use serde::{Deserialize, Serialize};

use crate::logging::{Format, Level};

/// What `homeostat serve` says on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info` or `debug`; `homeostat log-level` changes it for a while.
    pub level: Level,
    /// `text`, or `json`: an object a line.
    pub format: Format,
}
