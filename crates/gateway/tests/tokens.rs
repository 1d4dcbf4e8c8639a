//! What a token's end ends, and what a token that is for one thing cannot reach.

mod support;

use std::sync::Arc;

use audit::{Audit, Filter};
use serde_json::{Value, json};
use support::server::{Kept, Reply, TOKEN, assert_problem, serve_with, start};
use support::{MachineClock, scene};

const PASSWORD: &str = "a heron stood in the reeds";

fn made(reply: &Reply) -> Value {
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()
}

#[test]
fn what_a_token_made_ends_with_it_and_the_answer_and_the_trail_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let tokens = "/api/v3/access/tokens";
    let make = |bearer: &str, body: Value| {
        let made = made(&server.ask(Some(bearer), "POST", tokens, &body.to_string()));
        made["token"].as_str().unwrap().to_owned()
    };
    let (leaked, id) = server.token(json!({ "name": "leaked", "roles": ["viewer"] }));
    let child = make(&leaked, json!({ "name": "x1" }));
    let grandchild = make(&child, json!({ "name": "x2" }));
    let me = |bearer: &str| server.ask(Some(bearer), "GET", "/api/v3/access/me", "");
    assert_eq!(me(&grandchild).status, 200);
    let revoked = server.ask(Some(TOKEN), "DELETE", &format!("{tokens}/{id}"), "").json();
    assert_eq!((&revoked["name"], &revoked["ended_with_it"]), (&json!("leaked"), &json!(["x1", "x2"])));
    for bearer in [&leaked, &child, &grandchild] {
        assert_problem(&me(bearer), 401, "token_revoked");
    }
    let said = |action: &str| {
        let filter = Filter { action: Some(action.to_owned()), ..Filter::default() };
        audit.query(&filter).unwrap().records[0].detail.clone()
    };
    assert_eq!(said("tokens.revoke").as_deref(), Some("revoked; these tokens ended, too: x1, x2"));

    let user = json!({ "name": "ada", "roles": ["admin"] });
    assert_eq!(server.post("/api/v3/access/users", user).status, 201);
    let (hers, _) = server.token(json!({ "name": "hers", "owner": "ada", "roles": ["admin"] }));
    let child = make(&hers, json!({ "name": "y1", "owner": "ada", "roles": ["viewer"] }));
    assert_eq!(server.ask(Some(TOKEN), "DELETE", "/api/v3/access/users/ada", "").status, 200);
    assert_problem(&me(&child), 401, "token_revoked");
    assert_eq!(said("users.delete").as_deref(), Some("shut out for good; these tokens ended, too: hers, y1"));
}

/// What is one account's stays out of reach of a token that is for one thing.
#[test]
fn a_token_that_may_less_than_its_owner_sees_and_ends_itself_alone() {
    let server = start(scene::calm);
    let user = json!({ "name": "ada", "roles": ["operator"], "password": PASSWORD });
    assert_eq!(server.post("/api/v3/access/users", user).status, 201);
    let of_ada = |name: &str, more: Value| {
        let mut body = json!({ "name": name, "owner": "ada", "roles": ["operator"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        server.token(body)
    };
    let (whole, _) = of_ada("whole", json!({}));
    let (deploys, deploys_id) = of_ada("deploys", json!({}));
    let sign_in = server.submit("/login", &format!("name=ada&password={}", PASSWORD.replace(' ', "+")), "");
    assert_eq!(sign_in.status, 303, "{}", sign_in.body);
    let names = |bearer: &str| -> Vec<String> {
        let all = server.ask(Some(bearer), "GET", "/api/v3/access/tokens", "").json();
        all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let sessions = server.ask(Some(&whole), "GET", "/api/v3/access/sessions", "").json();
    let session = sessions[0]["id"].as_str().unwrap();
    for (name, more) in
        [("scoped", json!({ "scope": ["metrics:scrape"] })), ("lower", json!({ "roles": ["viewer"] }))]
    {
        let (narrow, id) = of_ada(name, more);
        assert_eq!(names(&narrow), [name]);
        for (method, path) in [
            ("DELETE", format!("/api/v3/access/tokens/{deploys_id}")),
            ("GET", "/api/v3/access/sessions".to_owned()),
            ("DELETE", "/api/v3/access/sessions".to_owned()),
            ("DELETE", format!("/api/v3/access/sessions/{session}")),
            ("GET", "/api/v3/access/me/passkeys".to_owned()),
        ] {
            let reply = server.ask(Some(&narrow), method, &path, "");
            assert_eq!(reply.status, 403, "{name} {method} {path}: {}", reply.body);
            assert_problem(&reply, 403, "forbidden");
        }
        // By the forms of pages, too.
        let host = server.host();
        let bearer = format!("Bearer {narrow}");
        for form in [
            format!("/account/tokens/{deploys_id}/revoke"),
            "/account/sessions/end-all".to_owned(),
            format!("/account/sessions/{session}/end"),
        ] {
            let headers = [("host", host.as_str()), ("authorization", bearer.as_str())];
            assert_eq!(server.raw("POST", &form, &headers, "").status, 403, "{name} {form}");
        }
        assert_eq!(server.ask(Some(&deploys), "GET", "/api/v3/access/me", "").status, 200);
        let own = server.ask(Some(&narrow), "DELETE", &format!("/api/v3/access/tokens/{id}"), "");
        assert_eq!(own.status, 200, "{}", own.body);
    }
    // One that may all that its owner may is as its owner is.
    assert_eq!(names(&whole).len(), 4);
    let left = server.ask(Some(&whole), "GET", "/api/v3/access/sessions", "").json();
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(server.ask(Some(&whole), "DELETE", "/api/v3/access/sessions", "").json()["sessions"], 1);
    let gone = server.ask(Some(&whole), "DELETE", &format!("/api/v3/access/tokens/{deploys_id}"), "");
    assert_eq!(gone.status, 200, "{}", gone.body);
}
