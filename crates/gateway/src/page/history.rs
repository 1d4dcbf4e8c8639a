//! Tables of remediations and issues, used on several pages, and the time line's lanes from records.

use std::collections::HashMap;

use domain::{ExperimentId, Intent, Issue, OutcomeKind, Time};
use maud::{Markup, html};
use store::{ExperimentRecord, PlanFilter, PlanPurpose, PlanRecord, Store};

use super::marks::{self, Meaning, mark};
use super::plan::words;
use super::services::{resource_link, resource_words};
use super::time::{Stamp, took};
use super::timeline::{Item, Lane};
use super::view::View;
use crate::problem::Problem;
use crate::{api, phrases, shapes};

/// More marks than this on one time line cannot be told apart.
const ITEMS: usize = 200;

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
fn time_taken(record: &PlanRecord) -> Option<String> {
    let verified = record.outcome.as_ref().and_then(|outcome| outcome.verified_at);
    Some(took(record.started_at?, verified.or(record.completed_at)?))
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

/// The lanes of a time line since a time: `keep` chooses issues and plans.
pub(crate) fn lanes(
    store: &Store,
    since: Time,
    keep_issue: impl Fn(&Issue) -> bool,
    keep_plan: impl Fn(&PlanRecord) -> bool,
) -> Result<Vec<Lane>, Problem> {
    let issues =
        store.issues(&store::IssueFilter { since: Some(since), limit: ITEMS, ..Default::default() })?;
    let mut open = store.open_issues()?;
    open.retain(|issue| !issues.iter().any(|other| other.id == issue.id));
    let plans = |only| {
        store.plans(&PlanFilter { since: Some(since), limit: ITEMS, only: Some(only), ..Default::default() })
    };
    let (repairs, faults) = (plans(PlanPurpose::Remediation)?, plans(PlanPurpose::Experiment)?);
    let experiments: HashMap<ExperimentId, ExperimentRecord> =
        store.experiments(ITEMS, None)?.into_iter().map(|record| (record.id, record)).collect();
    let of_issues = issues.iter().chain(&open).filter(|issue| keep_issue(issue));
    let repairs = repairs.iter().filter(|record| keep_plan(record)).filter_map(repair_item);
    let faults = faults.iter().filter(|record| keep_plan(record));
    let faults = faults.filter_map(|record| fault_item(record, &experiments));
    Ok(vec![
        Lane { name: "Issues", items: of_issues.map(issue_item).collect() },
        Lane { name: "Actions", items: repairs.collect() },
        Lane { name: "Faults", items: faults.collect() },
    ])
}

fn issue_item(issue: &Issue) -> Item {
    Item {
        begin_us: issue.detected_at.wall_us,
        end_us: issue.closed_at.map(|at| at.wall_us),
        meaning: marks::of_severity(issue.severity),
        label: format!("{} {}", words(issue.kind.name()), resource_words(&issue.resource)),
        title: issue.description.clone(),
        href: format!("/issues/{}", issue.id),
        group: issue.id.to_string(),
    }
}

fn repair_item(record: &PlanRecord) -> Option<Item> {
    let group = match &record.plan.intent {
        Intent::Remediation { issue, .. } => issue.to_string(),
        _ => record.plan.id.to_string(),
    };
    let outcome = record.outcome.as_ref().map(|outcome| outcome.kind);
    let verdict = outcome.map_or(marks::status_word(record.status), marks::outcome_word);
    let action = words(phrases::action_type(&record.plan));
    Some(Item {
        begin_us: record.started_at.unwrap_or(record.plan.created_at).wall_us,
        end_us: end_of(record),
        meaning: outcome.map_or(marks::of_status(record.status), marks::of_outcome),
        label: match outcome {
            Some(OutcomeKind::Healed) => action,
            _ => format!("{action}, {verdict}"),
        },
        title: format!("{} ({verdict})", record.plan.summary),
        href: format!("/remediations/{}", record.plan.id),
        group,
    })
}

/// A fault that never began is not shown: nothing was disturbed. Its plan is over when its effect is proven;
/// the fault is in force until its experiment is over.
fn fault_item(record: &PlanRecord, experiments: &HashMap<ExperimentId, ExperimentRecord>) -> Option<Item> {
    let Intent::Experiment { experiment } = &record.plan.intent else { return None };
    let known = experiments.get(experiment);
    let taken_out = known.and_then(|known| {
        shapes::document(known).get("completed_at")?.as_str().and_then(api::time).map(|at| at.wall_us)
    });
    Some(Item {
        begin_us: record.started_at?.wall_us,
        end_us: match known {
            Some(known) if !known.status.is_final() => None,
            _ => taken_out.or(end_of(record)),
        },
        meaning: Meaning::Disturbed,
        label: words(phrases::action_type(&record.plan)),
        title: record.plan.summary.clone(),
        href: format!("/experiments/{experiment}"),
        group: record.plan.id.to_string(),
    })
}

fn end_of(record: &PlanRecord) -> Option<i64> {
    record.completed_at.map(|at| at.wall_us)
}
