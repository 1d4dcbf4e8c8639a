//! A run with a seed: a fleet, trouble of every kind, people who switch and decide, and sometimes the death
//! of the control plane between two of its writes.
//!
//! In: a seed. Out: what happened, and every violation of what must hold. The same seed is the same run.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use decide::plan::Policy;
use decide::plan::policy::{Ladder, LadderRule, Rung};
use domain::fault::{Attachment, PathScope};
use domain::infrastructure::{Environment, Hook, Limits, Protocol, VolumeSpec};
use domain::{
    Bytes, Cores, Fault, FaultKind, FileClass, IdSource, Infrastructure, LinkName, Percent, PlanId,
    PlanStatus, ResourceId, ServiceName, ServiceSpec, StepToken,
};
use heal::OperateError;
use store::{PlanFilter, PlanPurpose};

use super::Lab;
use super::checks::{Checks, Switched};

/// What one run came to.
#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<String>,
    pub turns: u32,
    pub repairs: u32,
    pub approved: u32,
    pub faults: u32,
    pub troubles: u32,
    pub storms: u32,
    pub crashes: u32,
    pub virtual_seconds: f64,
}

/// Whether the control plane dies in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deaths {
    None,
    Some,
}

/// How the control plane dies: nothing after this write is done by it.
struct Death;

struct Run {
    lab: Lab,
    rng: fastrand::Rng,
    ids: IdSource,
    checks: Checks,
    switched: Switched,
    report: Report,
    services: Vec<ServiceName>,
    links: Vec<LinkName>,
    deaths: Deaths,
    /// Writes until the control plane dies; 0: it lives.
    fuse: Arc<AtomicU32>,
    _fuse: store::Subscription,
}

/// One run.
pub fn run(seed: u64, deaths: Deaths) -> Report {
    let mut run = Run::new(seed, deaths);
    let end = Duration::from_secs(run.rng.u64(60..=120));
    while run.lab.now().since(run.lab.begun) < end {
        run.people();
        run.trouble(end);
        run.turn();
    }
    run.calm_down();
    run.checks.at_the_end(&run.lab);
    let Run { lab, checks, mut report, .. } = run;
    report.repairs = checks.repairs() as u32;
    report.approved = checks.approved;
    report.storms = checks.storms;
    report.crashes = checks.crashes;
    report.virtual_seconds = lab.now().since(lab.begun).as_secs_f64();
    report.violations = checks.violations;
    report
}

impl Run {
    fn new(seed: u64, deaths: Deaths) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let infrastructure = fleet(&mut rng);
        let policy = policy(&mut rng, &infrastructure);
        let services = infrastructure.services.keys().cloned().collect();
        let links = infrastructure.links().collect();
        let lab = Lab::new(infrastructure, policy, seed);
        lab.provider.set_start_time(Duration::from_millis(rng.u64(0..=2000)));
        // Told before the fuse burns: a write that was the last one counts.
        let checks = Checks::new(&lab);
        let fuse = Arc::new(AtomicU32::new(0));
        let burning = Arc::clone(&fuse);
        let subscription = lab.store.subscribe(move |_| {
            let left = burning.load(Ordering::Relaxed);
            if left > 0 {
                burning.store(left - 1, Ordering::Relaxed);
            }
            if left == 1 {
                resume_unwind(Box::new(Death));
            }
        });
        Self {
            checks,
            ids: IdSource::seeded(seed ^ 0xbad),
            switched: Switched::default(),
            report: Report::default(),
            services,
            links,
            deaths,
            fuse,
            _fuse: subscription,
            lab,
            rng,
        }
    }

    /// Does something as the control plane, which may die of it.
    fn live<T>(&mut self, deed: impl FnOnce(&mut Lab) -> T) -> Option<T> {
        if self.deaths == Deaths::Some && self.rng.u32(0..60) == 0 {
            self.fuse.store(self.rng.u32(1..=12), Ordering::Relaxed);
        }
        let lab = &mut self.lab;
        let done = catch_unwind(AssertUnwindSafe(|| deed(lab)));
        self.fuse.store(0, Ordering::Relaxed);
        match done {
            Ok(done) => Some(done),
            Err(death) if death.is::<Death>() => {
                self.checks.crashes += 1;
                self.lab.clock_passes(Duration::from_millis(self.rng.u64(10..3000)));
                self.lab.crash();
                None
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    fn turn(&mut self) {
        self.report.turns += 1;
        self.checks.before_turn(&self.lab);
        self.live(|lab| lab.healer.turn().expect("nothing fails in memory"));
        self.checks.after_turn(&self.lab, &self.switched);
        self.note_automation();
        // The driver looks every 250 ms while something is under way, else every second, and when woken.
        let pause = match self.lab.healer.is_busy() {
            true => self.rng.u64(50..=1000),
            false => self.rng.u64(250..=1500),
        };
        self.lab.clock_passes(Duration::from_millis(pause));
    }

    /// The loop switches automation off by itself where too many repairs fail.
    fn note_automation(&mut self) {
        self.switched.automation_off = !self.lab.store.switches().unwrap().automation;
    }

    fn people(&mut self) {
        match self.rng.u32(0..120) {
            0 | 1 => self.pause(),
            2 => {
                let service = self.any_service();
                self.switched.paused.remove(&service);
                self.live(|lab| lab.healer.pause(&service, None).is_ok());
            }
            3 => {
                let on = self.rng.bool();
                self.lab.store.set_automation(on).unwrap();
                self.switched.automation_off = !on;
            }
            4 => {
                self.switched.emergency_stop = true;
                if self.live(|lab| lab.executor.emergency_stop().unwrap()).is_none() {
                    // It may have died before it was latched; whoever pressed it presses again.
                    self.lab.executor.emergency_stop().unwrap();
                }
            }
            5 | 6 => {
                self.lab.store.clear_emergency_stop().unwrap();
                self.switched.emergency_stop = false;
            }
            7..=12 => self.decide(),
            13 => self.roll_back(),
            _ => {}
        }
    }

    fn pause(&mut self) {
        let service = self.any_service();
        let time = Duration::from_secs(self.rng.u64(5..60));
        let until = self.lab.now().plus(time);
        if self.live(|lab| lab.healer.pause(&service, Some(time)).is_ok()) == Some(true) {
            self.switched.paused.insert(service, until);
        } else if let Some(until) = self.lab.store.switches().unwrap().pauses.get(&service) {
            self.switched.paused.insert(service, *until);
        }
    }

    fn any_service(&mut self) -> ServiceName {
        self.services[self.rng.usize(..self.services.len())].clone()
    }

    /// A person approves or rejects something that waits.
    fn decide(&mut self) {
        let Some(plan) = self.any_plan(PlanStatus::AwaitingApproval) else { return };
        let yes = self.rng.u32(0..3) > 0;
        self.live(|lab| match yes {
            true => lab.healer.approve(plan, "ann").unwrap(),
            false => lab.healer.reject(plan, "ann").unwrap(),
        });
    }

    fn roll_back(&mut self) {
        let Some(plan) = self.any_plan(PlanStatus::Success) else { return };
        self.live(|lab| match lab.healer.roll_back(plan, "ann") {
            // A restart leaves nothing to be restored.
            Ok(()) | Err(OperateError::NotTakenBack { .. }) => {}
            Err(error) => panic!("{error}"),
        });
    }

    fn any_plan(&mut self, status: PlanStatus) -> Option<PlanId> {
        let filter = PlanFilter {
            status: Some(status),
            only: Some(PlanPurpose::Remediation),
            ..PlanFilter::default()
        };
        let plans = self.lab.store.plans(&filter).unwrap();
        (!plans.is_empty()).then(|| plans[self.rng.usize(..plans.len())].plan.id)
    }

    /// Faults that are injected, trouble that just happens, and now and then a storm.
    fn trouble(&mut self, end: Duration) {
        let left = end.saturating_sub(self.lab.now().since(self.lab.begun)).as_secs();
        if left < 2 {
            return;
        }
        match self.rng.u32(0..250) {
            0..=9 => {
                let fault = self.any_fault(left);
                let injected = self.live(|lab| lab.inject(&fault).is_ok());
                self.report.faults += u32::from(injected == Some(true));
            }
            10..=19 => {
                let fault = self.any_fault(left);
                self.happen(&fault);
            }
            20 => self.storm(left),
            _ => {}
        }
    }

    fn happen(&mut self, fault: &Fault) {
        let plan = self.ids.next::<PlanId>(self.lab.now());
        self.report.troubles += u32::from(self.lab.provider.happen(StepToken { plan, index: 0 }, fault));
    }

    /// Most of the fleet gets the same trouble at once.
    fn storm(&mut self, left: u64) {
        let kind = match self.rng.u32(0..3) {
            0 => FaultKind::Pause,
            1 => FaultKind::PodKill,
            _ => FaultKind::MemoryStress {
                fill: Percent(130.0),
                attachment: Attachment::Host,
                ramp: Duration::ZERO,
            },
        };
        let share = self.rng.f64() * 0.5 + 0.5;
        let duration = Duration::from_secs(self.rng.u64(1..=left));
        for instance in self.lab.provider.instances() {
            if self.rng.f64() < share {
                let target = ResourceId::Instance(instance);
                self.happen(&Fault { target, kind: kind.clone(), duration });
            }
        }
    }

    fn any_fault(&mut self, left: u64) -> Fault {
        let instances = self.lab.provider.instances();
        let instance = instances[self.rng.usize(..instances.len())].clone();
        let duration = Duration::from_secs(self.rng.u64(1..=left.min(60)));
        let rng = &mut self.rng;
        let attachment = if rng.bool() { Attachment::Attached } else { Attachment::Host };
        let on_link = !self.links.is_empty() && rng.u32(0..5) < 2;
        let (target, kind) = if on_link {
            let link = self.links[rng.usize(..self.links.len())].clone();
            let behind: Vec<_> = instances.iter().filter(|instance| instance.service == link.to).collect();
            let scope = match rng.u32(0..3) {
                0 => PathScope::All,
                1 => PathScope::EstablishedConnections,
                _ => PathScope::Backend(behind[rng.usize(..behind.len())].clone()),
            };
            let kind = match rng.u32(0..3) {
                0 => FaultKind::NetworkPartition { scope },
                1 => FaultKind::ApiThrottling { requests_per_second: rng.u32(1..=20), scope },
                _ => {
                    let delay = Duration::from_millis(rng.u64(50..=2000));
                    FaultKind::NetworkLatency { delay, jitter: delay / 10, scope }
                }
            };
            (ResourceId::Link(link), kind)
        } else {
            let kind = match rng.u32(0..6) {
                0 => FaultKind::PodKill,
                1 => FaultKind::PodDeletion,
                2 => FaultKind::Pause,
                3 => FaultKind::CpuStress { load: Percent(rng.f64() * 99.0 + 1.0), attachment },
                4 => FaultKind::MemoryStress {
                    fill: Percent(rng.f64() * 149.0 + 1.0),
                    attachment,
                    ramp: Duration::ZERO,
                },
                _ => {
                    let classes = [FileClass::Temporary, FileClass::Logs, FileClass::Cache, FileClass::Data];
                    let fill = Percent(rng.f64() * 60.0 + 40.0);
                    FaultKind::DiskFill { fill, class: classes[rng.usize(..4)], ramp: Duration::ZERO }
                }
            };
            let volume = matches!(kind, FaultKind::DiskFill { .. });
            (if volume { ResourceId::Volume(instance) } else { ResourceId::Instance(instance) }, kind)
        };
        Fault { target, kind, duration }
    }

    /// Everything ends, people let go, and time passes until nothing is left to do.
    fn calm_down(&mut self) {
        self.lab.store.clear_emergency_stop().unwrap();
        self.switched.emergency_stop = false;
        self.deaths = Deaths::None;
        self.turn();
        for service in self.services.clone() {
            self.lab.healer.pause(&service, None).unwrap();
        }
        self.switched.paused.clear();
        let ended = self.lab.now();
        let all = Duration::from_secs(240);
        let mut quiet = 0;
        while self.lab.now().since(ended) < all && quiet < 5 {
            self.report.turns += 1;
            self.checks.before_turn(&self.lab);
            self.lab.healer.turn().expect("nothing fails in memory");
            self.checks.after_turn(&self.lab, &self.switched);
            self.note_automation();
            self.lab.clock_passes(Duration::from_secs(1));
            let nothing_runs = self.lab.store.unfinished_plans().unwrap().is_empty()
                && self.lab.store.open_issues().unwrap().is_empty();
            // What was slow is in the window of the last seconds for a little longer.
            quiet = if nothing_runs && self.lab.provider.faults().is_empty() { quiet + 1 } else { 0 };
        }
    }
}

/// Three to eight services of one to four instances, small ones more often; each may call those after it.
fn fleet(rng: &mut fastrand::Rng) -> Infrastructure {
    let names: Vec<ServiceName> = ["front", "cart", "orders", "search", "stock", "mail", "users", "database"]
        [..rng.usize(3..=8).min(rng.usize(3..=8))]
        .iter()
        .map(|name| ServiceName::new(*name).expect("the names above are valid"))
        .collect();
    let mut services = BTreeMap::new();
    for (index, name) in names.iter().enumerate() {
        let rest = &names[index + 1..];
        let dependencies: Vec<ServiceName> =
            rest.iter().filter(|_| rng.usize(..rest.len().max(2)) < 2).take(2).cloned().collect();
        let hook = Hook { http: Some("/hook".to_owned()), command: None, timeout: Duration::from_secs(2) };
        let spec = ServiceSpec {
            version: None,
            command: vec!["simulated".to_owned()],
            replicas: rng.u32(1..=4).min(rng.u32(1..=4)),
            environment: BTreeMap::new(),
            listens: Some(Protocol::Http),
            publish: None,
            readiness: None,
            liveness: None,
            limits: Limits { cpu: Some(Cores(0.5)), memory: Some(Bytes::mib(64)) },
            volume: Some(VolumeSpec {
                size: Bytes::mib(16),
                temporary: "tmp".to_owned(),
                logs: "logs".to_owned(),
                cache: "cache".to_owned(),
            }),
            dependencies,
            drain: rng.bool().then(|| hook.clone()),
            clear_caches: rng.bool().then_some(hook),
            metrics: None,
            stop_timeout: Duration::from_secs(5),
            restart: Default::default(),
            hands_off: rng.u32(0..12) == 0,
            protected: rng.u32(0..12) == 0,
            thresholds: Default::default(),
        };
        services.insert(name.clone(), spec);
    }
    let name = ServiceName::new("fleet").expect("this name is valid");
    Infrastructure { name, environment: Environment::Dev, cpu_limits: domain::CpuLimits::Held, services }
}

/// Limits low enough to be reached in two minutes.
fn policy(rng: &mut fastrand::Rng, infrastructure: &Infrastructure) -> Policy {
    let mut policy = Policy { ladder: Ladder::auto(), ..Policy::default() };
    let limits = &mut policy.limits;
    limits.confidence_min = Percent(if rng.u32(0..4) == 0 { 85.0 } else { 0.0 });
    limits.per_resource = rng.u32(1..=10);
    limits.in_all = rng.u32(3..=40);
    limits.at_a_time = rng.u32(1..=5);
    limits.cooldown = Duration::from_secs(rng.u64(5..=20));
    limits.failure_runs_min = rng.u32(3..=10);
    limits.service_share_max = Percent(rng.f64() * 75.0 + 25.0);
    limits.storm_restart_interval = Duration::from_secs(rng.u64(2..=8));
    limits.approval_valid = Duration::from_secs(rng.u64(5..=120));
    policy.verification.deadline = Duration::from_secs(rng.u64(5..=20));
    policy.verification.hold = Duration::from_secs(rng.u64(3..=15));
    policy.chaos.faults_at_a_time = rng.u32(1..=6);
    if rng.u32(0..3) == 0 {
        let services: Vec<&ServiceName> = infrastructure.services.keys().collect();
        let service = Some(services[rng.usize(..services.len())].clone());
        let rung = [Rung::Observe, Rung::Advise, Rung::Approve][rng.usize(..3)];
        policy.ladder.rules.push(LadderRule { service, strategy: None, rung });
    }
    policy
}
