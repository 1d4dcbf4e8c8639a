//! The REST surface over real HTTP: a served gateway, an in-memory store.

mod support;

use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use domain::Clock;
use gateway::{GatewayConfig, GatewayError, serve};
use homeostat_tracer::{Delivery, Sampler, Tracer, Transport};
use serde_json::{Value, json};
use store::Store;
use support::server::{HEALING, TOKEN, assert_problem, config, start, start_traced};
use support::{Fleet, MachineClock, scene};

#[test]
fn health_says_whether_the_loops_give_snapshots() {
    let server = start(scene::calm);
    let reply = server.get("/health");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("healthy")));
    assert_eq!(reply.json()["troubles"], json!([]));
    let trouble = "health score: cannot read or write state: the disk is full";
    server.fleet.troubles.lock().unwrap().push(trouble.to_owned());
    assert_eq!(server.get("/health").json()["troubles"], json!([trouble]));
    *server.fleet.snapshot.lock().unwrap() = None;
    assert_eq!(
        (server.get("/health").status, server.get("/health").json()["status"].clone()),
        (503, json!("starting"))
    );
    let old = server.fleet.clock.now().minus(Duration::from_secs(90));
    *server.fleet.snapshot.lock().unwrap() = Some(Arc::new(scene::snapshot(old)));
    assert_eq!(server.get("/health").json()["status"], "stale");
}

#[test]
fn health_score_has_the_promised_fields_and_null_for_what_is_unknown() {
    let server = start(scene::busy);
    let score = server.get(&format!("{HEALING}/health-score")).json();
    for field in ["overall_score", "compute_score", "network_score", "storage_score", "database_score"] {
        assert!(score[field].is_u64(), "{field} in {score}");
    }
    assert_eq!(score["security_score"], Value::Null);
    assert!(score["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&score["issues_detected"], &score["auto_remediated"]), (&json!(3), &json!(2)));
    let history = server.get(&format!("{HEALING}/health-score/history")).json();
    assert!(history.as_array().unwrap().len() > 200);
    let empty = start(|_| {});
    assert_problem(&empty.get(&format!("{HEALING}/health-score")), 503, "not_known_yet");
}

#[test]
fn issues_are_a_bare_array_with_the_promised_fields_and_filters() {
    let server = start(scene::busy);
    let all = server.get(&format!("{HEALING}/issues")).json();
    let rows = all.as_array().unwrap();
    assert_eq!(rows.len(), 8);
    for field in ["id", "type", "severity", "resource", "description", "detected_at", "metrics"] {
        assert!(!rows[0][field].is_null(), "{field} in {}", rows[0]);
    }
    assert!(rows[0]["metrics"]["threshold"].is_f64());
    let of = |query: &str| server.get(&format!("{HEALING}/issues?{query}")).json().as_array().unwrap().len();
    assert_eq!(of("type=disk_full"), 1);
    assert_eq!(of("severity=critical"), 1);
    assert_eq!(of("resource=instance%2Fcart-0"), 2);
    assert_eq!(of("since=2100-01-01T00:00:00Z"), 0);
    let one = server.get(&format!("{HEALING}/issues/{}", rows[0]["id"].as_str().unwrap()));
    assert_eq!(one.json(), rows[0]);
    for (query, field) in
        [("limit=0", "limit"), ("type=itch", "type"), ("since=noon", "since"), ("before=x", "before")]
    {
        let reply = server.get(&format!("{HEALING}/issues?{query}"));
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], field);
    }
}

#[test]
fn every_row_is_on_exactly_one_page() {
    let server = start(scene::busy);
    for list in ["self-healing/issues", "self-healing/remediations", "chaos/experiments"] {
        let whole = server.get(&format!("/api/v3/{list}"));
        assert_eq!(whole.header("link"), None, "one page has no next");
        let mut seen = Vec::new();
        let mut next = Some(format!("/api/v3/{list}?limit=3"));
        while let Some(path) = next {
            let page = server.get(&path);
            seen.extend(page.json().as_array().unwrap().clone());
            next = page.header("link").map(|link| {
                let (path, relation) = link.split_once(">; ").unwrap();
                assert_eq!(relation, "rel=\"next\"");
                path.trim_start_matches('<').to_owned()
            });
        }
        assert_eq!(Value::Array(seen), whole.json(), "{list}");
    }
}

#[test]
fn the_unversioned_address_is_an_alias() {
    let server = start(scene::busy);
    let both = |path: &str| {
        (server.get(&format!("/api/v3/self-healing{path}")), server.get(&format!("/api/self-healing{path}")))
    };
    for path in ["/health-score", "/statistics", "/remediations", "/strategies", "/pauses"] {
        let (long, short) = both(path);
        assert_eq!((long.status, long.body), (200, short.body), "{path}");
    }
    let (_, short) = both("/issues?limit=1");
    assert!(
        short.header("link").unwrap().starts_with("</api/self-healing/issues?"),
        "{:?}",
        short.header("link")
    );
    let reply = server.post("/api/self-healing/toggle-auto-remediation", json!({"enabled": false}));
    assert_eq!(reply.json()["auto_remediation_enabled"], false);
}

#[test]
fn remediations_have_the_promised_fields_and_say_verifying_is_in_progress() {
    let server = start(scene::busy);
    let rows = server.get(&format!("{HEALING}/remediations")).json();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 8, "experiments are not among them");
    for field in [
        "id",
        "issue_id",
        "action_type",
        "description",
        "status",
        "started_at",
        "completed_at",
        "success",
        "error_message",
        "rollback_performed",
    ] {
        assert!(rows[0].get(field).is_some(), "{field}");
    }
    assert!(rows.iter().all(|row| row["status"] != "verifying"));
    let of = |status: &str| {
        let list = server.get(&format!("{HEALING}/remediations?status={status}")).json();
        list.as_array().unwrap().len()
    };
    assert_eq!((of("in_progress"), of("awaiting_approval"), of("success"), of("failed")), (2, 1, 4, 1));
    let one = server.get(&format!("{HEALING}/remediations/{}", rows[7]["id"].as_str().unwrap())).json();
    assert_eq!(one["success"], true);
    assert_eq!(one["steps"][0]["state"], "done");
    assert_eq!(one["outcome"]["kind"], "healed");
}

#[test]
fn statistics_are_counted_and_null_where_nothing_can_be_compared() {
    let server = start(scene::busy);
    let counts = server.get(&format!("{HEALING}/statistics?window=7d")).json();
    assert_eq!(counts["total_issues_detected"], 8);
    assert_eq!((&counts["successful_remediations"], &counts["failed_remediations"]), (&json!(4), &json!(1)));
    assert_eq!(counts["success_rate"], 80.0);
    assert_eq!(counts["average_remediation_time"], "2.3 seconds");
    assert_eq!((&counts["uptime_improvement"], &counts["mttr_reduction"]), (&Value::Null, &Value::Null));
    assert_problem(&server.get(&format!("{HEALING}/statistics?window=1y")), 422, "invalid_field");
    let empty = start(|_| {}).get(&format!("{HEALING}/statistics")).json();
    assert_eq!((&empty["success_rate"], &empty["average_remediation_time"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_master_switch_is_thrown_and_kept() {
    let server = start(scene::calm);
    let path = format!("{HEALING}/toggle-auto-remediation");
    let reply = server.post(&path, json!({"enabled": false}));
    assert_eq!(reply.status, 200);
    assert!(reply.json()["message"].as_str().unwrap().contains("off"));
    assert!(!server.fleet.store.switches().unwrap().automation);
    let wrong = server.post(&path, json!({"enabled": "no"}));
    assert_problem(&wrong, 422, "invalid_field");
    assert_eq!(wrong.json()["field"], "enabled");
    assert_problem(&server.post(&path, json!({})), 422, "invalid_field");
    assert_problem(&server.write("POST", &path, "{\"enabled\": tru"), 400, "malformed_json");
}

#[test]
fn a_dry_run_changes_nothing_and_a_manual_repair_makes_a_plan() {
    let server = start(scene::busy);
    let issue = server.first("issues");
    let before = server.get(&format!("{HEALING}/remediations")).body;
    let plan = server.write("POST", &format!("{HEALING}/dry-run/{issue}"), "");
    assert_eq!(plan.status, 200);
    assert_eq!(plan.json()["steps"][0]["action"], "kill cart-1 and start it again");
    assert!(plan.json()["expected_effect"].as_str().unwrap().contains("cart-1"));
    assert_eq!(server.get(&format!("{HEALING}/remediations")).body, before);
    let asked = server.write("POST", &format!("{HEALING}/manual-remediate/{issue}?dry_run=true"), "");
    assert_problem(&asked, 422, "invalid_field");
    let made = server.write("POST", &format!("{HEALING}/manual-remediate/{issue}"), "{}");
    assert_eq!(made.status, 202);
    assert_eq!(made.json()["requested_by"], "local token");
    assert_eq!(server.first("remediations"), made.json()["id"].as_str().unwrap());
    let unknown = "01900000-0000-7000-8000-000000000000";
    for id in [unknown, "nonsense"] {
        assert_problem(
            &server.write("POST", &format!("{HEALING}/manual-remediate/{id}"), ""),
            404,
            "not_found",
        );
    }
    let closed = server.get(&format!("{HEALING}/issues")).json()[7]["id"].as_str().unwrap().to_owned();
    assert_problem(
        &server.write("POST", &format!("{HEALING}/manual-remediate/{closed}"), ""),
        409,
        "conflict",
    );
}

#[test]
fn a_waiting_plan_is_approved_once_and_a_finished_one_is_taken_back() {
    let server = start(scene::busy);
    let waiting = server.get(&format!("{HEALING}/remediations?status=awaiting_approval")).json();
    let path = format!("{HEALING}/remediations/{}", waiting[0]["id"].as_str().unwrap());
    let reply = server.write("POST", &format!("{path}/approve"), "");
    assert_eq!((reply.status, &reply.json()["decision"]["verdict"]), (200, &json!("approved")));
    assert_problem(&server.write("POST", &format!("{path}/reject"), ""), 409, "conflict");
    let done = server.get(&format!("{HEALING}/remediations?status=success")).json();
    let path = format!("{HEALING}/remediations/{}/rollback", done[0]["id"].as_str().unwrap());
    let reply = server.write("POST", &path, "");
    assert_eq!((reply.status, &reply.json()["rollback_performed"]), (202, &json!(true)));
    assert_problem(&server.write("POST", &path, ""), 409, "conflict");
}

#[test]
fn services_logs_strategies_and_capabilities_can_be_read() {
    let server = start(scene::busy);
    let services = server.get(&format!("{HEALING}/services")).json();
    assert_eq!(services.as_array().unwrap().len(), 7);
    let cart = server.get(&format!("{HEALING}/services/cart")).json();
    assert_eq!((&cart["replicas"], &cart["ready"]), (&json!(2), &json!(1)));
    assert_eq!(cart["links"][0]["link"], "front->cart");
    assert_problem(&server.get(&format!("{HEALING}/services/nobody")), 404, "not_found");
    let logs = server.get(&format!("{HEALING}/services/cart/logs?lines=5")).json();
    assert_eq!(logs.as_array().unwrap().len(), 5);
    assert_problem(&server.get(&format!("{HEALING}/services/nobody/logs")), 404, "not_found");
    let strategies = server.get(&format!("{HEALING}/strategies")).json();
    assert_eq!(
        (&strategies[0]["strategy"], &strategies[0]["proven"]),
        (&json!("restart_pod"), &json!(false))
    );
    assert_eq!(server.get(&format!("{HEALING}/capabilities")).json()["provider"], "processes");
}

#[test]
fn a_service_is_paused_for_a_while_and_resumed() {
    let server = start(scene::calm);
    let path = format!("{HEALING}/pauses");
    let reply = server.post(&path, json!({"service": "cart", "for": "1h"}));
    assert_eq!((reply.status, &reply.json()[0]["service"]), (200, &json!("cart")));
    assert!(server.get("/services/cart").body.contains("Resume"));
    for (body, field) in [
        (json!({"service": "cart", "for": "8d"}), "for"),
        (json!({"service": "cart"}), "for"),
        (json!({"service": "No Name", "for": "1h"}), "service"),
        (json!({"service": "cart", "for": "1h", "why": "?"}), "why"),
    ] {
        assert_eq!(server.post(&path, body).json()["field"], field);
    }
    assert_eq!(server.write("DELETE", &format!("{path}/cart"), "").json(), json!([]));
}

#[test]
fn an_experiment_is_begun_shown_and_aborted() {
    let server = start(scene::calm);
    let begun = server.post(
        "/api/v3/chaos/experiment",
        json!({"name": "hang", "type": "pause", "target": {"resource": "instance/cart-0"}, "duration_seconds": 20}),
    );
    assert_eq!((begun.status, &begun.json()["status"]), (202, &json!("running")));
    for field in ["target", "parameters", "blast_radius", "recovery_time_seconds", "passed", "verdict"] {
        assert!(begun.json().get(field).is_some(), "{field}");
    }
    let faults = server.get("/api/v3/chaos/faults").json();
    assert_eq!((&faults[0]["type"], &faults[0]["target"]), (&json!("pause"), &json!("instance/cart-0")));
    assert!(server.get("/").body.contains("1 fault is injected on purpose"));
    let path = format!("/api/v3/chaos/experiment/{}", begun.json()["id"].as_str().unwrap());
    assert_eq!(server.write("DELETE", &path, "").json()["status"], "aborted");
    assert_eq!(server.get(&path).json()["status"], "aborted");
    assert_eq!(server.get("/api/v3/chaos/faults").json(), json!([]));
    let service =
        json!({"type": "pause", "target": {"selector": {"service": "cart"}}, "duration_seconds": 5});
    assert_problem(&server.post("/api/v3/chaos/experiment", service), 422, "unsupported");
}

#[test]
fn the_emergency_stop_latches_until_it_is_cleared() {
    let server = start(scene::busy);
    let path = "/api/v3/chaos/emergency-stop";
    assert_eq!(server.get(path).json()["engaged"], false);
    assert_eq!(server.write("POST", path, "").json()["faults_removed"], 2);
    assert_eq!(server.get(path).json()["engaged"], true);
    assert!(server.get("/").body.contains("The emergency stop is engaged"));
    assert_eq!(server.write("DELETE", path, "").json()["engaged"], false);
    assert_eq!(server.get(path).json(), json!({"engaged": false, "since": null}));
}

#[test]
fn what_has_no_engine_has_no_address() {
    let server = start(scene::busy);
    for path in ["resilience-score", "statistics", "continuous/toggle"] {
        assert_problem(&server.get(&format!("/api/v3/chaos/{path}")), 404, "not_found");
    }
}

#[test]
fn metrics_are_prometheus_text() {
    let text = start(scene::busy).get("/metrics").body;
    for line in [
        "self_healing_issues_detected_total 8",
        "self_healing_remediation_success_rate 0.8",
        "self_healing_health_score{component=\"overall\"} 84",
        "chaos_experiments_success_total 5",
        "chaos_active_faults 2",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} in {text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(!text.contains("component=\"security\""), "what is unknown has no value");
}

#[test]
fn distributions_are_there_before_their_first_value() {
    let text = start(scene::calm).get("/metrics").body;
    for name in [
        "self_healing_remediation_duration_seconds",
        "healing_duration_seconds",
        "chaos_recovery_time_seconds",
    ] {
        for line in
            [format!("{name}_bucket{{le=\"60\"}} 0"), format!("{name}_count 0"), format!("{name}_sum 0")]
        {
            assert!(text.lines().any(|have| have == line), "{line} in {text}");
        }
    }
}

#[test]
fn no_address_leads_out_of_what_is_served() {
    let server = start(scene::busy);
    let out = [
        "../../../../../../etc/passwd",
        "..%2f..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/etc/passwd",
    ];
    let places =
        gateway::page_table().map(str::to_owned).chain(gateway::addresses().into_iter().map(|one| one.path));
    let open: BTreeSet<String> = places
        .filter_map(|path| Some(path.split_once('{')?.0.to_owned()))
        .chain(["/static/".to_owned()])
        .collect();
    assert!(open.len() > 10, "{open:?}");
    for (before, out) in open.iter().flat_map(|before| out.map(|out| (before, out))) {
        let reply = server.get(&format!("{before}{out}"));
        assert_ne!(reply.status, 500, "{before}{out}");
        assert!(!reply.body.contains("root:x:0:"), "{before}{out}");
    }
}

#[test]
fn errors_of_every_kind_are_problem_details() {
    let server = start(scene::calm);
    assert_problem(&server.get("/api/v3/nothing"), 404, "not_found");
    assert_problem(&server.get("/nothing"), 404, "not_found");
    let wrong = server.write("DELETE", &format!("{HEALING}/issues"), "");
    assert_problem(&wrong, 405, "wrong_method");
    assert_eq!(wrong.header("allow"), Some("GET,HEAD"));
    assert!(wrong.json()["detail"].as_str().unwrap().contains("/api/v3/self-healing/issues"));
    let large = "x".repeat((1 << 20) + 1);
    let path = format!("{HEALING}/toggle-auto-remediation");
    assert_problem(&server.write("POST", &path, &large), 413, "body_too_large");
    let (host, bearer) = (server.host(), format!("Bearer {TOKEN}"));
    let plain = [("host", host.as_str()), ("authorization", bearer.as_str())];
    assert_problem(&server.raw("POST", &path, &plain, "enabled=true"), 415, "not_json");
    assert_problem(&server.get(&format!("{HEALING}/issues/%ff")), 400, "bad_request");
}

#[test]
fn a_write_needs_the_token() {
    let server = start(scene::calm);
    let (host, path) = (server.host(), format!("{HEALING}/toggle-auto-remediation"));
    let try_with = |headers: &[(&str, &str)]| {
        let mut all = vec![("host", host.as_str()), ("content-type", "application/json")];
        all.extend_from_slice(headers);
        server.raw("POST", &path, &all, "{\"enabled\": false}")
    };
    assert_problem(&try_with(&[]), 401, "token_missing");
    assert_problem(&try_with(&[("authorization", "Bearer wrong")]), 401, "wrong_token");
    assert_problem(&try_with(&[("authorization", &format!("Basic {TOKEN}"))]), 401, "wrong_token");
    assert_eq!(try_with(&[("authorization", "Bearer wrong")]).header("www-authenticate"), Some("Bearer"));
    assert!(server.fleet.store.switches().unwrap().automation, "nothing was changed");
    assert_eq!(try_with(&[("authorization", &format!("Bearer {TOKEN}"))]).status, 200);
}

#[test]
fn another_host_or_origin_is_refused() {
    let server = start(scene::calm);
    let port = server.address().port();
    for host in ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost:1".to_owned()] {
        assert_problem(&server.raw("GET", "/health", &[("host", &host)], ""), 421, "wrong_host");
    }
    assert_eq!(server.raw("GET", "/health", &[("host", &format!("127.0.0.1:{port}"))], "").status, 200);
    let (host, bearer) = (server.host(), format!("Bearer {TOKEN}"));
    for origin in ["http://evil.example", "http://localhost:1", "null"] {
        let headers = [("host", host.as_str()), ("authorization", bearer.as_str()), ("origin", origin)];
        let reply = server.raw("POST", "/api/v3/chaos/emergency-stop", &headers, "");
        assert_problem(&reply, 403, "wrong_origin");
    }
    assert_eq!(server.fleet.store.switches().unwrap().emergency_stop, None);
}

#[test]
fn every_answer_is_hardened() {
    let server = start(scene::calm);
    for path in ["/", "/health", "/nothing", "/assets/page.js"] {
        let reply = server.get(path);
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{path}");
    }
    let page = server.get("/").body;
    assert!(!page.contains("style=\"") && !page.contains("onclick"), "the policy forbids what is inline");
}

#[test]
fn only_loopback_and_a_real_token_are_served() {
    let refuse = |address: &str, token: &str| {
        let store = Store::in_memory().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
        let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
        let config = GatewayConfig { token: token.to_owned(), ..config(clock) };
        serve(TcpListener::bind(address).unwrap(), store, fleet, config).unwrap_err()
    };
    let error = refuse("0.0.0.0:0", TOKEN);
    assert!(matches!(error, GatewayError::ExposedWithoutTls { .. }), "{error}");
    assert!(error.to_string().contains("only with TLS"), "{error}");
    assert!(matches!(refuse("127.0.0.1:0", "short"), GatewayError::WeakToken { length: 5 }));
}

/// Keeps what a tracer sends.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Transport for Kept {
    fn send(&self, request: &[u8]) -> Delivery {
        self.0.lock().unwrap().extend_from_slice(request);
        Delivery::Accepted { rejected: 0 }
    }
}

#[test]
fn what_asks_by_itself_is_not_traced() {
    let kept = Kept::default();
    let tracer = Tracer::builder(gateway::OWN_SERVICE)
        .sampler(Sampler::Always)
        .transport(kept.clone())
        .build()
        .unwrap();
    let server = start_traced(scene::calm, tracer.clone());
    for path in ["/services", "/health", "/metrics", "/assets/page.js", "/favicon.svg", "/issues"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(
        server.raw("GET", "/health", &[("host", "evil.example")], "").status,
        421,
        "guarded as before"
    );
    assert_eq!(
        server.raw("PUT", "/health", &[("host", &server.host())], "").status,
        405,
        "not untraced by it"
    );
    tracer.flush(Duration::from_secs(10)).unwrap();
    let bytes = kept.0.lock().unwrap();
    let traced = |name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
    assert!(traced("GET /services") && traced("GET /issues"));
    for name in ["/health", "/metrics", "/assets", "/favicon"] {
        assert!(!traced(name), "{name}");
    }
}

#[test]
fn a_slow_client_is_not_waited_for() {
    let server = start(scene::calm);
    let _silent: Vec<_> = (0..20).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(server.get("/health").status, 200);
    let begin = Instant::now();
    server.gateway.shutdown();
    assert!(begin.elapsed() < Duration::from_secs(20));
}
