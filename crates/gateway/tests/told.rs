//! The audit trail says what was changed, and to what: every endpoint, form and mutation that changes something is asked, and
//! what is recorded of it looked at.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use audit::{Audit, Filter, Outcome, Record};
use gateway::access::{AccessConfig, SealingKey};
use gateway::{addresses, forms, graphql_schema};
use serde_json::{Value, json};
use support::server::{HEALING, Kept, Reply, Server, TOKEN, serve_with};
use support::{Fleet, MachineClock, scene};
use telemetry::Telemetry;

const SHOP: &str =
    "name: shop\nservices: { cart: { command: [cart], environment: {KEY: hunter2hunter2} } }\n";
const SHOP_FORM: &str = "definition=name%3A+shop%0Aservices%3A+%7Bcart%3A+%7Bcommand%3A+%5Bcart%5D%7D%7D";
const PASSWORD: &str = "hunter2hunter2";
const OTHER: &str = "hunter2hunter2hunter2";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// What needs no more than its path, with why.
const EXCEPTIONS: [(&str, &str); 1] =
    [("POST /login/passkey", "tells who signed in, which takes a device: `signing_in` has one in a browser")];

struct Walk {
    server: Server,
    audit: Audit,
    cookie: String,
    walked: BTreeSet<String>,
    _dir: tempfile::TempDir,
}

fn with_shop(fleet: &Fleet) {
    scene::busy(fleet);
    up(fleet);
}

fn up(fleet: &Fleet) {
    *fleet.infrastructure.lock().unwrap() = Some(provider::manifest::parse("shop", SHOP).unwrap());
}

impl Walk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(&dir.path().join("audit"), Arc::new(MachineClock::start())).unwrap();
        let telemetry = Telemetry::open(telemetry::Config::new(dir.path().join("telemetry"))).unwrap();
        let access = AccessConfig { key: Some(SealingKey::new(&[7; 32])), ..AccessConfig::default() };
        let kept = Kept { audit: Some(audit.clone()), telemetry: Some(telemetry), access, ..Kept::default() };
        let server = serve_with(with_shop, kept);
        let cookie = server.cookie();
        Self { server, audit, cookie, walked: BTreeSet::new(), _dir: dir }
    }

    fn newest(&self) -> Record {
        self.audit.query(&Filter { limit: 1, ..Filter::default() }).unwrap().records.remove(0)
    }

    /// Looks at what was recorded of the last request.
    fn told(&mut self, what: String, path: &str, (target, detail): (&str, &str)) -> Record {
        let told = self.newest();
        assert_ne!(told.target, path, "{what} names nothing beyond its path: {told:?}");
        assert!(told.target.starts_with(target), "{what}: {target:?} is not told: {told:?}");
        let said = told.detail.as_deref().unwrap_or_default();
        assert!(said.contains(detail), "{what}: {detail:?} is not told: {told:?}");
        let line = told.line();
        assert!(!line.contains("hunter2") && !line.contains(TOKEN), "{what} told a secret: {line}");
        assert!(told.request.is_some(), "{what} says no request: {told:?}");
        self.walked.insert(what);
        told
    }

    /// Asks by the API; the path's placeholder stands for `name`.
    fn rest(&mut self, asked: &str, name: &str, body: Value, told: (&str, &str)) -> Reply {
        let (method, template) = asked.split_once(' ').unwrap();
        let path = put_in(template, name);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = self.server.write(method, &path, &body);
        let record = self.told(asked.to_owned(), &path, told);
        assert_eq!(record.request.as_deref(), reply.header("x-request-id"), "{asked}");
        reply
    }

    fn form(&mut self, template: &str, name: &str, form: &str, told: (&str, &str)) -> Reply {
        let path = put_in(template, name);
        let reply = self.server.submit(&path, form, &self.cookie);
        self.told(format!("POST {template}"), &path, told);
        reply
    }

    fn mutation(&mut self, name: &str, arguments: &str, told: (&str, &str)) {
        let fields = if name == "setAutomation" { "" } else { "{ id }" };
        let query = format!("mutation {{ {name}({arguments}) {fields} }}");
        let reply = self.server.post("/graphql", json!({"query": query}));
        let record = self.told(format!("mutation {name}"), "/graphql", told);
        assert_eq!(record.request.as_deref(), reply.header("x-request-id"), "{name}: {}", reply.body);
    }

    fn waiting(&self) -> String {
        let reply = self.server.post(&format!("{HEALING}/toggle-auto-remediation"), json!({"enabled": true}));
        assert_eq!(reply.status, 200);
        let asked = json!({"query": "mutation { deleteInfrastructure(id: \"shop\") { id } }"});
        let reply = self.server.post("/graphql", asked);
        reply.json()["data"]["deleteInfrastructure"]["id"].as_str().unwrap().to_owned()
    }
}

fn put_in(template: &str, name: &str) -> String {
    match template.split_once('{') {
        Some((before, rest)) => format!("{before}{name}{}", rest.split_once('}').unwrap().1),
        None => template.to_owned(),
    }
}

fn operate(walk: &mut Walk) {
    let h = |rest: &str| format!("POST {HEALING}/{rest}");
    walk.rest(&h("toggle-auto-remediation"), "", json!({"enabled": false}), ("automation", "off"));
    walk.form("/automation", "", "enabled=true", ("automation", "on"));
    walk.mutation("setAutomation", "enabled: false", ("automation", "off"));
    let pause = json!({"service": "cart", "for": "10m"});
    walk.rest(&h("pauses"), "", pause, ("service/cart", "paused for 10 min"));
    walk.rest(
        &format!("DELETE {HEALING}/pauses/{{name}}"),
        "cart",
        Value::Null,
        ("service/cart", "no longer"),
    );
    walk.form("/services/{name}/pause", "cart", "for=10m", ("service/cart", "paused for 10 min"));
    walk.form("/services/{name}/resume", "cart", "", ("service/cart", "no longer paused"));
    let issue = walk.server.first("issues?severity=critical");
    let target = format!("issue/{issue}");
    walk.rest(&h("dry-run/{id}"), &issue, Value::Null, (&target, "dry run"));
    walk.form("/issues/{id}/preview", &issue, "", (&target, "dry run"));
    walk.rest(&h("manual-remediate/{id}"), &issue, Value::Null, (&target, "estart"));
    walk.form("/issues/{id}/repair", &issue, "", (&target, "estart"));
    walk.mutation("remediate", &format!("issueId: {issue:?}"), (&target, "estart"));
    let deploy = json!({"version": "2", "command": ["cart", "--password", PASSWORD], "environment": {"KEY": PASSWORD}});
    let told = ("service/cart", "version 2; another command; environment KEY");
    walk.rest(&h("deploy/{name}"), "cart", deploy, told);
    walk.form(
        "/statistics/baseline",
        "",
        "mttr_minutes=45&outage_cost_per_hour=1200",
        ("figures", "mttr_minutes 45; outage_cost_per_hour 1200"),
    );
}

fn bring_up_and_decide(walk: &mut Walk) {
    let (all, one) = ("/api/v3/infrastructures", "/api/v3/infrastructures/{name}");
    let scale = json!({"service": "cart", "replicas": 4});
    walk.rest(&format!("POST {all}/{{name}}/scale"), "shop", scale, ("service/cart", "replicas 4"));
    walk.form("/services/{name}/scale", "cart", "replicas=5", ("service/cart", "replicas 5"));
    walk.form(
        "/services/{name}/scale/preview",
        "cart",
        "replicas=5",
        ("service/cart", "replicas 5; dry run"),
    );
    walk.mutation("scaleDeployment", "service: \"cart\", replicas: 6", ("service/cart", "replicas 6"));
    let waits = ("infrastructure/shop", "awaits approval");
    let reply = walk.rest(&format!("DELETE {one}"), "shop", Value::Null, waits);
    let plan = walk.newest().plan.map(|plan| plan.to_string());
    assert_eq!(plan.as_deref(), reply.json()["id"].as_str(), "the record says which plan waits");
    walk.form("/infrastructure/{name}/delete", "shop", "", waits);
    walk.mutation("deleteInfrastructure", "id: \"shop\"", waits);
    let dry = ("infrastructure/shop", "dry run");
    walk.form("/infrastructure/{name}/delete/preview", "shop", "", dry);
    let waits = walk.server.get("/remediations?status=awaiting_approval&format=json").json();
    let id = waits[0]["id"].as_str().unwrap().to_owned();
    walk.form(
        "/remediations/{id}/approve",
        &id,
        "reason=it+is+fine",
        (&format!("remediation/{id}"), "approved"),
    );
    let told = walk.newest();
    assert_eq!((told.why.as_deref(), told.outcome), (Some("it is fine"), Outcome::Done));
    // Others are not there any more, and told all the same.
    for decision in ["approve", "reject"] {
        let word = if decision == "approve" { "approved" } else { "rejected" };
        let id = walk.waiting();
        let target = format!("remediation/{id}");
        walk.rest(
            &format!("POST {HEALING}/remediations/{{id}}/{decision}"),
            &id,
            Value::Null,
            (&target, word),
        );
        let id = walk.waiting();
        let target = format!("remediation/{id}");
        walk.form(&format!("/remediations/{{id}}/{decision}"), &id, "reason=it+is+late", (&target, word));
        assert_eq!(walk.newest().why.as_deref(), Some("it is late"));
        let id = walk.waiting();
        walk.mutation(decision, &format!("remediationId: {id:?}"), (&format!("remediation/{id}"), word));
    }
    let id = walk.waiting();
    let target = format!("remediation/{id}");
    let back = (target.as_str(), "taken back");
    walk.rest(&format!("POST {HEALING}/remediations/{{id}}/rollback"), &id, Value::Null, back);
    walk.form("/remediations/{id}/rollback", &id, "", back);
    walk.mutation("rollBack", &format!("remediationId: {id:?}"), back);
    *walk.server.fleet.infrastructure.lock().unwrap() = None;
    let definition = json!({"definition": SHOP});
    walk.rest(&format!("POST {all}"), "", definition, ("infrastructure/shop", "shop"));
    walk.form("/infrastructure/preview", "", SHOP_FORM, dry);
    walk.form("/infrastructure/create", "", SHOP_FORM, ("infrastructure/shop", "shop"));
    walk.mutation("createInfrastructure", &format!("definition: {SHOP:?}"), ("infrastructure/shop", "shop"));
}

fn observe(walk: &mut Walk) {
    let at = |rest: &str| format!("POST /api/v3/observability/{rest}");
    let event = json!({"type": "incident", "title": "checkout is slow", "service": "cart"});
    walk.rest(&at("events"), "", event, ("event/", "checkout is slow"));
    let deployment = json!({"service": "cart", "version": "3"});
    walk.rest(&at("deployments"), "", deployment, ("service/cart", "version 3"));
    let now = MachineClock::start();
    let nanos = domain::Clock::now(&now).wall_us * 1000;
    let span = json!({"traceId": TRACE, "spanId": "b7ad6b7169203331", "name": "GET /", "kind": 2,
        "startTimeUnixNano": nanos.to_string(), "endTimeUnixNano": (nanos + 1000).to_string()});
    let spans = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    let target = format!("trace/{TRACE}");
    walk.rest(&at("trace"), "", spans, (&target, "spans taken: 1"));
    walk.rest(&at("archive/{id}"), TRACE, Value::Null, (&target, "archived"));
    walk.rest(
        "DELETE /api/v3/observability/archive/{id}",
        TRACE,
        Value::Null,
        (&target, "no longer archived"),
    );
    walk.rest("POST /api/archive/{id}", TRACE, Value::Null, (&target, "archived"));
    walk.form("/traces/{id}/archive", TRACE, "", (&target, "archived"));
    walk.form("/traces/{id}/archive/remove", TRACE, "", (&target, "no longer archived"));
    walk.rest("POST /api/v3/audit/checkpoint", "", Value::Null, ("audit trail", "checkpoint signed"));
    walk.rest("POST /api/v3/audit/keys/rotate", "", Value::Null, ("audit trail", "keys "));
    walk.rest("POST /api/v3/server/purge", "", json!({"older_than": "90d"}), ("records", ""));
}

fn disturb(walk: &mut Walk) {
    let fault = json!({"type": "pause", "target": {"resource": "instance/cart-0"}, "duration_seconds": 20});
    let told = ("instance/cart-0", "pause for 20 s; experiment ");
    let reply = walk.rest("POST /api/v3/chaos/experiment", "", fault, told);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    let target = format!("experiment/{id}");
    walk.rest("DELETE /api/v3/chaos/experiment/{id}", &id, Value::Null, (&target, "aborted"));
    walk.form("/experiments/start", "", "type=pause&target=instance%2Fcart-0&duration=20", told);
    walk.form("/experiments/{id}/abort", &id, "", (&target, "aborted"));
    let (stop, cleared) = ("/api/v3/chaos/emergency-stop", ("emergency stop", "cleared"));
    let engaged = ("emergency stop", "engaged; faults taken out: ");
    walk.rest(&format!("POST {stop}"), "", Value::Null, engaged);
    walk.rest(&format!("DELETE {stop}"), "", Value::Null, cleared);
    walk.form("/emergency-stop", "", "", engaged);
    walk.form("/emergency-stop/clear", "", "", cleared);
}

fn manage_access(walk: &mut Walk) {
    let (users, user) = ("/api/v3/access/users", "/api/v3/access/users/{name}");
    let ada = json!({"name": "ada", "roles": ["viewer", "approver"], "password": PASSWORD});
    walk.rest(&format!("POST {users}"), "", ada, ("user/ada", "roles viewer, approver; with a password"));
    let form = format!("name=vic&role=viewer&password={PASSWORD}");
    walk.form("/users/create", "", &form, ("user/vic", "roles viewer; with a password"));
    let change = json!({"roles": ["admin"], "password": OTHER, "disabled": false});
    let told = ("user/vic", "roles admin; let in; another password");
    walk.rest(&format!("PATCH {user}"), "vic", change, told);
    walk.form("/users/{name}/roles", "vic", "role=viewer&role=admin", ("user/vic", "roles viewer, admin"));
    walk.form("/users/{name}/admission", "vic", "admission=disabled", ("user/vic", "shut out"));
    let form = format!("new={OTHER}&factors=forget");
    let told = ("user/vic", "another password; second factor and passkeys forgotten");
    walk.form("/users/{name}/password", "vic", &form, told);
    walk.form("/users/{name}/totp/remove", "vic", "", ("user/vic", "without second factor"));
    walk.rest(&format!("DELETE {user}/totp"), "vic", Value::Null, ("user/vic", "without second factor"));
    let token = json!({"name": "ci", "roles": ["operator"], "scope": ["telemetry:write"],
        "expires_at": "2999-01-01T00:00:00Z"});
    let told = ("token/ci", "roles operator; scope telemetry:write; until 2999-01-01T00:00:00");
    let made = walk.rest("POST /api/v3/access/tokens", "", token, told);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    walk.rest("DELETE /api/v3/access/tokens/{id}", &id, Value::Null, ("token/ci", "revoked"));
    let form = "name=cd&role=viewer&days=30&scope=state%3Aread";
    walk.form("/account/tokens", "", form, ("token/cd", "roles viewer; scope state:read; until "));
    walk.form("/account/tokens/{id}/revoke", &id, "", ("token/ci", "revoked"));
    walk.rest(&format!("DELETE {user}"), "vic", Value::Null, ("user/vic", "shut out for good"));
}

fn manage_an_own_account(walk: &mut Walk) {
    let sign_in = json!({"name": "ada", "password": PASSWORD, "token_name": "shell"});
    walk.rest("POST /api/v3/access/sign-in", "", sign_in, ("token/shell", "of ada"));
    walk.form("/login", "", &format!("name=ada&password={PASSWORD}"), ("session of ada", "begun"));
    let reply = walk.server.submit("/login", &format!("name=ada&password={PASSWORD}"), "");
    walk.cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (ada, cookie) = ("user/ada", walk.cookie.clone());
    let form = format!("present={PASSWORD}&new={OTHER}&again={OTHER}&sessions=keep");
    walk.form("/account/password", "", &form, (ada, "another password"));
    let form = format!("name=ada&password={OTHER}");
    let reply = walk.server.submit("/login", &form, "");
    walk.cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert_ne!(walk.cookie, cookie);
    walk.form("/account/totp", "", &format!("present={OTHER}"), (ada, "second factor made"));
    walk.form("/account/totp/confirm", "", "code=1", (ada, "second factor in force"));
    walk.form(
        "/account/passkeys",
        "",
        &format!("present={OTHER}&name=laptop"),
        (ada, "passkey \"laptop\" begun"),
    );
    walk.form("/account/passkeys/register", "", "name=laptop&answer=none", (ada, "passkey \"laptop\" made"));
    let none = "0190a1b2-0000-7000-8000-000000000000";
    walk.form("/account/passkeys/{id}/remove", none, "", (ada, "without passkey"));
    walk.form("/account/sessions/{id}/end", none, "", ("session/0190a1b2", "ended"));
    as_ada(walk, none);
    walk.form("/account/sessions/end-all", "", "", ("sessions of ada", " ended"));
    let reply = walk.server.submit("/login", &format!("name=ada&password={PASSWORD}"), "");
    walk.cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    walk.form("/logout", "", "", ("session of ada", "ended"));
    walk.cookie = walk.server.cookie();
    walk.form("/users/{name}/passkeys/remove", "ada", &format!("id={none}"), (ada, "without passkey"));
    let any = "DELETE /api/v3/access/passkeys/{id}";
    walk.rest(any, none, Value::Null, ("passkey/0190a1b2", "removed"));
}

/// What only who signed in may ask over the API, as a program that ada's password made a token for.
fn as_ada(walk: &mut Walk, none: &str) {
    let body = json!({"name": "ada", "password": OTHER, "token_name": "script"});
    let token = walk.server.post("/api/v3/access/sign-in", body).json()["token"].as_str().unwrap().to_owned();
    let (host, bearer, ada) = (walk.server.host(), format!("Bearer {token}"), "user/ada");
    let me = "/api/v3/access/me";
    let password = json!({"present": OTHER, "new": PASSWORD, "sessions": "keep"});
    let proof = || json!({"password": PASSWORD});
    for (asked, body, told) in [
        (format!("POST {me}/password"), password, (ada, "another password")),
        (format!("POST {me}/totp"), proof(), (ada, "second factor made")),
        (format!("POST {me}/totp/confirm"), json!({"code": "1"}), (ada, "second factor in force")),
        (format!("DELETE {me}/totp"), proof(), (ada, "without second factor")),
        (format!("DELETE {me}/passkeys/{{id}}"), Value::Null, (ada, "without passkey")),
        ("DELETE /api/v3/access/sessions/{id}".to_owned(), Value::Null, ("session/0190a1b2", "ended")),
        ("DELETE /api/v3/access/sessions".to_owned(), Value::Null, ("sessions of ", " ended")),
    ] {
        let (method, template) = asked.split_once(' ').unwrap();
        let (path, body) =
            (put_in(template, none), if body.is_null() { String::new() } else { body.to_string() });
        let headers =
            [("host", host.as_str()), ("authorization", &bearer), ("content-type", "application/json")];
        walk.server.raw(method, &path, &headers, &body);
        walk.told(asked.clone(), &path, told);
    }
    let reply = walk.server.submit("/login", &format!("name=ada&password={PASSWORD}"), "");
    walk.cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
}

#[test]
fn every_change_is_recorded_with_what_was_changed_and_to_what() {
    let mut walk = Walk::new();
    operate(&mut walk);
    bring_up_and_decide(&mut walk);
    observe(&mut walk);
    disturb(&mut walk);
    manage_access(&mut walk);
    manage_an_own_account(&mut walk);

    // The versions without `v3` are the same endpoints.
    let writes =
        addresses().into_iter().filter(|one| one.writes && !one.path.starts_with("/api/self-healing/"));
    let mut all: BTreeSet<String> = writes.map(|one| format!("{} {}", one.method, one.path)).collect();
    all.extend(forms().into_iter().map(|path| format!("POST {path}")));
    let schema = graphql_schema();
    let mutations = schema.split("type Mutation {").nth(1).unwrap().split("\n}").next().unwrap();
    let names = mutations.lines().filter(|line| line.starts_with('\t') && !line.starts_with("\t\t"));
    let names =
        names.map(str::trim).filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
    all.extend(names.filter_map(|line| Some(format!("mutation {}", line.split_once('(')?.0))));
    assert!(all.iter().filter(|one| one.starts_with("mutation ")).count() > 6, "{all:?}");
    for (exception, _) in EXCEPTIONS {
        assert!(all.remove(exception), "{exception} is no exception any more");
    }
    let left: Vec<_> = all.difference(&walk.walked).collect();
    assert!(left.is_empty(), "walk these too, so that it is seen what is recorded of them: {left:#?}");
    let unknown: Vec<_> = walk.walked.difference(&all).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
}

#[test]
fn a_refused_change_says_what_was_asked_for_and_is_bounded() {
    let walk = Walk::new();
    let users = "/api/v3/access/users";
    let ada = json!({"name": "ada", "roles": ["viewer"]});
    assert_eq!(walk.server.post(users, ada.clone()).status, 201);
    assert_eq!(walk.server.post(users, ada).status, 409);
    let told = walk.newest();
    assert_eq!((told.target.as_str(), told.outcome), ("user/ada", Outcome::Refused));
    let detail = told.detail.unwrap();
    assert!(detail.starts_with("name_taken: ") && detail.contains("asked for: roles viewer"), "{detail}");
    let names: serde_json::Map<String, Value> =
        (0..200).map(|n| (format!("VARIABLE_{n:030}"), json!(""))).collect();
    let deploy = json!({"version": "2", "environment": names});
    assert_eq!(walk.server.post(&format!("{HEALING}/deploy/cart"), deploy).status, 202);
    assert!(walk.newest().detail.unwrap().len() <= 4096);
}
