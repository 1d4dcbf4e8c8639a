//! Which plan a fault or an operation that a person asked for gets, and what is refused.

use std::time::Duration;

use domain::{Enforcement, FileClass, IdSource, Percent, StopManner, Undo};

use super::super::check;
use super::super::fixture::*;
use super::*;

fn inject(fault: &Fault, policy: &Policy, capabilities: &Capabilities) -> Result<Plan, Vec<Refusal>> {
    let snapshot = shop();
    let request = Request { snapshot: &snapshot, capabilities, policy, id: plan_id(1), now: now() };
    plan_fault(fault, IdSource::seeded(5).next(now()), Actor::Chaos, &request)
}

fn fault(target: &str, kind: FaultKind) -> Fault {
    Fault { target: resource(target), kind, duration: Duration::from_secs(30) }
}

#[test]
fn every_fault_of_the_matrix_becomes_a_plan_the_checker_accepts() {
    let link = "link/front->cart";
    let fill = Percent(97.0);
    let scope = PathScope::Backend(instance("cart-0"));
    for fault in [
        fault("instance/cart-0", FaultKind::PodKill),
        fault("instance/cart-0", FaultKind::Pause),
        fault(
            "instance/cart-0",
            FaultKind::MemoryStress {
                fill: Percent(110.0),
                attachment: Attachment::Attached,
                ramp: Duration::ZERO,
            },
        ),
        fault("volume/cart-0", FaultKind::DiskFill { fill, class: FileClass::Logs, ramp: Duration::ZERO }),
        fault(link, FaultKind::NetworkPartition { scope: PathScope::All }),
        fault(link, FaultKind::ApiThrottling { requests_per_second: 10, scope: scope.clone() }),
    ] {
        let plan = inject(&fault, &auto(), &capable()).unwrap();
        assert_eq!(check::check(&plan), [], "{plan:#?}");
        assert_eq!(plan.steps[0].undo == Undo::NothingToRestore, fault.kind.is_instant());
    }
}

#[test]
fn everything_wrong_with_a_fault_is_said_at_once() {
    let mut policy = auto();
    policy.chaos.protected_services.insert(service("cart"));
    let mut capabilities = capable();
    capabilities.links = Enforcement::Unavailable("no proxy".to_owned());
    let scope = PathScope::Backend(instance("front-0"));
    let mut fault = fault("link/front->cart", FaultKind::NetworkPartition { scope });
    fault.duration = Duration::ZERO;
    let refused = inject(&fault, &policy, &capabilities).unwrap_err();
    assert!(matches!(
        refused[..],
        [
            Refusal::OutOfRange { field: "duration", .. },
            Refusal::NotBehind { .. },
            Refusal::CapabilityMissing { .. },
            Refusal::Protected(_),
        ]
    ));
}

#[test]
fn a_target_that_is_not_there_is_refused() {
    let fault = fault("instance/cart-7", FaultKind::Pause);
    let refused = inject(&fault, &auto(), &capable()).unwrap_err();
    assert_eq!(refused, [Refusal::UnknownTarget(resource("instance/cart-7"))]);
}

#[test]
fn an_operation_names_every_instance_it_ends() {
    let (snapshot, capabilities, policy) = (shop(), capable(), auto());
    let request = Request {
        snapshot: &snapshot,
        capabilities: &capabilities,
        policy: &policy,
        id: plan_id(1),
        now: now(),
    };
    let ask =
        |actions| plan_operation(actions, "less".to_owned(), Actor::Operator("ann".to_owned()), &request);
    let plan = ask(vec![Action::SetReplicas { service: service("cart"), replicas: 1 }]).unwrap();
    assert_eq!(plan.blast_radius, [resource("service/cart"), resource("instance/cart-1")]);
    assert_eq!(check::check(&plan), []);
    assert_eq!(ask(Vec::new()), Err(vec![Refusal::Nothing]));
    let hook = ask(vec![Action::ClearCaches { instance: instance("cart-0") }]).unwrap_err();
    assert!(matches!(hook[..], [Refusal::NotDeclared { .. }]));
    let smuggled = ask(vec![Action::Inject(fault("instance/cart-0", FaultKind::PodKill))]);
    assert_eq!(smuggled, Err(vec![Refusal::FaultAsOperation]));
    let unknown = Action::RestartInstance { instance: instance("cart-9"), manner: StopManner::Drain };
    assert_eq!(ask(vec![unknown]), Err(vec![Refusal::UnknownTarget(resource("instance/cart-9"))]));
}
