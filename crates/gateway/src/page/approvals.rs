//! Approvals: what waits for a person, who asked for it and why, what it would do, and the form that decides.
//!
//! In: the plans that wait, and when waiting ends. Out: a part for each, the longest waiting first, so that nothing moves
//! up under the pointer when another one comes.

use std::collections::BTreeMap;

use domain::{Intent, PlanId, Time};
use maud::{Markup, html};
use store::{PlanRecord, TimerKind};

use super::marks::{self, Meaning, mark};
use super::sentence::{capital, count};
use super::services::resource_link;
use super::view::View;
use super::{Page, Section, in_place, plan};
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;

/// The address of the page.
pub(super) const ADDRESS: &str = "/approvals";

pub(super) fn page(app: &App, view: &View) -> Result<Page, Problem> {
    let mut waiting: Vec<&PlanRecord> = view.waiting().collect();
    waiting.sort_by_key(|record| record.plan.id);
    let sentence = match waiting.len() {
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
    let mut body = html! { (without) };
    if waiting.is_empty() {
        body = html! {
            (body)
            p class="empty" {
                "What the trust ladder does not let run by itself is asked here: its steps, its reasons, and how it is taken back. "
                a href="/remediations" { "All remediations" }
            }
        };
    } else {
        let parts = waiting.iter().map(|record| one(app, view, record, until.get(&record.plan.id).copied()));
        let parts = parts.collect::<Result<Vec<Markup>, Problem>>()?;
        body = html! { (body) @for part in parts { (part) } };
    }
    Ok(Page {
        title: "Approvals".to_owned(),
        sections: vec![
            Section::live("sentence", html! { h1 class="sentence" { (sentence) } }),
            Section::rows("approvals", body),
        ],
    })
}

/// When waiting ends, of those that do not wait for ever.
fn until(app: &App) -> Result<BTreeMap<PlanId, Time>, Problem> {
    let timers = app.store.timers()?.into_iter();
    Ok(timers
        .filter(|timer| timer.kind == TimerKind::ApprovalExpiry)
        .map(|timer| (timer.plan, timer.due))
        .collect())
}

fn one(app: &App, view: &View, record: &PlanRecord, until: Option<Time>) -> Result<Markup, Problem> {
    let made = &record.plan;
    let issue = match &made.intent {
        Intent::Remediation { issue, .. } => app.store.issue(*issue)?,
        _ => None,
    };
    Ok(html! {
        article class="approval" data-key=(made.id) aria-labelledby={ "title-" (made.id) } {
            h2 id={ "title-" (made.id) } { a href={ "/remediations/" (made.id) } { (capital(&made.summary)) } }
            p class="facts" {
                (mark(Meaning::Attention, "awaits approval"))
                span { "asked " (view.stamp.ago(made.created_at)) " by " (phrases::actor(&made.requested_by)) }
                @if let Some(until) = until { span { (view.stamp.left(until)) ", then it is refused" } }
            }
            div class="loop" {
                @if let Some(issue) = &issue {
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
                section { h2 { "Decide" } div { (plan::decide(record, ADDRESS)) } }
            }
        }
    })
}
