//! Objectives over real HTTP: as programs see them, as pages, and as metrics.

mod support;

use serde_json::Value;
use support::objectives::{empty, with_a_past};
use support::scene;
use support::server::{assert_problem, start, start_with_objectives};

const OBSERVABILITY: &str = "/api/v3/observability";

#[test]
fn an_objective_has_the_fields_of_the_specification() {
    let (server, ..) = start_with_objectives(scene::calm, with_a_past);
    let all = server.get(&format!("{OBSERVABILITY}/slos")).json();
    assert_eq!(all.as_array().unwrap().len(), 7);
    let slo = server.get(&format!("{OBSERVABILITY}/slo/cart-answers")).json();
    assert_eq!(
        (&slo["id"], &slo["name"], &slo["service"]),
        (&"cart-answers".into(), &"answers".into(), &"cart".into())
    );
    assert_eq!(
        (&slo["metric"], &slo["target"], &slo["window_days"]),
        (&"error_rate".into(), &99.9.into(), &30.0.into())
    );
    assert!(slo["threshold"].is_null());
    let (current, coverage) = (slo["current"].as_f64().unwrap(), slo["coverage"].as_f64().unwrap());
    assert!((99.0..100.0).contains(&current), "{current}");
    assert!((90.0..95.0).contains(&coverage), "two of thirty days are missing: {coverage}");
    let budget = &slo["error_budget"];
    assert_eq!(budget["total_minutes"], 43.2);
    let (spent, left) =
        (budget["consumed_percent"].as_f64().unwrap(), budget["remaining_percent"].as_f64().unwrap());
    assert!((spent + left - 100.0).abs() < 1e-9 && spent > 0.0, "{budget}");
    let hour = slo["burn_rates"].as_array().unwrap().iter().find(|burn| burn["window"] == "1h").unwrap();
    assert_eq!((&hour["threshold"], &hour["severity"]), (&14.4.into(), &"page".into()));
    assert!(hour["rate"].as_f64().unwrap() > 14.4, "{hour}");
    assert_eq!(slo["alerts"][0]["severity"], "page");
    let unknown = server.get(&format!("{OBSERVABILITY}/slo/payments-charges")).json();
    assert_eq!((&unknown["status"], &unknown["coverage"]), (&"unknown".into(), &0.0.into()));
    assert!(unknown["current"].is_null());
}

#[test]
fn a_budgets_history_ends_at_what_is_left_now() {
    let (server, objectives, clock) = start_with_objectives(scene::calm, with_a_past);
    let ask = || {
        objectives.tick(clock.now());
        server.get(&format!("{OBSERVABILITY}/slo/cart-answers")).json()
    };
    let left = |slo: &Value| slo["error_budget"]["remaining_percent"].as_f64().unwrap();
    // The period rolls on from minute to minute, here as on the wall, so what is left is asked before and behind.
    let before = ask();
    let history = server.get(&format!("{OBSERVABILITY}/slo/cart-answers/budget")).json();
    let slo = ask();
    assert_eq!(history["step_minutes"], 60);
    let points = history["points"].as_array().unwrap();
    let last = points.last().unwrap()["remaining_percent"].as_f64().unwrap();
    let between = left(&before).min(left(&slo)) - 1e-6..left(&before).max(left(&slo)) + 1e-6;
    assert!(between.contains(&last), "{last} is not in {between:?}");
    assert!(points.iter().any(|point| point["total"].is_null()), "nobody looked for two days");
    let bad: f64 = points.iter().filter_map(|point| point["bad"].as_f64()).sum();
    let counted = [&before, &slo].map(|slo| slo["events"]["bad"].as_f64().unwrap());
    assert!(counted.contains(&bad), "{bad} bad ones, the objective says {counted:?}");
    let from = "2020-01-01T00:00:00Z";
    let refused = server.get(&format!("{OBSERVABILITY}/slo/cart-answers/budget?from={from}&step=minute"));
    assert_problem(&refused, 422, "invalid_field");
}

#[test]
fn what_is_not_there_is_said() {
    let (server, ..) = start_with_objectives(scene::calm, empty);
    assert_problem(&server.get(&format!("{OBSERVABILITY}/slo/none")), 404, "not_found");
    assert_problem(&start(scene::calm).get(&format!("{OBSERVABILITY}/slos")), 503, "unavailable");
}

#[test]
fn our_own_answers_are_counted() {
    let (server, objectives, clock) = start_with_objectives(scene::calm, empty);
    for path in ["/", "/nowhere", "/metrics"] {
        server.get(path);
    }
    objectives.tick(clock.now());
    let slo = server.get(&format!("{OBSERVABILITY}/slo/gateway-availability")).json();
    assert_eq!((&slo["events"]["total"], &slo["events"]["bad"]), (&3.0.into(), &0.0.into()));
    assert_eq!((&slo["current"], &slo["status"]), (&100.0.into(), &"healthy".into()));
}

#[test]
fn metrics_tell_budgets_burns_and_status() {
    let (server, ..) = start_with_objectives(scene::calm, with_a_past);
    let text = server.get("/metrics").body;
    for line in [
        "homeostat_slo_objective_ratio{slo=\"cart-answers\",slo_service=\"cart\"} 0.999",
        "homeostat_slo_error_budget_remaining_ratio{slo=\"cart-answers\",slo_service=\"cart\"} ",
        "homeostat_slo_burn_rate{slo=\"cart-answers\",slo_service=\"cart\",window=\"1h\"} ",
        "homeostat_slo_status{slo=\"cart-answers\",slo_service=\"cart\"} 2",
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(!text.contains("homeostat_slo_status{slo=\"payments-charges\""), "it is not known");
}

#[test]
fn pages_show_what_is_left_and_what_burned_it() {
    let (server, ..) = start_with_objectives(scene::busy, with_a_past);
    let list = server.get("/slos").body;
    let (cart, errors) = (list.find("cart-answers").unwrap(), list.find("payments-charges").unwrap());
    assert!(cart < errors, "the least budget first, what is not known last");
    assert!(list.contains("class=\"mark bad\"") && list.contains("critical"));
    let page = server.get("/slos/cart-answers").body;
    for text in [
        "Error budget left",
        "99.9 %",
        "class=\"spent\"",
        "class=\"gap\"",
        "14.4×",
        "What was wrong meanwhile",
    ] {
        assert!(page.contains(text), "{text}");
    }
    assert!(!page.contains("style=\""), "the policy forbids what is inline");
    assert!(server.get("/slos/cart-answers?window=60").body.contains("class=\"spent\""));
    assert_eq!(server.get("/slos/none").status, 404);
    assert!(server.get("/").body.contains("All objectives"));
    let (server, ..) = start_with_objectives(scene::calm, empty);
    assert!(server.get("/slos").body.contains("The 1 measured objective keeps within its error budget."));
}
