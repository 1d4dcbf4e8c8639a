//! All that is known of one span.

use maud::{Markup, html};
use telemetry::{AttributeList, Dropped, LogFilter, LogRecord, Span, SpanId, StatusCode, Telemetry, Trace};

use super::visible::show;
use super::{logs, tags, units};
use crate::body::{Query, encode};
use crate::page::in_place;
use crate::page::marks::{Meaning, mark};
use crate::page::sentence::isolated;
use crate::problem::Problem;

/// Records of a trace that are looked through for those of the span.
const LOGS: usize = 1000;
/// Records of the span that are shown.
const LOGS_SHOWN: usize = 50;
/// Events and links shown; a span may have thousands.
const SHOWN: usize = 50;

pub(super) fn draw(store: &Telemetry, trace: &Trace, id: SpanId, query: &Query) -> Result<Markup, Problem> {
    let Some(row) = trace.spans().iter().position(|span| span.span_id == id) else {
        return Ok(
            html! { p class="notice attention" { strong { "No such span" } span { "This trace has no span " code { (id) } "." } } },
        );
    };
    let span = &trace.spans()[row];
    let filter = LogFilter { trace: Some(trace.id()), limit: LOGS, ..LogFilter::default() };
    let records = match store.logs(&filter) {
        Ok(mut records) => {
            records.retain(|record| record.span_id == Some(id));
            records.reverse();
            records_of(trace, &records)
        }
        Err(error) => {
            let notice = in_place(error.into())?;
            html! { h3 { "Logs" } (notice) }
        }
    };
    let close = format!("?{}", query.changed(&[("span", "")]));
    Ok(html! {
        section class="span-detail" aria-label="Span" {
            header {
                h2 { (isolated(span.service())) ": " (isolated(&span.name)) }
                span class="push" {}
                a class="button" href={ "?" (query.changed(&[("zoom", &id.to_string())])) } data-part="waterfall" { "Zoom to its time" }
                a class="button close" href=(close) data-part="waterfall span" { "Close" }
            }
            (facts(trace, row, span))
            div class="halves" {
                div { (attributes("Attributes", &span.attributes, Some(span.service()))) (left_out(span.dropped)) }
                div {
                    (attributes("Resource", &span.resource.attributes, Some(span.service())))
                    @if !span.scope.name.is_empty() { p class="quiet" { "Made with " code { (span.scope.name) @if !span.scope.version.is_empty() { " " (span.scope.version) } } } }
                }
            }
            (events(trace, span))
            (links(span))
            (records)
        }
    })
}

fn facts(trace: &Trace, row: usize, span: &Span) -> Markup {
    let place = trace.rows()[row];
    html! {
        div class="facts" {
            @match span.status {
                StatusCode::Error => (mark(Meaning::Bad, "error")),
                StatusCode::Ok => (mark(Meaning::Good, "ok")),
                StatusCode::Unset => span { "no status" },
            }
            @if !span.status_message.is_empty() { span { (span.status_message) } }
            @if !span.kind.word().is_empty() { span { (span.kind.word()) } }
            span { "took " (units::duration(span.duration_nano)) ", " (units::duration(place.self_nano)) " of it itself" }
            span { "began " (units::duration(span.start_unix_nano - trace.start_unix_nano())) " after the trace" }
            span { "id " code { (span.span_id) } }
            @if let Some(parent) = span.parent {
                span { "parent " @if place.parent.is_some() { a class="mono" href={ "?span=" (parent) } { (parent) } } @else { code { (parent) } } }
            }
        }
        @if let Some(oddity) = place.oddity { p { (mark(Meaning::Attention, &crate::page::sentence::capital(oddity.sentence()))) "." } }
    }
}

/// Pairs as a list; with a service each leads to the spans that have it too.
pub(super) fn attributes(title: &str, list: &AttributeList, service: Option<&str>) -> Markup {
    html! {
        @if !list.is_empty() {
            h3 { (title) }
            dl class="values" {
                @for (key, value) in list {
                    @let text = show(value);
                    dt class="mono" { (key) }
                    dd class="mono" {
                        @match service.filter(|_| text.len() <= 200) {
                            Some(service) => a class="plain" title="traces with this value" href={ "/traces?within=86400&service=" (encode(service)) "&tags=" (encode(&tags::write(key, &text))) } { (text) },
                            None => (text),
                        }
                    }
                }
            }
        }
    }
}

fn left_out(dropped: Dropped) -> Markup {
    let parts: Vec<String> =
        [(dropped.attributes, "attributes"), (dropped.events, "events"), (dropped.links, "links")]
            .into_iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{n} {what}"))
            .collect();
    html! { @if !parts.is_empty() { p class="quiet" { "Left out by the sender or our limits: " (parts.join(", ")) "." } } }
}

fn events(trace: &Trace, span: &Span) -> Markup {
    html! {
        @if !span.events.is_empty() {
            h3 { "Events" }
            ol class="events" {
                @for event in span.events.iter().take(SHOWN) {
                    li {
                        span class="number quiet" { (units::duration(event.time_unix_nano.saturating_sub(trace.start_unix_nano()))) }
                        div { strong { (event.name) } (attributes("", &event.attributes, None)) }
                    }
                }
            }
            @if span.events.len() > SHOWN { p class="quiet" { "and " (span.events.len() - SHOWN) " more." } }
        }
    }
}

fn links(span: &Span) -> Markup {
    html! {
        @if !span.links.is_empty() {
            h3 { "Links" }
            ul class="events" {
                @for link in span.links.iter().take(SHOWN) {
                    li { a class="mono" href={ "/traces/" (link.trace_id) "?span=" (link.span_id) } { (link.trace_id) } (attributes("", &link.attributes, None)) }
                }
            }
            @if span.links.len() > SHOWN { p class="quiet" { "and " (span.links.len() - SHOWN) " more." } }
        }
    }
}

fn records_of(trace: &Trace, records: &[LogRecord]) -> Markup {
    html! {
        @if !records.is_empty() {
            h3 { "Logs" span class="quiet" { "written in this span" } }
            (logs::list(trace, &records[..records.len().min(LOGS_SHOWN)], None))
            @if records.len() > LOGS_SHOWN { p class="quiet" { a href="?tab=logs" { "All logs of the trace" } } }
        }
    }
}
