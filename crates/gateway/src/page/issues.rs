//! Issues: the list, and one issue in the loop's order: seen, why, plan, proof.

use decide::correlate::Span;
use domain::{Bytes, Issue, IssueId, IssueKind, Lane, PlanStatus, ServiceName, Time};
use maud::{Markup, html};
use serde_json::json;
use store::{IssueFilter, IssueState, JournalEntry, PlanRecord};

use super::history;
use super::list::{Column, Filter, List, Listed, Source, within};
use super::marks::{self, Meaning, mark};
use super::plan;
use super::sentence::{capital, count};
use super::services::resource_link;
use super::time::took;
use super::timeline::{self, Axis};
use super::traces;
use super::view::View;
use super::{Page, Section, Update, in_place};
use crate::api;
use crate::body::Query;
use crate::cited::cited_traces;
use crate::control::Planned;
use crate::happenings;
use crate::problem::Problem;
use crate::serve::App;

/// How long before an issue a change may have to do with it, microseconds.
const BEFORE_US: i64 = 900_000_000;

/// How long after its beginning what happens is looked at, microseconds.
const AFTER_US: i64 = 1_800_000_000;

/// Earlier issues of the same type on the same resource that are shown.
const EARLIER: usize = 5;

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let sentence = match view.issues.len() {
        0 => "No issue is open.".to_owned(),
        n => format!("{} open.", count(n, "issue is", "issues are")),
    };
    let [form, rows] = listed(app, view, query)?.sections(query, "issues")?;
    Ok(Page {
        title: "Issues".to_owned(),
        sections: vec![Section::live("sentence", html! { h1 class="sentence" { (sentence) } }), form, rows],
    })
}

/// The issues that the address chooses.
pub(super) fn listed<'a>(app: &'a App, view: &'a View, query: &Query) -> Result<Listed<'a, Issue>, Problem> {
    let state = query.read("state", api::issue_state, api::issue_states)?;
    let filter = IssueFilter {
        state,
        kind: query.read("type", api::kind, api::kinds)?,
        severity: query.read("severity", api::severity, api::severities)?,
        resource: query.read(
            "resource",
            |text| text.parse().ok(),
            || "a resource, such as instance/cart-0".to_owned(),
        )?,
        since: within::since(query, view.stamp.now)?,
        ..Default::default()
    };
    // What is open is few and known.
    let source = if state == Some(IssueState::Open) {
        let mut open = view.issues.clone();
        open.retain(|issue| passes(&filter, issue));
        Source::Whole(open)
    } else {
        Source::Stored(Box::new(move |before, limit| {
            let before = before.map(|id| id.parse().map_err(|_| no_issue_id(id))).transpose()?;
            Ok(app.store.issues(&IssueFilter { before, limit, ..filter.clone() })?)
        }))
    };
    let filters = vec![
        Filter::choice("state", "State", IssueState::ALL.map(|state| (state.name(), state.name()))),
        Filter::choice("type", "Type", IssueKind::ALL.map(|kind| (kind.name(), plan::words(kind.name())))),
        Filter::choice(
            "severity",
            "Severity",
            ["critical", "high", "medium", "low"].map(|name| (name, name)),
        ),
        within::filter(),
        Filter::text("resource", "Resource", "instance/cart-0"),
    ];
    let list = List {
        address: "/issues",
        nouns: ("issue", "issues"),
        columns: columns(view),
        filters,
        key: Box::new(|issue| issue.id.to_string()),
        empty: html! { p class="empty" { "An issue is something measured that is out of its bounds. None was found. Make one on purpose: " code { "homeostat chaos inject pause --target instance/NAME-0 --for 30s" } } },
    };
    Ok(Listed { list, source })
}

fn no_issue_id(text: &str) -> Problem {
    Problem::field("before", format!("`before` is {text:?}; give the id of an issue"))
}

/// What the store would have chosen by the same filter.
fn passes(filter: &IssueFilter, issue: &Issue) -> bool {
    filter.kind.is_none_or(|kind| issue.kind == kind)
        && filter.severity.is_none_or(|severity| issue.severity == severity)
        && filter.resource.as_ref().is_none_or(|resource| issue.resource == *resource)
        && filter.since.is_none_or(|since| issue.detected_at.wall_us >= since.wall_us)
}

fn columns<'a>(view: &'a View) -> Vec<Column<'a, Issue>> {
    let seconds = |from: Time, to: Time| to.wall_us.saturating_sub(from.wall_us).max(0) as f64 / 1e6;
    let now = view.stamp.now;
    vec![
        Column::new("severity", "Status", |issue: &Issue| json!(issue.severity.name()))
            .shown(|issue| match issue.closed_at {
                Some(_) => mark(Meaning::Good, "closed"),
                None => marks::severity(issue.severity),
            })
            .ranked(|issue| f64::from(issue.severity as u8)),
        Column::new("description", "Issue", |issue: &Issue| json!(issue.description))
            .class("what")
            .shown(move |issue| {
                html! {
                    a href={ "/issues/" (issue.id) } { (issue.description) }
                    @if issue.closed_at.is_none() { div class="doing" { (history::doing(view, issue)) } }
                }
            })
            .sorted(),
        Column::new("type", "Type", |issue: &Issue| json!(issue.kind.name()))
            .class("name two")
            .shown(|issue| html! { (plan::words(issue.kind.name())) })
            .sorted(),
        Column::new("resource", "Where", |issue: &Issue| json!(issue.resource.to_string()))
            .class("name two")
            .shown(|issue| resource_link(&issue.resource))
            .sorted(),
        Column::new("lasted_seconds", "Lasted", move |issue: &Issue| {
            json!(seconds(issue.detected_at, issue.closed_at.unwrap_or(now)))
        })
        .class("number")
        .shown(move |issue| match issue.closed_at {
            Some(closed) => html! { (took(issue.detected_at, closed)) },
            None => view.stamp.lasting(issue.detected_at),
        })
        .sorted(),
        Column::new("detected_at", "When", |issue: &Issue| json!(issue.detected_at.rfc3339()))
            .class("number")
            .shown(move |issue| view.stamp.ago(issue.detected_at))
            .sorted(),
        Column::unseen("state", |issue: &Issue| json!(IssueState::of(issue).name())),
        Column::unseen("reason", |issue: &Issue| json!(issue.reason.name())),
        Column::unseen("closed_at", |issue: &Issue| json!(issue.closed_at.map(Time::rfc3339))),
        Column::unseen("recurrences", |issue: &Issue| json!(issue.recurrences)),
        Column::unseen("id", |issue: &Issue| json!(issue.id.to_string())),
    ]
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let issue = find(app, id)?;
    let plans = app.store.plans_of_issue(issue.id)?;
    let (journal, without) = match plans.first().map(|record| app.store.journal(record.plan.id)) {
        Some(Err(error)) => (Vec::new(), Some(in_place(error.into())?)),
        journal => (journal.transpose()?.unwrap_or_default(), None),
    };
    let sections = vec![
        Section::live(
            "header",
            html! { (header(view, &issue, &journal)) (traces_link(app, view, &issue)) (cited(app, &issue, &plans)) },
        ),
        Section::live("actions", html! { div class="actions" { (buttons(&issue, plans.first())) } }),
        Section::live("loop", the_loop(view, &issue, plans.first(), (&journal, without))),
        Section::tried("timeline", Update::Live, "Time line", time_line(app, view, &issue))?,
        Section::tried("before", Update::Live, "What changed before", changed_before(app, view, &issue))?,
        Section::tried("history", Update::Rows, "Earlier", earlier(app, view, &issue, &plans))?,
    ];
    Ok(Page { title: issue.description.clone(), sections })
}

fn find(app: &App, id: &str) -> Result<Issue, Problem> {
    let unknown = || Problem::not_found(format!("there is no issue {id}"));
    let id: IssueId = id.parse().map_err(|_| unknown())?;
    app.store.issue(id)?.ok_or_else(unknown)
}

fn header(view: &View, issue: &Issue, journal: &[JournalEntry]) -> Markup {
    html! {
        p class="crumb" { a href="/issues" { "Issues" } }
        h1 class="sentence" { (issue.description) }
        div class="facts" {
            @match issue.closed_at {
                Some(closed) => { (mark(Meaning::Good, "closed")) span { (view.stamp.ago(closed)) ", after " (took(issue.detected_at, closed)) } },
                None => { (marks::severity(issue.severity)) span { "open for " (view.stamp.lasting(issue.detected_at)) } },
            }
            span { (plan::words(issue.kind.name())) ", " (plan::words(issue.reason.name())) }
            span { (resource_link(&issue.resource)) }
            @if issue.recurrences > 0 { span { "came back " (count(issue.recurrences as usize, "time", "times")) } }
        }
        @if issue.closed_at.is_none() {
            p class="doing" { (history::doing(view, issue)) (step(view, issue, journal)) }
        }
    }
}

/// The traces of its service while it was open, and half a minute before; an open one's up to the next minute, so that
/// the address stays the same while the page is open.
fn traces_link(app: &App, view: &View, issue: &Issue) -> Markup {
    const BEFORE_US: i64 = 30_000_000;
    const MINUTE_US: i64 = 60_000_000;
    let Some(service) = issue.resource.service().filter(|_| app.telemetry.is_some()) else { return html! {} };
    let minute = (view.stamp.now.wall_us / MINUTE_US + 1) * MINUTE_US;
    let end = issue.closed_at.map_or(minute, |at| at.wall_us);
    html! {
        p class="facts" { a href=(traces::around(service.as_str(), issue.detected_at.wall_us - BEFORE_US, end)) { "Traces of " (service) " in that time" } }
    }
}

/// The traces that it cites, as links: they are archived.
fn cited(app: &App, issue: &Issue, plans: &[PlanRecord]) -> Markup {
    let cited = cited_traces(issue, plans);
    html! {
        @if app.telemetry.is_some() && !cited.is_empty() {
            p class="facts" {
                span { "Cites" }
                @for id in &cited { a class="mono" href={ "/traces/" (id) } { "trace " (id) } }
            }
        }
    }
}

/// How far the plan under way is.
fn step(view: &View, issue: &Issue, journal: &[JournalEntry]) -> Markup {
    let running = view.plan_for(issue.id).filter(|record| record.status == PlanStatus::InProgress);
    html! {
        @if let (Some(record), begun @ 1..) = (running, journal.len()) {
            ", step " (begun) " of " (record.plan.steps.len())
        }
    }
}

fn buttons(issue: &Issue, latest: Option<&PlanRecord>) -> Markup {
    let under_way = latest.is_some_and(|record| !record.status.is_final());
    html! {
        @if let Some(record) = latest { (plan::buttons(record)) }
        @if issue.closed_at.is_none() && !under_way {
            form method="post" action={ "/issues/" (issue.id) "/preview" } {
                button type="submit" title="Shows the plan; changes nothing" { "Dry run" }
            }
        }
    }
}

/// From what was seen to the proof; with what is said where the journal of the steps cannot be read.
fn the_loop(
    view: &View,
    issue: &Issue,
    latest: Option<&PlanRecord>,
    (journal, without): (&[JournalEntry], Option<Markup>),
) -> Markup {
    html! {
        div class="loop" {
            section { h2 { "Seen" } div { (seen(view, issue)) } }
            @match latest {
                None => section {
                    h2 { "Plan" }
                    p class="quiet" { "No plan was made. What restarts by itself needs none; for the rest the guard's reasons are in the log." }
                },
                Some(record) => {
                    section { h2 { "Why" } div { (plan::why(&record.plan)) } }
                    section { h2 { "Plan" } div {
                        p {
                            (mark(marks::of_status(record.status), marks::status_word(record.status))) " "
                            a href={ "/remediations/" (record.plan.id) } { (capital(&record.plan.summary)) }
                        }
                        (plan::decision(view.stamp, record))
                        @if let Some(notice) = without { h3 { "How far its steps came" } (notice) }
                        (plan::steps(&record.plan, journal))
                    } }
                    section { h2 { "Proof" } div { (plan::proof(view.stamp, &record.plan, Some(record))) } }
                },
            }
        }
    }
}

fn seen(view: &View, issue: &Issue) -> Markup {
    html! {
        dl class="values" {
            @for (name, value) in issue.metrics.iter().filter(|(name, _)| !Issue::NOTES.contains(&name.as_str())) {
                @let (label, value) = measured(issue.kind, name, *value);
                dt { (label) } dd { (value) }
            }
            dt { "first seen" } dd { (view.stamp.ago(issue.detected_at)) }
            dt { "last seen" } dd { (view.stamp.ago(issue.last_seen)) }
            dt { "id" } dd class="mono" { (issue.id) }
        }
    }
}

/// A measured value in words, with the unit that its name ends in; the threshold has that of its type.
fn measured(kind: IssueKind, name: &str, value: f64) -> (String, String) {
    let number = match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    if name == "threshold" {
        let unit = match kind {
            IssueKind::HighCpu | IssueKind::HighMemory | IssueKind::DiskFull | IssueKind::ErrorRate => " %",
            IssueKind::NetworkLatency => " ms",
            _ => "",
        };
        return ("limit".to_owned(), format!("{number}{unit}"));
    }
    let unit = |part: &&str| matches!(*part, "percent" | "ms" | "cores" | "bytes");
    let parts: Vec<&str> = name.split('_').collect();
    let label: Vec<&str> = parts.iter().copied().filter(|part| !unit(part)).collect();
    let value = match parts.iter().copied().find(unit) {
        Some("percent") => format!("{number} %"),
        Some("bytes") => Bytes(value as u64).to_string(),
        Some(unit) => format!("{number} {unit}"),
        None => number.to_owned(),
    };
    (label.join(" "), value)
}

fn time_line(app: &App, view: &View, issue: &Issue) -> Result<Markup, Problem> {
    let now_us = view.stamp.now.wall_us;
    let axis =
        Axis::around(issue.detected_at.wall_us, issue.closed_at.map_or(now_us, |at| at.wall_us), now_us);
    let lanes = timeline::shared(app, axis, issue.resource.service().map(ServiceName::as_str), &Lane::ALL)?;
    Ok(html! {
        section class="timeline" { h2 { "Time line" span class="quiet" { "this issue and its service" } } (lanes) }
    })
}

/// What changed in the quarter of an hour before, and what it looks like together with what happened around it.
fn changed_before(app: &App, view: &View, issue: &Issue) -> Result<Markup, Problem> {
    let begun = issue.detected_at.wall_us;
    let until = issue.closed_at.map_or(view.stamp.now.wall_us, |at| at.wall_us).min(begun + AFTER_US);
    let window = Span { from_us: begun - BEFORE_US, to_us: until.max(begun) };
    let service = issue.resource.service().map(ServiceName::as_str);
    let answer = happenings::correlated(app, window, begun, service)?;
    let id = issue.id.to_string();
    let about = answer.patterns.iter().filter(|pattern| pattern.events.contains(&id));
    let mut about = about.peekable();
    Ok(html! {
        @if about.peek().is_some() { h2 { "What it belongs to" } (timeline::patterns(view.stamp, &answer, about)) }
        h2 { "What changed before" span class="quiet" { "15 min, here and in what it needs" } }
        (timeline::changed_before(&answer))
    })
}

/// What was tried for this issue, and the same type on the same resource before.
fn earlier(app: &App, view: &View, issue: &Issue, plans: &[PlanRecord]) -> Result<Markup, Problem> {
    let filter = IssueFilter {
        kind: Some(issue.kind),
        resource: Some(issue.resource.clone()),
        before: Some(issue.id),
        limit: EARLIER,
        ..Default::default()
    };
    let before = app.store.issues(&filter)?;
    Ok(html! {
        @if plans.len() > 1 { h2 { "Tried for this issue" } (history::remediations(view.stamp, plans)) }
        @if !before.is_empty() { h2 { "Before, on the same resource" } (history::issues(view, &before)) }
    })
}

/// The page after a dry run: the plan that would run, and the button that runs it.
pub(super) fn preview(app: &App, view: &View, id: IssueId, planned: &Planned) -> Result<Page, Problem> {
    let issue = find(app, &id.to_string())?;
    let runs = !matches!(planned.status, PlanStatus::Refused);
    let body = html! {
        p class="crumb" { a href={ "/issues/" (id) } { (issue.description) } }
        h1 class="sentence" { "Dry run: " (planned.plan.summary) }
        p class="facts" { span { "Nothing was changed." } }
    };
    let plan_body = html! {
        div class="loop" {
            section { h2 { "Why" } div { (plan::why(&planned.plan)) } }
            section { h2 { "Plan" } div {
                @if !planned.reasons.is_empty() {
                    ul class="reasons" { @for reason in &planned.reasons { li { (capital(reason)) } } }
                }
                (plan::steps(&planned.plan, &[]))
                p { "Touches " @for (place, resource) in planned.plan.blast_radius.iter().enumerate() {
                    @if place > 0 { ", " } (resource_link(resource))
                } "." }
            } }
            section { h2 { "Expected" } p { (planned.plan.expected_effect) } }
            section { h2 { "Proof" } div { (plan::proof(view.stamp, &planned.plan, None)) } }
        }
    };
    let buttons = html! {
        div class="actions" {
            @if runs {
                form method="post" action={ "/issues/" (id) "/repair" } { button class="primary" type="submit" { "Run this repair" } }
            } @else {
                (mark(Meaning::Unknown, "refused")) span class="quiet" { "The guard would refuse it." }
            }
            a class="button" href={ "/issues/" (id) } { "Back" }
        }
    };
    Ok(Page {
        title: "Dry run".to_owned(),
        sections: vec![
            Section::still("header", body),
            Section::still("loop", plan_body),
            Section::still("actions", buttons),
        ],
    })
}
