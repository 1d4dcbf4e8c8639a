//! Which strategy serves which issue, in which order, and how often it is expected to heal: the table of
//! the specification (H3) for the strategies that exist.
//!
//! Where the specification gives no rate, 70 is assumed and marked unproven.

use domain::{IssueKind, Percent, Reason, Strategy};

/// One row: a strategy that serves an issue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Which.
    pub strategy: Strategy,
    /// Lower ranks are tried first; within a rank the learned rate decides.
    pub rank: u8,
    /// The rate to start from.
    pub prior: Percent,
    /// Where the rate comes from.
    pub origin: Origin,
}

/// Where a prior comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The specification gives it.
    Specified,
    /// Assumed; to be shown as unproven until outcomes come in.
    Unproven,
}

const fn given(rank: u8, strategy: Strategy, percent: f64) -> Candidate {
    Candidate { strategy, rank, prior: Percent(percent), origin: Origin::Specified }
}

const fn unproven(rank: u8, strategy: Strategy) -> Candidate {
    Candidate { strategy, rank, prior: Percent(70.0), origin: Origin::Unproven }
}

use Strategy::{
    CircuitBreakDependency, CleanupTempFiles, ClearCaches, ExpandVolume, GracefulRestart, IncreaseCpuLimit,
    IncreaseMemoryLimit, RerouteTraffic, ResetConnectionPool, RestartPod, RollbackDeployment, RotateLogs,
    ScaleHorizontally, ScaleReplicas,
};

const CRASH: &[Candidate] = &[given(0, RestartPod, 85.0), given(1, ScaleReplicas, 90.0)];
const OUT_OF_MEMORY: &[Candidate] =
    &[given(0, RestartPod, 60.0), given(1, IncreaseMemoryLimit, 90.0), given(2, ScaleReplicas, 95.0)];
/// More instances do not help where it is not the load.
const CPU_UNEXPLAINED: &[Candidate] =
    &[unproven(0, GracefulRestart), given(1, ScaleHorizontally, 95.0), given(1, IncreaseCpuLimit, 80.0)];
/// A restart does not help where it is the load; it is the last thing tried.
const CPU_LOAD: &[Candidate] =
    &[given(0, ScaleHorizontally, 95.0), given(0, IncreaseCpuLimit, 80.0), unproven(1, GracefulRestart)];
const CPU_UNSPECIFIED: &[Candidate] =
    &[given(0, ScaleHorizontally, 95.0), given(0, IncreaseCpuLimit, 80.0), unproven(0, GracefulRestart)];
const MEMORY: &[Candidate] = &[given(0, GracefulRestart, 88.0), given(0, IncreaseMemoryLimit, 82.0)];
const DISK_TEMPORARY: &[Candidate] = &[
    given(0, CleanupTempFiles, 92.0),
    given(1, RotateLogs, 92.0),
    given(1, ClearCaches, 92.0),
    given(2, ExpandVolume, 95.0),
];
const DISK_LOGS: &[Candidate] = &[
    given(0, RotateLogs, 92.0),
    given(1, CleanupTempFiles, 92.0),
    given(1, ClearCaches, 92.0),
    given(2, ExpandVolume, 95.0),
];
const DISK_CACHE: &[Candidate] = &[
    given(0, ClearCaches, 92.0),
    given(1, CleanupTempFiles, 92.0),
    given(1, RotateLogs, 92.0),
    given(2, ExpandVolume, 95.0),
];
const DISK_DATA: &[Candidate] = &[
    given(0, ExpandVolume, 95.0),
    given(1, CleanupTempFiles, 92.0),
    given(1, RotateLogs, 92.0),
    given(1, ClearCaches, 92.0),
];
const DISK_UNSPECIFIED: &[Candidate] = &[
    given(0, CleanupTempFiles, 92.0),
    given(0, RotateLogs, 92.0),
    given(0, ClearCaches, 92.0),
    given(1, ExpandVolume, 95.0),
];
/// A rollback is considered where a deployment is the cause, and then before all else.
const PATH_ONE: &[Candidate] = &[
    unproven(0, RollbackDeployment),
    unproven(1, RerouteTraffic),
    unproven(2, ResetConnectionPool),
    unproven(3, CircuitBreakDependency),
];
const PATH_STALE: &[Candidate] = &[
    unproven(0, RollbackDeployment),
    unproven(1, ResetConnectionPool),
    unproven(2, RerouteTraffic),
    unproven(3, CircuitBreakDependency),
];
const PATH_ALL: &[Candidate] =
    &[unproven(0, RollbackDeployment), unproven(1, CircuitBreakDependency), unproven(2, ResetConnectionPool)];

/// The strategies that serve a type and reason, by rank. Empty for types without a strategy so far.
pub fn candidates(kind: IssueKind, reason: Reason) -> &'static [Candidate] {
    match (kind, reason) {
        (IssueKind::PodCrash, Reason::OutOfMemory) => OUT_OF_MEMORY,
        (IssueKind::PodCrash, _) => CRASH,
        (IssueKind::HighCpu, Reason::Unexplained) => CPU_UNEXPLAINED,
        (IssueKind::HighCpu, Reason::Load) => CPU_LOAD,
        (IssueKind::HighCpu, _) => CPU_UNSPECIFIED,
        (IssueKind::HighMemory, _) => MEMORY,
        (IssueKind::DiskFull, Reason::TemporaryFiles) => DISK_TEMPORARY,
        (IssueKind::DiskFull, Reason::Logs) => DISK_LOGS,
        (IssueKind::DiskFull, Reason::Cache) => DISK_CACHE,
        (IssueKind::DiskFull, Reason::Data) => DISK_DATA,
        (IssueKind::DiskFull, _) => DISK_UNSPECIFIED,
        (IssueKind::NetworkLatency | IssueKind::ErrorRate, Reason::StaleConnections) => PATH_STALE,
        (IssueKind::NetworkLatency | IssueKind::ErrorRate, Reason::AllBackends) => PATH_ALL,
        (IssueKind::NetworkLatency | IssueKind::ErrorRate, _) => PATH_ONE,
        // `slo_burn` is repaired by the strategies of its cause; see `need`.
        _ => &[],
    }
}
