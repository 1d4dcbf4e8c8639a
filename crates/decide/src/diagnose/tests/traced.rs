//! What spans add to the causes, and where they are all there is.

use domain::{TracedCalls, Traces};

use super::*;

const TRACE: &str = "00000000000000000000000000000abc";

/// Calls of a service: its own time now and before, its own errors among 100 calls.
fn service(own_ms: f64, own_ms_before: f64, own_errors: u64, errors: u64) -> TracedCalls {
    TracedCalls {
        recent: Window {
            seconds: 10,
            requests: 100,
            errors,
            p50_ms: Some(500.0),
            p95_ms: Some(900.0),
            ..Window::default()
        },
        before: Window {
            seconds: 60,
            requests: 600,
            p50_ms: Some(5.0),
            p95_ms: Some(20.0),
            ..Window::default()
        },
        own_ms: Some(own_ms),
        own_ms_before: Some(own_ms_before),
        own_errors,
        exemplars: vec![TRACE.to_owned()],
        estimated: false,
    }
}

/// Front calls orders, orders calls payments; spans alone tell, and say these figures of orders and payments.
fn traced_only(orders: TracedCalls, payments: TracedCalls) -> Fleet {
    let mut fleet = Fleet::healthy();
    fleet.snapshot.links.clear();
    let links = ["front->orders", "orders->payments"];
    fleet.snapshot.traces = Traces {
        links: links.map(|link| (link.parse().unwrap(), orders.clone())).into(),
        services: [("orders".parse().unwrap(), orders), ("payments".parse().unwrap(), payments)].into(),
        ..Traces::default()
    };
    fleet
}

fn cause_of(fleet: &Fleet, resource: &str, kind: IssueKind) -> String {
    let open = issues(fleet);
    let resource: ResourceId = resource.parse().unwrap();
    let issue = open.iter().find(|issue| issue.resource == resource && issue.kind == kind).expect("an issue");
    first(issue, fleet, &open)
        .map_or("none".to_owned(), |c| format!("{} {} {}", c.class, c.resource, c.pattern))
}

#[test]
fn spans_alone_name_the_service_whose_own_part_grew_or_fails() {
    let well = || service(5.0, 5.0, 0, 0);
    for (orders, payments, kind, cause) in [
        (
            service(6.0, 5.0, 0, 0),
            service(480.0, 4.0, 0, 0),
            IssueKind::NetworkLatency,
            "service_slow service/payments traced_own_time_grew",
        ),
        (
            service(480.0, 5.0, 0, 0),
            well(),
            IssueKind::NetworkLatency,
            "service_slow service/orders traced_own_time_grew",
        ),
        (
            service(5.0, 5.0, 0, 40),
            service(4.0, 4.0, 40, 40),
            IssueKind::ErrorRate,
            "service_failing service/payments traced_errors_of_its_own",
        ),
        (
            service(5.0, 5.0, 40, 40),
            well(),
            IssueKind::ErrorRate,
            "service_failing service/orders traced_errors_of_its_own",
        ),
        (service(5.0, 5.0, 0, 40), service(9.0, 4.0, 3, 3), IssueKind::ErrorRate, "none"),
    ] {
        let fleet = traced_only(orders, payments);
        assert_eq!(cause_of(&fleet, "link/front->orders", kind), cause);
    }
}

#[test]
fn beside_proxies_spans_are_told_and_rank_nothing() {
    let mut fleet = Fleet::healthy();
    fleet.slow_path("front->cart", Part::All, 400.0);
    let open = issues(&fleet);
    let issue =
        open.iter().find(|issue| issue.resource == "link/front->cart".parse().unwrap()).expect("an issue");
    let ask = |fleet: &Fleet| {
        diagnose(issue, &fleet.snapshot, &open, &Thresholds::default(), &ConfidenceTable::default())
    };
    let without = ask(&fleet);
    fleet.snapshot.traces.services.insert("cart".parse().unwrap(), service(480.0, 4.0, 0, 0));
    let with = ask(&fleet);
    let named = |causes: &[Cause]| -> Vec<String> {
        causes.iter().map(|c| format!("{} {} {}", c.class, c.resource, c.pattern)).collect()
    };
    assert_eq!(named(&with), named(&without));
    assert_eq!(with[0].evidence[0], without[0].evidence[0], "the first names the instance");
    let told: Vec<&str> = with.iter().flat_map(|cause| &cause.evidence).map(|item| &*item.text).collect();
    assert!(
        told.iter().any(|text| text.contains("cart itself takes 480 ms") && text.contains(TRACE)),
        "{told:?}"
    );
}

#[test]
fn a_dependency_that_spans_alone_know_leads_to_the_instance_behind_it() {
    let mut fleet = traced_only(service(480.0, 5.0, 0, 0), service(480.0, 5.0, 0, 0));
    let liveness = fleet.instance_mut("payments-1").liveness.as_mut().expect("a probe");
    liveness.failures_in_a_row = 3;
    let open = issues(&fleet);
    let resource: ResourceId = "link/front->orders".parse().unwrap();
    let issue = open.iter().find(|issue| issue.resource == resource).expect("an issue");
    let cause = first(issue, &fleet, &open).expect("a cause");
    assert_eq!(
        (cause.class, cause.resource.to_string()),
        (CauseClass::ProcessHangs, "instance/payments-1".into())
    );
    let told: Vec<&str> = cause.evidence.iter().map(|item| &*item.text).collect();
    assert!(
        told.iter().any(|text| text.contains("spans say: orders calls payments, 100 times lately")),
        "{told:?}"
    );
}
