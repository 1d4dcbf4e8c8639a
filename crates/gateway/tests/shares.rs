//! What is there for everybody is taken by nobody alone: live pages, and requests.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use support::scene;
use support::server::{Server, TOKEN, start};

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

fn viewer(server: &Server, name: &str) -> String {
    let made = server.post("/api/v3/access/tokens", json!({"name": name, "roles": ["viewer"]}));
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()["token"].as_str().unwrap().to_owned()
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
