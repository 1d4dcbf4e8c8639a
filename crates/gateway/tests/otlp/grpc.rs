//! OTLP over gRPC, spoken by hyper's HTTP/2 client.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use gateway::otlp::{Limits, Protocol, Reason};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use telemetry::Refusal;

use crate::support::{Act, METRICS, RETRY_250_MS, gzip, noise, start, zstd};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS_PATH: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

struct Answer {
    http_status: u16,
    /// Of the head and the trailers.
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> &str {
        self.headers.get("grpc-status").map_or("", |value| value.to_str().unwrap())
    }

    fn message(&self) -> &str {
        self.headers["grpc-message"].to_str().unwrap()
    }
}

fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[compressed], &length[..], message].concat()
}

fn call(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), io)
                .await
                .unwrap();
        tokio::spawn(connection);
        let mut request = Request::post(format!("http://{to}{path}")).header("te", "trailers");
        if headers.iter().all(|(name, _)| *name != "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let http_status = response.status().as_u16();
        let mut headers = response.headers().clone();
        let body = response.into_body().collect().await.unwrap();
        headers.extend(body.trailers().cloned().unwrap_or_default());
        Answer { http_status, headers, body: body.to_bytes().to_vec() }
    })
}

#[test]
fn a_message_reaches_the_store_as_it_was_however_it_was_packed() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.grpc_address();
    for message in [Vec::new(), b"\x0a\x00".to_vec(), noise(3 << 20)] {
        let packed = [
            ("identity", frame(0, &message)),
            ("gzip", frame(1, &gzip(&message))),
            ("zstd", frame(1, &zstd(&message))),
            ("gzip", frame(0, &message)),
        ];
        for (encoding, body) in packed {
            let answer = call(to, TRACES, &[("grpc-encoding", encoding)], body);
            assert_eq!((answer.status(), &answer.body[..]), ("0", &b"\0\0\0\0\0"[..]), "{encoding}");
            assert_eq!(answer.headers["content-type"], "application/grpc");
            assert_eq!(script.last(), ("traces", message.clone()), "{encoding}");
        }
    }
    assert_eq!(
        call(to, LOGS, &[("content-type", "application/grpc+proto")], frame(0, b"\x0a\x00")).status(),
        "0"
    );
    assert_eq!(script.last(), ("logs", b"\x0a\x00".to_vec()));
}

#[test]
fn partial_success_is_a_message_and_metrics_are_rejected_by_count() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.grpc_address();
    script.then(Act::TakePart { rejected: 300, reason: "x" });
    let answer = call(to, TRACES, &[], frame(0, b""));
    assert_eq!((answer.status(), &answer.body), ("0", &frame(0, b"\x0a\x06\x08\xac\x02\x12\x01x")));
    let answer = call(to, METRICS_PATH, &[], frame(0, METRICS));
    assert_eq!(answer.status(), "0");
    assert!(answer.body[7..].starts_with(b"\x08\x02\x12"), "{:?}", answer.body);
}

#[test]
fn back_pressure_comes_with_retry_information() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.grpc_address();
    let retry_after = Duration::from_millis(250);
    let disk = Refusal::Disk { message: "no space left: 100 %".to_owned(), retry_after };
    let backlog = Refusal::Backlog { waiting_bytes: 7 << 20, retry_after };
    for (refusal, status) in [(Refusal::Overloaded { retry_after }, "8"), (backlog, "8"), (disk, "14")] {
        script.then(Act::Refuse(refusal));
        let answer = call(to, TRACES, &[], frame(0, b""));
        assert_eq!(answer.status(), status);
        let details = answer.headers["grpc-status-details-bin"].to_str().unwrap();
        let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
        assert_eq!(details[..2], [8, status.parse::<u8>().unwrap()]);
        assert!(details.ends_with(RETRY_250_MS), "{details:?}");
    }
    assert_eq!(receivers.counts().refused(Protocol::Grpc, Reason::Overloaded), 1);
    assert_eq!(receivers.counts().refused(Protocol::Grpc, Reason::Backlog), 1);
    assert_eq!(receivers.counts().refused(Protocol::Grpc, Reason::Disk), 1);
}

#[test]
fn what_is_no_otlp_is_refused_with_the_code_grpc_has_for_it() {
    let limits = Limits { compressed_bytes: 1000, message_bytes: 2000, ..Limits::default() };
    let (receivers, script) = start(limits);
    let to = receivers.grpc_address();
    let status = |path, headers: &[_], body| call(to, path, headers, body).status().to_owned();
    assert_eq!(
        status("/opentelemetry.proto.collector.trace.v1.TraceService/Import", &[], frame(0, b"")),
        "12"
    );
    assert_eq!(status(TRACES, &[("grpc-encoding", "snappy")], frame(1, b"")), "12");
    assert_eq!(status(TRACES, &[], b"\0\0".to_vec()), "3");
    assert_eq!(status(TRACES, &[("grpc-encoding", "gzip")], frame(1, b"no gzip")), "3");
    assert_eq!(status(TRACES, &[], frame(0, &noise(2001))), "8");
    assert_eq!(status(TRACES, &[("grpc-encoding", "zstd")], frame(1, &zstd(&vec![0; 100_000]))), "8");
    let answer = call(to, TRACES, &[("grpc-encoding", "snappy")], frame(1, b""));
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip,zstd");
    assert_eq!(answer.message(), "grpc-encoding \"snappy\" is not known here; send gzip, zstd or identity");
    assert_eq!(call(to, TRACES, &[("content-type", "application/json")], frame(0, b"")).http_status, 415);
    assert!(script.taken.lock().unwrap().is_empty());
}
