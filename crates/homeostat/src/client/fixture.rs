//! A server that says what a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use serde_json::Value;

use super::Client;

/// The status of an answer, its body, and where its next page is.
pub(crate) type Said = (u16, Value, Option<String>);

/// Answers each request with what `answer` makes of its first line, and tells those lines when all were answered.
pub(crate) fn server(
    requests: usize,
    answer: impl Fn(&str) -> Said + Send + 'static,
) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let serve = |stream: TcpStream| {
            let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
            let asked = lines.next().unwrap();
            lines.find(String::is_empty);
            let (status, body, next) = answer(&asked);
            let body = body.to_string();
            let next = next.map_or(String::new(), |path| format!("\r\nlink: <{path}>; rel=\"next\""));
            let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close", body.len());
            write!(&stream, "{head}{next}\r\n\r\n{body}").unwrap();
            asked
        };
        listener.incoming().take(requests).map(|stream| serve(stream.unwrap())).collect()
    });
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    (Client::at(address, String::new(), agent), serving)
}
