//! Rolling a deployment back.

use domain::Release;

use super::*;

/// Cart was deployed 20 s ago, in place of what `former` says.
fn deployed(former: Option<Release>) -> World {
    let mut world = world();
    let deployment = domain::Deployment {
        id: domain::IdSource::seeded(5).next(now()),
        service: service("cart"),
        version: Some("2".to_owned()),
        previous_version: Some("1".to_owned()),
        at: now().minus(Duration::from_secs(20)),
        finished_at: None,
        seen_by: domain::SeenBy::Plan,
        plan: None,
        rolls_back: None,
        former,
        before: None,
    };
    let since = domain::CallCounts::default();
    world.snapshot.deployments.push(domain::snapshot::Lately { deployment, since });
    world
}

#[test]
fn a_bad_deployment_is_rolled_back_to_exactly_what_ran_before_with_time_for_every_instance() {
    let former = Release {
        version: Some("1".to_owned()),
        command: vec!["cart".to_owned()],
        environment: [("A".to_owned(), "b".to_owned())].into(),
    };
    let mut world = deployed(Some(former.clone()));
    for (kind, reason) in
        [(IssueKind::ErrorRate, Reason::AllBackends), (IssueKind::NetworkLatency, Reason::Unspecified)]
    {
        let issue = issue(kind, reason, "link/front->cart");
        let plan = world.plan(&issue, CauseClass::BadDeployment, "service/cart");
        assert_eq!(plan.strategy(), Some(Strategy::RollbackDeployment));
        let action = Action::Deploy { service: service("cart"), release: Box::new(former.clone()) };
        assert_eq!(plan.steps[0].action, action);
        assert_eq!(plan.steps[0].undo, domain::Undo::Exact);
        assert_eq!(plan.steps[0].timeout, Duration::from_secs(90), "two instances, and one to spare");
        assert_eq!(plan.blast_radius, [resource("service/cart")]);
        assert_eq!(plan.verify.as_ref().unwrap().resource, resource("link/front->cart"));
        assert!(check::fatal(&plan).is_empty());
    }
    let issue = issue(IssueKind::ErrorRate, Reason::AllBackends, "link/front->cart");
    let tried = world.fallbacks(&issue, CauseClass::BadDeployment, "service/cart");
    assert_eq!(tried[0], Strategy::RollbackDeployment);
    assert!(!tried[1..].contains(&Strategy::RollbackDeployment), "it is not rolled back twice: {tried:?}");
}

#[test]
fn what_ran_before_a_deployment_of_somebody_else_is_not_known() {
    let mut world = deployed(None);
    let issue = issue(IssueKind::ErrorRate, Reason::AllBackends, "link/front->cart");
    let tried = world.fallbacks(&issue, CauseClass::BadDeployment, "service/cart");
    assert!(!tried.contains(&Strategy::RollbackDeployment), "{tried:?}");
    // And where no deployment is the cause, none is rolled back nor spoken of.
    let tried = world.fallbacks(&issue, CauseClass::ServiceFailing, "service/cart");
    assert!(!tried.contains(&Strategy::RollbackDeployment), "{tried:?}");
}
