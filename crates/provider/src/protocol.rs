//! What is said over the keeper's socket: one JSON value a line, a [`Request`] each way in, a [`Reply`]
//! each way out, in order. The first request of a connection is [`Request::Hello`].
//!
//! A change carries the name of its step; saying it twice changes nothing more. That is what lets a client
//! repeat a request whose answer it did not hear.

use std::net::SocketAddr;
use std::time::Duration;

use domain::infrastructure::Protocol;
use domain::units::duration_ms;
use domain::{
    Attribute, AttributeValue, Capabilities, Fault, FileClass, Incarnation, Infrastructure, InstanceName,
    LinkName, Release, ServiceName, StepToken, StopManner,
};
use serde::{Deserialize, Serialize};

/// Grows when an older peer could misunderstand.
pub(crate) const VERSION: u32 = 1;

/// Longest line either side reads.
pub(crate) const LINE_MAX: u64 = 64 * 1024 * 1024;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// First of all. Answers [`Welcome`].
    Hello { version: u32 },
    /// Bring it up; by a step only where nothing is up, and once.
    Up {
        infrastructure: Box<Infrastructure>,
        #[serde(default)]
        by: Option<StepToken>,
    },
    /// Stop everything and forget it.
    Down,
    /// As `Down`, by a step, where exactly this is up.
    TakeDown { token: StepToken, infrastructure: Box<Infrastructure> },
    /// Whether what is up was brought up by this step. Answers `bool`.
    IsUpBy { token: StepToken },
    /// What can be done here, now. Answers `Capabilities`.
    Capabilities,
    /// What is up. Answers `Option<Infrastructure>`.
    Infrastructure,
    /// Answers `Sample`.
    Sample,
    /// Answers `Vec<Event>`, at once or as soon as there is one after `after`.
    Events { after: u64, timeout_ms: u64 },
    /// Answers [`Held`].
    Attribute { attribute: Attribute },
    /// Whether it could be brought up, were nothing up.
    CheckUp { infrastructure: Box<Infrastructure> },
    /// Whether a service could run something.
    CheckRelease { service: ServiceName, release: Box<Release> },
    /// Compare-and-set.
    Set { attribute: Attribute, value: AttributeValue, expected: u64, token: StepToken },
    /// Take a step's value away. Answers `Removed`.
    Unset { attribute: Attribute, token: StepToken },
    /// Whether the step's value is in force. Answers `bool`.
    Owns { attribute: Attribute, token: StepToken },
    /// Stop the process `expected` in a slot and start another; another process in the slot: nothing.
    Restart { token: StepToken, instance: InstanceName, expected: Option<Incarnation>, manner: StopManner },
    /// Whether a fault could be injected.
    CheckFault { fault: Fault },
    /// Put a fault in force.
    Inject { token: StepToken, fault: Fault, expected: Option<Incarnation> },
    /// Take a fault out. Answers `bool`: whether it was there.
    Remove { token: StepToken },
    /// Whether a fault is in force. Answers `bool`.
    InForce { token: StepToken },
    /// Take every fault out. Answers `u32`: how many there were.
    RemoveAll,
    /// Something that is done once and cannot be taken back.
    Once { token: StepToken, errand: Errand },
    /// Whether the one-shot step was done. Answers `bool`.
    Done { token: StepToken },
    /// Where a link listens. Answers [`Listener`].
    Link { link: LinkName },
    /// Where an instance's volume can be reached from here. Answers `PathBuf`.
    Volume { instance: InstanceName },
    /// The client lives; faults stay in force.
    Heartbeat,
    /// End the keeper; services go on.
    Shutdown,
}

/// What is done once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Errand {
    /// Remove old files.
    RemoveFiles {
        instance: InstanceName,
        class: FileClass,
        #[serde(with = "duration_ms")]
        older_than: Duration,
    },
    /// Compress logs and begin new ones.
    RotateLogs { instance: InstanceName },
    /// Run the declared hook.
    ClearCaches { instance: InstanceName },
    /// Close a link's connections.
    ResetConnections { link: LinkName },
}

/// The answer to `Hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    pub(crate) version: u32,
    pub(crate) pid: u32,
    pub(crate) capabilities: Capabilities,
}

/// An attribute's value and generation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) value: AttributeValue,
    pub(crate) generation: u64,
}

/// Where a link listens and how to ask through it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) check_path: Option<String>,
    /// How many instances are behind it.
    pub(crate) backends: usize,
}

/// What the keeper answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// As the request says.
    Ok(serde_json::Value),
    /// Not done.
    Refused(Refusal),
}

/// Why not; becomes a `ProviderError`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    Unsupported { what: String, why: String },
    Unknown { resource: String },
    Conflict { attribute: String, seen: u64, expected: u64 },
    Failed { what: String, why: String },
}

impl Refusal {
    pub(crate) fn unsupported(what: impl ToString, why: impl ToString) -> Self {
        Self::Unsupported { what: what.to_string(), why: why.to_string() }
    }

    pub(crate) fn unknown(resource: impl ToString) -> Self {
        Self::Unknown { resource: resource.to_string() }
    }

    pub(crate) fn failed(what: impl ToString, why: impl ToString) -> Self {
        Self::Failed { what: what.to_string(), why: why.to_string() }
    }
}

/// How an attribute is called in messages.
pub(crate) fn name(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Replicas(service) => format!("replicas of service/{service}"),
        Attribute::CpuLimit(service) => format!("CPU limit of service/{service}"),
        Attribute::MemoryLimit(service) => format!("memory limit of service/{service}"),
        Attribute::Release(service) => format!("what service/{service} runs"),
        Attribute::VolumeSize(instance) => format!("size of volume/{instance}"),
        Attribute::Ejected(link, instance) => format!("ejection of {instance} from link/{link}"),
        Attribute::BreakerHeldOpen(link) => format!("breaker of link/{link}"),
    }
}

#[cfg(test)]
mod tests {
    use domain::FaultKind;
    use proptest::prelude::{any, proptest};
    use proptest::sample::{Index, select};

    use super::*;

    fn requests() -> Vec<Request> {
        let plan = domain::IdSource::seeded(1).next(domain::Time { boot_us: 1, wall_us: 1 });
        let token = StepToken { plan, index: 0 };
        let instance: InstanceName = "cart-0".parse().unwrap();
        let fault = Fault {
            target: "instance/cart-0".parse().unwrap(),
            kind: FaultKind::Pause,
            duration: Duration::from_secs(5),
        };
        vec![
            Request::Hello { version: VERSION },
            Request::Sample,
            Request::Events { after: 7, timeout_ms: 500 },
            Request::Restart { token, instance, expected: None, manner: StopManner::Kill },
            Request::Inject { token, fault, expected: None },
        ]
    }

    proptest! {
        /// Whatever comes over the socket: it is a request or it is refused.
        #[test]
        fn no_line_panics(
            request in select(requests()),
            at in any::<Index>(),
            cut in 0..20_usize,
            with in any::<Vec<u8>>(),
        ) {
            let _ = serde_json::from_slice::<Request>(&with);
            let mut line = serde_json::to_vec(&request).unwrap();
            assert_eq!(serde_json::from_slice::<Request>(&line).unwrap(), request);
            let at = at.index(line.len());
            line.splice(at..(at + cut).min(line.len()), with);
            let _ = serde_json::from_slice::<Request>(&line);
            let _ = serde_json::from_slice::<Reply>(&line);
        }
    }
}
