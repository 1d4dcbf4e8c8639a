//! Who may what, asked over HTTP: every address of the API by everybody, and what people try to get around it with.

mod support;

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{Audit, Filter, Outcome};
use domain::access::Permissions;
use domain::{AnonymousReads, Clock, Permission, Role};
use gateway::access::AccessConfig;
use gateway::{Address, Asks, addresses};
use serde_json::{Value, json};
use support::server::{Kept, Reply, Server, TOKEN, assert_problem, serve_with, start};
use support::{MachineClock, scene};

const PASSWORD: &str = "a heron stood in the reeds";

/// One who asks.
struct Asker {
    called: String,
    bearer: Option<String>,
    may: Permissions,
}

fn made(reply: &Reply) -> Value {
    assert_eq!(reply.status, 201, "{}", reply.body);
    reply.json()
}

fn askers(server: &Server) -> Vec<Asker> {
    let mut all = vec![Asker { called: "nobody".to_owned(), bearer: None, may: Permissions::NONE }];
    for role in Role::ALL {
        let (bearer, _) = server.token(json!({ "name": role.name(), "roles": [role.name()] }));
        all.push(Asker { called: role.name().to_owned(), bearer: Some(bearer), may: role.permissions() });
    }
    for permission in Permission::ALL {
        let called = format!("scope {permission}");
        let body = json!({ "name": called, "roles": ["admin"], "scope": [permission.name()] });
        let (bearer, _) = server.token(body);
        all.push(Asker { called, bearer: Some(bearer), may: [permission].into_iter().collect() });
    }
    all
}

fn expected(asker: &Asker, address: &Address) -> Option<(u16, &'static str)> {
    match (address.asks, &asker.bearer) {
        // These are tokens that may less than the token of the data directory, whose they are.
        (Asks::SignedIn, Some(_))
            if address.path == "/api/v3/access/sessions" && !asker.may.allows(Permission::AccessManage) =>
        {
            Some((403, "forbidden"))
        }
        (Asks::Anybody, _) | (Asks::SignedIn, Some(_)) => None,
        (Asks::SignedIn, None) => Some((401, "token_missing")),
        (Asks::Holder(permission), _) if asker.may.allows(permission) => None,
        // On this machine metrics are scraped without proof.
        (Asks::Holder(Permission::MetricsScrape), None) => None,
        (Asks::Holder(_), None) => Some((401, "token_missing")),
        (Asks::Holder(_), Some(_)) => Some((403, "forbidden")),
    }
}

#[test]
fn every_address_lets_in_who_may_and_nobody_else() {
    let access = AccessConfig { anonymous_reads: AnonymousReads::Refused, ..AccessConfig::default() };
    let server = serve_with(scene::calm, Kept { access, ..Kept::default() });
    let (askers, addresses) = (askers(&server), addresses());
    assert!(addresses.len() > 80, "{}", addresses.len());
    let mut wrong = Vec::new();
    for address in &addresses {
        let path = address.path.split('/').map(|part| if part.starts_with('{') { "none" } else { part });
        let path = path.collect::<Vec<_>>().join("/");
        for asker in &askers {
            let reply = server.ask(asker.bearer.as_deref(), &address.method, &path, "");
            let is_refused = matches!(reply.status, 401 | 403);
            let code = serde_json::from_str::<Value>(&reply.body).ok().map(|body| body["code"].clone());
            let is_as_expected = match expected(asker, address) {
                // People are led to where they can sign in.
                Some((401, _)) if path == "/graphiql" => reply.status == 303,
                None => !is_refused,
                // APIs of others have errors of their own form.
                Some((status, expected)) => {
                    reply.status == status && code.is_none_or(|code| code == expected || code.is_null())
                }
            };
            if !is_as_expected {
                wrong.push(format!("{} {} by {}: {}", address.method, path, asker.called, reply.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The table as the specification has it, for what must never come to ask for less.
#[test]
fn what_changes_most_asks_for_what_it_did() {
    let asks = |method: &str, path: &str| {
        let all = addresses();
        let found = all.iter().find(|one| one.method == method && one.path == path);
        found.unwrap_or_else(|| panic!("{method} {path}")).asks
    };
    let table = [
        ("POST", "/api/v3/self-healing/remediations/{id}/approve", Permission::PlansApprove),
        ("POST", "/api/v3/chaos/experiment", Permission::ChaosRun),
        ("POST", "/api/v3/chaos/emergency-stop", Permission::EmergencyStop),
        ("DELETE", "/api/v3/chaos/emergency-stop", Permission::PlansApprove),
        ("POST", "/api/v3/self-healing/deploy/{name}", Permission::ServicesOperate),
        ("POST", "/api/v3/infrastructures", Permission::InfrastructureWrite),
        ("DELETE", "/api/v3/infrastructures/{name}", Permission::InfrastructureWrite),
        ("POST", "/api/v3/access/users", Permission::AccessManage),
        ("PATCH", "/api/v3/access/users/{name}", Permission::AccessManage),
        ("GET", "/api/v3/audit/records", Permission::AuditRead),
    ];
    for (method, path, permission) in table {
        assert_eq!(asks(method, path), Asks::Holder(permission), "{method} {path}");
    }
    let open: Vec<_> = addresses().into_iter().filter(|one| one.asks == Asks::Anybody).collect();
    let open: Vec<&str> = open.iter().map(|one| one.path.as_str()).collect();
    // Over the socket of GraphQL the proof comes with the first message.
    let known = [
        "/health",
        "/api/v3/access/sign-in",
        "/api/v3/openapi.json",
        "/assets/graphiql/{name}",
        "/graphql/ws",
    ];
    assert_eq!(open, known);
    let unproven = addresses().into_iter().filter(|one| one.writes && one.asks == Asks::Anybody);
    assert_eq!(unproven.count(), 1, "signing in alone");
}

#[test]
fn a_token_that_is_none_any_more_is_told_so_and_lets_nobody_in() {
    let server = start(scene::calm);
    let me = |bearer: &str| server.ask(Some(bearer), "GET", "/api/v3/access/me", "");
    let (secret, id) = server.token(json!({ "name": "ci", "roles": ["viewer"] }));
    let shown = me(&secret).json();
    assert_eq!((&shown["name"], &shown["proof"]), (&json!("token ci"), &json!("token")));
    assert_eq!(shown["permissions"], json!(["state:read", "telemetry:read", "metrics:scrape"]));
    assert_eq!(server.ask(Some(TOKEN), "DELETE", &format!("/api/v3/access/tokens/{id}"), "").status, 200);
    assert_problem(&me(&secret), 401, "token_revoked");
    for wrong in [&secret[..secret.len() - 1], &secret[1..], "hst_", "", &"x".repeat(4096)] {
        assert_problem(&me(wrong), 401, "wrong_token");
    }
    // One of the right form that nobody was given.
    let guessed = "hst_0000000000000000000000000000000000000000000000000";
    assert_problem(&me(guessed), 401, "wrong_token");
    let past = server.post(
        "/api/v3/access/tokens",
        json!({ "name": "late", "roles": ["viewer"], "expires_at": "2001-01-01T00:00:00Z" }),
    );
    assert_problem(&past, 422, "invalid_field");
    let later = json!({ "name": "later", "roles": ["viewer"], "expires_at": "2201-01-01T00:00:00Z" });
    assert_eq!(me(&server.token(later).0).status, 200);
    // A wrong bearer beside a good cookie is an error, not the cookie.
    let (host, cookie) = (server.host(), server.cookie());
    let both = [("host", host.as_str()), ("cookie", cookie.as_str()), ("authorization", "Bearer hst_x")];
    assert_problem(&server.raw("GET", "/api/v3/access/me", &both, ""), 401, "wrong_token");
}

#[test]
fn a_secret_is_in_the_answer_that_makes_it_and_in_no_other() {
    let server = start(scene::calm);
    let user = json!({ "name": "ada", "roles": ["viewer"], "password": PASSWORD });
    let answer = server.post("/api/v3/access/users", user);
    assert_eq!(made(&answer)["has_password"], true);
    let (secret, _) = server.token(json!({ "name": "ci", "owner": "ada", "roles": ["viewer"] }));
    let signed_in = json!({ "name": "ada", "password": PASSWORD, "token_name": "laptop" });
    let by_password = made(&server.ask(None, "POST", "/api/v3/access/sign-in", &signed_in.to_string()));
    let by_password = by_password["token"].as_str().unwrap();
    for path in ["users", "users/ada", "tokens", "sessions", "me"] {
        for bearer in [TOKEN, by_password] {
            let reply = server.ask(Some(bearer), "GET", &format!("/api/v3/access/{path}"), "");
            for hidden in [PASSWORD, secret.as_str(), by_password, TOKEN, "argon2", "hst_"] {
                assert!(!reply.body.contains(hidden), "{hidden} at {path}: {}", reply.body);
            }
        }
    }
    // Ada sees hers, and no others.
    server.token(json!({ "name": "other", "roles": ["admin"] }));
    let hers = server.ask(Some(by_password), "GET", "/api/v3/access/tokens", "").json();
    let names: Vec<&str> = hers.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["laptop", "ci"]);
    let wrong = json!({ "name": "ada", "password": "a heron stood in the weeds", "token_name": "x" });
    assert_problem(
        &server.ask(None, "POST", "/api/v3/access/sign-in", &wrong.to_string()),
        401,
        "sign_in_refused",
    );
}

#[test]
fn who_has_a_scope_makes_nobody_who_may_more() {
    let server = start(scene::calm);
    made(&server.post("/api/v3/access/users", json!({ "name": "root", "roles": ["admin"] })));
    let body = json!({ "name": "hr", "roles": ["admin"], "scope": ["access:manage"] });
    let (hr, _) = server.token(body);
    let body = json!({ "name": "mallory", "roles": ["admin"] }).to_string();
    assert_problem(&server.ask(Some(&hr), "POST", "/api/v3/access/users", &body), 403, "forbidden");
    let body = json!({ "password": PASSWORD }).to_string();
    assert_problem(&server.ask(Some(&hr), "PATCH", "/api/v3/access/users/root", &body), 403, "forbidden");
    let body = json!({ "name": "wider", "roles": ["admin"], "scope": ["chaos:run"] }).to_string();
    assert_problem(&server.ask(Some(&hr), "POST", "/api/v3/access/tokens", &body), 403, "beyond_owner");
    // What it makes without a scope has its own.
    let body = json!({ "name": "same" }).to_string();
    assert_eq!(
        made(&server.ask(Some(&hr), "POST", "/api/v3/access/tokens", &body))["scope"],
        json!(["access:manage"])
    );
}

#[test]
fn a_user_is_changed_as_it_was_read_in_all_fields_or_in_none() {
    let server = start(scene::calm);
    let at = "/api/v3/access/users/ada";
    let answer = server
        .post("/api/v3/access/users", json!({ "name": "ada", "roles": ["viewer"], "password": PASSWORD }));
    let tag = answer.header("etag").unwrap().to_owned();
    let (host, bearer) = (server.host(), format!("Bearer {TOKEN}"));
    let patch = |tag: &str, body: Value| {
        let headers = [
            ("host", host.as_str()),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("if-match", tag),
        ];
        server.raw("PATCH", at, &headers, &body.to_string())
    };
    let changed = patch(&tag, json!({ "roles": ["viewer", "approver"] }));
    assert_eq!((changed.status, &changed.json()["roles"]), (200, &json!(["viewer", "approver"])));
    assert_problem(&patch(&tag, json!({ "disabled": true })), 412, "precondition_failed");
    // A password that is refused leaves the roles as they are.
    assert_problem(&patch("*", json!({ "roles": ["admin"], "password": "short" })), 422, "invalid_field");
    let now = server.ask(Some(TOKEN), "GET", at, "").json();
    assert_eq!((&now["roles"], &now["disabled"]), (&json!(["viewer", "approver"]), &json!(false)));
    // Shut out, its token is worth nothing.
    let (secret, _) = server.token(json!({ "name": "hers", "owner": "ada", "roles": ["viewer"] }));
    assert_eq!(patch("*", json!({ "disabled": true })).status, 200);
    assert_problem(&server.ask(Some(&secret), "GET", "/api/v3/access/me", ""), 401, "token_revoked");
    assert_eq!(server.ask(Some(TOKEN), "DELETE", at, "").json()["has_password"], false);
    assert_eq!(patch("*", json!({ "disabled": false })).status, 200);
    assert_problem(&server.ask(Some(&secret), "GET", "/api/v3/access/me", ""), 401, "token_revoked");
}

#[test]
fn signing_in_takes_no_cookie_that_somebody_else_chose() {
    let server = start(scene::calm);
    let (host, origin) = (server.host(), server.origin());
    let planted =
        format!("homeostat-{}=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", server.address().port());
    let sign_in = |cookie: &str| {
        let headers = [
            ("host", host.as_str()),
            ("origin", origin.as_str()),
            ("cookie", cookie),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let reply = server.raw("POST", "/login", &headers, &format!("token={TOKEN}&next=%2F"));
        reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let me = |cookie: &str| {
        let headers = [("host", host.as_str()), ("cookie", cookie)];
        server.raw("GET", "/api/v3/access/me", &headers, "").status
    };
    let first = sign_in(&planted);
    assert_ne!(first, planted);
    assert_eq!((me(&planted), me(&first)), (401, 200));
    let second = sign_in(&first);
    assert_eq!((me(&first), me(&second)), (401, 200), "the session before ended");
}

#[test]
fn a_form_of_another_site_changes_nothing() {
    let server = start(scene::calm);
    let (host, cookie, origin) = (server.host(), server.cookie(), server.origin());
    let post = |path: &str, origin: &str, site: &str| {
        let headers = [
            ("host", host.as_str()),
            ("cookie", cookie.as_str()),
            ("origin", origin),
            ("sec-fetch-site", site),
            ("content-type", "text/plain"),
        ];
        server.raw("POST", path, &headers, "").status
    };
    for path in ["/automation", "/api/v3/chaos/emergency-stop", "/api/v3/access/tokens"] {
        assert_eq!(post(path, "https://evil.example", "cross-site"), 403, "{path}");
        assert_eq!(post(path, &origin, "cross-site"), 403, "{path}");
        assert_eq!(post(path, "null", "same-origin"), 403, "{path}");
    }
    assert_eq!(server.get("/api/v3/chaos/emergency-stop").json()["engaged"], false);
}

#[test]
fn no_path_leads_out_of_what_is_served() {
    let server = start(scene::calm);
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/docs/..%2f..%2fetc%2fpasswd",
        "/docs/errors/..%2F..%2Ftoken",
        "//etc/passwd",
        "/assets/style.css%00.js",
    ] {
        let reply = server.get(path);
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.body.contains("root:") && !reply.body.contains("[package]"), "{path}");
    }
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let server = start(scene::calm);
    let body = format!("{{\"definition\": \"{}\"}}", "x".repeat(2 << 20));
    assert_problem(&server.write("POST", "/api/v3/infrastructures", &body), 413, "body_too_large");
}

#[test]
fn a_token_makes_none_that_outlives_it_or_may_more() {
    let server = start(scene::calm);
    let (at, tokens) = (rfc3339_in, "/api/v3/access/tokens");
    let (parent, _) = server.token(json!({ "name": "parent", "roles": ["viewer"], "expires_at": at(2) }));
    let make = |bearer: &str, body: Value| server.ask(Some(bearer), "POST", tokens, &body.to_string());
    for body in [
        json!({ "name": "for ever", "roles": ["viewer"] }),
        json!({ "name": "longer", "roles": ["viewer"], "expires_at": at(3) }),
    ] {
        let reply = make(&parent, body);
        assert_problem(&reply, 422, "invalid_field");
        assert!(
            reply.body.contains("expires_at") && reply.body.contains("token parent ends at"),
            "{}",
            reply.body
        );
    }
    for body in [
        json!({ "name": "wider", "roles": ["operator"], "scope": ["services:operate"], "expires_at": at(1) }),
        json!({ "name": "higher", "roles": ["admin"], "scope": ["access:manage"], "expires_at": at(1) }),
    ] {
        assert_problem(&make(&parent, body), 403, "beyond_owner");
    }
    // Without roles it gets what its maker has, and no more; and it is bound as its maker is.
    let child = make(&parent, json!({ "name": "child", "expires_at": at(1) }));
    let child = made(&child);
    assert_eq!((&child["roles"], &child["made_by"]), (&json!(["viewer"]), &json!("parent")));
    let grandchild = json!({ "name": "grandchild", "expires_at": at(2) });
    assert_problem(&make(child["token"].as_str().unwrap(), grandchild), 422, "invalid_field");
    // A scope about something else makes none, and is told what it lacks.
    let (scrape, _) =
        server.token(json!({ "name": "scrape", "roles": ["viewer"], "scope": ["metrics:scrape"] }));
    let refused = make(&scrape, json!({ "name": "by scrape" }));
    assert_problem(&refused, 403, "forbidden");
    assert_eq!(refused.json()["field"], "access:manage");
}

fn rfc3339_in(hours: u64) -> String {
    let now = MachineClock::start().now();
    now.plus(std::time::Duration::from_secs(hours * 3600)).rfc3339()
}

#[test]
fn what_somebody_began_is_in_the_trail_though_they_hung_up() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let body = json!({"type": "pause", "target": {"resource": "instance/cart-0"}, "duration_seconds": 60});
    let (body, host) = (body.to_string(), server.host());
    {
        // The experiment is written down before the fleet is asked for the lock that is held here.
        let _held = server.fleet.faults.lock().unwrap();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "POST /api/v3/chaos/experiment HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        until("it is begun", || !server.fleet.store.experiments(1, None).unwrap().is_empty());
        drop(stream);
        // An answer to somebody else shows that the server has seen the other one leave.
        until("it was seen to leave", || server.get("/health").status == 200);
    }
    until("it is recorded", || {
        let filter = Filter { action: Some("experiments.create".to_owned()), ..Filter::default() };
        !audit.query(&filter).unwrap().records.is_empty()
    });
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_refused_write_is_in_the_trail() {
    let dir = tempfile::tempdir().unwrap();
    let audit = Audit::open(dir.path(), Arc::new(MachineClock::start())).unwrap();
    let server = serve_with(scene::calm, Kept { audit: Some(audit.clone()), ..Kept::default() });
    let (viewer, _) = server.token(json!({ "name": "looks", "roles": ["viewer"] }));
    let writes: Vec<Address> = addresses()
        .into_iter()
        .filter(|one| one.writes && matches!(one.asks, Asks::Holder(_)) && !one.path.contains('{'))
        .collect();
    assert!(writes.len() > 8, "{writes:?}");
    for write in &writes {
        assert_eq!(server.ask(Some(&viewer), &write.method, &write.path, "").status, 403, "{write:?}");
    }
    let filter = Filter {
        who: Some("token looks".to_owned()),
        outcome: Some(Outcome::Refused),
        limit: Filter::LIMIT_MAX,
        ..Filter::default()
    };
    let records = audit.query(&filter).unwrap().records;
    let mut recorded: Vec<&str> = records.iter().map(|record| record.target.as_str()).collect();
    let mut asked: Vec<&str> = writes.iter().map(|write| write.path.as_str()).collect();
    recorded.sort_unstable();
    asked.sort_unstable();
    assert_eq!(recorded, asked);
    // The same over the API: for who may read it, page by page.
    let read = |path: &str| server.ask(Some(TOKEN), "GET", &format!("/api/v3/audit/{path}"), "");
    let page = read("records?who=token%20looks&outcome=refused&limit=3");
    assert_eq!(page.json().as_array().unwrap().len(), 3);
    assert!(page.header("link").unwrap().contains("before="), "{}", page.head);
    let sequence = page.json()[0]["sequence"].as_u64().unwrap();
    assert_eq!(read(&format!("records/{sequence}")).json(), page.json()[0]);
    assert!(page.json()[0]["detail"].as_str().unwrap().starts_with("forbidden: "), "{}", page.body);
    assert_problem(&read("records/999999"), 404, "not_found");
    assert_problem(&read("records?outcome=perhaps"), 422, "invalid_field");
    // Reading signs nothing; who may sign, may.
    assert_problem(&read("checkpoint"), 404, "not_found");
    assert_eq!(read("status").json()["checkpoint_records"], 0);
    let change = |path: &str| server.ask(Some(TOKEN), "POST", &format!("/api/v3/audit/{path}"), "");
    let checkpoint = change("checkpoint");
    assert!(checkpoint.header("content-type").unwrap().starts_with("text/plain"), "{}", checkpoint.head);
    let size: u64 = checkpoint.body.lines().nth(1).unwrap().parse().unwrap();
    assert!(size > writes.len() as u64, "{}", checkpoint.body);
    assert_eq!(read("status").json()["checkpoint_records"], size);
    assert_eq!(read("checkpoint").body, checkpoint.body, "although there are more records by now");
    let keys = change("keys/rotate").json();
    assert_eq!((&keys["rotations"], read("status").json()["key_rotations"].as_u64()), (&json!(1), Some(1)));
    assert_eq!(keys["text"], audit::public_keys(dir.path()).unwrap().text());
    let done = read("records?action=audit.&outcome=done").json();
    let done: Vec<&str> =
        done.as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(done, ["audit.rotate_keys", "audit.sign_checkpoint"]);
    assert_problem(&start(scene::calm).write("GET", "/api/v3/audit/records", ""), 503, "unavailable");
}

#[test]
fn without_anonymous_reads_programs_are_told_and_people_are_led_to_the_door() {
    let access = AccessConfig { anonymous_reads: AnonymousReads::Refused, ..AccessConfig::default() };
    let server = serve_with(scene::calm, Kept { access, ..Kept::default() });
    assert_problem(&server.get("/api/v3/self-healing/issues"), 401, "token_missing");
    assert_eq!(server.get("/health").status, 200);
    for path in gateway::pages().filter(|path| !path.contains('{')) {
        let reply = server.get(path);
        if path.starts_with("/docs") && reply.status == 200 {
            continue;
        }
        assert!(matches!(reply.status, 303 | 307), "{path}: {}", reply.status);
        assert!(reply.header("location").unwrap().starts_with("/login?next="), "{path}");
    }
    assert_eq!(server.get("/login").status, 200);
}
