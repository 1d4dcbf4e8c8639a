//! What is wrong: the issue types of the specification (H1) and their severities (H2).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::IssueId;
use crate::resource::ResourceId;
use crate::time::Time;

/// The nine issue types and the derived ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueKind {
    /// An instance ended, ends again and again, or hangs.
    PodCrash,
    /// Above 85 % of the CPU limit.
    HighCpu,
    /// Above 90 % of the memory limit.
    HighMemory,
    /// Above 95 % of the volume.
    DiskFull,
    /// Above 200 ms on a link.
    NetworkLatency,
    /// Queries above 5 s.
    DatabaseSlow,
    /// Less than 30 days left.
    CertificateExpiry,
    /// A known weakness in what runs.
    SecurityVulnerability,
    /// What is differs from what was declared.
    ConfigurationDrift,
    /// Derived: requests fail on a link.
    ErrorRate,
    /// Derived: an error budget burns too fast.
    SloBurn,
    /// Derived: an alert of a rule fires.
    Alert,
}

/// The finer reason within an issue type; strategies are chosen per type and reason (H3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nothing finer is known.
    Unspecified,
    /// The process ended by itself or by a signal.
    Exit,
    /// Killed for using more memory than its limit.
    OutOfMemory,
    /// Ends before it settles, again and again.
    CrashLoop,
    /// Lives, but does not answer.
    Unresponsive,
    /// Used by more requests than usual.
    Load,
    /// Not explained by the request rate.
    Unexplained,
    /// Space taken by old temporary files.
    TemporaryFiles,
    /// Space taken by log files.
    Logs,
    /// Space taken by cached files.
    Cache,
    /// Space taken by the service's own data.
    Data,
    /// One instance behind the link is slow or failing, others are well.
    OneBackend,
    /// All instances behind the link are slow or failing.
    AllBackends,
    /// Only long-lived connections are slow or failing; new ones are well.
    StaleConnections,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Can wait.
    Low,
    /// Today.
    Medium,
    /// Now.
    High,
    /// Users are hurt.
    Critical,
}

/// One of the issue types on one resource, from its detection to its close.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    /// Its id.
    pub id: IssueId,
    /// Its type.
    pub kind: IssueKind,
    /// The finer reason.
    pub reason: Reason,
    /// Where.
    pub resource: ResourceId,
    /// How bad.
    pub severity: Severity,
    /// One plain sentence with figures and the limit they are judged by.
    pub description: String,
    /// When it was first seen in this occurrence.
    pub detected_at: Time,
    /// When it was last seen.
    pub last_seen: Time,
    /// When its signal was back in bounds for good; `None` while it is open.
    pub closed_at: Option<Time>,
    /// The measured values by name, among them `threshold`.
    pub metrics: BTreeMap<String, f64>,
    /// How often the same type on the same resource came back within the damping window.
    pub recurrences: u32,
}

impl Issue {
    /// The metric that counts how often an open issue looked well, without a break until now.
    pub const WELL_LOOKS: &str = "well_looks";
    /// The metric that says since when, in seconds on the boot clock.
    pub const WELL_SINCE: &str = "well_since_s";
    /// The metric that says what the reason was told from: 1 health checks, 2 requests.
    pub const REASON_EVIDENCE: &str = "reason_evidence";
    /// The metric that says since when something else is told, in seconds on the boot clock.
    pub const REASON_DOUBTED: &str = "reason_doubted_s";
    /// The metric of an issue that is foretold: in how many seconds its bound will be crossed.
    pub const FORECAST: &str = "forecast_seconds";
    /// The metric of an issue that was foretold and came to pass: how many seconds before its bound was crossed it was
    /// raised.
    pub const LEAD: &str = "forecast_lead_seconds";
    /// The metrics that detection keeps for its next look, and that say nothing of the resource.
    pub const NOTES: [&str; 4] =
        [Self::WELL_LOOKS, Self::WELL_SINCE, Self::REASON_EVIDENCE, Self::REASON_DOUBTED];

    /// Whether it was raised before it came to pass: its bound is not crossed yet, and will be as things go.
    pub fn is_foretold(&self) -> bool {
        self.metrics.contains_key(Self::FORECAST)
    }

    /// Whether an open issue looked well the last time it could be judged.
    pub fn is_recovering(&self) -> bool {
        self.closed_at.is_none() && self.metrics.contains_key(Self::WELL_LOOKS)
    }
}

impl IssueKind {
    /// Every kind, in the specification's order.
    pub const ALL: [Self; 12] = [
        Self::PodCrash,
        Self::HighCpu,
        Self::HighMemory,
        Self::DiskFull,
        Self::NetworkLatency,
        Self::DatabaseSlow,
        Self::CertificateExpiry,
        Self::SecurityVulnerability,
        Self::ConfigurationDrift,
        Self::ErrorRate,
        Self::SloBurn,
        Self::Alert,
    ];

    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::PodCrash => "pod_crash",
            Self::HighCpu => "high_cpu",
            Self::HighMemory => "high_memory",
            Self::DiskFull => "disk_full",
            Self::NetworkLatency => "network_latency",
            Self::DatabaseSlow => "database_slow",
            Self::CertificateExpiry => "certificate_expiry",
            Self::SecurityVulnerability => "security_vulnerability",
            Self::ConfigurationDrift => "configuration_drift",
            Self::ErrorRate => "error_rate",
            Self::SloBurn => "slo_burn",
            Self::Alert => "alert",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::Unspecified,
        Self::Exit,
        Self::OutOfMemory,
        Self::CrashLoop,
        Self::Unresponsive,
        Self::Load,
        Self::Unexplained,
        Self::TemporaryFiles,
        Self::Logs,
        Self::Cache,
        Self::Data,
        Self::OneBackend,
        Self::AllBackends,
        Self::StaleConnections,
    ];

    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Exit => "exit",
            Self::OutOfMemory => "out_of_memory",
            Self::CrashLoop => "crash_loop",
            Self::Unresponsive => "unresponsive",
            Self::Load => "load",
            Self::Unexplained => "unexplained",
            Self::TemporaryFiles => "temporary_files",
            Self::Logs => "logs",
            Self::Cache => "cache",
            Self::Data => "data",
            Self::OneBackend => "one_backend",
            Self::AllBackends => "all_backends",
            Self::StaleConnections => "stale_connections",
        }
    }
}

impl Severity {
    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

macro_rules! display_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}
display_name!(IssueKind, Reason, Severity);
