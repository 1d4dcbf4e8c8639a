//! What the gateway asks of the running loops, answered by them.
//!
//! In: the gateway's questions. Out: the loops' answers in the gateway's words. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SendError};
use std::time::Duration;

use act::Executor;
use chaos::{ChaosError, Experiments};
use decide::plan::Policy;
use decide::plan::priors::candidates;
use domain::{
    Capabilities, Clock, Deployment, ExperimentId, Fault, FaultKind, Infrastructure, InstanceName, IssueId,
    IssueKind, PlanId, PlanStatus, Reason, Release, ResourceId, ServiceName, Snapshot, Strategy, Time,
};
use gateway::{
    Automation, Control, ControlError, DeployRequest, ExperimentRequest, Listed, Planned, RunMode,
    RunningFault, SafetyLevel, StrategyRate, Target,
};
use heal::{Deploy, Healer, Missing, OperateError, Proposal};
use provider::ProcessProvider;
use provider::{Look, ProviderError};
use store::{ExperimentStatus, HealthRecord, Store, StoreError};

use crate::receiving::with_endpoint;
use crate::references;

/// How long a request to inject waits for the effect; the gateway gives up after 10 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// The loops of one control plane.
pub(crate) struct Loops {
    pub(crate) store: Store,
    pub(crate) provider: Arc<ProcessProvider>,
    pub(crate) healer: Arc<Healer>,
    pub(crate) experiments: Arc<Experiments>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where services that are brought up send their telemetry; `None` where it is not taken.
    pub(crate) endpoint: Option<String>,
}

impl Control for Loops {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.healer.snapshot()
    }

    fn health(&self) -> Option<HealthRecord> {
        self.healer.health_record()
    }

    fn troubles(&self) -> Vec<String> {
        self.healer.troubles()
    }

    fn policy(&self) -> Policy {
        self.healer.settings().policy.clone()
    }

    fn capabilities(&self) -> Capabilities {
        self.provider.capabilities()
    }

    fn running_faults(&self) -> Vec<RunningFault> {
        self.experiments
            .running()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| RunningFault {
                token: fault.token,
                fault: fault.fault,
                since: fault.since,
                until: fault.until,
                experiment: self.experiment_of(fault.token.plan),
            })
            .collect()
    }

    fn remediate(&self, issue: IssueId, mode: RunMode, who: &str) -> Result<Planned, ControlError> {
        self.healer.remediate(issue, run_mode(mode), who).map(planned).map_err(operate)
    }

    fn approve(&self, plan: PlanId, who: &str) -> Result<(), ControlError> {
        self.healer.approve(plan, who).map_err(operate)
    }

    fn reject(&self, plan: PlanId, who: &str) -> Result<(), ControlError> {
        self.healer.reject(plan, who).map_err(operate)
    }

    fn roll_back(&self, plan: PlanId, who: &str) -> Result<(), ControlError> {
        self.healer.roll_back(plan, who).map_err(operate)
    }

    fn deploy(
        &self,
        service: &ServiceName,
        request: DeployRequest,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        let DeployRequest { version, command, environment } = request;
        check_release(command.as_deref(), &environment)?;
        references::of_release(command.as_deref(), &environment)?;
        let change = Deploy { version, command, environment };
        self.healer.deploy(service, change, run_mode(mode), who).map(planned).map_err(operate)
    }

    fn infrastructure(&self) -> Result<Option<Infrastructure>, ControlError> {
        self.provider.infrastructure().map_err(provided)
    }

    fn create_infrastructure(
        &self,
        definition: &str,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        let infrastructure = provider::manifest::parse("definition", definition).map_err(|error| {
            ControlError::Invalid { field: "definition".to_owned(), why: error.to_string() }
        })?;
        references::of_definition(&infrastructure)?;
        let infrastructure = with_endpoint(&infrastructure, self.endpoint.as_deref());
        self.healer.create_infrastructure(infrastructure, run_mode(mode), who).map(planned).map_err(operate)
    }

    fn delete_infrastructure(
        &self,
        name: &ServiceName,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        self.healer.delete_infrastructure(name, run_mode(mode), who).map(planned).map_err(operate)
    }

    fn scale(
        &self,
        service: &ServiceName,
        replicas: u32,
        mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        self.healer.scale(service, replicas, run_mode(mode), who).map(planned).map_err(operate)
    }

    fn post_deployment(
        &self,
        service: &ServiceName,
        version: &str,
        at: Option<Time>,
    ) -> Result<Deployment, ControlError> {
        self.healer.post_deployment(service, version, at).map_err(operate)
    }

    fn set_automation(&self, automation: Automation, _who: &str) -> Result<(), ControlError> {
        self.store.set_automation(automation == Automation::On).map_err(stored)?;
        self.healer.wake();
        Ok(())
    }

    fn pause(&self, service: &ServiceName, time: Duration, _who: &str) -> Result<(), ControlError> {
        self.healer.pause(service, Some(time)).map_err(operate)
    }

    fn resume(&self, service: &ServiceName, _who: &str) -> Result<(), ControlError> {
        self.healer.pause(service, None).map_err(operate)
    }

    fn preview_experiment(&self, request: &ExperimentRequest) -> Result<Vec<Planned>, ControlError> {
        let asked = self.each(request)?;
        let preview = |request| {
            let chaos::Preview { plan, reasons } = self.experiments.preview(request).map_err(disturb)?;
            let status = if reasons.is_empty() { PlanStatus::Pending } else { PlanStatus::Refused };
            Ok(Planned { plan, status, reasons })
        };
        asked.iter().map(preview).collect()
    }

    fn inject(&self, request: ExperimentRequest) -> Result<ExperimentId, ControlError> {
        if request.safety_level == SafetyLevel::DryRun {
            let why =
                "a dry run of an experiment is not there yet; the plan of a fault is its one step".to_owned();
            return Err(ControlError::Unsupported { why });
        }
        self.inject_each(self.each(&request)?)
    }

    fn abort(&self, experiment: ExperimentId, _who: &str) -> Result<(), ControlError> {
        self.experiments.end(experiment, ExperimentStatus::Aborted).map_err(disturb)
    }

    fn emergency_stop(&self, _who: &str) -> Result<u32, ControlError> {
        let stopped = self.executor.emergency_stop();
        let stopped = stopped.map_err(|error| ControlError::Unavailable { why: error.to_string() })?;
        if let Err(error) = self.experiments.settle() {
            log::error!("cannot close an experiment: {error}");
        }
        Ok(stopped.faults)
    }

    fn clear_emergency_stop(&self, _who: &str) -> Result<(), ControlError> {
        self.store.clear_emergency_stop().map_err(stored)?;
        self.healer.wake();
        Ok(())
    }

    fn strategies(&self) -> Vec<StrategyRate> {
        let rates = self.healer.rates();
        let capabilities = self.provider.capabilities();
        let pairs = IssueKind::ALL.into_iter().flat_map(|kind| Reason::ALL.map(|reason| (kind, reason)));
        pairs
            .flat_map(|(kind, reason)| candidates(kind, reason).iter().map(move |one| (kind, reason, one)))
            .map(|(kind, reason, one)| {
                let estimate = rates.estimate(kind, reason, one.strategy, one.prior);
                StrategyRate {
                    kind,
                    reason,
                    strategy: one.strategy,
                    success_rate: estimate.rate,
                    outcomes: u32::try_from(estimate.runs).unwrap_or(u32::MAX),
                    unavailable: unavailable(one.strategy, &capabilities),
                }
            })
            .collect()
    }

    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ControlError> {
        self.provider.logs(service, lines).map_err(provided)
    }
}

impl Loops {
    /// Ends every fault that is in force or being put in force. What cannot be ended now is owed, and tried
    /// again by the loop.
    pub(crate) fn end_faults(&self, why: &str) {
        let entries = || -> store::Result<BTreeSet<PlanId>> {
            let open = self.store.entries_without_ending()?.into_iter().filter(|entry| entry.is_fault());
            Ok(open.chain(self.store.steps_in_force()?).map(|entry| entry.token.plan).collect())
        };
        let plans = entries().unwrap_or_else(|error| {
            log::error!("cannot see which faults are in force: {error}");
            BTreeSet::new()
        });
        for plan in plans {
            if let Err(error) = self.executor.undo_plan(plan, why) {
                log::error!("plan {plan}: its fault cannot be ended: {error}");
            }
        }
    }

    /// Injects one after the other, each until it is felt, and gives the first. That may take longer than an answer
    /// may: what goes on is then seen in the experiments, which have no start yet, and in why they failed.
    fn inject_each(&self, asked: Vec<chaos::ExperimentRequest>) -> Result<ExperimentId, ControlError> {
        let experiments = Arc::clone(&self.experiments);
        let (admitted, first) = mpsc::sync_channel(asked.len());
        let (done, outcome) = mpsc::sync_channel(1);
        let inject = move || {
            let each = |request: &chaos::ExperimentRequest| {
                let cleared = experiments.admit(request)?;
                // Only the first is waited for, and only until the answer.
                let _ = admitted.send(cleared.experiment);
                experiments.carry_out(cleared).map(drop)
            };
            if let Err(SendError(Err(error))) = done.send(asked.iter().try_for_each(each)) {
                log::warn!("after its request was answered, an experiment failed: {error}");
            }
        };
        let unavailable = |why: &str| ControlError::Unavailable { why: why.to_owned() };
        std::thread::Builder::new()
            .name("experiment".to_owned())
            .spawn(inject)
            .map_err(|error| ControlError::Unavailable { why: format!("no thread for it: {error}") })?;
        let outcome = outcome.recv_timeout(ANSWER_WITHIN);
        match outcome {
            Ok(Err(error)) => Err(disturb(error)),
            Ok(Ok(())) | Err(RecvTimeoutError::Timeout) => first.try_recv().map_err(|_| {
                unavailable(
                    "the fleet has not been looked at yet; look at the experiments before asking again",
                )
            }),
            Err(RecvTimeoutError::Disconnected) => Err(unavailable("its thread ended without an answer")),
        }
    }

    /// One request for each target.
    fn each(&self, request: &ExperimentRequest) -> Result<Vec<chaos::ExperimentRequest>, ControlError> {
        let targets = self.targets(request)?;
        let asked = targets.into_iter().map(|target| chaos::ExperimentRequest {
            name: request.name.clone(),
            fault: Fault { target, kind: request.kind.clone(), duration: request.duration },
            severity: request.severity,
            safety_level: request.safety_level.name().to_owned(),
            requested_by: request.requested_by.clone(),
            abort_when: request.abort_when.clone(),
        });
        let asked: Vec<chaos::ExperimentRequest> = asked.collect();
        if asked.is_empty() {
            return Err(ControlError::Invalid {
                field: "target".to_owned(),
                why: "nothing matches; an empty selection never means everything".to_owned(),
            });
        }
        Ok(asked)
    }

    fn experiment_of(&self, plan: PlanId) -> Option<ExperimentId> {
        match self.store.plan(plan).ok()??.plan.intent {
            domain::Intent::Experiment { experiment } => Some(experiment),
            _ => None,
        }
    }

    /// The resources a request strikes: the named one, or up to `max_targets` instances of a service in
    /// the order of their slots.
    fn targets(&self, request: &ExperimentRequest) -> Result<Vec<ResourceId>, ControlError> {
        let (service, max_targets) = match &request.target {
            Target::Resource(resource) => return Ok(vec![resource.clone()]),
            Target::Service { service, max_targets } => (service, *max_targets),
        };
        let unavailable =
            || ControlError::Unavailable { why: "the fleet has not been looked at yet".to_owned() };
        let snapshot = self.healer.snapshot().ok_or_else(unavailable)?;
        let unknown =
            || ControlError::NotFound { what: format!("service {service}"), listed: Some(Listed::Services) };
        let state = snapshot.services.get(service).ok_or_else(unknown)?;
        let as_resource = |instance: &InstanceName| match request.kind {
            FaultKind::DiskFill { .. } => ResourceId::Volume(instance.clone()),
            _ => ResourceId::Instance(instance.clone()),
        };
        Ok(match request.kind {
            FaultKind::NetworkLatency { .. }
            | FaultKind::NetworkPartition { .. }
            | FaultKind::ApiThrottling { .. } => snapshot
                .links_to(service)
                .take(max_targets as usize)
                .map(|(name, _)| ResourceId::Link(name.clone()))
                .collect(),
            _ => state.instances.keys().take(max_targets as usize).map(as_resource).collect(),
        })
    }
}

/// Refuses what no process here could be given, whatever it runs now.
fn check_release(
    command: Option<&[String]>,
    environment: &BTreeMap<String, String>,
) -> Result<(), ControlError> {
    if let Some(program) = command.and_then(<[String]>::first).filter(|it| provider::program::is_relative(it))
    {
        let why = format!("names the program {program}, {}", provider::program::RELATIVE);
        return Err(ControlError::Invalid { field: "command".to_owned(), why });
    }
    let fault = |(name, value): (&String, &String)| {
        let why = Release::variable_fault(name, value)?.to_owned();
        Some(ControlError::Invalid { field: format!("environment.{name}"), why })
    };
    environment.iter().find_map(fault).map_or(Ok(()), Err)
}

/// Why a strategy cannot be done on this machine.
fn unavailable(strategy: Strategy, capabilities: &Capabilities) -> Option<String> {
    let enforcement = match strategy {
        Strategy::IncreaseCpuLimit => &capabilities.cpu_limit,
        Strategy::IncreaseMemoryLimit => &capabilities.memory_limit,
        Strategy::ExpandVolume => &capabilities.volumes,
        Strategy::RerouteTraffic | Strategy::CircuitBreakDependency | Strategy::ResetConnectionPool => {
            &capabilities.links
        }
        _ => return None,
    };
    enforcement.unavailable().map(ToOwned::to_owned)
}

fn planned(Proposal { plan, status, reasons }: Proposal) -> Planned {
    Planned { plan, status, reasons }
}

fn run_mode(mode: RunMode) -> heal::RunMode {
    match mode {
        RunMode::DryRun => heal::RunMode::DryRun,
        RunMode::Run => heal::RunMode::Run,
    }
}

fn operate(error: OperateError) -> ControlError {
    match error {
        OperateError::NotFound { what } => ControlError::NotFound {
            listed: Some(match what {
                Missing::Service(_) => Listed::Services,
                Missing::Issue(_) => Listed::Issues,
                Missing::Plan(_) => Listed::Remediations,
                Missing::Infrastructure(_) => Listed::Infrastructures,
            }),
            what: what.to_string(),
        },
        OperateError::State { .. } => ControlError::Conflict { why: error.to_string() },
        OperateError::NoPlan { .. } | OperateError::NotTakenBack { .. } | OperateError::Refused { .. } => {
            ControlError::Refused { why: error.to_string() }
        }
        // Wrong for this machine as it was asked for, not for the guard: the same again is refused again.
        OperateError::Impossible(ProviderError::Failed { .. }) => {
            ControlError::Unsupported { why: error.to_string() }
        }
        OperateError::Impossible(error) => provided(error),
        OperateError::NotYet | OperateError::Turn(_) => ControlError::Unavailable { why: error.to_string() },
    }
}

fn disturb(error: ChaosError) -> ControlError {
    match error {
        ChaosError::Impossible { why } => ControlError::Unsupported { why },
        ChaosError::Refused { why } => ControlError::Refused { why },
        ChaosError::Unknown(id) => {
            ControlError::NotFound { what: format!("experiment {id}"), listed: Some(Listed::Experiments) }
        }
        ChaosError::Look(error) => provided(error),
        // The fleet was as it is, and may be otherwise when it is asked again.
        ChaosError::NoEffect { .. } => ControlError::Conflict { why: error.to_string() },
        ChaosError::Unreadable { .. } | ChaosError::Store(_) | ChaosError::Act(_) => {
            ControlError::Unavailable { why: error.to_string() }
        }
    }
}

fn provided(error: ProviderError) -> ControlError {
    match error {
        ProviderError::UnknownResource { resource } => ControlError::NotFound {
            what: resource,
            // Instances, volumes and links are told with their services.
            listed: Some(Listed::Services),
        },
        ProviderError::Unsupported { .. } => ControlError::Unsupported { why: error.to_string() },
        ProviderError::Conflict { .. } => ControlError::Conflict { why: error.to_string() },
        ProviderError::Failed { .. } | ProviderError::Unreachable { .. } => {
            ControlError::Unavailable { why: error.to_string() }
        }
    }
}

fn stored(error: StoreError) -> ControlError {
    ControlError::Unavailable { why: error.to_string() }
}
