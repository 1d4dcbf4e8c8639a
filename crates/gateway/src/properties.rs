//! What holds for every request that reaches the gateway.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz targets of `fuzz/` and the tests here
//! run the same functions; nothing that ships contains them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use domain::Fault;

use crate::api::experiment::read;
use crate::body::{Fields, Query};
use crate::control::Target;
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
            assert!(problem.status.is_client_error() && !problem.detail.is_empty(), "{problem:?}");
            assert!(problem.code == "malformed_json" || problem.field.is_some(), "{problem:?}");
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
    let door = Door::new("the-token", 4000);
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let cookie = door.sign_in();
    let session = cookie.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if door.check_write(&headers).is_ok() {
        let held = text(header::AUTHORIZATION).any(|value| value.contains("the-token"))
            || text(header::COOKIE).any(|value| value.contains(session));
        assert!(held, "a write without the token: {headers:?}");
        let ours = |origin: &str| OURS.iter().any(|host| origin == format!("http://{host}"));
        assert!(text(header::ORIGIN).next().is_none_or(ours), "another origin: {headers:?}");
    }
    if door.check_host(&headers).is_ok() {
        assert!(text(header::HOST).next().is_some_and(|host| OURS.contains(&host)), "{headers:?}");
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
    fn nothing_is_let_in_without_the_token() {
        hold("door", 2000, super::door);
    }
}
