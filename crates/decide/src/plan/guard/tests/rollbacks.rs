//! A rollback that waited, and what was deployed meanwhile.

use domain::{Deployment, Release, SeenBy, snapshot::Lately};

use super::*;

fn rollback() -> Plan {
    let command = vec!["cart".to_owned()];
    let release = Release { version: Some("1".to_owned()), command, ..Release::default() };
    let action = Action::Deploy { service: service("cart"), release: Box::new(release) };
    let mut plan = remediation(plan_id(1), Strategy::RollbackDeployment, vec![action]);
    plan.steps[0].undo = domain::Undo::Exact;
    plan
}

/// A deployment of a service, so many seconds after the rollback was planned.
fn deployed(name: &str, after: i64, plan: Option<domain::PlanId>) -> Lately {
    let planned = rollback().created_at;
    let by = Duration::from_secs(after.unsigned_abs());
    let at = if after < 0 { planned.minus(by) } else { planned.plus(by) };
    let deployment = Deployment {
        id: IdSource::seeded(after.unsigned_abs()).next(at),
        service: service(name),
        version: Some("3".to_owned()),
        previous_version: Some("2".to_owned()),
        at,
        finished_at: Some(at),
        seen_by: SeenBy::Plan,
        plan,
        rolls_back: None,
        former: None,
        before: None,
    };
    Lately { deployment, since: domain::CallCounts::default() }
}

#[test]
fn a_rollback_is_refused_once_another_version_was_deployed_whoever_approved_it() {
    let rollback = rollback();
    let mut world = world();
    world.approve(&rollback);
    let objected = |world: &World| {
        let ruling = world.ask(&rollback);
        let reason =
            ruling.reasons().iter().find(|it| matches!(it, Objection::DeployedSince { .. })).cloned();
        assert_eq!(matches!(ruling, Ruling::Refuse { .. }), reason.is_some(), "{ruling:?}");
        reason
    };
    for (what, lately) in [
        ("what it takes back", deployed("cart", -5, None)),
        ("itself", deployed("cart", 5, Some(rollback.id))),
        ("another service", deployed("front", 5, None)),
    ] {
        world.snapshot.deployments = vec![lately];
        assert_eq!(objected(&world), None, "{what}");
    }
    world.snapshot.deployments = vec![deployed("cart", -5, None), deployed("cart", 5, None)];
    let reason = objected(&world).expect("another version is there");
    assert_eq!(reason.to_string(), "cart was given 3 since this was planned; what it would replace is gone");
}
