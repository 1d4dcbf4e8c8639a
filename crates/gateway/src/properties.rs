//! What holds for every request that reaches the gateway.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use domain::{Fault, Permission};

use crate::api::experiment::read;
use crate::body::{Fields, Query};
use crate::control::Target;
use crate::otlp::decompress::{Decompressor, Encoding};
use crate::otlp::signal::Signal;
use crate::otlp::{Reason, grpc, json, points};
use crate::security::Door;

/// A body is an experiment in range, or the refusal says what to do and, where the JSON was whole, names the
/// field.
pub fn experiment(input: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = Fields::parse(&headers, input).and_then(|fields| read(fields, "fuzz"));
    match answer {
        Ok(request) => {
            if let Target::Resource(target) = request.target {
                let fault = Fault { target, kind: request.kind, duration: request.duration };
                assert_eq!(fault.check(), Vec::new());
            }
            assert!(!request.name.chars().any(char::is_control) && request.requested_by == "fuzz");
        }
        Err(problem) => {
            assert!(problem.status().is_client_error() && !problem.detail.is_empty(), "{problem:?}");
            assert!(
                problem.code == crate::problem::Code::MalformedJson || problem.field.is_some(),
                "{problem:?}"
            );
        }
    }
}

/// A query is read or refused, and what is read can be written back.
pub fn query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(query) = Query::parse(Some(text)) else { return };
    assert!(query.count("limit", 1, 9).is_err() || query.text("limit").is_none_or(|text| text.len() < 30));
    let written = query.with("before", "y z&=%");
    let again = Query::parse(Some(&written)).unwrap_or_else(|problem| panic!("{written}: {problem:?}"));
    assert_eq!(again.text("before"), Some("y z&=%"));
    assert_eq!(again.text("resource"), query.text("resource"));
}

static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let (access, _) = crate::access::fixture::access("the-token");
    Door::new(4000, access)
});

/// Headers, a line each, never let a write in without the token or from another origin, and never name
/// another host as ours.
pub fn door(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let door = &*DOOR;
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    if let Ok(identity) = door.identify(&headers, Ipv4Addr::LOCALHOST.into())
        && identity.may(Permission::ServicesOperate)
        && door.check_forgery(&identity, &headers).is_ok()
    {
        let held = text(header::AUTHORIZATION).any(|value| value.contains("the-token"));
        assert!(held, "a write without the token: {headers:?}");
        let ours = |origin: &str| OURS.iter().any(|host| origin == format!("http://{host}"));
        assert!(text(header::ORIGIN).next().is_none_or(ours), "another origin: {headers:?}");
    }
    if door.check_host(&headers).is_ok() {
        assert!(text(header::HOST).next().is_some_and(|host| OURS.contains(&host)), "{headers:?}");
    }
}

/// A request in JSON is refused with its place, or becomes protobuf that can be read, no more than a few times as long.
pub fn otlp_json(input: &[u8]) {
    let Some((signal, text)) = input.split_first() else { return };
    let signal = Signal::ALL[usize::from(*signal) % Signal::ALL.len()];
    match json::transcode(signal, text) {
        Ok(request) => {
            // `[0,0]` as packed doubles: 8 bytes for 2.
            assert!(request.len() <= 8 * text.len(), "{} of {}", request.len(), text.len());
            if signal == Signal::Metrics {
                points::count_data_points(&request).expect("what we wrote can be read");
            }
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok());
        }
        Err(error) => assert!(error.to_string().contains(" at line "), "{error}"),
    }
}

/// A gRPC body is one whole message behind its prefix, or refused as malformed.
pub fn otlp_frame(input: &[u8]) {
    for offered in [Encoding::Identity, Encoding::Gzip, Encoding::Zstd] {
        match grpc::unframe(input, offered) {
            Ok((encoding, message)) => {
                let length =
                    u32::try_from(message.len()).expect("a prefix has four bytes for it").to_be_bytes();
                assert_eq!(input[1..], [&length, message].concat());
                assert!(encoding == Encoding::Identity || encoding == offered);
            }
            Err(refused) => assert_eq!(refused.reason, Reason::Malformed, "{refused:?}"),
        }
    }
}

/// What is compressed unfolds within the limit or is refused, and the next message is not disturbed by it.
pub fn otlp_compressed(input: &[u8]) {
    const LIMIT: usize = 1 << 16;
    // "next", in a stored block; its checksum is that of RFC 1952.
    const NEXT: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x04\0\xfb\xffnext\x3c\x10\x2f\x04\x04\0\0\0";
    let mut decompressor = Decompressor::new();
    for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::Identity] {
        if let Ok(message) = decompressor.unfold(encoding, input, LIMIT) {
            assert!(message.len() <= LIMIT);
        }
        assert_eq!(decompressor.unfold(Encoding::Gzip, NEXT, LIMIT), Ok(&b"next"[..]));
    }
}

/// This machine by its names, with the port above.
const OURS: [&str; 3] = ["localhost:4000", "127.0.0.1:4000", "[::1]:4000"];

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::seeds::hold;

    #[test]
    fn an_experiment_is_in_range_or_refused_by_field() {
        hold("experiment", 2000, super::experiment);
    }

    #[test]
    fn a_query_can_be_written_back() {
        hold("query", 2000, super::query);
    }

    #[test]
    fn otlp_in_json_becomes_protobuf_or_is_refused_with_its_place() {
        hold("otlp_json", 2000, super::otlp_json);
    }

    #[test]
    fn a_grpc_body_is_one_message_or_malformed() {
        hold("otlp_frame", 2000, super::otlp_frame);
    }

    #[test]
    fn what_is_compressed_unfolds_within_the_limit() {
        hold("otlp_compressed", 500, super::otlp_compressed);
    }

    #[test]
    fn nothing_is_let_in_without_the_token() {
        hold("door", 2000, super::door);
    }
}
