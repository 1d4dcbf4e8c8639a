//! A fleet in memory, an executor over it, and plans to run.
#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use act::{Executor, Ran, Recovered};
use decide::plan::Cleared;
use domain::fault::PathScope;
use domain::*;
use sim::{MemoryProvider, VirtualClock};
use store::{EntryState, SlotLimits, Store, TimerKind};

pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) provider: MemoryProvider,
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) executor: Executor,
    ids: AtomicU64,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self::over(Store::in_memory().unwrap())
    }

    pub(crate) fn over(store: Store) -> Self {
        let clock = Arc::new(VirtualClock::default());
        let provider = MemoryProvider::new(sim::small_fleet(), clock.clone(), 7);
        let executor = Executor::new(store.clone(), Arc::new(provider.clone()), clock.clone());
        Self { store, provider, clock, executor, ids: AtomicU64::new(1) }
    }

    /// What the next controller has after a crash of this one.
    pub(crate) fn successor(&self) -> Executor {
        Executor::new(self.store.clone(), Arc::new(self.provider.clone()), self.clock.clone())
    }

    /// The next controller, once it has settled what this one left.
    pub(crate) fn recovered(&self) -> Recovered {
        let next = self.successor();
        let mut recovered = next.recover().unwrap();
        self.settle(&next, &mut recovered);
        recovered
    }

    /// Time passes until nothing is awaited any more.
    pub(crate) fn settle(&self, executor: &Executor, recovered: &mut Recovered) {
        while executor.is_settling() {
            self.clock.wait(Duration::from_millis(20));
            for plan in executor.run_due().unwrap().settled {
                recovered.plans.retain(|before| before.plan != plan.plan);
                recovered.plans.push(plan);
            }
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    fn id<T: From<uuid::Uuid>>(&self) -> T {
        IdSource::seeded(self.ids.fetch_add(1, Ordering::SeqCst)).next(self.now())
    }

    /// A plan of these steps, a remediation with a signal or an experiment, in the store as pending.
    pub(crate) fn plan(&self, steps: Vec<Step>) -> Plan {
        let experiment = steps.iter().any(|step| matches!(step.action, Action::Inject(_)));
        let resource = steps[0].action.resource();
        let intent = if experiment {
            Intent::Experiment { experiment: self.id() }
        } else {
            let issue = self.issue(&resource);
            Intent::Remediation {
                issue: issue.id,
                kind: issue.kind,
                reason: issue.reason,
                severity: issue.severity,
                strategy: Strategy::GracefulRestart,
                cause: Cause {
                    resource: resource.clone(),
                    class: CauseClass::CpuExhausted,
                    confidence: Percent(90.0),
                    pattern: "test".to_owned(),
                    evidence: Vec::new(),
                },
            }
        };
        let plan = Plan {
            id: self.id(),
            intent,
            requested_by: Actor::Healing,
            summary: "try it".to_owned(),
            expected_effect: "it works".to_owned(),
            verify: (!experiment).then(|| Signal {
                kind: IssueKind::HighCpu,
                resource: resource.clone(),
                deadline: Duration::from_secs(10),
                hold: Duration::from_secs(10),
            }),
            blast_radius: vec![resource],
            lift_after: None,
            created_at: self.now(),
            steps,
        };
        self.add(&plan);
        plan
    }

    pub(crate) fn add(&self, plan: &Plan) {
        self.store.add_plan(plan, PlanStatus::Pending, &[]).unwrap();
    }

    fn issue(&self, resource: &ResourceId) -> Issue {
        let issue = Issue {
            id: self.id(),
            kind: IssueKind::HighCpu,
            reason: Reason::Unexplained,
            resource: resource.clone(),
            severity: Severity::High,
            description: "96 % of its CPU limit, above 85 %".to_owned(),
            detected_at: self.now(),
            last_seen: self.now(),
            closed_at: None,
            metrics: [("threshold".to_owned(), 85.0)].into(),
            recurrences: 0,
        };
        self.store.save_issue(&issue).unwrap();
        issue
    }

    pub(crate) fn run(&self, plan: &Plan) -> Ran {
        self.executor.run_within(&cleared(plan), &SlotLimits::NONE).unwrap()
    }

    pub(crate) fn status(&self, plan: &Plan) -> PlanStatus {
        self.store.plan(plan.id).unwrap().unwrap().status
    }

    pub(crate) fn states(&self, plan: &Plan) -> Vec<EntryState> {
        self.store.journal(plan.id).unwrap().iter().map(|entry| entry.state()).collect()
    }

    pub(crate) fn value(&self, attribute: &Attribute) -> AttributeValue {
        self.provider.attributes()[attribute].clone()
    }

    pub(crate) fn has_timer(&self, plan: &Plan, kind: TimerKind) -> bool {
        self.store.timers().unwrap().iter().any(|timer| timer.plan == plan.id && timer.kind == kind)
    }
}

pub(crate) fn cleared(plan: &Plan) -> Cleared<Plan> {
    sim::cleared(plan.clone())
}

pub(crate) fn token(plan: &Plan, index: u32) -> StepToken {
    StepToken { plan: plan.id, index }
}

pub(crate) fn cart() -> ServiceName {
    ServiceName::new("cart").unwrap()
}

pub(crate) fn link() -> LinkName {
    "front->cart".parse().unwrap()
}

pub(crate) fn step(action: Action, undo: Undo) -> Step {
    Step { action, undo, timeout: Duration::from_secs(2) }
}

pub(crate) fn restart(ordinal: u32) -> Step {
    let instance = cart().instance(ordinal);
    step(Action::RestartInstance { instance, manner: StopManner::Drain }, Undo::NothingToRestore)
}

pub(crate) fn memory(mib: u64) -> Step {
    step(Action::SetMemoryLimit { service: cart(), limit: Bytes::mib(mib) }, Undo::Exact)
}

pub(crate) fn replicas(replicas: u32) -> Step {
    step(Action::SetReplicas { service: cart(), replicas }, Undo::Exact)
}

pub(crate) fn eject(ordinal: u32) -> Step {
    step(Action::EjectBackend { link: link(), instance: cart().instance(ordinal) }, Undo::Exact)
}

pub(crate) fn breaker() -> Step {
    step(Action::OpenBreaker { link: link() }, Undo::Exact)
}

pub(crate) fn remove_files() -> Step {
    let older_than = Duration::from_secs(7 * 86_400);
    let instance = cart().instance(0);
    step(Action::RemoveFiles { instance, class: FileClass::Temporary, older_than }, Undo::Irreversible)
}

pub(crate) fn take_down() -> Step {
    decide::plan::step(Action::TakeDown { infrastructure: Box::new(sim::small_fleet()) })
}

pub(crate) fn bring_up() -> Step {
    decide::plan::step(Action::BringUp {
        infrastructure: Box::new(sim::small_fleet()),
        up_when: UpWhen::Ready,
    })
}

pub(crate) fn fault(target: ResourceId, kind: FaultKind) -> Step {
    step(Action::Inject(Fault { target, kind, duration: Duration::from_secs(30) }), Undo::Exact)
}

pub(crate) fn pause(ordinal: u32) -> Step {
    fault(ResourceId::Instance(cart().instance(ordinal)), FaultKind::Pause)
}

pub(crate) fn partition() -> Step {
    fault(ResourceId::Link(link()), FaultKind::NetworkPartition { scope: PathScope::All })
}

pub(crate) fn kill(ordinal: u32) -> Step {
    let target = ResourceId::Instance(cart().instance(ordinal));
    let mut step = fault(target, FaultKind::PodKill);
    step.undo = Undo::NothingToRestore;
    step
}
