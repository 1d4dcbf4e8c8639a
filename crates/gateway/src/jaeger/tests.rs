//! Answers against Jaeger's own fixtures and snapshots, rebuilt; and any query that may come.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use telemetry::{
    Config, Dropped, Event, Link, Resource, Scope, Span, SpanId, SpanKind, StatusCode, Telemetry, Trace,
    TraceId, Value,
};

use super::answer::{Missing, TracesAnswer};
use super::otlp::OtlpAnswer;
use super::{Traces, query};
use crate::body::Query;
use crate::pieces::{More, Pieces};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The span of Jaeger's own fixture `otlp2jaeger-in.json`.
fn okey_dokey() -> Span {
    Span {
        trace_id: "83a9efd15c1c98a977e0711cc93ee28b".parse().unwrap(),
        span_id: "e127af99e3b3e074".parse().unwrap(),
        parent: Some("909541b92cf05311".parse().unwrap()),
        trace_state: String::new(),
        flags: 0,
        name: "okey-dokey-0".to_owned(),
        kind: SpanKind::Server,
        start_unix_nano: 1_706_678_909_209_712_000,
        duration_nano: 123_000,
        status: StatusCode::Unset,
        status_message: String::new(),
        resource: Arc::new(Resource {
            service: "telemetrygen".to_owned(),
            attributes: vec![("service.name".to_owned(), text("telemetrygen"))],
        }),
        scope: Arc::new(Scope { name: "telemetrygen".to_owned(), version: String::new() }),
        attributes: vec![
            ("net.peer.ip".to_owned(), text("1.2.3.4")),
            ("peer.service".to_owned(), text("telemetrygen-client")),
        ],
        events: Vec::new(),
        links: Vec::new(),
        dropped: Dropped::default(),
    }
}

fn written(mut pieces: impl Pieces) -> Json {
    let mut out = Vec::new();
    while pieces.write(&mut out).expect("nothing breaks off") == More::Yes {}
    serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

fn store() -> (tempfile::TempDir, Telemetry) {
    let dir = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::open(Config::new(dir.path())).unwrap();
    (dir, telemetry)
}

fn answered(spans: Vec<Span>) -> Json {
    let (_dir, telemetry) = store();
    let traces = Traces { ready: Trace::assemble(spans), ..Traces::of(&telemetry, []) };
    written(TracesAnswer::new(traces, Missing::Gone))
}

#[test]
fn a_span_has_the_shape_of_jaegers_own_fixture() {
    // Fixture `otlp2jaeger-out.json`; Jaeger converts it without looking for the parent, which a query does.
    let tag = |key: &str, value: &str| json!({"key": key, "type": "string", "value": value});
    let golden = json!({
        "data": [{
            "traceID": "83a9efd15c1c98a977e0711cc93ee28b",
            "spans": [{
                "traceID": "83a9efd15c1c98a977e0711cc93ee28b",
                "spanID": "e127af99e3b3e074",
                "operationName": "okey-dokey-0",
                "references": [{
                    "refType": "CHILD_OF",
                    "traceID": "83a9efd15c1c98a977e0711cc93ee28b",
                    "spanID": "909541b92cf05311",
                }],
                "startTime": 1_706_678_909_209_712_u64,
                "duration": 123,
                "tags": [
                    tag("otel.scope.name", "telemetrygen"),
                    tag("net.peer.ip", "1.2.3.4"),
                    tag("peer.service", "telemetrygen-client"),
                    tag("span.kind", "server"),
                ],
                "logs": [],
                "processID": "p1",
                "warnings": ["the parent of this span is not in the trace"],
            }],
            "processes": {"p1": {"serviceName": "telemetrygen", "tags": []}},
            "warnings": null,
        }],
        "total": 0,
        "limit": 0,
        "offset": 0,
        "errors": null,
    });
    assert_eq!(answered(vec![okey_dokey()]), golden);
}

#[test]
fn status_events_links_and_types_become_tags_logs_and_references() {
    let link = |child_of: bool| Link {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        trace_state: String::new(),
        flags: 0,
        attributes: child_of
            .then(|| ("opentracing.ref_type".to_owned(), text("child_of")))
            .into_iter()
            .collect(),
        dropped_attributes: 0,
    };
    let attributes = vec![
        ("small".to_owned(), Value::Int(7)),
        ("large".to_owned(), Value::Int(i64::MIN)),
        ("half".to_owned(), Value::Double(0.5)),
        ("none".to_owned(), Value::Double(f64::NAN)),
        ("yes".to_owned(), Value::Bool(true)),
        ("raw".to_owned(), Value::Bytes(vec![0xff, 0])),
        ("list".to_owned(), Value::List(vec![Value::Int(1), text("b")])),
    ];
    let event = Event {
        time_unix_nano: 5_000_999,
        name: "retried".to_owned(),
        attributes: vec![("after".to_owned(), text("1s"))],
        dropped_attributes: 0,
    };
    let span = Span {
        parent: None,
        status: StatusCode::Error,
        status_message: "card refused".to_owned(),
        trace_state: "ot=th:8".to_owned(),
        attributes,
        events: vec![event],
        links: vec![link(false), link(true)],
        dropped: Dropped { events: 3, ..Dropped::default() },
        ..okey_dokey()
    };
    let span = answered(vec![span])["data"][0]["spans"][0].clone();
    let tags: Vec<(&str, &str, Json)> = span["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| (tag["key"].as_str().unwrap(), tag["type"].as_str().unwrap(), tag["value"].clone()))
        .collect();
    let expected = [
        ("otel.scope.name", "string", json!("telemetrygen")),
        ("small", "int64", json!(7)),
        ("large", "int64", json!("-9223372036854775808")),
        ("half", "float64", json!(0.5)),
        ("none", "float64", json!("NaN")),
        ("yes", "bool", json!(true)),
        ("raw", "binary", json!("/wA=")),
        ("list", "string", json!("[1,\"b\"]")),
        ("span.kind", "string", json!("server")),
        ("otel.status_code", "string", json!("ERROR")),
        ("error", "bool", json!(true)),
        ("otel.status_description", "string", json!("card refused")),
        ("w3c.tracestate", "string", json!("ot=th:8")),
    ];
    assert_eq!(tags, expected);
    let types: Vec<&Json> =
        span["references"].as_array().unwrap().iter().map(|reference| &reference["refType"]).collect();
    assert_eq!(types, ["FOLLOWS_FROM", "CHILD_OF"]);
    assert_eq!(span["logs"][0]["timestamp"], 5_000);
    assert_eq!(span["logs"][0]["fields"][0], json!({"key": "event", "type": "string", "value": "retried"}));
    assert_eq!(span["logs"][0]["fields"][1]["key"], "after");
    assert!(span["warnings"][0].as_str().unwrap().starts_with("3 events"), "{span}");
}

#[test]
fn version_3_has_the_shape_of_jaegers_own_snapshot() {
    // Snapshots `GetTrace.json` and `FindTraces.json`, with the times that a stored span has.
    let span = Span {
        trace_id: "1".parse().unwrap(),
        span_id: "2".parse().unwrap(),
        parent: None,
        name: "foobar".to_owned(),
        status: StatusCode::Error,
        attributes: Vec::new(),
        resource: Arc::default(),
        scope: Arc::default(),
        start_unix_nano: 1_000,
        duration_nano: 5,
        ..okey_dokey()
    };
    let (_dir, telemetry) = store();
    let traces = Traces { ready: Trace::assemble(vec![span]), ..Traces::of(&telemetry, []) };
    let golden = json!({"result": {"resourceSpans": [{
        "resource": {},
        "scopeSpans": [{
            "scope": {},
            "spans": [{
                "kind": 2,
                "name": "foobar",
                "spanId": "0000000000000002",
                "status": {"code": 2},
                "traceId": "00000000000000000000000000000001",
                "startTimeUnixNano": "1000",
                "endTimeUnixNano": "1005",
            }],
        }],
    }]}});
    assert_eq!(written(OtlpAnswer::new(traces)), golden);
}

#[test]
fn spans_of_one_maker_share_their_process_whatever_block_they_lay_in() {
    let other = |id: u64, resource: Resource| Span {
        span_id: SpanId(id.to_be_bytes()),
        resource: Arc::new(resource),
        ..okey_dokey()
    };
    let same = Resource::clone(&okey_dokey().resource);
    let cart = Resource { service: "cart".to_owned(), attributes: Vec::new() };
    let answer = answered(vec![okey_dokey(), other(1, same), other(2, cart)]);
    assert_eq!(answer["data"][0]["processes"].as_object().unwrap().len(), 2);
}

proptest! {
    /// Whatever is asked, it is read or refused in words.
    #[test]
    fn no_query_panics(
        pairs in proptest::collection::vec(
            ("start|end|limit|minDuration|maxDuration|tag|tags|traceID|lookback|raw|endTs\
              |query\\.startTimeMin|query\\.startTimeMax|query\\.durationMin|query\\.attributes|query\\.searchDepth",
             "[-0-9a-z:.+{}\"µ]{0,12}|9{30}|1h|2d|2026-11-21T03:00:00Z|.{0,6}"), 0..6),
        now in any::<u64>(),
    ) {
        let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={}", crate::body::encode(v))).collect();
        let query = Query::parse(Some(&pairs.join("&"))).expect("it is encoded");
        for refused in [
            query::search(&query, now).err(),
            query::search_v3(&query).err(),
            query::window(&query, now, 1).err(),
            query::check_trace_hints_v3(&query).err(),
        ].into_iter().flatten() {
            prop_assert!(!refused.0.is_empty());
        }
    }

    /// Ids are read in both writings; nothing else is.
    #[test]
    fn ids_are_read_in_hexadecimal_and_base64(id in any::<[u8; 16]>(), noise in ".{0,30}") {
        use base64::Engine;
        prop_assume!(id != [0; 16]);
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(id);
        prop_assert_eq!(query::trace_id("traceID", &base64).ok(), Some(TraceId(id)));
        let _ = query::trace_id("traceID", &noise);
    }
}
