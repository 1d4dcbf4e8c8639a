//! Faults: steps that disturb. Their undo is mandatory and their time bounded.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resource::{InstanceName, ResourceId};
use crate::units::{Percent, duration_ms};
use crate::volume::FileClass;

/// Where stress lives (specification C11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attachment {
    /// Inside the instance; dies with it, so that a repair can end it.
    Attached,
    /// Beside the instance; stays until the fault ends, so that only rerouting or scaling helps.
    Host,
}

/// Which part of a link a network fault is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathScope {
    /// Every instance behind the link.
    All,
    /// The path to one instance.
    Backend(InstanceName),
    /// The connections that are open when the fault begins; new ones are well.
    EstablishedConnections,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// SIGKILL to the process in a slot.
    PodKill,
    /// Graceful stop of the process in a slot.
    PodDeletion,
    /// The processes of an instance are stopped (SIGSTOP, or a frozen cgroup) until the fault ends.
    Pause,
    /// Work that uses this share of the instance's CPU limit, on top of its own.
    CpuStress {
        /// 1 to 100.
        load: Percent,
        /// Where it lives.
        attachment: Attachment,
    },
    /// Memory taken until the instance uses this share of its limit. Above 100: OOM.
    MemoryStress {
        /// 1 to 150.
        fill: Percent,
        /// Where it lives.
        attachment: Attachment,
        /// The time in which it gets there, evenly, as a leak does; 0: at once.
        #[serde(default, with = "duration_ms")]
        ramp: Duration,
    },
    /// Files written until the volume is this full.
    DiskFill {
        /// 1 to 100.
        fill: Percent,
        /// What kind of files, and so where and how old.
        class: FileClass,
        /// The time in which it gets there, evenly; 0: at once.
        #[serde(default, with = "duration_ms")]
        ramp: Duration,
    },
    /// Answers through the link come later.
    NetworkLatency {
        /// 1 ms to 5 s.
        #[serde(with = "duration_ms")]
        delay: Duration,
        /// Uniform, plus or minus; at most `delay`.
        #[serde(with = "duration_ms")]
        jitter: Duration,
        /// Which part of the link.
        scope: PathScope,
    },
    /// Nothing passes: new connections are refused, open ones reset.
    NetworkPartition {
        /// Which part of the link.
        scope: PathScope,
    },
    /// Requests above the rate are answered with 429.
    ApiThrottling {
        /// 1 to 100 requests a second.
        requests_per_second: u32,
        /// Which part of the link.
        scope: PathScope,
    },
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Where: an instance for process and stress faults, a volume for disk faults, a link for network
    /// faults.
    pub target: ResourceId,
    /// What.
    pub kind: FaultKind,
    /// How long at most; the provider ends it then even if nobody asks. 1 s to 1 h.
    #[serde(with = "duration_ms")]
    pub duration: Duration,
}

impl FaultKind {
    /// The name in the API, the CLI and the database.
    pub fn name(&self) -> &'static str {
        match self {
            Self::PodKill => "pod_kill",
            Self::PodDeletion => "pod_deletion",
            Self::Pause => "pause",
            Self::CpuStress { .. } => "cpu_stress",
            Self::MemoryStress { .. } => "memory_stress",
            Self::DiskFill { .. } => "disk_fill",
            Self::NetworkLatency { .. } => "network_latency",
            Self::NetworkPartition { .. } => "network_partition",
            Self::ApiThrottling { .. } => "api_throttling",
        }
    }

    /// Whether it is over as soon as it was done (a kill); such a fault has nothing to undo.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::PodKill | Self::PodDeletion)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Fault {
    /// Everything out of range, as field and sentence; empty when it can be planned.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        let mut within = |field, value: f64, low: f64, high: f64, unit: &str| {
            if !(low..=high).contains(&value) {
                wrong.push((field, format!("is {value}{unit}, must be {low}{unit} to {high}{unit}")));
            }
        };
        within("duration", self.duration.as_secs_f64(), 1.0, 3600.0, " s");
        match &self.kind {
            FaultKind::CpuStress { load, .. } => within("load", load.0, 1.0, 100.0, " %"),
            FaultKind::MemoryStress { fill, ramp, .. } => {
                within("fill", fill.0, 1.0, 150.0, " %");
                within("ramp", ramp.as_secs_f64(), 0.0, self.duration.as_secs_f64(), " s");
            }
            FaultKind::DiskFill { fill, ramp, .. } => {
                within("fill", fill.0, 1.0, 100.0, " %");
                within("ramp", ramp.as_secs_f64(), 0.0, self.duration.as_secs_f64(), " s");
            }
            FaultKind::NetworkLatency { delay, jitter, .. } => {
                within("delay", delay.as_secs_f64() * 1e3, 1.0, 5000.0, " ms");
                within("jitter", jitter.as_secs_f64() * 1e3, 0.0, delay.as_secs_f64() * 1e3, " ms");
            }
            FaultKind::ApiThrottling { requests_per_second, .. } => {
                within("requests_per_second", f64::from(*requests_per_second), 1.0, 100.0, "/s");
            }
            FaultKind::PodKill
            | FaultKind::PodDeletion
            | FaultKind::Pause
            | FaultKind::NetworkPartition { .. } => {}
        }
        let (fits, takes) = match &self.kind {
            FaultKind::PodKill
            | FaultKind::PodDeletion
            | FaultKind::Pause
            | FaultKind::CpuStress { .. }
            | FaultKind::MemoryStress { .. } => {
                (matches!(self.target, ResourceId::Instance(_)), "instance/NAME-N")
            }
            FaultKind::DiskFill { .. } => (matches!(self.target, ResourceId::Volume(_)), "volume/NAME-N"),
            FaultKind::NetworkLatency { .. }
            | FaultKind::NetworkPartition { .. }
            | FaultKind::ApiThrottling { .. } => {
                (matches!(self.target, ResourceId::Link(_)), "link/FROM->TO")
            }
        };
        if !fits {
            wrong.push((
                "target",
                format!("{} cannot be done to {}; it takes {takes}", self.kind, self.target),
            ));
        }
        wrong
    }
}
