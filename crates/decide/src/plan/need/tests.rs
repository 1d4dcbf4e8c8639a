//! A cause is repaired for the reason that detection gives at its place, wherever the issue is felt.

use std::time::Duration;

use domain::{FileClass, Percent};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::super::fixture::{cause, issue};
use super::*;
use crate::detect::{Finding, detect};
use crate::fixture::{Fleet, Part};

/// The class of cause whose need is the finding's own type.
fn class_of(kind: IssueKind) -> Option<CauseClass> {
    match kind {
        IssueKind::HighCpu => Some(CauseClass::CpuExhausted),
        IssueKind::DiskFull => Some(CauseClass::DiskExhausted),
        IssueKind::NetworkLatency => Some(CauseClass::PathSlow),
        IssueKind::ErrorRate => Some(CauseClass::PathBroken),
        _ => None,
    }
}

fn need(finding: &Finding, fleet: &Fleet, thresholds: &Thresholds) -> Option<Need> {
    let users = issue(IssueKind::SloBurn, Reason::Unspecified, "link/load->front");
    let cause = cause(class_of(finding.kind)?, &finding.resource.to_string());
    Some(Need::of(&users, &cause, &fleet.snapshot, thresholds))
}

fn reasons(fleet: &Fleet, thresholds: &Thresholds) -> Vec<(String, Reason, Reason)> {
    detect(&fleet.snapshot, thresholds)
        .iter()
        .filter(|finding| finding.reason != Reason::Unspecified)
        .filter_map(|finding| {
            let needed = need(finding, fleet, thresholds)?.reason;
            Some((format!("{} on {}", finding.kind, finding.resource), finding.reason, needed))
        })
        .collect()
}

#[test]
fn stale_connections_are_found_at_the_cause_too() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::OldConnections, 400.0);
    let told = reasons(&fleet, &Thresholds::default());
    let wanted = (
        "network_latency on link/front->cart".to_owned(),
        Reason::StaleConnections,
        Reason::StaleConnections,
    );
    assert!(told.contains(&wanted), "{told:?}");
}

#[test]
fn a_rise_of_the_load_that_detection_does_not_count_is_none_for_the_repair() {
    let mut fleet = Fleet::healthy();
    fleet.cpu("cart-0", 97.0, 4.0);
    let link = fleet.link_mut("front->cart");
    link.recent.requests = link.recent.requests * 14 / 10;
    let told = reasons(&fleet, &Thresholds::default());
    assert_eq!(told, [("high_cpu on instance/cart-0".to_owned(), Reason::Unexplained, Reason::Unexplained)]);
}

#[test]
fn a_global_bound_holds_where_a_service_declares_none() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::Backend("cart-1"), 100.0);
    let (link, bad) = ("front->cart".parse().unwrap(), BTreeSet::from(["cart-1".parse().unwrap()]));
    let strict = Thresholds { latency_ms: 60.0, ..Thresholds::default() };
    let lax = Thresholds { latency_ms: 900.0, ..Thresholds::default() };
    assert_eq!(bad_backends(&link, &fleet.snapshot, &strict), bad);
    assert_eq!(bad_backends(&link, &fleet.snapshot, &lax), BTreeSet::new());
}

proptest! {
    /// Whatever is wrong with a fleet, and however it is bounded: where the cause lies at a place that
    /// detection finds unwell by itself, the need has the finding's type and reason.
    #[test]
    fn needs_have_the_reasons_of_findings(seed in any::<u64>()) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut fleet = Fleet::healthy();
        let thresholds = Thresholds {
            latency_ms: [50.0, 200.0, 500.0][rng.usize(..3)],
            disk: Percent([60.0, 95.0][rng.usize(..2)]),
            ..Thresholds::default()
        };
        for (link, one) in [("front->cart", "cart-1"), ("orders->payments", "payments-0")] {
            let part = [Part::All, Part::Backend(one), Part::OldConnections][rng.usize(..3)];
            match rng.u8(..4) {
                0 => fleet.slow_path(link, part, 20.0 + 600.0 * rng.f64()),
                1 => fleet.broken_path(link, part),
                2 => fleet.throttled_path(link, part),
                _ => &mut fleet,
            };
        }
        if rng.bool() {
            fleet.cpu("catalogue-1", 80.0 + 20.0 * rng.f64(), 10.0);
            fleet.link_mut("front->catalogue").recent.requests *= rng.u64(1..3);
        }
        if rng.bool() {
            let class = [FileClass::Temporary, FileClass::Logs, FileClass::Cache, FileClass::Data];
            fleet.disk("database-0", 50.0 + 49.0 * rng.f64(), class[rng.usize(..4)]);
        }
        fleet.after(Duration::from_millis(10));
        for (what, found, needed) in reasons(&fleet, &thresholds) {
            prop_assert_eq!(found, needed, "{}", what);
        }
    }
}
