//! What JSON becomes, byte by byte, and what is refused.

use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

fn read(signal: Signal, text: &str) -> Result<Vec<u8>, String> {
    transcode(signal, text.as_bytes()).map_err(|error| error.to_string())
}

/// A message with one field of bytes.
fn nested(number: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, inner);
    out
}

fn span(fields: &str) -> Result<Vec<u8>, String> {
    read(Signal::Traces, &format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#))
}

fn spans(fields: &[u8]) -> Vec<u8> {
    nested(1, &nested(2, &nested(2, fields)))
}

#[test]
fn ids_are_hexadecimal_and_times_strings_or_numbers() {
    let expected = spans(b"\x0a\x02\xab\xcd\x12\x01\x0f\x39\x01\0\0\0\0\0\0\0\x41\x02\0\0\0\0\0\0\0");
    let text = r#""traceId":"ABcd","spanId":"0f","startTimeUnixNano":"1","endTimeUnixNano":2"#;
    assert_eq!(span(text), Ok(expected));
    let error = span(r#""traceId":"xy""#).unwrap_err();
    assert!(error.contains("traceId is not hexadecimal at line 1 column"), "{error}");
}

#[test]
fn unknown_fields_names_with_underscores_and_nulls_are_passed_over() {
    let text = r#""name":"a","new":{"deep":[1,{"x":null}]},"trace_id":"zz","status":null,"kind":2"#;
    assert_eq!(span(text), Ok(spans(b"\x2a\x01a\x30\x02")));
}

#[test]
fn values_of_every_kind() {
    let of = |value: &str| span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#));
    let expect = |value: &[u8]| Ok(spans(&nested(9, &[b"\x0a\x01k".to_vec(), nested(2, value)].concat())));
    assert_eq!(of(r#"{"stringValue":"é\n"}"#), expect(b"\x0a\x03\xc3\xa9\n"));
    assert_eq!(of(r#"{"boolValue":false}"#), expect(b"\x10\x00"));
    assert_eq!(of(r#"{"intValue":"-1"}"#), expect(b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
    assert_eq!(of(r#"{"intValue":300}"#), expect(b"\x18\xac\x02"));
    assert_eq!(of(r#"{"doubleValue":"Infinity"}"#), expect(b"\x21\0\0\0\0\0\0\xf0\x7f"));
    assert_eq!(of(r#"{"doubleValue":1}"#), expect(b"\x21\0\0\0\0\0\0\xf0\x3f"));
    assert_eq!(of(r#"{"bytesValue":"-_8="}"#), expect(b"\x3a\x02\xfb\xff"));
    assert_eq!(of(r#"{"bytesValue":"+/8"}"#), expect(b"\x3a\x02\xfb\xff"));
    assert_eq!(
        of(r#"{"arrayValue":{"values":[{"intValue":1},{}]}}"#),
        expect(b"\x2a\x06\x0a\x02\x18\x01\x0a\0")
    );
    let list = r#"{"kvlistValue":{"values":[{"key":"a","value":{"boolValue":true}}]}}"#;
    assert_eq!(of(list), expect(b"\x32\x09\x0a\x07\x0a\x01a\x12\x02\x10\x01"));
    assert!(of(r#"{"intValue":"1.5"}"#).unwrap_err().contains("intValue is no whole number: 1.5"));
    assert!(of(r#"{"intValue":true}"#).unwrap_err().contains("intValue is no number: true"));
    assert!(of(r#"{"boolValue":"true"}"#).is_err());
}

#[test]
fn packed_and_zigzag_numbers_of_metrics() {
    let text = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"exponentialHistogram":{"dataPoints":[
        {"scale":-1,"positive":{"offset":2,"bucketCounts":["1",300]}}]}}]}]}]}"#;
    let point = b"\x30\x01\x42\x07\x08\x04\x12\x03\x01\xac\x02";
    let expected =
        [1, 2, 2, 10, 1].iter().rev().fold(point.to_vec(), |inner, number| nested(*number, &inner));
    assert_eq!(read(Signal::Metrics, text), Ok(expected));
}

#[test]
fn what_is_no_request_is_refused() {
    for text in ["", "[]", "null", "{", "{} x", r#"{"resourceLogs":{}}"#, r#"{"resourceLogs":[[]]}"#] {
        assert!(read(Signal::Logs, text).is_err(), "{text}");
    }
    assert!(span(r#""flags":-1"#).unwrap_err().contains("flags is out of range: -1"));
    let deep = format!("{}{}", r#"{"arrayValue":{"values":["#.repeat(500), "]}}".repeat(500));
    let text = format!(r#""attributes":[{{"key":"k","value":{deep}}}]"#);
    assert!(span(&text).unwrap_err().contains("recursion limit"), "a stack is not for clients to fill");
}

proptest! {
    /// Lengths of every size close up their room.
    #[test]
    fn text_of_any_length_is_carried(name in ".{0,400}", start in any::<u64>()) {
        let text = serde_json::to_string(&name).unwrap();
        let mut fields = nested(5, name.as_bytes());
        fields.push(0x39);
        fields.extend(start.to_le_bytes());
        prop_assert_eq!(span(&format!(r#""name":{text},"startTimeUnixNano":"{start}""#)), Ok(spans(&fields)));
    }
}
