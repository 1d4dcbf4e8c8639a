//! What is there for everybody is taken by nobody alone: live pages, and requests.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gateway::RequestRates;
use serde_json::json;
use support::graphql::{Heard, Socket, wait};
use support::scene;
use support::server::{HEALING, Kept, Reply, Server, TOKEN, assert_problem, serve_with, start};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a live page: its line, and what was answered as far as the end of the head, or of a problem.
fn live(server: &Server, token: &str, page: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = server.host();
    write!(
        stream,
        "GET /events?page={page} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n"
    )
    .unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") && !said.ends_with(b"}") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        said.push(byte[0]);
    }
    let mut said = String::from_utf8(said).unwrap();
    if !said.starts_with("HTTP/1.1 200") && !said.ends_with('}') {
        let mut byte = [0];
        while !said.ends_with('}') {
            stream.read_exact(&mut byte).unwrap();
            said.push(char::from(byte[0]));
        }
    }
    (stream, said)
}

/// A token of a viewer, made as soon as that may be asked.
fn viewer(server: &Server, name: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let made = server.post("/api/v3/access/tokens", json!({"name": name, "roles": ["viewer"]}));
        if made.status == 201 {
            return made.json()["token"].as_str().unwrap().to_owned();
        }
        assert!(made.status == 429 && Instant::now() < until, "{}", made.body);
    }
}

#[test]
fn who_opens_all_the_live_pages_they_get_leaves_room_for_everybody_else() {
    let server = start(scene::busy);
    let greedy = viewer(&server, "greedy");
    let mut open = Vec::new();
    let refused = loop {
        let (line, said) = live(&server, &greedy, &format!("/issues%3Fq%3Dx{}", open.len()));
        if !said.starts_with("HTTP/1.1 200") {
            break said;
        }
        open.push(line);
        assert!(open.len() < 1_000, "there is no end of it");
    };
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("\"share_taken\""), "{refused}");
    assert!(refused.contains("128 different pages are updated live for you"), "{refused}");
    for (token, page) in [(TOKEN, "/"), (TOKEN, "/services"), (viewer(&server, "other").as_str(), "/issues")]
    {
        let (line, said) = live(&server, token, page);
        assert!(said.starts_with("HTTP/1.1 200"), "{page}: {said}");
        open.push(line);
    }
    // What somebody else looks at already costs nothing more.
    let (shared, said) = live(&server, &greedy, "/services");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    drop((open, shared));
    let until = Instant::now() + PATIENCE;
    while !live(&server, &greedy, "/issues%3Fq%3Dagain").1.starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < until, "what was closed is not given back");
        std::thread::yield_now();
    }
}

/// A server that answers one request a second of each, and two at once.
fn once_a_second() -> Server {
    serve_with(scene::busy, Kept { rates: RequestRates::new(1, 1), ..Kept::default() })
}

/// Asks until that is refused for its number.
fn ask_too_often(server: &Server, token: Option<&str>) -> Reply {
    let until = Instant::now() + PATIENCE;
    loop {
        let reply = server.ask(token, "GET", &format!("{HEALING}/issues"), "");
        if reply.status == 429 {
            return reply;
        }
        assert!(Instant::now() < until, "nobody is refused, however often they ask");
    }
}

#[test]
fn who_asks_too_often_waits_and_nobody_else_does() {
    let server = once_a_second();
    let [greedy, other] = ["greedy", "other"].map(|name| viewer(&server, name));
    let refused = ask_too_often(&server, Some(&greedy));
    assert_problem(&refused, 429, "rate_limited");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(server.ask(Some(&other), "GET", "/issues", "").status, 200);
    assert_eq!(server.ask(None, "GET", "/issues", "").status, 200);
    // However much else is asked by the same one.
    for _ in 0..20 {
        assert_eq!(server.ask(None, "GET", "/health", "").status, 200);
    }
    let until = Instant::now() + PATIENCE;
    while server.ask(Some(&greedy), "GET", "/issues", "").status != 200 {
        assert!(Instant::now() < until, "leave does not come again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn who_shows_no_proof_or_a_wrong_one_is_counted_by_address() {
    let server = once_a_second();
    let until = Instant::now() + PATIENCE;
    while server.ask(Some("guessed-guessed-guessed"), "GET", "/issues", "").status != 429 {
        assert!(Instant::now() < until, "nobody is refused, however often they guess");
    }
    assert_problem(&ask_too_often(&server, None), 429, "rate_limited");
    let metrics = server.ask(Some(TOKEN), "GET", "/metrics", "").body;
    let line =
        metrics.lines().find(|line| line.starts_with("gateway_requests_refused_total{by=\"address\"}"));
    let refused: f64 = line.unwrap().split_whitespace().last().unwrap().parse().unwrap();
    assert!(refused >= 2.0, "{refused}");
}

#[test]
fn everything_is_stopped_however_often_who_stops_it_asked() {
    let server = once_a_second();
    ask_too_often(&server, Some(TOKEN));
    for _ in 0..4 {
        let reply = server.ask(Some(TOKEN), "POST", "/api/v3/chaos/emergency-stop", "");
        assert_ne!(reply.status, 429, "{}", reply.body);
    }
}

#[test]
fn operations_over_a_socket_count_as_requests() {
    let server = once_a_second();
    wait(async {
        let mut socket = Socket::begin(&server).await;
        for id in 0.. {
            socket.subscribe(&id.to_string(), "{ healthScore { overall } }").await;
            let Heard::Said(said) = socket.hear().await else { panic!("the socket ended") };
            if said["type"] == "error" {
                assert_eq!(said["payload"][0]["extensions"]["code"], "rate_limited", "{said}");
                break;
            }
            assert_eq!(said["type"], "next", "{said}");
            let Heard::Said(said) = socket.hear().await else { panic!("the socket ended") };
            assert_eq!(said["type"], "complete", "{said}");
        }
    });
}
