//! Remediations: the history with filters, and one of them.

use std::collections::BTreeSet;

use domain::{Intent, OutcomeKind, PlanId, ResourceId};
use maud::{Markup, html};
use serde_json::json;
use store::{PlanFilter, PlanPurpose, PlanRecord};

use super::history;
use super::list::{Column, Filter, List, Listed, Source, within};
use super::marks::{self, mark};
use super::plan;
use super::sentence::{capital, count};
use super::services::resource_link;
use super::time::Stamp;
use super::view::View;
use super::{Page, Section, in_place};
use crate::api;
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;
use crate::shapes::status_name;

const STATUSES: [&str; 7] =
    ["pending", "awaiting_approval", "in_progress", "success", "failed", "rolled_back", "refused"];

const OUTCOMES: [OutcomeKind; 5] = [
    OutcomeKind::Healed,
    OutcomeKind::Mitigated,
    OutcomeKind::SelfRecovered,
    OutcomeKind::NotHealed,
    OutcomeKind::Refused,
];

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let [form, rows] = listed(app, view, query)?.sections(query, "remediations")?;
    let head = match sentence(app, view) {
        Ok(sentence) => html! { h1 class="sentence" { (sentence) } },
        Err(problem) => {
            let notice = in_place(problem)?;
            html! { h1 class="sentence" { "What was repaired in the last 24 h cannot be counted now." } (notice) }
        }
    };
    Ok(Page { title: "Remediations".to_owned(), sections: vec![Section::live("sentence", head), form, rows] })
}

/// The remediations that the address chooses.
pub(super) fn listed<'a>(
    app: &'a App,
    view: &'a View,
    query: &Query,
) -> Result<Listed<'a, PlanRecord>, Problem> {
    let filter = PlanFilter {
        status: query.read("status", api::status, api::statuses)?,
        resource: query.read(
            "resource",
            |text| text.parse::<ResourceId>().ok(),
            || "a resource, such as instance/cart-0".to_owned(),
        )?,
        since: within::since(query, view.stamp.now)?,
        only: Some(PlanPurpose::Remediation),
        ..Default::default()
    };
    let read = move |before: Option<&str>, limit: usize| {
        let wrong =
            |id| Problem::field("before", format!("`before` is {id:?}; give the id of a remediation"));
        let before = before.map(|id| id.parse().map_err(|_| wrong(id))).transpose()?;
        Ok(app.store.plans(&PlanFilter { before, limit, ..filter.clone() })?)
    };
    let strategies: BTreeSet<&str> =
        app.control.strategies().iter().map(|rate| rate.strategy.name()).collect();
    let filters = vec![
        Filter::choice("status", "Status", STATUSES.map(|name| (name, plan::words(name)))),
        Filter::choice("strategy", "Strategy", strategies.into_iter().map(|name| (name, plan::words(name))))
            .keeping(|record: &PlanRecord, name| phrases::action_type(&record.plan) == name),
        Filter::choice("outcome", "Verdict", OUTCOMES.map(|kind| (kind.name(), marks::outcome_word(kind))))
            .keeping(|record: &PlanRecord, name| {
                record.outcome.as_ref().is_some_and(|outcome| outcome.kind.name() == name)
            }),
        within::filter(),
        Filter::text("resource", "Resource", "instance/cart-0"),
    ];
    let list = List {
        address: "/remediations",
        nouns: ("remediation", "remediations"),
        columns: columns(view.stamp),
        filters,
        key: Box::new(|record| record.plan.id.to_string()),
        empty: html! { p class="empty" { "A remediation is a plan of steps that repairs an issue. None was made yet. Make an issue on purpose: " code { "homeostat chaos inject pause --target instance/NAME-0 --for 30s" } } },
    };
    Ok(Listed { list, source: Source::Stored(Box::new(read)) })
}

fn columns<'a>(stamp: Stamp) -> Vec<Column<'a, PlanRecord>> {
    let target = |record: &PlanRecord| record.plan.steps.first().map(|step| step.action.resource());
    vec![
        Column::new("status", "Status", |record: &PlanRecord| json!(status_name(record.status)))
            .shown(|record| mark(marks::of_status(record.status), marks::status_word(record.status)))
            .sorted(),
        Column::new("strategy", "Strategy", |record: &PlanRecord| json!(phrases::action_type(&record.plan)))
            .class("name")
            .shown(|record| html! {
                a href={ "/remediations/" (record.plan.id) } { (plan::words(phrases::action_type(&record.plan))) }
            })
            .sorted(),
        Column::new("resource", "Where", move |record: &PlanRecord| json!(target(record).map(|r| r.to_string())))
            .class("name two")
            .shown(move |record| html! { @if let Some(resource) = target(record) { (resource_link(&resource)) } })
            .sorted(),
        Column::new("summary", "What", |record: &PlanRecord| json!(record.plan.summary)).class("fold wide quiet"),
        Column::new("took_seconds", "Took", |record: &PlanRecord| {
            json!(history::seconds_taken(record))
        })
        .class("number")
        .shown(|record| html! { (history::time_taken(record).unwrap_or_else(|| "–".to_owned())) })
        .sorted(),
        Column::new("outcome", "Verdict", |record: &PlanRecord| {
            json!(record.outcome.as_ref().map(|outcome| outcome.kind.name()))
        })
        .class("name two")
        .shown(|record| html! {
            (record.outcome.as_ref().map_or("–", |outcome| marks::outcome_word(outcome.kind)))
        })
        .sorted(),
        Column::new("created_at", "When", |record: &PlanRecord| json!(record.plan.created_at.rfc3339()))
            .class("number")
            .shown(move |record| stamp.ago(record.plan.created_at))
            .sorted(),
        Column::unseen("requested_by", |record: &PlanRecord| json!(phrases::actor(&record.plan.requested_by))),
        Column::unseen("decided_by", |record: &PlanRecord| {
            json!(record.decision.as_ref().map(|decision| decision.who.clone()))
        }),
        Column::unseen("error", |record: &PlanRecord| json!(record.error)),
        Column::unseen("rolled_back", |record: &PlanRecord| json!(record.rolled_back)),
        Column::unseen("id", |record: &PlanRecord| json!(record.plan.id.to_string())),
    ]
}

fn sentence(app: &App, view: &View) -> Result<String, Problem> {
    let counts = app.store.statistics(api::back(view.stamp.now, 86_400))?;
    let waiting = match view.waiting().count() {
        0 => String::new(),
        n => format!("{}; ", count(n, "approval waits", "approvals wait")),
    };
    let ended = counts.successful + counts.failed;
    let text = if ended == 0 {
        format!("{waiting}nothing was repaired in the last 24 h.")
    } else {
        let mean = counts
            .average_remediation
            .map_or(String::new(), |time| format!(", in {} on average", domain::units::show_duration(time)));
        format!("{waiting}{} of {ended} repairs in the last 24 h ended well{mean}.", counts.successful)
    };
    Ok(capital(&text))
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let unknown = || Problem::not_found(format!("there is no remediation {id}"));
    let plan_id: PlanId = id.parse().map_err(|_| unknown())?;
    let record = app.store.plan(plan_id)?.ok_or_else(unknown)?;
    let (journal, without) = match app.store.journal(plan_id) {
        Ok(journal) => (journal, None),
        Err(error) => (Vec::new(), Some(in_place(error.into())?)),
    };
    let seen = match &record.plan.intent {
        Intent::Remediation { issue, .. } => app.store.issue(*issue)?,
        _ => None,
    };
    let body = html! {
        div class="loop" {
            @if let Some(issue) = &seen {
                section { h2 { "Seen" } p { (marks::severity(issue.severity)) " " a href={ "/issues/" (issue.id) } { (issue.description) } } }
            }
            section { h2 { "Why" } div { (plan::why(&record.plan)) } }
            section { h2 { "Plan" } div {
                (plan::decision(view.stamp, &record))
                @if let Some(notice) = without { h3 { "How far its steps came" } (notice) }
                (plan::steps(&record.plan, &journal))
                (particulars(&record))
            } }
            section { h2 { "Expected" } p { (record.plan.expected_effect) } }
            section { h2 { "Proof" } div { (plan::proof(view.stamp, &record.plan, Some(&record))) } }
        }
    };
    Ok(Page {
        title: record.plan.summary.clone(),
        sections: vec![
            Section::live("header", header(view, &record)),
            Section::live("actions", html! { div class="actions" { (plan::buttons(&record)) } }),
            Section::live("loop", body),
        ],
    })
}

fn header(view: &View, record: &PlanRecord) -> Markup {
    html! {
        p class="crumb" { a href="/remediations" { "Remediations" } }
        h1 class="sentence" { (capital(&record.plan.summary)) }
        div class="facts" {
            (mark(marks::of_status(record.status), marks::status_word(record.status)))
            span { (plan::words(phrases::action_type(&record.plan))) }
            span { "made " (view.stamp.ago(record.plan.created_at)) " by " (phrases::actor(&record.plan.requested_by)) }
            @if record.rolled_back { span { "taken back" } }
        }
    }
}

fn particulars(record: &PlanRecord) -> Markup {
    html! {
        dl class="values" {
            dt { "touches" }
            dd { @for (place, resource) in record.plan.blast_radius.iter().enumerate() {
                @if place > 0 { ", " } (super::services::resource_link(resource))
            } }
            @if let Some(after) = record.plan.lift_after { dt { "lifted after" } dd { (domain::units::show_duration(after)) } }
            dt { "id" } dd class="mono" { (record.plan.id) }
        }
    }
}
