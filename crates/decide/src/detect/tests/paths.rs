//! Slow, throttled and failing paths: what is found, where, and what is not.

use super::*;

#[test]
fn a_stall_or_a_few_slow_requests_raise_nothing() {
    let mut fleet = Fleet::healthy();
    // Half a second in which nothing moved: the p95 jumps, the median does not.
    for link in fleet.snapshot.links.values_mut() {
        link.recent.p95_ms = Some(480.0);
        for backend in link.backends.values_mut() {
            backend.recent.p95_ms = Some(480.0);
        }
    }
    // One slow request among few.
    let quiet = fleet.link_mut("orders->payments");
    quiet.recent = Window { seconds: 3, requests: 5, p50_ms: Some(5.0), p95_ms: Some(900.0), ..quiet.recent };
    // Four failed requests: a connection broke.
    fleet.link_mut("front->cart").recent.errors = 4;
    assert_eq!(found(&fleet), Vec::<String>::new());
}

#[test]
fn old_connections_are_told_from_what_the_callee_calls_also_where_most_requests_are_on_new_ones() {
    let mut fleet = Fleet::healthy();
    let link = fleet.link_mut("front->cart");
    let slow = Window { requests: 20, p50_ms: Some(404.0), p95_ms: Some(412.0), ..link.recent };
    link.old_connections = slow;
    link.new_connections = Window { requests: 40, p50_ms: Some(4.0), p95_ms: Some(12.0), ..link.recent };
    link.recent.p95_ms = Some(410.0);
    let reason = |fleet: &Fleet| finding(fleet, IssueKind::NetworkLatency, "link/front->cart").reason;
    assert_eq!(reason(&fleet), Reason::StaleConnections);
    // The database takes a while: new connections would feel it too.
    fleet.link_mut("cart->database").recent.p95_ms = Some(230.0);
    assert_eq!(reason(&fleet), Reason::StaleConnections);
    // Too few on new connections to tell: then what is called counts.
    fleet.link_mut("front->cart").new_connections.requests = 3;
    assert_eq!(reason(&fleet), Reason::Unspecified);
    fleet.link_mut("cart->database").recent.p95_ms = Some(30.0);
    assert_eq!(reason(&fleet), Reason::StaleConnections);
    // A check that is slow makes a new connection of its own.
    let backend = fleet.link_mut("front->cart").backends.values_mut().next().unwrap();
    backend.path_check = Some(Duration::from_millis(300));
    assert_ne!(reason(&fleet), Reason::StaleConnections);
}

#[test]
fn latency_that_stays_is_not_taken_for_usual() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::All, 400.0);
    let link = fleet.link_mut("front->cart");
    link.before = Window { requests: 900, seconds: 30, ..link.recent };
    finding(&fleet, IssueKind::NetworkLatency, "link/front->cart");
}

#[test]
fn a_slow_link_of_few_requests_stays_an_issue_when_slow_has_become_usual() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("orders->payments", Part::All, 400.0);
    let link = fleet.link_mut("orders->payments");
    link.before = Window { requests: 300, seconds: 30, ..link.recent };
    finding(&fleet, IssueKind::NetworkLatency, "link/orders->payments");
}

#[test]
fn a_slow_tail_that_lasts_half_a_minute_is_an_issue_although_most_requests_are_fast() {
    let mut fleet = Fleet::healthy();
    let link = fleet.link_mut("front->cart");
    link.recent.p95_ms = Some(320.0);
    assert_eq!(look(&fleet, IssueKind::NetworkLatency, "link/front->cart"), Verdict::Unknown);
    fleet.link_mut("front->cart").before.p95_ms = Some(300.0);
    finding(&fleet, IssueKind::NetworkLatency, "link/front->cart");
}

#[test]
fn an_instance_so_slow_that_it_gets_hardly_a_request_is_found_although_the_link_looks_well() {
    let mut fleet = Fleet::healthy();
    let cart_1 = "cart-1".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.recent = Window { requests: 3, p50_ms: Some(900.0), p95_ms: Some(950.0), ..backend.recent };
    assert_eq!(
        look(&fleet, IssueKind::NetworkLatency, "link/front->cart"),
        Verdict::Healthy,
        "three requests"
    );
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.path_check = Some(Duration::from_millis(900));
    let seen = finding(&fleet, IssueKind::NetworkLatency, "link/front->cart");
    assert_eq!(seen.reason, Reason::OneBackend);
    assert_eq!(
        seen.description,
        "95 % of requests on front->cart to cart-1 take up to 950 ms, 12 ms before (limit 200 ms); only cart-1 \
         is slow"
    );
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.recent.requests = 0;
    assert_eq!(
        look(&fleet, IssueKind::NetworkLatency, "link/front->cart"),
        Verdict::Unknown,
        "not proven well"
    );
    fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap().ejected_by_plan = true;
    assert_eq!(look(&fleet, IssueKind::NetworkLatency, "link/front->cart"), Verdict::Healthy);
}

#[test]
fn a_path_slower_than_its_checks_may_take_is_slow_and_not_broken() {
    let mut fleet = Fleet::healthy();
    let cart_1 = "cart-1".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.recent = Window { requests: 1, p50_ms: Some(2000.0), p95_ms: Some(2000.0), ..backend.recent };
    backend.path_check = None;
    backend.path_check_failures = 6;
    assert_eq!(found(&fleet), ["link/front->cart network_latency/one_backend"]);
}

#[test]
fn a_throttled_path_is_not_taken_for_a_broken_one_though_its_checks_are_turned_away_too() {
    let mut fleet = Fleet::healthy();
    fleet.throttled_path("front->cart", Part::Backend("cart-1"));
    let cart_1 = "cart-1".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.path_check = None;
    backend.path_check_failures = 6;
    let seen = finding(&fleet, IssueKind::ErrorRate, "link/front->cart");
    assert_eq!(seen.reason, Reason::OneBackend);
    assert!(
        seen.description.contains("most turned away because of their rate (429)"),
        "{}",
        seen.description
    );
}

#[test]
fn old_connections_that_are_slow_at_one_instance_by_chance_do_not_make_it_the_bad_one() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::OldConnections, 400.0);
    // One instance is reached over new connections by now.
    let cart_0 = "cart-0".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_0).unwrap();
    (backend.recent.p50_ms, backend.recent.p95_ms) = (Some(4.0), Some(12.0));
    let seen = finding(&fleet, IssueKind::NetworkLatency, "link/front->cart");
    assert_eq!(seen.reason, Reason::StaleConnections);
}

#[test]
fn a_request_that_failed_first_elsewhere_does_not_make_a_second_instance_bad() {
    let mut fleet = Fleet::healthy();
    fleet.broken_path("front->cart", Part::Backend("cart-1"));
    let cart_0 = "cart-0".parse().unwrap();
    fleet.link_mut("front->cart").backends.get_mut(&cart_0).unwrap().recent.errors = 1;
    let finding = finding(&fleet, IssueKind::ErrorRate, "link/front->cart");
    assert_eq!(finding.reason, Reason::OneBackend);
    assert!(finding.description.contains("; only cart-1 fails; 4 health checks in a row failed"));
}

#[test]
fn a_path_that_loses_its_checks_is_found_without_failed_requests_until_a_plan_takes_it_out() {
    let mut fleet = Fleet::healthy();
    let cart_1 = "cart-1".parse().unwrap();
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.path_check = None;
    backend.path_check_failures = 5;
    // The proxy tries elsewhere and ejects it by itself: no request fails, and yet the path is broken.
    backend.ejected = true;
    backend.recent = Window { seconds: 3, ..Window::default() };
    assert_eq!(finding(&fleet, IssueKind::ErrorRate, "link/front->cart").reason, Reason::OneBackend);
    fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap().path_check_failures = 2;
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Unknown, "not proven well");
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    (backend.path_check_failures, backend.ejected_by_plan) = (9, true);
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Healthy);
}

#[test]
fn trouble_that_only_the_checks_saw_ends_by_the_checks_where_nobody_calls() {
    let mut fleet = Fleet::healthy();
    let cart_1 = "cart-1".parse().unwrap();
    let link = fleet.link_mut("front->cart");
    (link.recent, link.before) = Default::default();
    link.backends.values_mut().for_each(|backend| backend.recent = Default::default());
    link.backends.get_mut(&cart_1).unwrap().path_check = None;
    link.backends.get_mut(&cart_1).unwrap().path_check_failures = 5;
    assert_eq!(finding(&fleet, IssueKind::ErrorRate, "link/front->cart").reason, Reason::OneBackend);
    let backend = fleet.link_mut("front->cart").backends.get_mut(&cart_1).unwrap();
    backend.path_check_failures = 0;
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Unknown);
    let link = fleet.link_mut("front->cart");
    link.backends.get_mut(&cart_1).unwrap().path_check = Some(Duration::from_millis(1));
    assert_eq!(look(&fleet, IssueKind::ErrorRate, "link/front->cart"), Verdict::Healthy);
}

#[test]
fn a_caller_of_a_slow_service_does_not_blame_its_connections() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("cart->database", Part::All, 400.0);
    assert_eq!(
        found(&fleet),
        [
            "link/cart->database network_latency/all_backends",
            "link/front->cart network_latency/all_backends",
            "link/load->front network_latency/all_backends",
        ]
    );
}
