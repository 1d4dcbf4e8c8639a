//! One trace: a sentence, its figures, and one of its views.

use std::collections::HashMap;

use maud::{Markup, html};
use telemetry::{Root, Section as PathSection, SpanId, Trace, TraceSummary};

use super::visible::{Folding, Visible};
use super::waterfall::{Colours, Waterfall};
use super::{archive, flame, logs, span, units};
use crate::body::{Query, encode};
use crate::page::marks::{Meaning, mark};
use crate::page::sentence::{count, isolated};
use crate::page::view::View;
use crate::page::{Page, Section, Update};
use crate::problem::Problem;
use crate::serve::App;

/// The views, by the value of `tab`.
const TABS: [(&str, &str); 3] = [("", "Waterfall"), ("flame", "Flame"), ("logs", "Logs")];

/// Spans the critical path is told by.
const TOLD: usize = 5;

pub(in crate::page) fn detail(app: &App, view: &View, id: &str, query: &Query) -> Result<Page, Problem> {
    let store = match super::store(app) {
        Ok(store) => store,
        Err(none) => {
            return Ok(Page { title: "Trace".to_owned(), sections: vec![Section::still("sentence", none)] });
        }
    };
    let trace = super::load(store, id)?;
    let summary = trace.summary();
    let colours = Colours::of(&summary.services);
    let path = trace.critical_path();
    let tab = query.read(
        "tab",
        |text| TABS.iter().find(|(name, _)| *name == text),
        || "flame or logs, or leave it out".to_owned(),
    )?;
    let mut sections = vec![Section::still("header", header(view, &trace, &summary, &path))];
    sections.push(Section::still("archive", archive::draw(view, store, trace.id())));
    sections.push(Section::still(
        "figures",
        html! {
            (figures(&trace, &summary, &colours))
            (tabs(&trace, tab.map_or("", |(name, _)| name)))
        },
    ));
    match tab.map_or("", |(name, _)| name) {
        "flame" => sections.push(Section::still("flame", flame::draw(&trace, &colours, query)?)),
        "logs" => {
            let records = logs::of_trace(store, &trace, &colours);
            sections.push(Section::tried("logs", Update::Never, "Logs", records)?);
        }
        _ => {
            let folding = Folding::read(query)?;
            let visible = Visible::choose(&trace, &folding, query.text("q"));
            let chosen =
                query.read("span", |text| text.parse::<SpanId>().ok(), || "a span's id".to_owned())?;
            let zoom = query.read("zoom", |text| text.parse::<SpanId>().ok(), || "a span's id".to_owned())?;
            let zoom = zoom.and_then(|id| trace.spans().iter().position(|span| span.span_id == id));
            let waterfall = Waterfall {
                trace: &trace,
                colours: &colours,
                path: &path,
                folding: &folding,
                visible: &visible,
                chosen,
                zoom,
                query,
            };
            let asked = query.count("row", 0, usize::MAX)?;
            sections.push(Section::still("waterfall", waterfall.draw(waterfall.slice(asked))));
            // It sticks to the lower edge of the window, so that opening it moves no row.
            sections.push(Section::still(
                "span",
                match chosen {
                    Some(chosen) => span::draw(store, &trace, chosen, query)?,
                    None => html! {},
                },
            ));
            sections.push(Section::still("path", contributors(&trace, &path)));
        }
    }
    Ok(Page { title: format!("{}: {}", summary.root_service, summary.root_operation), sections })
}

fn header(view: &View, trace: &Trace, summary: &TraceSummary, path: &[PathSection]) -> Markup {
    let id = trace.id().to_string();
    html! {
        p class="crumb" { a href="/traces" { "Traces" } }
        h1 class="sentence" { (sentence(trace, summary, path)) }
        div class="facts" {
            @if summary.errors > 0 { (super::errors(summary.errors)) }
            span { "began " (view.stamp.ago(units::time(trace.start_unix_nano()))) }
            span { "id " code { (id) } }
            a href={ "/traces?service=" (encode(&summary.root_service)) "&operation=" (encode(&summary.root_operation)) "&within=86400&with=" (id) } { "Compare with another" }
            a href={ "/api/v3/observability/trace/" (id) } { "JSON" }
        }
        @if summary.root == Root::Missing || summary.missing_parents > 0 {
            p class="notice attention" {
                strong { "Incomplete" }
                span { (count(summary.missing_parents, "span names a parent that is", "spans name parents that are"))
                    " not here: not sent, not yet, or left out by sampling. What hangs below is shown on its own." }
            }
        }
    }
}

/// `GET /checkout took 412 ms; payments → charge was 71 % of its critical path; 1 error.`
fn sentence(trace: &Trace, summary: &TraceSummary, path: &[PathSection]) -> String {
    let root = &trace.spans()[trace.main_root()];
    let mut text = format!("{} took {}", isolated(&root.name), units::duration(root.duration_nano));
    if trace.duration_nano() > root.duration_nano {
        text.push_str(&format!(", {} with all that followed", units::duration(trace.duration_nano())));
    }
    let length: u64 = path.iter().map(PathSection::duration_nano).sum();
    if let Some(first) = told(trace, path).first().filter(|_| trace.spans().len() > 1) {
        let share = units::percent(first.nano as f64, length as f64);
        if first.row == trace.main_root() {
            text.push_str(&format!("; {share} of its critical path was its own work"));
        } else {
            text.push_str(&format!(
                "; {} → {} was {share} of its critical path",
                isolated(first.service),
                isolated(first.operation)
            ));
        }
    }
    match summary.errors {
        0 => text.push_str("; no error."),
        n => text.push_str(&format!("; {}.", count(n, "error", "errors"))),
    }
    text
}

/// What one operation of one service adds to the critical path.
struct Told<'a> {
    service: &'a str,
    operation: &'a str,
    nano: u64,
    /// The row that adds most of it.
    row: usize,
    spans: usize,
}

/// The operations on the critical path, the longest first.
fn told<'a>(trace: &'a Trace, path: &[PathSection]) -> Vec<Told<'a>> {
    let mut by_row: HashMap<usize, u64> = HashMap::new();
    for section in path {
        *by_row.entry(section.row).or_default() += section.duration_nano();
    }
    let mut rows: Vec<(usize, u64)> = by_row.into_iter().collect();
    rows.sort_unstable_by_key(|&(row, nano)| (std::cmp::Reverse(nano), row));
    let mut by_name: HashMap<(&str, &str), Told<'a>> = HashMap::new();
    for (row, nano) in rows {
        let span = &trace.spans()[row];
        let (service, operation) = (span.service(), span.name.as_str());
        let told = by_name.entry((service, operation)).or_insert(Told {
            service,
            operation,
            nano: 0,
            row,
            spans: 0,
        });
        told.nano += nano;
        told.spans += 1;
    }
    let mut told: Vec<Told<'a>> = by_name.into_values().collect();
    told.sort_unstable_by_key(|told| (std::cmp::Reverse(told.nano), told.row));
    told
}

fn figures(trace: &Trace, summary: &TraceSummary, colours: &Colours) -> Markup {
    let levels = trace.rows().iter().map(|row| row.depth).max().unwrap_or(0) + 1;
    let odd = trace.rows().iter().filter(|row| row.oddity == Some(telemetry::Oddity::OutsideParent)).count();
    html! {
        dl class="figures" {
            div { dt { "Duration" } dd { (units::duration(trace.duration_nano())) } }
            div { dt { "Spans" } dd { (units::grouped(trace.spans().len())) } }
            div { dt { "Services" } dd { (summary.services.len()) } }
            div { dt { "Levels" } dd { (levels) } }
            div { dt { "Errors" } dd { (units::grouped(summary.errors)) } }
            @if odd > 0 {
                div title="the clocks of two machines differ, or they were not waited for; no time is changed" { dt { "Outside parent" } dd { (units::grouped(odd)) } }
            }
        }
        ul class="legend" aria-label="Services" {
            @for share in summary.services.iter().take(24) {
                li {
                    i class={ "swatch " (colours.class(&share.service)) } {} (isolated(&share.service)) " "
                    span class="quiet" { (units::grouped(share.spans)) }
                    @if share.errors > 0 { (mark(Meaning::Bad, &count(share.errors, "error", "errors"))) }
                }
            }
            @if summary.services.len() > 24 { li class="quiet" { "and " (summary.services.len() - 24) " more" } }
            li class="quiet" { i class="swatch crit" {} "critical path" }
        }
    }
}

fn tabs(trace: &Trace, chosen: &str) -> Markup {
    html! {
        nav class="tabs" aria-label="Views" {
            @for (tab, word) in TABS {
                a href={ "/traces/" (trace.id()) @if !tab.is_empty() { "?tab=" (tab) } } aria-current=[(tab == chosen).then_some("page")] { (word) }
            }
        }
    }
}

/// What decided how long the trace took, as a table.
fn contributors(trace: &Trace, path: &[PathSection]) -> Markup {
    let told = told(trace, path);
    let length: u64 = path.iter().map(PathSection::duration_nano).sum();
    html! {
        @if trace.spans().len() > 1 && length > 0 {
            h2 { "Critical path" span class="quiet" { "what its duration was made of" } }
            div class="scroll" { table class="stacks" {
                thead { tr { th { "Service" } th { "Operation" } th class="number" { "On the path" } th class="number" { "Share" } th class="number" { "Spans" } } }
                tbody {
                    @for told in told.iter().take(TOLD) {
                        tr {
                            td { (told.service) }
                            td class="name" { a href={ "?span=" (trace.spans()[told.row].span_id) } { (told.operation) } }
                            td class="number" data-label="On the path" { (units::duration(told.nano)) }
                            td class="number" data-label="Share" { (units::percent(told.nano as f64, length as f64)) }
                            td class="number" data-label="Spans" { (units::grouped(told.spans)) }
                        }
                    }
                }
            } }
            @if told.len() > TOLD { p class="quiet" { (count(told.len() - TOLD, "other operation is", "other operations are")) " on the path as well." } }
        }
    }
}
