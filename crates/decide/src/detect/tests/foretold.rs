//! Issues that are raised before they come to pass.

use domain::{Growth, Issue};

use super::*;
use crate::diagnose::diagnose;
use crate::learn::confidence::ConfidenceTable;

const WATCHED: Duration = Duration::from_secs(600);

/// Grows by so much a second, surely by nine tenths of it.
fn growing(per_second: f64) -> Option<Growth> {
    let (per_second_min, per_second_max) = (per_second * 0.9, per_second * 1.1);
    Some(Growth { per_second, per_second_min, per_second_max, watched: WATCHED })
}

/// A cart that uses 60 % of its 64 MiB, which grow.
fn leaking(per_second: f64) -> Fleet {
    let mut fleet = Fleet::healthy();
    fleet.memory("cart-0", 60.0);
    fleet.instance_mut("cart-0").usage.memory_growth = growing(per_second);
    fleet
}

fn open(finding: &Finding, fleet: &Fleet) -> Issue {
    let mut ids = domain::IdSource::seeded(1);
    let changes =
        track(&[], std::slice::from_ref(finding), &fleet.snapshot, &Thresholds::default(), &[], &mut || {
            ids.next(fleet.snapshot.taken)
        });
    changes[0].issue().clone()
}

#[test]
fn memory_that_will_be_over_its_bound_is_an_issue_with_the_forecast_as_its_evidence() {
    // 19.2 MiB are missing to 90 %.
    let fleet = leaking(64.0 * 1024.0);
    let found = finding(&fleet, IssueKind::HighMemory, "instance/cart-0");
    assert!(found.is_foretold());
    // A minute is left beyond five: a person may still see to it.
    assert_eq!((found.severity, found.excess), (Severity::Low, 0.0));
    let seconds = found.metrics[Issue::FORECAST];
    assert!((305.0..310.0).contains(&seconds), "{seconds}");
    assert!(
        found.metrics["forecast_seconds_min"] < seconds && seconds < found.metrics["forecast_seconds_max"]
    );
    let said = "60 % of its memory limit of 64 MiB, and will use 90 % in about 5.1 min (4.7 min to 5.7 min): it \
                grows by 3.8 MiB a minute, watched for 10 min";
    assert!(found.description.contains(said), "{}", found.description);
}

#[test]
fn what_is_foretold_gets_as_urgent_as_its_bound_once_that_is_near() {
    let mut fleet = leaking(64.0 * 1024.0);
    let severity = |fleet: &Fleet| finding(fleet, IssueKind::HighMemory, "instance/cart-0").severity;
    let far = severity(&fleet);
    fleet.memory("cart-0", 62.0);
    fleet.instance_mut("cart-0").usage.memory_growth = growing(64.0 * 1024.0);
    let near = severity(&fleet);
    fleet.memory("cart-0", 90.1);
    assert_eq!((far, near), (Severity::Low, severity(&fleet)));
}

#[test]
fn a_volume_that_fills_up_is_an_issue_with_the_reason_of_what_fills_it() {
    let mut fleet = Fleet::healthy();
    fleet.disk("cart-0", 80.0, FileClass::Logs);
    assert_eq!(look(&fleet, IssueKind::DiskFull, "volume/cart-0"), Verdict::Healthy);
    fleet.instance_mut("cart-0").usage.disk_growth = growing(8192.0);
    let found = finding(&fleet, IssueKind::DiskFull, "volume/cart-0");
    assert_eq!((found.reason, found.is_foretold()), (Reason::Logs, true));
    assert!(found.description.contains("will be 95 % full in about"), "{}", found.description);
}

#[test]
fn what_will_not_surely_be_over_within_the_time_it_was_watched_is_well() {
    // 19.2 MiB are missing; in ten minutes at nine tenths of the pace 18.9 MiB come.
    let fleet = leaking(36_700.0);
    assert_eq!(look(&fleet, IssueKind::HighMemory, "instance/cart-0"), Verdict::Healthy);
}

#[test]
fn what_is_over_its_bound_already_is_no_longer_foretold() {
    let mut fleet = leaking(64.0 * 1024.0);
    let foretold = open(&finding(&fleet, IssueKind::HighMemory, "instance/cart-0"), &fleet);
    assert!(foretold.is_foretold());
    fleet.memory("cart-0", 93.0);
    fleet.instance_mut("cart-0").usage.memory_growth = growing(64.0 * 1024.0);
    fleet.snapshot.taken = fleet.snapshot.taken.plus(Duration::from_secs(290));
    let found = finding(&fleet, IssueKind::HighMemory, "instance/cart-0");
    assert!(!found.is_foretold() && found.excess > 0.0);
    let mut none = || unreachable!("it is the same issue");
    let open = std::slice::from_ref(&foretold);
    let now = track(open, &[found], &fleet.snapshot, &Thresholds::default(), &[], &mut none);
    let now = now[0].issue();
    assert_eq!((now.id, now.is_foretold(), now.metrics[Issue::LEAD]), (foretold.id, false, 290.0));
}

#[test]
fn its_cause_is_the_growth_and_it_explains_nothing_else() {
    let mut fleet = leaking(64.0 * 1024.0);
    let causes = |fleet: &Fleet, issue: &Issue| {
        let causes =
            diagnose(issue, &fleet.snapshot, &[], &Thresholds::default(), &ConfidenceTable::default());
        causes.into_iter().map(|cause| cause.pattern).collect::<Vec<_>>()
    };
    let foretold = open(&finding(&fleet, IssueKind::HighMemory, "instance/cart-0"), &fleet);
    assert_eq!(causes(&fleet, &foretold), ["memory_growing"]);

    fleet.slow_path("front->cart", Part::Backend("cart-1"), 400.0);
    let slow = open(&finding(&fleet, IssueKind::NetworkLatency, "link/front->cart"), &fleet);
    assert!(!causes(&fleet, &slow).contains(&"memory_growing".to_owned()));
}
