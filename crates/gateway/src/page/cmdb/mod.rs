//! Configuration items: a picture of how they belong together, a list, and each with its history.
//!
//! In: items and relations as they are stored. Out: pages.

mod graph;
mod history;

use std::collections::BTreeMap;

use domain::cmdb::{Item, ItemAttributes, ItemKind, ItemValue, KnownBy, Relation};
use domain::{Bytes, ResourceId};
use maud::{Markup, html};
use serde_json::json;

use super::list::{Column, Filter, List, Listed, Source};
use super::marks::{Meaning, mark};
use super::plan::words;
use super::sentence::{capital, count};
use super::services::{resource_link, resource_words};
use super::view::View;
use super::{Page, Section, Update};
use crate::body::{Query, encode};
use crate::problem::Problem;
use crate::serve::App;

pub(super) use history::listed as history;

/// The address of an item's page.
fn address(id: &ResourceId) -> String {
    format!("/cmdb/item?id={}", encode(&id.to_string()))
}

pub(super) fn page(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let listed = listed(app, view)?;
    let relations = app.store.relations().map_err(Problem::from);
    let items: &[Item] = match &listed.source {
        Source::Whole(items) => items,
        Source::Stored(_) => &[],
    };
    let present: Vec<&Item> = items.iter().filter(|item| item.gone_at.is_none()).collect();
    let items_words = count(present.len(), "configuration item", "configuration items");
    let sentence = match &relations {
        Ok(relations) => format!("{items_words} and {}.", count(relations.len(), "relation", "relations")),
        Err(_) => format!("{items_words}."),
    };
    let head = html! {
        h1 class="sentence" { (sentence) }
        p class="facts" { "What was declared, and what was found." a href="/infrastructure" { "Infrastructure" } }
    };
    let picture = relations.map(|relations| graph::draw(&present, relations.keys()));
    let picture = Section::tried("graph", Update::Live, "How they belong together", picture)?;
    let [form, rows] = listed.sections(query, "items")?;
    Ok(Page {
        title: "Configuration".to_owned(),
        sections: vec![Section::live("sentence", head), picture, form, rows],
    })
}

/// Every item, those that are gone among them, by what changed last.
pub(super) fn listed<'a>(app: &App, view: &'a View) -> Result<Listed<'a, Item>, Problem> {
    let stamp = view.stamp;
    let mut items: Vec<Item> = app.store.all_items()?.into_values().collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.last_changed.wall_us));
    let list = List {
        address: "/cmdb",
        nouns: ("item", "items"),
        columns: vec![
            Column::new("state", "State", |item: &Item| json!(state(item).1))
                .shown(|item| mark(state(item).0, state(item).1)),
            Column::new("id", "Item", |item: &Item| json!(item.id.to_string()))
                .class("name")
                .shown(|item| html! { a href=(address(&item.id)) { (resource_words(&item.id)) } })
                .sorted(),
            Column::new("kind", "Kind", |item: &Item| json!(item.kind().name())).sorted(),
            Column::new("version", "Version", |item: &Item| json!(item.version)).class("number").sorted(),
            Column::new("last_changed", "Changed", |item: &Item| json!(item.last_changed.rfc3339()))
                .shown(move |item| stamp.ago(item.last_changed))
                .sorted(),
            Column::new("first_seen", "First seen", |item: &Item| json!(item.first_seen.rfc3339()))
                .shown(move |item| stamp.ago(item.first_seen))
                .sorted(),
            Column::unseen("service", |item: &Item| json!(item.id.service().map(ToString::to_string))),
        ],
        filters: vec![
            Filter::choice("kind", "Kind", ItemKind::ALL.map(|kind| (kind, kind)))
                .keeping(|item: &Item, wanted| item.kind().name() == wanted),
            Filter::choice("state", "State", ["there", "gone"].map(|word| (word, word)))
                .keeping(|item: &Item, wanted| state(item).1 == wanted),
            Filter::text("service", "Service", "cart").keeping(|item: &Item, wanted| {
                item.id.service().is_some_and(|service| service.as_str() == wanted)
            }),
        ],
        key: Box::new(|item| item.id.to_string()),
        empty: html! { p class="empty" { "Nothing is known yet. Items are what is declared and what is found running: " code { "homeostat up FILE" } } },
    };
    Ok(Listed { list, source: Source::Whole(items) })
}

fn state(item: &Item) -> (Meaning, &'static str) {
    if item.gone_at.is_some() { (Meaning::Unknown, "gone") } else { (Meaning::Good, "there") }
}

/// The item that an address names.
fn of_address(app: &App, query: &Query) -> Result<Item, Problem> {
    let expected = || "a resource, such as service/cart".to_owned();
    let id: Option<ResourceId> = query.read("id", |text| text.parse().ok(), expected)?;
    let id = id.ok_or_else(|| Problem::field("id", "give `id`, such as service/cart"))?;
    let unknown = || Problem::not_found(format!("there is no configuration item {id}"));
    Ok(app.store.item(&id)?.ok_or_else(unknown)?.item)
}

pub(super) fn item(app: &App, view: &View, query: &Query) -> Result<Page, Problem> {
    let item = of_address(app, query)?;
    let id = item.id.clone();
    let relations = app.store.relations_of(&id).map_err(Problem::from);
    let changes = history::listed(app, view, query)?;
    let form = html! { h2 { "History" } (changes.list.search_form(query)) };
    let (meaning, word) = state(&item);
    let head = html! {
        p class="crumb" { a href="/cmdb" { "Configuration" } }
        h1 class="sentence" { (capital(&resource_words(&id))) ", version " (item.version) "." }
        p class="facts" {
            (mark(meaning, word)) span { (item.kind()) } code { (id) }
            span { "first seen " (view.stamp.ago(item.first_seen)) } span { "changed " (view.stamp.ago(item.last_changed)) }
            @if let Some(gone) = item.gone_at { span { "gone " (view.stamp.ago(gone)) } }
            @if id.service().is_some() { (resource_link(&id)) }
        }
    };
    let related =
        relations.map(|relations| html! { h2 { "Belongs together with" } (relation_list(&id, &relations)) });
    Ok(Page {
        title: id.to_string(),
        sections: vec![
            Section::live("sentence", head),
            Section::live(
                "attributes",
                html! { div class="columns" {
                    section { h2 { "Declared" } (attributes(&item.declared)) }
                    section { h2 { "Found" } (attributes(&item.discovered)) }
                } },
            ),
            Section::tried("relations", Update::Live, "Belongs together with", related)?,
            Section::still("filters", form),
            changes.rows(query, "history", Update::Rows)?,
        ],
    })
}

fn attributes(all: &ItemAttributes) -> Markup {
    html! {
        @if all.is_empty() { p class="empty" { "Nothing." } }
        dl class="values" { @for (name, value) in all { dt { (words(name.strip_suffix("_bytes").unwrap_or(name))) } dd { (text(name, value)) } } }
    }
}

/// A value in words; an attribute's name says where it is a size.
fn text(name: &str, value: &ItemValue) -> String {
    match value {
        ItemValue::Count(count) if name.ends_with("bytes") => Bytes(*count).to_string(),
        ItemValue::Flag(true) => "yes".to_owned(),
        ItemValue::Flag(false) => "no".to_owned(),
        ItemValue::Count(count) => count.to_string(),
        ItemValue::Number(number) => number.to_string(),
        ItemValue::Text(text) => text.clone(),
        ItemValue::List(texts) => texts.join(", "),
        ItemValue::Fields(fields) => {
            fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
        }
    }
}

fn relation_list(id: &ResourceId, relations: &BTreeMap<Relation, KnownBy>) -> Markup {
    html! {
        @if relations.is_empty() { p class="empty" { "Nothing." } }
        ul class="reasons" { @for (relation, by) in relations {
            li {
                @if relation.from == *id { (words(relation.kind.name())) " " (item_link(&relation.to)) }
                @else { (item_link(&relation.from)) " " (words(relation.kind.name())) " it" }
                span class="quiet" { ", known by " (words(by.name())) }
            }
        } }
    }
}

fn item_link(id: &ResourceId) -> Markup {
    html! { a href=(address(id)) { (resource_words(id)) } }
}
