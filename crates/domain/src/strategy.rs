//! The strategies: the ways in which a repair is tried, by the names that policies, outcomes and people use.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The strategies of the specification (H3) that exist so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Kill and start again.
    RestartPod,
    /// One instance more, for a time.
    ScaleReplicas,
    /// One to three instances more, by load, for a time.
    ScaleHorizontally,
    /// CPU limit + 50 %.
    IncreaseCpuLimit,
    /// Memory limit up.
    IncreaseMemoryLimit,
    /// Drain, stop, start.
    GracefulRestart,
    /// Remove temporary files older than 7 days.
    CleanupTempFiles,
    /// Rotate and compress.
    RotateLogs,
    /// Empty caches.
    ClearCaches,
    /// Volume + 20 %.
    ExpandVolume,
    /// Take the bad instance or path out of the balancing.
    RerouteTraffic,
    /// Open the breaker, so that the caller degrades.
    CircuitBreakDependency,
    /// Close the pooled connections.
    ResetConnectionPool,
    /// Run what was run before the deployment.
    RollbackDeployment,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 14] = [
        Self::RestartPod,
        Self::ScaleReplicas,
        Self::ScaleHorizontally,
        Self::IncreaseCpuLimit,
        Self::IncreaseMemoryLimit,
        Self::GracefulRestart,
        Self::CleanupTempFiles,
        Self::RotateLogs,
        Self::ClearCaches,
        Self::ExpandVolume,
        Self::RerouteTraffic,
        Self::CircuitBreakDependency,
        Self::ResetConnectionPool,
        Self::RollbackDeployment,
    ];

    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::RestartPod => "restart_pod",
            Self::ScaleReplicas => "scale_replicas",
            Self::ScaleHorizontally => "scale_horizontally",
            Self::IncreaseCpuLimit => "increase_cpu_limit",
            Self::IncreaseMemoryLimit => "increase_memory_limit",
            Self::GracefulRestart => "graceful_restart",
            Self::CleanupTempFiles => "cleanup_temp_files",
            Self::RotateLogs => "rotate_logs",
            Self::ClearCaches => "clear_caches",
            Self::ExpandVolume => "expand_volume",
            Self::RerouteTraffic => "reroute_traffic",
            Self::CircuitBreakDependency => "circuit_break_dependency",
            Self::ResetConnectionPool => "reset_connection_pool",
            Self::RollbackDeployment => "rollback_deployment",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
