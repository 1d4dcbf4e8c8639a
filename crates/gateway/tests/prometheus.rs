//! Prometheus' API over real HTTP, as Grafana's data source asks it.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::Clock;
use gateway::ScrapeTargets;
use metrics::scrape::{Health, Target, TargetState};
use metrics::{Batch, Exemplar, Kind, Metadata};
use promql::rules::{
    ActiveAlert, ActivePhase, GroupState, Health as RuleHealth, RuleKind, RuleState, RuleStates,
};
use promql::{Buckets, CounterReset, Histogram, Labels, Sample, Span, Value as Measured};
use serde_json::{Value, json};
use support::MachineClock;
use support::server::{Kept, Server, assert_problem, start, start_with_metrics};

/// When the series begin: about an hour ago, at a full minute. They last ten minutes, with a sample every 15 s.
static BEGIN_S: LazyLock<i64> =
    LazyLock::new(|| (MachineClock::start().now().wall_us / 1_000_000 - 3_600) / 60 * 60);

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().map(|(name, value)| (*name, *value)))
}

fn samples(value: impl Fn(f64) -> f64) -> Vec<Sample> {
    let sample =
        |at: i64| Sample { at_ms: (*BEGIN_S + at * 15) * 1000, value: Measured::Float(value(at as f64)) };
    (0..=40).map(sample).collect()
}

fn histogram() -> Histogram {
    let positive = Buckets {
        spans: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        counts: vec![1.0, 2.0, 3.0],
    };
    let negative = Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![4.0] };
    Histogram {
        schema: 0,
        zero_threshold: 0.5,
        zero_count: 5.0,
        count: 15.0,
        sum: 7.25,
        positive,
        negative,
        custom_values: [].into(),
        reset: CounterReset::Gauge,
    }
}

fn batch() -> Batch {
    let ok = labels(&[("__name__", "http_requests_total"), ("code", "200"), ("job", "api")]);
    let known = |kind, help: &str| Metadata { kind, help: help.to_owned(), unit: String::new() };
    let measured = Sample { at_ms: *BEGIN_S * 1000, value: Measured::Histogram(Arc::new(histogram())) };
    let exemplar = Exemplar {
        labels: labels(&[("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")]),
        value: 0.25,
        at_ms: *BEGIN_S * 1000 + 45_678,
    };
    Batch {
        series: vec![
            (labels(&[("__name__", "up"), ("instance", "a:1"), ("job", "api")]), samples(|_| 1.0)),
            (labels(&[("__name__", "up"), ("instance", "b:1"), ("job", "db")]), samples(|at| at % 2.0)),
            (ok.clone(), samples(|at| at * 150.0)),
            (
                labels(&[("__name__", "http_requests_total"), ("code", "500"), ("job", "api")]),
                samples(|at| at),
            ),
            (labels(&[("__name__", "took"), ("service.name", "ca\"rt")]), vec![measured]),
        ],
        exemplars: vec![(ok, exemplar)],
        metadata: vec![
            ("http_requests_total".to_owned(), known(Kind::Counter, "Requests.")),
            ("up".to_owned(), known(Kind::Gauge, "")),
        ],
    }
}

fn server() -> Server {
    start_with_metrics(batch(), Kept::default())
}

/// What is answered to a form, with the headers that Grafana sends and no token.
fn post(server: &Server, path: &str, form: &str) -> support::server::Reply {
    let host = server.host();
    let headers = [
        ("host", host.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-dashboard-uid", "fleet"),
        ("x-panel-id", "2"),
        ("x-grafana-org-id", "1"),
        ("user-agent", "Grafana/12.3.0"),
    ];
    server.raw("POST", path, &headers, form)
}

fn data(server: &Server, path: &str) -> Value {
    let reply = server.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
    let mut answer = reply.json();
    assert_eq!(answer["status"], "success", "{path}: {answer}");
    answer["data"].take()
}

#[test]
fn a_query_at_a_time_is_answered_as_prometheus_does() {
    let server = server();
    let at = *BEGIN_S + 60;
    assert_eq!(
        data(&server, &format!("/api/v1/query?query=up&time={at}.5")),
        json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "instance": "a:1", "job": "api"}, "value": [at as f64 + 0.5, "1"]},
            {"metric": {"__name__": "up", "instance": "b:1", "job": "db"}, "value": [at as f64 + 0.5, "0"]},
        ]})
    );
    let scalar = data(&server, &format!("/api/v1/query?query=1%2F0&time={at}"));
    assert_eq!(scalar, json!({"resultType": "scalar", "result": [at, "+Inf"]}));
    let text = data(&server, &format!("/api/v1/query?query=%22a%22&time={at}"));
    assert_eq!(text, json!({"resultType": "string", "result": [at, "a"]}));
    let matrix = data(&server, &format!("/api/v1/query?query=up%7Bjob%3D%22db%22%7D%5B30s%5D&time={at}"));
    assert_eq!(matrix["resultType"], "matrix");
    assert_eq!(matrix["result"][0]["values"], json!([[at - 15, "1"], [at, "0"]]));
    let none = data(&server, "/api/v1/query?query=up");
    assert_eq!(none, json!({"resultType": "vector", "result": []}), "nothing is that fresh");
    let stamp = jiff::Timestamp::from_second(at).unwrap();
    let by_date = data(&server, &format!("/api/v1/query?query=vector(1)&time={stamp}"));
    assert_eq!(by_date["result"], json!([{"metric": {}, "value": [at, "1"]}]));
}

#[test]
fn a_query_of_a_range_is_the_same_by_get_and_by_form_and_needs_no_token() {
    let server = server();
    let (from, to) = (*BEGIN_S + 300, *BEGIN_S + 330);
    let query = "query=round(sum+by+(code)(rate(http_requests_total%5B1m%5D)),0.01)";
    let form = format!("{query}&start={from}&end={to}&step=15");
    let posted = post(&server, "/api/v1/query_range", &form);
    assert_eq!(posted.status, 200, "{}", posted.body);
    assert_eq!(posted.json()["data"], data(&server, &format!("/api/v1/query_range?{form}")));
    let rows = |value: &str| json!([[from, value], [from + 15, value], [from + 30, value]]);
    assert_eq!(
        posted.json()["data"],
        json!({"resultType": "matrix", "result": [
            {"metric": {"code": "200"}, "values": rows("10")},
            {"metric": {"code": "500"}, "values": rows("0.07")},
        ]})
    );
    let of_spans =
        data(&server, &format!("/api/v1/query_range?query=up&start={from}&end={to}&step=1m30s&limit=1"));
    assert_eq!(of_spans["result"].as_array().unwrap().len(), 1);
    let limited =
        server.get(&format!("/api/v1/query_range?query=up&start={from}&end={to}&step=15&limit=1")).json();
    assert_eq!(limited["warnings"], json!(["results truncated due to limit"]));
}

#[test]
fn native_histograms_have_their_buckets_with_boundaries() {
    let server = server();
    let at = *BEGIN_S;
    let answer = data(&server, &format!("/api/v1/query?query=took&time={at}"));
    assert_eq!(
        answer["result"][0],
        json!({"metric": {"__name__": "took", "service.name": "ca\"rt"}, "histogram": [at, {
            "count": "15", "sum": "7.25",
            "buckets": [
                [1, "-1", "-0.5", "4"], [3, "-0.5", "0.5", "5"],
                [0, "0.5", "1", "1"], [0, "1", "2", "2"], [0, "4", "8", "3"],
            ],
        }]})
    );
    let range = data(&server, &format!("/api/v1/query_range?query=took&start={at}&end={at}&step=1"));
    assert_eq!(range["result"][0]["histograms"][0][1]["count"], "15");
    assert_eq!(range["result"][0].get("values"), None);
}

/// What is asked wrongly: status, type and words of the error.
const WRONG: &[(&str, u16, &str, &str)] = &[
    ("query?query=up(", 400, "bad_data", "invalid parameter \"query\": 1:"),
    ("query", 400, "bad_data", "invalid parameter \"query\": 1:1: parse error: "),
    (
        "query?query=up&time=noon",
        400,
        "bad_data",
        "invalid parameter \"time\": cannot parse \"noon\" to a valid timestamp",
    ),
    (
        "query?query=up&timeout=x",
        400,
        "bad_data",
        "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
    ),
    ("query?query=up&limit=-1", 400, "bad_data", "limit must be non-negative"),
    ("query?query=%zz", 400, "bad_data", "invalid URL escape"),
    ("query?query=up&timeout=0", 503, "timeout", "query timed out"),
    ("query?query=label_replace(up,%22a%22,%22b%22,%22c%22,%22(%22)", 422, "execution", "regular expression"),
    (
        "query_range?query=up&start=0&end=11001&step=1",
        400,
        "bad_data",
        "exceeded maximum resolution of 11,000 points per timeseries",
    ),
    (
        "query_range?query=up&start=9&end=1&step=1",
        400,
        "bad_data",
        "end timestamp must not be before start time",
    ),
    (
        "query_range?query=up&start=0&end=1&step=0",
        400,
        "bad_data",
        "zero or negative query resolution step widths",
    ),
    ("query_range?query=up&start=0&end=1", 400, "bad_data", "invalid parameter \"step\": cannot parse \"\""),
    ("query_range?query=up&end=1&step=1", 400, "bad_data", "invalid parameter \"start\": cannot parse \"\""),
    ("query_range?query=up%5B1m%5D&start=0&end=1&step=1", 400, "bad_data", "invalid expression type"),
    ("series", 400, "bad_data", "no match[] parameter provided"),
    ("series?match[]=%7B%7D", 400, "bad_data", "invalid parameter \"match[]\": 1:1: parse error: "),
    ("labels?match[]=sum(up)", 400, "bad_data", "invalid parameter \"match[]\""),
    ("labels?start=2&end=1", 400, "bad_data", "end timestamp must not be before start time"),
    ("query_exemplars?query=(", 400, "bad_data", "invalid parameter \"query\""),
    ("rules?type=other", 400, "bad_data", "not supported value \"other\""),
];

#[test]
fn what_is_wrong_has_prometheus_status_and_type() {
    let server = server();
    for (path, status, kind, words) in WRONG {
        let reply = server.get(&format!("/api/v1/{path}"));
        let error = reply.json();
        assert_eq!((reply.status, &error["errorType"]), (*status, &json!(kind)), "{path}: {error}");
        assert_eq!(error["status"], "error");
        let message = error["error"].as_str().unwrap();
        assert!(message.contains(words), "{path}: {message}");
    }
    assert_problem(&server.write("PUT", "/api/v1/query", ""), 405, "wrong_method");
}

#[test]
fn a_name_that_is_not_this_machine_is_refused_by_post_too_and_writes_still_need_the_token() {
    let server = server();
    let form = [("host", "evil.example:4000"), ("content-type", "application/x-www-form-urlencoded")];
    assert_problem(&server.raw("POST", "/api/v1/query", &form, "query=1"), 421, "wrong_host");
    let host = server.host();
    let toggle = "/api/v3/self-healing/toggle-auto-remediation";
    assert_problem(&server.raw("POST", toggle, &[("host", &host)], "{}"), 401, "token_missing");
}

#[test]
fn series_labels_and_values_are_found_by_selector_and_time() {
    let server = server();
    assert_eq!(
        data(&server, "/api/v1/series?match[]=up%7Bjob%3D%22db%22%7D&match[]=up"),
        json!([
            {"__name__": "up", "instance": "a:1", "job": "api"},
            {"__name__": "up", "instance": "b:1", "job": "db"},
        ])
    );
    let names = json!(["__name__", "code", "instance", "job", "service.name"]);
    assert_eq!(data(&server, "/api/v1/labels"), names);
    let posted =
        post(&server, "/api/v1/labels", &format!("match%5B%5D=up&start={}&end={}", *BEGIN_S, *BEGIN_S + 60));
    assert_eq!(posted.json()["data"], json!(["__name__", "instance", "job"]));
    assert_eq!(data(&server, "/api/v1/label/__name__/values"), json!(["http_requests_total", "took", "up"]));
    assert_eq!(
        data(&server, "/api/v1/label/job/values?match[]=http_requests_total&match[]=took"),
        json!(["api"])
    );
    assert_eq!(data(&server, "/api/v1/label/U__service_2e_name/values"), json!(["ca\"rt"]));
    assert_eq!(data(&server, "/api/v1/label/job/values?match[]=up&start=0&end=1000"), json!([]));
    let limited = server.get("/api/v1/labels?limit=2").json();
    assert_eq!(limited["data"], json!(["__name__", "code"]));
    assert_eq!(limited["warnings"], json!(["results truncated due to limit"]));
}

#[test]
fn metadata_and_exemplars_are_found() {
    let server = server();
    let counter = json!([{"type": "counter", "help": "Requests.", "unit": ""}]);
    let up = json!([{"type": "gauge", "help": "", "unit": ""}]);
    assert_eq!(data(&server, "/api/v1/metadata"), json!({"http_requests_total": counter, "up": up}));
    assert_eq!(data(&server, "/api/v1/metadata?metric=up"), json!({"up": up}));
    assert_eq!(data(&server, "/api/v1/metadata?limit=1").as_object().unwrap().len(), 1);
    let asked = format!("start={}&end={}", *BEGIN_S, *BEGIN_S + 600);
    let query = "query=histogram_quantile(0.9,rate(http_requests_total%5B5m%5D))%20%2B%20http_requests_total";
    let found = post(&server, "/api/v1/query_exemplars", &format!("{query}&{asked}"));
    assert_eq!(
        found.json()["data"],
        json!([{
            "seriesLabels": {"__name__": "http_requests_total", "code": "200", "job": "api"},
            "exemplars": [{
                "labels": {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}, "value": "0.25",
                "timestamp": *BEGIN_S as f64 + 45.678,
            }],
        }])
    );
    assert_eq!(data(&server, &format!("/api/v1/query_exemplars?query=up&{asked}")), json!([]));
}

#[test]
fn warnings_and_infos_stand_beside_the_data() {
    let server = server();
    let at = *BEGIN_S + 120;
    let answer = server.get(&format!("/api/v1/query?query=rate(up%5B1m%5D)&time={at}")).json();
    let info = answer["infos"][0].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(info.starts_with("PromQL info: metric might not be a counter"), "{info}");
    let answer = server.get(&format!("/api/v1/query?query=quantile(2,up)&time={at}")).json();
    let warning = answer["warnings"][0].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(warning.starts_with("PromQL warning: quantile value should be between 0 and 1"), "{warning}");
}

/// One group with an alert that fires and a series that is recorded.
#[derive(Debug)]
struct Rules;

impl RuleStates for Rules {
    fn groups(&self) -> Vec<GroupState> {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let alert = ActiveAlert {
            labels: labels(&[("alertname", "Down"), ("job", "db"), ("severity", "page")]),
            annotations: map(&[("summary", "db is down")]),
            phase: ActivePhase::Firing,
            active_at_ms: 1_700_000_000_500,
            keep_firing_since_ms: None,
            value: 0.0,
        };
        let rule = |name: &str, query: &str, kind| RuleState {
            name: name.to_owned(),
            query: query.to_owned(),
            labels: map(&[("severity", "page")]),
            health: RuleHealth::Good,
            last_evaluation_ms: Some(1_700_000_001_000),
            evaluation_time: Duration::from_micros(1_500),
            kind,
        };
        let hold = Duration::from_secs(60);
        let annotations = map(&[("summary", "{{ $labels.job }} is down")]);
        let alerting =
            RuleKind::Alerting { hold, keep_firing: Duration::ZERO, annotations, alerts: vec![alert] };
        let mut broken = rule("job:up:sum", "sum by (job) (up)", RuleKind::Recording);
        broken.health = RuleHealth::Bad("1:1: it is late".to_owned());
        vec![GroupState {
            name: "fleet".to_owned(),
            file: "/etc/rules.yml".to_owned(),
            interval: Duration::from_secs(30),
            limit: 0,
            rules: vec![rule("Down", "up == 0", alerting), broken],
            last_evaluation_ms: None,
            evaluation_time: Duration::ZERO,
        }]
    }
}

#[test]
fn rules_and_alerts_are_those_of_who_evaluates_them() {
    let server = start_with_metrics(batch(), Kept { rules: Some(Arc::new(Rules)), ..Kept::default() });
    let alert = json!({
        "labels": {"alertname": "Down", "job": "db", "severity": "page"}, "annotations": {"summary": "db is down"},
        "state": "firing", "activeAt": "2023-11-14T22:13:20.5Z", "value": "0e+00",
    });
    assert_eq!(data(&server, "/api/v1/alerts"), json!({"alerts": [alert]}));
    let alerting = json!({
        "name": "Down", "query": "up == 0", "type": "alerting", "state": "firing", "health": "ok",
        "labels": {"severity": "page"}, "duration": 60.0, "keepFiringFor": 0.0,
        "annotations": {"summary": "{{ $labels.job }} is down"}, "alerts": [alert],
        "evaluationTime": 0.0015, "lastEvaluation": "2023-11-14T22:13:21Z",
    });
    let recording = json!({
        "name": "job:up:sum", "query": "sum by (job) (up)", "type": "recording", "health": "err",
        "lastError": "1:1: it is late", "labels": {"severity": "page"},
        "evaluationTime": 0.0015, "lastEvaluation": "2023-11-14T22:13:21Z",
    });
    let group = |rules: Value| {
        json!({"groups": [{
            "name": "fleet", "file": "/etc/rules.yml", "interval": 30.0, "limit": 0, "rules": rules,
            "evaluationTime": 0.0, "lastEvaluation": "0001-01-01T00:00:00Z",
        }]})
    };
    assert_eq!(data(&server, "/api/v1/rules"), group(json!([alerting, recording])));
    assert_eq!(data(&server, "/api/v1/rules?type=record"), group(json!([recording])));
    assert_eq!(
        data(&server, "/api/v1/rules?rule_name[]=Down&match[]=%7Bseverity%3D%22page%22%7D"),
        group(json!([alerting]))
    );
    for none in ["rule_name[]=Up", "rule_group[]=other", "file[]=x.yml", "match[]=%7Bseverity%3D%22x%22%7D"] {
        assert_eq!(data(&server, &format!("/api/v1/rules?{none}")), json!({"groups": []}), "{none}");
    }
    let bare = data(&server, "/api/v1/rules?exclude_alerts=true");
    assert_eq!(bare["groups"][0]["rules"][0]["alerts"], json!([]));
}

/// One target that is down.
struct Targets;

impl ScrapeTargets for Targets {
    fn targets(&self) -> Vec<TargetState> {
        let labels = [("job", "node"), ("instance", "h:9100")];
        vec![TargetState {
            target: Target::new("node", "http://h:9100/metrics"),
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            health: Health::Down,
            error: Some("connection refused".to_owned()),
            asked_ms: Some(1_700_000_000_000),
            took: Duration::from_millis(2),
            samples: 0,
        }]
    }
}

#[test]
fn targets_are_those_of_who_scrapes() {
    let server = start_with_metrics(batch(), Kept { targets: Some(Arc::new(Targets)), ..Kept::default() });
    let answer = data(&server, "/api/v1/targets?state=active");
    let target = &answer["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&json!("down"), &json!("connection refused")));
    assert_eq!(
        (&target["scrapeUrl"], &target["scrapePool"]),
        (&json!("http://h:9100/metrics"), &json!("node"))
    );
    assert_eq!((&target["scrapeInterval"], &target["lastScrapeDuration"]), (&json!("15s"), &json!(0.002)));
    assert_eq!(target["discoveredLabels"]["__address__"], "h:9100");
    assert_eq!(answer["droppedTargets"], json!([]));
    assert_eq!(data(&server, "/api/v1/targets?state=dropped")["activeTargets"], json!([]));
    assert_eq!(data(&server, "/api/v1/targets?scrapePool=other")["activeTargets"], json!([]));
}

#[test]
fn without_rules_targets_or_a_store_that_is_what_is_answered() {
    let server = start(support::scene::calm);
    assert_eq!(data(&server, "/api/v1/rules"), json!({"groups": []}));
    assert_eq!(data(&server, "/api/v1/alerts"), json!({"alerts": []}));
    assert_eq!(data(&server, "/api/v1/targets")["activeTargets"], json!([]));
    let build = data(&server, "/api/v1/status/buildinfo");
    assert!(build["version"].as_str().unwrap().starts_with("3."), "{build}");
    assert!(build["revision"].as_str().unwrap().starts_with("homeostat "), "{build}");
    for path in [
        "query?query=1",
        "query_range?query=1&start=0&end=1&step=1",
        "labels",
        "series?match[]=up",
        "metadata",
    ] {
        let reply = server.get(&format!("/api/v1/{path}"));
        assert_eq!((reply.status, &reply.json()["errorType"]), (503, &json!("unavailable")), "{path}");
    }
}
