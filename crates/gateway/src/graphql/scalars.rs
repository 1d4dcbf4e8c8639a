//! Scalars and enumerations: the names of `domain` in the spelling of GraphQL.

use async_graphql::{Enum, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use domain::{PlanStatus, Time};
use store::PlanPurpose;

/// A time, as RFC 3339 has it: `2026-11-21T03:00:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateTime(pub(super) Time);

#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/date-time")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => crate::api::time(text).map(Self).ok_or_else(|| {
                InputValueError::custom(format!("{text:?} is no RFC 3339 time, such as 2026-11-21T03:00:00Z"))
            }),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.rfc3339())
    }
}

/// How careful one has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Environment")]
pub(super) enum Environment {
    /// Users depend on it.
    Production,
    /// A copy to try things on.
    Staging,
    /// Somebody's own.
    Dev,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Severity")]
pub(super) enum Severity {
    /// Can wait.
    Low,
    /// Today.
    Medium,
    /// Now.
    High,
    /// Users are hurt.
    Critical,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::IssueKind")]
pub(super) enum IssueType {
    /// An instance ended, ends again and again, or hangs.
    PodCrash,
    /// Above its share of the CPU limit.
    HighCpu,
    /// Above its share of the memory limit.
    HighMemory,
    /// Above its share of the volume.
    DiskFull,
    /// Requests on a link are slow.
    NetworkLatency,
    /// Queries are slow.
    DatabaseSlow,
    /// A certificate ends soon.
    CertificateExpiry,
    /// A known weakness in what runs.
    SecurityVulnerability,
    /// What is differs from what was declared.
    ConfigurationDrift,
    /// Requests fail on a link.
    ErrorRate,
    /// An error budget burns too fast.
    SloBurn,
    /// An alert of a rule fires.
    Alert,
}

/// Whether an issue is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "store::IssueState")]
pub(super) enum IssueState {
    /// It was not seen to be well yet.
    Open,
    /// It is over.
    Closed,
}

/// Where the process of an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::snapshot::Phase")]
pub(super) enum Phase {
    /// Runs, was not ready yet.
    Starting,
    /// Runs and is ready.
    Ready,
    /// Runs, was ready, is not now.
    NotReady,
    /// Is being drained or stopped on purpose.
    Stopping,
    /// Does not run; it is started again when its back-off is over.
    BackingOff,
    /// The provider cannot tell.
    Unknown,
}

/// Where a remediation is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum RemediationStatus {
    /// Made, waits for a slot or a rate.
    Pending,
    /// Waits for a person.
    AwaitingApproval,
    /// Its steps run, or what they did is being verified.
    InProgress,
    /// Ended well.
    Success,
    /// Ended badly.
    Failed,
    /// Was taken back.
    RolledBack,
    /// Never ran.
    Refused,
}

impl From<PlanStatus> for RemediationStatus {
    fn from(status: PlanStatus) -> Self {
        match status {
            PlanStatus::Pending => Self::Pending,
            PlanStatus::AwaitingApproval => Self::AwaitingApproval,
            PlanStatus::InProgress | PlanStatus::Verifying => Self::InProgress,
            PlanStatus::Success => Self::Success,
            PlanStatus::Failed => Self::Failed,
            PlanStatus::RolledBack => Self::RolledBack,
            PlanStatus::Refused => Self::Refused,
        }
    }
}

impl From<RemediationStatus> for PlanStatus {
    fn from(status: RemediationStatus) -> Self {
        match status {
            RemediationStatus::Pending => Self::Pending,
            RemediationStatus::AwaitingApproval => Self::AwaitingApproval,
            RemediationStatus::InProgress => Self::InProgress,
            RemediationStatus::Success => Self::Success,
            RemediationStatus::Failed => Self::Failed,
            RemediationStatus::RolledBack => Self::RolledBack,
            RemediationStatus::Refused => Self::Refused,
        }
    }
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Enum)]
pub(super) enum RemediationPurpose {
    /// It repairs an issue.
    #[default]
    Remediation,
    /// Somebody asked for it.
    Operation,
    /// It disturbs on purpose.
    Experiment,
    /// It takes back a measure.
    Lift,
    /// Whatever it is for.
    Any,
}

impl RemediationPurpose {
    /// The only purpose that is meant; `None` for all.
    pub(super) fn only(self) -> Option<PlanPurpose> {
        match self {
            Self::Remediation => Some(PlanPurpose::Remediation),
            Self::Operation => Some(PlanPurpose::Operation),
            Self::Experiment => Some(PlanPurpose::Experiment),
            Self::Lift => Some(PlanPurpose::Lift),
            Self::Any => None,
        }
    }
}
