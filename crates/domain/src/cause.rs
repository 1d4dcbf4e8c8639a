//! Why it is wrong: a resource and a class of fault, with the evidence and a measured confidence.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::ResourceId;
use crate::units::Percent;

/// What kind of thing went wrong, as far as it can be told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseClass {
    /// A process ended.
    ProcessEnded,
    /// A process does not answer.
    ProcessHangs,
    /// Too little CPU is left for the work.
    CpuExhausted,
    /// Too little memory is left.
    MemoryExhausted,
    /// No space is left.
    DiskExhausted,
    /// The path between two services is slow.
    PathSlow,
    /// The path between two services loses connections or requests.
    PathBroken,
    /// The callee turns requests away because of their rate.
    Throttled,
    /// The callee itself is slow.
    ServiceSlow,
    /// The callee itself fails.
    ServiceFailing,
    /// What was deployed last is worse than what ran before.
    BadDeployment,
}

/// One observation that speaks for a cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceItem {
    /// Where it was seen.
    pub resource: ResourceId,
    /// One plain clause with figures: `answers its probe in 3 ms while the link takes 412 ms`.
    pub text: String,
}

/// A ranked answer to "why".
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// Where the repair has to go.
    pub resource: ResourceId,
    /// What kind of thing went wrong.
    pub class: CauseClass,
    /// The smoothed share of recorded runs in which this pattern of evidence named the true cause; see
    /// `decide::learn`. 0 to 100.
    pub confidence: Percent,
    /// The name of the evidence pattern the confidence was recorded under.
    pub pattern: String,
    /// What speaks for it.
    pub evidence: Vec<EvidenceItem>,
}

impl CauseClass {
    /// The name in the API, the CLI and the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProcessEnded => "process_ended",
            Self::ProcessHangs => "process_hangs",
            Self::CpuExhausted => "cpu_exhausted",
            Self::MemoryExhausted => "memory_exhausted",
            Self::DiskExhausted => "disk_exhausted",
            Self::PathSlow => "path_slow",
            Self::PathBroken => "path_broken",
            Self::Throttled => "throttled",
            Self::ServiceSlow => "service_slow",
            Self::ServiceFailing => "service_failing",
            Self::BadDeployment => "bad_deployment",
        }
    }
}

impl fmt::Display for CauseClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
