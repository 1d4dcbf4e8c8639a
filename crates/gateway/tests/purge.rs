//! Records that are removed on request, over real HTTP: who may, what is refused, and that it is audited.

mod support;

use serde_json::json;
use support::scene;
use support::server::{assert_problem, start};

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
