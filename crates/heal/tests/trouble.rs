//! What fails with one record, one plan or one issue stops nothing else, is said, and is done later.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use decide::plan::ClearedStep;
use decide::plan::policy::{LadderRule, Rung};
use domain::fault::FaultKind;
use domain::{
    Capabilities, Captured, Effect, Event, Fault, Infrastructure, Intent, OutcomeKind, PlanStatus,
    ResourceId, ServiceName, Step, StepToken,
};
use heal::Driver;
use heal::start::Execution;
use provider::{Change, Look, ProviderError, Sample, Undone};
use store::{PlanFilter, PlanPurpose, PlanRecord, Reserve, Store, TimerKind, diagnosis_key};
use support::{Lab, Reach, automatic};

fn pause(instance: &str, seconds: u64) -> Fault {
    let target = ResourceId::Instance(instance.parse().unwrap());
    Fault { target, kind: FaultKind::Pause, duration: Duration::from_secs(seconds) }
}

fn repairs(lab: &Lab) -> Vec<PlanRecord> {
    let filter = PlanFilter { only: Some(PlanPurpose::Remediation), ..PlanFilter::default() };
    lab.store.plans(&filter).unwrap()
}

fn healed(lab: &Lab) -> usize {
    let outcomes = repairs(lab).into_iter().filter_map(|record| record.outcome);
    outcomes.filter(|outcome| outcome.kind == OutcomeKind::Healed).count()
}

#[test]
fn a_full_disk_keeps_records_back_and_no_repair() {
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::over(Store::open(dir.path()).unwrap(), support::shop(), automatic(), 7);
    lab.inject(&pause("cart-1", 300)).unwrap();
    // The room kept free for repairs cannot be kept, so everything else is refused.
    let reserve = dir.path().join("reserve");
    std::fs::remove_file(&reserve).unwrap();
    std::fs::create_dir(&reserve).unwrap();
    let rates = lab.store.document(heal::RATES).unwrap();
    let mut troubled = 0;
    let until = lab.now().plus(Duration::from_secs(120));
    while !lab.now().reached(until) {
        troubled = lab.turn().troubled;
    }
    assert_eq!(healed(&lab), 1, "{:?}", repairs(&lab));
    let troubles = lab.healer.troubles();
    assert_eq!(troubled, troubles.len());
    for what in ["health score: ", "document lessons/rates: ", "document diagnosis/"] {
        assert_eq!(troubles.iter().filter(|trouble| trouble.starts_with(what)).count(), 1, "{troubles:?}");
    }
    let Intent::Remediation { issue, .. } = repairs(&lab)[0].plan.intent else { panic!("it repairs") };
    assert_eq!(lab.store.document(&diagnosis_key(issue)).unwrap(), None);
    assert_eq!(lab.store.document(heal::RATES).unwrap(), rates);

    std::fs::remove_dir(&reserve).unwrap();
    lab.turn();
    assert_eq!(lab.turn().troubled, 0);
    assert_eq!(lab.healer.troubles(), Vec::<String>::new());
    assert_eq!(reserve.metadata().unwrap().len(), Reserve::SIZE);
    assert!(lab.store.document(&diagnosis_key(issue)).unwrap().is_some(), "the first diagnosis was owed");
    assert_ne!(lab.store.document(heal::RATES).unwrap(), rates, "the lesson was owed");
    assert_eq!(lab.store.health_since(lab.begun).unwrap().len(), 1, "so was the score");
}

/// A fleet without events: no time passes for those who wait for them.
struct NoEvents(sim::MemoryProvider);

impl Look for NoEvents {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    fn infrastructure(&self) -> Result<Option<Infrastructure>, ProviderError> {
        self.0.infrastructure()
    }
    fn sample(&self) -> Result<Sample, ProviderError> {
        self.0.sample()
    }
    fn events(&self, _after: u64, _timeout: Duration) -> Result<Vec<Event>, ProviderError> {
        std::thread::park_timeout(Duration::from_millis(10));
        Ok(Vec::new())
    }
    fn logs(&self, service: &ServiceName, lines: usize) -> Result<Vec<String>, ProviderError> {
        self.0.logs(service, lines)
    }
}

#[test]
fn a_panic_about_one_issue_neither_ends_the_loop_nor_stops_the_others() {
    let mut policy = automatic();
    let service = Some("cart".parse().unwrap());
    policy.ladder.rules.push(LadderRule { service, strategy: None, rung: Rung::Approve });
    let mut lab = Lab::shop(policy);
    let reach = Reach::of(&lab.provider);
    lab.live_on(Reach { look: Arc::new(NoEvents(lab.provider.clone())), ..reach });
    // Whoever is told that an approval is needed panics.
    let notices = Arc::clone(&lab.notices);
    let poison = std::thread::spawn(move || {
        let _held = notices.lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(poison.join().is_err());
    for (seed, instance) in [(1, "cart-1"), (2, "orders-1")] {
        let plan = domain::IdSource::seeded(seed).next(lab.now());
        assert!(lab.provider.happen(StepToken { plan, index: 0 }, &pause(instance, 300)));
    }
    let driver = Driver::start(Arc::clone(&lab.healer)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut said = false;
    while healed(&lab) == 0 || !said {
        assert!(Instant::now() < deadline, "{said} {:?} {:?}", lab.healer.troubles(), repairs(&lab));
        said |= lab.healer.troubles().iter().any(|trouble| trouble.contains("panicked"));
        // No time passes that the loop did not look at.
        let looked = lab.healer.snapshot().is_some_and(|snapshot| snapshot.taken.reached(lab.now()));
        if looked {
            lab.clock_passes(Duration::from_millis(100));
            lab.healer.wake();
        }
        std::thread::yield_now();
    }
    driver.stop();
    let left_out = Duration::from_secs(60);
    lab.clock_passes(left_out);
    lab.turn();
    lab.turn();
    assert_eq!(lab.healer.troubles(), Vec::<String>::new(), "it is tried again");
}

#[test]
fn an_approved_plan_has_no_timer_left_that_would_end_its_approval() {
    let mut policy = automatic();
    policy.ladder.default = Rung::Approve;
    let mut lab = Lab::shop(policy);
    lab.inject(&pause("cart-1", 300)).unwrap();
    for _ in 0..40 {
        lab.turn();
    }
    let waiting = repairs(&lab).remove(0);
    assert_eq!(waiting.status, PlanStatus::AwaitingApproval);
    assert!(lab.timer(TimerKind::ApprovalExpiry));
    lab.healer.approve(waiting.plan.id, "ann").unwrap();
    assert!(!lab.timer(TimerKind::ApprovalExpiry));
}

#[test]
fn a_repair_somebody_asks_for_that_has_to_wait_is_there_to_be_looked_up_and_runs() {
    let mut policy = automatic();
    policy.ladder.default = Rung::Advise;
    policy.limits.in_all = 1;
    policy.limits.rate_window = Duration::from_secs(90);
    let mut lab = Lab::shop(policy);
    for instance in ["cart-1", "orders-1"] {
        lab.inject(&pause(instance, 600)).unwrap();
    }
    for _ in 0..20 {
        lab.turn();
    }
    let open = lab.store.open_issues().unwrap();
    let asked: Vec<_> = open
        .iter()
        .filter(|issue| issue.resource.instance().is_some())
        .map(|issue| lab.healer.remediate(issue.id, heal::RunMode::Run, "ann").unwrap())
        .collect();
    let status: Vec<_> = asked.iter().map(|proposal| proposal.status).collect();
    assert_eq!(status, [PlanStatus::InProgress, PlanStatus::Pending], "one an hour: {asked:?}");
    let kept = lab.store.plan(asked[1].plan.id).unwrap().expect("its answer names a plan that is there");
    assert_eq!(kept.status, PlanStatus::Pending);
    assert_eq!(kept.reasons, asked[1].reasons);
    let Intent::Remediation { issue, .. } = kept.plan.intent else { unreachable!("it is a repair") };
    let again = lab.healer.remediate(issue, heal::RunMode::Run, "ben").unwrap();
    assert_eq!(again.plan.id, asked[1].plan.id, "asking twice is one repair");
    for _ in 0..800 {
        lab.turn();
    }
    let ran = lab.store.plan(asked[1].plan.id).unwrap().unwrap();
    assert_eq!(ran.outcome.map(|outcome| outcome.kind), Some(OutcomeKind::Healed), "{:?}", ran.error);
}

/// A provider with a defect.
struct Panics {
    provider: sim::MemoryProvider,
    when: Defect,
    again: AtomicBool,
}

#[derive(PartialEq)]
enum Defect {
    /// Whenever it is asked whether something can be done.
    Asked,
    /// When it is to do something for the first time.
    DoesFirst,
}

impl Change for Panics {
    fn check(&self, token: StepToken, step: &Step) -> Result<(), ProviderError> {
        assert!(self.when == Defect::DoesFirst, "there is a defect");
        self.provider.check(token, step)
    }
    fn capture(&self, step: ClearedStep<'_>) -> Result<Captured, ProviderError> {
        self.provider.capture(step)
    }
    fn apply(&self, step: ClearedStep<'_>, captured: &Captured) -> Result<(), ProviderError> {
        assert!(self.again.swap(true, Ordering::SeqCst), "there is a defect");
        self.provider.apply(step, captured)
    }
    fn prove(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Effect, ProviderError> {
        self.provider.prove(token, step, captured)
    }
    fn undo(&self, token: StepToken, step: &Step, captured: &Captured) -> Result<Undone, ProviderError> {
        self.provider.undo(token, step, captured)
    }
    fn remove_all_faults(&self) -> Result<u32, ProviderError> {
        self.provider.remove_all_faults()
    }
}

#[test]
fn a_repair_whose_thread_panicked_is_settled_and_the_next_one_heals() {
    let mut lab = Lab::shop(automatic());
    let again = AtomicBool::new(false);
    let change = Panics { provider: lab.provider.clone(), when: Defect::DoesFirst, again };
    let reach = Reach::of(&lab.provider);
    lab.live_on(Reach { change: Arc::new(change), execution: Execution::Concurrent, ..reach });
    let plan = domain::IdSource::seeded(1).next(lab.now());
    assert!(lab.provider.happen(StepToken { plan, index: 0 }, &pause("cart-1", 600)));
    let deadline = Instant::now() + Duration::from_secs(60);
    while healed(&lab) == 0 {
        assert!(Instant::now() < deadline, "{:?} {:?}", lab.healer.troubles(), repairs(&lab));
        lab.healer.turn().unwrap();
        // While a thread of its own runs it, time passes as that one waits.
        let running = repairs(&lab)
            .iter()
            .any(|record| matches!(record.status, PlanStatus::Pending | PlanStatus::InProgress));
        if !running || lab.executor.is_settling() {
            lab.clock_passes(Duration::from_millis(100));
        }
        std::thread::yield_now();
    }
    let first = repairs(&lab).pop().unwrap();
    assert_eq!(first.status, PlanStatus::Failed, "{first:?}");
    assert_eq!(first.outcome.map(|outcome| outcome.kind), Some(OutcomeKind::NotHealed));
}

#[test]
fn a_repair_that_panics_whenever_it_is_tried_is_written_down_once() {
    let mut lab = Lab::shop(automatic());
    let again = AtomicBool::new(false);
    let change = Panics { provider: lab.provider.clone(), when: Defect::Asked, again };
    let reach = Reach::of(&lab.provider);
    lab.live_on(Reach { change: Arc::new(change), execution: Execution::Concurrent, ..reach });
    let plan = domain::IdSource::seeded(1).next(lab.now());
    assert!(lab.provider.happen(StepToken { plan, index: 0 }, &pause("cart-1", 600)));
    let until = lab.now().plus(Duration::from_secs(200));
    while !lab.now().reached(until) {
        lab.turn();
    }
    let plans = repairs(&lab);
    assert!(matches!(&plans[..], [one] if one.status == PlanStatus::Refused), "{plans:?}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while lab.executor.is_settling() {
        assert!(Instant::now() < deadline, "what was never written is settled");
        lab.turn();
    }
}
