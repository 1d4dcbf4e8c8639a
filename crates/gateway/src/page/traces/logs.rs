//! The log records of a trace beside its spans.

use std::collections::HashMap;

use maud::{Markup, html};
use telemetry::{LogFilter, LogRecord, SpanId, Telemetry, Trace};

use super::units;
use super::visible::show;
use super::waterfall::Colours;
use crate::page::marks::{Meaning, mark};
use crate::page::sentence::count;
use crate::problem::Problem;

/// Records shown; the newest where there are more.
const LIMIT: usize = 500;

pub(super) fn of_trace(store: &Telemetry, trace: &Trace, colours: &Colours) -> Result<Markup, Problem> {
    let filter = LogFilter { trace: Some(trace.id()), limit: LIMIT, ..LogFilter::default() };
    let mut records = store.logs(&filter)?;
    records.reverse();
    Ok(html! {
        @if records.is_empty() {
            p class="empty" {
                "No log record carries this trace's id. A logger that knows OpenTelemetry's context sends it with each record, to the same ports as spans."
            }
        } @else {
            h2 { "Logs" span class="quiet" { @if records.len() == LIMIT { "the newest " } (count(records.len(), "record", "records")) ", by time since the trace began" } }
            (list(trace, &records, Some(colours)))
        }
    })
}

/// Records in order; with colours also the service and the span each was written in.
pub(super) fn list(trace: &Trace, records: &[LogRecord], colours: Option<&Colours>) -> Markup {
    let names: HashMap<SpanId, &str> = match colours {
        Some(_) => trace.spans().iter().map(|span| (span.span_id, span.name.as_str())).collect(),
        None => HashMap::new(),
    };
    html! {
        div class="scroll" { table class="stacks logs" {
            thead { tr { th { "Severity" } th class="number" { "After" } @if colours.is_some() { th { "Written in" } } th { "Text" } } }
            tbody {
                @for record in records {
                    tr {
                        td { (severity(record)) }
                        td class="number" data-label="After" title=(crate::page::time::absolute(units::time(record.time_unix_nano))) { (after(trace, record)) }
                        @if let Some(colours) = colours {
                            td class="name two" data-label="Written in" {
                                i class={ "swatch " (colours.class(&record.resource.service)) } {} (record.resource.service) " "
                                @if let Some(id) = record.span_id { a href={ "?span=" (id) } { (names.get(&id).copied().unwrap_or("a span that is not here")) } }
                            }
                        }
                        td class="what mono wide" { (show(&record.body)) @for (key, value) in &record.attributes { " " span class="quiet" { (key) "=" (show(value)) } } }
                    }
                }
            }
        } }
    }
}

fn after(trace: &Trace, record: &LogRecord) -> String {
    let start = trace.start_unix_nano();
    match record.time_unix_nano.checked_sub(start) {
        Some(after) => units::duration(after),
        None => format!("−{}", units::duration(start - record.time_unix_nano)),
    }
}

/// The severity in OpenTelemetry's words, or the source's own.
fn severity(record: &LogRecord) -> Markup {
    let (meaning, word) = match record.severity_number {
        1..=4 => (None, "trace"),
        5..=8 => (None, "debug"),
        9..=12 => (None, "info"),
        13..=16 => (Some(Meaning::Attention), "warn"),
        17..=20 => (Some(Meaning::Bad), "error"),
        21..=24 => (Some(Meaning::Bad), "fatal"),
        _ => (None, ""),
    };
    let word = if word.is_empty() { record.severity_text.as_str() } else { word };
    match meaning {
        Some(meaning) => mark(meaning, word),
        None => html! { span class="quiet" { (word) } },
    }
}
