//! Issues: the list, and one issue in the loop's order: seen, why, plan, proof.

use decide::correlate::Span;
use domain::{Bytes, Issue, IssueId, IssueKind, Lane, PlanStatus, ServiceName};
use maud::{Markup, html};
use store::{IssueFilter, JournalEntry, PlanRecord};

use super::history;
use super::marks::{self, Meaning, mark};
use super::plan;
use super::sentence::{capital, count};
use super::services::resource_link;
use super::time::took;
use super::timeline::{self, Axis};
use super::traces;
use super::view::View;
use super::{Page, Section};
use crate::api;
use crate::body::Query;
use crate::control::Planned;
use crate::happenings;
use crate::problem::Problem;
use crate::serve::App;

const ROWS: usize = 50;

/// How long before an issue a change may have to do with it, microseconds.
const BEFORE_US: i64 = 900_000_000;

/// How long after its beginning what happens is looked at, microseconds.
const AFTER_US: i64 = 1_800_000_000;

/// Earlier issues of the same type on the same resource that are shown.
const EARLIER: usize = 5;

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let filter = IssueFilter {
        limit: ROWS + 1,
        before: query.read("before", |text| text.parse().ok(), || "the id of an issue".to_owned())?,
        kind: query.read("type", api::kind, api::kinds)?,
        severity: query.read("severity", api::severity, api::severities)?,
        ..Default::default()
    };
    let mut rows = app.store.issues(&filter)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let sentence = match view.issues.len() {
        0 => "No issue is open.".to_owned(),
        n => format!("{} open.", count(n, "issue is", "issues are")),
    };
    let body = html! {
        @if rows.is_empty() {
            p class="empty" { "An issue is something measured that is out of its bounds. None was found." }
        } @else { (history::issues(view, &rows)) }
        @if let (true, Some(last)) = (more, rows.last()) {
            p { a href={ "/issues?" (query.with("before", &last.id.to_string())) } { "Older" } }
        }
    };
    Ok(Page {
        title: "Issues".to_owned(),
        sections: vec![
            Section::live("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::still("filters", filters(query)),
            Section::rows("issues", body),
        ],
    })
}

fn filters(query: &Query) -> Markup {
    let chosen = |name: &str, value: &str| query.text(name) == Some(value);
    html! {
        form class="filters" method="get" action="/issues" {
            label { "Type"
                select name="type" {
                    option value="" { "all" }
                    @for kind in IssueKind::ALL { option value=(kind) selected[chosen("type", kind.name())] { (plan::words(kind.name())) } }
                }
            }
            label { "Severity"
                select name="severity" {
                    option value="" { "all" }
                    @for name in ["critical", "high", "medium", "low"] { option value=(name) selected[chosen("severity", name)] { (name) } }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let issue = find(app, id)?;
    let plans = app.store.plans_of_issue(issue.id)?;
    let journal =
        plans.first().map(|record| app.store.journal(record.plan.id)).transpose()?.unwrap_or_default();
    let sections = vec![
        Section::live("header", html! { (header(view, &issue, &journal)) (traces_link(app, view, &issue)) }),
        Section::live("actions", html! { div class="actions" { (buttons(&issue, plans.first())) } }),
        Section::live("loop", the_loop(view, &issue, plans.first(), &journal)),
        Section::live("timeline", time_line(app, view, &issue)?),
        Section::live("before", changed_before(app, view, &issue)?),
        Section::rows("history", earlier(app, view, &issue, &plans)?),
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

fn the_loop(view: &View, issue: &Issue, latest: Option<&PlanRecord>, journal: &[JournalEntry]) -> Markup {
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
