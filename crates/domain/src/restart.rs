//! What a keeper does by itself when a process ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::duration_ms;

/// The standing restart policy: what the keeper does by itself when a process ends.
///
/// The first restart is at once. An instance that ends again before it was ready for `settled` waits
/// `initial`, doubled each time up to `max`; [`RestartPolicy::crash_loop_after`] such ends in a row are a
/// crash loop. The back-off is forgotten when the instance settled, or when its cause changes (another
/// command, environment, limit, or a dependency that came back).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartPolicy {
    /// First back-off.
    #[serde(default = "default_backoff_initial", with = "duration_ms")]
    pub initial: Duration,
    /// Longest back-off.
    #[serde(default = "default_backoff_max", with = "duration_ms")]
    pub max: Duration,
    /// How long an instance has to be ready to count as settled.
    #[serde(default = "default_settled", with = "duration_ms")]
    pub settled: Duration,
    /// How many unsettled ends in a row are a crash loop.
    #[serde(default = "default_crash_loop_after")]
    pub crash_loop_after: u32,
}

fn default_backoff_initial() -> Duration {
    Duration::from_millis(200)
}
fn default_backoff_max() -> Duration {
    Duration::from_secs(10)
}
fn default_settled() -> Duration {
    Duration::from_secs(10)
}
fn default_crash_loop_after() -> u32 {
    4
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            initial: default_backoff_initial(),
            max: default_backoff_max(),
            settled: default_settled(),
            crash_loop_after: default_crash_loop_after(),
        }
    }
}
