//! The world keeps its contract, and a sample shows what a fault does without naming it.

use std::sync::Arc;
use std::time::Duration;

use domain::fault::{Attachment, PathScope};
use domain::snapshot::Phase;
use domain::*;
use provider::{Change, Look, Sample, Undone};

use crate::{MemoryProvider, VirtualClock, cleared, small_fleet};

fn fleet() -> (MemoryProvider, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::default());
    (MemoryProvider::new(small_fleet(), clock.clone(), 1), clock)
}

fn plan(seed: u64, action: Action, clock: &VirtualClock) -> Plan {
    let step = Step { action, undo: Undo::Exact, timeout: Duration::from_secs(1) };
    Plan {
        id: IdSource::seeded(seed).next(clock.now()),
        intent: Intent::Operation { why: "to see".to_owned() },
        requested_by: Actor::Operator("test".to_owned()),
        summary: String::new(),
        expected_effect: String::new(),
        steps: vec![step],
        verify: None,
        blast_radius: Vec::new(),
        lift_after: None,
        created_at: clock.now(),
    }
}

/// Does the one step of a plan and returns what was captured.
fn apply(provider: &MemoryProvider, plan: &Plan) -> Captured {
    let cleared = cleared(plan.clone());
    let step = cleared.steps().next().unwrap();
    provider.check(step.token(), step.step()).unwrap();
    let captured = provider.capture(step).unwrap();
    provider.apply(step, &captured).unwrap();
    captured
}

fn undo(provider: &MemoryProvider, plan: &Plan, captured: &Captured) -> Undone {
    provider.undo(plan.tokens().next().unwrap(), &plan.steps[0], captured).unwrap()
}

fn cart() -> InstanceName {
    "cart-0".parse().unwrap()
}

fn inject(target: &str, kind: FaultKind) -> Action {
    Action::Inject(Fault { target: target.parse().unwrap(), kind, duration: Duration::from_secs(30) })
}

fn instance(sample: &Sample) -> &InstanceState {
    &sample.services[&cart().service].instances[&cart()]
}

#[test]
fn a_paused_instance_fails_its_probes_until_the_fault_ends_by_itself() {
    let (provider, clock) = fleet();
    apply(&provider, &plan(1, inject("instance/cart-0", FaultKind::Pause), &clock));
    clock.wait(Duration::from_secs(5));
    let sample = provider.sample().unwrap();
    assert!(instance(&sample).liveness.unwrap().failing());
    assert_eq!(instance(&sample).phase, Phase::NotReady);
    clock.wait(Duration::from_secs(30));
    assert_eq!(instance(&provider.sample().unwrap()).phase, Phase::Ready);
    assert!(provider.faults().is_empty());
}

#[test]
fn a_restart_ends_attached_stress_and_not_what_is_beside_the_instance() {
    let (provider, clock) = fleet();
    let stress = |attachment| FaultKind::CpuStress { load: Percent(95.0), attachment };
    apply(&provider, &plan(1, inject("instance/cart-0", stress(Attachment::Attached)), &clock));
    apply(&provider, &plan(2, inject("instance/cart-0", stress(Attachment::Host)), &clock));
    clock.wait(Duration::from_secs(5));
    let before = provider.sample().unwrap();
    assert_eq!(instance(&before).usage.cpu, Some(Cores(0.5)), "together they take all there is");
    let restart = Action::RestartInstance { instance: cart(), manner: StopManner::Kill };
    apply(&provider, &plan(3, restart, &clock));
    assert_eq!(provider.faults().len(), 1);
    assert_ne!(instance(&provider.sample().unwrap()).incarnation, instance(&before).incarnation);
}

#[test]
fn a_fault_on_one_path_shows_in_that_paths_checks_only() {
    let (provider, clock) = fleet();
    let scope = PathScope::Backend(cart());
    let latency =
        FaultKind::NetworkLatency { delay: Duration::from_millis(400), jitter: Duration::ZERO, scope };
    apply(&provider, &plan(1, inject("link/front->cart", latency), &clock));
    clock.wait(Duration::from_secs(1));
    let sample = provider.sample().unwrap();
    let link: LinkName = "front->cart".parse().unwrap();
    let checks: Vec<_> = sample.links[&link].backends.values().map(|backend| backend.path_check).collect();
    assert_eq!(checks, [Some(Duration::from_millis(401)), Some(Duration::from_millis(1))]);
}

#[test]
fn doing_twice_is_doing_once_and_undo_knows_what_it_found() {
    let (provider, clock) = fleet();
    let limit = |seed, mib| {
        let limit = Bytes::mib(mib);
        plan(seed, Action::SetMemoryLimit { service: cart().service, limit }, &clock)
    };
    let (one, two, never) = (limit(1, 192), limit(2, 256), limit(3, 512));
    let first = apply(&provider, &one);
    let again = cleared(one.clone());
    provider.apply(again.steps().next().unwrap(), &first).unwrap();
    assert_eq!(provider.changes(one.tokens().next().unwrap()), 1);
    let second = apply(&provider, &two);
    let stale = cleared(never.clone());
    assert!(provider.apply(stale.steps().next().unwrap(), &first).is_err(), "captured before others set it");
    assert_eq!(undo(&provider, &one, &first), Undone::Superseded);
    assert_eq!(undo(&provider, &two, &second), Undone::Restored);
    assert_eq!(undo(&provider, &two, &second), Undone::NothingThere);
    assert_eq!(undo(&provider, &never, &first), Undone::NothingThere);
    let memory = provider.sample().unwrap().services[&cart().service].limits.memory;
    assert_eq!(memory, Some(Bytes::mib(128)));
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let sample = || {
        let (provider, clock) = fleet();
        let replicas = Action::SetReplicas { service: cart().service, replicas: 4 };
        apply(&provider, &plan(1, replicas, &clock));
        provider.sample().unwrap()
    };
    assert_eq!(sample(), sample());
    assert_eq!(sample().services[&cart().service].instances.len(), 4);
}
