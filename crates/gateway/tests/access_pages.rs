//! The pages of users, tokens, the own account, configuration, infrastructure and settings, as a browser asks for them.

mod support;

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
    let body = serde_json::json!({"name": "clerk", "roles": ["admin"], "scope": ["access:manage"]});
    let clerk = server.post("/api/v3/access/tokens", body).json()["token"].as_str().unwrap().to_owned();
    let root = serde_json::json!({"name": "root", "roles": ["admin"], "password": "four plain words here"});
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
