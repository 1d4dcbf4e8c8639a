//! Experiments: what is being disturbed on purpose, and what was.

use std::time::Duration;

use domain::units::show_duration;
use domain::{ExperimentId, Fault, Lane, ResourceId, ServiceName};
use maud::{Markup, html};
use serde_json::{Map, Value};
use store::{ExperimentRecord, ExperimentStatus};

use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::{capital, count};
use super::services::{resource_link, resource_words};
use super::time::took;
use super::timeline::{self, Axis};
use super::view::View;
use super::{Page, Section};
use crate::api;
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes;

const ROWS: usize = 50;

type Document = Map<String, Value>;

/// The running faults.
pub(super) fn faults(view: &View) -> Markup {
    html! {
        ul class="rows" {
            @for running in &view.faults {
                li data-key=(running.token) {
                    (mark(Meaning::Disturbed, "disturbed"))
                    span class="what" {
                        (capital(&phrases::fault(&running.fault))) " at " (resource_link(&running.fault.target))
                    }
                    span class="side" { (view.stamp.left(running.until)) }
                    div class="doing" {
                        "Injected " (view.stamp.ago(running.since)) "; it ends by itself. "
                        @if let Some(id) = running.experiment { a href={ "/experiments/" (id) } { "Its experiment" } }
                    }
                }
            }
        }
    }
}

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let before = query.read("before", |text| text.parse().ok(), || "the id of an experiment".to_owned())?;
    let mut rows = app.store.experiments(ROWS + 1, before)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let sentence = match view.faults.len() {
        0 => "Nothing is being disturbed.".to_owned(),
        n => format!("{} injected on purpose.", count(n, "fault is", "faults are")),
    };
    let body = html! {
        h2 { "Recorded" }
        @if rows.is_empty() {
            p class="empty" {
                "An experiment injects a fault on purpose, for a bounded time, and takes it out again. Begin one: "
                code { "homeostat chaos inject pause --target instance/NAME-0 --for 10s" }
            }
        } @else { (table(view, &rows)) }
        @if let (true, Some(last)) = (more, rows.last()) {
            p { a href={ "/experiments?" (query.with("before", &last.id.to_string())) } { "Older" } }
        }
    };
    Ok(Page {
        title: "Experiments".to_owned(),
        sections: vec![
            Section::live("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::rows(
                "faults",
                html! { @if !view.faults.is_empty() { h2 { "Running" } (faults(view)) } },
            ),
            Section::rows("experiments", body),
        ],
    })
}

fn table(view: &View, rows: &[ExperimentRecord]) -> Markup {
    let rows: Vec<_> = rows.iter().map(|record| (record, shapes::document(record))).collect();
    // Only some experiments have a hypothesis, and with it a verdict and a recovery.
    let any =
        |field: &str| rows.iter().any(|(_, document)| document.get(field).is_some_and(|v| !v.is_null()));
    let (verdicts, recoveries) = (any("verdict"), any("recovery_time_seconds"));
    html! {
        div class="scroll" { table class="stacks" {
            thead { tr {
                th { "Status" } th { "Experiment" } th { "Fault" } th { "Where" }
                @if verdicts { th { "Verdict" } }
                @if recoveries { th class="number fold" { "Recovery" } }
                th class="number" { "When" }
            } }
            tbody {
                @for (record, document) in &rows {
                    @let verdict = text(document.get("verdict"));
                    tr data-key=(record.id) {
                        td { (status(record, document.get("passed"))) }
                        td class="what" { a href={ "/experiments/" (record.id) } { (name(record)) } }
                        td class="name two" data-label="Fault" { (words(text(document.get("type")).unwrap_or("–"))) }
                        td class="name two" data-label="Where" { @if let Some(target) = target(document) { (place(target)) } @else { "–" } }
                        @if verdicts { td class={ "wide quiet" @if verdict.is_none() { " none" } } { (verdict.unwrap_or("–")) } }
                        @if recoveries { td class="number fold" data-label="Recovery" {
                            @match document.get("recovery_time_seconds").and_then(Value::as_f64) {
                                Some(seconds) => { (format!("{seconds:.1}")) " s" },
                                None => "–",
                            }
                        } }
                        td class="number" data-label="When" { (view.stamp.ago(record.created_at)) }
                    }
                }
            }
        } }
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

fn name(record: &ExperimentRecord) -> String {
    let document = shapes::document(record);
    text(document.get("name"))
        .or(text(document.get("type")))
        .map_or_else(|| record.id.to_string(), str::to_owned)
}

fn status(record: &ExperimentRecord, passed: Option<&Value>) -> Markup {
    match (record.status, passed.and_then(Value::as_bool)) {
        (ExperimentStatus::Completed, Some(true)) => mark(Meaning::Good, "passed"),
        (ExperimentStatus::Completed, Some(false)) => mark(Meaning::Bad, "not passed"),
        (ExperimentStatus::Completed, None) => mark(Meaning::Good, "completed"),
        (ExperimentStatus::Running, _) => mark(Meaning::Disturbed, "running"),
        (ExperimentStatus::Pending, _) => mark(Meaning::Info, "pending"),
        (ExperimentStatus::AwaitingApproval, _) => mark(Meaning::Attention, "awaits approval"),
        (ExperimentStatus::Aborted, _) => mark(Meaning::Attention, "aborted"),
        (ExperimentStatus::Failed, _) => mark(Meaning::Bad, "failed"),
        (ExperimentStatus::Refused, _) => mark(Meaning::Unknown, "refused"),
    }
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let unknown = || Problem::not_found(format!("there is no experiment {id}"));
    let id: ExperimentId = id.parse().map_err(|_| unknown())?;
    let record = app.store.experiment(id)?.ok_or_else(unknown)?;
    let document = shapes::document(&record);
    let header = html! {
        p class="crumb" { a href="/experiments" { "Experiments" } }
        h1 class="sentence" { (headline(&record, &document)) }
        div class="facts" {
            (status(&record, document.get("passed")))
            span { (name(&record)) }
            span { "made " (view.stamp.ago(record.created_at)) }
        }
    };
    let actions = html! {
        div class="actions" {
            @if !record.status.is_final() {
                form method="post" action={ "/experiments/" (id) "/abort" } {
                    button class="danger" type="submit" title="Takes its faults out now" { "Abort and take out" }
                }
            }
        }
    };
    let body = html! {
        div class="loop" {
            section { h2 { "Fault" } div { (disturbance(&document)) } }
            section { h2 { "Course" } div { (course(view, &record, &document)) } }
            section { h2 { "Record" } div { (rest(id, &document)) } }
        }
    };
    Ok(Page {
        title: name(&record),
        sections: vec![
            Section::live("header", header),
            Section::live("actions", actions),
            Section::live("document", body),
            Section::live("timeline", time_line(app, view, &record, &document)?),
        ],
    })
}

/// The verdict where there is one, else what is done where.
fn headline(record: &ExperimentRecord, document: &Document) -> String {
    let sentence = match (text(document.get("verdict")), fault(document)) {
        (Some(verdict), _) => verdict.to_owned(),
        (None, Some(fault)) => format!("{} at {}", phrases::fault(&fault), resource_words(&fault.target)),
        (None, None) => name(record),
    };
    capital(&sentence)
}

fn fault(document: &Document) -> Option<Fault> {
    serde_json::from_value(document.get("fault")?.clone()).ok()
}

/// What is done where, and what it may touch.
fn disturbance(document: &Document) -> Markup {
    let predicted = document.get("blast_radius").and_then(|radius| radius.get("predicted"));
    let predicted: Vec<&str> =
        predicted.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        p {
            @match fault(document) {
                Some(fault) => { (capital(&phrases::fault(&fault))) },
                None => { (capital(&words(text(document.get("type")).unwrap_or("unknown")))) },
            }
            @if let Some(target) = target(document) { " at " (place(target)) }
        }
        @if !predicted.is_empty() {
            p { "May touch " @for (n, resource) in predicted.iter().enumerate() {
                @if n > 0 { ", " } (place(resource))
            } "." }
        }
    }
}

/// When it began and ended, and how it came out.
fn course(view: &View, record: &ExperimentRecord, document: &Document) -> Markup {
    let at = |field: &str| text(document.get(field)).and_then(api::time);
    let seconds = |field: &str| {
        let seconds = document.get(field).and_then(Value::as_f64)?;
        Some(show_duration(Duration::try_from_secs_f64(seconds).ok()?))
    };
    html! {
        dl class="values" {
            @if let Some(longest) = seconds("duration_seconds") { dt { "at most" } dd { (longest) } }
            @match (at("started_at"), at("completed_at")) {
                (Some(begin), Some(end)) => {
                    dt { "in force" } dd { (took(begin, end)) ", " (view.stamp.ago(end)) }
                },
                (Some(begin), None) if record.status.is_final() => { dt { "began" } dd { (view.stamp.ago(begin)) } },
                (Some(begin), None) => { dt { "in force" } dd { "for " (view.stamp.lasting(begin)) } },
                (None, _) => { dt { "in force" } dd { "not yet, or never" } },
            }
            @if let Some(recovery) = seconds("recovery_time_seconds") { dt { "recovery" } dd { (recovery) } }
            @if let Some(verdict) = text(document.get("verdict")) { dt { "verdict" } dd { (verdict) } }
            @if let Some(error) = text(document.get("error")) { dt { "error" } dd { (error) } }
        }
    }
}

/// The fields that no other part of the page shows.
fn rest(id: ExperimentId, document: &Document) -> Markup {
    const SHOWN: [&str; 13] = [
        "name",
        "type",
        "fault",
        "target",
        "blast_radius",
        "duration_seconds",
        "started_at",
        "completed_at",
        "recovery_time_seconds",
        "passed",
        "verdict",
        "error",
        "plan",
    ];
    html! {
        dl class="values" {
            @for (field, value) in document.iter().filter(|(field, _)| !SHOWN.contains(&field.as_str())) {
                @if !value.is_null() { dt { (words(field)) } dd { (plain(value)) } }
            }
            @if let Some(plan) = text(document.get("plan")) {
                dt { "plan" } dd class="mono" { a href={ "/remediations/" (plan) } { (plan) } }
            }
            dt { "id" } dd class="mono" { (id) }
        }
    }
}

fn plain(value: &Value) -> Markup {
    match value {
        Value::String(text) => html! { (text) },
        Value::Bool(true) => html! { "yes" },
        Value::Bool(false) => html! { "no" },
        Value::Object(_) | Value::Array(_) => html! { code { (value) } },
        other => html! { (other) },
    }
}

fn target(document: &Document) -> Option<&str> {
    text(document.get("target")?.get("resource"))
}

/// A resource by its name, leading to its service where it has one.
fn place(resource: &str) -> Markup {
    match resource.parse::<ResourceId>() {
        Ok(resource) => resource_link(&resource),
        Err(_) => html! { (resource) },
    }
}

/// What happened around it, on its target's service.
fn time_line(
    app: &App,
    view: &View,
    record: &ExperimentRecord,
    document: &Document,
) -> Result<Markup, Problem> {
    let now_us = view.stamp.now.wall_us;
    let end = text(document.get("completed_at")).and_then(api::time);
    let end_us = match end {
        Some(end) => end.wall_us,
        None if record.status.is_final() => record.created_at.wall_us,
        None => now_us,
    };
    let axis = Axis::around(record.created_at.wall_us, end_us, now_us);
    let target = target(document).and_then(|target| target.parse::<ResourceId>().ok());
    let service = target.as_ref().and_then(ResourceId::service).map(ServiceName::as_str);
    let lanes = timeline::shared(app, axis, service, &Lane::ALL)?;
    Ok(html! {
        section class="timeline" { h2 { "Time line" span class="quiet" { "this experiment and its target" } } (lanes) }
    })
}
