//! The traces a search found, in short.

use maud::{Markup, html};
use telemetry::{Root, Telemetry, TraceFilter, TraceSummary};

use super::units;
use crate::page::sentence::count;
use crate::page::time::Stamp;
use crate::problem::Problem;

/// The traces that match, newest first.
pub(super) fn find(store: &Telemetry, filter: &TraceFilter) -> Result<Vec<TraceSummary>, Problem> {
    let found = store.search(filter)?;
    let mut summaries = Vec::with_capacity(found.len());
    for (id, _) in found {
        let spans = store.trace(id)?;
        summaries.extend(TraceSummary::of(&spans));
    }
    Ok(summaries)
}

/// The traces as a table. With `compare`, each row leads to its comparison with that trace.
pub(super) fn table(stamp: Stamp, traces: &[TraceSummary], compare: Option<&str>) -> Markup {
    html! {
        div class="scroll" { table class="stacks traces" {
            thead { tr {
                th { "Errors" } th { "Trace" } th class="number" { "Duration" } th class="number" { "Spans" }
                th { "Services" } @if compare.is_some() { th { "Compare" } } th class="number" { "Began" }
            } }
            tbody {
                @for trace in traces {
                    tr data-key=(trace.trace_id) {
                        td class=[(trace.errors == 0).then_some("none")] { (super::errors(trace.errors)) }
                        td class="name" {
                            a href={ "/traces/" (trace.trace_id) } { (trace.root_service) ": " (trace.root_operation) }
                            @if trace.root == Root::Missing { " " span class="quiet" title="the span this trace began with is not here" { "begins elsewhere" } }
                        }
                        td class="number" data-label="Duration" { (units::duration(trace.duration_nano)) }
                        td class="number" data-label="Spans" { (units::grouped(trace.spans)) }
                        td class="two" data-label="Services" { (services(trace)) }
                        @if let Some(other) = compare {
                            td data-label="Compare" {
                                @if *other == trace.trace_id.to_string() { span class="quiet" { "this one" } }
                                @else { a href={ "/traces/compare?a=" (other) "&b=" (trace.trace_id) } { "compare" } }
                            }
                        }
                        td class="number began" { (stamp.ago(units::time(trace.start_unix_nano))) }
                    }
                }
            }
        } }
    }
}

/// The names of a few services, and how many more there are.
fn services(trace: &TraceSummary) -> Markup {
    const SHOWN: usize = 4;
    let rest = trace.services.len().saturating_sub(SHOWN);
    html! {
        span class="quiet" {
            @for (place, share) in trace.services.iter().take(SHOWN).enumerate() {
                @if place > 0 { ", " }
                span title=(count(share.spans, "span", "spans")) { (share.service) }
            }
            @if rest > 0 { " and " (rest) " more" }
        }
    }
}
