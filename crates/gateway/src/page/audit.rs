//! The audit trail: what was changed or refused, by whom, and what a record's hash is good for.
//!
//! In: records of the trail, newest first. Out: a list with filters, and a page for each record.

use audit::{Audit, AuditError, Filter as Wanted, Hash, Outcome, Record};
use domain::Time;
use maud::{Markup, html};
use serde_json::json;

use super::list::{Column, Filter, List, Listed, Source, within};
use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::count;
use super::time::Stamp;
use super::view::View;
use super::{Page, Section, Update};
use crate::body::{Query, encode};
use crate::problem::Problem;
use crate::serve::App;

fn trail(app: &App) -> Result<&Audit, Problem> {
    let none = "this server keeps no audit trail; `homeostat serve` keeps one in its data directory";
    app.trail.audit().ok_or_else(|| Problem::not_found(none.to_owned()))
}

fn read_failed(error: &AuditError) -> Problem {
    Problem::internal(format!("the audit trail cannot be read: {error}; `homeostat audit verify` says more"))
}

pub(super) fn list(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let title = "Audit".to_owned();
    // What is shared by all who look has nothing of the trail: fewer may read it than the pages.
    if view.who.is_none() {
        return Ok(Page { title, sections: Vec::new() });
    }
    let Some(audit) = app.trail.audit() else {
        let none = html! {
            h1 class="sentence" { "No audit trail is kept here." }
            p class="empty" { code { "homeostat serve" } " keeps one in its data directory." }
        };
        return Ok(Page { title, sections: vec![Section::still("sentence", none)] });
    };
    let status = audit.status();
    let recorded = usize::try_from(status.size).unwrap_or(usize::MAX);
    let head = html! {
        h1 class="sentence" {
            (count(recorded, "change or refusal is", "changes and refusals are")) " recorded; the newest checkpoint covers " (status.checkpoint_size) "."
        }
        @if let Some(why) = app.trail.trouble() { p class="notice bad" role="alert" { (why) } }
        @if let Some(why) = &status.checkpoint_failure { p class="notice attention" { "The last checkpoint could not be written: " (why) } }
        (proofs(audit))
    };
    let listed = listed(app, view, query)?;
    let form = Section::still("filters", listed.list.search_form(query));
    let rows = listed.rows(query, "records", Update::Never)?;
    Ok(Page { title, sections: vec![Section::still("sentence", head), form, rows] })
}

/// What "verified" means.
fn proofs(audit: &Audit) -> Markup {
    html! {
        details {
            summary { "What proves it" }
            p { "Each record carries the hash of the one before; their Merkle root is signed, by Ed25519 and ML-DSA together, at checkpoints. "
                "Verified means: every line was read, every hash and signature holds, and nothing was edited, left out or put between. This page does not check that; from a shell: " }
            p { code { "homeostat audit verify" } ", and against a checkpoint that you kept elsewhere it also shows that nothing was cut off." }
            p { "Keys of " code { (audit.keys().origin()) } ": " code { (audit.keys().fingerprint()) } }
        }
    }
}

/// The records that the address chooses.
pub(super) fn listed<'a>(app: &'a App, view: &'a View, query: &Query) -> Result<Listed<'a, Record>, Problem> {
    let audit = trail(app)?;
    let text = |name: &str| query.text(name).map(|text| text.trim().to_owned());
    let outcomes = || Outcome::ALL.map(Outcome::name).join(", ");
    let named = |text: &str| Outcome::ALL.into_iter().find(|outcome| outcome.name() == text);
    let wanted = Wanted {
        who: text("who"),
        action: text("action"),
        target: text("target"),
        outcome: query.read("outcome", named, outcomes)?,
        plan: query.read("plan", |text| text.parse().ok(), || "the id of a remediation".to_owned())?,
        since_us: within::since(query, view.stamp.now)?.map(|since| since.wall_us),
        ..Wanted::default()
    };
    let read = move |before: Option<&str>, limit: usize| {
        let wrong =
            |text| Problem::field("before", format!("`before` is {text:?}; give the number of a record"));
        let before = before.map(|text| text.parse().map_err(|_| wrong(text))).transpose()?;
        let mut wanted = wanted.clone();
        (wanted.before, wanted.limit) = (before, limit);
        Ok(audit.query(&wanted).map_err(|error| read_failed(&error))?.records)
    };
    let list = List {
        address: "/audit",
        nouns: ("record", "records"),
        columns: columns(view.stamp),
        filters: vec![
            Filter::text("who", "Who, exactly", "ada"),
            Filter::text("action", "Action begins with", "remediations."),
            Filter::choice("outcome", "Outcome", Outcome::ALL.map(|one| (one.name(), one.name()))),
            Filter::text("target", "Target, exactly", "service/cart"),
            within::filter(),
            Filter::elsewhere("plan"),
        ],
        key: Box::new(|record| record.sequence.to_string()),
        empty: html! { p class="empty" { "Nothing was changed yet. Every change and every refused attempt is recorded here." } },
    };
    Ok(Listed { list, source: Source::Stored(Box::new(read)) })
}

fn time_of(record: &Record) -> Time {
    Time { boot_us: 0, wall_us: record.time_us }
}

fn outcome(outcome: Outcome) -> Markup {
    let meaning = match outcome {
        Outcome::Done => Meaning::Good,
        Outcome::Refused => Meaning::Attention,
        Outcome::Failed => Meaning::Bad,
    };
    mark(meaning, outcome.name())
}

fn columns<'a>(stamp: Stamp) -> Vec<Column<'a, Record>> {
    vec![
        Column::new("outcome", "Outcome", |record: &Record| json!(record.outcome.name()))
            .shown(|record| outcome(record.outcome)),
        Column::new("action", "Action", |record: &Record| json!(record.action.as_str()))
            .class("name")
            .shown(|record| html! { a href={ "/audit/" (record.sequence) } { (record.action.as_str()) } }),
        Column::new("who", "Who", |record: &Record| json!(record.who))
            .class("two")
            .shown(|record| html! { a href={ "/audit?who=" (encode(&record.who)) } { (record.who) } }),
        Column::new("via", "By", |record: &Record| json!(record.via.name())).class("two").shown(|record| html! { (words(record.via.name())) }),
        Column::new("target", "Target", |record: &Record| json!(record.target)).class("mono two"),
        Column::new("time", "When", |record: &Record| json!(time_of(record).rfc3339()))
            .shown(move |record| stamp.ago(time_of(record))),
        Column::new("why", "Why", |record: &Record| json!(record.why.as_deref().or(record.detail.as_deref()))).class("wide"),
        Column::new("plan", "Plan", |record: &Record| json!(record.plan.map(|plan| plan.to_string()))).shown(|record| {
            html! { @match record.plan { Some(plan) => a href={ "/remediations/" (plan) } { "plan" }, None => "–" } }
        }),
        Column::unseen("sequence", |record: &Record| json!(record.sequence)),
        Column::unseen("detail", |record: &Record| json!(record.detail)),
        Column::unseen("request", |record: &Record| json!(record.request)),
        Column::unseen("previous", |record: &Record| json!(record.previous.to_string())),
    ]
}

pub(super) fn record(app: &App, view: &View, sequence: &str) -> Result<Page, Problem> {
    let title = format!("Record {sequence}");
    if view.who.is_none() {
        return Ok(Page { title, sections: Vec::new() });
    }
    let number = sequence.parse();
    let number = number.map_err(|_| Problem::not_found(format!("{sequence:?} is no number of a record")))?;
    let audit = trail(app)?;
    let record = audit.record(number).map_err(|error| match error {
        AuditError::NoSuchRecord { .. } | AuditError::Removed { .. } => Problem::not_found(error.to_string()),
        error => read_failed(&error),
    })?;
    let covered = number < audit.status().checkpoint_size;
    let row = |name: &str, value: Option<&str>| html! { @if let Some(value) = value { dt { (name) } dd { (value) } } };
    let head = html! {
        p class="crumb" { a href="/audit" { "Audit" } }
        h1 class="sentence" { (record.who) ": " (record.action.as_str()) ", " (record.outcome.name()) "." }
        p class="facts" { (outcome(record.outcome)) (view.stamp.ago(time_of(&record))) span { "by " (words(record.via.name())) } }
    };
    let facts = html! {
        dl class="values" {
            (row("Target", Some(&record.target)))
            (row("Why", record.why.as_deref()))
            (row("Detail", record.detail.as_deref()))
            @if let Some(plan) = record.plan { dt { "Plan" } dd { a href={ "/remediations/" (plan) } { (plan) } } }
            (row("Request", record.request.as_deref()))
            (row("When", Some(&time_of(&record).rfc3339())))
            (row("Sequence", Some(&number.to_string())))
            dt { "Its hash" } dd { code { (Hash::of_leaf(record.line().as_bytes())) } }
            dt { "Of the record before" } dd { code { (record.previous) } }
        }
    };
    let proof = html! {
        h2 { "Proof" }
        @if covered { p { (mark(Meaning::Good, "covered")) " A signed checkpoint counts it." } }
        @else { p { (mark(Meaning::Info, "not covered yet")) " The next checkpoint will count it." } }
        p { "A proof that others can check without this server: " code { "homeostat audit prove " (number) } }
        (proofs(audit))
    };
    Ok(Page {
        title,
        sections: vec![
            Section::still("sentence", head),
            Section::still("facts", facts),
            Section::still("proof", proof),
        ],
    })
}
