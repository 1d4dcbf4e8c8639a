//! What templates print, and what is refused where it stands.

use super::Template;
use super::expand::Given;
use crate::{Labels, Point, Value};

fn expanded_of(text: &str, value: f64) -> String {
    let labels = Labels::new([("instance", "web-1:8080"), ("job", "api"), ("a-b", "dashed")]);
    let external = Labels::new([("region", "eu")]);
    let ask = |query: &str| match query {
        "none" => Ok(Vec::new()),
        "wrong" => Err("1:1: no".to_owned()),
        _ => Ok(vec![
            Point { labels: Labels::new([("__name__", "up"), ("host", "b")]), value: Value::Float(2.0) },
            Point { labels: Labels::new([("__name__", "up"), ("host", "a")]), value: Value::Float(1.5) },
        ]),
    };
    let given = Given {
        labels: &labels,
        value: &Value::Float(value),
        external_labels: &external,
        external_url: "http://here:9090",
        at_ms: 1_500,
        ask: &ask,
    };
    Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).expand(&given)
}

fn expanded(text: &str) -> String {
    expanded_of(text, 1234.5678)
}

#[test]
fn a_template_says_what_it_says_in_prometheus() {
    let cases = [
        ("plain { text } stays", "plain { text } stays"),
        ("{{ $labels.job }} on {{ $labels.instance }}", "api on web-1:8080"),
        ("{{ .Labels.job }}{{ $.Labels.job }} {{ .Value }} {{$value}}", "apiapi 1234.5678 1234.5678"),
        ("{{ $labels.nothing }}|", "|"),
        ("{{ $externalLabels.region }} {{ .ExternalURL }}", "eu http://here:9090"),
        ("a  {{- /* a comment */ -}}  b {{- $value | printf \"%.1f\" -}} c", "ab1234.6c"),
        (
            "{{ printf \"%.2f of %s (%d) %5.1f%% %-4s| %q %v\" $value $labels.job 7 2.25 \"x\" \"y\" true }}",
            "1234.57 of api (7)   2.2% x   | \"y\" true",
        ),
        ("{{ printf \"%d %s\" $value }}", "%!d(float64=1234.5678) %!s(MISSING)"),
        ("{{ if gt $value 1000.0 }}much{{ else if gt $value 10.0 }}some{{ else }}little{{ end }}", "much"),
        ("{{ if not (eq $labels.job \"db\" \"api\") }}other{{ else }}ours{{ end }}", "ours"),
        ("{{ if and $labels.job (ne $labels.job \"db\") }}yes{{ end }}", "yes"),
        ("{{ if or $labels.none $labels.job }}yes{{ end }}", "yes"),
        ("{{ range query \"up\" }}{{ .Labels.host }}={{ .Value }};{{ end }}", "b=2;a=1.5;"),
        ("{{ range $i, $s := query \"up\" }}{{ $i }}{{ $s | label \"host\" }} {{ end }}", "0b 1a "),
        ("{{ range query \"none\" }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ range query \"up\" | sortByLabel \"host\" }}{{ . | value }},{{ end }}", "1.5,2,"),
        ("{{ with query \"up\" }}{{ . | first | value | humanize }}{{ end }}", "2"),
        ("{{ query \"up\" | first | label \"host\" }}", "b"),
        ("{{ (query \"up\" | first).Value }}", "2"),
        ("{{ query \"up\" | len }}", "2"),
        ("{{ $x := 3 }}{{ range query \"up\" }}{{ $x = 4 }}{{ end }}{{ $x }}", "4"),
        ("{{ with $x := $labels.job }}{{ $x }}{{ end }}", "api"),
        ("{{ index $labels \"a-b\" }}", "dashed"),
        (
            "{{ range $k, $v := $labels }}{{ $k }}={{ $v }} {{ end }}",
            "a-b=dashed instance=web-1:8080 job=api ",
        ),
        (
            "{{ $labels.instance | stripPort }} {{ stripDomain \"db.example.com:5432\" }} {{ stripDomain \"10.0.0.1:80\" }}",
            "web-1 db:5432 10.0.0.1:80",
        ),
        ("{{ reReplaceAll \"(.*):(.*)\" \"$1 at $2\" $labels.instance }}", "web-1 at 8080"),
        ("{{ match \"^web\" $labels.instance }} {{ match \"^db\" $labels.instance }}", "true false"),
        (
            "{{ \"hello wide world\" | title }} {{ toUpper \"a\" }} {{ toLower \"B\" }}",
            "Hello Wide World A b",
        ),
        ("{{ `raw }} string` }}", "raw }} string"),
        ("{{ parseDuration \"1h30m\" }} {{ now }}", "5400 1.5"),
        ("{{ graphLink \"up == 1\" }}", "/graph?g0.expr=up+%3D%3D+1&g0.tab=0"),
        ("{{ print \"a\" 1 2 \"b\" }}", "a1 2b"),
        ("{{ nil | printf \"%v\" }}", "<nil>"),
        ("{{ $labels }}", "map[a-b:dashed instance:web-1:8080 job:api]"),
    ];
    for (template, expected) in cases {
        assert_eq!(expanded(template), expected, "{template}");
    }
}

#[test]
fn numbers_are_made_readable_as_prometheus_makes_them() {
    let cases: [(&str, f64, &str); 31] = [
        ("humanize", 0.0, "0"),
        ("humanize", 1.0, "1"),
        ("humanize", 1_234_567.0, "1.235M"),
        ("humanize", 0.12, "120m"),
        ("humanize", 12345e21, "12.35Y"),
        ("humanize", f64::INFINITY, "+Inf"),
        ("humanize", f64::NAN, "NaN"),
        ("humanize", 999_999.0, "1000k"),
        ("humanize1024", 0.0, "0"),
        ("humanize1024", 1_048_576.0, "1Mi"),
        ("humanize1024", 0.5, "0.5"),
        ("humanize1024", 1500.0, "1.465ki"),
        ("humanizePercentage", 0.01234, "1.234%"),
        ("humanizePercentage", -0.22222, "-22.22%"),
        ("humanizePercentage", 123.456789, "1.235e+04%"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 1.0, "1s"),
        ("humanizeDuration", 60.0, "1m 0s"),
        ("humanizeDuration", 3600.0, "1h 0m 0s"),
        ("humanizeDuration", 86400.0, "1d 0h 0m 0s"),
        ("humanizeDuration", 90061.0, "1d 1h 1m 1s"),
        ("humanizeDuration", -3661.0, "-1h 1m 1s"),
        ("humanizeDuration", 899.99, "14m 59s"),
        ("humanizeDuration", 0.1, "100ms"),
        ("humanizeDuration", 0.0001, "100us"),
        ("humanizeDuration", 12.345678, "12.35s"),
        ("humanizeDuration", f64::NEG_INFINITY, "-Inf"),
        ("humanizeTimestamp", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("humanizeTimestamp", 0.0, "1970-01-01 00:00:00 +0000 UTC"),
        ("humanizeTimestamp", f64::NAN, "NaN"),
        ("humanizeTimestamp", -1.5, "1969-12-31 23:59:58.5 +0000 UTC"),
    ];
    for (function, value, expected) in cases {
        let template = format!("{{{{ $value | {function} }}}}");
        assert_eq!(expanded_of(&template, value), expected, "{value} {function}");
    }
}

#[test]
fn what_has_no_meaning_for_an_alert_is_said_in_its_place() {
    let cases = [
        ("{{ query \"wrong\" }}", "1:1: no"),
        ("{{ query \"none\" | first }}", "first() called on vector with no elements"),
        ("{{ $labels.job | humanize }}", "\"api\" is no number"),
        ("{{ if eq $value 1 }}{{ end }}", "incompatible types for comparison: float64 and int"),
        ("{{ range $value }}{{ end }}", "range can't iterate over float64"),
    ];
    for (template, why) in cases {
        assert_eq!(expanded(template), format!("<error expanding template: {why}>"), "{template}");
    }
}

#[test]
fn what_is_not_known_is_refused_with_its_place() {
    let cases = [
        ("a\nb {{ $label.x }}", 2, 6, "undefined variable \"$label\""),
        ("{{ humanise $value }}", 1, 4, "\"humanise\" is not known"),
        ("{{ $value | reReplaceAll \"a\" }}", 1, 13, "takes 3 arguments, not 2"),
        ("{{ if $value }}", 1, 4, "has no end"),
        ("text {{ $value", 1, 6, "has no end"),
        ("{{ end }}", 1, 4, "ends nothing"),
        ("{{ .Label.x }}", 1, 4, "there is no .Label"),
        ("{{ template \"x\" }}", 1, 4, "`template` is not supported"),
        ("{{ \"abc }}", 1, 4, "has no end"),
        ("{{ ( $value }}", 1, 4, "not closed"),
        ("{{ $value $value }}", 1, 4, "no function"),
        ("{{ }}", 1, 3, "nothing between"),
        ("{{ range query \"up\" }}{{ $y := . }}{{ end }}{{ $y }}", 1, 48, "undefined variable"),
    ];
    for (template, line, column, message) in cases {
        let error = Template::parse(template).expect_err(template);
        assert!(error.message.contains(message), "{template}: {error}");
        assert_eq!((error.position.line, error.position.column), (line, column), "{template}: {error}");
    }
}
