//! What the guard promises, over random storms of plans with an honest history; a failing seed is printed.

use std::collections::{BTreeMap, BTreeSet};

use domain::Strategy;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};

use super::*;

/// The plans a storm throws at the guard.
fn any_plan(rng: &mut fastrand::Rng, world: &World, id: PlanId) -> Plan {
    let slots: Vec<_> =
        world.snapshot.services.values().flat_map(|state| state.instances.keys().cloned()).collect();
    let slot = slots[rng.usize(..slots.len())].clone();
    let name = slot.service.clone();
    let (strategy, action) = match rng.u8(..6) {
        0 | 1 => {
            let manner = if rng.bool() { StopManner::Kill } else { StopManner::Drain };
            (Strategy::RestartPod, Action::RestartInstance { instance: slot, manner })
        }
        2 => (Strategy::RotateLogs, Action::RotateLogs { instance: slot }),
        3 => {
            let replicas = world.snapshot.services[&name].replicas + 1;
            (Strategy::ScaleReplicas, Action::SetReplicas { service: name, replicas })
        }
        4 => {
            let links: Vec<_> = world.snapshot.links.keys().cloned().collect();
            let link = links[rng.usize(..links.len())].clone();
            (Strategy::ResetConnectionPool, Action::ResetConnections { link })
        }
        _ => (Strategy::ClearCaches, Action::ClearCaches { instance: slot }),
    };
    let mut plan = remediation(id, strategy, vec![action]);
    let Intent::Remediation { cause, .. } = &mut plan.intent else { unreachable!() };
    cause.confidence = Percent(rng.f64() * 40.0 + 60.0);
    plan
}

fn any_fault(rng: &mut fastrand::Rng, world: &World, id: PlanId) -> Plan {
    let slots: Vec<_> = world.snapshot.services.values().flat_map(|state| state.instances.keys()).collect();
    let mut plan = world.fault(&format!("instance/{}", slots[rng.usize(..slots.len())]));
    plan.id = id;
    plan
}

/// Ends running plans by chance and lets time pass.
fn go_on(rng: &mut fastrand::Rng, world: &mut World) {
    world.now = world.now.plus(Duration::from_millis(rng.u64(1..4000)));
    world.snapshot.taken = world.now;
    let (ended, running): (Vec<_>, Vec<_>) = std::mem::take(&mut world.running)
        .into_iter()
        .partition(|plan| world.now.since(plan.started_at) > Duration::from_secs(2) && rng.u8(..4) == 0);
    world.running = running;
    for plan in ended {
        let outcome = if rng.u8(..5) == 0 { OutcomeKind::NotHealed } else { OutcomeKind::Healed };
        world.history.end(plan.id, outcome);
    }
    for state in world.snapshot.services.values_mut().flat_map(|service| service.instances.values_mut()) {
        if rng.u8(..20) == 0 {
            state.phase = if rng.u8(..4) == 0 { Phase::NotReady } else { Phase::Ready };
        }
    }
}

/// The limits, stated once more and independently of the guard's own arithmetic.
fn check_limits(world: &World, cleared: &Plan) {
    let limits = &world.policy.limits;
    let records = world.history.records();
    let hour = |record: &&PlanRecord| world.now.since(record.started_at) < limits.rate_window;
    assert!(records.iter().filter(hour).count() <= limits.in_all as usize, "too many in all");
    let mut per_resource = BTreeMap::<_, u32>::new();
    for resource in records.iter().filter(hour).flat_map(|record| &record.targets) {
        *per_resource.entry(resource).or_default() += 1;
    }
    assert!(per_resource.values().all(|n| *n <= limits.per_resource), "{per_resource:?}");
    let repairs = world.running.iter().filter(|plan| plan.activity == Activity::Remediation);
    assert!(repairs.count() <= limits.at_a_time as usize, "too many at a time");
    for (name, service) in &world.snapshot.services {
        let radius = world.running.iter().flat_map(|plan| &plan.blast_radius);
        let busy: BTreeSet<_> =
            radius.filter_map(ResourceId::instance).filter(|i| i.service == *name).collect();
        assert!(busy.len() as u32 <= (service.replicas / 2).max(1), "{busy:?}");
    }
    let faults: Vec<_> = world.running.iter().filter(|plan| plan.activity == Activity::Fault).collect();
    assert!(faults.len() <= world.policy.chaos.faults_at_a_time as usize, "too many faults");
    let all: usize = world.snapshot.services.values().map(|service| service.instances.len()).sum();
    let disturbed: BTreeSet<_> = faults.iter().flat_map(|plan| &plan.blast_radius).collect();
    assert!(disturbed.len() <= all / 4, "{disturbed:?}");
    let Intent::Remediation { cause, severity, .. } = &cleared.intent else { return };
    let earlier = records.iter().rev().skip(1).find(|record| {
        Some(record.strategy) == cleared.strategy()
            && record.targets.iter().any(|t| cleared.steps.iter().any(|step| step.action.resource() == *t))
    });
    if let Some(earlier) = earlier {
        assert!(world.now.since(earlier.started_at) >= limits.cooldown, "cooldown");
    }
    assert!(cause.confidence >= limits.confidence_min, "confidence");
    assert!(*severity >= limits.severity_min, "severity");
}

#[test]
fn no_limit_is_ever_exceeded_in_a_storm() {
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ids = IdSource::seeded(seed);
        let mut world = world();
        add_service(&mut world.snapshot, "many", 7, &[]);
        // Otherwise repeats and failures stop automation early and the rates are never reached.
        world.policy.limits.repeats_max = 1000;
        world.policy.limits.demote_after = 1000;
        world.policy.limits.failure_rate_max = Percent(100.0);
        world.policy.limits.in_all = 60;
        let (mut cleared, mut faults, mut held) = (0, 0, BTreeSet::new());
        for _ in 0..2000 {
            go_on(&mut rng, &mut world);
            let id = ids.next(world.now);
            let plan = if rng.u8(..5) == 0 {
                any_fault(&mut rng, &world, id)
            } else {
                any_plan(&mut rng, &world, id)
            };
            match world.ask(&plan) {
                Ruling::Clear(_) => {
                    cleared += 1;
                    faults += u32::from(plan.strategy().is_none());
                    if let Some(record) = PlanRecord::of(&plan, world.now) {
                        world.history.start(record);
                    }
                    world.running.extend(RunningPlan::of(&plan, world.now));
                    check_limits(&world, &plan);
                }
                other => {
                    assert!(!other.reasons().is_empty(), "seed {seed}: held back without a reason");
                    held.extend(other.reasons().iter().map(std::mem::discriminant).map(|d| format!("{d:?}")));
                }
            }
        }
        assert!(faults > 10, "seed {seed}: only {faults} faults were cleared");
        assert!(cleared > 50, "seed {seed}: only {cleared} were cleared");
        assert!(held.len() >= 6, "seed {seed}: only {held:?} were reached");
    }
}

#[test]
fn ten_thousand_equal_events_give_one_repair() {
    let mut world = world();
    hangs(&mut world.snapshot, "cart-0");
    let mut ids = IdSource::seeded(1);
    let mut cleared = 0;
    for _ in 0..10_000 {
        let plan = restart(ids.next(world.now), "cart-0");
        if let Ruling::Clear(_) = world.ask(&plan) {
            cleared += 1;
            world.history.start(PlanRecord::of(&plan, world.now).unwrap());
            world.running.extend(RunningPlan::of(&plan, world.now));
        }
    }
    assert_eq!(cleared, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// More remediations, running plans or pauses never clear what was not clear before. The failure rate
    /// is left out: it falls with every success, which is why its switch is latched.
    #[test]
    fn rules_only_tighten(seed in any::<u64>(), more in 1_usize..12) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut ids = IdSource::seeded(seed);
        let mut world = world();
        add_service(&mut world.snapshot, "many", 7, &[]);
        world.policy.limits.failure_rate_max = Percent(100.0);
        let add = |rng: &mut fastrand::Rng, world: &mut World, ids: &mut IdSource| {
            let plan = any_plan(rng, world, ids.next(world.now));
            let started = world.now.minus(Duration::from_secs(rng.u64(..4000)));
            match rng.u8(..4) {
                0 => world.running.extend(RunningPlan::of(&plan, started)),
                1 => {
                    let mut running = RunningPlan::of(&plan, started).unwrap();
                    running.activity = Activity::Fault;
                    world.running.push(running);
                }
                2 => {
                    let mut record = PlanRecord::of(&plan, started).unwrap();
                    let (healed, failed) = (OutcomeKind::Healed, OutcomeKind::NotHealed);
                    record.outcome = [None, Some(failed), Some(healed)][rng.usize(..3)];
                    world.history.start(record);
                }
                _ => {
                    let paused = &mut world.switches.paused;
                    paused.extend(plan.blast_radius[0].service().map(|service| (service.clone(), None)));
                }
            }
        };
        for _ in 0..rng.usize(..6) {
            add(&mut rng, &mut world, &mut ids);
        }
        let plan = any_plan(&mut rng, &world, ids.next(world.now));
        let before = world.ask(&plan);
        for _ in 0..more {
            add(&mut rng, &mut world, &mut ids);
        }
        let after = world.ask(&plan);
        if !matches!(before, Ruling::Clear(_)) {
            prop_assert!(!matches!(after, Ruling::Clear(_)), "{before:?}");
        }
        if matches!(before, Ruling::Refuse { .. }) {
            prop_assert!(matches!(after, Ruling::Refuse { .. }), "refused before, not now");
        }
    }

    /// The same question gets the same answer, and the plan comes back as it was.
    #[test]
    fn the_guard_is_a_function_and_never_changes_a_plan(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = world();
        let plan = any_plan(&mut rng, &world, plan_id(seed));
        let ruling = world.ask(&plan);
        prop_assert_eq!(&ruling, &world.ask(&plan));
        let back = match &ruling {
            Ruling::Clear(cleared) => cleared.plan(),
            Ruling::Wait { plan, .. } | Ruling::Refuse { plan, .. } => plan,
        };
        prop_assert_eq!(back, &plan);
    }
}
