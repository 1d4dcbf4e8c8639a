//! A deployment is blamed where the service got worse with it, and only there.

use domain::snapshot::Lately;
use domain::{CallCounts, Deployment, SeenBy};

use super::*;

const BEFORE: CallCounts = CallCounts { requests: 900, errors: 2, slow: 10 };
const SINCE: CallCounts = CallCounts { requests: 120, errors: 36, slow: 1 };

/// Three of ten requests of front to cart fail, and cart was deployed `ago` seconds before the issue was seen.
fn deployed(ago: u64) -> Fleet {
    let mut fleet = Fleet::healthy();
    let taken = fleet.snapshot.taken;
    fail(&mut fleet, "front->cart");
    let deployment = Deployment {
        id: IdSource::seeded(ago).next(taken),
        service: "cart".parse().unwrap(),
        version: Some("2".to_owned()),
        previous_version: Some("1".to_owned()),
        at: taken.minus(Duration::from_secs(ago)),
        finished_at: Some(taken.minus(Duration::from_secs(ago.saturating_sub(5)))),
        seen_by: SeenBy::Plan,
        plan: None,
        rolls_back: None,
        former: None,
        before: Some(BEFORE),
    };
    fleet.snapshot.deployments = vec![Lately { deployment, since: SINCE }];
    fleet
}

fn fail(fleet: &mut Fleet, link: &str) {
    let link = fleet.link_mut(link);
    let windows = [&mut link.recent, &mut link.old_connections, &mut link.new_connections];
    for window in windows.into_iter().chain(link.backends.values_mut().map(|backend| &mut backend.recent)) {
        window.errors = window.requests * 3 / 10;
    }
}

fn last(fleet: &mut Fleet) -> &mut Lately {
    fleet.snapshot.deployments.last_mut().unwrap()
}

/// Class and pattern of the first cause of what front feels of cart.
fn blamed(fleet: &Fleet) -> (CauseClass, String) {
    let open = issues(fleet);
    let on_cart = |issue: &&Issue| issue.resource.to_string() == "link/front->cart";
    let issue = open.iter().find(on_cart).expect("an issue");
    let cause = first(issue, fleet, &open).expect("a cause");
    (cause.class, cause.pattern)
}

#[test]
fn what_got_worse_with_a_deployment_is_its_fault_and_the_counts_say_so() {
    let fleet = deployed(12);
    assert_eq!(blamed(&fleet), (CauseClass::BadDeployment, "just_deployed+errors_rose".to_owned()));
    let open = issues(&fleet);
    let cause = first(&open[0], &fleet, &open).unwrap();
    assert_eq!(cause.resource.to_string(), "service/cart");
    let said = "version 2 was deployed in place of 1, 12 s before: 36 of 120 requests failed since, 2 of 900 in the minute before it";
    assert_eq!(cause.evidence[0].text, said);
}

#[test]
fn much_later_it_is_less_sure_and_still_the_best_answer() {
    let fleet = deployed(300);
    assert_eq!(blamed(&fleet), (CauseClass::BadDeployment, "deployed_lately+errors_rose".to_owned()));
}

#[test]
fn no_deployment_is_blamed_without_a_rise_that_only_it_explains() {
    type Change = fn(&mut Fleet);
    let innocent: [(&str, Change); 7] = [
        ("as many failed before", |f| last(f).deployment.before = Some(CallCounts { errors: 270, ..BEFORE })),
        ("nobody counted before", |f| last(f).deployment.before = None),
        ("too few requests since", |f| last(f).since = CallCounts { requests: 10, errors: 3, slow: 0 }),
        ("it is a rollback", |f| last(f).deployment.rolls_back = Some(last(f).deployment.id)),
        ("it came after the issue", |f| {
            let at = f.snapshot.taken.plus(Duration::from_secs(1));
            last(f).deployment.at = at;
        }),
        ("another one came after it", |f| {
            let mut rollback = last(f).clone();
            rollback.deployment.rolls_back = Some(rollback.deployment.id);
            f.snapshot.deployments.push(rollback);
        }),
        ("what cart calls fails", |f| fail(f, "cart->database")),
    ];
    for (why, change) in innocent {
        let mut fleet = deployed(12);
        change(&mut fleet);
        assert_ne!(blamed(&fleet).0, CauseClass::BadDeployment, "{why}");
    }
}

#[test]
fn what_no_release_brings_about_is_to_blame_before_a_deployment() {
    let mut fleet = deployed(12);
    fleet.broken_path("front->cart", Part::Backend("cart-0"));
    assert_eq!(blamed(&fleet).0, CauseClass::PathBroken);
    let mut fleet = deployed(12);
    fleet.throttled_path("front->cart", Part::All);
    assert_eq!(blamed(&fleet).0, CauseClass::Throttled);
}
