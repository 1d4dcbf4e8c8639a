//! The OTLP receivers beyond loopback: TLS and a token with every request, and loopback beside them as ever.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gateway::otlp::{
    Admission, Authorize, Denial, Denied, Exposure, OtlpConfig, OtlpError, OtlpReceivers, Protocol, Reason,
    Sink,
};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use telemetry::Refusal;
use tokio::net::TcpStream;

use crate::client::{Certificate, NAME, ask, plain, request, until_closed};
use crate::limits::{connect_from, connect_tls, run};

/// Takes everything.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<Vec<u8>>>>);

impl Sink for Taken {
    type Durable = Ready<Result<(), Refusal>>;

    fn traces(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        self.0.lock().unwrap().push(request.to_vec());
        Ok(Admission { accepted: 1, rejected: 0, reason: None, durable: ready(Ok(())) })
    }

    fn logs(&self, request: &[u8]) -> Result<Admission<Self::Durable>, Refusal> {
        self.traces(request)
    }
}

/// One token may send, another may only read.
fn authorize() -> Authorize {
    Arc::new(|headers| {
        let denied = |denial, message: &str| Err(Denied { denial, message: message.to_owned() });
        match headers.get("authorization").map(|value| value.as_bytes()) {
            Some(b"Bearer writer") => Ok(()),
            Some(b"Bearer reader") => denied(Denial::Forbidden, "the token lacks telemetry:write"),
            _ => denied(Denial::Unauthenticated, "send a token with telemetry:write"),
        }
    })
}

struct Receivers {
    certificate: Certificate,
    running: OtlpReceivers,
    taken: Taken,
}

impl Receivers {
    fn start(per_address: usize) -> Self {
        let (certificate, taken) = (Certificate::new(), Taken::default());
        let config = OtlpConfig { grpc_port: 0, http_port: 0, receivers: 1, ..OtlpConfig::default() };
        let exposure = Exposure { per_address, ..Exposure::new(certificate.open(), authorize()) };
        let running = OtlpReceivers::start_exposed(&config, || taken.clone(), None, &exposure).unwrap();
        Self { certificate, running, taken }
    }

    fn taken(&self) -> usize {
        self.taken.0.lock().unwrap().len()
    }

    /// An export over HTTP with this token.
    fn post(&self, token: Option<&str>) -> String {
        let mut stream = self.certificate.connect(self.running.http_address()).unwrap();
        ask(&mut stream, &export(token))
    }
}

fn export(token: Option<&str>) -> String {
    let bearer = format!("Bearer {}", token.unwrap_or_default());
    let mut headers = vec![("host", NAME), ("content-type", "application/x-protobuf")];
    headers.extend(token.map(|_| ("authorization", bearer.as_str())));
    request("POST", "/v1/traces", &headers, "message")
}

#[test]
fn http_is_taken_with_a_token_alone() {
    let receivers = Receivers::start(64);
    let said = receivers.post(Some("writer"));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(receivers.taken(), 1);

    for token in [None, Some("guessed")] {
        let said = receivers.post(token);
        assert!(said.starts_with("HTTP/1.1 401") && said.contains("www-authenticate: Bearer"), "{said}");
        assert!(said.contains("send a token with telemetry:write"), "{said}");
    }
    let said = receivers.post(Some("reader"));
    assert!(said.starts_with("HTTP/1.1 403") && said.contains("lacks telemetry:write"), "{said}");
    assert_eq!(receivers.taken(), 1, "nothing of it was taken");
    let counts = receivers.running.counts();
    assert_eq!(counts.refused(Protocol::Http, Reason::Unauthenticated), 2);
    assert_eq!(counts.refused(Protocol::Http, Reason::Forbidden), 1);
}

async fn call(certificate: &Certificate, to: SocketAddr, token: Option<&str>) -> String {
    let stream = connect_tls(certificate, TcpStream::connect(to).await.unwrap()).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = hyper::Request::post(format!(
        "https://{NAME}/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    ))
    .header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from_static(b"\0\0\0\0\x02ab"))).unwrap();
    let response = client.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    let status = head.headers.get("grpc-status").or_else(|| trailers.get("grpc-status"));
    status.expect("a status").to_str().unwrap().to_owned()
}

#[test]
fn grpc_is_taken_with_a_token_alone() {
    let receivers = Receivers::start(64);
    let to = receivers.running.grpc_address();
    run(async {
        assert_eq!(call(&receivers.certificate, to, Some("writer")).await, "0");
        assert_eq!(call(&receivers.certificate, to, None).await, "16");
        assert_eq!(call(&receivers.certificate, to, Some("reader")).await, "7");
    });
    assert_eq!(receivers.taken(), 1);
}

#[test]
fn programs_of_this_machine_send_as_ever() {
    let receivers = Receivers::start(64);
    let local = receivers.running.local_http_address();
    assert!(local.ip().is_loopback() && local != receivers.running.http_address());
    let said = ask(&mut plain(local), &export(None));
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert_eq!(receivers.taken(), 1);
}

#[test]
fn without_tls_nothing_is_taken() {
    let receivers = Receivers::start(64);
    let mut stream = plain(receivers.running.http_address());
    let said = ask(&mut stream, &export(Some("writer")));
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    assert_eq!(until_closed(&mut stream), "");
    assert_eq!(receivers.taken(), 0);

    let wide =
        OtlpConfig { listen: [0, 0, 0, 0].into(), grpc_port: 0, http_port: 0, ..OtlpConfig::default() };
    let Err(error) = OtlpReceivers::start(&wide, Taken::default) else { panic!("it listens") };
    assert!(matches!(error, OtlpError::Exposed { .. }), "{error}");
    assert!(error.to_string().contains("only with TLS and tokens"), "{error}");
}

#[test]
fn one_address_has_its_share_of_connections() {
    let receivers = Receivers::start(1);
    let to = receivers.running.grpc_address();
    run(async {
        let open = async |source| connect_tls(&receivers.certificate, connect_from(source, to).await).await;
        let first = open("127.0.0.2:0").await.expect("one");
        assert!(open("127.0.0.2:0").await.is_none(), "two");
        let other = open("127.0.0.3:0").await.expect("another address");
        drop((first, other));
        while open("127.0.0.2:0").await.is_none() {
            tokio::task::yield_now().await;
        }
    });
}
