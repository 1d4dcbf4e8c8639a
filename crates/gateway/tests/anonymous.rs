//! What nobody in particular was refused, in the audit trail: nothing hides a guessed password.

mod support;

use std::sync::Arc;

use audit::{Audit, Filter, Record};
use serde_json::json;
use support::server::{Kept, Server, serve_with};
use support::{MachineClock, scene};

const PASSWORD: &str = "a heron stood in the reeds";

fn recorded() -> (tempfile::TempDir, Audit, Server) {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let user = json!({ "name": "ada", "roles": ["viewer"], "password": PASSWORD });
    assert_eq!(server.post("/api/v3/access/users", user).status, 201);
    (dir, audit, server)
}

fn records(audit: &Audit, action: &str) -> Vec<Record> {
    let filter = Filter { action: Some(action.to_owned()), limit: Filter::LIMIT_MAX, ..Filter::default() };
    audit.query(&filter).unwrap().records
}

fn details(audit: &Audit, action: &str) -> Vec<String> {
    records(audit, action).into_iter().map(|record| record.detail.unwrap_or_default()).collect()
}

fn wrong(server: &Server, name: &str, token_name: &str) -> u16 {
    let body = json!({ "name": name, "password": "not the password", "token_name": token_name });
    let (host, body) = (server.host(), body.to_string());
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    server.raw("POST", "/api/v3/access/sign-in", &headers, &body).status
}

#[test]
fn a_guessed_password_is_recorded_whatever_else_is_sent_with_the_name_and_the_address() {
    let (_dir, audit, server) = recorded();
    let host = server.host();
    for _ in 0..100 {
        let junk = [("host", host.as_str()), ("authorization", "Bearer junk")];
        assert_eq!(server.raw("GET", "/health", &junk, "").status, 401);
        let nothing = [("host", host.as_str())];
        assert_eq!(server.raw("POST", "/api/v3/chaos/emergency-stop", &nothing, "").status, 401);
    }
    for _ in 0..3 {
        assert_eq!(wrong(&server, "ada", "mine"), 401);
    }
    // Too soon after these: no password is looked at.
    while wrong(&server, "ada", "mine") != 429 {}
    assert_eq!(wrong(&server, "A password, in the wrong field", "mine"), 401);
    let reply = server.submit("/login", "name=grace&password=not+the+password", "");
    assert_eq!(reply.status, 401);

    let by_program = details(&audit, "tokens.sign_in");
    let guesses = by_program.iter().filter(|one| one.starts_with("sign_in_refused: "));
    let guesses = guesses.filter(|one| one.ends_with("; tried as ada; from 127.0.0.1")).count();
    assert!(guesses >= 3, "{by_program:#?}");
    assert!(by_program.iter().any(|one| one.starts_with("too_many_attempts: ")), "{by_program:#?}");
    assert!(by_program.iter().all(|one| !one.contains("wrong field")), "{by_program:#?}");
    assert!(by_program[0].ends_with("; from 127.0.0.1"), "{by_program:#?}");
    let by_form = details(&audit, "sessions.create");
    assert!(by_form[0].ends_with("; tried as grace; from 127.0.0.1"), "{by_form:#?}");
    assert!(details(&audit, "access.identify")[0].ends_with("; from 127.0.0.1"));
}

#[test]
fn what_was_left_out_is_counted_at_the_end_though_nothing_follows() {
    let (_dir, audit, server) = recorded();
    let host = server.host();
    let junk = [("host", host.as_str()), ("authorization", "Bearer junk")];
    for _ in 0..200 {
        assert_eq!(server.raw("GET", "/health", &junk, "").status, 401);
    }
    drop(server);
    let told = details(&audit, "access.not_recorded");
    let left_out: usize =
        told.iter().map(|one| one.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
    assert!(left_out > 0, "{told:#?}");
    assert_eq!(records(&audit, "access.identify").len() + left_out, 200);
    assert!(told[0].contains("requests with a proof that is none since "), "{told:#?}");
    assert!(told[0].ends_with("; from 127.0.0.1 (180)") || told.len() > 1, "{told:#?}");
}
