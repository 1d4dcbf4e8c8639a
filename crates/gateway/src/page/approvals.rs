//! Approvals: what waits for a person, who asked for it and why, what it would do, and the form that decides.
//!
//! In: the plans that wait, and when waiting ends. Out: a part for each that the address chooses, the longest waiting
//! first, so that nothing moves up under the pointer when another one comes; or a file of them.

use std::collections::BTreeMap;

use domain::{Action, Cause, Intent, Issue, Plan, PlanId, ResourceId, Severity, Time};
use maud::{Markup, html};
use serde_json::json;
use store::{PlanRecord, TimerKind};

use super::list::{Column, Filter, List, Listed, Source, within};
use super::marks::{self, Meaning, mark};
use super::sentence::{capital, count};
use super::services::resource_link;
use super::view::View;
use super::{Page, Section, in_place, plan};
use crate::api;
use crate::body::Query;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;

/// The address of the page.
const ADDRESS: &str = "/approvals";

/// What can wait.
const TYPES: [Type; 5] =
    [Type::Remediation, Type::Deployment, Type::Scaling, Type::Infrastructure, Type::Other];

/// What a plan does, as who decides thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// It repairs an issue.
    Remediation,
    /// It changes what a service runs.
    Deployment,
    /// It changes the number of instances.
    Scaling,
    /// It brings services up or takes them down.
    Infrastructure,
    Other,
}

impl Type {
    fn of(plan: &Plan) -> Self {
        match (&plan.intent, plan.steps.first().map(|step| &step.action)) {
            (Intent::Remediation { .. }, _) => Self::Remediation,
            (Intent::Operation { .. }, Some(Action::Deploy { .. })) => Self::Deployment,
            (Intent::Operation { .. }, Some(Action::SetReplicas { .. })) => Self::Scaling,
            (Intent::Operation { .. }, Some(Action::BringUp { .. } | Action::TakeDown { .. })) => {
                Self::Infrastructure
            }
            _ => Self::Other,
        }
    }

    /// The name in the address and in files.
    fn name(self) -> &'static str {
        match self {
            Self::Remediation => "remediation",
            Self::Deployment => "deployment",
            Self::Scaling => "scaling",
            Self::Infrastructure => "infrastructure",
            Self::Other => "other",
        }
    }
}

/// A plan that waits.
pub(super) struct Waiting<'a> {
    record: &'a PlanRecord,
    /// What it would repair.
    issue: Option<Issue>,
    /// When it is refused by itself; `None` where it waits for ever.
    until: Option<Time>,
}

impl Waiting<'_> {
    fn plan(&self) -> &Plan {
        &self.record.plan
    }

    fn severity(&self) -> Option<Severity> {
        self.issue.as_ref().map(|issue| issue.severity)
    }
}

pub(super) fn page(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let number = view.waiting().count();
    let sentence = match number {
        0 => "Nothing waits for a person.".to_owned(),
        n => format!("{} for a person.", count(n, "plan waits", "plans wait")),
    };
    let (until, without) = match until(app) {
        Ok(until) => (until, html! {}),
        Err(problem) => {
            let notice = in_place(problem)?;
            (BTreeMap::new(), html! { h2 { "Until when each can be decided" } (notice) })
        }
    };
    let listed = listed_until(app, view, query, &until)?;
    let back = listed.list.address_with(query, &[]);
    let [form, mut rows] = listed.parts(query, "approvals", |waiting| one(view, waiting, &back))?;
    // Where nothing waits, no search and no filter is to blame.
    rows.body = html! { (without) @if number == 0 { (nothing()) } @else { (rows.body) } };
    Ok(Page {
        title: "Approvals".to_owned(),
        sections: vec![Section::live("sentence", html! { h1 class="sentence" { (sentence) } }), form, rows],
    })
}

fn nothing() -> Markup {
    html! {
        p class="empty" {
            "What the trust ladder does not let run by itself is asked here: its steps, its reasons, and how it is taken back. "
            a href="/remediations" { "All remediations" }
        }
    }
}

/// When waiting ends, of those that do not wait for ever.
fn until(app: &App) -> Result<BTreeMap<PlanId, Time>, Problem> {
    let timers = app.store.timers()?.into_iter();
    Ok(timers
        .filter(|timer| timer.kind == TimerKind::ApprovalExpiry)
        .map(|timer| (timer.plan, timer.due))
        .collect())
}

/// The plans that wait, for a file.
pub(super) fn listed<'a>(
    app: &App,
    view: &'a View,
    query: &Query,
) -> Result<Listed<'a, Waiting<'a>>, Problem> {
    listed_until(app, view, query, &until(app)?)
}

fn listed_until<'a>(
    app: &App,
    view: &'a View,
    query: &Query,
    until: &BTreeMap<PlanId, Time>,
) -> Result<Listed<'a, Waiting<'a>>, Problem> {
    let resource: Option<ResourceId> = query.read(
        "resource",
        |text| text.parse().ok(),
        || "a resource, such as instance/cart-0".to_owned(),
    )?;
    let since = within::since(query, view.stamp.now)?;
    let is_wanted = |plan: &Plan| {
        resource.as_ref().is_none_or(|wanted| resources(plan).contains(wanted))
            && since.is_none_or(|since| plan.created_at.wall_us >= since.wall_us)
    };
    let mut waiting: Vec<&PlanRecord> = view.waiting().filter(|record| is_wanted(&record.plan)).collect();
    waiting.sort_by_key(|record| record.plan.id);
    let rows = waiting.into_iter().map(|record| {
        let until = until.get(&record.plan.id).copied();
        Ok(Waiting { record, issue: issue(app, view, &record.plan)?, until })
    });
    let rows = rows.collect::<Result<_, Problem>>()?;
    let list = List {
        address: ADDRESS,
        nouns: ("approval", "approvals"),
        columns: columns(),
        filters: filters(),
        key: Box::new(|waiting| waiting.plan().id.to_string()),
        empty: nothing(),
    };
    Ok(Listed { list, source: Source::Whole(rows) })
}

/// What a plan would repair: nearly always one of the open issues.
fn issue(app: &App, view: &View, plan: &Plan) -> Result<Option<Issue>, Problem> {
    let Intent::Remediation { issue: id, .. } = plan.intent else { return Ok(None) };
    match view.issues.iter().find(|issue| issue.id == id) {
        Some(open) => Ok(Some(open.clone())),
        None => Ok(app.store.issue(id)?),
    }
}

/// What the steps of a plan act on, and what else they touch.
fn resources(plan: &Plan) -> Vec<ResourceId> {
    let acted_on = plan.steps.iter().map(|step| step.action.resource());
    acted_on.chain(plan.blast_radius.iter().cloned()).collect()
}

fn filters<'a>() -> Vec<Filter<'a, Waiting<'a>>> {
    vec![
        Filter::choice("type", "Type", TYPES.map(|one| (one.name(), one.name())))
            .keeping(|waiting: &Waiting<'_>, name| Type::of(waiting.plan()).name() == name),
        Filter::choice("severity", "Severity", api::SEVERITIES.map(|one| (one.name(), one.name())))
            .keeping(|waiting: &Waiting<'_>, name| waiting.severity().is_some_and(|one| one.name() == name)),
        Filter::text("service", "Service", "cart").keeping(|waiting: &Waiting<'_>, name| {
            let is_of = |one: &ResourceId| one.service().is_some_and(|service| service.as_str() == name);
            resources(waiting.plan()).iter().any(is_of)
        }),
        Filter::text("resource", "Resource", "instance/cart-0"),
        Filter::text("requested_by", "Asked by, exactly", "ada")
            .keeping(|waiting: &Waiting<'_>, name| phrases::actor(&waiting.plan().requested_by) == name),
        within::filter(),
    ]
}

/// What is searched, ordered by and taken away; each is drawn as a part of the page.
fn columns<'a>() -> Vec<Column<'a, Waiting<'a>>> {
    vec![
        Column::new("created_at", "Asked", |waiting: &Waiting<'_>| {
            json!(waiting.plan().created_at.rfc3339())
        })
        .sorted(),
        Column::new("waits_until", "Waits until", |waiting: &Waiting<'_>| {
            json!(waiting.until.map(Time::rfc3339))
        })
        .sorted(),
        Column::new("severity", "Severity", |waiting: &Waiting<'_>| {
            json!(waiting.severity().map(Severity::name))
        })
        .ranked(|waiting| waiting.severity().map_or(-1.0, |severity| f64::from(severity as u8))),
        Column::new("type", "Type", |waiting: &Waiting<'_>| json!(Type::of(waiting.plan()).name())).sorted(),
        Column::unseen("strategy", |waiting: &Waiting<'_>| {
            json!(waiting.plan().strategy().map(|it| it.name()))
        }),
        Column::unseen("summary", |waiting: &Waiting<'_>| json!(waiting.plan().summary)),
        Column::unseen("requested_by", |waiting: &Waiting<'_>| {
            json!(phrases::actor(&waiting.plan().requested_by))
        }),
        Column::unseen("issue", |waiting: &Waiting<'_>| {
            json!(waiting.issue.as_ref().map(|issue| issue.description.as_str()))
        }),
        Column::unseen("reasons", |waiting: &Waiting<'_>| json!(waiting.record.reasons)),
        Column::unseen("cause", |waiting: &Waiting<'_>| {
            json!(cause(waiting.plan()).map(|it| it.class.name()))
        }),
        Column::unseen("cause_resource", |waiting: &Waiting<'_>| {
            json!(cause(waiting.plan()).map(|it| it.resource.to_string()))
        }),
        Column::unseen("confidence_percent", |waiting: &Waiting<'_>| {
            json!(cause(waiting.plan()).map(|it| it.confidence.0))
        }),
        Column::unseen("steps", |waiting: &Waiting<'_>| {
            let steps = waiting.plan().steps.iter();
            json!(steps.map(|step| phrases::action(&step.action)).collect::<Vec<_>>())
        }),
        Column::unseen("undo", |waiting: &Waiting<'_>| {
            let steps = waiting.plan().steps.iter();
            json!(steps.map(|step| phrases::undo(&step.undo)).collect::<Vec<_>>())
        }),
        Column::unseen("touches", |waiting: &Waiting<'_>| {
            let touched = waiting.plan().blast_radius.iter();
            json!(touched.map(ToString::to_string).collect::<Vec<_>>())
        }),
        Column::unseen("expected_effect", |waiting: &Waiting<'_>| json!(waiting.plan().expected_effect)),
        Column::unseen("issue_id", |waiting: &Waiting<'_>| {
            json!(waiting.issue.as_ref().map(|issue| issue.id.to_string()))
        }),
        Column::unseen("id", |waiting: &Waiting<'_>| json!(waiting.plan().id.to_string())),
    ]
}

fn cause(plan: &Plan) -> Option<&Cause> {
    match &plan.intent {
        Intent::Remediation { cause, .. } => Some(cause),
        _ => None,
    }
}

/// One of them with the form that decides, which comes back to `back`.
fn one(view: &View, waiting: &Waiting<'_>, back: &str) -> Markup {
    let Waiting { record, issue, until } = waiting;
    let made = waiting.plan();
    html! {
        article class="approval" data-key=(made.id) aria-labelledby={ "title-" (made.id) } {
            h2 id={ "title-" (made.id) } { a href={ "/remediations/" (made.id) } { (capital(&made.summary)) } }
            p class="facts" {
                (mark(Meaning::Attention, "awaits approval"))
                span { "asked " (view.stamp.ago(made.created_at)) " by " (phrases::actor(&made.requested_by)) }
                @if let Some(until) = until { span { (view.stamp.left(*until)) ", then it is refused" } }
            }
            div class="loop" {
                @if let Some(issue) = issue {
                    section { h2 { "Seen" } p { (marks::severity(issue.severity)) " " a href={ "/issues/" (issue.id) } { (issue.description) } } }
                }
                section { h2 { "Why it waits" } ul class="reasons" {
                    @for reason in &record.reasons { li { (capital(reason)) } }
                    @if record.reasons.is_empty() { li { "The guard gave no reason." } }
                } }
                section { h2 { "Cause" } div { (plan::why(made)) } }
                section { h2 { "Steps" } div {
                    (plan::steps(made, &[]))
                    p { "Touches " @for (place, resource) in made.blast_radius.iter().enumerate() {
                        @if place > 0 { ", " } (resource_link(resource))
                    } "." }
                } }
                section { h2 { "Expected" } p { (made.expected_effect) } }
                section { h2 { "Decide" } div { (plan::decide(record, back)) } }
            }
        }
    }
}
