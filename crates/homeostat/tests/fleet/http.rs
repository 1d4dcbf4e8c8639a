//! Requests, answers, and messages as they are on the wire.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

/// A card number that passes for one.
pub(crate) const CARD: &str = "4242424242424242";

/// An answer; status 0 where there was none.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) degraded: Option<String>,
    pub(crate) order: Option<String>,
    pub(crate) body: String,
}

impl Seen {
    #[track_caller]
    pub(crate) fn acknowledged(self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.order.expect("no order was acknowledged")
    }
}

pub(crate) fn checkout(front: u16) -> Seen {
    post(front, "/checkout", &format!("cart=c1&items=7x1,3x2&card={CARD}"))
}

pub(crate) fn get(port: u16, path: &str) -> Seen {
    seen(agent().get(format!("http://127.0.0.1:{port}{path}")).call())
}

pub(crate) fn post(port: u16, path: &str, body: &str) -> Seen {
    seen(agent().post(format!("http://127.0.0.1:{port}{path}")).send(body))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build();
    config.into()
}

fn seen(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Seen {
    let Ok(mut response) = answer else {
        return Seen { status: 0, degraded: None, order: None, body: String::new() };
    };
    let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    Seen {
        status: response.status().as_u16(),
        degraded: header("x-shop-degraded"),
        order: header("x-shop-order"),
        body: response.body_mut().read_to_string().unwrap_or_default(),
    }
}

/// One HTTP message with a content length, whole; `None` at the end of the connection.
pub(crate) fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(head) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&message[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
                .unwrap_or(0);
            if message.len() >= head + 4 + length {
                return Some(message);
            }
        }
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return None,
            Ok(count) => message.extend_from_slice(&part[..count]),
        }
    }
}
