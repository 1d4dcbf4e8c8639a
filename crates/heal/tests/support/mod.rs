//! One control plane over one fleet in memory, on a clock that moves when it is told to.
#![allow(dead_code, unreachable_pub, reason = "each test file and the storm example use their part")]

pub mod checks;
pub mod many;
pub mod storm;
pub mod story;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use act::{Circumstances, Executor, Mode, Progress, Ran};
use decide::detect::Thresholds;
use decide::plan::policy::Ladder;
use decide::plan::{GuardContext, Policy, Request, Ruling, guard, plan_fault};
use domain::{
    Actor, Attribute, AttributeValue, Clock, ExperimentId, Fault, IdSource, Infrastructure, Percent, PlanId,
    PlanStatus, Severity, Time,
};
use heal::start::Execution;
use heal::{Healer, Learning, Notice, Parts, Settings, Turn};
use observe::Observer;
use observe::objectives::{Answers, Objectives, Sources};
use provider::{Change, Look};
use sim::{MemoryProvider, VirtualClock};
use store::{Retention, SlotLimits, Store, TimerKind};

/// Between two turns while something is under way, as the driver has it.
pub const TURN: Duration = Duration::from_millis(250);

/// Long enough for a fleet to be judged by what is usual.
const WARM_UP: Duration = Duration::from_secs(40);

/// A fleet, and the control plane that keeps it.
pub struct Lab {
    pub clock: Arc<VirtualClock>,
    pub provider: MemoryProvider,
    pub store: Store,
    pub observer: Arc<Observer>,
    /// Evaluated in every turn, where there are any.
    pub objectives: Option<Arc<Objectives>>,
    pub executor: Arc<Executor>,
    pub healer: Arc<Healer>,
    pub policy: Policy,
    pub notices: Arc<Mutex<Vec<Notice>>>,
    pub declared: BTreeMap<Attribute, AttributeValue>,
    pub begun: Time,
    /// Grows with every control plane, so that no two make the same ids.
    lives: u64,
    seed: u64,
    ids: IdSource,
}

/// A policy in which everything runs by itself, although no diagnosis here has a record to be sure by.
pub fn automatic() -> Policy {
    let mut policy = Policy { ladder: Ladder::auto(), ..Policy::default() };
    policy.limits.confidence_min = Percent(0.0);
    policy.limits.severity_min = Severity::Low;
    policy
}

impl Lab {
    /// A fleet that has been up and under load for a while.
    pub fn new(infrastructure: Infrastructure, policy: Policy, seed: u64) -> Self {
        Self::over(Store::in_memory().unwrap(), infrastructure, policy, seed)
    }

    /// The same over a store that is there already.
    pub fn over(store: Store, infrastructure: Infrastructure, mut policy: Policy, seed: u64) -> Self {
        let clock = Arc::new(VirtualClock::default());
        policy.protect(&infrastructure);
        let provider = MemoryProvider::new(infrastructure, clock.clone(), seed);
        // Not what drills recorded: their next record would change what a test sees.
        store.put_document(heal::CONFIDENCE, r#"{"patterns": {}}"#).unwrap();
        let notices = Arc::default();
        let witnesses = Witnesses::default();
        let life = control_plane(&store, Reach::of(&provider), witnesses, &clock, &policy, &notices, seed);
        clock.wait(WARM_UP);
        Self {
            declared: provider.attributes(),
            begun: clock.now(),
            ids: IdSource::seeded(seed ^ 0x5eed),
            lives: 1,
            clock,
            provider,
            store,
            observer: life.observer,
            objectives: None,
            executor: life.executor,
            healer: life.healer,
            policy,
            notices,
            seed,
        }
    }

    /// The shop of the drills.
    pub fn shop(policy: Policy) -> Self {
        let mut lab = Self::new(shop(), policy, 7);
        lab.provider.set_start_time(Duration::from_millis(300));
        lab.begun = lab.clock.now();
        lab
    }

    pub fn now(&self) -> Time {
        self.clock.now()
    }

    pub fn clock_passes(&self, time: Duration) {
        self.clock.wait(time);
    }

    /// One turn, and time passes until the next.
    pub fn turn(&self) -> Turn {
        if let Some(objectives) = &self.objectives {
            assert!(objectives.tick(self.now()).is_empty(), "nothing fails in memory");
        }
        let turn = self.healer.turn().expect("nothing fails in memory");
        self.clock.wait(TURN);
        turn
    }

    /// Injects a fault the way an experiment does: planned, judged by the guard, run in a slot. `Err`: why
    /// not.
    pub fn inject(&mut self, fault: &Fault) -> Result<PlanId, String> {
        let snapshot = self.observer.snapshot().map_err(|error| error.to_string())?;
        let now = snapshot.taken;
        let id = self.ids.next::<PlanId>(now);
        let experiment = self.ids.next::<ExperimentId>(now);
        let capabilities = self.provider.capabilities();
        let request =
            Request { snapshot: &snapshot, capabilities: &capabilities, policy: &self.policy, id, now };
        let actor = Actor::Operator("drill".to_owned());
        let plan = plan_fault(fault, experiment, actor, &request).map_err(|refused| join(&refused))?;
        let known = Circumstances::gather(&self.store, now, Mode::Live, |_| Progress::AsRecorded).unwrap();
        let ruling = guard(
            plan,
            &GuardContext {
                now,
                snapshot: &snapshot,
                history: &known.history,
                policy: &self.policy,
                switches: &known.switches,
                approved: None,
                running: &known.running,
            },
        );
        let Ruling::Clear(cleared) = ruling else { return Err(join(ruling.reasons())) };
        self.store.add_plan(cleared.plan(), PlanStatus::Pending, &[]).unwrap();
        let concurrent = self.policy.chaos.faults_at_a_time;
        let slots = SlotLimits { concurrent, ..SlotLimits::NONE };
        match self.executor.run_within(&cleared, &slots).unwrap() {
            Ran::Done { .. } => Ok(id),
            Ran::Taken { why } => {
                let (from, to) = (PlanStatus::Pending, PlanStatus::Refused);
                self.store.set_plan_status(id, from, to, self.now(), Some(&why)).unwrap();
                Err(why)
            }
            Ran::Refused { why } | Ran::TakenBack { why, .. } => Err(why),
        }
    }

    /// From now on objectives are evaluated.
    pub fn promise(&mut self, objectives: Vec<slo::Objective>) {
        let sources =
            Sources { store: self.store.clone(), spans: None, metrics: None, answers: Answers::default() };
        let (objectives, _) =
            Objectives::open(objectives, sources, "simulated".to_owned(), self.now()).unwrap();
        self.objectives = Some(Arc::new(objectives));
        self.crash();
    }

    /// The control plane dies and another one begins on what is left.
    pub fn crash(&mut self) {
        self.live_on(Reach::of(&self.provider));
    }

    /// The same, and the next control plane sees and changes the fleet like this.
    pub fn live_on(&mut self, reach: Reach) {
        self.begin_anew(reach, None);
    }

    /// The next control plane also listens to spans.
    pub fn listen_to(&mut self, spans: Arc<dyn domain::TraceSource>) {
        self.begin_anew(Reach::of(&self.provider), Some(spans));
    }

    fn begin_anew(&mut self, reach: Reach, spans: Option<Arc<dyn domain::TraceSource>>) {
        self.lives += 1;
        let seed = self.seed.wrapping_add(self.lives << 32);
        let witnesses = Witnesses { objectives: self.objectives.clone(), spans };
        let life =
            control_plane(&self.store, reach, witnesses, &self.clock, &self.policy, &self.notices, seed);
        self.observer = life.observer;
        self.executor = life.executor;
        self.healer = life.healer;
        self.executor.recover().unwrap();
        self.healer.conclude_left_over().unwrap();
    }

    /// Nothing is wrong, nothing is under way, nothing is owed.
    pub fn is_quiet(&self) -> bool {
        self.store.open_issues().unwrap().is_empty()
            && self.store.unfinished_plans().unwrap().is_empty()
            && self.provider.faults().is_empty()
            && self.store.timers().unwrap().is_empty()
    }

    /// Everything that is not as it was declared and has no right to be otherwise.
    pub fn left_behind(&self) -> Vec<String> {
        let mut left = Vec::new();
        let faults = self.provider.faults().into_values();
        left.extend(faults.map(|fault| format!("{} on {} is still in force", fault.kind, fault.target)));
        for entry in self.store.steps_in_force().unwrap() {
            left.push(format!("the journal holds fault {} in force", entry.token));
        }
        for entry in self.store.entries_without_ending().unwrap() {
            left.push(format!("journal entry {} has no ending", entry.token));
        }
        for record in self.store.unfinished_plans().unwrap() {
            left.push(format!("plan {} is {}: {}", record.plan.id, record.status, record.plan.summary));
        }
        let lifts: Vec<PlanId> = self.store.timers().unwrap().into_iter().map(|timer| timer.plan).collect();
        let owners = self.provider.owners();
        for (attribute, value) in self.provider.attributes() {
            let owner = owners.get(&attribute).and_then(|owners| owners.last());
            let owned = owner.and_then(|token| self.store.plan(token.plan).unwrap()).is_some_and(|record| {
                let stays = record.plan.lift_after.is_none() && record.status == PlanStatus::Success;
                stays || lifts.contains(&record.plan.id)
            });
            // What belongs to an instance that was added goes with it.
            if self.declared.get(&attribute).is_some_and(|declared| *declared != value) && !owned {
                left.push(format!("{attribute:?} is {value:?}, and no measure in force made it so"));
            }
        }
        left
    }

    pub fn timer(&self, kind: TimerKind) -> bool {
        self.store.timers().unwrap().iter().any(|timer| timer.kind == kind)
    }
}

/// How a control plane sees and changes the fleet.
pub struct Reach {
    pub look: Arc<dyn Look>,
    pub change: Arc<dyn Change>,
    pub execution: Execution,
    pub tell: Arc<dyn heal::Tell>,
}

impl Reach {
    /// Plainly, plan by plan.
    pub fn of(provider: &MemoryProvider) -> Self {
        let (look, change) = (Arc::new(provider.clone()), Arc::new(provider.clone()));
        Self { look, change, execution: Execution::Inline, tell: Arc::new(heal::Silent) }
    }
}

/// What dies with a control plane.
struct Life {
    observer: Arc<Observer>,
    executor: Arc<Executor>,
    healer: Arc<Healer>,
}

/// What a control plane is told beside what it sees.
#[derive(Default)]
struct Witnesses {
    objectives: Option<Arc<Objectives>>,
    spans: Option<Arc<dyn domain::TraceSource>>,
}

fn control_plane(
    store: &Store,
    Reach { look, change, execution, tell }: Reach,
    witnesses: Witnesses,
    clock: &Arc<VirtualClock>,
    policy: &Policy,
    notices: &Arc<Mutex<Vec<Notice>>>,
    seed: u64,
) -> Life {
    let observer = Observer::new(look).with_deployments(Arc::new(store.clone()), 200.0);
    let observer = match witnesses.spans {
        Some(spans) => observer.with_traces(spans),
        None => observer,
    };
    let observer = Arc::new(match witnesses.objectives {
        Some(objectives) => observer.with_objectives(objectives),
        None => observer,
    });
    let executor = Arc::new(Executor::new(store.clone(), change, clock.clone()));
    let told = Arc::clone(notices);
    let parts = Parts {
        tell,
        store: store.clone(),
        observer: Arc::clone(&observer),
        executor: Arc::clone(&executor),
        clock: clock.clone(),
        notify: Box::new(move |notice| told.lock().unwrap().push(notice)),
    };
    let settings = Settings {
        thresholds: Thresholds::default(),
        policy: policy.clone(),
        mode: Mode::Live,
        learning: Learning::On,
        scan_interval: Duration::from_secs(30),
        health_interval: Duration::from_secs(60),
        retention: Retention::default(),
        execution,
        seed,
    };
    let healer = Healer::new(parts, settings).unwrap();
    Life { observer, executor, healer }
}

/// The fleet of the demo and the drills, as it ships.
pub fn shop() -> Infrastructure {
    let text = include_str!("../../../../drills/shop.yaml");
    serde_saphyr::from_str(text).expect("the shop that ships can be read")
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
