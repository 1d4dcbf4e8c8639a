//! `observability/…`: traces and log records.
//!
//! Lists are cut into pages by a time that the first page fixes (`until`) and a number of rows to pass over
//! (`offset`): a trace stands in a list by its newest matching span, so no position within it would do for the next
//! page.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::Permission;
use schemars::JsonSchema;
use serde::Serialize;
use telemetry::{
    LogFilter, ReadError, Refusal, Searched, Section, SpanKind, StatusFilter, Telemetry, Trace, TraceFilter,
    TraceId, TraceSummary,
};

use super::archive::ArchiveShape;
use super::{Answer, Asked, intake, json};
use crate::body::Query;
use crate::endpoint::{Endpoint, Kind, Parameter, SPAN_LENGTH, TRACE_ID};
use crate::jaeger::NoTelemetry;
use crate::otlp::refused::Refused;
use crate::pieces::{self, Broken, More, Pieces};
use crate::problem::{Code, Listed, Problem, chain};
use crate::shapes::{LogRecordShape, SectionShape, SpanShape, TraceSummaryShape};
use crate::span_time::{read_length, read_time, show_time};

/// Traces of a page where the client does not say.
const TRACES: usize = 20;
/// Each trace of a page is read to be summed up.
const TRACES_MAX: usize = 500;
const RECORDS: usize = 100;
const RECORDS_MAX: usize = 1_000;
/// How far into a list one can go: what is further back is found by its time.
const OFFSET_MAX: usize = 10_000;

/// Severity by name: the least number of each (OpenTelemetry logs data model).
const SEVERITIES: [(&str, u8); 6] =
    [("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("fatal", 21)];

const SEVERITY: &str = "^(trace|debug|info|warn|error|fatal|[1-9]|1[0-9]|2[0-4])$";

/// A trace id for examples.
pub(super) const TRACE: &str = "5b8efff798038103d269b633813fc60c";

const KINDS: [SpanKind; 5] =
    [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];

/// How the store of spans and logs may refuse to answer.
pub(super) const READS: [Code; 2] = [Code::NoTelemetry, Code::ObjectStorageAway];

pub(super) fn endpoints() -> Vec<Endpoint> {
    let at = |path: &str| format!("/api/v3/observability/{path}");
    let read = Permission::TelemetryRead;
    vec![
        Endpoint::post(Permission::TelemetryWrite, &at("trace"), "traces.create", intake::take_trace)
            .says("Takes the spans of one trace as OTLP's JSON; answered when the disk has them")
            .takes::<intake::TraceBody>()
            .refuses([Code::NoTelemetry, Code::Overloaded, Code::Backlog, Code::Disk, Code::Unavailable])
            .answers_with::<intake::Taken>(StatusCode::CREATED, "What was taken"),
        Endpoint::get(read, &at("traces"), "traces.list", traces)
            .says("Summaries of traces, those with the newest matching spans first")
            .query([
                Parameter::text("service", "Only traces in which this service has a matching span"),
                Parameter::text("operation", "The name of a span"),
                Parameter::choice("kind", KINDS.map(SpanKind::word), "The kind of a span"),
                Parameter::new(
                    "tag",
                    Kind::Repeated { pattern: r"^[^=]+=" },
                    "An attribute of a span, as key=value",
                ),
                Parameter::form("min_duration", SPAN_LENGTH, "250ms", "The shortest span, such as 250ms"),
                Parameter::form("max_duration", SPAN_LENGTH, "1.5s", "The longest span, such as 1.5s"),
                Parameter::choice("status", ["error", "not_error"], "The status of a span"),
                Parameter::text(
                    "text",
                    "Only traces in which a log record of that time says this, whichever service's. Of more than 20,000 traces with this text those that logged it last are looked among; where too few of them match, `Link` leads on to what was logged before",
                ),
            ])
            .query(pages(TRACES_MAX, TRACES))
            .refuses(READS)
            .answers::<Vec<TraceSummaryShape>>("Traces"),
        Endpoint::get(read, &at("trace/{id}"), "traces.get", trace)
            .says("One trace: its summary, its critical path, its spans in the order of the tree")
            .placeholder(Parameter::form("id", TRACE_ID, TRACE, "A trace id: 32 hexadecimal digits"))
            .refuses(READS)
            .answers::<WholeTraceShape>("The trace"),
        Endpoint::get(read, &at("logs"), "logs.list", log_records)
            .says("Log records, the newest first")
            .query([
                Parameter::text("service", "Only records of this service"),
                Parameter::form(
                    "trace",
                    TRACE_ID,
                    TRACE,
                    "Only records of this trace: 32 hexadecimal digits",
                ),
                Parameter::form(
                    "severity",
                    SEVERITY,
                    "warn",
                    "The least severity: 1 to 24, or a name such as warn",
                ),
                Parameter::text("text", "Only records with this text in their body"),
            ])
            .query(pages(RECORDS_MAX, RECORDS))
            .refuses(READS)
            .answers::<Vec<LogRecordShape>>("Log records"),
        Endpoint::get(read, &at("status"), "telemetry.status", status)
            .says("What the store of spans and logs holds, and whether it takes more")
            .refuses([Code::NoTelemetry])
            .answers::<StoreStatus>("Its state"),
    ]
}

/// Which part of a list.
fn pages(most: usize, default: usize) -> [Parameter; 4] {
    [
        Parameter::time("since", "Nothing older"),
        Parameter::time("until", "Nothing newer; the first page fixes it for the next ones"),
        Parameter::limit(most, default),
        Parameter::new("offset", Kind::Count { least: 0, most: OFFSET_MAX, default: 0 }, "Rows to pass over"),
    ]
}

/// What [`WholeTrace`] writes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is written span by span, never as a whole")]
struct WholeTraceShape {
    summary: TraceSummaryShape,
    spans: Vec<SpanShape<'static>>,
    critical_path: Vec<SectionShape<'static>>,
}

impl Asked<'_> {
    pub(super) fn telemetry(&self) -> Result<&Telemetry, Problem> {
        self.app.telemetry.as_ref().ok_or_else(no_telemetry)
    }

    /// Nanoseconds since 1970.
    fn now_nano(&self) -> u64 {
        u64::try_from(self.app.clock.now().wall_us).unwrap_or(0).saturating_mul(1000)
    }
}

pub(crate) fn no_telemetry() -> Problem {
    Problem::new(Code::NoTelemetry, NoTelemetry::SENTENCE)
}

/// `GET …/status`: what the store holds, what waits for compaction, and whether intake waits for it.
pub(crate) fn status(asked: &Asked<'_>) -> Answer {
    let telemetry = asked.telemetry()?;
    let (backlog, counts) = (telemetry.backlog(), telemetry.counters());
    let (files, bytes) = telemetry.compacted();
    let status = StoreStatus {
        intake: if backlog.refusing { "refused" } else { "open" },
        backlog_bytes: backlog.bytes,
        backlog_bytes_max: backlog.bytes_max,
        compacted_files: files,
        compacted_bytes: bytes,
        spans_taken: counts.spans.get(),
        log_records_taken: counts.log_records.get(),
        archive: telemetry.archive_status().into(),
        moved: telemetry.moved().map(|moved| MovedStatus {
            url: moved.url,
            files: moved.units,
            bytes: moved.bytes,
            trouble: moved.trouble,
        }),
    };
    json(StatusCode::OK, &status)
}

/// The state of the store of spans and logs; what was taken is counted from the start of the process.
#[derive(Serialize, JsonSchema)]
struct StoreStatus {
    /// `open`, or `refused` while compaction catches up.
    intake: &'static str,
    backlog_bytes: u64,
    backlog_bytes_max: u64,
    compacted_files: u64,
    compacted_bytes: u64,
    spans_taken: u64,
    log_records_taken: u64,
    /// Traces kept beyond retention.
    archive: ArchiveShape,
    /// What is in object storage; left out where none is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    moved: Option<MovedStatus>,
}

/// What of the compacted files is in object storage.
#[derive(Serialize, JsonSchema)]
struct MovedStatus {
    url: String,
    files: u64,
    bytes: u64,
    /// Why nothing is moved at present.
    trouble: Option<String>,
}

/// `GET …/traces`: summaries, the traces with the newest matching spans first.
pub(crate) fn traces(asked: &Asked<'_>) -> Answer {
    let page = Page::read(&asked.query, TRACES, TRACES_MAX, asked.now_nano())?;
    let filter = trace_filter(&asked.query, &page)?;
    let telemetry = asked.telemetry()?;
    let (mut found, cut_at) = match asked.query.text("text") {
        Some(text) => {
            let Searched { traces, cut_at } = telemetry.search_logged(text, &filter)?;
            (traces, cut_at)
        }
        None => (telemetry.search(&filter)?, None),
    };
    let more = found.len() > page.end();
    found.truncate(page.end());
    let mut shapes = Vec::with_capacity(page.limit);
    for (id, _) in found.into_iter().skip(page.offset) {
        // Its time to be kept may have ended since it was found.
        shapes.extend(TraceSummary::of(&telemetry.trace(id)?).map(TraceSummaryShape::from));
    }
    let answer = page.answer(asked, &shapes, more)?;
    match cut_at {
        // Many that were logged in one nanosecond hold nobody on one page.
        Some(at) => {
            Page { until: at.min(page.until.saturating_sub(1)), offset: 0, ..page }.linked(asked, answer)
        }
        None => Ok(answer),
    }
}

/// `GET …/trace/{id}`: its summary, its critical path, and all spans in the order of the tree.
pub(crate) fn trace(asked: &Asked<'_>) -> Answer {
    let id: TraceId = asked.name.parse().map_err(|error| Problem::field("id", format!("{error}")))?;
    match Trace::assemble(asked.telemetry()?.trace(id)?) {
        Some(trace) => Ok(pieces::json(WholeTrace::new(trace))),
        None => Err(Problem::not_among(Listed::Traces, format!("there is no trace {id}"))),
    }
}

impl From<Refusal> for Problem {
    /// Status and time to come back are those of the OTLP receivers.
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Malformed { .. } => Code::MalformedJson,
            Refusal::Overloaded { .. } => Code::Overloaded,
            Refusal::Backlog { .. } => Code::Backlog,
            Refusal::Disk { .. } => Code::Disk,
            Refusal::Closing => Code::Unavailable,
        };
        let detail = refusal.to_string();
        let refused = Refused::from(refusal);
        let retry_after_seconds = refused.retry_after_seconds();
        Self { retry_after_seconds, ..Self::new(code, detail) }
    }
}

/// `GET …/logs`: records, the newest first.
pub(crate) fn log_records(asked: &Asked<'_>) -> Answer {
    let query = &asked.query;
    let page = Page::read(query, RECORDS, RECORDS_MAX, asked.now_nano())?;
    let filter = LogFilter {
        service: query.text("service").map(str::to_owned),
        trace: query.read(
            "trace",
            |text| text.parse().ok(),
            || "a trace id: 32 hexadecimal digits".to_owned(),
        )?,
        severity_min: query
            .read("severity", severity, || {
                "a number from 1 to 24, or one of trace, debug, info, warn, error, fatal".to_owned()
            })?
            .unwrap_or(0),
        in_a_trace: false,
        text: query.text("text").unwrap_or_default().to_owned(),
        time: since(query)?..=page.until,
        limit: page.end() + 1,
    };
    let mut records = asked.telemetry()?.logs(&filter)?;
    let more = records.len() > page.end();
    records.truncate(page.end());
    let shapes: Vec<LogRecordShape> = records.iter().skip(page.offset).map(LogRecordShape::from).collect();
    page.answer(asked, &shapes, more)
}

fn trace_filter(query: &Query, page: &Page) -> Result<TraceFilter, Problem> {
    let kind = |text: &str| KINDS.into_iter().find(|kind| kind.word() == text);
    let status = |text: &str| match text {
        "error" => Some(StatusFilter::Error),
        "not_error" => Some(StatusFilter::NotError),
        _ => None,
    };
    let length = || "a duration, such as 250ms, 1.5s or 100us".to_owned();
    let least = query.read("min_duration", read_length, length)?.unwrap_or(0);
    let most = query.read("max_duration", read_length, length)?.unwrap_or(u64::MAX);
    if most < least {
        return Err(Problem::field(
            "max_duration",
            "`max_duration` is below `min_duration`; nothing is both",
        ));
    }
    Ok(TraceFilter {
        service: query.text("service").map(str::to_owned),
        operation: query.text("operation").map(str::to_owned),
        kind: query.read("kind", kind, || super::names(KINDS, SpanKind::word))?,
        tags: query.all("tag").map(tag).collect::<Result<_, _>>()?,
        start: since(query)?..=page.until,
        duration: least..=most,
        status: query.read("status", status, || "error or not_error".to_owned())?.unwrap_or_default(),
        among: None,
        limit: page.end() + 1,
    })
}

fn tag(text: &str) -> Result<(String, String), Problem> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Problem::field("tag", format!("`tag` is {text:?}; give key=value, repeated for several"))),
    }
}

fn severity(text: &str) -> Option<u8> {
    let named = SEVERITIES.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok().filter(|number| (1..=24).contains(number)))
}

fn since(query: &Query) -> Result<u64, Problem> {
    Ok(query.read("since", read_time, time_wanted)?.unwrap_or(0))
}

fn time_wanted() -> String {
    "an RFC 3339 time, such as 2026-11-21T03:00:00Z".to_owned()
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            // Later, or for less, there is an answer.
            ReadError::Away { .. } => Self::new(Code::ObjectStorageAway, chain(&error)),
            _ => Self::internal(format!("the telemetry store did not answer: {}", chain(&error))),
        }
    }
}

/// Which part of a list.
struct Page {
    limit: usize,
    offset: usize,
    /// Nothing newer is in the list, so that what comes in meanwhile moves no row to another page.
    until: u64,
}

impl Page {
    fn read(query: &Query, default: usize, max: usize, now: u64) -> Result<Self, Problem> {
        Ok(Self {
            limit: query.count("limit", 1, max)?.unwrap_or(default),
            offset: query.count("offset", 0, OFFSET_MAX)?.unwrap_or(0),
            until: query.read("until", read_time, time_wanted)?.unwrap_or(now),
        })
    }

    /// One behind its last row.
    fn end(&self) -> usize {
        self.offset + self.limit
    }

    fn answer<S: Serialize>(&self, asked: &Asked<'_>, rows: &[S], more: bool) -> Answer {
        let response = json(StatusCode::OK, &rows)?;
        if more && self.end() <= OFFSET_MAX {
            return Self { offset: self.end(), ..*self }.linked(asked, response);
        }
        Ok(response)
    }

    /// An answer that leads on to this page.
    fn linked(&self, asked: &Asked<'_>, mut response: Response) -> Answer {
        let pinned = Query::parse(Some(&asked.query.with("until", &show_time(self.until))))?;
        let link =
            format!("<{}?{}>; rel=\"next\"", asked.path, pinned.with("offset", &self.offset.to_string()));
        let value = HeaderValue::from_str(&link)
            .map_err(|_| Problem::internal("the address of the next page is no header"))?;
        response.headers_mut().insert(header::LINK, value);
        Ok(response)
    }
}

/// `{"summary": …, "spans": […], "critical_path": […]}`, written span by span.
struct WholeTrace {
    trace: Trace,
    path: Vec<Section>,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    Summary,
    Span(usize),
    Section(usize),
}

impl WholeTrace {
    fn new(trace: Trace) -> Self {
        Self { path: trace.critical_path(), trace, at: At::Summary }
    }
}

impl Pieces for WholeTrace {
    fn write(&mut self, out: &mut Vec<u8>) -> Result<More, Broken> {
        let trace = &self.trace;
        let comma = |out: &mut Vec<u8>, at: usize| {
            if at > 0 {
                out.push(b',');
            }
        };
        self.at = match self.at {
            At::Summary => {
                out.extend_from_slice(b"{\"summary\":");
                serde_json::to_writer(&mut *out, &TraceSummaryShape::from(trace.summary()))?;
                out.extend_from_slice(b",\"spans\":[");
                At::Span(0)
            }
            At::Span(row) if row < trace.spans().len() => {
                comma(out, row);
                serde_json::to_writer(&mut *out, &SpanShape::new(&trace.spans()[row], &trace.rows()[row]))?;
                At::Span(row + 1)
            }
            At::Span(_) => {
                out.extend_from_slice(b"],\"critical_path\":[");
                At::Section(0)
            }
            At::Section(at) if at < self.path.len() => {
                comma(out, at);
                serde_json::to_writer(&mut *out, &SectionShape::new(trace, self.path[at]))?;
                At::Section(at + 1)
            }
            At::Section(_) => {
                out.extend_from_slice(b"]}");
                return Ok(More::No);
            }
        };
        Ok(More::Yes)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn what_may_be_sent_again_is_refused_with_the_time_to_come_back() {
        let retry_after = Duration::from_millis(1_500);
        for (refusal, status, seconds) in [
            (Refusal::Overloaded { retry_after }, 429, Some("2")),
            (Refusal::Backlog { waiting_bytes: 7 << 20, retry_after }, 429, Some("2")),
            (Refusal::Disk { message: "no space left".to_owned(), retry_after }, 503, Some("2")),
            (Refusal::Closing, 503, Some("1")),
            (Refusal::Malformed { offset: 7, what: "a length" }, 400, None),
        ] {
            let response = Problem::from(refusal).into_response();
            let told = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!((response.status().as_u16(), told), (status, seconds));
        }
    }

    /// Nothing is broken here, and there is an answer later, or for less.
    #[test]
    fn storage_that_is_away_is_no_defect_of_ours() {
        let away = || ReadError::Away { url: "s3://spans/p".to_owned(), why: "it did not answer".to_owned() };
        let problem = Problem::from(away());
        assert_eq!(problem.code, Code::ObjectStorageAway);
        assert!(problem.detail.starts_with("part of the answer is in s3://spans/p"), "{}", problem.detail);
        let broken = ReadError::Compacted { path: "a.parquet".into(), what: "page" };
        assert_eq!(Problem::from(broken).code, Code::Internal);
    }
}
