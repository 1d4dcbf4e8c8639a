//! Spans as the only witness, and beside a proxy.

use domain::{TracedCalls, Traces};

use super::*;

fn window(requests: u64, errors: u64, p50_ms: f64, p95_ms: f64) -> Window {
    Window { seconds: 10, requests, errors, p50_ms: Some(p50_ms), p95_ms: Some(p95_ms), ..Window::default() }
}

fn calls(recent: Window) -> TracedCalls {
    TracedCalls {
        recent,
        before: window(300, 0, 5.0, 20.0),
        exemplars: vec!["00000000000000000000000000000abc".to_owned()],
        ..TracedCalls::default()
    }
}

/// A fleet in which no proxy stands between front and cart, and spans tell of the calls.
fn without_proxy(recent: Window) -> Fleet {
    let mut fleet = Fleet::healthy();
    fleet.snapshot.links.remove(&"front->cart".parse().unwrap());
    fleet.snapshot.traces.links.insert("front->cart".parse().unwrap(), calls(recent));
    fleet
}

#[test]
fn a_link_without_a_proxy_is_judged_by_its_spans() {
    for (recent, latency, errors) in [
        (window(100, 0, 5.0, 20.0), "healthy", "healthy"),
        (window(100, 20, 5.0, 20.0), "healthy", "unhealthy"),
        (window(100, 0, 400.0, 900.0), "unhealthy", "healthy"),
        // The slowest few of many: a stall.
        (window(100, 0, 5.0, 900.0), "unknown", "healthy"),
        // Too few failed to be more than bad luck, too many to be well.
        (window(100, 4, 5.0, 20.0), "healthy", "unknown"),
        (window(4, 4, 900.0, 900.0), "unknown", "unknown"),
    ] {
        let fleet = without_proxy(recent);
        let told = [IssueKind::NetworkLatency, IssueKind::ErrorRate].map(|kind| {
            match look(&fleet, kind, "link/front->cart") {
                Verdict::Healthy => "healthy",
                Verdict::Unhealthy(_) => "unhealthy",
                Verdict::Unknown => "unknown",
            }
        });
        assert_eq!(told, [latency, errors], "{recent:?}");
    }
}

#[test]
fn what_spans_found_names_a_trace_to_look_at() {
    let fleet = without_proxy(window(100, 20, 5.0, 20.0));
    assert_eq!(found(&fleet), ["link/front->cart error_rate/unspecified"]);
    let description = finding(&fleet, IssueKind::ErrorRate, "link/front->cart").description;
    assert!(description.contains("see trace 00000000000000000000000000000abc"), "{description}");
}

#[test]
fn where_a_proxy_stands_it_is_the_witness() {
    let mut fleet = Fleet::healthy();
    let failing = calls(window(100, 50, 900.0, 900.0));
    fleet.snapshot.traces.links.insert("front->cart".parse().unwrap(), failing.clone());
    fleet.snapshot.traces.services.insert("cart".parse().unwrap(), failing);
    assert_eq!(found(&fleet), Vec::<String>::new());
}

#[test]
fn a_service_nobody_is_seen_to_call_is_judged_by_its_own_spans() {
    let mut fleet = Fleet::healthy();
    fleet.snapshot.links.retain(|link, _| link.to.as_str() != "front");
    fleet.snapshot.traces.services.insert("front".parse().unwrap(), calls(window(100, 50, 5.0, 20.0)));
    assert_eq!(found(&fleet), ["service/front error_rate/unspecified"]);
}

#[test]
fn services_and_links_of_others_are_not_judged() {
    let mut fleet = Fleet::healthy();
    let failing = calls(window(100, 50, 900.0, 900.0));
    let links = [("front->elsewhere".parse().unwrap(), failing.clone())].into();
    fleet.snapshot.traces =
        Traces { links, services: [("elsewhere".parse().unwrap(), failing)].into(), ..Traces::default() };
    assert_eq!(found(&fleet), Vec::<String>::new());
}

#[test]
fn what_was_replaced_on_purpose_is_not_judged_while_the_window_holds_it() {
    let mut fleet = without_proxy(window(100, 50, 900.0, 900.0));
    let at = fleet.snapshot.taken.minus(Duration::from_secs(8));
    let state = fleet.instance_mut("cart-0");
    state.exits.push(ExitRecord { at, cause: ExitCause::Status(0), requested: true, successor_at: Some(at) });
    state.phase_since = at;
    assert_eq!(found(&fleet), Vec::<String>::new());
    fleet.after(Duration::from_secs(6));
    assert_eq!(found(&fleet).len(), 2);
}
