//! `If-Match`: whatever can be overwritten is overwritten as it was read, or not at all.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use serde_json::{Value, json};
use support::server::{HEALING, Reply, Server, TOKEN, assert_problem, start};
use support::{Fleet, scene};

const OWN_PASSWORD: &str = "/api/v3/access/me/password";

const SHOP: &str = "
name: shop
services:
  front: {command: [sleep, '1'], replicas: 2}
";

/// A fleet with something of everything that can be overwritten.
fn everything(fleet: &Fleet) {
    scene::busy(fleet);
    *fleet.infrastructure.lock().unwrap() = Some(provider::manifest::parse("shop.yaml", SHOP).unwrap());
}

fn ask(server: &Server, (method, path): (&str, &str), condition: Option<&str>, body: &Value) -> Reply {
    let (host, bearer) = (server.host(), format!("Bearer {TOKEN}"));
    let mut headers = vec![
        ("host", host.as_str()),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    headers.extend(condition.map(|tag| ("if-match", tag)));
    let body = if method == "GET" || body.is_null() { String::new() } else { body.to_string() };
    server.raw(method, path, &headers, &body)
}

fn tag(server: &Server, path: &str) -> String {
    let read = ask(server, ("GET", path), None, &Value::Null);
    assert_eq!(read.status, 200, "{path}: {}", read.body);
    read.header("etag").unwrap_or_else(|| panic!("{path} has no tag")).to_owned()
}

/// The operations of the document that take `If-Match`, with the `GET` whose tag it is.
fn conditional(server: &Server) -> Vec<(String, String, String)> {
    let document = server.get("/api/v3/openapi.json").json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().unwrap();
            let Some(parameter) = parameters.iter().find(|one| one["name"] == "If-Match") else { continue };
            let said = parameter["description"].as_str().unwrap();
            let read = said.split('`').nth(1).unwrap().strip_prefix("GET ").unwrap();
            assert!(document["paths"][read]["get"].is_object(), "{path} names {read}, which is no GET");
            assert!(operation["responses"]["412"].is_object(), "{path}");
            found.push((method.to_uppercase(), path.clone(), read.to_owned()));
        }
    }
    found
}

#[test]
fn each_write_that_overwrites_is_refused_by_an_old_tag_and_done_by_the_present_one() {
    let server = start(everything);
    let user = json!({"name": "ada", "roles": ["viewer"], "password": "correct horse battery"});
    assert_eq!(server.post("/api/v3/access/users", user).status, 201);
    let (remediation, experiment) = (server.first("remediations?status=awaiting_approval"), {
        let body =
            json!({"type": "pod_kill", "target": {"resource": "instance/cart-0"}, "duration_seconds": 5});
        let made = server.post("/api/v3/chaos/experiment", body);
        made.json()["id"].as_str().unwrap().to_owned()
    });
    let mut tried = 0;
    for (method, path, read) in conditional(&server) {
        let of = match path.as_str() {
            // One's own account is a user's; tried below. Traces are of a store of spans; tried in traces.rs.
            path if path.contains("/access/me") || path.contains("/archive/") => continue,
            path if path.contains("/remediations/") => &remediation,
            path if path.contains("/experiment/") => &experiment,
            path if path.contains("/infrastructures/") => "shop",
            path if path.contains("/users/") => "ada",
            _ => "cart",
        };
        let fill = |path: &str| match path.split_once('{') {
            Some((before, rest)) => format!("{before}{of}{}", rest.split_once('}').unwrap().1),
            None => path.to_owned(),
        };
        let (address, read) = (fill(&path), fill(&read));
        let body = match path.as_str() {
            path if path.ends_with("/deploy/{name}") => json!({"version": "9", "dry_run": true}),
            path if path.ends_with("/pauses") => json!({"service": "cart", "for": "1h"}),
            path if path.ends_with("/scale") => json!({"service": "front", "replicas": 3, "dry_run": true}),
            path if path.ends_with("toggle-auto-remediation") => json!({"enabled": true}),
            path if method == "PATCH" && path.ends_with("/users/{name}") => json!({"display_name": "Ada"}),
            _ => Value::Null,
        };
        let now = tag(&server, &read);
        assert!(!now.starts_with("W/"), "a weak tag matches nothing");
        let asked = (method.as_str(), address.as_str());
        for old in ["\"of-another-time\"", &format!("W/{now}")] {
            assert_problem(&ask(&server, asked, Some(old), &body), 412, "precondition_failed");
            assert_eq!(tag(&server, &read), now, "{method} {path} was done all the same");
        }
        let done = ask(&server, asked, Some(&format!("\"other\", {now}")), &body);
        // What the state of the fleet refuses was let through by its tag.
        assert!(done.status < 300 || done.status == 409, "{method} {path}: {}", done.body);
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn of_two_who_read_the_same_the_second_is_told() {
    let server = start(scene::waiting);
    let switch = format!("{HEALING}/toggle-auto-remediation");
    let read = tag(&server, &switch);
    let turn = |enabled: bool| ask(&server, ("POST", &switch), Some(&read), &json!({"enabled": enabled}));
    assert_eq!(turn(false).status, 200);
    assert_problem(&turn(true), 412, "precondition_failed");
    assert_eq!(server.get(&switch).json()["auto_remediation_enabled"], false);

    let plan = format!("{HEALING}/remediations/{}", server.first("remediations"));
    let read = tag(&server, &plan);
    let decide = |what: &str| ask(&server, ("POST", &format!("{plan}/{what}")), Some(&read), &Value::Null);
    assert_eq!(decide("approve").status, 200);
    assert_problem(&decide("reject"), 412, "precondition_failed");
}

#[test]
fn a_tag_is_of_what_people_change_and_not_of_what_changes_by_itself() {
    let server = start(scene::calm);
    let pauses = format!("{HEALING}/pauses");
    let pause = |tag: Option<&str>, length: &str| {
        ask(&server, ("POST", &pauses), tag, &json!({"service": "cart", "for": length}))
    };
    assert_eq!(pause(None, "50s").status, 200);
    let first = server.get(&pauses);
    let left = |reply: &Reply| reply.json()[0]["left"].as_str().unwrap().to_owned();
    // Wait until it says another length that is left.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let later = loop {
        let later = server.get(&pauses);
        if left(&later) != left(&first) {
            break later;
        }
        assert!(std::time::Instant::now() < deadline, "{} stays", left(&first));
        std::thread::yield_now();
    };
    assert_eq!(first.header("etag"), later.header("etag"));
    let read = later.header("etag").unwrap().to_owned();
    assert_eq!(pause(Some(&read), "2h").status, 200);
    assert_problem(&pause(Some(&read), "3h"), 412, "precondition_failed");
}

#[test]
fn what_overwrites_nothing_takes_no_precondition_and_an_emergency_stop_any() {
    let server = start(scene::busy);
    let body = json!({"type": "incident", "title": "checkout is slow"});
    let refused = ask(&server, ("POST", "/api/v3/observability/events"), Some("*"), &body);
    assert_problem(&refused, 412, "precondition_failed");
    let stop = "/api/v3/chaos/emergency-stop";
    assert_eq!(ask(&server, ("POST", stop), Some("\"old\""), &Value::Null).status, 200);
    assert_problem(
        &ask(&server, ("DELETE", stop), Some("\"old\""), &Value::Null),
        412,
        "precondition_failed",
    );
    assert_eq!(server.get(stop).json()["engaged"], true);
}

#[test]
fn a_refused_precondition_uses_up_no_idempotency_key() {
    let server = start(scene::calm);
    let (path, host, bearer) =
        (format!("{HEALING}/toggle-auto-remediation"), server.host(), format!("Bearer {TOKEN}"));
    let turn = |tag: &str| {
        let headers = [
            ("host", host.as_str()),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("idempotency-key", "once"),
            ("if-match", tag),
        ];
        server.raw("POST", &path, &headers, r#"{"enabled": false}"#)
    };
    assert_problem(&turn("\"old\""), 412, "precondition_failed");
    assert_eq!(turn(&tag(&server, &path)).status, 200);
}

/// A server with a user `ada`, and a bearer of hers.
fn with_ada() -> (Server, String) {
    let server = start(scene::calm);
    let user = json!({"name": "ada", "roles": ["viewer"], "password": "correct horse battery"});
    assert_eq!(server.post("/api/v3/access/users", user).status, 201);
    let made =
        server.post("/api/v3/access/tokens", json!({"name": "hers", "owner": "ada", "roles": ["viewer"]}));
    let bearer = format!("Bearer {}", made.json()["token"].as_str().expect(&made.body));
    (server, bearer)
}

#[test]
fn who_has_an_account_keeps_nobody_from_shutting_it_out() {
    let (server, bearer) = with_ada();
    let (host, over) = (server.host(), AtomicBool::new(false));
    // The password is right, and the new one is refused only after that was proven.
    let body = json!({"present": "correct horse battery", "new": "short"}).to_string();
    let headers =
        [("host", host.as_str()), ("authorization", bearer.as_str()), ("content-type", "application/json")];
    let (proven, begun) = mpsc::channel();
    std::thread::scope(|threads| {
        for _ in 0..8 {
            let (server, headers, body, over, proven) = (&server, &headers, &body, &over, proven.clone());
            threads.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let _ = proven.send(server.raw("POST", OWN_PASSWORD, headers, body).status);
                }
            });
        }
        let first = begun.recv();
        let path = ("PATCH", "/api/v3/access/users/ada");
        let changed: Vec<u16> = (0..10)
            .map(|number| ask(&server, path, None, &json!({"display_name": format!("Ada {number}")})).status)
            .collect();
        over.store(true, Ordering::SeqCst);
        assert!(first.is_ok());
        assert_eq!(changed, [200; 10]);
    });
}

#[test]
fn one_s_own_account_is_changed_as_it_was_read() {
    let (server, bearer) = with_ada();
    let host = server.host();
    let hers = |method: &str, path: &str, tag: &str, body: &str| {
        let headers = [
            ("host", host.as_str()),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("if-match", tag),
        ];
        server.raw(method, path, &headers, body)
    };
    let me = "/api/v3/access/me";
    let read = hers("GET", me, "*", "").header("etag").unwrap().to_owned();
    let body = |present: &str, new: &str| json!({"present": present, "new": new}).to_string();
    let change = |present: &str, new: &str| hers("POST", OWN_PASSWORD, &read, &body(present, new));
    assert_eq!(change("correct horse battery", "staple of the second").status, 200);
    assert_problem(&change("staple of the second", "third and last staple"), 412, "precondition_failed");
}
