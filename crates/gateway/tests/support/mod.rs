//! A small honest fleet behind [`Control`]: switches, plans and experiments go through the real store, in
//! memory. Used by the tests and by `examples/preview.rs`.

#![allow(dead_code, reason = "each user of this module takes a part of it")]

pub(crate) mod drills;
pub(crate) mod extreme;
pub(crate) mod graphql;
pub(crate) mod objectives;
pub(crate) mod otlp;
pub(crate) mod scene;
pub(crate) mod series;
pub(crate) mod server;
pub(crate) mod traces;
pub(crate) mod webdriver;
pub(crate) mod whole;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use decide::plan::Policy;
use decide::plan::policy::{Ladder, LadderRule, Rung};
use domain::capability::{Capabilities, Enforcement};
use domain::{
    Action, Actor, Cause, CauseClass, Clock, EvidenceItem, ExperimentId, Fault, IdSource, Intent, Issue,
    IssueId, IssueKind, Percent, Plan, PlanId, PlanStatus, Reason, ServiceName, Signal, Snapshot, Step,
    StepToken, StopManner, Strategy, Time, Undo, UpWhen,
};
use gateway::{
    Automation, Control, ControlError, DeployRequest, ExperimentRequest, Planned, RunMode, RunningFault,
    StrategyRate, Target,
};
use store::{ExperimentRecord, ExperimentStatus, HealthRecord, Store};

/// The machine's wall clock, and a boot clock that began an hour before the test.
#[derive(Debug)]
pub(crate) struct MachineClock(Instant);

impl MachineClock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for MachineClock {
    fn now(&self) -> Time {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that is handed in")]
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Time {
            boot_us: self.0.elapsed().as_micros() as u64 + 48 * 3_600_000_000,
            wall_us: wall.as_micros() as i64,
        }
    }

    fn wait(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// The loops, as far as the gateway sees them.
pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) snapshot: Mutex<Option<Arc<Snapshot>>>,
    pub(crate) health: Mutex<Option<HealthRecord>>,
    pub(crate) faults: Mutex<Vec<RunningFault>>,
    pub(crate) troubles: Mutex<Vec<String>>,
    pub(crate) infrastructure: Mutex<Option<domain::Infrastructure>>,
    pub(crate) ids: Mutex<IdSource>,
}

impl Fleet {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            snapshot: Mutex::default(),
            health: Mutex::default(),
            faults: Mutex::default(),
            troubles: Mutex::default(),
            infrastructure: Mutex::default(),
            ids: Mutex::new(IdSource::seeded(7)),
        }
    }

    pub(crate) fn id<T: From<uuid::Uuid>>(&self, at: Time) -> T {
        self.ids.lock().unwrap().next(at)
    }

    /// One action that somebody asked for, shown as the loops would.
    fn operation(&self, action: Action, status: PlanStatus, who: &str) -> Planned {
        let now = self.clock.now();
        let plan = Plan {
            id: self.id(now),
            intent: Intent::Operation { why: "as asked".to_owned() },
            requested_by: Actor::Operator(who.to_owned()),
            summary: format!("change {} on request", action.resource()),
            expected_effect: "what was asked for is in force".to_owned(),
            blast_radius: vec![action.resource()],
            steps: vec![decide::plan::step(action)],
            verify: None,
            lift_after: None,
            created_at: now,
        };
        self.past_the_guard(plan, status)
    }

    /// A plan that was to run, which the emergency stop does not let begin.
    fn past_the_guard(&self, plan: Plan, status: PlanStatus) -> Planned {
        if self.store.switches().is_ok_and(|switches| switches.emergency_stop.is_none()) {
            return Planned { plan, status, reasons: Vec::new() };
        }
        // Kept as the loops keep it.
        let reasons = vec!["the emergency stop is latched".to_owned()];
        self.store.add_plan(&plan, PlanStatus::Refused, &reasons).unwrap();
        Planned { plan, status: PlanStatus::Refused, reasons }
    }

    fn waiting(&self, plan: PlanId, decided: bool) -> Result<(), ControlError> {
        if decided {
            return Ok(());
        }
        match self.store.plan(plan).map_err(unavailable)? {
            None => Err(ControlError::NotFound { what: format!("remediation {plan}"), listed: None }),
            Some(record) => Err(ControlError::Conflict {
                why: format!("the remediation is {} and does not wait for approval", record.status),
            }),
        }
    }
}

fn unavailable(error: store::StoreError) -> ControlError {
    ControlError::Unavailable { why: error.to_string() }
}

/// The plan that restarts what hangs.
pub(crate) fn restart_plan(id: PlanId, issue: &Issue, at: Time) -> Plan {
    let instance = issue.resource.instance().expect("the issue is on an instance").clone();
    Plan {
        id,
        intent: Intent::Remediation {
            issue: issue.id,
            kind: issue.kind,
            reason: issue.reason,
            severity: issue.severity,
            strategy: Strategy::RestartPod,
            cause: Cause {
                resource: issue.resource.clone(),
                class: CauseClass::ProcessHangs,
                confidence: Percent(96.0),
                pattern: "alive, silent, no CPU".to_owned(),
                evidence: vec![EvidenceItem {
                    resource: issue.resource.clone(),
                    text: "runs, but answered none of the last 3 probes within 500 ms".to_owned(),
                }],
            },
        },
        requested_by: Actor::Healing,
        summary: format!("restart {instance}, which hangs"),
        expected_effect: format!("{instance} answers its probe again within 3 s"),
        steps: vec![Step {
            action: Action::RestartInstance { instance: instance.clone(), manner: StopManner::Kill },
            undo: Undo::NothingToRestore,
            timeout: Duration::from_secs(10),
        }],
        verify: Some(Signal {
            kind: issue.kind,
            resource: issue.resource.clone(),
            deadline: Duration::from_secs(15),
            hold: Duration::from_secs(10),
        }),
        blast_radius: vec![issue.resource.clone()],
        lift_after: None,
        created_at: at,
    }
}

impl Control for Fleet {
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.lock().unwrap().clone()
    }

    fn health(&self) -> Option<HealthRecord> {
        *self.health.lock().unwrap()
    }

    fn troubles(&self) -> Vec<String> {
        self.troubles.lock().unwrap().clone()
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy { ladder: Ladder::started_by_up(), ..Policy::default() };
        let service = Some(ServiceName::new("payments").unwrap());
        policy.ladder.rules.push(LadderRule { service, strategy: None, rung: Rung::Advise });
        policy
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "processes".to_owned(),
            cpu_limit: Enforcement::Unavailable("needs cgroups, which need root".to_owned()),
            memory_limit: Enforcement::Supervision,
            volumes: Enforcement::Kernel("tmpfs".to_owned()),
            host_stress: Enforcement::Unavailable("needs cgroups, which need root".to_owned()),
            links: Enforcement::Supervision,
        }
    }

    fn running_faults(&self) -> Vec<RunningFault> {
        self.faults.lock().unwrap().clone()
    }

    fn remediate(&self, issue: IssueId, mode: RunMode, who: &str) -> Result<Planned, ControlError> {
        let issue = self.store.issue(issue).map_err(unavailable)?;
        let issue = issue.ok_or(ControlError::NotFound { what: "such issue".to_owned(), listed: None })?;
        if issue.closed_at.is_some() {
            return Err(ControlError::Conflict {
                why: "the issue is closed; there is nothing to repair".to_owned(),
            });
        }
        let now = self.clock.now();
        let mut plan = restart_plan(self.id(now), &issue, now);
        plan.requested_by = Actor::Operator(who.to_owned());
        if mode == RunMode::DryRun {
            return Ok(Planned { plan, status: PlanStatus::Pending, reasons: Vec::new() });
        }
        let planned = self.past_the_guard(plan, PlanStatus::Pending);
        if planned.status == PlanStatus::Pending {
            self.store.add_plan(&planned.plan, PlanStatus::Pending, &[]).map_err(unavailable)?;
        }
        Ok(planned)
    }

    fn approve(&self, plan: PlanId, who: &str) -> Result<(), ControlError> {
        let decided = self.store.approve(plan, who, self.clock.now()).map_err(unavailable)?;
        self.waiting(plan, decided)
    }

    fn reject(&self, plan: PlanId, who: &str) -> Result<(), ControlError> {
        let decided = self.store.reject(plan, who, self.clock.now()).map_err(unavailable)?;
        self.waiting(plan, decided)
    }

    fn roll_back(&self, plan: PlanId, _who: &str) -> Result<(), ControlError> {
        let (from, to) = (PlanStatus::Success, PlanStatus::RolledBack);
        let moved =
            self.store.set_plan_status(plan, from, to, self.clock.now(), None).map_err(unavailable)?;
        if moved {
            Ok(())
        } else {
            Err(ControlError::Conflict { why: "only a finished plan can be taken back".to_owned() })
        }
    }

    fn deploy(
        &self,
        service: &ServiceName,
        request: DeployRequest,
        _mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        let version = Some(request.version);
        let command = request.command.unwrap_or_else(|| vec!["as-it-was".to_owned()]);
        let release = Box::new(domain::Release { version, command, environment: request.environment });
        let action = Action::Deploy { service: service.clone(), release };
        Ok(self.operation(action, PlanStatus::Pending, who))
    }

    fn infrastructure(&self) -> Result<Option<domain::Infrastructure>, ControlError> {
        Ok(self.infrastructure.lock().unwrap().clone())
    }

    fn create_infrastructure(
        &self,
        definition: &str,
        _mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        if let Some(up) = &*self.infrastructure.lock().unwrap() {
            return Err(ControlError::Refused { why: format!("{} is up already", up.name) });
        }
        let infrastructure = provider::manifest::parse("definition", definition).map_err(|error| {
            ControlError::Invalid { field: "definition".to_owned(), why: error.to_string() }
        })?;
        let action = Action::BringUp { infrastructure: Box::new(infrastructure), up_when: UpWhen::Ready };
        Ok(self.operation(action, PlanStatus::Pending, who))
    }

    fn delete_infrastructure(
        &self,
        name: &ServiceName,
        _mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        let up = self.infrastructure.lock().unwrap().clone().filter(|up| up.name == *name);
        let up = up
            .ok_or_else(|| ControlError::NotFound { what: format!("infrastructure {name}"), listed: None })?;
        let action = Action::TakeDown { infrastructure: Box::new(up) };
        Ok(self.operation(action, PlanStatus::AwaitingApproval, who))
    }

    fn scale(
        &self,
        service: &ServiceName,
        replicas: u32,
        _mode: RunMode,
        who: &str,
    ) -> Result<Planned, ControlError> {
        if !self.snapshot().is_some_and(|snapshot| snapshot.services.contains_key(service)) {
            return Err(ControlError::NotFound { what: format!("service {service}"), listed: None });
        }
        let action = Action::SetReplicas { service: service.clone(), replicas };
        Ok(self.operation(action, PlanStatus::Pending, who))
    }

    fn post_deployment(
        &self,
        service: &ServiceName,
        version: &str,
        at: Option<Time>,
    ) -> Result<domain::Deployment, ControlError> {
        let now = self.clock.now();
        let deployment = domain::Deployment {
            id: self.id(now),
            service: service.clone(),
            version: Some(version.to_owned()),
            previous_version: None,
            at: at.unwrap_or(now),
            finished_at: None,
            seen_by: domain::SeenBy::Posted,
            plan: None,
            rolls_back: None,
            former: None,
            before: None,
        };
        self.store.record_deployment(&deployment).map_err(unavailable)
    }

    fn set_automation(&self, automation: Automation, _who: &str) -> Result<(), ControlError> {
        self.store.set_automation(automation == Automation::On).map_err(unavailable)
    }

    fn pause(&self, service: &ServiceName, time: Duration, _who: &str) -> Result<(), ControlError> {
        self.store.pause_service(service, Some(self.clock.now().plus(time))).map_err(unavailable)
    }

    fn resume(&self, service: &ServiceName, _who: &str) -> Result<(), ControlError> {
        self.store.pause_service(service, None).map_err(unavailable)
    }

    fn preview_experiment(&self, request: &ExperimentRequest) -> Result<Vec<Planned>, ControlError> {
        let Target::Resource(target) = request.target.clone() else {
            return Err(ControlError::Unsupported { why: "this fleet takes one resource".to_owned() });
        };
        let known = self.snapshot().is_some_and(|snapshot| snapshot.resources().any(|one| one == target));
        if !known {
            return Err(ControlError::Unsupported { why: format!("there is no {target}") });
        }
        let now = self.clock.now();
        let fault = Fault { target: target.clone(), kind: request.kind.clone(), duration: request.duration };
        let plan = Plan {
            id: self.id(now),
            intent: Intent::Experiment { experiment: self.id(now) },
            requested_by: Actor::Operator(request.requested_by.clone()),
            summary: format!("inject {} into {target}", fault.kind),
            expected_effect: format!("{target} is disturbed and found, repaired and verified by the loop"),
            steps: vec![domain::Step {
                action: domain::Action::Inject(fault),
                undo: domain::Undo::Exact,
                timeout: Duration::from_secs(10),
            }],
            verify: None,
            blast_radius: vec![target],
            lift_after: None,
            created_at: now,
        };
        let stopped = self.store.switches().map_err(unavailable)?.emergency_stop.is_some();
        let reasons = if stopped { vec!["the emergency stop is engaged".to_owned()] } else { Vec::new() };
        let status = if stopped { PlanStatus::Refused } else { PlanStatus::Pending };
        Ok(vec![Planned { plan, status, reasons }])
    }

    fn inject(&self, request: ExperimentRequest) -> Result<ExperimentId, ControlError> {
        let Target::Resource(target) = request.target else {
            return Err(ControlError::Unsupported { why: "this fleet takes one resource".to_owned() });
        };
        let now = self.clock.now();
        let (id, plan): (ExperimentId, PlanId) = (self.id(now), self.id(now));
        let document = serde_json::json!({"name": request.name, "type": request.kind.name()});
        let record = ExperimentRecord {
            id,
            status: ExperimentStatus::Running,
            document: document.to_string(),
            created_at: now,
        };
        self.store.save_experiment(&record).map_err(unavailable)?;
        self.faults.lock().unwrap().push(RunningFault {
            token: StepToken { plan, index: 0 },
            fault: Fault { target, kind: request.kind, duration: request.duration },
            since: now,
            until: now.plus(request.duration),
            experiment: Some(id),
        });
        Ok(id)
    }

    fn abort(&self, experiment: ExperimentId, _who: &str) -> Result<(), ControlError> {
        let record = self.store.experiment(experiment).map_err(unavailable)?;
        let mut record = record
            .ok_or(ControlError::NotFound { what: format!("experiment {experiment}"), listed: None })?;
        record.status = ExperimentStatus::Aborted;
        self.store.save_experiment(&record).map_err(unavailable)?;
        self.faults.lock().unwrap().retain(|running| running.experiment != Some(experiment));
        Ok(())
    }

    fn emergency_stop(&self, _who: &str) -> Result<u32, ControlError> {
        self.store.latch_emergency_stop(self.clock.now()).map_err(unavailable)?;
        Ok(self.faults.lock().unwrap().drain(..).count() as u32)
    }

    fn clear_emergency_stop(&self, _who: &str) -> Result<(), ControlError> {
        self.store.clear_emergency_stop().map_err(unavailable)
    }

    fn strategies(&self) -> Vec<StrategyRate> {
        vec![StrategyRate {
            kind: IssueKind::PodCrash,
            reason: Reason::Unresponsive,
            strategy: Strategy::RestartPod,
            success_rate: Percent(85.0),
            outcomes: 0,
            unavailable: None,
        }]
    }

    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ControlError> {
        let snapshot = self.snapshot();
        if !snapshot.is_some_and(|snapshot| snapshot.services.contains_key(service)) {
            return Err(ControlError::NotFound { what: format!("service {service}"), listed: None });
        }
        Ok((0..lines.min(20)).map(|n| format!("{service}-0 | GET /items 200 {}.{n} ms", n + 3)).collect())
    }
}
