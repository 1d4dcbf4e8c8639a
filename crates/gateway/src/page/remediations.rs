//! Remediations: the history with filters, and one of them.

use domain::{Intent, PlanId, ResourceId};
use maud::{Markup, html};
use store::{PlanFilter, PlanPurpose, PlanRecord};

use super::history;
use super::marks::{self, mark};
use super::plan;
use super::sentence::{capital, count};
use super::view::View;
use super::{Page, Section};
use crate::api;
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;

const ROWS: usize = 50;

const STATUSES: [&str; 7] =
    ["pending", "awaiting_approval", "in_progress", "success", "failed", "rolled_back", "refused"];

/// Names and seconds of the filter by time.
const SINCE: [(&str, i64); 4] = [("1 h", 3600), ("24 h", 86_400), ("7 d", 604_800), ("30 d", 2_592_000)];

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let seconds =
        query.read("within", |text| text.parse::<i64>().ok().filter(|s| *s > 0), || "seconds".to_owned())?;
    let filter = PlanFilter {
        limit: ROWS + 1,
        before: query.read("before", |text| text.parse().ok(), || "the id of a remediation".to_owned())?,
        status: query.read("status", api::status, api::statuses)?,
        resource: query.read(
            "resource",
            |text| text.parse::<ResourceId>().ok(),
            || "a resource, such as instance/cart-0".to_owned(),
        )?,
        since: seconds.map(|seconds| api::back(view.stamp.now, seconds)),
        only: Some(PlanPurpose::Remediation),
    };
    let mut rows = app.store.plans(&filter)?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let body = html! {
        @if rows.is_empty() {
            p class="empty" { "A remediation is a plan of steps that repairs an issue. None is recorded for this choice." }
        } @else { (history::remediations(view.stamp, &rows)) }
        @if let (true, Some(last)) = (more, rows.last()) {
            p { a href={ "/remediations?" (query.with("before", &last.plan.id.to_string())) } { "Older" } }
        }
    };
    Ok(Page {
        title: "Remediations".to_owned(),
        sections: vec![
            Section::live("sentence", html! { h1 class="sentence" { (sentence(app, view)?) } }),
            Section::still("filters", filters(query)),
            Section::rows("remediations", body),
        ],
    })
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

fn filters(query: &Query) -> Markup {
    let chosen = |name: &str, value: &str| query.text(name) == Some(value);
    html! {
        form class="filters" method="get" action="/remediations" {
            label { "Status"
                select name="status" {
                    option value="" { "all" }
                    @for name in STATUSES { option value=(name) selected[chosen("status", name)] { (plan::words(name)) } }
                }
            }
            label { "Within"
                select name="within" {
                    option value="" { "all time" }
                    @for (name, seconds) in SINCE { option value=(seconds) selected[chosen("within", &seconds.to_string())] { (name) } }
                }
            }
            label { "Resource"
                input type="text" name="resource" value=[query.text("resource")] placeholder="instance/cart-0" spellcheck="false";
            }
            button type="submit" { "Show" }
        }
    }
}

pub(super) fn detail(app: &App, view: &View, id: &str) -> Result<Page, Problem> {
    let unknown = || Problem::not_found(format!("there is no remediation {id}"));
    let plan_id: PlanId = id.parse().map_err(|_| unknown())?;
    let record = app.store.plan(plan_id)?.ok_or_else(unknown)?;
    let journal = app.store.journal(plan_id)?;
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
