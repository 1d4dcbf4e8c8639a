//! A plan as pages show it: why, steps with their undo and state, proof.

use domain::{Cause, Intent, Plan, PlanStatus};
use maud::{Markup, html};
use store::{EntryState, JournalEntry, PlanRecord, Verdict};

use super::marks::{self, Meaning, mark};
use super::sentence::capital;
use super::services::resource_link;
use super::time::{Stamp, took};
use crate::phrases;
pub(crate) use crate::phrases::words;
use domain::units::show_duration;

/// The longest reason of a decision, in characters.
pub(crate) const REASON_MAX: usize = 500;

/// Why: the cause a plan goes for.
pub(crate) fn why(plan: &Plan) -> Markup {
    match &plan.intent {
        Intent::Remediation { cause, .. } => causes(std::slice::from_ref(cause)),
        Intent::Experiment { .. } => html! { p { "Disturbed on purpose, by an experiment." } },
        Intent::Lift { of } => html! {
            p { "The time of " a href={ "/remediations/" (of) } { "a measure" } " is over." }
        },
        Intent::Operation { why } => html! { p { (why) } },
    }
}

fn causes(causes: &[Cause]) -> Markup {
    html! {
        ol class="causes" {
            @for cause in causes {
                li {
                    p {
                        strong { (words(cause.class.name())) } " at " (resource_link(&cause.resource))
                        span class="quiet" title={ "pattern " (cause.pattern) } { ", confidence " (cause.confidence) }
                    }
                    @if !cause.evidence.is_empty() {
                        ul class="evidence" {
                            @for item in &cause.evidence { li { (resource_link(&item.resource)) " " (item.text) } }
                        }
                    }
                }
            }
        }
    }
}

/// The steps, with what became of each where it ran.
pub(crate) fn steps(plan: &Plan, journal: &[JournalEntry]) -> Markup {
    html! {
        div class="scroll" { table class="stacks" {
            thead { tr { th { "Step" } th { "What" } th { "Undo" } th { "State" } th class="number" { "Took" } } }
            tbody {
                @for (index, (token, step)) in plan.tokens().zip(&plan.steps).enumerate() {
                    @let entry = journal.iter().find(|entry| entry.token == token);
                    tr data-key=(index) {
                        td class="name" { (index + 1) " of " (plan.steps.len()) }
                        td class="what" { (capital(&phrases::action(&step.action))) }
                        td class="two quiet" data-label="Undo" { (capital(&phrases::undo(&step.undo))) }
                        td class="name two" data-label="State" { (state(entry)) }
                        @let ending = entry.and_then(|entry| Some((entry, entry.endings.first()?)));
                        td class={ "number" @if ending.is_none() { " none" } } data-label="Took" {
                            @if let Some((entry, ended)) = ending {
                                (took(entry.intent_at, ended.at))
                            } @else { "–" }
                        }
                    }
                }
            }
        } }
    }
}

fn state(entry: Option<&JournalEntry>) -> Markup {
    let Some(entry) = entry else { return html! { span class="quiet" { "not begun" } } };
    let (meaning, word) = match entry.state() {
        EntryState::Open => (Meaning::Info, "under way"),
        EntryState::Done => (Meaning::Good, "done"),
        EntryState::Undone => (Meaning::Attention, "taken back"),
        EntryState::Superseded => (Meaning::Unknown, "superseded: a later change stays"),
        EntryState::Failed => (Meaning::Bad, "failed"),
        EntryState::Abandoned => (Meaning::Unknown, "left as it is"),
    };
    mark(meaning, word)
}

/// Proof: the signal that decides, and the verdict.
pub(crate) fn proof(stamp: Stamp, plan: &Plan, record: Option<&PlanRecord>) -> Markup {
    html! {
        @match &plan.verify {
            Some(signal) => p {
                (words(signal.kind.name())) " on " (resource_link(&signal.resource)) " must be gone within "
                (show_duration(signal.deadline)) " and stay gone for " (show_duration(signal.hold)) "."
            },
            None => p { "Each step proves its own effect." },
        }
        @if let Some(outcome) = record.and_then(|record| record.outcome.as_ref()) {
            p {
                (mark(marks::of_outcome(outcome.kind), marks::outcome_word(outcome.kind))) " "
                @if let (Some(begin), Some(end)) = (outcome.started_at, outcome.verified_at) {
                    "after " (took(begin, end)) ", "
                }
                (stamp.ago(outcome.decided_at))
                @if let Some(why) = &outcome.explanation { ": " (why) }
            }
        } @else if record.is_some_and(|record| record.status == PlanStatus::Verifying) {
            p { (mark(Meaning::Info, "being watched")) }
        }
    }
}

/// Who decided and the guard's reasons.
pub(crate) fn decision(stamp: Stamp, record: &PlanRecord) -> Markup {
    html! {
        @if !record.reasons.is_empty() {
            ul class="reasons" { @for reason in &record.reasons { li { (capital(reason)) } } }
        }
        @if let Some(decision) = &record.decision {
            p {
                @match decision.verdict { Verdict::Approved => "Approved", Verdict::Rejected => "Rejected" }
                " by " (decision.who) " " (stamp.ago(decision.at))
                @if let Some(why) = &decision.why { ": " q { (why) } } "."
            }
        }
        @if let Some(error) = &record.error { p { (mark(Meaning::Bad, "error")) " " (error) } }
    }
}

/// The form that approves or rejects, with why; `back` is the page to come back to.
pub(crate) fn decide(record: &PlanRecord, back: &str) -> Markup {
    let id = record.plan.id;
    html! {
        form class="decide" method="post" action={ "/remediations/" (id) "/approve" } {
            input type="hidden" name="back" value=(back);
            label class="grow" { "Why (kept with the decision)"
                input type="text" name="reason" maxlength=(REASON_MAX) autocomplete="off" placeholder="what you looked at";
            }
            button class="primary" type="submit" { "Approve and run" }
            button type="submit" formaction={ "/remediations/" (id) "/reject" } { "Reject" }
        }
    }
}

/// Whether it is what somebody asked for and nothing of it was begun: a person can end it.
fn waits_for_its_turn(record: &PlanRecord) -> bool {
    matches!(record.plan.intent, Intent::Operation { .. }) && record.started_at.is_none()
}

/// Buttons for what a person can do with a plan as it is.
pub(crate) fn buttons(record: &PlanRecord) -> Markup {
    let id = record.plan.id;
    let undoable = record
        .plan
        .steps
        .iter()
        .any(|step| matches!(step.undo, domain::Undo::Exact | domain::Undo::Compensating(_)));
    let form = |verb: &str, class: &str, word: &str| {
        html! {
            form method="post" action={ "/remediations/" (id) "/" (verb) } {
                button class=(class) type="submit" { (word) }
            }
        }
    };
    html! {
        @match record.status {
            PlanStatus::AwaitingApproval => (decide(record, &format!("/remediations/{id}"))),
            PlanStatus::Pending if waits_for_its_turn(record) => { (form("reject", "", "Reject")) },
            PlanStatus::Success if undoable && !record.rolled_back => { (form("rollback", "danger", "Roll back")) },
            _ => {},
        }
    }
}
