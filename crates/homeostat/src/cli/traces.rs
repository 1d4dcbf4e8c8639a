//! `traces` and `trace`: a list of traces, and one as a waterfall in the terminal.

use std::collections::HashMap;

use domain::units::show_duration;
use serde_json::Value;
use std::time::Duration;
use telemetry::TraceId;

use super::config::print;
use super::show::{of, table};
use super::{Exit, Failure, Global, Output, value};
use crate::client::{Client, ClientError};

/// Cells of a duration bar.
const BAR: usize = 40;

/// Answers that are asked for at most until there are as many traces as somebody wants.
const PAGES: usize = 20;

/// Spans shown of one trace; the rest is counted.
const ROWS_MAX: usize = 2_000;

/// `traces`.
#[derive(Debug, clap::Args)]
pub(crate) struct TracesArgs {
    /// Only traces with a span of this service.
    #[arg(long, value_parser = value::name)]
    service: Option<String>,
    /// Only with a span of this name.
    #[arg(long, value_parser = value::name)]
    operation: Option<String>,
    /// Only with a span that has this attribute, as key=value; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    tag: Vec<String>,
    /// Only with a span that took at least so long, such as 250ms or 100us.
    #[arg(long, value_name = "TIME")]
    min_duration: Option<String>,
    /// Only with a span that ended in an error.
    #[arg(long)]
    errors: bool,
    /// Only with a log record that says this, upper and lower case the same.
    #[arg(long, value_parser = value::sought)]
    text: Option<String>,
    /// At most this many, newest first.
    #[arg(long, default_value_t = 20, allow_negative_numbers = true)]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

/// Traces, newest first.
pub(super) fn list(global: &Global, args: &TracesArgs) -> Result<Exit, Failure> {
    let (traces, older) = found(&global.client()?, args)?;
    let whole = older.is_none() || traces.len() >= args.limit as usize;
    if args.output.json {
        print(&format!("{:#}\n", Value::Array(traces)))?;
    } else if !traces.is_empty() {
        let rows: Vec<Vec<String>> = traces.iter().map(row).collect();
        print(&table(&["TRACE", "START", "SERVICE", "OPERATION", "TOOK", "SPANS", "ERRORS"], &rows))?;
    } else if whole {
        provider::say!("no such traces so far");
    }
    if !whole {
        provider::say!("there may be older ones: the search was cut after {PAGES} answers; narrow it down");
    }
    Ok(Exit::Done)
}

/// As many as are asked for, and the path of the next ones where there are more. An answer may be cut before that: what is
/// searched by the text of logs is looked through part by part.
fn found(client: &Client, args: &TracesArgs) -> Result<(Vec<Value>, Option<String>), ClientError> {
    let limit = args.limit as usize;
    let (mut traces, mut next) = client.page(&format!("/api/v3/observability/traces?{}", query(args)))?;
    for _ in 1..PAGES {
        let Some(path) = next.as_ref().filter(|_| traces.len() < limit) else { break };
        let (older, after) = client.page(path)?;
        traces.extend(older);
        next = after;
    }
    traces.truncate(limit);
    Ok((traces, next))
}

fn query(args: &TracesArgs) -> String {
    let mut pairs = vec![("limit", args.limit.to_string())];
    pairs.extend(args.service.clone().map(|service| ("service", service)));
    pairs.extend(args.operation.clone().map(|operation| ("operation", operation)));
    pairs.extend(args.tag.iter().cloned().map(|tag| ("tag", tag)));
    pairs.extend(args.min_duration.clone().map(|least| ("min_duration", least)));
    pairs.extend(args.errors.then(|| ("status", "error".to_owned())));
    pairs.extend(args.text.clone().map(|text| ("text", text)));
    pairs.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

/// Percent-encoding of everything that is not unreserved (RFC 3986, 2.3).
pub(super) fn encode(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn row(trace: &Value) -> Vec<String> {
    vec![
        of(trace, "trace_id").to_owned(),
        began(&trace["start"]),
        of(trace, "root_service").to_owned(),
        of(trace, "root_operation").to_owned(),
        took(&trace["duration_ms"]),
        trace["spans"].to_string(),
        trace["errors"].to_string(),
    ]
}

/// One trace as a waterfall.
pub(super) fn show(global: &Global, id: TraceId, output: Output) -> Result<Exit, Failure> {
    let client = global.client()?;
    let trace: Value = client.get(&format!("/api/v3/observability/trace/{id}"))?;
    let text = if output.json { format!("{trace:#}\n") } else { waterfall(&trace) };
    print(&text)?;
    Ok(Exit::Done)
}

/// Tree, service, operation and a bar for each span; `!` marks errors, `█` the critical path.
fn waterfall(trace: &Value) -> String {
    let summary = &trace["summary"];
    let whole = Extent { start: at(&summary["start"]), ms: ms(&summary["duration_ms"]) };
    let critical = critical_cells(trace, &whole);
    let empty = Vec::new();
    let spans = trace["spans"].as_array().unwrap_or(&empty);
    let rows: Vec<Vec<String>> = spans
        .iter()
        .take(ROWS_MAX)
        .map(|span| {
            let indent =
                "  ".repeat(usize::try_from(span["depth"].as_u64().unwrap_or(0)).unwrap_or(0).min(30));
            let mark = if of(span, "status") == "error" { "! " } else { "" };
            let cells = critical.get(of(span, "span_id")).copied().unwrap_or([false; BAR]);
            vec![
                format!("{indent}{mark}{}", of(span, "operation")),
                of(span, "service").to_owned(),
                took(&span["duration_ms"]),
                format!("│{}│", bar(&whole, span, &cells)),
                reason(span),
            ]
        })
        .collect();
    let mut text = format!(
        "{}  {}  {}, {}, {}\n",
        of(summary, "trace_id"),
        began(&summary["start"]),
        took(&summary["duration_ms"]),
        counted(&summary["spans"], "span"),
        counted(&summary["errors"], "error")
    );
    text.push_str("█ on the critical path, ░ beside it, ! error\n\n");
    text.push_str(&table(&["OPERATION", "SERVICE", "TOOK", "WHEN", ""], &rows));
    if spans.len() > ROWS_MAX {
        text.push_str(&format!("… and {} spans more; --json has them all\n", spans.len() - ROWS_MAX));
    }
    text
}

/// What there is to say beside a span: its error, what is odd about its place.
fn reason(span: &Value) -> String {
    let parts = [&span["status_message"], &span["oddity"]];
    parts.iter().filter_map(|part| part.as_str()).collect::<Vec<_>>().join("; ")
}

/// When the whole trace ran; the rulers of all bars.
struct Extent {
    start: Option<jiff::Timestamp>,
    ms: f64,
}

impl Extent {
    /// The cells of a stretch: at least one, however short it is.
    fn cells(&self, part: &Value) -> std::ops::Range<usize> {
        let offset = match (self.start, at(&part["start"])) {
            (Some(start), Some(from)) => from.duration_since(start).as_secs_f64() * 1e3,
            _ => 0.0,
        };
        let cell = |ms: f64| if self.ms > 0.0 { ms / self.ms * BAR as f64 } else { 0.0 };
        let first = (cell(offset).floor().max(0.0) as usize).min(BAR - 1);
        let end = cell(offset + ms(&part["duration_ms"])).ceil() as usize;
        first..end.clamp(first + 1, BAR)
    }
}

fn bar(whole: &Extent, span: &Value, critical: &[bool; BAR]) -> String {
    let cells = whole.cells(span);
    (0..BAR)
        .map(|cell| match (cells.contains(&cell), critical[cell]) {
            (false, _) => ' ',
            (true, true) => '█',
            (true, false) => '░',
        })
        .collect()
}

/// For each span on the critical path the cells in which it is.
fn critical_cells<'a>(trace: &'a Value, whole: &Extent) -> HashMap<&'a str, [bool; BAR]> {
    let mut critical: HashMap<&str, [bool; BAR]> = HashMap::new();
    for section in trace["critical_path"].as_array().into_iter().flatten() {
        let cells = critical.entry(of(section, "span_id")).or_insert([false; BAR]);
        whole.cells(section).for_each(|cell| cells[cell] = true);
    }
    critical
}

/// A time to the millisecond, RFC 3339 in UTC.
fn began(start: &Value) -> String {
    at(start).map_or_else(String::new, |start| format!("{start:.3}"))
}

/// `1 span`, `2 spans`.
pub(super) fn counted(number: &Value, of: &str) -> String {
    let ending = if number.as_u64() == Some(1) { "" } else { "s" };
    format!("{number} {of}{ending}")
}

fn at(time: &Value) -> Option<jiff::Timestamp> {
    time.as_str()?.parse().ok()
}

fn ms(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn took(duration_ms: &Value) -> String {
    show_duration(Duration::try_from_secs_f64(ms(duration_ms) / 1e3).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};
    use serde_json::json;

    use super::*;
    use crate::client::fixture::server;

    #[test]
    fn answers_that_were_cut_are_followed_until_there_are_as_many_as_are_wanted() {
        let words = |words: &[&str]| {
            let matches = TracesArgs::augment_args(Command::new("traces")).get_matches_from(words);
            TracesArgs::from_arg_matches(&matches).unwrap()
        };
        let cut = |requests, words: &TracesArgs| {
            let (client, serving) = server(requests, |asked| {
                let page: usize =
                    asked.split_once("page=").map_or(0, |(_, rest)| usize::from(rest.as_bytes()[0] - b'0'));
                let rows = json!([{"trace_id": format!("{page}")}]);
                (
                    200,
                    if page == 1 { json!([]) } else { rows },
                    (page < 3).then(|| format!("/t?page={}", page + 1)),
                )
            });
            let (traces, older) = found(&client, words).unwrap();
            assert_eq!(serving.join().unwrap().len(), requests);
            let ids: Vec<String> = traces.iter().map(|trace| of(trace, "trace_id").to_owned()).collect();
            (ids.join(" "), older)
        };
        assert_eq!(cut(4, &words(&["traces", "--text", "gone"])), ("0 2 3".to_owned(), None));
        assert_eq!(
            cut(3, &words(&["traces", "--text", "gone", "--limit", "2"])),
            ("0 2".to_owned(), Some("/t?page=3".to_owned()))
        );
    }

    #[test]
    fn a_waterfall_marks_errors_and_the_critical_path() {
        let at = |ms: u32| format!("2026-11-21T03:00:00.{ms:03}Z");
        let span = |id: &str, name: &str, depth: u32, from: u32, took: u32, status: &str| {
            json!({"span_id": id, "operation": name, "service": "shop", "depth": depth, "start": at(from),
                   "duration_ms": took, "status": status, "status_message": null, "oddity": null})
        };
        let part =
            |id: &str, from: u32, took: u32| json!({"span_id": id, "start": at(from), "duration_ms": took});
        let trace = json!({
            "summary": {"trace_id": "abc", "start": at(0), "duration_ms": 400, "spans": 2, "errors": 1},
            "spans": [span("1", "buy", 0, 0, 400, "unset"), span("2", "pay", 1, 100, 200, "error")],
            "critical_path": [part("1", 0, 100), part("2", 100, 200), part("1", 300, 100)],
        });
        let text = waterfall(&trace);
        let lines: Vec<&str> = text.lines().collect();
        let (on, beside) = ("█".repeat(10), "░".repeat(20));
        assert!(lines[4].starts_with("buy") && lines[4].contains(&format!("│{on}{beside}{on}│")), "{text}");
        let bar = format!("│{}{}{}│", " ".repeat(10), "█".repeat(20), " ".repeat(10));
        assert!(lines[5].starts_with("  ! pay") && lines[5].contains(&bar), "{text}");
    }

    #[test]
    fn a_trace_without_length_has_bars_of_one_cell() {
        let span = json!({"span_id": "1", "operation": "tick", "service": "clock", "depth": 0, "status": "ok",
                          "start": "2026-11-21T03:00:00Z", "duration_ms": 0.0});
        let summary = json!({"start": "2026-11-21T03:00:00Z", "duration_ms": 0.0, "spans": 1, "errors": 0});
        let text = waterfall(&json!({"summary": summary, "spans": [span], "critical_path": []}));
        assert!(text.contains(&format!("│░{}│", " ".repeat(BAR - 1))), "{text}");
    }

    #[test]
    fn what_is_asked_for_is_encoded() {
        assert_eq!(encode("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
