//! Records that are removed on request, over real HTTP: who may, what is refused, and that it is audited.

mod support;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audit::{Audit, Filter};
use domain::{Clock, IdSource, Issue, IssueId, IssueKind, Reason, Severity, Time};
use gateway::serve;
use serde_json::json;
use store::Store;
use support::server::{Kept, Server, assert_problem, config, serve_with, start};
use support::{Fleet, MachineClock, scene};

const PURGE: &str = "/api/v3/server/purge";

#[test]
fn what_is_over_and_old_is_said_first_and_removed_when_asked_for() {
    let server = start(scene::busy);
    let open = server.fleet.store.open_issues().unwrap().len();
    let body = json!({"older_than": "30d", "dry_run": true});
    let said = server.post(PURGE, body).json();
    assert_eq!(said["dry_run"], true, "{said}");
    let removed = server.post(PURGE, json!({"older_than": "30d"})).json();
    assert_eq!(removed["dry_run"], false);
    assert_eq!((&removed["complete"], &removed["failure"]), (&json!(true), &json!(null)), "{removed}");
    for figure in ["issues", "plans", "experiments", "events", "health_scores"] {
        assert_eq!(said[figure], removed[figure], "{figure} in {said} and {removed}");
    }
    assert_eq!(server.fleet.store.open_issues().unwrap().len(), open, "what is open stays");
}

#[test]
fn an_age_or_a_kind_that_cannot_be_is_refused() {
    let server = start(scene::busy);
    for (body, field) in [
        (json!({"older_than": "2h"}), "older_than"),
        (json!({"older_than": "old"}), "older_than"),
        (json!({"older_than": "90d", "kinds": ["audit"]}), "kinds"),
        (json!({"older_than": "90d", "kinds": []}), "kinds"),
    ] {
        let reply = server.post(PURGE, body);
        assert_problem(&reply, 422, "invalid_field");
        assert!(reply.body.contains(field), "{}", reply.body);
    }
}

/// Hurries by two seconds whenever it is read, as if everything took that long.
#[derive(Debug)]
struct HurryingClock(MachineClock, AtomicU64);

impl Clock for HurryingClock {
    fn now(&self) -> Time {
        let read = self.1.fetch_add(1, Ordering::Relaxed);
        self.0.now().plus(Duration::from_secs(2 * read))
    }

    fn wait(&self, duration: Duration) {
        self.0.wait(duration);
    }
}

#[test]
fn what_takes_longer_than_a_request_may_is_said_and_goes_by_the_next_one() {
    const ISSUES: u64 = 650;
    let store = Store::in_memory().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(HurryingClock(MachineClock::start(), AtomicU64::new(0)));
    let old = clock.now().minus(Store::PURGE_AGE_MIN * 2);
    let mut ids = IdSource::seeded(7);
    for _ in 0..ISSUES {
        store.save_issue(&closed(ids.next(old), old)).unwrap();
    }
    let fleet = Arc::new(Fleet::new(store.clone(), Arc::clone(&clock)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::of(serve(listener, store, fleet.clone(), config(clock)).unwrap(), fleet);
    let said = server.post(PURGE, json!({"older_than": "30d", "kinds": ["issues"], "dry_run": true})).json();
    let counted = said["issues"].as_u64().unwrap();
    assert_eq!(said["complete"], false, "{said}");
    assert!(counted > 0 && counted < ISSUES, "at least so many: {said}");
    let (mut removed, mut rounds) = (0, 0);
    loop {
        rounds += 1;
        let reply = server.post(PURGE, json!({"older_than": "30d", "kinds": ["issues"]}));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let answer = reply.json();
        assert_eq!(answer["failure"], json!(null), "{answer}");
        removed += answer["issues"].as_u64().unwrap();
        if answer["complete"] == true {
            break;
        }
        assert!(answer["issues"].as_u64() > Some(0), "a round gets on: {answer}");
    }
    assert!(rounds > 1, "one request did it all, for longer than it may");
    assert_eq!(removed, ISSUES);
}

fn closed(id: IssueId, old: Time) -> Issue {
    Issue {
        id,
        kind: IssueKind::HighMemory,
        reason: Reason::Unspecified,
        resource: "instance/cart-0".parse().unwrap(),
        severity: Severity::High,
        description: "93 % of its memory limit".to_owned(),
        detected_at: old,
        last_seen: old,
        closed_at: Some(old),
        metrics: Default::default(),
        recurrences: 0,
    }
}

#[test]
fn what_was_recorded_is_not_recorded_again_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::busy, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let old = server.fleet.clock.now().minus(Store::PURGE_AGE_MIN * 2);
    server.fleet.store.save_issue(&closed(IdSource::seeded(7).next(old), old)).unwrap();
    let removed = server.post(PURGE, json!({"older_than": "30d"}));
    assert_eq!(removed.json()["issues"], 1, "{}", removed.body);
    let purges = Filter { action: Some("records.purge".to_owned()), ..Filter::default() };
    assert_eq!(audit.query(&purges).unwrap().records.len(), 1);
    assert_eq!(server.fleet.store.unrecorded_purges().unwrap().notes, []);
}

/// A clock that is two months ahead, so that what is archived now is old.
#[derive(Debug)]
struct Later(MachineClock);

impl Clock for Later {
    fn now(&self) -> Time {
        self.0.now().plus(Store::PURGE_AGE_MIN * 2)
    }

    fn wait(&self, duration: Duration) {
        self.0.wait(duration);
    }
}

/// A server two months later with these traces in its archive.
fn with_archived(traces: &[u128]) -> Server {
    let (store, clock) = (Store::in_memory().unwrap(), Arc::new(Later(MachineClock::start())));
    let dir = tempfile::tempdir().unwrap();
    let spans = telemetry::Telemetry::open(telemetry::Config::new(dir.path())).unwrap();
    let fleet = Arc::new(Fleet::new(store.clone(), clock.clone()));
    let config = gateway::GatewayConfig { telemetry: Some(spans), ..config(clock) };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::of(serve(listener, store, fleet.clone(), config).unwrap(), fleet).keeping(dir);
    for trace in traces {
        let id = format!("{trace:032x}");
        let span = json!({"traceId": id, "spanId": "0000000000000001", "name": "GET /buy",
            "startTimeUnixNano": "1000", "endTimeUnixNano": "2000"});
        let sent = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
        assert_eq!(server.post("/api/v3/observability/trace", sent).status, 201);
        assert_eq!(server.write("POST", &format!("/api/v3/observability/archive/{id}"), "").status, 200);
    }
    server
}

#[test]
fn archived_traces_go_where_they_are_named_but_for_those_that_an_open_issue_cites() {
    let server = with_archived(&[1, 2, 3]);
    let store = &server.fleet.store;
    let old = server.fleet.clock.now().minus(Store::PURGE_AGE_MIN * 2);
    let cites = |seed, trace: u128, closed_at| {
        let issue = closed(IdSource::seeded(seed).next(old), old);
        let description = format!("slow, as in trace {trace:032x}");
        store.save_issue(&Issue { closed_at, description, ..issue }).unwrap();
    };
    cites(1, 1, None);
    cites(2, 2, Some(old));
    let asked = |body| server.post(PURGE, body).json();
    let unnamed = asked(json!({"older_than": "30d", "dry_run": true}));
    assert_eq!(unnamed["archived_traces"], 0, "somebody may have archived one for good: {unnamed}");
    let young = asked(json!({"older_than": "90d", "kinds": ["traces"], "dry_run": true}));
    assert_eq!(young["archived_traces"], 0, "{young}");
    let said = asked(json!({"older_than": "30d", "kinds": ["traces"], "dry_run": true}));
    assert_eq!((&said["archived_traces"], &said["complete"]), (&json!(2), &json!(true)), "{said}");
    let removed = asked(json!({"older_than": "30d", "kinds": ["traces"]}));
    assert_eq!((&removed["archived_traces"], &removed["complete"]), (&json!(2), &json!(true)), "{removed}");
    assert!(removed["given_back_bytes"].as_u64() >= Some(8192), "{removed}");
    let left = server.get("/api/v3/observability/archive").json();
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left[0]["trace_id"], format!("{:032x}", 1));
}

#[test]
fn traces_are_not_purged_where_none_are_kept() {
    let server = start(scene::busy);
    let refused = server.post(PURGE, json!({"older_than": "30d", "kinds": ["traces"], "dry_run": true}));
    assert_problem(&refused, 503, "no_telemetry");
    assert_eq!(server.post(PURGE, json!({"older_than": "30d", "dry_run": true})).status, 200);
}
