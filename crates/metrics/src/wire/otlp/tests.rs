//! What becomes of OTLP metrics.

use promql::{Histogram, Labels, Span, Value};

use super::super::fixture::{Message, int, text};
use super::super::{Cause, Decoded, Limits, STALE_BITS, Tally, Unreadable};
use super::{Config, Decoder, Translation};
use crate::{Kind, Metadata};

const T: i64 = 1_760_000_000_000;
const NS: u64 = T as u64 * 1_000_000;

const GAUGE: u64 = 5;
const SUM: u64 = 7;
const HISTOGRAM: u64 = 9;
const EXPONENTIAL: u64 = 10;
const SUMMARY: u64 = 11;

fn resource(attributes: &[(&str, &str)]) -> Message {
    attributes.iter().fold(Message::new(), |message, (key, value)| message.message(1, text(key, value)))
}

/// A metric with these data points, cumulative where that can be said.
fn metric(name: &str, unit: &str, kind: u64, points: impl IntoIterator<Item = Message>) -> Message {
    let data = points.into_iter().fold(Message::new(), |data, point| data.message(1, point)).varint(2, 2);
    Message::new().bytes(1, name).bytes(2, "help").bytes(3, unit).message(kind, data)
}

fn request(resource: Message, metrics: impl IntoIterator<Item = Message>) -> Vec<u8> {
    let scope = Message::new().message(1, Message::new().bytes(1, "library"));
    let scope = metrics.into_iter().fold(scope, |scope, metric| scope.message(2, metric));
    Message::new().message(1, Message::new().message(1, resource).message(2, scope)).0
}

const CART: [(&str, &str); 3] =
    [("service.name", "cart"), ("service.namespace", "shop"), ("service.instance.id", "i-1")];

fn decoded(message: &[u8]) -> Decoded {
    Decoder::default().decode(message).expect("a request of ours")
}

/// Series as text, with the first value and time.
fn shown(decoded: &Decoded) -> Vec<String> {
    let series = decoded.batch.series.iter().map(|(labels, samples)| {
        let value = match &samples[0].value {
            Value::Float(value) if value.to_bits() == STALE_BITS => "stale".to_owned(),
            Value::Float(value) => value.to_string(),
            Value::Histogram(_) => "histogram".to_owned(),
        };
        format!("{labels:?} {value} {}", samples[0].at_ms - T)
    });
    series.collect()
}

fn number(value: f64) -> Message {
    Message::new().fixed64(3, NS).double(4, value)
}

#[test]
fn a_gauge_has_the_labels_of_its_attributes_and_its_service() {
    let point = Message::new()
        .message(7, text("http.route", "/a"))
        .message(7, int("http.status", 200))
        .fixed64(3, NS)
        .fixed64(6, (-7i64) as u64);
    let decoded = decoded(&request(resource(&CART), [metric("memory.usage", "By", GAUGE, [point])]));
    assert!(decoded.left.is_empty(), "{}", decoded.left);
    assert_eq!(
        shown(&decoded),
        [r#"memory_usage_bytes{http_route="/a", http_status="200", instance="i-1", job="shop/cart"} -7 0"#]
    );
    let metadata = Metadata { kind: Kind::Gauge, help: "help".to_owned(), unit: "By".to_owned() };
    assert_eq!(decoded.batch.metadata, [("memory_usage_bytes".to_owned(), metadata)]);
    assert_eq!(decoded.points, 1);
}

#[test]
fn what_a_resource_says_beyond_its_name_is_in_target_info_and_where_it_is_promoted() {
    let all = [&CART[..], &[("host.name", "n1"), ("k8s.pod.name", "p1")]].concat();
    let points = [number(1.0), Message::new().fixed64(3, NS + 400_000_000_000).double(4, 2.0)];
    let message = request(resource(&all), [metric("load", "", GAUGE, points)]);
    let config = Config { promoted: vec!["host.name".to_owned(), "absent".to_owned()], ..Config::default() };
    let mut decoder = Decoder::new(Limits::default(), config);
    let decoded = decoder.decode(&message).expect("ours");
    let info = r#"target_info{host_name="n1", instance="i-1", job="shop/cart", k8s_pod_name="p1"} 1"#;
    assert_eq!(
        shown(&decoded),
        [
            r#"load{host_name="n1", instance="i-1", job="shop/cart"} 1 0"#.to_owned(),
            r#"load{host_name="n1", instance="i-1", job="shop/cart"} 2 400000"#.to_owned(),
            format!("{info} 0"),
            format!("{info} 100000"),
            format!("{info} 250000"),
            format!("{info} 400000"),
        ],
        "often enough that a query finds it all the time"
    );
    let nameless = decoder.decode(&request(resource(&all[3..]), [metric("load", "", GAUGE, [number(1.0)])]));
    let nameless = nameless.expect("ours");
    assert_eq!(shown(&nameless), [r#"load{host_name="n1"} 1 0"#], "of nobody nothing is told");
}

#[test]
fn late_data_does_not_make_target_info_endless() {
    let all = [&CART[..], &[("host.name", "n1")]].concat();
    let points = [Message::new().fixed64(3, 1_000_000).double(4, 1.0), number(2.0)];
    let decoded = decoded(&request(resource(&all), [metric("load", "", GAUGE, points)]));
    assert_eq!(decoded.batch.series.len(), 2 + 100);
}

#[test]
fn a_counter_is_a_total_with_the_traces_of_its_exemplars() {
    let exemplar = Message::new()
        .message(7, text("user", "u1"))
        .fixed64(2, NS + 5_000_000)
        .double(3, 0.25)
        .bytes(4, [0, 0, 0, 0, 0, 0, 0, 9])
        .bytes(5, [1; 16]);
    let long = Message::new().message(7, text("user", &"x".repeat(100))).fixed64(6, 3).bytes(5, [2; 16]);
    let point = number(7.0).message(5, exemplar).message(5, long).message(5, Message::new().fixed64(2, NS));
    let data = Message::new().message(1, point).varint(2, 2).varint(3, 1);
    let sum = Message::new().bytes(1, "requests").bytes(3, "1").message(SUM, data);
    let decoded = decoded(&request(resource(&CART), [sum]));
    assert_eq!(shown(&decoded), [r#"requests_total{instance="i-1", job="shop/cart"} 7 0"#]);
    assert_eq!(decoded.batch.metadata[0].1.kind, Kind::Counter);
    let exemplars: Vec<_> = decoded.batch.exemplars.iter().map(|(_, exemplar)| exemplar).collect();
    let trace = "01".repeat(16);
    let labels = [("trace_id", &*trace), ("span_id", "0000000000000009"), ("user", "u1")];
    assert_eq!(exemplars[0].labels, Labels::new(labels));
    assert_eq!((exemplars[0].value, exemplars[0].at_ms), (0.25, T + 5));
    assert_eq!(exemplars[1].labels, Labels::new([("trace_id", "02".repeat(16))]), "the trace is worth more");
    assert_eq!((exemplars[1].value, exemplars[1].at_ms), (3.0, T));
    assert_eq!((exemplars.len(), decoded.left.count(Cause::NoValue)), (2, 1));
}

#[test]
fn a_sum_that_may_fall_is_a_gauge() {
    let decoded = decoded(&request(resource(&CART), [metric("queue", "{item}", SUM, [number(3.0)])]));
    assert_eq!(shown(&decoded), [r#"queue{instance="i-1", job="shop/cart"} 3 0"#]);
    assert_eq!(decoded.batch.metadata[0].1.kind, Kind::Gauge);
}

#[test]
fn deltas_are_left_out_with_what_to_do_about_it() {
    let with = |kind, temporality| {
        let data = Message::new().message(1, number(1.0)).message(1, number(2.0)).varint(2, temporality);
        Message::new().bytes(1, "requests").message(kind, data)
    };
    let metrics = [with(SUM, 1), with(HISTOGRAM, 1), with(EXPONENTIAL, 1), with(SUM, 0)];
    let decoded = decoded(&request(resource(&CART), metrics));
    assert!(decoded.batch.series.is_empty() && decoded.batch.metadata.is_empty());
    let left = &decoded.left;
    assert_eq!((left.tally.points, left.count(Cause::Delta), left.count(Cause::NoTemporality)), (8, 6, 2));
    assert!(
        left.to_string().contains("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative"),
        "{left}"
    );
}

fn classic(counts: &[u64], bounds: &[f64]) -> Message {
    Message::new()
        .fixed64(3, NS)
        .fixed64(4, counts.iter().sum())
        .double(5, 3.5)
        .packed_fixed64(6, counts.iter().copied())
        .packed_double(7, bounds.iter().copied())
}

#[test]
fn a_histogram_becomes_its_classic_series() {
    let exemplar = |value: f64| Message::new().double(3, value).bytes(5, [3; 16]);
    let point = classic(&[1, 2, 3], &[0.1, 5.0]).message(8, exemplar(0.1)).message(8, exemplar(9.0));
    let decoded = decoded(&request(Message::new(), [metric("http.duration", "s", HISTOGRAM, [point])]));
    assert!(decoded.left.is_empty(), "{}", decoded.left);
    assert_eq!(
        shown(&decoded),
        [
            "http_duration_seconds_sum{} 3.5 0",
            "http_duration_seconds_count{} 6 0",
            r#"http_duration_seconds_bucket{le="0.1"} 1 0"#,
            r#"http_duration_seconds_bucket{le="5"} 3 0"#,
            r#"http_duration_seconds_bucket{le="+Inf"} 6 0"#,
        ]
    );
    let at: Vec<_> = decoded.batch.exemplars.iter().map(|(labels, _)| labels.get("le")).collect();
    assert_eq!(at, ["0.1", "+Inf"], "each where it was counted");
}

#[test]
fn a_histogram_without_buckets_or_sum_is_one_all_the_same() {
    let point = Message::new().fixed64(3, NS).fixed64(4, 6);
    let decoded = decoded(&request(Message::new(), [metric("h", "", HISTOGRAM, [point])]));
    assert_eq!(shown(&decoded), ["h_count{} 6 0", r#"h_bucket{le="+Inf"} 6 0"#]);
}

#[test]
fn a_histogram_whose_parts_do_not_fit_is_left_out_whole() {
    let points = [
        classic(&[1, 2, 3], &[0.1]),
        classic(&[1, 2, 3], &[1.0, 1.0]),
        classic(&[1, 2], &[f64::NAN]),
        classic(&[], &[1.0]),
        classic(&[1, 2], &[1.0]).message(9, text("a", &"x".repeat(5000))),
        classic(&[1, 2], &[1.0]),
    ];
    let decoded = decoded(&request(Message::new(), [metric("h", "", HISTOGRAM, points)]));
    assert_eq!((decoded.points, decoded.left.tally.points), (1, 5));
    assert_eq!((decoded.left.count(Cause::BadBuckets), decoded.left.count(Cause::LabelTooLong)), (4, 1));
    assert_eq!(decoded.batch.series.len(), 4, "{:?}", shown(&decoded));
}

fn exponential(scale: i64, offset: i64, counts: &[u64]) -> Message {
    Message::new()
        .fixed64(3, NS)
        .fixed64(4, counts.iter().sum::<u64>() + 2)
        .double(5, 3.5)
        .zigzag(6, scale)
        .fixed64(7, 2)
        .message(8, Message::new().zigzag(1, offset).packed(2, counts.iter().copied()))
}

fn native(point: Message) -> Histogram {
    let decoded = decoded(&request(Message::new(), [metric("h", "s", EXPONENTIAL, [point])]));
    assert!(decoded.left.is_empty(), "{}", decoded.left);
    match &decoded.batch.series[..] {
        [(labels, samples)] if labels.get("__name__") == "h_seconds" => match &samples[0].value {
            Value::Histogram(histogram) => Histogram::clone(histogram),
            value => panic!("{value:?}"),
        },
        series => panic!("{series:?}"),
    }
}

#[test]
fn an_exponential_histogram_becomes_a_native_one() {
    let histogram = native(exponential(3, -2, &[4, 0, 0, 5, 0, 0, 0, 6]));
    assert_eq!((histogram.schema, histogram.count, histogram.sum, histogram.zero_count), (3, 17.0, 3.5, 2.0));
    assert_eq!(histogram.zero_threshold, 1e-128);
    // OpenTelemetry's bucket 0 ends at 2^(1/8), which is Prometheus' bucket 1.
    assert_eq!(histogram.positive.spans, [Span { offset: -1, length: 4 }, Span { offset: 3, length: 1 }]);
    assert_eq!(histogram.positive.counts, [4.0, 0.0, 0.0, 5.0, 6.0]);
    let wide = native(exponential(0, 0, &[1]).double(14, 0.5));
    assert_eq!(wide.zero_threshold, 0.5);
}

#[test]
fn a_finer_exponential_histogram_is_made_coarser() {
    // Scale 10 to 8: four become one. Indices -5 to 3 are -2, -1 (four of them) and 0.
    let histogram = native(exponential(10, -5, &[1, 1, 1, 1, 1, 1, 1, 1, 1]));
    assert_eq!(histogram.schema, 8);
    assert_eq!(histogram.positive.spans, [Span { offset: -1, length: 3 }]);
    assert_eq!(histogram.positive.counts, [1.0, 4.0, 4.0]);
    let finest = native(exponential(i64::from(i32::MAX), 7, &[1, 2]));
    assert_eq!(
        (finest.positive.spans[0], &finest.positive.counts[..]),
        (Span { offset: 1, length: 1 }, &[3.0][..])
    );
}

#[test]
fn an_exponential_histogram_that_no_native_one_can_hold_is_left_out() {
    let points = [
        exponential(-5, 0, &[1]),
        exponential(0, 0, &[1]).fixed64(4, 9),
        exponential(0, 0, &[1]).fixed64(3, 0),
    ];
    let decoded = decoded(&request(Message::new(), [metric("h", "", EXPONENTIAL, points)]));
    let left = &decoded.left;
    assert_eq!(
        (left.count(Cause::TooCoarse), left.count(Cause::BadHistogram), left.count(Cause::NoTime)),
        (1, 1, 1)
    );
    assert!(decoded.batch.series.is_empty());
}

#[test]
fn a_summary_becomes_its_quantiles() {
    let quantile = |quantile: f64, value: f64| Message::new().double(1, quantile).double(2, value);
    let point = Message::new()
        .fixed64(3, NS)
        .fixed64(4, 10)
        .double(5, 5.0)
        .message(6, quantile(0.5, 0.1))
        .message(6, quantile(0.99, 0.9));
    let decoded = decoded(&request(Message::new(), [metric("rpc", "ms", SUMMARY, [point])]));
    assert_eq!(
        shown(&decoded),
        [
            "rpc_milliseconds_sum{} 5 0",
            "rpc_milliseconds_count{} 10 0",
            r#"rpc_milliseconds{quantile="0.5"} 0.1 0"#,
            r#"rpc_milliseconds{quantile="0.99"} 0.9 0"#,
        ]
    );
    assert_eq!(decoded.batch.metadata[0].1.kind, Kind::Summary);
}

#[test]
fn a_point_without_a_recorded_value_ends_its_series() {
    let stale = |flags: u64| Message::new().fixed64(3, NS).varint(flags, 1);
    let metrics = [
        metric("g", "", GAUGE, [stale(8)]),
        metric("h", "", HISTOGRAM, [stale(10)]),
        metric("s", "", SUMMARY, [stale(8)]),
    ];
    let decoded = decoded(&request(Message::new(), metrics));
    let expected = [
        "g{} stale 0",
        "h_count{} stale 0",
        r#"h_bucket{le="+Inf"} stale 0"#,
        "s_sum{} stale 0",
        "s_count{} stale 0",
    ];
    assert_eq!(shown(&decoded), expected);
    let histogram = native(exponential(0, 0, &[1]).varint(10, 1));
    assert_eq!((histogram.sum.to_bits(), histogram.positive.counts.len()), (STALE_BITS, 0));
}

#[test]
fn points_without_value_or_time_are_left_out_with_their_place() {
    let points = [Message::new().fixed64(3, NS), Message::new().double(4, 1.0), number(1.0)];
    let decoded = decoded(&request(Message::new(), [metric("g", "", GAUGE, points)]));
    let left = &decoded.left;
    assert_eq!((decoded.points, left.tally), (1, Tally::points(2)));
    assert_eq!(
        left.told(),
        ["metric \"g\", data point 0: it has no value", "metric \"g\", data point 1: it has no time"]
    );
}

#[test]
fn keys_that_become_one_label_have_their_values_joined() {
    let point =
        number(1.0).message(7, text("a_b", "2")).message(7, text("a.b", "1")).message(7, text("job", "mine"));
    let decoded = decoded(&request(resource(&CART[..1]), [metric("g", "", GAUGE, [point])]));
    assert_eq!(shown(&decoded), [r#"g{a_b="1;2", job="cart"} 1 0"#], "and the service is who it is");
}

#[test]
fn names_can_stay_as_they_are() {
    let config = Config { translation: Translation::NoTranslation, ..Config::default() };
    let point = number(1.0).message(7, text("http.route", "/a"));
    let message = request(Message::new(), [metric("http.requests", "By", GAUGE, [point])]);
    let decoded = Decoder::new(Limits::default(), config).decode(&message).expect("ours");
    assert_eq!(shown(&decoded), [r#"http.requests{http.route="/a"} 1 0"#]);
}

#[test]
fn what_has_no_usable_name_is_left_out() {
    let nameless = metric("…", "", GAUGE, [number(1.0), number(2.0)]);
    let attribute = metric("g", "", GAUGE, [number(1.0).message(7, text("..", "x"))]);
    let kindless = Message::new().bytes(1, "x");
    let decoded = decoded(&request(Message::new(), [nameless, attribute, kindless]));
    let left = &decoded.left;
    assert_eq!(
        (left.count(Cause::UnusableName), left.count(Cause::UnknownKind), left.tally.points),
        (3, 1, 3)
    );
}

#[test]
fn what_is_no_such_request_is_refused_with_its_place() {
    let message = request(resource(&CART), [metric("g", "", GAUGE, [number(1.0)])]);
    for end in 1..message.len() {
        match Decoder::default().decode(&message[..end]) {
            Err(Unreadable::Malformed { offset, .. }) => assert!(offset <= end),
            Ok(decoded) => assert!(decoded.points <= 1, "cut between two fields"),
            Err(other) => panic!("{other}"),
        }
    }
    let broken = Message::new().bytes(1, [0xff]).message(GAUGE, Message::new());
    let refused = Decoder::default().decode(&request(Message::new(), [broken])).map(|_| ());
    assert!(refused.is_err_and(|error| error.to_string().contains("not UTF-8")));
}

#[test]
fn more_than_one_request_may_hold_is_refused_whole() {
    let message = request(Message::new(), [metric("g", "", GAUGE, [number(1.0), number(2.0), number(3.0)])]);
    for limits in
        [Limits { samples: 2, ..Limits::default() }, Limits { message_bytes: 10, ..Limits::default() }]
    {
        let refused = Decoder::new(limits, Config::default()).decode(&message).map(|_| ());
        assert!(matches!(refused, Err(Unreadable::TooMuch { .. })), "{refused:?}");
    }
}
