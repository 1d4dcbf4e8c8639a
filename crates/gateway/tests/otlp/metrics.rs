//! Metrics: OTLP and Prometheus' remote-write, before a store of series that does what it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway::otlp::{Counts, Metrics, OtlpConfig, OtlpReceivers, Reason, Via};
use metrics::wire::Cause;
use metrics::{Admission, Appending, Batch, MetricSink, Refusal, RefusedSamples};
use promql::{Labels, Value};

use crate::http::{Answer, JSON, PROTOBUF, post};
use crate::support::{Script, gzip};

/// Keeps every batch, and answers as it is told; with all of it taken where it is told nothing.
#[derive(Default)]
struct Recorder {
    batches: Mutex<Vec<(String, Batch)>>,
    answers: Mutex<VecDeque<Result<Admission, Refusal>>>,
}

impl MetricSink for Recorder {
    fn append(&self, source: &str, batch: Batch) -> Appending {
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Admission::default()));
        if answer.is_ok() {
            self.batches.lock().unwrap().push((source.to_owned(), batch));
        }
        Box::pin(std::future::ready(answer))
    }
}

impl Recorder {
    fn then(&self, answer: Result<Admission, Refusal>) {
        self.answers.lock().unwrap().push_back(answer);
    }

    fn take(&self) -> Vec<(String, Batch)> {
        std::mem::take(&mut *self.batches.lock().unwrap())
    }

    /// The one batch there is: source, labels and value of its one sample.
    fn one(&self) -> (String, Labels, f64) {
        let [(source, batch)] = <[_; 1]>::try_from(self.take()).expect("one batch");
        let [(labels, samples)] = <[_; 1]>::try_from(batch.series).expect("one series");
        match samples[0].value {
            Value::Float(value) => (source, labels, value),
            Value::Histogram(_) => panic!("a float was sent"),
        }
    }
}

struct Receiving {
    receivers: OtlpReceivers,
    recorder: Arc<Recorder>,
}

impl Receiving {
    fn start() -> Self {
        let recorder = Arc::new(Recorder::default());
        let config = OtlpConfig { grpc_port: 0, http_port: 0, receivers: 2, ..OtlpConfig::default() };
        let sink: Arc<dyn MetricSink> = Arc::clone(&recorder) as _;
        let metrics = Metrics { sink, limits: Default::default(), otlp: Default::default() };
        let receivers = OtlpReceivers::start_with_metrics(&config, Script::default, metrics).unwrap();
        Self { receivers, recorder }
    }

    fn to(&self) -> SocketAddr {
        self.receivers.http_address()
    }

    fn counts(&self) -> Arc<Counts> {
        self.receivers.counts()
    }

    fn write(&self, kind: &str, message: &[u8]) -> Answer {
        let body = snap::raw::Encoder::new().compress_vec(message).unwrap();
        let headers = [("content-type", kind), ("content-encoding", "snappy")];
        post(self.to(), "/api/v1/write", &headers, &body)
    }
}

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// `up{job="a"} 1`, at 7 ms, in either version.
const UP_V1: &[u8] =
    b"\x0a\x27\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01a\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x07";
const UP_V2: &[u8] =
    b"\x22\0\x22\x08__name__\x22\x02up\x22\x03job\x22\x01a\x2a\x13\x0a\x04\x01\x02\x03\x04\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x07";
/// `{job="a"} 1`, which has no name.
const NAMELESS: &[u8] = b"\x0a\x17\x0a\x08\x0a\x03job\x12\x01a\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x07";

fn written(answer: &Answer) -> [&str; 3] {
    ["samples", "histograms", "exemplars"]
        .map(|kind| answer.header(&format!("x-prometheus-remote-write-{kind}-written")))
}

#[test]
fn remote_write_of_both_versions_reaches_the_store() {
    let receiving = Receiving::start();
    for (kind, message) in [(V1, UP_V1), (V2, UP_V2)] {
        let answer = receiving.write(kind, message);
        assert_eq!((answer.status, answer.body.len(), written(&answer)), (204, 0, ["1", "0", "0"]), "{kind}");
        let up = Labels::new([("__name__", "up"), ("job", "a")]);
        assert_eq!(receiving.recorder.one(), ("remote_write".to_owned(), up, 1.0));
    }
    let empty = receiving.write(V2, b"");
    assert_eq!((empty.status, written(&empty)), (204, ["0", "0", "0"]));
    assert!(receiving.recorder.take().is_empty(), "nothing is handed on where there is nothing");
}

#[test]
fn what_is_wrong_in_a_part_is_told_and_the_rest_is_written() {
    let receiving = Receiving::start();
    let answer = receiving.write(V1, &[NAMELESS, UP_V1].concat());
    assert_eq!((answer.status, written(&answer)), (400, ["1", "0", "0"]));
    let told = String::from_utf8(answer.body).unwrap();
    assert_eq!(told, "1 samples left out: series 0 {job=\"a\"} has no __name__");
    assert_eq!(receiving.recorder.one().2, 1.0);
    let answer = receiving.write(V1, NAMELESS);
    assert_eq!((answer.status, written(&answer)), (400, ["0", "0", "0"]));
    assert_eq!(receiving.counts().left_out(Via::RemoteWrite, Cause::NoName), 2);
}

#[test]
fn what_the_store_does_not_take_is_told_too() {
    let receiving = Receiving::start();
    let refused = RefusedSamples { too_old: 1, ..RefusedSamples::default() };
    receiving.recorder.then(Ok(Admission {
        refused,
        reason: Some("it is too old".to_owned()),
        ..Admission::default()
    }));
    let answer = receiving.write(V2, UP_V2);
    assert_eq!((answer.status, written(&answer)), (400, ["0", "0", "0"]));
    let told = String::from_utf8(answer.body).unwrap();
    assert_eq!(told, "1 samples, 0 histograms and 0 exemplars were not stored: it is too old");
}

#[test]
fn a_store_that_takes_nothing_says_when_to_try_again() {
    let receiving = Receiving::start();
    let retry_after = Duration::from_millis(1_500);
    let message = "no space left".to_owned();
    for (refusal, status, retry, says) in [
        (Refusal::Overloaded { retry_after }, 429, "2", "1500 ms"),
        (Refusal::Disk { message, retry_after }, 503, "2", "no space left"),
        (Refusal::Closing, 503, "1", "shutting down"),
        (Refusal::TooManySources { limit: 1 }, 403, "", "1 sources"),
    ] {
        receiving.recorder.then(Err(refusal.clone()));
        let answer = receiving.write(V2, UP_V2);
        assert_eq!((answer.status, answer.header("retry-after")), (status, retry), "{refusal:?}");
        assert_eq!(written(&answer), ["0", "0", "0"]);
        assert!(String::from_utf8(answer.body).unwrap().contains(says), "{refusal:?}");
        receiving.recorder.then(Err(refusal.clone()));
        let answer = post(receiving.to(), "/v1/metrics", &[JSON], GAUGE);
        assert_eq!((answer.status, answer.header("retry-after")), (status, retry), "{refusal:?} to OTLP");
    }
    assert_eq!(receiving.counts().remote_write_refused(Reason::Overloaded), 1);
}

#[test]
fn what_is_no_remote_write_is_refused_with_the_status_the_specification_has_for_it() {
    let receiving = Receiving::start();
    let to = receiving.to();
    let body = snap::raw::Encoder::new().compress_vec(UP_V1).unwrap();
    let status = |headers: &[_], body: &[u8]| post(to, "/api/v1/write", headers, body).status;
    let snappy = ("content-encoding", "snappy");
    for kind in ["application/json", "image/png", "application/x-protobuf;proto=other"] {
        assert_eq!(status(&[("content-type", kind), snappy], &body), 415, "{kind}");
    }
    for encoding in ["gzip", "deflate"] {
        assert_eq!(status(&[PROTOBUF, ("content-encoding", encoding)], &body), 415, "{encoding}");
    }
    let mut corrupt = body.clone();
    corrupt[0] = b'0';
    assert_eq!(status(&[PROTOBUF, snappy], &corrupt), 400);
    assert_eq!(status(&[PROTOBUF, snappy, ("origin", "http://example.org")], &body), 403);
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 17 << 20]).unwrap();
    assert_eq!(status(&[PROTOBUF, snappy], &bomb), 413);
    assert_eq!(status(&[], &body), 204, "senders older than the headers send none");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.get(format!("http://{to}/api/v1/write")).call().unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    assert_eq!(receiving.counts().remote_write_refused(Reason::MediaType), 3);
}

const GAUGE: &[u8] = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"cart"}}]},
    "scopeMetrics":[{"metrics":[{"name":"queue.length","gauge":{"dataPoints":[{"timeUnixNano":"7000000","asInt":"3"}]}}]}]}]}"#;

#[test]
fn otlp_metrics_reach_the_store_as_series() {
    let receiving = Receiving::start();
    for path in ["/v1/metrics", "/api/v1/otlp/v1/metrics"] {
        for (headers, body) in
            [(vec![JSON], GAUGE.to_vec()), (vec![JSON, ("content-encoding", "gzip")], gzip(GAUGE))]
        {
            let answer = post(receiving.to(), path, &headers, &body);
            assert_eq!((answer.status, answer.body), (200, b"{}".to_vec()), "{path}");
            let expected = Labels::new([("__name__", "queue_length"), ("job", "cart")]);
            assert_eq!(receiving.recorder.one(), ("otlp".to_owned(), expected, 3.0));
        }
    }
}

#[test]
fn data_points_that_are_not_taken_are_told_as_partial_success() {
    let receiving = Receiving::start();
    let delta = br#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"requests",
        "sum":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"7000000","asInt":"3"},{}]}}]}]}]}"#;
    let answer = post(receiving.to(), "/v1/metrics", &[JSON], delta);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &body["partialSuccess"]["rejectedDataPoints"]), (200, &"2".into()));
    assert!(body["partialSuccess"]["errorMessage"].as_str().unwrap().contains("delta temporality"), "{body}");
    assert!(receiving.recorder.take().is_empty());
    assert_eq!(receiving.counts().left_out(Via::Otlp, Cause::Delta), 2);
    let refused = RefusedSamples { too_old: 1, ..RefusedSamples::default() };
    receiving.recorder.then(Ok(Admission {
        refused,
        reason: Some("it is too old".to_owned()),
        ..Admission::default()
    }));
    let answer = post(receiving.to(), "/v1/metrics", &[JSON], GAUGE);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let partial = serde_json::json!({ "rejectedDataPoints": "1", "errorMessage": "it is too old" });
    assert_eq!(body, serde_json::json!({ "partialSuccess": partial }));
}

#[test]
fn a_request_that_is_none_is_refused_with_its_place() {
    let receiving = Receiving::start();
    let answer = post(receiving.to(), "/v1/metrics", &[PROTOBUF], b"\x0a\x09\x0a");
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("malformed at byte 1"), "{:?}", answer.body);
}
