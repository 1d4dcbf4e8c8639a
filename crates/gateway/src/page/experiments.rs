//! Experiments: what is being disturbed on purpose, and what was.

use std::time::Duration;

use domain::units::show_duration;
use domain::{ExperimentId, Fault, Lane, ResourceId, ServiceName};
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use store::{ExperimentRecord, ExperimentStatus};

use super::list::{Column, Filter, List, Listed, Source};
use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::{capital, count};
use super::services::{resource_link, resource_words};
use super::time::{Stamp, took};
use super::timeline::{self, Axis};
use super::view::View;
use super::{Page, Section, Update};
use crate::api;
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes;

const STATUSES: [ExperimentStatus; 7] = [
    ExperimentStatus::Pending,
    ExperimentStatus::AwaitingApproval,
    ExperimentStatus::Running,
    ExperimentStatus::Completed,
    ExperimentStatus::Failed,
    ExperimentStatus::Aborted,
    ExperimentStatus::Refused,
];

/// The names of every fault.
pub(super) const TYPES: [&str; 9] = [
    "pod_kill",
    "pod_deletion",
    "pause",
    "cpu_stress",
    "memory_stress",
    "disk_fill",
    "network_latency",
    "network_partition",
    "api_throttling",
];

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
    let sentence = match view.faults.len() {
        0 => "Nothing is being disturbed.".to_owned(),
        n => format!("{} injected on purpose.", count(n, "fault is", "faults are")),
    };
    let [form, rows] = listed(app, view).sections(query, "experiments")?;
    Ok(Page {
        title: "Experiments".to_owned(),
        sections: vec![
            Section::live("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::still(
                "actions",
                html! { div class="actions" { a class="button primary" href="/experiments/new" { "New experiment" } } },
            ),
            Section::rows(
                "faults",
                html! { @if !view.faults.is_empty() { h2 { "Running" } (faults(view)) } },
            ),
            form,
            rows,
        ],
    })
}

/// One experiment with what is recorded of it.
pub(super) type Recorded = (ExperimentRecord, Document);

/// The experiments that were recorded.
pub(super) fn listed<'a>(app: &'a App, view: &'a View) -> Listed<'a, Recorded> {
    let read = |before: Option<&str>, limit: usize| {
        let wrong =
            |id| Problem::field("before", format!("`before` is {id:?}; give the id of an experiment"));
        let before = before.map(|id| id.parse().map_err(|_| wrong(id))).transpose()?;
        let rows = app.store.experiments(limit, before)?.into_iter();
        Ok(rows
            .map(|record| {
                let document = shapes::document(&record);
                (record, document)
            })
            .collect())
    };
    let statuses = STATUSES.map(|status| (status.name(), words(status.name())));
    let list = List {
        address: "/experiments",
        nouns: ("experiment", "experiments"),
        columns: columns(view.stamp),
        filters: vec![
            Filter::choice("status", "Status", statuses)
                .keeping(|(record, _): &Recorded, name| record.status.name() == name),
            Filter::choice("type", "Fault", TYPES.map(|name| (name, words(name))))
                .keeping(|(_, document): &Recorded, name| text(document.get("type")) == Some(name)),
            Filter::choice("passed", "Verdict", [("true", "passed"), ("false", "not passed")]).keeping(
                |(_, document): &Recorded, wanted| {
                    document.get("passed").and_then(Value::as_bool) == Some(wanted == "true")
                },
            ),
        ],
        key: Box::new(|(record, _)| record.id.to_string()),
        empty: html! {
            p class="empty" {
                "An experiment injects a fault on purpose, for a bounded time, and takes it out again. "
                a href="/experiments/new" { "Begin one" } ", or from a shell: "
                code { "homeostat chaos inject pause --target instance/NAME-0 --for 10s" }
            }
        },
    };
    Listed { list, source: Source::Stored(Box::new(read)) }
}

fn columns<'a>(stamp: Stamp) -> Vec<Column<'a, Recorded>> {
    let field = |name: &'static str| {
        move |(_, document): &Recorded| document.get(name).cloned().unwrap_or(Value::Null)
    };
    vec![
        Column::new("status", "Status", |(record, _): &Recorded| json!(record.status.name()))
            .shown(|(record, document)| status(record, document.get("passed")))
            .sorted(),
        Column::new("name", "Experiment", |(record, _): &Recorded| json!(name(record)))
            .class("what")
            .shown(|(record, _)| html! { a href={ "/experiments/" (record.id) } { (name(record)) } })
            .sorted(),
        Column::new("type", "Fault", field("type"))
            .class("name two")
            .shown(|(_, document)| html! { (words(text(document.get("type")).unwrap_or("–"))) })
            .sorted(),
        Column::new("target", "Where", |(_, document): &Recorded| json!(target(document)))
            .class("name two")
            .shown(|(_, document)| html! { @if let Some(target) = target(document) { (place(target)) } @else { "–" } })
            .sorted(),
        Column::new("verdict", "Verdict", field("verdict")).class("wide quiet").sorted(),
        Column::new("recovery_time_seconds", "Recovery", field("recovery_time_seconds"))
            .class("number fold")
            .shown(|(_, document)| match document.get("recovery_time_seconds").and_then(Value::as_f64) {
                Some(seconds) => html! { (format!("{seconds:.1}")) " s" },
                None => html! { "–" },
            })
            .sorted(),
        Column::new("created_at", "When", |(record, _): &Recorded| json!(record.created_at.rfc3339()))
            .class("number")
            .shown(move |(record, _)| stamp.ago(record.created_at))
            .sorted(),
        Column::unseen("passed", field("passed")),
        Column::unseen("duration_seconds", field("duration_seconds")),
        Column::unseen("started_at", field("started_at")),
        Column::unseen("completed_at", field("completed_at")),
        Column::unseen("requested_by", field("requested_by")),
        Column::unseen("error", field("error")),
        Column::unseen("id", |(record, _): &Recorded| json!(record.id.to_string())),
    ]
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
            Section::tried("timeline", Update::Live, "Time line", time_line(app, view, &record, &document))?,
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
