//! Which plan an issue with its cause gets, and why there is none.

use domain::snapshot::ExitRecord;
use domain::{
    Action, Bytes, Capabilities, CauseClass, Cores, Enforcement, OutcomeKind, Snapshot, StopManner, Undo,
};

use super::super::check;
use super::super::fixture::*;
use super::super::history::History;
use super::super::policy::Policy;
use super::*;
use crate::detect::Thresholds;
use crate::learn::rates::Rates;

mod anything;
mod deployment;

struct World {
    snapshot: Snapshot,
    capabilities: Capabilities,
    history: History,
    rates: Rates,
    policy: Policy,
}

fn world() -> World {
    World {
        snapshot: shop(),
        capabilities: capable(),
        history: History::default(),
        rates: Rates::default(),
        policy: auto(),
    }
}

impl World {
    fn planned(&self, issue: &Issue, class: CauseClass, at: &str) -> Planned {
        let ctx = PlanContext {
            snapshot: &self.snapshot,
            thresholds: &Thresholds::default(),
            capabilities: &self.capabilities,
            history: &self.history,
            rates: &self.rates,
            policy: &self.policy,
            id: plan_id(1),
            now: now(),
        };
        plan_repair(issue, &[cause(class, at)], &ctx)
    }

    /// The plan, which the checker must find well made.
    fn plan(&self, issue: &Issue, class: CauseClass, at: &str) -> Plan {
        match self.planned(issue, class, at) {
            Planned::Plan(plan) => {
                assert_eq!(check::fatal(&plan), [], "{plan:#?}");
                plan
            }
            other => panic!("no plan: {other:?}"),
        }
    }

    fn waits(&self, issue: &Issue, class: CauseClass, at: &str) -> Vec<WaitReason> {
        match self.planned(issue, class, at) {
            Planned::Waiting(reasons) => reasons,
            other => panic!("does not wait: {other:?}"),
        }
    }

    fn tried(&mut self, plan: &Plan, seconds_ago: f64, outcome: Option<OutcomeKind>) {
        let started = now().minus(Duration::from_secs_f64(seconds_ago));
        let mut record = PlanRecord::of(plan, started).unwrap();
        record.plan = plan_id(1000 + self.history.records().len() as u64);
        record.outcome = outcome;
        self.history.start(record);
    }

    /// The strategies that come one after the other when each fails.
    fn fallbacks(&mut self, issue: &Issue, class: CauseClass, at: &str) -> Vec<Strategy> {
        let mut seen = Vec::new();
        while let Planned::Plan(plan) = self.planned(issue, class, at) {
            seen.push(plan.strategy().unwrap());
            self.tried(&plan, 60.0, Some(OutcomeKind::NotHealed));
            assert!(seen.len() < 20, "planning never ends: {seen:?}");
        }
        seen
    }
}

#[test]
fn a_hung_instance_is_killed_and_verified_by_its_own_signal() {
    let mut world = world();
    hangs(&mut world.snapshot, "cart-0");
    let issue = issue(IssueKind::PodCrash, Reason::Unresponsive, "instance/cart-0");
    let plan = world.plan(&issue, CauseClass::ProcessHangs, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::RestartPod));
    let kill = Action::RestartInstance { instance: instance("cart-0"), manner: StopManner::Kill };
    assert_eq!(plan.steps[0].action, kill);
    let signal = plan.verify.unwrap();
    assert_eq!((signal.kind, signal.resource), (IssueKind::PodCrash, resource("instance/cart-0")));
}

#[test]
fn a_symptom_on_a_link_gets_the_repair_of_its_cause() {
    let mut world = world();
    hangs(&mut world.snapshot, "database-0");
    let issue = issue(IssueKind::ErrorRate, Reason::AllBackends, "link/front->cart");
    let plan = world.plan(&issue, CauseClass::ProcessHangs, "instance/database-0");
    assert_eq!(plan.strategy(), Some(Strategy::RestartPod));
    assert_eq!(plan.blast_radius, [resource("instance/database-0")]);
    assert_eq!(plan.verify.unwrap().resource, resource("link/front->cart"));
}

#[test]
fn a_crash_is_left_to_the_standing_restart_until_it_is_a_loop() {
    let mut world = world();
    let issue = issue(IssueKind::PodCrash, Reason::Exit, "instance/cart-0");
    let state = slot_mut(&mut world.snapshot, "cart-0");
    (state.phase, state.phase_since) = (Phase::BackingOff, now());
    let waits = world.waits(&issue, CauseClass::ProcessEnded, "instance/cart-0");
    let standing = WaitReason::StandingRestart { instance: instance("cart-0"), phase: Phase::BackingOff };
    assert_eq!(waits, [standing]);

    let looping = Issue { reason: Reason::CrashLoop, ..issue.clone() };
    slot_mut(&mut world.snapshot, "cart-0").crash_loop = true;
    let plan = world.plan(&looping, CauseClass::ProcessEnded, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::RestartPod));

    let state = slot_mut(&mut world.snapshot, "cart-0");
    (state.crash_loop, state.phase_since) = (false, now().minus(2 * STANDING_RESTART_PATIENCE));
    let plan = world.plan(&issue, CauseClass::ProcessEnded, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::RestartPod), "a standing restart that never comes");
}

#[test]
fn a_repeated_oom_gets_memory_then_another_instance() {
    let mut world = world();
    let issue = issue(IssueKind::PodCrash, Reason::OutOfMemory, "instance/cart-0");
    let oom = |seconds_ago| ExitRecord {
        at: now().minus(Duration::from_secs(seconds_ago)),
        cause: ExitCause::OutOfMemory,
        requested: false,
        successor_at: None,
    };
    slot_mut(&mut world.snapshot, "cart-0").exits = vec![oom(86_000), oom(5)];
    let class = CauseClass::MemoryExhausted;
    assert!(matches!(
        world.waits(&issue, class, "instance/cart-0")[..],
        [WaitReason::StandingRestart { .. }]
    ));
    slot_mut(&mut world.snapshot, "cart-0").exits = vec![oom(60), oom(5)];
    let plan = world.plan(&issue, class, "instance/cart-0");
    let limit = Bytes::mib(128);
    assert_eq!(plan.steps[0].action, Action::SetMemoryLimit { service: service("cart"), limit });
    assert_eq!(plan.steps[0].undo, Undo::Exact);
    // It healed, and it came back all the same.
    world.tried(&plan, 60.0, Some(OutcomeKind::Healed));
    let plan = world.plan(&issue, class, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::ScaleReplicas));
    assert_eq!(plan.lift_after, Some(Duration::from_secs(1800)));
}

#[test]
fn five_hundred_and_twelve_mib_more_where_the_limit_is_larger_than_that() {
    let mut world = world();
    world.snapshot.services.get_mut(&service("cart")).unwrap().limits.memory = Some(Bytes::mib(1024));
    let issue = issue(IssueKind::PodCrash, Reason::OutOfMemory, "instance/cart-0");
    let exit = ExitRecord { at: now(), cause: ExitCause::OutOfMemory, requested: false, successor_at: None };
    slot_mut(&mut world.snapshot, "cart-0").exits = vec![exit.clone(), exit];
    let plan = world.plan(&issue, CauseClass::MemoryExhausted, "instance/cart-0");
    let limit = Bytes::mib(1536);
    assert_eq!(plan.steps[0].action, Action::SetMemoryLimit { service: service("cart"), limit });
}

#[test]
fn fallbacks_come_in_the_order_of_the_specification_and_end() {
    use Strategy::*;
    let mut w = world();
    hangs(&mut w.snapshot, "cart-0");
    let hung = issue(IssueKind::PodCrash, Reason::Unresponsive, "instance/cart-0");
    assert_eq!(
        w.fallbacks(&hung, CauseClass::ProcessHangs, "instance/cart-0"),
        [RestartPod, RestartPod, RestartPod, ScaleReplicas]
    );
    let unexplained = issue(IssueKind::HighCpu, Reason::Unexplained, "instance/cart-0");
    assert_eq!(
        world().fallbacks(&unexplained, CauseClass::CpuExhausted, "instance/cart-0"),
        [GracefulRestart, ScaleHorizontally, IncreaseCpuLimit]
    );
    let load = issue(IssueKind::HighCpu, Reason::Load, "instance/cart-0");
    assert_eq!(
        world().fallbacks(&load, CauseClass::CpuExhausted, "instance/cart-0"),
        [ScaleHorizontally, ScaleHorizontally, IncreaseCpuLimit, GracefulRestart]
    );
    let memory = issue(IssueKind::HighMemory, Reason::Unspecified, "instance/cart-0");
    assert_eq!(
        world().fallbacks(&memory, CauseClass::MemoryExhausted, "instance/cart-0"),
        [GracefulRestart, IncreaseMemoryLimit]
    );
}

#[test]
fn outcomes_turn_the_order_around_where_the_specification_gives_none() {
    let mut world = world();
    let memory = issue(IssueKind::HighMemory, Reason::Unspecified, "instance/cart-0");
    let plan = world.plan(&memory, CauseClass::MemoryExhausted, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::GracefulRestart));
    for _ in 0..3 {
        world.rates.record(&plan, OutcomeKind::NotHealed);
    }
    let plan = world.plan(&memory, CauseClass::MemoryExhausted, "instance/cart-0");
    assert_eq!(plan.strategy(), Some(Strategy::IncreaseMemoryLimit));
}

#[test]
fn what_cannot_be_done_here_is_passed_over_with_its_reason() {
    let mut world = world();
    world.capabilities.cpu_limit = Enforcement::Unavailable("no cgroup".to_owned());
    world.snapshot.services.get_mut(&service("database")).unwrap().limits.cpu = Some(Cores(1.0));
    let load = issue(IssueKind::HighCpu, Reason::Load, "instance/database-0");
    let restart = world.plan(&load, CauseClass::CpuExhausted, "instance/database-0");
    assert_eq!(restart.strategy(), Some(Strategy::GracefulRestart));
    world.tried(&restart, 60.0, Some(OutcomeKind::NotHealed));
    let Planned::NoStrategy(rejected) = world.planned(&load, CauseClass::CpuExhausted, "instance/database-0")
    else {
        panic!("a plan where nothing is left")
    };
    let reasons: Vec<_> = rejected.into_iter().map(|r| (r.strategy, r.reason)).collect();
    assert_eq!(
        reasons,
        [
            (Strategy::ScaleHorizontally, Unsuited::SingleStore(service("database"))),
            (Strategy::IncreaseCpuLimit, Unsuited::CapabilityMissing("no cgroup".to_owned())),
            (Strategy::GracefulRestart, Unsuited::Tried { times: 1 }),
        ]
    );
}

#[test]
fn a_full_disk_is_emptied_of_what_filled_it_and_grown_last() {
    let mut world = world();
    let usage = &mut slot_mut(&mut world.snapshot, "cart-0").usage;
    usage.disk_used = Some(Bytes::mib(98));
    usage.disk_logs = Some(Bytes::mib(80));
    usage.disk_temporary_old = Some(Bytes::mib(1));
    let logs = issue(IssueKind::DiskFull, Reason::Logs, "volume/cart-0");
    let class = CauseClass::DiskExhausted;
    // One MiB of temporary files is too little, one of cache likewise.
    assert_eq!(
        world.fallbacks(&logs, class, "instance/cart-0"),
        [Strategy::RotateLogs, Strategy::ExpandVolume]
    );
    let data = issue(IssueKind::DiskFull, Reason::Data, "volume/cart-1");
    world.history = History::default();
    slot_mut(&mut world.snapshot, "cart-1").usage.disk_used = Some(Bytes::mib(99));
    let plan = world.plan(&data, class, "volume/cart-1");
    let size = Bytes::mib(120);
    assert_eq!(plan.steps[0].action, Action::ResizeVolume { instance: instance("cart-1"), size });
}

#[test]
fn caches_are_cleared_by_the_hook_where_there_is_one() {
    let mut world = world();
    let usage = &mut slot_mut(&mut world.snapshot, "cart-0").usage;
    (usage.disk_used, usage.disk_cache) = (Some(Bytes::mib(98)), Some(Bytes::mib(80)));
    let cache = issue(IssueKind::DiskFull, Reason::Cache, "volume/cart-0");
    let plan = world.plan(&cache, CauseClass::DiskExhausted, "volume/cart-0");
    assert_eq!(plan.steps[0].undo, Undo::Irreversible);
    world.snapshot.services.get_mut(&service("cart")).unwrap().can_clear_caches = true;
    let plan = world.plan(&cache, CauseClass::DiskExhausted, "volume/cart-0");
    assert_eq!(plan.steps[0].action, Action::ClearCaches { instance: instance("cart-0") });
    assert_eq!(plan.steps[0].undo, Undo::NothingToRestore);
}

#[test]
fn the_one_bad_instance_is_taken_out_and_no_second_measure_follows_while_it_is_out() {
    let mut world = world();
    slow_backend(&mut world.snapshot, "front->cart", "cart-1");
    let slow = issue(IssueKind::NetworkLatency, Reason::OneBackend, "link/front->cart");
    let plan = world.plan(&slow, CauseClass::PathSlow, "link/front->cart");
    let eject = Action::EjectBackend { link: link("front->cart"), instance: instance("cart-1") };
    assert_eq!(plan.steps[0].action, eject);
    assert_eq!(plan.verify.as_ref().unwrap().resource, resource("link/front->cart"));
    world.tried(&plan, 30.0, None);
    assert!(matches!(
        world.waits(&slow, CauseClass::PathSlow, "link/front->cart")[..],
        [WaitReason::RepairUnderWay(_)]
    ));
    world.history.end(plan_id(1000), OutcomeKind::Healed);
    assert!(matches!(
        world.waits(&slow, CauseClass::PathSlow, "link/front->cart")[..],
        [WaitReason::MeasureInForce(_)]
    ));
}

#[test]
fn the_last_well_instance_is_never_taken_out_and_the_caller_degrades_instead() {
    let mut world = world();
    for name in ["cart-0", "cart-1"] {
        slow_backend(&mut world.snapshot, "front->cart", name);
    }
    let slow = issue(IssueKind::NetworkLatency, Reason::AllBackends, "link/front->cart");
    let plan = world.plan(&slow, CauseClass::PathSlow, "link/front->cart");
    assert_eq!(plan.strategy(), Some(Strategy::CircuitBreakDependency));
    assert!(plan.lift_after.is_some());
    let signal = plan.verify.unwrap();
    assert_eq!(signal.resource, resource("link/load->front"), "users are served");

    let one = Issue { reason: Reason::OneBackend, ..slow.clone() };
    let plan = world.plan(&one, CauseClass::PathSlow, "link/front->cart");
    assert_ne!(plan.strategy(), Some(Strategy::RerouteTraffic));

    let users = issue(IssueKind::NetworkLatency, Reason::AllBackends, "link/load->front");
    let plan = world.plan(&users, CauseClass::PathSlow, "link/load->front");
    assert_ne!(plan.strategy(), Some(Strategy::CircuitBreakDependency), "users are never turned away");
}

#[test]
fn stale_connections_are_closed() {
    let world = world();
    let stale = issue(IssueKind::NetworkLatency, Reason::StaleConnections, "link/front->cart");
    let plan = world.plan(&stale, CauseClass::PathSlow, "link/front->cart");
    assert_eq!(plan.steps[0].action, Action::ResetConnections { link: link("front->cart") });
}

#[test]
fn a_verdict_that_is_pending_is_waited_for() {
    let mut world = world();
    let hung = issue(IssueKind::PodCrash, Reason::Unresponsive, "instance/cart-0");
    let class = CauseClass::ProcessHangs;
    assert_eq!(
        world.waits(&hung, class, "instance/cart-0"),
        [WaitReason::Answers(instance("cart-0"))],
        "a process that answers is not killed"
    );
    slot_mut(&mut world.snapshot, "cart-0").liveness.as_mut().unwrap().failures_in_a_row = 2;
    let pending = WaitReason::LivenessPending { instance: instance("cart-0"), failures: 2, limit: 3 };
    assert_eq!(world.waits(&hung, class, "instance/cart-0"), [pending]);
}

#[test]
fn nothing_is_planned_in_a_service_under_rollout_or_hands_off() {
    let mut world = world();
    hangs(&mut world.snapshot, "cart-0");
    let hung = issue(IssueKind::PodCrash, Reason::Unresponsive, "instance/cart-0");
    let state = world.snapshot.services.get_mut(&service("cart")).unwrap();
    (state.rolling_out, state.hands_off) = (true, true);
    assert_eq!(
        world.waits(&hung, CauseClass::ProcessHangs, "instance/cart-0"),
        [WaitReason::HandsOff(service("cart")), WaitReason::RollingOut(service("cart"))]
    );
}

#[test]
fn an_instance_that_was_not_seen_is_unknown_and_not_touched() {
    let gone = issue(IssueKind::PodCrash, Reason::Unresponsive, "instance/cart-7");
    let waits = world().waits(&gone, CauseClass::ProcessHangs, "instance/cart-7");
    assert_eq!(waits, [WaitReason::NotSeen(resource("instance/cart-7"))]);
}

#[test]
fn scaling_adds_as_many_as_the_load_needs_at_most_three() {
    for (cores, replicas) in [(0.2, 3), (0.5, 4), (9.0, 5)] {
        let mut world = world();
        for name in ["cart-0", "cart-1"] {
            slot_mut(&mut world.snapshot, name).usage.cpu = Some(Cores(cores));
        }
        let load = issue(IssueKind::HighCpu, Reason::Load, "instance/cart-0");
        let plan = world.plan(&load, CauseClass::CpuExhausted, "instance/cart-0");
        assert_eq!(plan.steps[0].action, Action::SetReplicas { service: service("cart"), replicas });
    }
}

#[test]
fn what_scaling_added_goes_when_the_policy_says() {
    let mut world = world();
    world.policy.lifting.scale_back = Duration::from_secs(90);
    let load = issue(IssueKind::HighCpu, Reason::Load, "instance/cart-0");
    let plan = world.plan(&load, CauseClass::CpuExhausted, "instance/cart-0");
    assert_eq!(plan.lift_after, Some(Duration::from_secs(90)));
    assert!(plan.summary.contains("instances for 90 s"), "{}", plan.summary);
}

#[test]
fn where_the_first_number_was_too_few_the_second_is_the_most() {
    let mut world = world();
    for name in ["cart-0", "cart-1"] {
        slot_mut(&mut world.snapshot, name).usage.cpu = Some(Cores(0.5));
    }
    let load = issue(IssueKind::HighCpu, Reason::Load, "instance/cart-0");
    let mut replicas = Vec::new();
    loop {
        let plan = world.plan(&load, CauseClass::CpuExhausted, "instance/cart-0");
        let Action::SetReplicas { replicas: wanted, .. } = plan.steps[0].action else { break };
        replicas.push(wanted);
        world.tried(&plan, 60.0, Some(OutcomeKind::NotHealed));
    }
    assert_eq!(replicas, [4, 5]);
}

#[test]
fn what_still_needs_more_instances_when_they_are_gone_is_scaled_again() {
    let mut world = world();
    let load = issue(IssueKind::HighCpu, Reason::Load, "instance/cart-0");
    let scaled = world.plan(&load, CauseClass::CpuExhausted, "instance/cart-0");
    let unexplained = Issue { reason: Reason::Unexplained, ..load };
    let strategy = |world: &World| {
        world.plan(&unexplained, CauseClass::CpuExhausted, "instance/cart-0").strategy().unwrap()
    };
    assert_eq!(strategy(&world), Strategy::GracefulRestart);
    let half_an_hour = 1800.0;
    world.tried(&Plan { lift_after: None, ..scaled.clone() }, half_an_hour, Some(OutcomeKind::Healed));
    assert_eq!(strategy(&world), Strategy::ScaleHorizontally);
    world.history = History::default();
    world.tried(&Plan { lift_after: None, ..scaled }, 3.0 * half_an_hour, Some(OutcomeKind::Healed));
    assert_eq!(strategy(&world), Strategy::GracefulRestart, "that was another load");
}

#[test]
fn a_loop_that_settled_is_not_restarted_once_more() {
    let looped = issue(IssueKind::PodCrash, Reason::CrashLoop, "instance/cart-0");
    let waits = world().waits(&looped, CauseClass::ProcessEnded, "instance/cart-0");
    assert!(matches!(waits[..], [WaitReason::StandingRestart { phase: Phase::Ready, .. }]));
}

#[test]
fn the_next_cause_is_taken_where_nothing_suits_the_first() {
    let mut world = world();
    world.snapshot.services.get_mut(&service("database")).unwrap().volume = None;
    hangs(&mut world.snapshot, "database-0");
    let issue = issue(IssueKind::ErrorRate, Reason::AllBackends, "link/cart->database");
    let causes = [
        cause(CauseClass::DiskExhausted, "instance/database-0"),
        cause(CauseClass::ProcessHangs, "instance/database-0"),
    ];
    let ctx = PlanContext {
        snapshot: &world.snapshot,
        thresholds: &Thresholds::default(),
        capabilities: &world.capabilities,
        history: &world.history,
        rates: &world.rates,
        policy: &world.policy,
        id: plan_id(1),
        now: now(),
    };
    let planned = plan_repair(&issue, &causes, &ctx);
    // The volume that is not there was not seen; nothing is tried in its place.
    assert_eq!(planned, Planned::Waiting(vec![WaitReason::NotSeen(resource("volume/database-0"))]));
    let mut unscalable = causes;
    unscalable[0] = cause(CauseClass::DiskExhausted, "service/database");
    let Planned::Plan(plan) = plan_repair(&issue, &unscalable, &ctx) else { panic!() };
    assert_eq!(plan.strategy(), Some(Strategy::RestartPod));
}

#[test]
fn a_cause_on_another_link_is_repaired_by_what_is_seen_there() {
    // Users are slow through every front; the path from front to one cart is why.
    let users = issue(IssueKind::NetworkLatency, Reason::AllBackends, "link/load->front");
    let mut world = world();
    slow_backend(&mut world.snapshot, "front->cart", "cart-1");
    let plan = world.plan(&users, CauseClass::PathSlow, "link/front->cart");
    assert_eq!(plan.strategy(), Some(Strategy::RerouteTraffic));
    assert_eq!(plan.verify.unwrap().resource, resource("link/load->front"));
    slow_backend(&mut world.snapshot, "front->cart", "cart-0");
    let plan = world.plan(&users, CauseClass::PathSlow, "link/front->cart");
    assert_eq!(plan.strategy(), Some(Strategy::CircuitBreakDependency));
}

#[test]
fn a_slow_callee_without_a_link_of_its_own_is_cut_off_where_it_hurts() {
    let mut world = world();
    slow_backend(&mut world.snapshot, "cart->database", "database-0");
    let slow = issue(IssueKind::NetworkLatency, Reason::AllBackends, "link/front->cart");
    let plan = world.plan(&slow, CauseClass::ServiceSlow, "service/database");
    assert_eq!(plan.steps[0].action, Action::OpenBreaker { link: link("cart->database") });
}
