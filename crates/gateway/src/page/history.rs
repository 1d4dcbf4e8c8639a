//! Tables of remediations and issues, used on several pages.

use domain::{Issue, Time};
use maud::{Markup, html};
use store::PlanRecord;

use super::marks::{self, Meaning, mark};
use super::plan::words;
use super::services::resource_link;
use super::time::{Stamp, took};
use super::view::View;
use crate::phrases;

/// Remediations, newest first.
pub(crate) fn remediations(stamp: Stamp, records: &[PlanRecord]) -> Markup {
    html! {
        div class="scroll" { table class="stacks" {
            thead { tr {
                th { "Status" } th { "Strategy" } th { "Where" } th class="fold" { "What" }
                th class="number" { "Took" } th { "Verdict" } th class="number" { "When" }
            } }
            tbody {
                @for record in records {
                    tr data-key=(record.plan.id) {
                        td { (mark(marks::of_status(record.status), marks::status_word(record.status))) }
                        td class="name" { a href={ "/remediations/" (record.plan.id) } { (words(phrases::action_type(&record.plan))) } }
                        td class="name two" data-label="Where" { @if let Some(step) = record.plan.steps.first() { (resource_link(&step.action.resource())) } }
                        td class="fold wide quiet" { (record.plan.summary) }
                        td class={ "number" @if time_taken(record).is_none() { " none" } } data-label="Took" { @if let Some(time) = time_taken(record) { (time) } @else { "–" } }
                        td class={ "name two" @if record.outcome.is_none() { " none" } } data-label="Verdict" { @if let Some(outcome) = &record.outcome { (marks::outcome_word(outcome.kind)) } @else { "–" } }
                        td class="number" data-label="When" { (stamp.ago(record.plan.created_at)) }
                    }
                }
            }
        } }
    }
}

/// From the start to the first passing check, or to the end where there was none.
pub(crate) fn time_taken(record: &PlanRecord) -> Option<String> {
    let (begin, end) = ran(record)?;
    Some(took(begin, end))
}

/// The same in seconds, by the wall clock.
pub(crate) fn seconds_taken(record: &PlanRecord) -> Option<f64> {
    let (begin, end) = ran(record)?;
    Some(end.wall_us.saturating_sub(begin.wall_us).max(0) as f64 / 1e6)
}

fn ran(record: &PlanRecord) -> Option<(Time, Time)> {
    let verified = record.outcome.as_ref().and_then(|outcome| outcome.verified_at);
    Some((record.started_at?, verified.or(record.completed_at)?))
}

/// Issues, newest first.
pub(crate) fn issues(view: &View, issues: &[Issue]) -> Markup {
    html! {
        ul class="rows" {
            @for issue in issues {
                li data-key=(issue.id) {
                    @if issue.closed_at.is_some() { (mark(Meaning::Good, "closed")) } @else { (marks::severity(issue.severity)) }
                    span class="what" { a href={ "/issues/" (issue.id) } { (issue.description) } }
                    span class="side" {
                        @match issue.closed_at {
                            Some(closed) => { "lasted " (took(issue.detected_at, closed)) ", " (view.stamp.ago(closed)) },
                            None => (view.stamp.lasting(issue.detected_at)),
                        }
                    }
                    @if issue.closed_at.is_none() { div class="doing" { (doing(view, issue)) } }
                }
            }
        }
    }
}

/// What is being done about an open issue.
pub(crate) fn doing(view: &View, issue: &Issue) -> Markup {
    match view.plan_for(issue.id) {
        Some(record) => html! {
            (mark(marks::of_status(record.status), marks::status_word(record.status))) " "
            a href={ "/remediations/" (record.plan.id) } { (record.plan.summary) }
        },
        None => html! { "No plan is under way." },
    }
}
