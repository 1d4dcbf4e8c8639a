//! Which of several issues of one cause is repaired, and which cause first.

use domain::{CauseClass, IssueKind, Reason};

use super::super::fixture::*;
use super::*;

fn seen(kind: IssueKind, on: &str, severity: Severity, seconds_ago: f64) -> Issue {
    Issue { severity, detected_at: at(200_000.0 - seconds_ago), ..issue(kind, Reason::Unspecified, on) }
}

fn ordered(issues: &[(Issue, &str)]) -> Vec<String> {
    let diagnosed =
        issues.iter().map(|(issue, at)| (issue, vec![cause(CauseClass::ProcessHangs, at)])).collect();
    by_priority(diagnosed).into_iter().map(|(issue, _)| issue.resource.to_string()).collect()
}

#[test]
fn the_issue_at_the_cause_goes_first_though_its_callers_were_seen_earlier_and_are_worse_off() {
    let order = ordered(&[
        (seen(IssueKind::ErrorRate, "link/front->cart", Severity::Critical, 3.0), "instance/database-0"),
        (seen(IssueKind::ErrorRate, "link/cart->database", Severity::Critical, 2.0), "instance/database-0"),
        (seen(IssueKind::PodCrash, "instance/database-0", Severity::High, 1.0), "instance/database-0"),
    ]);
    assert_eq!(order, ["instance/database-0", "link/front->cart", "link/cart->database"]);
}

#[test]
fn a_cause_is_as_urgent_as_the_worst_of_what_it_causes() {
    let order = ordered(&[
        (seen(IssueKind::DiskFull, "volume/cart-0", Severity::High, 9.0), "volume/cart-0"),
        (seen(IssueKind::ErrorRate, "link/front->cart", Severity::Critical, 1.0), "instance/database-0"),
        (seen(IssueKind::PodCrash, "instance/database-0", Severity::Medium, 1.0), "instance/database-0"),
    ]);
    assert_eq!(order, ["instance/database-0", "link/front->cart", "volume/cart-0"]);
}

#[test]
fn among_causes_alike_the_one_seen_longer_goes_first() {
    let order = ordered(&[
        (seen(IssueKind::DiskFull, "volume/cart-0", Severity::High, 1.0), "volume/cart-0"),
        (seen(IssueKind::DiskFull, "volume/cart-1", Severity::High, 2.0), "volume/cart-1"),
    ]);
    assert_eq!(order, ["volume/cart-1", "volume/cart-0"]);
}

#[test]
fn a_burning_budget_leaves_the_repair_to_the_issue_that_says_what_is_wrong() {
    let burn = seen(IssueKind::SloBurn, "service/cart", Severity::Critical, 1.0);
    let hang = seen(IssueKind::PodCrash, "instance/database-0", Severity::High, 2.0);
    let slow = seen(IssueKind::NetworkLatency, "link/front->catalogue", Severity::High, 2.0);
    let at = |place: &str| vec![cause(CauseClass::ProcessHangs, place)];
    let beside = [(&burn, at("instance/database-0")), (&hang, at("instance/database-0"))];
    assert_eq!(told_directly(&burn, &at("instance/database-0"), &beside), Some(&hang));
    assert_eq!(told_directly(&hang, &at("instance/database-0"), &beside), None, "it says so itself");
    let elsewhere = [(&burn, at("instance/database-0")), (&slow, at("link/front->catalogue"))];
    assert_eq!(told_directly(&burn, &at("instance/database-0"), &elsewhere), None, "that is another cause");
}
