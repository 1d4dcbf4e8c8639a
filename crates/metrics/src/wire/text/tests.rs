//! What becomes of pages.

use promql::{Labels, Value};

use super::super::{Cause, Decoded, Limits, STALE_BITS};
use super::{Format, HonorLabels, PageError, TargetDecoder};
use crate::{Batch, Kind, Metadata};

const NOW: i64 = 1_760_000_000_000;

fn target() -> TargetDecoder {
    TargetDecoder::new(Limits::default(), [], HonorLabels::No)
}

fn decode(format: Format, page: &str) -> Result<Decoded, PageError> {
    target().decode(format, page.as_bytes(), NOW)
}

/// Samples as text; times beside the one of the page.
fn shown(batch: &Batch) -> Vec<String> {
    let lines = batch.series.iter().flat_map(|(labels, samples)| {
        samples.iter().map(move |sample| {
            let value = match &sample.value {
                Value::Float(value) if value.to_bits() == STALE_BITS => "stale".to_owned(),
                Value::Float(value) => value.to_string(),
                Value::Histogram(_) => "histogram".to_owned(),
            };
            let at = if sample.at_ms == NOW { String::new() } else { format!(" @{}", sample.at_ms) };
            format!("{labels:?} {value}{at}")
        })
    });
    lines.collect()
}

fn taken(format: Format, page: &str) -> Decoded {
    let decoded = decode(format, page).expect("a page of ours");
    assert!(decoded.left.is_empty(), "{}", decoded.left);
    decoded
}

#[test]
fn a_page_in_text_is_read() {
    let page = r#"
# HELP http_requests_total The total number of "HTTP" requests \\ all\nof them
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# a comment, # HELP or not
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
	something_weird{problem="division by zero",} +Inf -3982045
spaced { a = "b" , c="d" } NaN
{"dotted.name","label with space"="é"} -Inf
empty{a="",b="x"} 0
unescaped{a="\d"} 1"#;
    let decoded = taken(Format::Prometheus, page);
    assert_eq!(
        shown(&decoded.batch),
        [
            r#"http_requests_total{code="200", method="post"} 1027 @1395066363000"#,
            r#"http_requests_total{code="400", method="post"} 3 @1395066363000"#,
            r#"msdos_file_access_time_seconds{error="Cannot find file:\n\"FILE.TXT\"", path="C:\\DIR\\FILE.TXT"} 1458255915"#,
            "metric_without_timestamp_and_labels{} 12.47",
            r#"something_weird{problem="division by zero"} inf @-3982045"#,
            r#"spaced{a="b", c="d"} NaN"#,
            r#"dotted.name{label with space="é"} -inf"#,
            r#"empty{b="x"} 0"#,
            r#"unescaped{a="\\d"} 1"#,
        ]
    );
    let help = "The total number of \"HTTP\" requests \\ all\nof them".to_owned();
    let metadata = Metadata { kind: Kind::Counter, help, unit: String::new() };
    assert_eq!(decoded.batch.metadata, [("http_requests_total".to_owned(), metadata)]);
}

#[test]
fn a_page_of_openmetrics_is_read() {
    let page = r#"# TYPE foo_seconds counter
# UNIT foo_seconds seconds
# HELP foo_seconds Some \"text\"
foo_seconds_total{a="b"} 17.0 1520879607.789 # {trace_id="abc"} 0.5 1520879607.7
foo_seconds_created{a="b"} 1520430000.123
# TYPE bar info
# TYPE h gaugehistogram
h_bucket{le="1"} 3 # {} 0.5
{"g.h",x="y"} 2
# EOF
"#;
    for page in [page, page.trim_end()] {
        let decoded = taken(Format::OpenMetrics, page);
        assert_eq!(
            shown(&decoded.batch),
            [
                r#"foo_seconds_total{a="b"} 17 @1520879607789"#,
                r#"foo_seconds_created{a="b"} 1520430000.123"#,
                r#"h_bucket{le="1.0"} 3"#,
                r#"g.h{x="y"} 2"#,
            ]
        );
        let [(series, one), (_, other)] = &decoded.batch.exemplars[..] else { panic!("{:?}", decoded.batch) };
        assert_eq!(
            (series.get("__name__"), &one.labels),
            ("foo_seconds_total", &Labels::new([("trace_id", "abc")]))
        );
        assert_eq!((one.value, one.at_ms), (0.5, 1_520_879_607_700));
        assert_eq!((other.labels.len(), other.at_ms), (0, NOW));
        let kinds: Vec<_> =
            decoded.batch.metadata.iter().map(|(name, known)| (&**name, known.kind, &*known.unit)).collect();
        let expected = [
            ("foo_seconds", Kind::Counter, "seconds"),
            ("bar", Kind::Info, ""),
            ("h", Kind::GaugeHistogram, ""),
        ];
        assert_eq!(kinds, expected);
        assert_eq!(decoded.batch.metadata[0].1.help, "Some \"text\"");
    }
}

#[test]
fn boundaries_and_quantiles_are_written_in_one_way() {
    let page = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.50\"} 1\nh_bucket{le=\"+Inf\"} 2\n\
                # TYPE s summary\ns{quantile=\"1\"} 1\ns{le=\"1\"} 1\n# TYPE g gauge\ng{le=\"1\"} 1\n";
    let decoded = taken(Format::Prometheus, page);
    assert_eq!(
        shown(&decoded.batch),
        [
            r#"h_bucket{le="1.0"} 1"#,
            r#"h_bucket{le="2.5"} 1"#,
            r#"h_bucket{le="+Inf"} 2"#,
            r#"s{quantile="1.0"} 1"#,
            r#"s{le="1"} 1"#,
            r#"g{le="1"} 1"#,
        ]
    );
}

#[test]
fn a_line_that_is_none_is_named_with_its_column() {
    for (page, error) in [
        ("a 1\nb{c=\"d} 1\n", "line 2, column 5: the quotes are not closed"),
        ("a{b=\"c\"} x\n", "line 1, column 10: \"x\" is no number"),
        ("a{b=\"c\"}\n", "line 1, column 9: expected the value, found the end of the line"),
        ("a 1 2 3\n", "line 1, column 7: expected the end of the line, found '3'"),
        ("a 1 2.5\n", "line 1, column 5: \"2.5\" is no time"),
        ("a 1e999\n", "line 1, column 3: \"1e999\" is no number"),
        ("a{b=\"c\",b=\"d\"} 1\n", "line 1, column 9: the label b is there twice"),
        ("a{b=\"c\" d=\"e\"} 1\n", "line 1, column 9: expected a comma or the closing brace, found 'd'"),
        ("a{1b=\"c\"} 1\n", "line 1, column 3: expected the name of a label, found '1'"),
        ("a{b} 1\n", "line 1, column 4: expected =, found '}'"),
        ("a{b=c} 1\n", "line 1, column 5: expected a text in quotes, found 'c'"),
        ("{b=\"c\"} 1\n", "line 1, column 8: the sample has no name"),
        ("{\"a\",\"b\"} 1\n", "line 1, column 6: the label __name__ is there twice"),
        ("a{__name__=\"b\"} 1\n", "line 1, column 3: the label __name__ is there twice"),
        ("{\"\"} 1\n", "line 1, column 2: a name is empty"),
        ("1a 1\n", "line 1, column 1: expected the name of a metric, found '1'"),
        ("é 1\n", "line 1, column 1: expected the name of a metric, found 'é'"),
        (
            "# TYPE a counter\n# TYPE b info\n",
            "line 2, column 10: expected counter, gauge, histogram, summary or untyped",
        ),
        ("# TYPE 1 counter\n", "line 1, column 8: expected the name of a metric, found '1'"),
        ("a 1\r\n", "line 1, column 3: \"1\\r\" is no number"),
        ("a 1 # {b=\"c\"} 1\n", "line 1, column 5: \"#\" is no time"),
    ] {
        let found = decode(Format::Prometheus, page).map(|decoded| shown(&decoded.batch));
        assert_eq!(found.map_err(|error| error.to_string()), Err(error.to_owned()), "{page:?}");
    }
    let broken = target().decode(Format::Prometheus, b"a 1\nb{c=\"\xff\"} 1\n", NOW).map(|_| ());
    assert_eq!(
        broken.map_err(|error| error.to_string()),
        Err("line 2, column 6: the page is not UTF-8".to_owned())
    );
}

#[test]
fn openmetrics_is_strict_about_blanks_and_its_end() {
    for (page, error) in [
        ("a 1\n", "line 2, column 1: the page does not end with # EOF"),
        ("a 1\n# EOF\nb 1\n", "line 3, column 1: there is more after # EOF"),
        ("a 1\n# EOF\n\n", "line 3, column 1: there is more after # EOF"),
        ("a  1\n# EOF\n", "line 1, column 3: expected the value, found ' '"),
        ("a 1 \n# EOF\n", "line 1, column 4: expected the end of the line, found ' '"),
        ("\n# EOF\n", "line 1, column 1: expected the name of a metric, found the end of the line"),
        (
            "# a comment\n# EOF\n",
            "line 1, column 2: expected \" HELP \", \" TYPE \", \" UNIT \" or \" EOF\", found ' '",
        ),
        (
            "# TYPE a untyped\n# EOF\n",
            "line 1, column 10: expected counter, gauge, histogram, gaugehistogram, summary, info, stateset or unknown",
        ),
        (
            "# UNIT a_seconds bytes\n# EOF\n",
            "line 1, column 18: the unit \"bytes\" is not the end of the name \"a_seconds\"",
        ),
        ("a 1 NaN\n# EOF\n", "line 1, column 5: \"NaN\" is no time"),
        (
            "a 1 # {b=\"c\"}\n# EOF\n",
            "line 1, column 14: expected a space and the value, found the end of the line",
        ),
        ("a 1 # {\"b\"} 1\n# EOF\n", "line 1, column 8: an exemplar has no name of a metric"),
        ("a{b=\"c\", d=\"e\"} 1\n# EOF\n", "line 1, column 9: expected the name of a label, found ' '"),
    ] {
        let found = decode(Format::OpenMetrics, page).map(|decoded| shown(&decoded.batch));
        assert_eq!(found.map_err(|error| error.to_string()), Err(error.to_owned()), "{page:?}");
    }
}

#[test]
fn the_labels_of_the_target_count_or_the_exposed_ones_do() {
    let page = b"up{job=\"x\",exported_job=\"y\",a=\"b\"} 1\n";
    let labels = [("job", "node"), ("instance", "n1:9100")];
    let of = |honor| {
        let mut target = TargetDecoder::new(Limits::default(), labels, honor);
        let decoded = target.decode(Format::Prometheus, page, NOW).expect("ours");
        shown(&decoded.batch)
    };
    let renamed =
        r#"up{a="b", exported_exported_job="x", exported_job="y", instance="n1:9100", job="node"} 1"#;
    assert_eq!(of(HonorLabels::No), [renamed]);
    assert_eq!(of(HonorLabels::Yes), [r#"up{a="b", exported_job="y", instance="n1:9100", job="x"} 1"#]);
}

#[test]
fn a_series_that_disappears_gets_a_marker_once() {
    let mut target = target();
    let mut next =
        |page: &str| shown(&target.decode(Format::Prometheus, page.as_bytes(), NOW).expect("ours").batch);
    assert_eq!(next("a 1\nb{x=\"1\",y=\"2\"} 2\nc 3 1395066363000\n").len(), 3);
    assert_eq!(
        next("b{y=\"2\",x=\"1\"} 2\n"),
        [r#"b{x="1", y="2"} 2"#, "a{} stale"],
        "another way to write b is b"
    );
    assert_eq!(next("b{y=\"2\",x=\"1\"} 2\n"), [r#"b{x="1", y="2"} 2"#]);
    assert_eq!(next(""), [r#"b{x="1", y="2"} stale"#]);
    assert_eq!(next("a 1\n"), ["a{} 1"]);
}

#[test]
fn a_page_that_fails_ends_nothing_and_a_target_that_is_down_ends_all() {
    let mut target = target();
    assert!(target.decode(Format::Prometheus, b"a 1\nb 2\nc 3 1395066363000\n", NOW).is_ok());
    assert!(target.decode(Format::Prometheus, b"a 1\nd 4\nb", NOW).is_err());
    let mut ended = shown(&target.down(NOW));
    ended.sort();
    assert_eq!(ended, ["a{} stale", "b{} stale"], "what came in the page that failed was never stored");
    assert!(target.down(NOW).series.is_empty(), "and that once");
}

#[test]
fn what_stands_in_a_page_twice_is_taken_once() {
    let decoded = decode(Format::Prometheus, "a 1\na 2\na 1\nb 1 5\nb 2 6\nb 3 4\n").expect("ours");
    assert_eq!(shown(&decoded.batch), ["a{} 1", "a{} 1", "b{} 1 @5", "b{} 2 @6"]);
    assert_eq!((decoded.left.count(Cause::DuplicateTime), decoded.left.count(Cause::OutOfOrder)), (1, 1));
    assert!(decoded.left.told()[0].starts_with("line 2: a{} "), "{}", decoded.left);
}

#[test]
fn a_page_has_limits() {
    let refused = |limits, page: &str| {
        let mut target = TargetDecoder::new(limits, [("job", "a")], HonorLabels::No);
        target.decode(Format::Prometheus, page.as_bytes(), NOW).map(|_| ()).map_err(|error| error.to_string())
    };
    let limits = Limits { samples: 2, labels: 3, value_bytes: 10, metadata: 1, ..Limits::default() };
    assert_eq!(refused(limits, "a 1\nb 2\n"), Ok(()));
    assert_eq!(
        refused(limits, "a 1\nb 2\nc 3\n"),
        Err("line 3, column 1: the page has more than 2 samples".to_owned())
    );
    assert!(
        refused(limits, "a{b=\"c\",d=\"e\"} 1\n").is_err_and(|error| error.contains("more than 3 labels"))
    );
    assert!(refused(limits, "a{b=\"12345678901\"} 1\n").is_err_and(|error| error.contains("more than 10")));
    let metrics = "# TYPE a gauge\n# TYPE b gauge\n";
    assert!(refused(limits, metrics).is_err_and(|error| error.contains("more than 1 metrics")));
    let short = Limits { message_bytes: 3, ..Limits::default() };
    assert!(refused(short, "a 1\n").is_err_and(|error| error.contains("3 bytes")));
}

#[test]
fn the_content_type_says_which_format_it_is() {
    for (kind, format) in [
        ("text/plain; version=0.0.4; charset=utf-8", Some(Format::Prometheus)),
        ("text/plain", Some(Format::Prometheus)),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", Some(Format::OpenMetrics)),
        ("text/html; charset=utf-8", None),
        ("", None),
    ] {
        assert_eq!(Format::of_content_type(kind), format, "{kind}");
    }
}
