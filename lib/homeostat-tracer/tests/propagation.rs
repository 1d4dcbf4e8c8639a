//! Contexts in headers, by the rules of the W3C recommendation: the cases of its own test harness, and what
//! Envoy and Istio send.

use homeostat_tracer::propagation::{self, extract, inject_context};
use homeostat_tracer::{Baggage, Context};

const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-01";
const TRACE: &str = "12345678901234567890123456789012";

fn read(headers: &[(&str, &str)]) -> Option<Context> {
    let owned: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    extract(&owned)
}

/// The headers that go out for those that came in.
fn passed_on(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    if let Some(context) = read(headers) {
        inject_context(&context, &mut out);
    }
    out
}

fn state_of(states: &[&str]) -> Option<String> {
    let mut headers = vec![("traceparent", PARENT)];
    headers.extend(states.iter().map(|state| ("tracestate", *state)));
    passed_on(&headers).into_iter().find(|(name, _)| name == "tracestate").map(|(_, value)| value)
}

fn parent_is_taken(value: &str) -> bool {
    read(&[("traceparent", value)]).is_some_and(|context| context.trace_id().to_string() == TRACE)
}

#[test]
fn a_parent_is_taken_where_its_version_allows() {
    assert!(parent_is_taken(PARENT));
    assert!(parent_is_taken(&format!("\t {PARENT} \t")));
    assert!(parent_is_taken(&PARENT.replacen("00", "cc", 1)));
    assert!(parent_is_taken(&format!("{}-what-the-future-will-be-like", PARENT.replacen("00", "cc", 1))));
    for wrong in [
        format!("{PARENT}."),
        format!("{PARENT}-what-the-future-will-be-like"),
        format!("{}.what-the-future-will-be-like", PARENT.replacen("00", "cc", 1)),
        PARENT.replacen("00", "ff", 1),
        PARENT.replacen("00", ".0", 1),
        PARENT.replacen("00", "0", 1),
        PARENT.replacen("00", "000", 1),
        PARENT.replacen("-1234567890123456-", "-123456789012345-", 1),
        PARENT.replacen("-1234567890123456-", "-12345678901234567-", 1),
        PARENT.replacen("-1234567890123456-", "-0000000000000000-", 1),
        PARENT.replacen("-1234567890123456-", "-.234567890123456-", 1),
        PARENT.replacen(TRACE, "00000000000000000000000000000000", 1),
        PARENT.replacen(TRACE, "1234567890123456789012345678901A", 1),
        PARENT.replacen("-01", "-1", 1),
        PARENT.replacen("-01", "-.0", 1),
        PARENT.replacen("-01", "-001", 1),
        PARENT.replace('-', "_"),
        String::new(),
    ] {
        assert!(read(&[("traceparent", &wrong)]).is_none(), "{wrong:?}");
    }
}

#[test]
fn two_parents_are_none_and_names_ignore_case() {
    assert!(read(&[("traceparent", PARENT), ("TraceParent", PARENT)]).is_none());
    assert!(read(&[("TRACEPARENT", PARENT)]).is_some());
}

#[test]
fn flags_that_are_not_known_do_not_go_on() {
    let out = passed_on(&[("traceparent", &PARENT.replacen("-01", "-ff", 1))]);
    assert_eq!(out[0].1, PARENT.replacen("-01", "-03", 1));
}

#[test]
fn a_state_goes_on_as_it_came_in_one_header() {
    assert_eq!(state_of(&["foo=1,bar=2"]).as_deref(), Some("foo=1,bar=2"));
    assert_eq!(
        state_of(&["foo=1", "", "bar=2,rojo=1", "baz=3"]).as_deref(),
        Some("foo=1,bar=2,rojo=1,baz=3")
    );
    assert_eq!(state_of(&["foo=1 \t , \t bar=2, \t baz=3\t,,"]).as_deref(), Some("foo=1,bar=2,baz=3"));
    let key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@";
    let value: String = (' '..='~').filter(|c| *c != ',' && *c != '=').collect();
    let all = format!("{key}={value}");
    assert_eq!(state_of(&[&all]), Some(all.clone()));
    let longest = format!("{}={}", "z".repeat(256), "x".repeat(256));
    assert_eq!(state_of(&[&longest]), Some(longest.clone()));
    assert_eq!(state_of(&["foo=1,foo=1"]).as_deref(), Some("foo=1,foo=1"));
}

#[test]
fn a_malformed_state_is_dropped_whole_and_the_parent_stands() {
    for wrong in [
        "foo",
        "foo=",
        "=1",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "@foo=1",
        "foo=bar=baz",
        "foo@=1,bar",
        "foo=\u{e9}",
    ] {
        assert_eq!(state_of(&[wrong, "bar=2"]), None, "{wrong:?}");
    }
    assert_eq!(state_of(&[&format!("{}=1", "z".repeat(257))]), None);
    assert_eq!(state_of(&[&format!("a={}", "z".repeat(257))]), None);
    assert!(read(&[("traceparent", PARENT), ("tracestate", "foo")]).is_some());
    let members =
        |count: usize| (0..count).map(|number| format!("k{number}=1")).collect::<Vec<_>>().join(",");
    assert_eq!(state_of(&[&members(32)]), Some(members(32)));
    assert_eq!(state_of(&[&members(33)]), None);
    assert!(read(&[("tracestate", "foo=1")]).is_none(), "a state alone is nothing");
}

#[test]
fn probabilities_travel_and_nonsense_among_them_does_not() {
    assert_eq!(
        state_of(&["x=1,ot=th:1;rv:9b8233f7e3a151;k:v"]).as_deref(),
        Some("ot=th:1;rv:9b8233f7e3a151;k:v,x=1")
    );
    assert_eq!(state_of(&["ot=th:10000000000000"]).as_deref(), Some("ot=th:1"));
    assert_eq!(state_of(&["ot=th:0"]).as_deref(), Some("ot=th:0"));
    assert_eq!(state_of(&["ot=th:x;rv:12"]), None);
    assert_eq!(
        state_of(&["ot=th:f;rv:00000000000000"]).as_deref(),
        Some("ot=rv:00000000000000"),
        "it was not kept"
    );
    let full = format!("{},homeostat=u", (0..31).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(","));
    let out = state_of(&[&full]).unwrap();
    assert!(out.starts_with("homeostat=u,k0=1") && out.split(',').count() == 32, "{out}");
}

#[test]
fn b3_counts_where_there_is_no_traceparent() {
    let single = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
    let context = read(&[("b3", single)]).unwrap();
    assert_eq!(context.trace_id().to_string(), "80f198ee56343ba864fe8b2a57d3eff7");
    assert_eq!(context.span_id().to_string(), "e457b5a2e4d86bd1");
    assert!(context.is_sampled() && context.is_remote());
    let short = read(&[("b3", "64fe8b2a57d3eff7-e457b5a2e4d86bd1-0")]).unwrap();
    assert_eq!(short.trace_id().get(), 0x64fe_8b2a_57d3_eff7);
    assert!(!short.is_sampled());
    let several = [("X-B3-TraceId", "463ac35c9f6413ad48485a3953bb6124"), ("X-B3-SpanId", "a2fb4a1d1a96d312")];
    assert!(read(&several).unwrap().is_sampled(), "left to us");
    let not = [several[0], several[1], ("x-b3-sampled", "0")];
    assert!(!read(&not).unwrap().is_sampled());
    assert!(read(&[not[0], not[1], not[2], ("x-b3-flags", "1")]).unwrap().is_sampled(), "debug");
    for wrong in ["0", "1", "", "xyz-e457b5a2e4d86bd1", "80f198ee56343ba8-e457b5a2e4d86bd1-2"] {
        assert!(read(&[("b3", wrong)]).is_none(), "{wrong:?}");
    }
    assert_eq!(read(&[("b3", single), ("traceparent", PARENT)]).unwrap().trace_id().to_string(), TRACE);
    assert!(read(&[("b3", single), ("traceparent", "nonsense")]).is_none(), "malformed is not absent");
    let mut out: Vec<(String, String)> = Vec::new();
    propagation::inject_b3(&context, &mut out);
    assert_eq!(out[0].1, "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1");
}

#[test]
fn baggage_and_the_request_id_travel_with_the_trace() {
    let headers = [
        ("traceparent", PARENT),
        ("baggage", "user=a%20b"),
        ("baggage", "tier=gold;p=1"),
        ("x-request-id", "8f2c-11"),
    ];
    let context = read(&headers).unwrap();
    assert_eq!((context.baggage().get("user"), context.request_id()), (Some("a b"), Some("8f2c-11")));
    let mut baggage = context.baggage().clone();
    baggage.insert("added", "here");
    let mut out: Vec<(String, Vec<u8>)> = vec![("Baggage".to_owned(), b"stale=1".to_vec())];
    inject_context(&context.with_baggage(baggage), &mut out);
    let value = |name: &str| out.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice());
    assert_eq!(value("baggage"), Some(&b"user=a%20b,tier=gold;p=1,added=here"[..]));
    assert_eq!((value("x-request-id"), value("Baggage")), (Some(&b"8f2c-11"[..]), None));
    let alone = vec![("baggage".to_owned(), "user=x".to_owned())];
    let mut wanted = Baggage::new();
    wanted.insert("user", "x");
    assert_eq!(propagation::extract_baggage(&alone), wanted);
}

#[cfg(feature = "http")]
#[test]
fn header_maps_carry_contexts() {
    let mut headers = http::HeaderMap::new();
    inject_context(&read(&[("traceparent", PARENT), ("tracestate", "a=1")]).unwrap(), &mut headers);
    assert_eq!(headers["traceparent"], PARENT);
    headers.append("tracestate", "b=2".parse().unwrap());
    let mut out = http::HeaderMap::new();
    inject_context(&extract(&headers).unwrap(), &mut out);
    assert_eq!(out["tracestate"], "a=1,b=2");
}

#[cfg(feature = "tonic")]
#[test]
fn grpc_metadata_carries_contexts() {
    let mut metadata = tonic::metadata::MetadataMap::new();
    inject_context(&read(&[("traceparent", PARENT)]).unwrap(), &mut metadata);
    assert_eq!(extract(&metadata).unwrap().trace_id().to_string(), TRACE);
}
