//! What became of one configuration item: each change, with who made it and why.
//!
//! In: the changes of the item that the address names, newest first. Out: a list.

use domain::cmdb::{ItemChange, ItemChangeKind, ItemValue, Relation};
use maud::{Markup, html};
use serde_json::json;
use store::ChangeRecord;

use super::{item_link, of_address, text};
use crate::body::Query;
use crate::page::list::{Column, Filter, List, Listed, Source};
use crate::page::marks::{Meaning, mark};
use crate::page::plan::words;
use crate::page::view::View;
use crate::phrases;
use crate::problem::Problem;
use crate::serve::App;

const KINDS: [ItemChangeKind; 4] =
    [ItemChangeKind::Appeared, ItemChangeKind::Changed, ItemChangeKind::Gone, ItemChangeKind::Returned];

/// The changes of the item that an address names.
pub(in crate::page) fn listed<'a>(
    app: &'a App,
    view: &'a View,
    query: &Query,
) -> Result<Listed<'a, ChangeRecord>, Problem> {
    let (id, stamp) = (of_address(app, query)?.id, view.stamp);
    let read = move |before: Option<&str>, most: usize| {
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| Problem::field("before", "must be the number of a change"))
        };
        Ok(app.store.item_history(&id, before.map(number).transpose()?, most)?)
    };
    let list = List {
        address: "/cmdb/item",
        nouns: ("change", "changes"),
        columns: vec![
            Column::new("kind", "What", |record: &ChangeRecord| json!(kind(record.change.kind).1)).shown(
                |record| {
                    let (meaning, word) = kind(record.change.kind);
                    mark(meaning, word)
                },
            ),
            Column::new("version", "Version", |record: &ChangeRecord| json!(record.change.version))
                .class("number"),
            Column::new("at", "When", |record: &ChangeRecord| json!(record.change.at.rfc3339()))
                .shown(move |record| stamp.ago(record.change.at)),
            Column::new("who", "Who", |record: &ChangeRecord| {
                json!(record.change.who.as_ref().map(phrases::actor))
            }),
            Column::new("why", "Why", |record: &ChangeRecord| json!(record.change.why))
                .class("wide")
                .shown(why),
            Column::new("changed", "Became", |record: &ChangeRecord| {
                json!(became(&record.change).join("; "))
            })
            .class("wide")
            .shown(|record| changes(&record.change)),
            Column::unseen("remediation_id", |record: &ChangeRecord| {
                json!(record.change.plan.map(|plan| plan.to_string()))
            }),
        ],
        filters: vec![
            Filter::choice("kind", "What", KINDS.map(|one| (kind(one).1, kind(one).1)))
                .keeping(|record: &ChangeRecord, wanted| kind(record.change.kind).1 == wanted),
            Filter::subject("id"),
        ],
        key: Box::new(|record| record.sequence.to_string()),
        empty: html! { p class="empty" { "No change is kept." } },
    };
    Ok(Listed { list, source: Source::Stored(Box::new(read)) })
}

fn kind(kind: ItemChangeKind) -> (Meaning, &'static str) {
    match kind {
        ItemChangeKind::Appeared => (Meaning::Info, "appeared"),
        ItemChangeKind::Changed => (Meaning::Attention, "changed"),
        ItemChangeKind::Gone => (Meaning::Unknown, "gone"),
        ItemChangeKind::Returned => (Meaning::Info, "returned"),
    }
}

fn why(record: &ChangeRecord) -> Markup {
    html! {
        (record.change.why)
        @if let Some(plan) = record.change.plan { " " a href={ "/remediations/" (plan) } { "Its plan" } }
    }
}

fn side(name: &str, value: Option<&ItemValue>) -> String {
    value.map_or("nothing".to_owned(), |value| text(name, value))
}

/// Each thing that is another now, in words.
fn became(change: &ItemChange) -> Vec<String> {
    let attributes = change.attributes.iter().map(|(name, one)| {
        format!("{name}: {} → {}", side(name, one.before.as_ref()), side(name, one.after.as_ref()))
    });
    let gained = change.gained.iter().map(|one| format!("now {} {}", words(one.kind.name()), one.to));
    let lost = change.lost.iter().map(|one| format!("no longer {} {}", words(one.kind.name()), one.to));
    attributes.chain(gained).chain(lost).collect()
}

fn changes(change: &ItemChange) -> Markup {
    let related = |word: &str, relation: &Relation| {
        html! { div { (word) " " (words(relation.kind.name())) " " (item_link(&relation.to)) } }
    };
    html! { div class="doing" {
        @for (name, one) in &change.attributes {
            div { code { (name) } ": " (side(name, one.before.as_ref())) " → " (side(name, one.after.as_ref())) }
        }
        @for relation in &change.gained { (related("now", relation)) }
        @for relation in &change.lost { (related("no longer", relation)) }
    } }
}
