//! The time line over REST and as pages: what lies on it, what belongs together, how a service is.

mod support;

use serde_json::{Value, json};
use support::server::{self, Server};
use support::{scene, traces};

const OBSERVABILITY: &str = "/api/v3/observability";

fn released() -> Server {
    server::start_with_both(scene::release, traces::release)
}

fn get(server: &Server, path: &str) -> Value {
    let reply = server.get(&format!("{OBSERVABILITY}/{path}"));
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    reply.json()
}

fn pattern<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let patterns = answer["patterns"].as_array().unwrap();
    patterns.iter().find(|pattern| pattern["name"] == name).unwrap_or_else(|| panic!("{patterns:#?}"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn a_bad_release_is_found_with_what_speaks_for_it() {
    let server = released();
    let answer = get(&server, "correlate?window=30m");
    let events = answer["events"].as_array().unwrap();
    for field in ["id", "type", "time", "service", "title", "links"] {
        assert!(events.iter().all(|event| event.get(field).is_some()), "{field}");
    }
    let found = pattern(&answer, "deployment_then_regression");
    assert_eq!(found["service"], "cart");
    assert!(found["confidence"].as_f64().unwrap() > 80.0, "{found:#}");
    assert!(texts(&found["evidence"]).iter().any(|text| text.contains("errors rose from 0 %")), "{found:#}");
    assert_eq!(texts(&found["affected_services"]), ["cart", "front", "load"]);
    let deployment = events.iter().find(|event| event["title"].as_str().unwrap().contains("cart runs 2.0.0"));
    assert!(texts(&found["events"]).contains(&deployment.unwrap()["id"].as_str().unwrap()), "{found:#}");
    let incident = pattern(&answer, "slow_traces_with_errors");
    assert!(incident["confidence"].as_f64().unwrap() > 50.0, "{incident:#}");
    let of_cart = |change: &&Value| change["id"] == deployment.unwrap()["id"];
    let change = answer["changes"].as_array().unwrap().iter().find(of_cart).unwrap();
    assert_eq!(change["distance"], 0, "the service in trouble itself");
}

#[test]
fn around_a_time_before_the_release_nothing_of_it_is_told() {
    let server = released();
    let events = get(&server, "correlate?window=30m")["events"].as_array().unwrap().clone();
    let deployed =
        events.iter().find(|event| event["title"].as_str().unwrap().contains("cart runs 2.0.0")).unwrap();
    let at: jiff::Timestamp = deployed["time"].as_str().unwrap().parse().unwrap();
    let before = at - jiff::SignedDuration::from_secs(301);
    let answer = get(&server, &format!("correlate?around={before}&window=5m"));
    let until: jiff::Timestamp = answer["window"]["to"].as_str().unwrap().parse().unwrap();
    assert!(until < at);
    for event in answer["events"].as_array().unwrap() {
        assert!(event["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap() <= until, "{event}");
    }
    assert_eq!(answer["patterns"], json!([]));
}

#[test]
fn the_time_line_has_the_lanes_that_were_asked_for() {
    let server = released();
    let all = get(&server, "timeline");
    let lanes: Vec<&str> =
        all["lanes"].as_array().unwrap().iter().map(|lane| lane["lane"].as_str().unwrap()).collect();
    assert_eq!(lanes, ["issues", "actions", "faults", "deployments", "alerts", "traces"]);
    for lane in all["lanes"].as_array().unwrap() {
        assert!(!lane["events"].as_array().unwrap().is_empty(), "{lane:#}");
        let times: Vec<&str> =
            lane["events"].as_array().unwrap().iter().map(|e| e["time"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");
    }
    let one = get(&server, "timeline?service=payments&lanes=deployments,actions");
    assert_eq!(one["lanes"].as_array().unwrap().len(), 2);
    let deployments = one["lanes"][1]["events"].as_array().unwrap();
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["service"], "payments");
    for (query, field) in [
        ("lanes=weather", "lanes"),
        ("from=noon", "from"),
        ("from=2026-11-21T03:00:00Z&to=2026-11-21T02:00:00Z", "from"),
        ("from=2024-11-21T03:00:00Z", "from"),
        ("lane=issues", "lane"),
    ] {
        let reply = server.get(&format!("{OBSERVABILITY}/timeline?{query}"));
        assert_eq!((reply.status, reply.json()["field"].as_str()), (422, Some(field)), "{query}");
    }
}

#[test]
fn a_service_tells_how_it_is_with_the_rule_and_null_for_what_is_unknown() {
    let server = released();
    let health = get(&server, "service/cart/health");
    assert_eq!((health["service"].as_str(), health["status"].as_str()), (Some("cart"), Some("degraded")));
    assert!((30.0..37.0).contains(&health["error_rate_percent"].as_f64().unwrap()), "{health:#}");
    assert!((100.0..600.0).contains(&health["average_latency_ms"].as_f64().unwrap()), "{health:#}");
    // Two a second until the server was started: the longer that takes, the more of the last five minutes are without.
    assert!((90.0..125.0).contains(&health["requests_per_minute"].as_f64().unwrap()), "{health:#}");
    assert!((80.0..99.0).contains(&health["availability_percent"].as_f64().unwrap()), "{health:#}");
    assert!(health["last_deployment"]["title"].as_str().unwrap().contains("2.0.0"), "{health:#}");
    assert_eq!(
        (health["counted_by"].as_str(), health["active_alerts"].as_array().unwrap().len()),
        (Some("spans"), 0)
    );
    assert!(health["reason"].as_str().unwrap().contains("limit 1 %"), "{health:#}");
    let front = get(&server, "service/front/health");
    assert_eq!(front["active_alerts"][0]["title"], "more than 5 % of the checkouts fail");
    // It sends no spans, and nothing calls it: only its instances are known.
    let load = get(&server, "service/load/health");
    assert_eq!(load["status"], "healthy");
    for figure in [
        "availability_percent",
        "average_latency_ms",
        "error_rate_percent",
        "requests_per_minute",
        "last_deployment",
    ] {
        assert_eq!(load[figure], Value::Null, "{figure}");
    }
    let payments = get(&server, "service/payments/health");
    assert_eq!(payments["counted_by"], "last_look", "no spans, no series: what the proxies saw last");
    assert_eq!(server.get(&format!("{OBSERVABILITY}/service/nowhere/health")).status, 404);
}

#[test]
fn an_event_from_outside_is_taken_once_for_each_key() {
    let server = server::start(scene::calm);
    let post = |body: Value| server.post(&format!("{OBSERVABILITY}/events"), body);
    let begun = post(json!({
        "type": "incident", "title": "the shop is down", "service": "cart", "severity": "high", "key": "INC-7",
        "signs": ["errors"], "links": [{"href": "https://incidents.example/7"}],
    }));
    assert_eq!(begun.status, 201, "{}", begun.body);
    let begun = begun.json();
    assert_eq!((begun["type"].as_str(), begun["end"].as_str()), (Some("incident"), None));
    let now = begun["time"].as_str().unwrap();
    let ended = post(
        json!({"type": "incident", "title": "the shop was down", "key": "INC-7", "time": now, "end": now}),
    );
    assert_eq!((ended.status, &ended.json()["id"]), (200, &begun["id"]));
    let lanes = get(&server, "timeline?lanes=issues");
    let events = lanes["lanes"][0]["events"].as_array().unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["title"], "the shop was down");

    let deployed = post(json!({"type": "deployment", "service": "cart", "version": "2.0.0"}));
    assert_eq!(deployed.status, 201, "{}", deployed.body);
    assert_eq!(post(json!({"type": "deployment", "service": "cart", "version": "2.0.0"})).status, 200);
    let health = get(&server, "service/cart/health");
    assert_eq!(health["last_deployment"]["id"], deployed.json()["id"]);
}

#[test]
fn what_cannot_be_an_event_is_refused_by_field() {
    let server = server::start(scene::calm);
    for (body, field) in [
        (json!({"title": "x"}), "type"),
        (json!({"type": "issue", "title": "x"}), "type"),
        (json!({"type": "alert"}), "title"),
        (json!({"type": "alert", "title": "two\nlines"}), "title"),
        (json!({"type": "alert", "title": "x".repeat(301)}), "title"),
        (json!({"type": "alert", "title": "x", "time": "yesterday"}), "time"),
        (json!({"type": "alert", "title": "x", "time": "2199-01-01T00:00:00Z"}), "time"),
        (json!({"type": "alert", "title": "x", "severity": "bad"}), "severity"),
        (json!({"type": "alert", "title": "x", "signs": ["loud"]}), "signs"),
        (json!({"type": "alert", "title": "x", "links": [{"href": "javascript:alert(1)"}]}), "links[0].href"),
        (json!({"type": "alert", "title": "x", "colour": "red"}), "colour"),
        (json!({"type": "deployment", "service": "cart"}), "version"),
        (json!({"type": "deployment", "service": "Cart!", "version": "1"}), "service"),
    ] {
        let reply = server.post(&format!("{OBSERVABILITY}/events"), body.clone());
        assert_eq!((reply.status, reply.json()["field"].as_str()), (422, Some(field)), "{body}");
    }
    let no_token = server.raw(
        "POST",
        &format!("{OBSERVABILITY}/events"),
        &[("host", &server.host()), ("content-type", "application/json")],
        r#"{"type":"alert","title":"x"}"#,
    );
    assert_eq!(no_token.status, 401);
    assert_eq!(get(&server, "timeline?lanes=alerts")["lanes"][0]["events"], json!([]));
}

#[test]
fn the_dashboard_is_one_document_and_unknown_is_null() {
    let server = released();
    let board = get(&server, "dashboard");
    assert_eq!(board["health"]["overall_score"], 81);
    assert_eq!(board["services_total"], 7);
    assert_eq!(board["issues"]["open"], 2);
    assert_eq!(board["last_hour"]["events"]["deployments"], 2);
    let cart =
        board["services"].as_array().unwrap().iter().find(|service| service["service"] == "cart").unwrap();
    assert_eq!(cart["status"], "degraded");
    assert_eq!(board["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(pattern(&board["last_hour"]["correlation"], "deployment_then_regression")["service"], "cart");
    assert!(board["health_trend"]["direction"].is_string());

    let empty = server::start(|_| {});
    let board = get(&empty, "dashboard");
    assert_eq!(
        (&board["health"], &board["traces"], &board["health_trend"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(board["services"], json!([]));
}

#[test]
fn the_health_score_says_where_it_is_going() {
    let server = server::start(scene::busy);
    let score = server.get("/api/v3/self-healing/health-score").json();
    assert!(
        (11..=13).contains(&score["trend"]["scores"].as_u64().unwrap()),
        "one every five minutes: {score:#}"
    );
    let trend = server.get("/api/v3/self-healing/health-score/trend?window=24h").json();
    assert!(trend["trend"]["window_seconds"].as_f64().unwrap() > 80_000.0, "{trend:#}");
    let fresh = server::start(scene::calm);
    assert_eq!(fresh.get("/api/v3/self-healing/health-score").json()["trend"], Value::Null, "no records yet");
    assert_eq!(fresh.get("/api/v3/self-healing/health-score/trend?window=1y").status, 422);
}

#[test]
fn the_page_says_what_belongs_together_and_every_step_is_a_link() {
    let server = released();
    let page = server.get("/timeline");
    assert_eq!(page.status, 200, "{}", page.body);
    for words in [
        "Cart is worse since cart 2.0.0",
        "worse since a deployment",
        "slow and failing",
        "errors rose from 0 %",
        "Zoom in",
        "data-axis=\"",
        "aria-label=\"Deployments: 2\"",
        "CheckoutErrors",
    ] {
        assert!(page.body.contains(words), "{words}");
    }
    let zoom = page.body.split("data-step=\"in\"").nth(1).unwrap().split("href=\"").nth(1).unwrap();
    let address = zoom.split('"').next().unwrap().replace("&amp;", "&");
    let closer = server.get(&address);
    assert_eq!(closer.status, 200, "{address}");
    assert!(closer.body.contains("name=\"from\""), "both ends can be typed");
    let one = server.get("/timeline?service=payments&lane=deployments&lane=actions");
    assert!(
        one.body.contains("payments runs 1.9.0") && !one.body.contains("aria-label=\"Issues"),
        "{}",
        one.body
    );
    assert_eq!(server.get("/timeline?lane=weather").status, 422);
    assert_eq!(server.get("/timeline?from=2020-01-01T00:00:00Z").status, 422);
    let empty = server::start(|_| {}).get("/timeline");
    assert!(empty.body.contains("Nothing happened in the last hour"), "{}", empty.body);
}

#[test]
fn an_issue_and_a_service_show_what_changed() {
    let server = released();
    let issue = server.first("issues?type=error_rate");
    let page = server.get(&format!("/issues/{issue}")).body;
    for words in ["What changed before", "cart runs 2.0.0", "What it belongs to", "worse since cart 2.0.0"] {
        assert!(page.contains(words), "{words}");
    }
    let page = server.get("/services/cart").body;
    for words in ["Requests", "Failed", "cart runs 2.0.0", "1.4.2", "class=\"spark\""] {
        assert!(page.contains(words), "{words}");
    }
}
