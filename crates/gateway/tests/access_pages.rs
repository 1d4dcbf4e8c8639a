//! The pages of users, tokens, the own account, configuration, infrastructure and settings, as a browser asks for them; and
//! what of an account programs see and change.

mod support;

use serde_json::{Value, json};
use support::scene;
use support::server::{Reply, Server, start};

/// A page as somebody with this cookie sees it.
fn page(server: &Server, path: &str, cookie: &str) -> Reply {
    server.raw("GET", path, &[("host", &server.host()), ("cookie", cookie)], "")
}

/// A form as a browser sends it.
fn send(server: &Server, path: &str, form: &str, cookie: &str) -> Reply {
    let (host, origin) = (server.host(), server.origin());
    let headers = [
        ("host", host.as_str()),
        ("origin", origin.as_str()),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookie),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    server.raw("POST", path, &headers, form)
}

/// Signs a user in and gives its cookie.
fn sign_in(server: &Server, name: &str, password: &str) -> String {
    let reply = send(server, "/login", &format!("name={name}&password={password}"), "");
    assert_eq!(reply.status, 303, "{}", reply.body);
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

const PASSWORD: &str = "four+plain+words+here";

/// A server with the viewer ada, and the cookie of an admin.
fn with_ada() -> (Server, String) {
    let server = start(scene::busy);
    let admin = server.cookie();
    let made = send(
        &server,
        "/users/create",
        &format!("name=ada&display_name=Lovelace&password={PASSWORD}&role=viewer"),
        &admin,
    );
    assert_eq!((made.status, made.header("location")), (303, Some("/users/ada")), "{}", made.body);
    (server, admin)
}

#[test]
fn a_viewer_sees_state_and_is_told_which_role_the_rest_takes() {
    let (server, _) = with_ada();
    let ada = sign_in(&server, "ada", PASSWORD);
    let home = page(&server, "/", &ada).body;
    assert!(home.contains("Signed in as ada") && home.contains("Sign out"), "{home}");
    for path in ["/settings", "/cmdb", "/infrastructure", "/account"] {
        assert_eq!(page(&server, path, &ada).status, 200, "{path}");
    }
    for path in ["/users", "/users/ada", "/tokens", "/audit", "/users?format=csv", "/tokens?format=json"] {
        let refused = page(&server, path, &ada);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.body.contains("This needs the role"), "{path}: {}", refused.body);
    }
    let infrastructure = page(&server, "/infrastructure", &ada).body;
    assert!(!infrastructure.contains("<textarea"), "what one may not do is not offered: {infrastructure}");
    let refused = send(&server, "/automation", "enabled=false", &ada);
    assert_eq!(refused.status, 403);
    assert!(server.fleet.store.switches().unwrap().automation);
}

#[test]
fn a_session_that_somebody_planted_is_not_the_one_that_is_signed_in() {
    let (server, _) = with_ada();
    // Whoever plants a cookie knows its value: one of their own, or one that was never given out.
    let own = sign_in(&server, "ada", PASSWORD);
    let name = own.split('=').next().unwrap();
    for planted in [own.clone(), format!("{name}={}", "a".repeat(43))] {
        let reply = send(&server, "/login", &format!("name=ada&password={PASSWORD}"), &planted);
        let given = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        assert_ne!(given, planted);
        assert!(page(&server, "/", &given).body.contains("Signed in as ada"));
        assert!(
            !page(&server, "/", &planted).body.contains("Signed in as ada"),
            "the planted one is nobody's"
        );
    }
}

#[test]
fn signing_out_ends_the_session() {
    let server = start(scene::calm);
    let cookie = server.cookie();
    assert_eq!(page(&server, "/account", &cookie).status, 200);
    let out = send(&server, "/logout", "", &cookie);
    assert_eq!((out.status, out.header("location")), (303, Some("/")));
    let asked = page(&server, "/account", &cookie);
    assert_eq!((asked.status, asked.header("location")), (303, Some("/login?next=%2Faccount")));
}

#[test]
fn the_own_password_needs_the_present_one_and_ends_other_sessions_unless_they_are_kept() {
    let (server, _) = with_ada();
    let (ada, elsewhere) = (sign_in(&server, "ada", PASSWORD), sign_in(&server, "ada", PASSWORD));
    let form = |present: &str| format!("present={present}&new=other+plain+words&again=other+plain+words");
    assert_eq!(send(&server, "/account/password", &form("wrong"), &ada).status, 401);
    let set = send(&server, "/account/password", &form(PASSWORD), &ada);
    assert_eq!((set.status, set.header("location")), (303, Some("/account")), "{}", set.body);
    let stands = |cookie: &str| page(&server, "/account", cookie).status == 200;
    assert!(!stands(&elsewhere), "the other browser signs in again");
    assert!(!stands(&ada), "a copy of the cookie is of no use");
    let anew = set.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(stands(&anew), "this browser goes on");

    let elsewhere = sign_in(&server, "ada", "other+plain+words");
    let form = "present=other+plain+words&new=third+plain+words&again=third+plain+words&sessions=keep";
    assert_eq!(send(&server, "/account/password", form, &anew).status, 303);
    assert!(stands(&elsewhere) && !stands(&anew));
}

#[test]
fn a_form_gives_nobody_more_than_a_scoped_token_may() {
    let (server, _) = with_ada();
    let body = json!({"name": "clerk", "roles": ["admin"], "scope": ["access:manage"]});
    let clerk = server.post("/api/v3/access/tokens", body).json()["token"].as_str().unwrap().to_owned();
    let root = json!({"name": "root", "roles": ["admin"], "password": "four plain words here"});
    assert_eq!(server.post("/api/v3/access/users", root).status, 201);
    let (host, bearer) = (server.host(), format!("Bearer {clerk}"));
    let headers = [
        ("host", host.as_str()),
        ("authorization", bearer.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    for (path, form) in [
        ("/users/root/password", "new=guessed+by+a+clerk"),
        ("/users/root/admission", "admission=disabled"),
        ("/users/root/totp/remove", ""),
        ("/users/ada/roles", "role=admin"),
        ("/users/create", "name=eve&role=admin"),
    ] {
        let refused = server.raw("POST", path, &headers, form);
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
    }
    sign_in(&server, "root", "four+plain+words+here");
}

#[test]
fn a_token_is_shown_once_and_revoked() {
    let (server, admin) = with_ada();
    let ada = sign_in(&server, "ada", PASSWORD);
    let made = send(&server, "/account/tokens", "name=script&role=viewer&days=30", &ada);
    assert_eq!(made.status, 200, "{}", made.body);
    let begin = made.body.find("hst_").expect("the secret is shown");
    let secret = &made.body[begin..begin + 53];
    let account = page(&server, "/account", &ada).body;
    assert!(account.contains("script") && !account.contains(secret));
    let beyond = send(&server, "/account/tokens", "name=more&role=admin&days=30", &ada);
    assert_eq!(beyond.status, 403, "no more than its owner: {}", beyond.body);
    let bearer = format!("Bearer {secret}");
    let asks = || server.raw("GET", "/issues", &[("host", &server.host()), ("authorization", &bearer)], "");
    assert_eq!(asks().status, 200);
    let listed = page(&server, "/tokens?format=json", &admin).json();
    assert_eq!((listed[0]["name"].as_str(), listed[0]["owner"].as_str()), (Some("script"), Some("ada")));
    let all = page(&server, "/tokens", &admin).body;
    let at = all.find("/account/tokens/").unwrap();
    let path = all[at..].split('"').next().unwrap();
    let revoked = send(&server, path, "back=%2Ftokens", &admin);
    assert_eq!((revoked.status, revoked.header("location")), (303, Some("/tokens")));
    assert_eq!(asks().status, 401);
}

#[test]
fn what_is_shared_by_all_who_look_says_nothing_of_users_or_tokens() {
    let (server, _) = with_ada();
    // A live part is told to whoever may read state.
    let (host, mut seen) = (server.host(), String::new());
    for path in ["/users", "/users/ada", "/tokens", "/audit", "/account"] {
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        let asked = format!("GET /events?page={path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        std::io::Write::write_all(&mut stream, asked.as_bytes()).unwrap();
        let mut bytes = [0; 4096];
        let mut told = String::new();
        while !told.contains("event: now") {
            let read = std::io::Read::read(&mut stream, &mut bytes).unwrap();
            told.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        seen.push_str(&told);
    }
    assert!(seen.contains("notices") && !seen.contains("Lovelace"), "{seen}");
}

#[test]
fn an_infrastructure_is_shown_before_it_is_brought_up() {
    let server = start(scene::calm);
    *server.fleet.infrastructure.lock().unwrap() = None;
    let admin = server.cookie();
    assert!(page(&server, "/infrastructure", &admin).body.contains("<textarea"));
    let wrong = send(&server, "/infrastructure/preview", "definition=nonsense", &admin);
    assert_eq!(wrong.status, 422, "{}", wrong.body);
    let preview = send(&server, "/services/cart/scale/preview", "replicas=3", &admin);
    assert_eq!(preview.status, 200, "{}", preview.body);
    assert!(preview.body.contains("Nothing was changed.") && preview.body.contains("Run 3 instances"));
    assert_eq!(send(&server, "/services/cart/scale/preview", "replicas=0", &admin).status, 422);
}

/// A passkey of a user, as if a browser had registered it.
fn keep_passkey(server: &Server, user: &str, seed: u64) -> String {
    let (store, now) = (&server.fleet.store, server.fleet.clock.now());
    let passkey = store::PasskeyRecord {
        id: domain::IdSource::seeded(seed).next(now),
        user: store.user(user).unwrap().unwrap().id,
        credential: vec![seed as u8],
        public_key: b"the-public-key".to_vec(),
        sign_count: 0,
        backup_eligible: true,
        rp_id: "localhost".to_owned(),
        name: "laptop".to_owned(),
        created: now,
        used: None,
    };
    assert_eq!(store.add_passkey(&passkey, 20).unwrap(), store::PasskeySaved::Saved);
    passkey.id.to_string()
}

#[test]
fn passkeys_are_listed_and_removed_by_their_user_and_by_who_manages_access() {
    let (server, _) = with_ada();
    let bob = json!({"name": "bob", "roles": ["operator"], "password": "four plain words here"});
    assert_eq!(server.post("/api/v3/access/users", bob).status, 201);
    let token = |name: &str, owner: &str, scope: Value| {
        let body = json!({"name": name, "owner": owner, "roles": ["viewer"], "scope": scope});
        server.post("/api/v3/access/tokens", body).json()["token"].as_str().unwrap().to_owned()
    };
    let (hers, narrow) =
        (token("hers", "ada", Value::Null), token("narrow", "ada", json!(["metrics:scrape"])));
    let ask = |token: &str, method: &str, path: &str| {
        let (host, bearer) = (server.host(), format!("Bearer {token}"));
        server.raw(method, path, &[("host", host.as_str()), ("authorization", bearer.as_str())], "")
    };
    let (of_ada, of_bob) = (keep_passkey(&server, "ada", 1), keep_passkey(&server, "bob", 2));
    let own = "/api/v3/access/me/passkeys";

    let listed = ask(&hers, "GET", own);
    assert_eq!(listed.status, 200, "{}", listed.body);
    let row = &listed.json()[0];
    assert_eq!((&row["id"], &row["user"], &row["used_at"]), (&json!(of_ada), &json!("ada"), &Value::Null));
    assert!(!listed.body.contains("key\":"), "no key is told: {}", listed.body);
    assert_eq!(ask(&hers, "DELETE", &format!("{own}/{of_bob}")).status, 404, "it is not hers");
    assert_eq!(ask(&narrow, "DELETE", &format!("{own}/{of_ada}")).status, 403);
    for (method, path) in [
        ("GET", "/api/v3/access/users/bob/passkeys".to_owned()),
        ("DELETE", format!("/api/v3/access/passkeys/{of_bob}")),
    ] {
        assert_eq!(ask(&hers, method, &path).status, 403, "{path}");
    }
    let left = ask(&hers, "DELETE", &format!("{own}/{of_ada}"));
    assert_eq!((left.status, left.json()), (200, json!([])), "{}", left.body);

    let admin = support::server::TOKEN;
    assert_eq!(ask(admin, "GET", own).status, 409, "that token is no user's");
    assert_eq!(ask(admin, "GET", "/api/v3/access/users/bob/passkeys").json()[0]["name"], "laptop");
    assert_eq!(ask(admin, "DELETE", &format!("/api/v3/access/passkeys/{of_bob}")).status, 200);
    assert_eq!(ask(admin, "DELETE", &format!("/api/v3/access/passkeys/{of_bob}")).status, 404);
    assert_eq!(ask(admin, "GET", "/api/v3/access/users/nobody/passkeys").status, 404);
}

#[test]
fn an_admin_forgets_factors_only_where_it_asks_for_that() {
    let (server, _) = with_ada();
    keep_passkey(&server, "ada", 1);
    let change = |body: Value| {
        let (host, bearer) = (server.host(), format!("Bearer {}", support::server::TOKEN));
        let headers = [
            ("host", host.as_str()),
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        server.raw("PATCH", "/api/v3/access/users/ada", &headers, &body.to_string()).status
    };
    let left =
        || server.fleet.store.passkeys_of(server.fleet.store.user("ada").unwrap().unwrap().id).unwrap().len();
    let ada = sign_in(&server, "ada", PASSWORD);
    assert_eq!(change(json!({"password": "another four plain words"})), 200);
    assert_eq!((left(), page(&server, "/account", &ada).status), (1, 303), "sessions end, passkeys stay");
    assert_eq!(change(json!({"factors": "some"})), 422);
    assert_eq!(change(json!({"factors": "forget"})), 200);
    assert_eq!(left(), 0);
}
