//! What a provider can do, as a value: read at planning time, so that what cannot be done is refused by
//! name before anything is touched.

use serde::{Deserialize, Serialize};

/// How a limit or a fault is brought about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by", content = "detail")]
pub enum Enforcement {
    /// The kernel holds it (cgroup v1 or v2; the text says which).
    Kernel(String),
    /// Watched and acted upon by the keeper (memory over the limit: killed and reported as OOM).
    Supervision,
    /// Cannot be done here; the text says why and what would change that.
    Unavailable(String),
}

impl Enforcement {
    /// Why it cannot be done, `None` where it can.
    pub fn unavailable(&self) -> Option<&str> {
        match self {
            Self::Unavailable(why) => Some(why),
            _ => None,
        }
    }
}

/// What a provider can do on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// The provider's name: `processes`.
    pub provider: String,
    /// CPU quota.
    pub cpu_limit: Enforcement,
    /// Memory limit.
    pub memory_limit: Enforcement,
    /// Size-limited volumes, growing online.
    pub volumes: Enforcement,
    /// Stress outside the instance that stays until the fault ends (specification C11).
    pub host_stress: Enforcement,
    /// Latency, partition and throttling on links, circuit breaking, rerouting.
    pub links: Enforcement,
}
