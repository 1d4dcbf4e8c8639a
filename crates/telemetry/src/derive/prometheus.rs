//! Span metrics and service graph as Prometheus' text format.
//!
//! Names are those of the Collector's spanmetrics connector and of Tempo's metrics generator:
//! `traces_span_metrics_calls_total`, `traces_span_metrics_duration_seconds`, `traces_service_graph_request_total`,
//! `…_failed_total`, `…_server_seconds`, `…_client_seconds`. Counted since the process began, with what was replayed
//! at its start. Bounds of buckets are powers of two of a nanosecond, about 1 ms to 17 s, which are bounds of our own
//! buckets too: nothing is guessed.
//!
//! Bounded: the first [`SERIES_MAX`] series and [`EDGES_MAX`] edges have lines of their own; how many are left out is
//! a line too.

use std::fmt::Write;
use std::ops::RangeInclusive;

use super::edges::{Link, View, cell};
use super::histogram::Histogram;
use super::names::OTHER;
use super::state::State;
use crate::model::SpanKind;

/// Series with lines of their own: about 2 KiB each.
const SERIES_MAX: usize = 500;

/// Edges with lines of their own: about 4 KiB each.
const EDGES_MAX: usize = 250;

/// Exponents of the bounds.
const BOUNDS: RangeInclusive<u16> = 20..=34;

/// All of it.
pub(crate) fn text(state: &State) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ =
        series(state, &mut text).and_then(|()| edges(state, &mut text)).and_then(|()| lost(state, &mut text));
    text
}

fn series(state: &State, text: &mut String) -> std::fmt::Result {
    let mut totals: Vec<(String, Histogram)> = Vec::new();
    let mut all = state.series.iter();
    for (id, known) in all.by_ref().take(SERIES_MAX) {
        let mut total = known.total.clone();
        state.minutes.hot().filter(|hot| hot.1 == id).for_each(|(_, _, cell)| total.merge(&cell.histogram));
        let service = escaped(state.services.name(known.service));
        let name = escaped(known.operation.as_deref().unwrap_or(OTHER));
        let kind = kind(known.kind);
        totals.push((format!("service=\"{service}\",span_name=\"{name}\",span_kind=\"{kind}\""), total));
    }
    head(text, "traces_span_metrics_calls_total", "counter", "spans, by service, name, kind and status")?;
    for (labels, total) in &totals {
        for (status, calls) in
            [("STATUS_CODE_UNSET", total.calls() - total.errors()), ("STATUS_CODE_ERROR", total.errors())]
        {
            writeln!(text, "traces_span_metrics_calls_total{{{labels},status_code=\"{status}\"}} {calls}")?;
        }
    }
    head(text, "traces_span_metrics_duration_seconds", "histogram", "durations of these spans")?;
    for (labels, total) in &totals {
        histogram(text, "traces_span_metrics_duration_seconds", labels, total)?;
    }
    head(
        text,
        "traces_span_metrics_series_left_out",
        "gauge",
        "series that have no lines of their own here",
    )?;
    writeln!(text, "traces_span_metrics_series_left_out {}", all.count())
}

fn edges(state: &State, text: &mut String) -> std::fmt::Result {
    let mut totals: Vec<(String, [Histogram; 2])> = Vec::new();
    let mut all = state.graph.edges.iter();
    for (id, edge) in all.by_ref().take(EDGES_MAX) {
        let dependency = state.dependency(edge);
        let kind = match edge.link {
            Link::Call => "",
            Link::Message => "messaging_system",
            Link::Uninstrumented => "virtual_node",
        };
        let (client, server) = (escaped(&dependency.caller), escaped(&dependency.callee));
        let labels = format!("client=\"{client}\",server=\"{server}\",connection_type=\"{kind}\"");
        let views = [View::Caller, View::Callee].map(|view| {
            let id = cell(id, view);
            let mut total = state.graph.edges.total(id);
            state
                .graph
                .minutes
                .hot()
                .filter(|hot| hot.1 == id)
                .for_each(|(_, _, c)| total.merge(&c.histogram));
            total
        });
        totals.push((labels, views));
    }
    head(text, "traces_service_graph_request_total", "counter", "requests from one service to another")?;
    for (labels, [caller, _]) in &totals {
        writeln!(text, "traces_service_graph_request_total{{{labels}}} {}", caller.calls())?;
    }
    head(text, "traces_service_graph_request_failed_total", "counter", "of these, those that failed")?;
    for (labels, [caller, _]) in &totals {
        writeln!(text, "traces_service_graph_request_failed_total{{{labels}}} {}", caller.errors())?;
    }
    for (name, view, help) in [
        ("client", View::Caller, "durations as callers see them"),
        ("server", View::Callee, "durations as callees see them"),
    ] {
        let name = format!("traces_service_graph_request_{name}_seconds");
        head(text, &name, "histogram", help)?;
        for (labels, views) in &totals {
            histogram(text, &name, labels, &views[view as usize])?;
        }
    }
    head(text, "traces_service_graph_edges_left_out", "gauge", "edges that have no lines of their own here")?;
    writeln!(text, "traces_service_graph_edges_left_out {}", all.count())
}

fn lost(state: &State, text: &mut String) -> std::fmt::Result {
    let counters = &state.counters;
    for (name, help, count) in [
        (
            "traces_span_metrics_spans_in_other_total",
            "spans counted as other, because there were too many series",
            counters.in_other,
        ),
        (
            "traces_span_metrics_spans_too_old_total",
            "spans that began before the day that is kept: not counted",
            counters.too_old,
        ),
        (
            "traces_span_metrics_spans_too_new_total",
            "spans that began more than five minutes ahead: not counted",
            counters.too_new,
        ),
        (
            "traces_service_graph_unpaired_callers_total",
            "callers whose callee did not come within a minute",
            counters.callers_alone,
        ),
        (
            "traces_service_graph_unpaired_callees_total",
            "callees whose caller did not come within a minute",
            counters.callees_alone,
        ),
        (
            "traces_service_graph_dropped_early_total",
            "spans that went before their pair came, because too many waited",
            counters.gone_early,
        ),
    ] {
        head(text, name, "counter", help)?;
        writeln!(text, "{name} {count}")?;
    }
    Ok(())
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn histogram(text: &mut String, name: &str, labels: &str, total: &Histogram) -> std::fmt::Result {
    for exponent in BOUNDS {
        let bound = (1u64 << exponent) as f64 / 1e9;
        let calls = total.calls_up_to(exponent);
        writeln!(text, "{name}_bucket{{{labels},le=\"{bound}\"}} {calls}")?;
    }
    let calls = total.calls();
    writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {calls}")?;
    writeln!(text, "{name}_sum{{{labels}}} {}", total.sum().as_secs_f64())?;
    writeln!(text, "{name}_count{{{labels}}} {calls}")
}

fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
        SpanKind::Internal => "SPAN_KIND_INTERNAL",
        SpanKind::Server => "SPAN_KIND_SERVER",
        SpanKind::Client => "SPAN_KIND_CLIENT",
        SpanKind::Producer => "SPAN_KIND_PRODUCER",
        SpanKind::Consumer => "SPAN_KIND_CONSUMER",
    }
}

/// A label's value as the text format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
