//! Traces over real HTTP: in by the REST surface, out by it and by Jaeger's API.

mod support;

use serde_json::{Value, json};
use support::server::{
    Kept, Server, TOKEN, assert_problem, serve_with, start, start_with_backlog, start_with_telemetry,
    start_with_traces,
};
use support::traces;

const TRACES: &str = "/api/v3/observability";

/// The first nanosecond of a test's spans: a minute ago, for what is derived keeps a day.
fn began() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the server's own clock is the machine's")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (now.as_nanos() as u64) - 60_000_000_000
}

/// A purchase: the front asks the cart, which fails.
fn purchase(trace: u32, began: u64) -> Value {
    let trace = format!("{trace:032x}");
    let span = |id: u64, parent: Option<u64>, name: &str, kind: u8, from_ms: u64, ms: u64, failed: bool| {
        let start = began + from_ms * 1_000_000;
        let mut span = json!({
            "traceId": trace, "spanId": format!("{id:016x}"), "name": name, "kind": kind,
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + ms * 1_000_000).to_string(),
            "attributes": [{"key": "step", "value": {"intValue": id.to_string()}}],
            "events": [{"timeUnixNano": start.to_string(), "name": "began",
                        "attributes": [{"key": "queue", "value": {"stringValue": format!("q{id}")}}]}],
            "status": if failed { json!({"code": 2, "message": "out of stock"}) } else { json!({}) },
        });
        if let Some(parent) = parent {
            span["parentSpanId"] = json!(format!("{parent:016x}"));
        }
        span
    };
    let of = |service: &str, spans: Vec<Value>| {
        json!({
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"scope": {"name": "test"}, "spans": spans}],
        })
    };
    let front = vec![span(1, None, "GET /buy", 2, 0, 100, false), span(2, Some(1), "cart", 3, 10, 60, false)];
    let cart = vec![span(3, Some(2), "take", 2, 20, 40, true)];
    json!({"resourceSpans": [of("front/eu", front), of("cart", cart)]})
}

fn id(trace: u32) -> String {
    format!("{trace:032x}")
}

fn with_purchases(count: u32) -> (Server, u64) {
    let server = start_with_telemetry(|_| {});
    let began = began();
    for trace in 1..=count {
        let reply =
            server.post(&format!("{TRACES}/trace"), purchase(trace, began + u64::from(trace) * 1_000_000));
        assert_eq!(reply.status, 201, "{}", reply.body);
        assert_eq!(reply.json()["accepted"], 3);
        assert_eq!(reply.header("location"), Some(format!("{TRACES}/trace/{}", id(trace)).as_str()));
    }
    (server, began)
}

#[test]
fn a_trace_that_was_taken_is_answered_at_once() {
    let (server, _) = with_purchases(1);
    let trace = server.get(&format!("{TRACES}/trace/{}", id(1))).json();
    let summary = &trace["summary"];
    assert_eq!(
        (&summary["root_service"], &summary["root_operation"]),
        (&json!("front/eu"), &json!("GET /buy"))
    );
    assert_eq!((&summary["spans"], &summary["errors"]), (&json!(3), &json!(1)));
    assert_eq!(summary["duration_ms"], 100.0);
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.iter().map(|span| span["depth"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(spans[2]["status_message"], "out of stock");
    assert_eq!(spans[2]["attributes"], json!({"step": 3}));
    assert_eq!(spans[2]["events"][0]["attributes"], json!({"queue": "q3"}));
    assert_eq!(spans[0]["self_ms"], 40.0);
    let path: Vec<&Value> =
        trace["critical_path"].as_array().unwrap().iter().map(|part| &part["operation"]).collect();
    assert_eq!(path, ["GET /buy", "cart", "take", "cart", "GET /buy"]);
    assert_problem(&server.get(&format!("{TRACES}/trace/{}", id(2))), 404, "not_found");
    assert_problem(&server.get(&format!("{TRACES}/trace/xyz")), 422, "invalid_field");
}

#[test]
fn the_status_says_what_waits_for_compaction_and_whether_intake_does() {
    let (server, _) = with_purchases(1);
    let status = server.get(&format!("{TRACES}/status")).json();
    assert_eq!((&status["intake"], &status["spans_taken"]), (&json!("open"), &json!(3)));
    assert_eq!(status["backlog_bytes"], 0, "what is written to does not wait");
    assert!(status["backlog_bytes_max"].as_u64().unwrap() > 1 << 20);
    let metrics = server.get("/metrics").body;
    for line in ["telemetry_backlog_bytes 0", "telemetry_intake_refused 0", "telemetry_compacted_files 0"] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
}

#[test]
fn while_compaction_is_behind_senders_are_told_when_to_come_back_and_people_why() {
    let server = start_with_backlog();
    let send = |trace| server.post(&format!("{TRACES}/trace"), purchase(trace, began()));
    let refusal = "MiB wait for compaction";
    assert_eq!(send(1).status, 201);
    let refused = send(2);
    assert_problem(&refused, 429, "backlog");
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert_eq!(server.get(&format!("{TRACES}/status")).json()["intake"], "refused");
    let page = server.get("/").body;
    assert!(page.contains(refusal) && !page.contains("All is well"), "{page}");
    assert!(!start_with_telemetry(|_| {}).get("/").body.contains(refusal));
}

#[test]
fn every_trace_is_on_exactly_one_page() {
    let (server, _) = with_purchases(5);
    let mut path = format!("{TRACES}/traces?limit=2&status=error&tag=step%3D3&service=cart");
    let mut seen = Vec::new();
    loop {
        let reply = server.get(&path);
        assert_eq!(reply.status, 200, "{}", reply.body);
        seen.extend(
            reply.json().as_array().unwrap().iter().map(|row| row["trace_id"].as_str().unwrap().to_owned()),
        );
        let Some(link) = reply.header("link") else { break };
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, [5, 4, 3, 2, 1].map(id));
}

#[test]
fn where_more_traces_logged_a_text_than_are_looked_among_a_link_leads_on_to_the_others() {
    let server = start_with_traces(|telemetry, now| {
        traces::logged(telemetry, ("cart", "card timeout"), now - 40_000_000_000, 1..2);
        traces::logged(telemetry, ("other", "card timeout"), now - 30_000_000_000, 2..20_003);
    });
    let first = server.get(&format!("{TRACES}/traces?service=cart&text=card%20timeout&limit=5"));
    assert_eq!(
        (first.status, first.json()),
        (200, json!([])),
        "it is among those that logged it longest ago"
    );
    let link = first.header("link").expect("that not all were looked among is said");
    let next = server.get(link.trim_start_matches('<').split('>').next().unwrap());
    assert_eq!(next.json()[0]["trace_id"], json!(traces::trace_id(1).to_string()), "{}", next.body);
    assert_eq!(next.header("link"), None);
    let page = server.get("/traces?service=cart&text=card%20timeout").body;
    assert!(page.contains("So many traces logged this that those which did so only before"), "{page}");
    let page = server.get("/traces?service=other&text=card%20timeout").body;
    assert!(!page.contains("So many traces logged this"), "{page}");
}

#[test]
fn filters_find_what_matches_and_errors_name_the_parameter() {
    let (server, _) = with_purchases(2);
    let found =
        |query: &str| server.get(&format!("{TRACES}/traces?{query}")).json().as_array().unwrap().len();
    assert_eq!(found("operation=take&kind=server&min_duration=39ms&max_duration=41ms"), 2);
    assert_eq!(found("tag=queue%3Dq2"), 2, "a tag of an event");
    assert_eq!(found("service=cart&kind=client"), 0);
    assert_eq!(found("status=not_error&service=cart"), 0);
    assert_eq!(found("since=2100-01-01T00:00:00Z&until=2101-01-01T00:00:00Z"), 0);
    assert_eq!(found("text=nobody%20logs%20this"), 0);
    for (query, field) in [
        ("kind=waiter", "kind"),
        ("tag=step", "tag"),
        ("min_duration=quick", "min_duration"),
        ("min_duration=2s&max_duration=1s", "max_duration"),
        ("status=fine", "status"),
        ("since=noon", "since"),
        ("limit=0", "limit"),
        ("offset=-1", "offset"),
        ("servise=cart", "servise"),
    ] {
        let reply = server.get(&format!("{TRACES}/traces?{query}"));
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], field);
    }
    let reply = server.get(&format!("{TRACES}/logs?severity=loud"));
    assert_eq!(reply.json()["field"], "severity");
    assert_eq!(server.get(&format!("{TRACES}/logs?severity=warn&text=x&trace={}", id(1))).json(), json!([]));
}

#[test]
fn taking_a_trace_needs_the_token_and_exactly_one_trace() {
    let server = start_with_telemetry(|_| {});
    let path = format!("{TRACES}/trace");
    let host = server.host();
    let body = purchase(1, began()).to_string();
    let headers = [("host", host.as_str()), ("content-type", "application/json")];
    assert_problem(&server.raw("POST", &path, &headers, &body), 401, "token_missing");
    let mut two = purchase(1, began());
    two["resourceSpans"]
        .as_array_mut()
        .unwrap()
        .extend(purchase(2, began())["resourceSpans"].as_array().unwrap().clone());
    for body in [two, json!({}), json!({"resourceSpans": []})] {
        let reply = server.post(&path, body);
        assert_problem(&reply, 422, "invalid_field");
        assert_eq!(reply.json()["field"], "traceId");
    }
    assert_problem(&server.write("POST", &path, "{"), 400, "malformed_json");
}

#[test]
fn jaegers_clients_find_services_operations_and_traces() {
    let (server, began) = with_purchases(3);
    let data = |path: &str| server.get(path).json()["data"].clone();
    assert_eq!(data("/api/services"), json!(["cart", "front/eu"]));
    assert_eq!(data("/api/services/front%2Feu/operations"), json!(["GET /buy", "cart"]));
    assert_eq!(
        data("/api/services/front%252Feu/operations"),
        json!(["GET /buy", "cart"]),
        "Grafana encodes twice"
    );
    let server_operations = json!([{"name": "GET /buy", "spanKind": "server"}]);
    assert_eq!(data("/api/operations?service=front%2Feu&spanKind=server"), server_operations);
    let found = |query: &str| data(&format!("/api/traces?{query}")).as_array().unwrap().len();
    assert_eq!(found("service=cart&lookback=1h&limit=2&minDuration=&maxDuration="), 2);
    assert_eq!(found("service=cart&tags=%7B%22error%22%3A%22true%22%7D&tag=step:3"), 3);
    assert_eq!(found(&format!("service=cart&start={}&end={}", began / 1000, began / 1000 + 1)), 0);
    let both = server.get(&format!("/api/traces?traceID={}&traceID={}", id(1), id(9))).json();
    assert_eq!(both["data"].as_array().unwrap().len(), 1);
    assert_eq!(both["errors"], json!([{"msg": "trace not found", "traceID": id(9)}]));
    let one = data("/api/traces/1?start=5&end=6&raw=false");
    assert_eq!(one[0]["spans"].as_array().unwrap().len(), 3);
    let missing = server.get(&format!("/api/traces/{}", id(9)));
    assert_eq!((missing.status, &missing.json()["errors"][0]["code"]), (404, &json!(404)));
    for query in ["limit=many", "tag=x", "tags=%5B%5D", "start=now", "minDuration=5", "traceID=z"] {
        let reply = server.get(&format!("/api/traces?service=cart&{query}"));
        assert_eq!((reply.status, &reply.json()["data"]), (400, &Value::Null), "{query}");
    }
}

#[test]
fn jaegers_map_and_monitor_show_the_calls() {
    let (server, _) = with_purchases(3);
    // What is derived is counted right after a request was acknowledged, not before.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let wanted = json!([{"parent": "front/eu", "child": "cart", "callCount": 3}]);
    loop {
        let data = server.get("/api/dependencies?lookback=86400000").json()["data"].clone();
        if data == wanted {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{data}");
    }
    let sum = |figure: &str| {
        let reply = server
            .get(&format!("/api/metrics/{figure}?service=cart&step=60000&lookback=600000&quantile=0.5"));
        assert_eq!(reply.status, 200, "{}", reply.body);
        let points = reply.json()["metrics"][0]["metricPoints"].as_array().unwrap().clone();
        points.iter().map(|point| point["gaugeValue"]["doubleValue"].as_f64().unwrap()).sum::<f64>()
    };
    assert!((sum("calls") * 60.0 - 3.0).abs() < 1e-6);
    assert!((sum("errors") - 1.0).abs() < 1e-6, "each step's share of errors");
    assert!((sum("latencies") - 40.0).abs() < 2.0, "milliseconds");
    let grouped = server.get("/api/metrics/calls?service=cart&groupByOperation=true&step=60000").json();
    assert_eq!(grouped["name"], "service_operation_call_rate");
    assert_eq!(grouped["metrics"][0]["labels"][0], json!({"name": "operation", "value": "take"}));
    assert_eq!(server.get("/api/metrics/calls").status, 400);
    assert_eq!(server.get("/api/metrics/minstep").json()["data"], 1000);
}

#[test]
fn version_3_answers_otlp_and_summaries() {
    let (server, _) = with_purchases(2);
    let range = "query.startTimeMin=2020-01-01T00:00:00Z&query.startTimeMax=2100-01-01T00:00:00Z";
    let summaries = server.get(&format!("/api/v3/trace-summaries?{range}&query.serviceName=cart")).json();
    let summary = &summaries["summaries"][0];
    assert_eq!(summary["rootOperationName"], "GET /buy");
    assert_eq!((&summary["spanCount"], &summary["errorSpanCount"]), (&json!(3), &json!(1)));
    assert_eq!(summary["services"][1], json!({"name": "front/eu", "spanCount": 2}));
    assert!(summary["minStartTimeUnixNano"].is_string());
    let found =
        server.get(&format!("/api/v3/traces?{range}&query.attributes=%7B%22step%22%3A%223%22%7D")).json();
    assert_eq!(found["result"]["resourceSpans"].as_array().unwrap().len(), 4);
    let one = server.get(&format!("/api/v3/traces/{}", id(1))).json();
    let spans = &one["result"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["attributes"][0], json!({"key": "step", "value": {"intValue": "1"}}));
    assert_eq!(server.get("/api/v3/services").json(), json!({"services": ["cart", "front/eu"]}));
    let none = server.get(&format!("/api/v3/traces?{range}&query.serviceName=none"));
    assert_eq!((none.status, &none.json()["error"]["httpCode"]), (404, &json!(404)));
    assert_eq!(server.get("/api/v3/traces").status, 400);
}

#[test]
fn without_telemetry_it_is_said_in_each_form() {
    let server = start(|_| {});
    assert_problem(&server.get(&format!("{TRACES}/traces")), 503, "no_telemetry");
    let jaeger = server.get("/api/services");
    assert_eq!((jaeger.status, &jaeger.json()["errors"][0]["code"]), (503, &json!(503)));
    let third = server.get("/api/v3/services");
    assert_eq!((third.status, &third.json()["error"]["httpCode"]), (503, &json!(503)));
}

fn archived(server: &Server) -> Vec<Value> {
    server.get(&format!("{TRACES}/archive")).json().as_array().unwrap().clone()
}

#[test]
fn a_trace_is_archived_listed_and_removed_again() {
    let (server, _) = with_purchases(2);
    let one = format!("{TRACES}/archive/{}", id(1));
    assert_problem(&server.get(&one), 404, "not_found");
    let reply = server.write("POST", &one, "");
    assert_eq!(reply.status, 200, "{}", reply.body);
    let told = reply.json();
    assert_eq!(
        (&told["trace_id"], &told["keeping"], &told["spans"]),
        (&json!(id(1)), &json!("asked"), &json!(3))
    );
    assert_eq!(server.write("POST", &one, "").json(), told, "again, and nothing came since");
    assert_eq!((server.get(&one).json(), archived(&server)), (told.clone(), vec![told.clone()]));
    let status = server.get(&format!("{TRACES}/status")).json();
    assert_eq!(
        (&status["archive"]["traces"], &status["archive"]["asked_bytes"]),
        (&json!(1), &told["bytes"])
    );
    assert_eq!(server.get(&format!("{TRACES}/traces")).json().as_array().unwrap().len(), 2, "each once");
    assert_problem(&server.write("POST", &format!("{TRACES}/archive/{}", id(9)), ""), 404, "not_found");
    let before = told["archived_at"].as_str().unwrap();
    assert_eq!(server.get(&format!("{TRACES}/archive?before={before}")).json(), json!([]));
    let (host, bearer) = (server.host(), format!("Bearer {TOKEN}"));
    let remove = |tag: &str| {
        server.raw("DELETE", &one, &[("host", &host), ("authorization", &bearer), ("if-match", tag)], "")
    };
    let tag = server.get(&one).header("etag").unwrap().to_owned();
    assert_problem(&remove("\"of-another-time\""), 412, "precondition_failed");
    assert_eq!(remove(&tag).json(), told);
    assert_problem(&server.write("DELETE", &one, ""), 404, "not_found");
    assert_eq!(archived(&server), Vec::<Value>::new());
}

#[test]
fn a_full_archive_refuses_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let config = telemetry::Config { archive_bytes: 8192, ..telemetry::Config::new(dir.path()) };
    let telemetry = Some(telemetry::Telemetry::open(config).unwrap());
    let server = serve_with(|_| {}, Kept { telemetry, ..Kept::default() }).keeping(dir);
    for trace in 1..=2 {
        assert_eq!(server.post(&format!("{TRACES}/trace"), purchase(trace, began())).status, 201);
    }
    assert_eq!(server.write("POST", &format!("{TRACES}/archive/{}", id(1)), "").status, 200);
    let refused = server.write("POST", &format!("{TRACES}/archive/{}", id(2)), "");
    assert_problem(&refused, 507, "archive_full");
    assert!(refused.body.contains("telemetry.archive_mib"), "{}", refused.body);
}

#[test]
fn the_jaeger_uis_button_archives_with_proof_and_not_without() {
    let (server, _) = with_purchases(1);
    let path = format!("/api/archive/{}", id(1));
    let host = server.host();
    let refused = server.raw("POST", &path, &[("host", host.as_str())], "");
    assert_eq!((refused.status, archived(&server).len()), (401, 0), "{}", refused.body);
    let reply = server.write("POST", &path, "");
    assert_eq!((reply.status, &reply.json()["data"], &reply.json()["errors"]), (200, &json!([]), &json!([])));
    assert_eq!(archived(&server).len(), 1);
    let missing = server.write("POST", &format!("/api/archive/{}", id(9)), "");
    assert_eq!((missing.status, &missing.json()["errors"][0]["msg"]), (404, &json!("trace not found")));
    assert_eq!(server.get(&format!("/api/traces/{}", id(1))).json()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn the_page_of_a_trace_archives_it_and_says_so() {
    let (server, _) = with_purchases(1);
    let (page, cookie) = (format!("/traces/{}", id(1)), server.cookie());
    let shown = || {
        let host = server.host();
        server.raw("GET", &page, &[("host", host.as_str()), ("cookie", cookie.as_str())], "").body
    };
    assert!(shown().contains(&format!("action=\"{page}/archive\"")) && !shown().contains("kept until"));
    let reply = server.submit(&format!("{page}/archive"), "", &cookie);
    assert_eq!((reply.status, reply.header("location")), (303, Some(page.as_str())), "{}", reply.body);
    assert!(shown().contains("kept until somebody removes it"), "{}", shown());
    assert!(!shown().contains(&format!("action=\"{page}/archive\"")), "it is archived already");
    assert_eq!(server.submit(&format!("{page}/archive/remove"), "", &cookie).status, 303);
    assert!(!shown().contains("kept until"));
    assert_eq!(archived(&server), Vec::<Value>::new());
}
