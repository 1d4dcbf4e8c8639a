//! Writes that are sent again with their `Idempotency-Key`, over real HTTP: no second effect, the same answer.

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use audit::{Audit, Filter};
use domain::Clock;
use gateway::serve;
use serde_json::{Value, json};
use store::{LIST_LIMIT_DEFAULT, Store};
use support::server::{HEALING, Kept, Reply, Server, TOKEN, assert_problem, config, serve_with, start};
use support::{Fleet, MachineClock, scene};

const EVENTS: &str = "/api/v3/observability/events";
const EXPERIMENT: &str = "/api/v3/chaos/experiment";

fn send(server: &Server, path: &str, key: &str, body: &Value) -> Reply {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("host", server.host()),
        ("authorization", bearer),
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", key.to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server.raw("POST", path, &headers, &body.to_string())
}

fn events(server: &Server) -> usize {
    let line = server.get("/api/v3/observability/timeline?lanes=issues").json();
    let told = line["lanes"][0]["events"].as_array().unwrap().iter();
    told.filter(|event| event["type"] == "incident").count()
}

fn fault() -> Value {
    json!({"type": "pause", "target": {"resource": "instance/cart-0"}, "duration_seconds": 60})
}

/// A gateway over a store on the disk.
fn serve_in(dir: &Path) -> Server {
    let store = Store::open(dir).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::start());
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::of(serve(listener, store, fleet.clone(), config(clock)).unwrap(), fleet)
}

/// What a crash would leave of a data directory now.
fn crashed(dir: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for name in ["homeostat.db", "homeostat.db-wal"] {
        std::fs::copy(dir.join(name), left.path().join(name)).unwrap();
    }
    left
}

#[test]
fn the_same_request_with_the_same_key_has_one_effect_and_the_same_answer() {
    let server = start(scene::calm);
    let event = json!({"type": "incident", "title": "checkout is slow"});
    let first = send(&server, EVENTS, "one", &event);
    assert_eq!(first.status, 201, "{}", first.body);
    let second = send(&server, EVENTS, "one", &event);
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(second.header("content-type"), Some("application/json"));
    assert_ne!(second.header("x-request-id"), first.header("x-request-id"), "it is another request");
    assert_eq!(events(&server), 1);
    assert_eq!(send(&server, EVENTS, "two", &event).status, 201);
    assert_eq!(events(&server), 2);
}

#[test]
fn another_request_with_a_used_key_is_refused() {
    let server = start(scene::calm);
    let event = |title: &str| json!({"type": "incident", "title": title});
    assert_eq!(send(&server, EVENTS, "one", &event("a")).status, 201);
    assert_problem(&send(&server, EVENTS, "one", &event("b")), 422, "idempotency_mismatch");
    let elsewhere = format!("{HEALING}/toggle-auto-remediation");
    assert_problem(
        &send(&server, &elsewhere, "one", &json!({"enabled": false})),
        422,
        "idempotency_mismatch",
    );
    assert_eq!(events(&server), 1);
}

#[test]
fn a_refusal_is_kept_where_it_is_one_of_the_request_and_not_where_it_is_of_who_asks() {
    let server = start(scene::calm);
    let refused = send(&server, EVENTS, "one", &json!({"type": "incident"}));
    assert_problem(&refused, 422, "invalid_field");
    assert_eq!(send(&server, EVENTS, "one", &json!({"type": "incident"})).body, refused.body);
    let host = server.host();
    let body = r#"{"type":"incident","title":"a"}"#;
    let headers = [("host", host.as_str()), ("content-type", "application/json"), ("idempotency-key", "two")];
    assert_problem(&server.raw("POST", EVENTS, &headers, body), 401, "token_missing");
    assert_eq!(send(&server, EVENTS, "two", &json!({"type": "incident", "title": "a"})).status, 201);
}

#[test]
fn what_the_moment_refuses_is_asked_again_with_the_same_key() {
    let server = start(scene::calm);
    let (deploy, body) = (format!("{HEALING}/deploy/cart"), json!({"version": "2"}));
    server.fleet.store.latch_emergency_stop(server.fleet.clock.now()).unwrap();
    assert_problem(&send(&server, &deploy, "one", &body), 409, "refused");
    assert_problem(&send(&server, &deploy, "one", &body), 409, "refused");
    server.fleet.store.clear_emergency_stop().unwrap();
    let begun = send(&server, &deploy, "one", &body);
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(send(&server, &deploy, "one", &body).body, begun.body, "what was begun is not begun again");

    // What is not there may be there the next time, and what is not so may come to be.
    let (scale, body) = ("/api/v3/infrastructures/shop/scale", json!({"service": "cart", "replicas": 3}));
    assert_problem(&send(&server, scale, "two", &body), 404, "not_found");
    let shop = provider::manifest::parse("shop", "name: shop\nservices: { cart: { command: [cart] } }\n");
    *server.fleet.infrastructure.lock().unwrap() = Some(shop.unwrap());
    assert_eq!(send(&server, scale, "two", &body).status, 202);
}

#[test]
fn what_is_no_key_is_refused() {
    let server = start(scene::calm);
    for key in ["", "two words", &"x".repeat(256)] {
        let reply = send(&server, EVENTS, key, &json!({"type": "incident", "title": "a"}));
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], "idempotency-key");
    }
    assert_eq!(events(&server), 0);
}

#[test]
fn where_no_answer_is_kept_a_key_is_refused_and_nothing_is_done() {
    let server = start(scene::calm);
    let body = json!({"name": "ci", "roles": ["viewer"]});
    let reply = send(&server, "/api/v3/access/tokens", "k-1", &body);
    assert_problem(&reply, 400, "bad_request");
    assert!(reply.body.contains("Idempotency-Key"), "{}", reply.body);
    let tokens = server.write("GET", "/api/v3/access/tokens", "");
    assert_eq!(tokens.json(), json!([]), "no token was made");
}

#[test]
fn a_request_that_is_under_way_is_not_begun_again_and_its_answer_outlives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve_in(dir.path());
    let (first, left) = std::thread::scope(|scope| {
        let held = server.fleet.faults.lock().unwrap();
        let first = scope.spawn(|| send(&server, EXPERIMENT, "one", &fault()));
        // The experiment is written down before the fleet is asked for the lock that is held here.
        while server.fleet.store.experiments(1, None).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert_problem(&send(&server, EXPERIMENT, "one", &fault()), 409, "idempotency_in_use");
        let left = crashed(dir.path());
        drop(held);
        (first.join().unwrap(), left)
    });
    assert_eq!(first.status, 202, "{}", first.body);
    let again = send(&server, EXPERIMENT, "one", &fault());
    assert_eq!((again.status, &again.body), (202, &first.body));

    // The crash came between the effect and the answer: nobody knows, and nothing is begun again.
    let unanswered = serve_in(left.path());
    assert_problem(&send(&unanswered, EXPERIMENT, "one", &fault()), 409, "conflict");
    assert_eq!(unanswered.fleet.store.experiments(LIST_LIMIT_DEFAULT, None).unwrap().len(), 1);

    // It came after the answer, which is given again.
    let left = crashed(dir.path());
    let answered = serve_in(left.path());
    let again = send(&answered, EXPERIMENT, "one", &fault());
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert_eq!(answered.fleet.store.experiments(LIST_LIMIT_DEFAULT, None).unwrap().len(), 1);
}

#[test]
fn what_is_answered_again_is_recorded_as_a_replay_of_the_first_request() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let switch = format!("{HEALING}/toggle-auto-remediation");
    let first = send(&server, &switch, "one", &json!({"enabled": false}));
    let second = send(&server, &switch, "one", &json!({"enabled": false}));
    assert_eq!((second.status, &second.body), (200, &first.body));
    let asked = Filter { action: Some("automation.set".to_owned()), ..Filter::default() };
    let told = audit.query(&asked).unwrap().records;
    let [again, done] = &told[..] else { panic!("{told:#?}") };
    assert_eq!((done.target.as_str(), done.detail.as_deref()), ("automation", Some("off")));
    assert_eq!(done.request.as_deref(), first.header("x-request-id"));
    assert_eq!(again.request.as_deref(), second.header("x-request-id"));
    let said = format!(
        "replayed: request {} was answered again, nothing was done",
        done.request.as_deref().unwrap()
    );
    assert_eq!(again.detail.as_deref(), Some(&*said));
}
