//! Clients that are too slow, too many or too large are shown out; others are served meanwhile.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use gateway::ConnectionLimits;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Certificate, DEADLINE, NAME, answer, ask, plain, request, start, until_closed};
use crate::host;
use crate::support::server::TOKEN;

/// So short that a test sees its end. Only what is not to come in time is limited to it: the rest has to come in time on a
/// machine that stands still for a second, too.
const SHORT: Duration = Duration::from_millis(200);

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let certificate = Certificate::new();
    let limits = ConnectionLimits { handshake_time: SHORT, ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    assert_eq!(until_closed(&mut plain(server.address())), "", "nothing at all");
    let mut stalled = plain(server.address());
    // The beginning of a record that never ends.
    stalled.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(until_closed(&mut stalled), "");
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let certificate = Certificate::new();
    let limits = ConnectionLimits { head_time: SHORT, ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    let mut stream = certificate.connect(server.address()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: ").unwrap();
    let said = until_closed(&mut stream);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
}

#[test]
fn a_body_that_drips_is_given_up() {
    let certificate = Certificate::new();
    let limits = ConnectionLimits { body_time: SHORT, ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    let mut stream = certificate.connect(server.address()).unwrap();
    let host = host(server.address());
    let head = format!(
        "POST /api/v3/self-healing/toggle-auto-remediation HTTP/1.1\r\nhost: {host}\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let said = answer(&mut stream);
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("body_too_slow"), "{said}");
    assert_eq!(until_closed(&mut stream), "", "what would be left of the body is no request");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let certificate = Certificate::new();
    let server = start(certificate.open(), ConnectionLimits::exposed());
    let mut stream = certificate.connect(server.address()).unwrap();
    let large = "x".repeat(40 << 10);
    let host = host(server.address());
    let said = ask(&mut stream, &request("GET", "/health", &[("host", &host), ("x-large", &large)], ""));
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
}

pub(crate) async fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(source.parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

pub(crate) async fn connect_tls(
    certificate: &Certificate,
    stream: TcpStream,
) -> Option<tokio_rustls::client::TlsStream<TcpStream>> {
    let connector = tokio_rustls::TlsConnector::from(certificate.client(&["h2"]));
    connector.connect(ServerName::try_from(NAME).unwrap(), stream).await.ok()
}

pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await }).expect("in time")
}

#[test]
fn one_address_has_its_share_of_connections_and_no_more() {
    let certificate = Certificate::new();
    let limits = ConnectionLimits { per_address: 2, head_time: DEADLINE, ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    let to = server.address();
    run(async {
        let open = async |source| connect_tls(&certificate, connect_from(source, to).await).await;
        let first = open("127.0.0.2:0").await.expect("one");
        let _second = open("127.0.0.2:0").await.expect("two");
        assert!(open("127.0.0.2:0").await.is_none(), "three");
        assert!(open("127.0.0.3:0").await.is_some(), "another address");
        drop(first);
        while open("127.0.0.2:0").await.is_none() {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn http_2_is_served_within_limits() {
    let certificate = Certificate::new();
    let limits = ConnectionLimits { idle_time: Duration::from_secs(3), ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    let to = server.address();
    run(async {
        let stream = connect_tls(&certificate, TcpStream::connect(to).await.unwrap()).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let ended = tokio::spawn(connection);
        let url = |host: &str| format!("https://{host}:{}/health", to.port());
        let ask = |url: String| {
            hyper::Request::get(url).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
        };
        let said = client.send_request(ask(url(NAME))).await.unwrap();
        assert_eq!(said.status(), 200);
        assert!(said.headers().contains_key("strict-transport-security"));
        drop(said);
        let said = client.send_request(ask(url("evil.example"))).await.unwrap();
        assert_eq!(said.status(), 421);
        drop(said);
        let mut large = ask(url(NAME));
        large.headers_mut().insert("x-large", "x".repeat(40 << 10).parse().unwrap());
        let said = client.send_request(large).await;
        assert!(said.is_err() || said.is_ok_and(|said| said.status() == 431));
        // The client stays; the server says goodbye.
        let _ = ended.await;
        drop(client);
    });
}

/// `ENHANCE_YOUR_CALM` of HTTP/2.
const ENHANCE_YOUR_CALM: u32 = 0xb;

/// The error code of the `GOAWAY` among frames of HTTP/2.
fn goodbye(mut frames: &[u8]) -> Option<u32> {
    while let Some((head, rest)) = frames.split_first_chunk::<9>() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..length)?;
        if head[3] == 7 {
            return payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
        }
        frames = &rest[length..];
    }
    None
}

#[test]
fn a_client_that_resets_its_streams_as_fast_as_it_can_is_shown_out() {
    let certificate = Certificate::new();
    // What ends it is not that it is idle.
    let patient = Duration::from_secs(3600);
    let limits = ConnectionLimits { head_time: patient, idle_time: patient, ..ConnectionLimits::exposed() };
    let server = start(certificate.open(), limits);
    let to = server.address();
    let mut stream = certificate.connect_with(to, &["h2"]).unwrap();
    let frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    // `:method: GET`, `:scheme: https`, `:path: /` of HPACK's static table; then RST_STREAM with CANCEL.
    for id in (1..2000).step_by(2) {
        bytes.extend(frame(1, 0x5, id, &[0x82, 0x87, 0x84]));
        bytes.extend(frame(3, 0, id, &8u32.to_be_bytes()));
    }
    // The server may close before all is written.
    let _ = stream.write_all(&bytes);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(goodbye(&said), Some(ENHANCE_YOUR_CALM));
    let host = host(to);
    let said = ask(&mut certificate.connect(to).unwrap(), &request("GET", "/health", &[("host", &host)], ""));
    assert!(said.starts_with("HTTP/1.1 200"), "others are served: {said}");
}
