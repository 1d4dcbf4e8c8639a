//! Parameters as Jaeger's clients write them.
//!
//! In: query strings. Out: a filter, or a sentence that names the parameter. Times are microseconds since 1970 in
//! `/api/traces`, milliseconds in `/api/dependencies` and `/api/metrics`, RFC 3339 in version 3.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use telemetry::{TraceFilter, TraceId};

use crate::body::Query;
use crate::span_time::{read_length, read_time};

/// Traces where the client does not say how many: Jaeger's number.
const LIMIT_DEFAULT: usize = 100;

/// More traces than this are not answered at once; the UI asks for 1,500 at most.
const LIMIT_MAX: usize = 10_000;

/// How far back is searched where the client does not say: Jaeger's two days.
const LOOKBACK: u64 = 48 * 3_600 * 1_000_000_000;

/// A parameter that cannot be read, in words.
#[derive(Debug)]
pub(super) struct Malformed(pub(super) String);

impl Malformed {
    fn parameter(name: &str, text: &str, expected: &str) -> Self {
        Self(format!("unable to parse param '{name}': {text:?} is not {expected}"))
    }
}

/// What `/api/traces` asks for.
#[derive(Debug)]
pub(super) enum Search {
    /// These traces.
    Ids(Vec<TraceId>),
    /// Traces that match.
    Matching(TraceFilter),
}

/// Reads the parameters of `/api/traces`. `now` is nanoseconds since 1970.
pub(super) fn search(query: &Query, now: u64) -> Result<Search, Malformed> {
    let end = micros(query, "end")?.unwrap_or(now);
    let lookback = query.text("lookback").and_then(lookback).unwrap_or(LOOKBACK);
    let start = micros(query, "start")?.unwrap_or(now.saturating_sub(lookback));
    let least = length(query, "minDuration")?.unwrap_or(0);
    let most = length(query, "maxDuration")?.filter(|&most| most > 0).unwrap_or(u64::MAX);
    if most < least {
        return Err(Malformed("'maxDuration' should be greater than 'minDuration'".to_owned()));
    }
    boolean(query, "raw")?;
    let tags = tags(query)?;
    let limit = limit(query, "limit")?;
    let ids: Vec<TraceId> =
        query.all("traceID").map(|text| trace_id("traceID", text)).collect::<Result<_, _>>()?;
    if !ids.is_empty() {
        return Ok(Search::Ids(ids));
    }
    Ok(Search::Matching(TraceFilter {
        service: query.text("service").map(str::to_owned),
        operation: query.text("operation").map(str::to_owned),
        tags,
        start: start..=end,
        duration: least..=most,
        limit,
        ..TraceFilter::default()
    }))
}

/// Checks what may stand beside the id of a trace; it is a hint that we do not need.
pub(super) fn check_trace_hints(query: &Query) -> Result<(), Malformed> {
    micros(query, "start")?;
    micros(query, "end")?;
    boolean(query, "raw").map(drop)
}

/// Reads the parameters of version 3's searches.
pub(super) fn search_v3(query: &Query) -> Result<TraceFilter, Malformed> {
    if query.text("query.filter").is_some() {
        return Err(Malformed(
            "parameter query.filter: expressions are not understood here; use query.attributes".to_owned(),
        ));
    }
    let named = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| query.text(name).map(|text| (name, text)))
    };
    let time = |names| match named(names) {
        None => Err(Malformed("query.startTimeMin and query.startTimeMax are required".to_owned())),
        Some((name, text)) => read_time(text)
            .ok_or_else(|| Malformed(format!("malformed parameter {name}: {text:?} is no RFC 3339 time"))),
    };
    let start = time(["query.startTimeMin", "query.start_time_min"])?;
    let end = time(["query.startTimeMax", "query.start_time_max"])?;
    if start >= end {
        return Err(Malformed("query.startTimeMin must be before query.startTimeMax".to_owned()));
    }
    let length = |names| match named(names) {
        None => Ok(None),
        Some((name, text)) => read_length(text).map(Some).ok_or_else(|| {
            Malformed(format!("malformed parameter {name}: {text:?} is no duration, such as 10ms"))
        }),
    };
    let least = length(["query.durationMin", "query.duration_min"])?.unwrap_or(0);
    let most = length(["query.durationMax", "query.duration_max"])?.filter(|&most| most > 0);
    let depth = ["query.searchDepth", "query.search_depth", "query.num_traces"];
    let depth = depth.into_iter().find(|name| query.text(name).is_some()).unwrap_or(depth[0]);
    Ok(TraceFilter {
        service: named(["query.serviceName", "query.service_name"]).map(|(_, text)| text.to_owned()),
        operation: named(["query.operationName", "query.operation_name"]).map(|(_, text)| text.to_owned()),
        tags: query
            .text("query.attributes")
            .map_or(Ok(BTreeMap::new()), |text| json_tags("query.attributes", text))?
            .into_iter()
            .collect(),
        start: start..=end,
        duration: least..=most.unwrap_or(u64::MAX).max(least),
        limit: limit(query, depth)?,
        ..TraceFilter::default()
    })
}

/// Checks the times that may stand beside an id in version 3.
pub(super) fn check_trace_hints_v3(query: &Query) -> Result<(), Malformed> {
    for name in ["startTime", "start_time", "endTime", "end_time"] {
        if let Some(text) = query.text(name)
            && read_time(text).is_none()
        {
            return Err(Malformed(format!("malformed parameter {name}: {text:?} is no RFC 3339 time")));
        }
    }
    boolean(query, "rawTraces")?;
    boolean(query, "raw_traces").map(drop)
}

/// Reads a trace id in hexadecimal, or in base64 as the protobuf JSON of other tools has it.
pub(super) fn trace_id(name: &str, text: &str) -> Result<TraceId, Malformed> {
    let hexadecimal = text.parse();
    let from_base64 = || {
        let engines = [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD];
        let bytes = engines.iter().find_map(|engine| engine.decode(text).ok())?;
        let id: [u8; 16] = bytes.try_into().ok()?;
        (id != [0; 16]).then_some(TraceId(id))
    };
    hexadecimal
        .or_else(|error| from_base64().ok_or(error))
        .map_err(|error| Malformed(format!("unable to parse param '{name}': {error}")))
}

/// `endTs` and `lookback`, in milliseconds; from the one back by the other.
pub(super) fn window(query: &Query, now: u64, lookback: u64) -> Result<Range<u64>, Malformed> {
    let end = millis(query, "endTs")?.unwrap_or(now);
    let lookback = millis(query, "lookback")?.unwrap_or(lookback);
    Ok(end.saturating_sub(lookback)..end)
}

/// Milliseconds, as nanoseconds.
pub(super) fn millis(query: &Query, name: &str) -> Result<Option<u64>, Malformed> {
    whole(query, name, 1_000_000)
}

fn micros(query: &Query, name: &str) -> Result<Option<u64>, Malformed> {
    whole(query, name, 1_000)
}

/// A whole number of units; what is negative counts as 0.
fn whole(query: &Query, name: &str, unit: u64) -> Result<Option<u64>, Malformed> {
    let Some(text) = query.text(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| Malformed::parameter(name, text, "a whole number"))?;
    Ok(Some(u64::try_from(number).unwrap_or(0).saturating_mul(unit)))
}

fn length(query: &Query, name: &str) -> Result<Option<u64>, Malformed> {
    let Some(text) = query.text(name) else { return Ok(None) };
    read_length(text)
        .map(Some)
        .ok_or_else(|| Malformed::parameter(name, text, "a duration, such as 1.2s or 100ms"))
}

fn limit(query: &Query, name: &str) -> Result<usize, Malformed> {
    let Some(text) = query.text(name) else { return Ok(LIMIT_DEFAULT) };
    match text.parse::<usize>() {
        Ok(0) => Ok(LIMIT_DEFAULT),
        Ok(limit) => Ok(limit.min(LIMIT_MAX)),
        Err(_) => Err(Malformed::parameter(name, text, "a number of traces")),
    }
}

pub(super) fn boolean(query: &Query, name: &str) -> Result<bool, Malformed> {
    match query.text(name) {
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        None | Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(text) => Err(Malformed::parameter(name, text, "true or false")),
    }
}

/// The UI's `1h`, `2d`, `3w`; its `custom` comes with a start.
fn lookback(text: &str) -> Option<u64> {
    const DAY: u64 = 24 * 3_600 * 1_000_000_000;
    let days = |suffix, size: u64| {
        text.strip_suffix(suffix).and_then(|number: &str| number.parse::<u64>().ok())?.checked_mul(size)
    };
    days('d', DAY).or_else(|| days('w', 7 * DAY)).or_else(|| read_length(text))
}

/// `tag=key:value`, repeated, and `tags={"key":"value"}`.
fn tags(query: &Query) -> Result<Vec<(String, String)>, Malformed> {
    let mut tags = BTreeMap::new();
    for tag in query.all("tag") {
        let Some((key, value)) = tag.split_once(':') else {
            return Err(Malformed(format!(
                "malformed 'tag' parameter, expecting key:value, received: {tag}"
            )));
        };
        tags.insert(key.to_owned(), value.to_owned());
    }
    for text in query.all("tags") {
        tags.extend(json_tags("tags", text)?);
    }
    Ok(tags.into_iter().collect())
}

fn json_tags(name: &str, text: &str) -> Result<BTreeMap<String, String>, Malformed> {
    serde_json::from_str(text).map_err(|error| {
        Malformed(format!("malformed '{name}' parameter, expecting a JSON object of strings: {error}"))
    })
}
