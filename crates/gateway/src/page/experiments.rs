//! Experiments: what is being disturbed on purpose, and what was.

use domain::ExperimentId;
use maud::{Markup, html};
use serde_json::Value;
use store::{ExperimentRecord, ExperimentStatus};

use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::{capital, count};
use super::services::resource_link;
use super::view::View;
use super::{Page, Section};
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes;

const ROWS: usize = 50;

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
                        @if let Some(id) = running.experiment { a href={ "/experiments/" (id) } { "Experiment" } }
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
    html! {
        div class="scroll" { table class="stacks" {
            thead { tr { th { "Status" } th { "Experiment" } th { "Fault" } th class="fold" { "Verdict" } th class="number" { "Recovery" } th class="number" { "When" } } }
            tbody {
                @for record in rows {
                    @let document = shapes::document(record);
                    tr data-key=(record.id) {
                        td { (status(record, document.get("passed"))) }
                        td class="name" { a href={ "/experiments/" (record.id) } { (name(record)) } }
                        td class="name" data-label="Fault" { (words(text(document.get("type")).unwrap_or("–"))) }
                        td class="fold wide quiet" data-label="Verdict" { (text(document.get("verdict")).unwrap_or("–")) }
                        td class="number" data-label="Recovery" {
                            @match document.get("recovery_time_seconds").and_then(Value::as_f64) {
                                Some(seconds) => { (format!("{seconds:.1}")) " s" },
                                None => "–",
                            }
                        }
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
        h1 class="sentence" { (capital(text(document.get("verdict")).unwrap_or(&name(&record)))) }
        div class="facts" {
            (status(&record, document.get("passed")))
            span { (name(&record)) }
            span { "made " (view.stamp.ago(record.created_at)) }
        }
        @if !record.status.is_final() {
            form class="actions" method="post" action={ "/experiments/" (id) "/abort" } {
                button class="danger" type="submit" title="Takes its faults out now" { "Abort and take out" }
            }
        }
    };
    let body = html! {
        dl class="values" {
            @for (field, value) in &document {
                @if !value.is_null() { dt { (words(field)) } dd { (plain(value)) } }
            }
            dt { "id" } dd class="mono" { (id) }
        }
    };
    Ok(Page {
        title: name(&record),
        sections: vec![Section::live("header", header), Section::live("document", body)],
    })
}

fn plain(value: &Value) -> Markup {
    match value {
        Value::String(text) => html! { (text) },
        Value::Object(_) | Value::Array(_) => html! { code { (value) } },
        other => html! { (other) },
    }
}
