//! What a kill is, chosen by seed and number alone.

use std::fmt;
use std::time::Duration;

use chaos::drill::{Matrix, Row};
use domain::{Attachment, Fault, FaultKind, InstanceName, PathScope, ResourceId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How much time is given to chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// As the campaign is defined: the kill comes up to 3 s after the injection, and the control plane is
    /// dead for up to 3 s; one time in eight for up to 8 s, over the 5 s after which the keeper drops faults
    /// by itself.
    Full,
    /// A little less than half of it.
    Brisk,
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Victim {
    ControlPlane,
    Keeper,
    Both,
}

impl Victim {
    pub(super) const ALL: [Self; 3] = [Self::ControlPlane, Self::Keeper, Self::Both];
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ControlPlane => "control plane",
            Self::Keeper => "keeper",
            Self::Both => "both",
        })
    }
}

/// One kill.
pub(super) struct Choice {
    pub(super) victim: Victim,
    /// Rows of the matrix: name, and the request that injects it.
    pub(super) faults: Vec<(String, Value)>,
    /// After the injection, or after a repair has begun.
    pub(super) after: Duration,
    /// Whether the kill waits for a repair to have begun.
    pub(super) repairs_first: bool,
    pub(super) down: Duration,
    /// Instances that answer nobody, or not everybody, while the faults are in force.
    pub(super) stopped: Vec<InstanceName>,
}

impl Choice {
    pub(super) fn of(seed: u64, number: u32, pace: Pace) -> Self {
        let mut random =
            fastrand::Rng::with_seed(seed ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut rows = Matrix::shipped().unwrap().rows;
        random.shuffle(&mut rows);
        // Two at a time now and then: recovery has to settle more than one plan.
        rows.truncate(if random.u8(0..3) == 0 { 2 } else { 1 });
        let victim = Victim::ALL[random.usize(0..Victim::ALL.len())];
        let repairs_first = random.u8(0..3) == 0;
        let long = random.u8(0..8) == 0;
        let (after, down) = match pace {
            Pace::Full if long => (3000, 8000),
            Pace::Full => (3000, 3000),
            Pace::Brisk => (1200, 1400),
        };
        // A repair is over within a second or two.
        let after = if repairs_first { after / 3 } else { after };
        Self {
            victim,
            after: Duration::from_millis(random.u64(0..after)),
            down: Duration::from_millis(random.u64(0..down)),
            repairs_first,
            stopped: rows.iter().filter_map(stops).collect(),
            faults: rows.iter().map(|row| (row.name.clone(), request(&row.fault))).collect(),
        }
    }
}

/// The instance that a fault takes away from its callers until it ends.
fn stops(row: &Row) -> Option<InstanceName> {
    match (&row.fault.kind, &row.fault.target) {
        (FaultKind::Pause, ResourceId::Instance(instance)) => Some(instance.clone()),
        (FaultKind::NetworkPartition { scope: PathScope::Backend(instance) }, _) => Some(instance.clone()),
        _ => None,
    }
}

/// A fault as the API takes it.
fn request(fault: &Fault) -> Value {
    let attachment = |attachment: &Attachment| match attachment {
        Attachment::Attached => "attached",
        Attachment::Host => "host",
    };
    let scope = |scope: &PathScope| match scope {
        PathScope::All => "all".to_owned(),
        PathScope::EstablishedConnections => "established_connections".to_owned(),
        PathScope::Backend(instance) => instance.to_string(),
    };
    let ms = |time: &Duration| time.as_secs_f64() * 1000.0;
    let parameters = match &fault.kind {
        FaultKind::PodKill | FaultKind::PodDeletion | FaultKind::Pause => json!({}),
        FaultKind::CpuStress { load, attachment: place } => {
            json!({ "load_percent": load.0, "attachment": attachment(place) })
        }
        FaultKind::MemoryStress { fill, attachment: place, .. } => {
            json!({ "fill_percent": fill.0, "attachment": attachment(place) })
        }
        FaultKind::DiskFill { fill, class, .. } => json!({ "fill_percent": fill.0, "class": class }),
        FaultKind::NetworkLatency { delay, jitter, scope: part } => {
            json!({ "delay_ms": ms(delay), "jitter_ms": ms(jitter), "scope": scope(part) })
        }
        FaultKind::NetworkPartition { scope: part } => json!({ "scope": scope(part) }),
        FaultKind::ApiThrottling { requests_per_second, scope: part } => {
            json!({ "requests_per_second": requests_per_second, "scope": scope(part) })
        }
    };
    json!({
        "type": fault.kind.name(),
        "target": { "resource": fault.target.to_string() },
        "parameters": parameters,
        "duration_seconds": fault.duration.as_secs_f64(),
    })
}
