//! What the store holds becomes what lies on the time line.

use domain::{
    Bearing, Deployment, DeploymentId, HappeningKind, IdSource, Issue, IssueId, IssueKind, Reason,
    ResourceId, SeenBy, Severity, Sign, Time,
};

use super::records;

const NOW: Time = Time { boot_us: 9_000_000, wall_us: 1_800_000_000_000_000 };

fn issue(resource: &str) -> Issue {
    let resource: ResourceId = resource.parse().unwrap();
    Issue {
        id: IdSource::seeded(1).next::<IssueId>(NOW),
        kind: IssueKind::ErrorRate,
        reason: Reason::AllBackends,
        resource,
        severity: Severity::High,
        description: "33 % fail".to_owned(),
        detected_at: NOW,
        last_seen: NOW,
        closed_at: None,
        metrics: Default::default(),
        recurrences: 0,
    }
}

#[test]
fn an_issue_on_a_path_lies_on_the_callee_and_names_the_caller() {
    let event = records::of_issue(&issue("link/front->cart"));
    assert_eq!((event.service.as_deref(), event.caller.as_deref()), (Some("cart"), Some("front")));
    assert_eq!((event.kind, event.bearing), (HappeningKind::Issue, Bearing::Bad));
    assert_eq!(event.signs.into_iter().collect::<Vec<_>>(), [Sign::Errors]);
    assert!(event.links[0].href.starts_with("/issues/"));
    let outside = records::of_issue(&issue("link/outside->front"));
    assert_eq!((outside.service.as_deref(), outside.caller), (Some("front"), None), "outside is no service");
    let node = records::of_issue(&issue("node/local"));
    assert_eq!(node.service, None);
}

#[test]
fn an_end_before_the_beginning_is_none() {
    // The wall clock was set back while it was open.
    let closed = Time { wall_us: NOW.wall_us - 5_000_000, boot_us: NOW.boot_us + 1 };
    let event = records::of_issue(&Issue { closed_at: Some(closed), ..issue("instance/cart-0") });
    assert_eq!(event.to_us, Some(event.from_us));
}

#[test]
fn a_deployment_says_what_runs_and_how_that_is_known() {
    let deployment = Deployment {
        id: IdSource::seeded(2).next::<DeploymentId>(NOW),
        service: "cart".parse().unwrap(),
        version: Some("2.0.0".to_owned()),
        previous_version: Some("1.4.2".to_owned()),
        at: NOW,
        finished_at: None,
        seen_by: SeenBy::Spans,
        plan: None,
        rolls_back: None,
        former: None,
        before: None,
    };
    let event = records::of_deployment(&deployment);
    assert_eq!(event.title, "cart runs 2.0.0, after 1.4.2 (seen in its spans)");
    assert_eq!(
        (event.label.as_str(), event.to_us),
        ("cart 2.0.0", Some(NOW.wall_us)),
        "nobody knows its end"
    );
    let by_plan = records::of_deployment(&Deployment { seen_by: SeenBy::Plan, ..deployment.clone() });
    assert_eq!(by_plan.to_us, None, "it is under way");
    let unnamed = Deployment { version: None, previous_version: None, seen_by: SeenBy::Posted, ..deployment };
    assert_eq!(records::of_deployment(&unnamed).title, "cart runs something else (told from outside)");
}
