//! Deployments over real HTTP: ordered, posted, listed.

mod support;

use serde_json::{Value, json};
use support::scene;
use support::server::{HEALING, assert_problem, start};

const DEPLOYMENTS: &str = "/api/v3/observability/deployments";

#[test]
fn what_somebody_deployed_is_taken_down_once_and_listed_newest_first() {
    let server = start(scene::calm);
    let body = |version: &str| json!({ "service": "cart", "version": version });
    let first = server.post(DEPLOYMENTS, body("1.4.0"));
    assert_eq!(first.status, 201, "{}", first.body);
    let again = server.post(DEPLOYMENTS, body("1.4.0"));
    assert_eq!(again.json()["id"], first.json()["id"]);
    server.post(DEPLOYMENTS, body("1.4.1"));
    let listed = server.get(DEPLOYMENTS).json();
    let versions: Vec<&Value> = listed.as_array().unwrap().iter().map(|one| &one["version"]).collect();
    assert_eq!(versions, ["1.4.1", "1.4.0"]);
    for field in ["id", "service", "at", "seen_by"] {
        assert!(listed[0][field].is_string(), "{field} in {}", listed[0]);
    }
    assert_eq!((&listed[0]["seen_by"], &listed[0]["reversible"]), (&json!("posted"), &json!(false)));
    let count = |query: &str| server.get(&format!("{DEPLOYMENTS}?{query}")).json().as_array().unwrap().len();
    assert_eq!((count("service=cart"), count("service=front"), count("limit=1")), (2, 0, 1));
    assert_eq!(count("since=2999-01-01T00:00:00Z"), 0);

    // What does not fit on a page is on the next one, and `Link` says where that is.
    server.post(DEPLOYMENTS, json!({ "service": "front", "version": "7" }));
    let mut page = server.get(&format!("{DEPLOYMENTS}?service=cart&limit=1"));
    assert_eq!(page.json()[0]["version"], "1.4.1");
    let link = page.header("link").expect("there is another page").to_owned();
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).expect("a link");
    page = server.get(next);
    assert_eq!(page.json()[0]["version"], "1.4.0");
    assert_eq!(page.header("link"), None, "it was the last one");
}

#[test]
fn a_deployment_is_ordered_with_what_changes() {
    let server = start(scene::calm);
    let path = format!("{HEALING}/deploy/cart");
    let body = json!({ "version": "2", "command": ["cart", "--fast"], "environment": { "A": "b" } });
    let reply = server.post(&path, body);
    assert_eq!(reply.status, 202, "{}", reply.body);
    let plan = reply.json();
    assert_eq!(plan["steps"][0]["action"], "let cart run 2, one instance after another");
    assert_eq!(plan["steps"][0]["undo"], "exact");
    assert_eq!(plan["action_type"], "operation");
    assert_eq!(server.post(&path, json!({ "version": "2", "dry_run": true })).status, 200);
}

#[test]
fn what_the_guard_refuses_is_a_refusal_and_is_found_among_what_was_asked_for() {
    let server = start(scene::calm);
    *server.fleet.infrastructure.lock().unwrap() = Some(
        provider::manifest::parse("shop", "name: shop\nservices: { cart: { command: [cart] } }\n").unwrap(),
    );
    assert_eq!(server.post("/api/v3/chaos/emergency-stop", json!({})).status, 200);
    let scale = "/api/v3/infrastructures/shop/scale";
    for (path, body) in [
        (format!("{HEALING}/deploy/cart"), json!({ "version": "2" })),
        (scale.to_owned(), json!({ "service": "cart", "replicas": 3 })),
    ] {
        let reply = server.post(&path, body);
        assert_problem(&reply, 409, "refused");
        assert!(reply.body.contains("the emergency stop is latched"), "{}", reply.body);
    }
    // Shown is what would be refused, too.
    let shown = server.post(scale, json!({ "service": "cart", "replicas": 3, "dry_run": true }));
    assert_eq!((shown.status, &shown.json()["status"]), (200, &json!("refused")), "{}", shown.body);

    let listed = |query: &str| {
        let rows = server.get(&format!("{HEALING}/remediations?status=refused{query}")).json();
        rows.as_array().unwrap().len()
    };
    let before = listed("");
    assert!(listed("&purpose=operation") >= 2 && listed("&purpose=any") >= before + 2);
    assert_eq!(listed("&purpose=remediation"), before, "repairs alone where nothing is said");
    assert_problem(&server.get(&format!("{HEALING}/remediations?purpose=all")), 422, "invalid_field");
}

#[test]
fn what_is_wrong_is_named_by_its_field() {
    let server = start(scene::calm);
    let deploy = format!("{HEALING}/deploy/cart");
    for (path, body, field) in [
        (deploy.as_str(), json!({}), "version"),
        (&deploy, json!({ "version": 2 }), "version"),
        (&deploy, json!({ "version": "2", "command": "cart" }), "command"),
        (&deploy, json!({ "version": "2", "command": ["cart", 1] }), "command[1]"),
        (&deploy, json!({ "version": "2", "environment": { "A": 1 } }), "environment.A"),
        (&deploy, json!({ "version": "2", "dryrun": true }), "dryrun"),
        (&deploy, json!({ "version": "" }), "version"),
        (&deploy, json!({ "version": "two words", "dry_run": true }), "version"),
        (&deploy, json!({ "version": "2", "command": [] }), "command"),
        (&deploy, json!({ "version": "2", "command": ["", "a"] }), "command"),
        (&deploy, json!({ "version": "2", "command": ["cart", "a\u{0}b"], "dry_run": true }), "command"),
        (&deploy, json!({ "version": "2", "environment": { "": "x" }, "dry_run": true }), "environment."),
        (&deploy, json!({ "version": "2", "environment": { "A=B": "x" } }), "environment.A=B"),
        (&deploy, json!({ "version": "2", "environment": { "A": "x\u{0}" } }), "environment.A"),
        (DEPLOYMENTS, json!({ "service": "cart", "version": "two words" }), "version"),
        (DEPLOYMENTS, json!({ "version": "2" }), "service"),
        (DEPLOYMENTS, json!({ "service": "a b", "version": "2" }), "service"),
        (DEPLOYMENTS, json!({ "service": "cart", "version": "2", "at": "noon" }), "at"),
    ] {
        let problem = server.post(path, body);
        assert_problem(&problem, 422, "invalid_field");
        assert_eq!(problem.json()["field"], field, "{}", problem.body);
    }
    assert_problem(&server.get(&format!("{DEPLOYMENTS}?servce=cart")), 422, "invalid_field");
    let nobody = server.post(&format!("{HEALING}/deploy/a%20b"), json!({ "version": "2" }));
    assert_problem(&nobody, 404, "not_found");
}
