//! A token that is over is refused on every way in, by its code; and what was opened before ends soon after.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use domain::Clock;
use serde_json::{Value, json};
use support::graphql::{Heard, Socket, wait};
use support::server::{Server, assert_problem, start};
use support::{MachineClock, scene};
use tokio_tungstenite::tungstenite::Error;

const PASSWORD: &str = "four+plain+words+here";

/// How soon something has to be over.
const SOON: Duration = Duration::from_secs(30);

/// Makes the user ada, an operator.
fn make_ada(server: &Server) {
    let form = format!("name=ada&password={PASSWORD}&role=operator");
    let made = server.submit("/users/create", &form, &server.cookie());
    assert_eq!(made.status, 303, "{}", made.body);
}

/// Signs ada in and gives the cookie.
fn ada(server: &Server) -> String {
    let reply = server.submit("/login", &format!("name=ada&password={PASSWORD}"), "");
    assert_eq!(reply.status, 303, "{}", reply.body);
    reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

/// Makes a token; its secret and its id.
fn token(server: &Server, body: Value) -> (String, String) {
    let made = server.post("/api/v3/access/tokens", body);
    assert_eq!(made.status, 201, "{}", made.body);
    let of = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (of("token"), of("id"))
}

/// A token that lasts this long.
fn short(server: &Server, name: &str, time: Duration) -> String {
    let end = MachineClock::start().now().plus(time).rfc3339();
    token(server, json!({"name": name, "roles": ["viewer"], "expires_at": end})).0
}

/// A live page that is open.
struct Live {
    stream: TcpStream,
    said: String,
}

impl Live {
    /// Opens one with a header, and waits until it is told something.
    fn open(server: &Server, header: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let asked =
            format!("GET /events?page=/issues HTTP/1.1\r\nhost: {}\r\n{header}\r\n\r\n", server.host());
        stream.write_all(asked.as_bytes()).unwrap();
        let mut live = Self { stream, said: String::new() };
        while !live.said.contains("event: now") {
            assert!(live.more(), "{}", live.said);
        }
        live
    }

    /// Reads on; false at the end of the stream.
    fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.stream.read(&mut bytes).unwrap();
        self.said.push_str(&String::from_utf8_lossy(&bytes[..read]));
        read > 0 && !self.said.ends_with("0\r\n\r\n")
    }

    /// Reads until it ends; gives the code it ends with.
    #[track_caller]
    fn ends(mut self) -> String {
        let began = Instant::now();
        while self.more() {
            assert!(began.elapsed() < SOON, "it goes on: {}", self.said);
        }
        let (_, over) =
            self.said.split_once("event: over\ndata: ").unwrap_or_else(|| panic!("{}", self.said));
        let data: Value = serde_json::from_str(over.lines().next().unwrap()).unwrap();
        data["code"].as_str().unwrap().to_owned()
    }
}

/// A socket that was opened by a token in its first message, with a subscription.
async fn by_token(server: &Server, token: &str) -> Socket {
    let mut socket = Socket::open(server).await;
    let payload = json!({"Authorization": format!("Bearer {token}")});
    socket.say(json!({"type": "connection_init", "payload": payload})).await;
    assert_eq!(socket.hear().await, Heard::Said(json!({"type": "connection_ack"})));
    socket
}

/// A socket that was opened by the page's cookie.
async fn by_cookie(server: &Server, cookie: &str) -> Socket {
    let origin = server.origin();
    let mut socket = Socket::try_open(server, &[("cookie", cookie), ("origin", &origin)]).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await, Heard::Said(json!({"type": "connection_ack"})));
    socket
}

/// Waits for a socket's end, which says this.
async fn closed(mut socket: Socket, code: &str) {
    use futures_util::StreamExt;
    use tokio_tungstenite::tungstenite::Message;
    let frame = tokio::time::timeout(SOON, async {
        loop {
            match socket.0.next().await {
                Some(Ok(Message::Close(frame))) => return frame.unwrap(),
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    let frame = frame.await.expect("the socket goes on");
    assert_eq!(u16::from(frame.code), 4403);
    assert!(frame.reason.starts_with(&format!("Forbidden: {code}: ")), "{}", frame.reason);
}

#[test]
fn a_token_that_expired_is_refused_on_every_way_in_by_its_code() {
    let server = start(scene::calm);
    let expired = short(&server, "brief", Duration::from_millis(1500));
    let bearer = format!("Bearer {expired}");
    let ask =
        |path: &str| server.raw("GET", path, &[("host", &server.host()), ("authorization", &bearer)], "");
    let began = Instant::now();
    while ask("/api/v3/access/me").status == 200 {
        assert!(began.elapsed() < SOON);
    }
    assert_problem(&ask("/api/v3/access/me"), 401, "token_expired");
    assert_problem(&ask("/events?page=/issues"), 401, "token_expired");
    assert_problem(&server.graphql_as(&[("authorization", &bearer)], "{ __typename }"), 401, "token_expired");
    wait(async {
        match Socket::try_open(&server, &[("authorization", &bearer)]).await {
            Err(Error::Http(refused)) => {
                assert_eq!(refused.status(), 401);
                let body =
                    String::from_utf8_lossy(refused.body().as_deref().unwrap_or_default()).into_owned();
                assert!(body.contains("token_expired"), "{body}");
            }
            other => panic!("let in: {:?}", other.err()),
        }
        let mut socket = Socket::open(&server).await;
        socket.say(json!({"type": "connection_init", "payload": {"Authorization": bearer}})).await;
        closed(socket, "token_expired").await;
    });
}

#[test]
fn what_a_token_opened_ends_when_it_expires_or_is_revoked() {
    let server = start(scene::calm);
    wait(async {
        // Long enough to open both with it, on a machine that stands still meanwhile.
        let brief = short(&server, "brief", Duration::from_secs(8));
        let socket = by_token(&server, &brief).await;
        let live = Live::open(&server, &format!("authorization: Bearer {brief}"));
        closed(socket, "token_expired").await;
        assert_eq!(live.ends(), "token_expired");

        let (revoked, id) = token(&server, json!({"name": "taken back", "roles": ["viewer"]}));
        let (kept, _) = token(&server, json!({"name": "kept", "roles": ["viewer"]}));
        let (socket, mut other) = (by_token(&server, &revoked).await, by_token(&server, &kept).await);
        let live = Live::open(&server, &format!("authorization: Bearer {revoked}"));
        let gone = server.write("DELETE", &format!("/api/v3/access/tokens/{id}"), "");
        assert!(gone.status < 300, "{}", gone.body);
        closed(socket, "token_revoked").await;
        assert_eq!(live.ends(), "token_revoked");
        // Another's goes on.
        other.say(json!({"type": "ping"})).await;
        assert_eq!(other.hear().await, Heard::Said(json!({"type": "pong"})));
    });
}

#[test]
fn what_a_token_opened_ends_when_the_token_is_revoked_that_made_it() {
    let server = start(scene::calm);
    wait(async {
        let (maker, id) = token(&server, json!({"name": "maker", "roles": ["viewer"]}));
        let bearer = format!("Bearer {maker}");
        let host = server.host();
        let headers =
            [("host", host.as_str()), ("authorization", &bearer), ("content-type", "application/json")];
        let made = server.raw("POST", "/api/v3/access/tokens", &headers, r#"{"name": "made"}"#).json();
        let made = made["token"].as_str().unwrap();
        let socket = by_token(&server, made).await;
        let live = Live::open(&server, &format!("authorization: Bearer {made}"));
        let gone = server.write("DELETE", &format!("/api/v3/access/tokens/{id}"), "");
        assert_eq!(gone.json()["ended_with_it"], json!(["made"]), "{}", gone.body);
        closed(socket, "token_revoked").await;
        assert_eq!(live.ends(), "token_revoked");
    });
}

#[test]
fn what_a_session_opened_ends_with_it() {
    let server = start(scene::calm);
    make_ada(&server);
    wait(async {
        let cookie = ada(&server);
        let socket = by_cookie(&server, &cookie).await;
        let live = Live::open(&server, &format!("cookie: {cookie}"));
        assert_eq!(server.submit("/logout", "", &cookie).status, 303);
        closed(socket, "session_ended").await;
        assert_eq!(live.ends(), "session_ended");
    });
}

#[test]
fn who_is_shut_out_or_may_less_is_let_go_and_who_may_more_is_not() {
    let server = start(scene::calm);
    make_ada(&server);
    let admin = server.cookie();
    wait(async {
        let cookie = ada(&server);
        let request = json!({"name": "ada's", "owner": "ada", "roles": ["operator"]});
        let (token, _) = token(&server, request);
        let mut socket = by_cookie(&server, &cookie).await;
        let by_token = by_token(&server, &token).await;
        let live = Live::open(&server, &format!("cookie: {cookie}"));
        let roles = |roles: &str| {
            let set = server.submit("/users/ada/roles", roles, &admin);
            assert_eq!(set.status, 303, "{}", set.body);
        };
        roles("role=operator&role=approver");
        socket.say(json!({"type": "ping"})).await;
        assert_eq!(socket.hear().await, Heard::Said(json!({"type": "pong"})));
        roles("role=viewer");
        closed(socket, "forbidden").await;
        closed(by_token, "forbidden").await;
        assert_eq!(live.ends(), "forbidden");

        let live = Live::open(&server, &format!("cookie: {cookie}"));
        let socket = by_cookie(&server, &cookie).await;
        let shut_out = server.submit("/users/ada/admission", "admission=disabled", &admin);
        assert_eq!(shut_out.status, 303, "{}", shut_out.body);
        closed(socket, "session_ended").await;
        assert_eq!(live.ends(), "session_ended");
    });
}
