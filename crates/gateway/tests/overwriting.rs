//! Forms and GraphQL overwrite what was read, or nothing: over HTTP, and one journey in a real browser.

mod support;

use std::sync::Arc;

use audit::{Audit, Filter, Outcome};
use serde_json::{Value, json};
use support::graphql::code;
use support::server::{HEALING, Kept, Server, serve_with, start};
use support::webdriver::{Browser, Theme};
use support::{Fleet, MachineClock, scene};

const SHOP: &str = "
name: shop
services:
  cart: {command: [sleep, '1'], replicas: 2}
";

fn with_shop(fleet: &Fleet) {
    scene::calm(fleet);
    *fleet.infrastructure.lock().unwrap() = Some(provider::manifest::parse("shop.yaml", SHOP).unwrap());
}

/// What a page's form to this address carries of what it overwrites, as a browser sends it.
fn drawn(server: &Server, page: &str, action: &str, cookie: &str) -> String {
    let html = server.raw("GET", page, &[("host", &server.host()), ("cookie", cookie)], "").body;
    let form = html.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")));
    let form = form.unwrap_or_else(|| panic!("no form to {action} on {page}: {html}"));
    let field = |name: &str| {
        let rest = form.split(&format!("name=\"{name}\" value=\"")).nth(1);
        let rest = rest.unwrap_or_else(|| panic!("the form to {action} has no {name}: {form}"));
        let value = rest.split('"').next().unwrap().replace("&quot;", "\"").replace("&amp;", "&");
        let escaped = value.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        });
        format!("{name}={}", escaped.collect::<String>())
    };
    format!("{}&{}", field("version"), field("seen"))
}

fn make_ada(server: &Server) {
    let ada = json!({"name": "ada", "roles": ["viewer"], "password": "correct horse battery"});
    assert_eq!(server.post("/api/v3/access/users", ada).status, 201);
}

fn roles(server: &Server) -> Value {
    let (host, bearer) = (server.host(), format!("Bearer {}", support::server::TOKEN));
    let headers = [("host", host.as_str()), ("authorization", bearer.as_str())];
    server.raw("GET", "/api/v3/access/users/ada", &headers, "").json()["roles"].clone()
}

fn patch(server: &Server, change: &Value) {
    let (host, bearer) = (server.host(), format!("Bearer {}", support::server::TOKEN));
    let headers =
        [("host", host.as_str()), ("authorization", bearer.as_str()), ("content-type", "application/json")];
    let done = server.raw("PATCH", "/api/v3/access/users/ada", &headers, &change.to_string());
    assert_eq!(done.status, 200, "{}", done.body);
}

#[test]
fn a_form_about_a_user_that_was_changed_meanwhile_says_what_and_keeps_what_was_asked() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    make_ada(&server);
    let admin = server.cookie();
    let action = "/users/ada/roles";
    let from = drawn(&server, "/users/ada", action, &admin);
    patch(&server, &json!({"roles": ["viewer", "approver"]}));

    let refused = server.submit(action, &format!("{from}&role=operator"), &admin);
    assert_eq!(refused.status, 412, "{}", refused.body);
    for text in ["The user ada was changed while you looked at it.", "viewer, approver", "Do it all the same"]
    {
        assert!(refused.body.contains(text), "{text}: {}", refused.body);
    }
    assert!(refused.body.contains("value=\"operator\" checked"), "{}", refused.body);
    assert_eq!(roles(&server), json!(["viewer", "approver"]), "nothing was done");
    let told = audit
        .query(&Filter { action: Some("users.set_roles".to_owned()), limit: 10, ..Filter::default() })
        .unwrap();
    assert_eq!(told.records[0].outcome, Outcome::Refused);
    assert!(told.records[0].detail.as_deref().unwrap().starts_with("precondition_failed"));

    // Who saw what changed may do it all the same, and who says nothing of what they saw may as before.
    let again = drawn(&server, "/users/ada", action, &admin);
    assert_eq!(server.submit(action, &format!("{again}&role=operator"), &admin).status, 303);
    assert_eq!(roles(&server), json!(["operator"]));
    assert_eq!(server.submit(action, "role=viewer", &admin).status, 303);
    assert_eq!(roles(&server), json!(["viewer"]));
}

#[test]
fn a_password_that_was_typed_is_not_sent_back() {
    let server = start(scene::calm);
    make_ada(&server);
    let admin = server.cookie();
    let from = drawn(&server, "/users/ada", "/users/ada/password", &admin);
    patch(&server, &json!({"password": "somebody else's password"}));
    let typed = "new=a+heron+stood+in+reeds";
    let refused = server.submit("/users/ada/password", &format!("{from}&{typed}&factors=forget"), &admin);
    assert_eq!(refused.status, 412, "{}", refused.body);
    assert!(!refused.body.contains("heron"), "{}", refused.body);
    assert!(refused.body.contains("What was changed is not shown"), "{}", refused.body);
    assert!(refused.body.contains("name=\"new\"") && refused.body.contains("value=\"forget\""));
}

#[test]
fn every_form_that_overwrites_is_refused_as_it_was_before_a_change() {
    let server = start(with_shop);
    let admin = server.cookie();
    let refused = |action: &str, form: String| {
        let reply = server.submit(action, &form, &admin);
        assert_eq!(reply.status, 412, "{action}: {}", reply.body);
        assert!(reply.body.contains("was changed while you looked at it"), "{action}");
    };

    let from = drawn(&server, "/", "/automation", &admin);
    assert_eq!(
        server.post(&format!("{HEALING}/toggle-auto-remediation"), json!({"enabled": false})).status,
        200
    );
    refused("/automation", format!("{from}&enabled=false"));

    let from = drawn(&server, "/services/cart", "/services/cart/pause", &admin);
    assert_eq!(
        server.post(&format!("{HEALING}/pauses"), json!({"service": "front", "for": "1h"})).status,
        200
    );
    assert_eq!(server.submit("/services/cart/pause", &format!("{from}&for=15m"), &admin).status, 303);
    refused("/services/cart/pause", format!("{from}&for=1h"));
    assert!(server.post(&format!("{HEALING}/pauses"), json!({"service": "cart", "for": "2h"})).status == 200);

    let from = drawn(&server, "/statistics", "/statistics/baseline", &admin);
    let figures = |minutes: u32| format!("{from}&mttr_minutes={minutes}&outage_cost_per_hour=");
    assert_eq!(server.submit("/statistics/baseline", &figures(45), &admin).status, 303);
    let reply = server.submit("/statistics/baseline", &figures(50), &admin);
    assert_eq!(reply.status, 412, "{}", reply.body);
    assert!(
        reply.body.contains("name=\"mttr_minutes\" value=\"50\""),
        "what was typed stays: {}",
        reply.body
    );

    let from = drawn(&server, "/infrastructure", "/infrastructure/shop/delete/preview", &admin);
    let larger = SHOP.replace("replicas: 2", "replicas: 3");
    *server.fleet.infrastructure.lock().unwrap() =
        Some(provider::manifest::parse("shop.yaml", &larger).unwrap());
    refused("/infrastructure/shop/delete/preview", from.clone());
    refused("/infrastructure/shop/delete", from);

    let from = drawn(&server, "/services/cart", "/services/cart/scale/preview", &admin);
    let preview = server.submit("/services/cart/scale/preview", &format!("{from}&replicas=4"), &admin);
    assert_eq!(preview.status, 200, "{}", preview.body);
    let form = preview.body.split("<form").find(|form| form.contains("action=\"/services/cart/scale\""));
    assert!(form.unwrap().contains("name=\"version\""), "what is run is as it was shown: {}", preview.body);
    refused("/services/cart/scale", "version=of-another-time&replicas=4".to_owned());

    let stop = "/api/v3/chaos/emergency-stop";
    assert_eq!(server.post(stop, json!({})).status, 200);
    let from = drawn(&server, "/emergency-stop", "/emergency-stop/clear", &admin);
    assert_eq!(server.submit("/emergency-stop/clear", &from, &admin).status, 303);
    refused("/emergency-stop/clear", from);
}

#[test]
fn a_mutation_is_done_by_the_present_etag_and_refused_by_an_old_one() {
    let server = start(with_shop);
    let read = server.graphql_data(
        "{ automation { enabled etag } infrastructure(id: \"shop\") { etag }
           deployments(service: \"cart\") { nodes { replicas etag } } }",
    );
    let etag = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{read}")).to_owned();
    let switch = etag(&read["automation"]["etag"]);
    let turn = |enabled: bool, etag: &str| {
        server.graphql(&format!("mutation {{ setAutomation(enabled: {enabled}, ifMatch: {etag:?}) }}"))
    };
    assert_eq!(turn(false, &switch)["data"]["setAutomation"], false);
    let refused = turn(true, &switch);
    assert_eq!(code(&refused), "precondition_failed");
    let said = refused["errors"][0]["message"].as_str().unwrap();
    assert!(said.contains("Automatic repair: off"), "{said}");
    assert!(!server.fleet.store.switches().unwrap().automation);

    let size = etag(&read["deployments"]["nodes"][0]["etag"]);
    let scale = |etag: &str| {
        server.graphql(&format!(
            "mutation {{ scaleDeployment(service: \"cart\", replicas: 3, dryRun: true, ifMatch: {etag:?}) {{ id }} }}"
        ))
    };
    assert_eq!(code(&scale("old")), "precondition_failed");
    assert!(scale(&size)["errors"].is_null(), "{}", scale(&size));
    let delete = |etag: &str| {
        server.graphql(&format!(
            "mutation {{ deleteInfrastructure(id: \"shop\", dryRun: true, ifMatch: {etag:?}) {{ id }} }}"
        ))
    };
    assert_eq!(code(&delete("old")), "precondition_failed");
    let up = etag(&read["infrastructure"]["etag"]);
    assert!(delete(&up)["errors"].is_null(), "{}", delete(&up));
}

#[test]
fn of_two_who_decide_about_a_plan_by_graphql_the_second_is_told() {
    let server = start(scene::waiting);
    let read =
        server.graphql_data("{ remediations(filter: {status: AWAITING_APPROVAL}) { nodes { id etag } } }");
    let plan = &read["remediations"]["nodes"][0];
    let decide = |what: &str| {
        server.graphql(&format!(
            "mutation {{ {what}(remediationId: {}, ifMatch: {}) {{ etag }} }}",
            plan["id"], plan["etag"]
        ))
    };
    let approved = decide("approve");
    assert_ne!(approved["data"]["approve"]["etag"], plan["etag"], "{approved}");
    assert_eq!(code(&decide("reject")), "precondition_failed");
}

#[test]
fn in_a_browser_what_was_asked_for_is_done_after_a_second_look() {
    let server = start(scene::calm);
    make_ada(&server);
    let Some(browser) = Browser::start(Theme::Light) else {
        println!("skipped: no chromedriver");
        return;
    };
    browser.open(&format!("{}/login", server.origin()));
    browser.sign_in(&server.cookie());
    browser.open(&format!("{}/users/ada", server.origin()));
    browser.run("document.querySelector('#roles input[value=operator]').click()");
    patch(&server, &json!({"roles": ["viewer", "approver"]}));
    browser.press("#roles button[type=submit]");
    browser.wait("document.querySelector('main').innerText.includes('was changed while you looked at it')");
    browser.wait("document.querySelector('main table').innerText.includes('viewer, approver')");
    browser.wait("document.querySelector('main input[value=operator]').checked");
    browser.wait("!document.querySelector('main input[value=approver]').checked");
    assert_eq!(roles(&server), json!(["viewer", "approver"]));
    browser.press("main form.fill-in button[type=submit]");
    browser.wait("location.pathname === '/users/ada' && document.querySelector('#roles input[value=operator]').checked");
    assert_eq!(roles(&server), json!(["viewer", "operator"]));
}
