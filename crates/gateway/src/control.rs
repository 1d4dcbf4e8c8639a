//! What the gateway asks of the running loops. The binary implements [`Control`]; everything that is
//! stored (issues, plans, switches, experiments, scores over time) is read from [`store::Store`] directly.
//!
//! Calls may block for as long as a request may take; the gateway makes them off its event thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use decide::plan::Policy;
use domain::{
    BurnBound, Capabilities, Deployment, ExperimentId, Fault, FaultKind, Infrastructure, IssueId, IssueKind,
    Percent, Plan, PlanId, PlanStatus, Reason, ResourceId, ServiceName, Severity, Snapshot, StepToken,
    Strategy, Time,
};
use store::HealthRecord;

use crate::problem::Listed;

/// What the gateway asks of the running loops.
///
/// # Errors
///
/// A method that may fail says by its [`ControlError`] which answer a client gets, and why.
pub trait Control: Send + Sync {
    /// The latest snapshot; `None` before the first.
    fn snapshot(&self) -> Option<Arc<Snapshot>>;

    /// The latest health, recorded or not yet; `None` before the first snapshot.
    fn health(&self) -> Option<HealthRecord>;

    /// What the loop cannot do now, with why, and tries again; empty where all is well.
    fn troubles(&self) -> Vec<String>;

    /// What bounds repairs and experiments now: limits, the trust ladder, chaos safety.
    fn policy(&self) -> Policy;

    /// What the provider can do on this machine.
    fn capabilities(&self) -> Capabilities;

    /// The faults that are in effect now.
    fn running_faults(&self) -> Vec<RunningFault>;

    /// Plans the repair of an issue and, where `mode` says so, starts it.
    fn remediate(&self, issue: IssueId, mode: RunMode, who: &str) -> Result<Planned, ControlError>;

    /// Lets a plan that waits for a person run.
    fn approve(&self, plan: PlanId, who: &str) -> Result<(), ControlError>;

    /// Ends a plan that waits for a person, or what somebody asked for and waits for its turn.
    fn reject(&self, plan: PlanId, who: &str) -> Result<(), ControlError>;

    /// Takes a finished plan back.
    fn roll_back(&self, plan: PlanId, who: &str) -> Result<(), ControlError>;

    /// Lets a service run something else, one instance after another, and where `mode` says so, starts it.
    fn deploy(
        &self,
        service: &ServiceName,
        request: DeployRequest,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError>;

    /// What is up, as it was declared; `None` where nothing is.
    fn infrastructure(&self) -> Result<Option<Infrastructure>, ControlError>;

    /// Reads a definition (our YAML, or a Compose file), brings it up, all or nothing, and where `mode` says so, starts
    /// that. [`ControlError::Refused`] where something is up already: one Infrastructure is kept at a time.
    fn create_infrastructure(
        &self,
        definition: &str,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError>;

    /// Takes an Infrastructure down with its volumes and, where `mode` says so, starts that. The plan waits for an
    /// approval unless policy says otherwise.
    fn delete_infrastructure(
        &self,
        name: &ServiceName,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError>;

    /// Runs so many instances of a service, until somebody asks for another number. Ending many waits for an approval.
    fn scale(
        &self,
        service: &ServiceName,
        replicas: u32,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError>;

    /// Takes down a deployment that somebody else made, once; `at` counts by its wall clock, and is now where it is
    /// left out. The answer is the deployment that stands for it.
    fn post_deployment(
        &self,
        service: &ServiceName,
        version: &str,
        at: Option<Time>,
    ) -> Result<Deployment, ControlError>;

    /// Sets the master switch above the trust ladder.
    fn set_automation(&self, automation: Automation, who: &str) -> Result<(), ControlError>;

    /// Nothing is repaired or disturbed at a service for a while.
    fn pause(&self, service: &ServiceName, time: Duration, who: &str) -> Result<(), ControlError>;

    /// Ends a pause.
    fn resume(&self, service: &ServiceName, who: &str) -> Result<(), ControlError>;

    /// What an experiment would do at each of its targets, and what stands against it; changes nothing.
    fn preview_experiment(&self, request: &ExperimentRequest) -> Result<Vec<Planned>, ControlError>;

    /// Starts an experiment.
    fn inject(&self, request: ExperimentRequest) -> Result<ExperimentId, ControlError>;

    /// Ends an experiment and takes its faults out.
    fn abort(&self, experiment: ExperimentId, who: &str) -> Result<(), ControlError>;

    /// Takes every fault out, stops every plan, and latches until cleared. Returns the number of faults
    /// taken out.
    fn emergency_stop(&self, who: &str) -> Result<u32, ControlError>;

    /// Clears the latch.
    fn clear_emergency_stop(&self, who: &str) -> Result<(), ControlError>;

    /// What may be tried for which issue, with the success rates as they are now.
    fn strategies(&self) -> Vec<StrategyRate>;

    /// The last `lines` lines of output of every instance of a service.
    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ControlError>;
}

/// Whether repairs run by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Automation {
    /// As far as the trust ladder allows.
    On,
    /// Nothing runs by itself; standing restarts go on.
    Off,
}

/// Whether a plan is only shown or also run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Shown with its expected effect; changes nothing.
    DryRun,
    /// Run, as far as guard and ladder allow.
    Run,
}

/// What a service is to run, as far as it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployRequest {
    /// What it is called.
    pub version: String,
    /// Program and arguments; `None`: as they are.
    pub command: Option<Vec<String>>,
    /// Environment variables that are set; the others stay.
    pub environment: BTreeMap<String, String>,
}

/// A fault that is in effect.
#[derive(Debug, Clone, PartialEq)]
pub struct RunningFault {
    /// The step that set it.
    pub token: StepToken,
    /// What and where.
    pub fault: Fault,
    /// Since when.
    pub since: Time,
    /// When it ends by itself.
    pub until: Time,
    /// The experiment it belongs to.
    pub experiment: Option<ExperimentId>,
}

/// How often a strategy worked for a type of issue with a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyRate {
    /// The type of issue.
    pub kind: IssueKind,
    /// Its reason.
    pub reason: Reason,
    /// The strategy.
    pub strategy: Strategy,
    /// The rate by which it is chosen now.
    pub success_rate: Percent,
    /// How many verified outcomes are in that rate; 0: it is the prior alone.
    pub outcomes: u32,
    /// Why it cannot be done on this machine; `None` where it can.
    pub unavailable: Option<String>,
}

/// The answer to [`Control::remediate`], [`Control::deploy`] and [`Control::preview_experiment`].
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The plan; in a dry run it is kept nowhere.
    pub plan: Plan,
    /// Where it is: `Pending` for a dry run that the guard would clear and that could be done.
    pub status: PlanStatus,
    /// The guard's reasons to wait or refuse, in plain sentences; empty where it clears.
    pub reasons: Vec<String>,
}

/// An experiment, read and checked for form.
#[derive(Debug, Clone, PartialEq)]
pub struct ExperimentRequest {
    /// What people call it.
    pub name: String,
    /// What is done.
    pub kind: FaultKind,
    /// Where.
    pub target: Target,
    /// For how long at most.
    pub duration: Duration,
    /// How much harm it may do.
    pub severity: Severity,
    /// How careful one has to be.
    pub safety_level: SafetyLevel,
    /// Who asked.
    pub requested_by: String,
    /// Ends it early where an error budget burns too fast.
    pub abort_when: Option<BurnBound>,
}

/// Where an experiment strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// At exactly this resource.
    Resource(ResourceId),
    /// At up to `max_targets` instances of a service (or its volumes, or links to it), chosen by the
    /// chaos engine.
    Service {
        /// Which service.
        service: ServiceName,
        /// At most this many.
        max_targets: u32,
    },
}

/// The levels of the specification (C3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SafetyLevel {
    /// Shown, not done.
    DryRun,
    /// Somebody's own.
    Dev,
    /// A copy.
    Staging,
    /// A few targets in production.
    Canary,
    /// Production.
    Production,
}

impl SafetyLevel {
    /// Every level, from the least to the most careful place.
    pub const ALL: [Self; 5] = [Self::DryRun, Self::Dev, Self::Staging, Self::Canary, Self::Production];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::DryRun => "dry-run",
            Self::Dev => "dev",
            Self::Staging => "staging",
            Self::Canary => "canary",
            Self::Production => "production",
        }
    }
}

/// Why a loop did not do what it was asked. Each is one stable code on the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// 404 `not_found`: it does not exist.
    #[error("there is no {what}")]
    NotFound {
        /// What was named.
        what: String,
        /// Where what there is is listed.
        listed: Option<Listed>,
    },
    /// 409 `conflict`: not in the state it is in.
    #[error("{why}")]
    Conflict {
        /// In which state it is, and what to do.
        why: String,
    },
    /// 409 `refused`: the guard, a safety check or a switch refuses.
    #[error("{why}")]
    Refused {
        /// Which rule, the limit and the value seen.
        why: String,
    },
    /// 422 `unsupported`: the provider cannot do it here.
    #[error("{why}")]
    Unsupported {
        /// Why not, and what would change that.
        why: String,
    },
    /// 422 `invalid_field`: a value is out of range.
    #[error("{why}")]
    Invalid {
        /// Which field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// 503 `unavailable`: the loop or the provider does not answer.
    #[error("{why}")]
    Unavailable {
        /// What does not answer, and what to do.
        why: String,
    },
}
