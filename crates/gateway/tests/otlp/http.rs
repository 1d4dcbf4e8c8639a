//! OTLP over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use gateway::otlp::{Limits, Protocol, Reason};
use telemetry::Refusal;

use crate::support::{Act, METRICS, RETRY_250_MS, gzip, noise, start, until, zstd};

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) fn post(to: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.post(format!("http://{to}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.send(body).unwrap();
    let body = response.body_mut().read_to_vec().unwrap();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[test]
fn a_body_reaches_the_store_as_it_was_however_it_was_packed() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.http_address();
    for message in [Vec::new(), b"\x0a\x00".to_vec(), noise(3 << 20)] {
        let packed = [("identity", message.clone()), ("gzip", gzip(&message)), ("zstd", zstd(&message))];
        for (encoding, body) in packed {
            let answer = post(to, "/v1/traces", &[PROTOBUF, ("content-encoding", encoding)], &body);
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{encoding}");
            assert_eq!(answer.header("content-type"), "application/x-protobuf");
            assert_eq!(script.last(), ("traces", message.clone()), "{encoding}");
        }
    }
    assert_eq!(post(to, "/v1/logs", &[PROTOBUF], b"\x0a\x00").status, 200);
    assert_eq!(script.last(), ("logs", b"\x0a\x00".to_vec()));
}

#[test]
fn json_reaches_the_store_as_protobuf_and_is_answered_in_json() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.http_address();
    let answer = post(to, "/v1/traces", &[JSON], br#"{"resourceSpans":[{"schemaUrl":"a"}]}"#);
    assert_eq!((answer.status, answer.body), (200, b"{}".to_vec()));
    assert_eq!(script.last(), ("traces", b"\x0a\x03\x1a\x01a".to_vec()));
    script.then(Act::TakePart { rejected: 3, reason: "too old" });
    let answer = post(to, "/v1/logs", &[JSON, ("content-encoding", "gzip")], &gzip(b"{}"));
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let partial = serde_json::json!({ "rejectedLogRecords": "3", "errorMessage": "too old" });
    assert_eq!(body, serde_json::json!({ "partialSuccess": partial }));
    let answer = post(to, "/v1/traces", &[JSON], br#"{"resourceSpans":7}"#);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["code"]), (400, &serde_json::json!(3)));
    assert!(body["message"].as_str().unwrap().contains("line 1 column"), "{body}");
}

#[test]
fn items_refused_within_a_request_are_told_as_partial_success() {
    let (receivers, script) = start(Limits::default());
    script.then(Act::TakePart { rejected: 300, reason: "x" });
    let answer = post(receivers.http_address(), "/v1/traces", &[PROTOBUF], b"");
    assert_eq!((answer.status, answer.body), (200, b"\x0a\x06\x08\xac\x02\x12\x01x".to_vec()));
}

#[test]
fn metrics_are_answered_with_every_data_point_rejected() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.http_address();
    let answer = post(to, "/v1/metrics", &[PROTOBUF], METRICS);
    assert_eq!(answer.status, 200);
    assert!(answer.body[2..].starts_with(b"\x08\x02\x12"), "{:?}", answer.body);
    let json = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"dataPoints":[{},{},{}]}}]}]}]}"#;
    let answer = post(to, "/v1/metrics", &[JSON], json);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["partialSuccess"]["rejectedDataPoints"], "3");
    assert!(body["partialSuccess"]["errorMessage"].as_str().unwrap().contains("not stored here"));
    assert!(script.taken.lock().unwrap().is_empty());
}

#[test]
fn back_pressure_says_when_to_try_again() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.http_address();
    let retry_after = Duration::from_millis(250);
    script.then(Act::Refuse(Refusal::Overloaded { retry_after }));
    let answer = post(to, "/v1/traces", &[PROTOBUF], b"");
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    assert!(answer.body.starts_with(b"\x08\x08") && answer.body.ends_with(RETRY_250_MS), "{:?}", answer.body);
    script.then(Act::Refuse(Refusal::Backlog { waiting_bytes: 7 << 20, retry_after }));
    let answer = post(to, "/v1/traces", &[PROTOBUF], b"");
    assert_eq!((answer.status, answer.header("retry-after")), (429, "1"));
    assert!(answer.body.starts_with(b"\x08\x08") && answer.body.ends_with(RETRY_250_MS), "{:?}", answer.body);
    assert!(String::from_utf8_lossy(&answer.body).contains("compaction is behind: 7 MiB"));
    script.then(Act::Refuse(Refusal::Disk { message: "no space left".to_owned(), retry_after }));
    let answer = post(to, "/v1/traces", &[JSON], b"{}");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    assert!(String::from_utf8(answer.body).unwrap().contains("no space left"));
    script.then(Act::Refuse(Refusal::Closing));
    assert_eq!(post(to, "/v1/logs", &[PROTOBUF], b"").status, 503);
    script.then(Act::Refuse(Refusal::Malformed { offset: 1, what: "a number does not end" }));
    let answer = post(to, "/v1/traces", &[PROTOBUF], b"\x0a");
    assert_eq!((answer.status, answer.header("retry-after")), (400, ""));
    let counts = receivers.counts();
    for reason in [Reason::Overloaded, Reason::Backlog, Reason::Disk, Reason::Closing, Reason::Malformed] {
        assert_eq!(counts.refused(Protocol::Http, reason), 1, "{reason:?}");
        assert_eq!(counts.refused(Protocol::Grpc, reason), 0, "{reason:?}");
    }
}

#[test]
fn what_is_no_otlp_is_refused_with_the_status_http_has_for_it() {
    let limits = Limits { compressed_bytes: 1000, message_bytes: 2000, ..Limits::default() };
    let (receivers, script) = start(limits);
    let to = receivers.http_address();
    let status = |path, headers: &[_], body: &[u8]| post(to, path, headers, body).status;
    assert_eq!(status("/v1/trace", &[PROTOBUF], b""), 404);
    assert_eq!(status("/v1/traces", &[("content-type", "text/plain")], b""), 415);
    assert_eq!(status("/v1/traces", &[PROTOBUF, ("content-encoding", "br")], b""), 415);
    assert_eq!(status("/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], b"no gzip"), 400);
    assert_eq!(status("/v1/traces", &[PROTOBUF, ("origin", "http://example.org")], b""), 403);
    assert_eq!(status("/v1/traces", &[PROTOBUF], &noise(2001)), 413);
    let bomb = gzip(&vec![0; 100_000]);
    assert!(bomb.len() < 1000);
    assert_eq!(status("/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], &bomb), 413);
    assert_eq!(status("/v1/traces", &[PROTOBUF, ("content-encoding", "zstd")], &noise(1001)), 413);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.get(format!("http://{to}/v1/traces")).call().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert!(script.taken.lock().unwrap().is_empty());
    assert_eq!(receivers.counts().refused(Protocol::Http, Reason::TooLarge), 3);
}

#[test]
fn an_answer_waits_for_the_disk_and_shutdown_waits_for_the_answer() {
    let (receivers, script) = start(Limits::default());
    let to = receivers.http_address();
    let (disk, gate) = tokio::sync::oneshot::channel();
    script.then(Act::Wait(gate));
    let (sender, answers) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| sender.send(post(to, "/v1/traces", &[PROTOBUF], b"\x0a\x00").status));
        until("taking the request", || script.taken.lock().unwrap().pop());
        let closing = scope.spawn(|| receivers.shutdown());
        until("closing the port", || TcpStream::connect(to).is_err().then_some(()));
        assert!(answers.try_recv().is_err(), "answered before the disk had it");
        disk.send(Ok(())).unwrap();
        assert_eq!(answers.recv_timeout(crate::support::DEADLINE), Ok(200));
        closing.join().unwrap();
    });
}

#[test]
fn a_disk_that_fails_after_all_is_told() {
    let (receivers, script) = start(Limits::default());
    let (disk, gate) = tokio::sync::oneshot::channel();
    script.then(Act::Wait(gate));
    let retry_after = Duration::from_secs(2);
    disk.send(Err(Refusal::Disk { message: "full".to_owned(), retry_after })).unwrap();
    let answer = post(receivers.http_address(), "/v1/traces", &[PROTOBUF], b"\x0a\x00");
    assert_eq!((answer.status, answer.header("retry-after")), (503, "2"));
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for_and_holds_no_room() {
    let limits = Limits {
        // All six are there by then, on a machine that stands still meanwhile.
        body_time: Duration::from_secs(3),
        bytes_in_flight: 100_000,
        message_bytes: 80_000,
        ..Limits::default()
    };
    let (receivers, _script) = start(limits);
    let to = receivers.http_address();
    let unfinished = || {
        let mut stream = TcpStream::connect(to).unwrap();
        let head = "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 70000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&noise(60_000)).unwrap();
        stream
    };
    let mut streams: Vec<_> = (0..6).map(|_| unfinished()).collect();
    let mut statuses: Vec<_> = streams
        .iter_mut()
        .map(|stream| {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("none").to_owned()
        })
        .collect();
    statuses.sort();
    // Two receivers with room for one of them each; the others are told to wait.
    assert_eq!(statuses, ["408", "408", "429", "429", "429", "429"]);
    assert_eq!(post(to, "/v1/traces", &[PROTOBUF], &noise(60_000)).status, 200, "the room is free again");
}
