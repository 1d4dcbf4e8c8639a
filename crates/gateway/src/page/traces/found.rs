//! The traces a search found, in short.

use maud::{Markup, html};
use serde_json::json;
use telemetry::{Root, Searched, Telemetry, TraceFilter, TraceSummary};

use super::units;
use crate::page::list::{Column, Filter, List, Listed, Source};
use crate::page::sentence::{count, isolated};
use crate::page::time::Stamp;
use crate::problem::Problem;

/// The traces that match, newest first, where a text is given those that logged it; and where their search was cut, as
/// [`Searched::cut_at`] says.
pub(super) fn find(
    store: &Telemetry,
    filter: &TraceFilter,
    text: Option<&str>,
) -> Result<(Vec<TraceSummary>, Option<u64>), Problem> {
    let Searched { traces: found, cut_at } = match text {
        Some(text) => store.search_logged(text, filter)?,
        None => Searched { traces: store.search(filter)?, cut_at: None },
    };
    let mut summaries = Vec::with_capacity(found.len());
    for (id, _) in found {
        let spans = store.trace(id)?;
        summaries.extend(TraceSummary::of(&spans));
    }
    Ok((summaries, cut_at))
}

/// The traces that were found. With `compare`, each row leads to its comparison with that trace.
pub(super) fn listed<'a>(
    stamp: Stamp,
    source: Source<'a, TraceSummary>,
    compare: Option<String>,
) -> Listed<'a, TraceSummary> {
    let mut columns = vec![
        Column::new("errors", "Errors", |trace: &TraceSummary| json!(trace.errors))
            .shown(|trace| super::errors(trace.errors))
            .sorted(),
        Column::new("trace", "Trace", |trace: &TraceSummary| json!(format!("{}: {}", trace.root_service, trace.root_operation)))
            .class("name")
            .shown(|trace| html! {
                a href={ "/traces/" (trace.trace_id) } { (isolated(&trace.root_service)) ": " (isolated(&trace.root_operation)) }
                @if trace.root == Root::Missing { " " span class="quiet" title="the span this trace began with is not here" { "begins elsewhere" } }
            })
            .sorted(),
        Column::new("duration_ms", "Duration", |trace: &TraceSummary| json!(trace.duration_nano as f64 / 1e6))
            .class("number")
            .shown(|trace| html! { (units::duration(trace.duration_nano)) })
            .sorted(),
        Column::new("spans", "Spans", |trace: &TraceSummary| json!(trace.spans))
            .class("number")
            .shown(|trace| html! { (units::grouped(trace.spans)) })
            .sorted(),
        Column::new("services", "Services", |trace: &TraceSummary| {
            json!(trace.services.iter().map(|share| share.service.as_str()).collect::<Vec<_>>())
        })
        .class("two")
        .shown(services),
    ];
    if let Some(other) = compare {
        let id = |trace: &TraceSummary| json!(trace.trace_id.to_string());
        columns.push(Column::new("compare", "Compare", id).shown(move |trace| {
            html! {
                @if other == trace.trace_id.to_string() { span class="quiet" { "this one" } }
                @else { a href={ "/traces/compare?a=" (other) "&b=" (trace.trace_id) } { "compare" } }
            }
        }));
    }
    columns.push(
        Column::new("began", "Began", |trace: &TraceSummary| {
            json!(units::time(trace.start_unix_nano).rfc3339())
        })
        .class("number began")
        .shown(move |trace| stamp.ago(units::time(trace.start_unix_nano)))
        .sorted(),
    );
    columns.push(Column::unseen("id", |trace: &TraceSummary| json!(trace.trace_id.to_string())));
    let list = List {
        address: "/traces",
        nouns: ("trace", "traces"),
        columns,
        filters: FIELDS.map(Filter::elsewhere).into(),
        key: Box::new(|trace: &TraceSummary| trace.trace_id.to_string()),
        empty: html! {},
    };
    Listed { list, source }
}

/// What the page's own form asks for.
const FIELDS: [&str; 13] = [
    "service",
    "operation",
    "tags",
    "text",
    "min",
    "max",
    "limit",
    "errors",
    "with",
    "within",
    "from",
    "to",
    "id",
];

/// The names of a few services, and how many more there are.
fn services(trace: &TraceSummary) -> Markup {
    const SHOWN: usize = 4;
    let rest = trace.services.len().saturating_sub(SHOWN);
    html! {
        span class="quiet" {
            @for (place, share) in trace.services.iter().take(SHOWN).enumerate() {
                @if place > 0 { ", " }
                span title=(count(share.spans, "span", "spans")) { (isolated(&share.service)) }
            }
            @if rest > 0 { " and " (rest) " more" }
        }
    }
}
