//! Plans: everything that changes the world, written down before it runs.
//!
//! A plan is an immutable straight line of steps. Each step names its action, its undo and how its effect
//! is proven. A retry, a fallback or a decision ends a plan; the next turn plans the next one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cause::Cause;
use crate::deployment::Release;
use crate::fault::Fault;
use crate::id::{ExperimentId, IssueId, PlanId};
use crate::infrastructure::Infrastructure;
use crate::issue::{IssueKind, Reason, Severity};
use crate::resource::{Incarnation, InstanceName, LinkName, ResourceId, ServiceName};
use crate::strategy::Strategy;
use crate::time::Time;
use crate::units::{Bytes, Cores, duration_ms};
use crate::volume::FileClass;

/// How an instance is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopManner {
    /// Taken out of the balancing, asked to drain, SIGTERM, after the stop timeout SIGKILL.
    Drain,
    /// SIGKILL: for what hangs.
    Kill,
}

/// One change of the world.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop the process in a slot and start another.
    RestartInstance {
        /// Which slot.
        instance: InstanceName,
        /// How it is stopped.
        manner: StopManner,
    },
    /// Set the number of instances.
    SetReplicas {
        /// Of which service.
        service: ServiceName,
        /// To how many.
        replicas: u32,
    },
    /// Set the CPU limit.
    SetCpuLimit {
        /// Of which service.
        service: ServiceName,
        /// To what.
        limit: Cores,
    },
    /// Set the memory limit.
    SetMemoryLimit {
        /// Of which service.
        service: ServiceName,
        /// To what.
        limit: Bytes,
    },
    /// Change what a service runs, one instance after another, each waited for until it is ready.
    Deploy {
        /// Which service.
        service: ServiceName,
        /// What it is to run.
        release: Box<Release>,
    },
    /// Grow (or give back) a volume, online.
    ResizeVolume {
        /// Whose.
        instance: InstanceName,
        /// To what.
        size: Bytes,
    },
    /// Remove files of a class that are older than an age.
    RemoveFiles {
        /// From whose volume.
        instance: InstanceName,
        /// Temporary or cached files.
        class: FileClass,
        /// Only those not modified for this long.
        #[serde(with = "duration_ms")]
        older_than: Duration,
    },
    /// Compress the log files of a volume and let the service begin new ones.
    RotateLogs {
        /// In whose volume.
        instance: InstanceName,
    },
    /// Run the declared hook that empties the instance's caches.
    ClearCaches {
        /// Whose.
        instance: InstanceName,
    },
    /// Take one instance out of a link's balancing.
    EjectBackend {
        /// Which link.
        link: LinkName,
        /// Which instance.
        instance: InstanceName,
    },
    /// Answer at once with 503 instead of calling, until lifted. The caller can then degrade.
    OpenBreaker {
        /// Which link.
        link: LinkName,
    },
    /// Close every connection of a link; new ones are made as needed.
    ResetConnections {
        /// Which link.
        link: LinkName,
    },
    /// Bring a declared set of services up.
    BringUp {
        /// What.
        infrastructure: Box<Infrastructure>,
        /// What has to be there for it to be done. Plans of before this was written down meant [`UpWhen::Ready`].
        #[serde(default)]
        up_when: UpWhen,
    },
    /// Take a declared set of services down, with its volumes.
    TakeDown {
        /// What, as it was declared when the plan was made: anything else that is up then is not touched.
        infrastructure: Box<Infrastructure>,
    },
    /// Disturb.
    Inject(Fault),
}

/// When a declared set of services counts as brought up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpWhen {
    /// Every instance is ready; where one does not become ready, none of them stay.
    #[default]
    Ready,
    /// Its processes are being started, as at each boot: one that does not become ready is looked after like whatever
    /// fails later, and the others stay.
    Started,
}

/// How a step is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Puts back exactly what was captured.
    Exact,
    /// Another action makes up for it.
    Compensating(Box<Action>),
    /// There is nothing to restore (a restart).
    NothingToRestore,
    /// Cannot be taken back (a removed file). Waits for approval unless policy names it.
    Irreversible,
}

/// A value that belongs to a resource and can be set. Each has an owner and a generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// Number of instances.
    Replicas(ServiceName),
    /// CPU limit.
    CpuLimit(ServiceName),
    /// Memory limit.
    MemoryLimit(ServiceName),
    /// What the instances run.
    Release(ServiceName),
    /// Size of a volume.
    VolumeSize(InstanceName),
    /// Whether an instance is taken out of a link's balancing by a plan.
    Ejected(LinkName, InstanceName),
    /// Whether a link's breaker is held open by a plan.
    BreakerHeldOpen(LinkName),
}

/// The value of an [`Attribute`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttributeValue {
    /// A count.
    Count(u32),
    /// A size, or no limit.
    Size(Option<Bytes>),
    /// A CPU share, or no limit.
    Cpu(Option<Cores>),
    /// On or off.
    Flag(bool),
    /// What is run.
    Release(Box<Release>),
}

/// What was there before a step ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Captured {
    /// An attribute with its value and generation.
    Attribute {
        /// Which.
        attribute: Attribute,
        /// Its value.
        value: AttributeValue,
        /// Its generation.
        generation: u64,
    },
    /// The process in a slot; `None`: there was none.
    Process {
        /// Which slot.
        instance: InstanceName,
        /// Which process.
        incarnation: Option<Incarnation>,
    },
    /// What was up; `None`: nothing was.
    Infrastructure {
        /// As it was declared.
        up: Option<Box<Infrastructure>>,
    },
    /// Nothing needs to be known to undo the step.
    Nothing,
}

/// Whether a step's effect is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It is.
    Present,
    /// It is not.
    Absent,
    /// It cannot be told.
    Unknown,
}

/// Names a step for good: plan and position. It is the owner of what the step sets and the key that makes
/// doing or undoing it twice harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StepToken {
    /// The plan.
    pub plan: PlanId,
    /// The position, counted from 0.
    pub index: u32,
}

impl fmt::Display for StepToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plan, self.index)
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// How it is taken back.
    pub undo: Undo,
    /// How long it may take, proof of effect included.
    #[serde(with = "duration_ms")]
    pub timeout: Duration,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// The healing loop.
    Healing,
    /// A chaos experiment or drill.
    Chaos,
    /// A person or program, by name.
    Operator(String),
}

/// What a plan is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// Repair an issue.
    Remediation {
        /// Which issue.
        issue: IssueId,
        /// Its type.
        kind: IssueKind,
        /// Its reason.
        reason: Reason,
        /// How bad it was when the plan was made.
        #[serde(default = "unstated_severity")]
        severity: Severity,
        /// By which strategy.
        strategy: Strategy,
        /// What is believed to be the cause.
        cause: Cause,
    },
    /// Disturb on purpose.
    Experiment {
        /// Which experiment.
        experiment: ExperimentId,
    },
    /// Take back a measure whose time has come (scale back, lift a breaker).
    Lift {
        /// The plan that took it.
        of: PlanId,
    },
    /// Something a person asked for.
    Operation {
        /// In their words.
        why: String,
    },
}

/// Plans that were written down before plans stated it.
fn unstated_severity() -> Severity {
    Severity::High
}

/// The signal that says whether a plan worked: `detect` is asked again about this type on this resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// The type of issue that must be gone.
    pub kind: IssueKind,
    /// From which resource. The caller's link where the repair takes the resource out of use.
    pub resource: ResourceId,
    /// How long after the last step the signal may take to come back in bounds.
    #[serde(with = "duration_ms")]
    pub deadline: Duration,
    /// How long it then must hold.
    #[serde(with = "duration_ms")]
    pub hold: Duration,
}

/// An immutable plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id.
    pub id: PlanId,
    /// What it is for.
    pub intent: Intent,
    /// Who asked.
    pub requested_by: Actor,
    /// One plain sentence: what will be done and why.
    pub summary: String,
    /// What is expected to come of it, in one sentence.
    pub expected_effect: String,
    /// The steps, in order; at least one.
    pub steps: Vec<Step>,
    /// How it is verified; `None` for faults and lifts, which prove their own effect.
    pub verify: Option<Signal>,
    /// Every resource it may touch or take out of use.
    pub blast_radius: Vec<ResourceId>,
    /// After this long the plan's exact undo runs by itself (timed scale-back, mitigations to be lifted).
    pub lift_after: Option<Duration>,
    /// When it was made.
    pub created_at: Time,
}

impl Plan {
    /// The names of its steps.
    pub fn tokens(&self) -> impl Iterator<Item = StepToken> + '_ {
        (0..self.steps.len()).map(|index| StepToken { plan: self.id, index: index as u32 })
    }

    /// The strategy, where it is a remediation.
    pub fn strategy(&self) -> Option<Strategy> {
        match &self.intent {
            Intent::Remediation { strategy, .. } => Some(*strategy),
            _ => None,
        }
    }
}

impl Action {
    /// The resource it changes.
    pub fn resource(&self) -> ResourceId {
        match self {
            Self::RestartInstance { instance, .. } | Self::ClearCaches { instance } => {
                ResourceId::Instance(instance.clone())
            }
            Self::SetReplicas { service, .. }
            | Self::SetCpuLimit { service, .. }
            | Self::SetMemoryLimit { service, .. }
            | Self::Deploy { service, .. } => ResourceId::Service(service.clone()),
            Self::ResizeVolume { instance, .. }
            | Self::RemoveFiles { instance, .. }
            | Self::RotateLogs { instance } => ResourceId::Volume(instance.clone()),
            Self::EjectBackend { link, .. }
            | Self::OpenBreaker { link }
            | Self::ResetConnections { link } => ResourceId::Link(link.clone()),
            Self::BringUp { infrastructure, .. } | Self::TakeDown { infrastructure } => {
                ResourceId::Infrastructure(infrastructure.name.clone())
            }
            Self::Inject(fault) => fault.target.clone(),
        }
    }

    /// The Infrastructure it brings up or takes down as a whole, if it does either.
    pub fn infrastructure(&self) -> Option<&Infrastructure> {
        match self {
            Self::BringUp { infrastructure, .. } | Self::TakeDown { infrastructure } => Some(infrastructure),
            _ => None,
        }
    }

    /// The attribute it sets and the value it gives it, for actions that set one.
    pub fn sets(&self) -> Option<(Attribute, AttributeValue)> {
        Some(match self {
            Self::SetReplicas { service, replicas } => {
                (Attribute::Replicas(service.clone()), AttributeValue::Count(*replicas))
            }
            Self::SetCpuLimit { service, limit } => {
                (Attribute::CpuLimit(service.clone()), AttributeValue::Cpu(Some(*limit)))
            }
            Self::SetMemoryLimit { service, limit } => {
                (Attribute::MemoryLimit(service.clone()), AttributeValue::Size(Some(*limit)))
            }
            Self::Deploy { service, release } => {
                (Attribute::Release(service.clone()), AttributeValue::Release(release.clone()))
            }
            Self::ResizeVolume { instance, size } => {
                (Attribute::VolumeSize(instance.clone()), AttributeValue::Size(Some(*size)))
            }
            Self::EjectBackend { link, instance } => {
                (Attribute::Ejected(link.clone(), instance.clone()), AttributeValue::Flag(true))
            }
            Self::OpenBreaker { link } => {
                (Attribute::BreakerHeldOpen(link.clone()), AttributeValue::Flag(true))
            }
            Self::RestartInstance { .. }
            | Self::RemoveFiles { .. }
            | Self::RotateLogs { .. }
            | Self::ClearCaches { .. }
            | Self::ResetConnections { .. }
            | Self::BringUp { .. }
            | Self::TakeDown { .. }
            | Self::Inject(_) => return None,
        })
    }
}

/// Where a plan is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanStatus {
    /// Made, waits for a slot or a rate.
    Pending,
    /// Waits for a person.
    AwaitingApproval,
    /// Its steps run.
    InProgress,
    /// Its steps ran; its signal is being watched. Shown as `in_progress` in the API.
    Verifying,
    /// Ended well.
    Success,
    /// Ended badly, and could not be taken back or had nothing to take back.
    Failed,
    /// Ended badly and was taken back, or was taken back by hand.
    RolledBack,
    /// Never ran: the guard, a person or the provider refused, or it was superseded.
    Refused,
}

impl PlanStatus {
    /// The name in the database; the API shows `verifying` as `in_progress`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingApproval => "awaiting_approval",
            Self::InProgress => "in_progress",
            Self::Verifying => "verifying",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Refused => "refused",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::RolledBack | Self::Refused)
    }
}

impl fmt::Display for PlanStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
